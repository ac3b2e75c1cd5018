//! Why the distributor refuses a request.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use common::domain::Cents;
use common::error::{FieldError, Problem};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::pool::PoolError;
use crate::report::LoginError;
use crate::store::movement::Refusal;

/// Everything its endpoints refuse.
#[derive(Debug)]
pub(crate) enum Error {
    /// The request itself, the key or the scope.
    Request(Problem),
    /// Fields at fault.
    Invalid(Vec<FieldError>),
    /// No such member, account.
    NotFound(String),
    /// The member's id is taken.
    UserExists(String),
    /// The idempotency key stood for another movement.
    KeyReused,
    /// What is asked for was retired; it is there from then on.
    Retired(&'static str, String, OffsetDateTime),
    /// The state does not allow it.
    Conflict(&'static str, String),
    /// The pool can't take or give the money.
    Pool(PoolError),
    /// So many cents can be withdrawn.
    Above(i64),
    /// A fault of our own; logged, not told.
    Internal(String),
    /// The database is away or slow.
    Database(sqlx::Error),
}

impl Error {
    pub(crate) fn internal(error: impl std::fmt::Display) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Pool(error) => Self::Pool(error),
            Refusal::Above(available) => Self::Above(available),
            Refusal::KeyTaken => Self::KeyReused,
            Refusal::Database(error) => Self::Database(error),
        }
    }
}

impl From<LoginError> for Error {
    fn from(error: LoginError) -> Self {
        let code = match error {
            LoginError::NoneYet => "no_login_yet",
            LoginError::Present => "present_login",
            LoginError::PositionsOpen => "positions_open",
        };
        Self::Conflict(code, error.to_string())
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Request(problem)
    }
}

impl From<FieldError> for Error {
    fn from(error: FieldError) -> Self {
        Self::Invalid(vec![error])
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match self {
            Self::Request(problem) => problem,
            Self::Invalid(errors) => Problem::invalid(errors),
            Self::NotFound(what) => Problem::not_found(what),
            Self::UserExists(user_id) => Problem::new(
                StatusCode::CONFLICT,
                "user_exists",
                format!("there is a member {user_id} already; choose another user_id"),
            ),
            Self::KeyReused => Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "this idempotency key was sent before with another movement; use a new key for a new movement",
            ),
            Self::Pool(error) => {
                let code = match error {
                    PoolError::WipedOut => "pool_wiped_out",
                    PoolError::OutOfRange => "pool_out_of_range",
                    PoolError::TooLarge => "amount_too_large",
                    PoolError::TooSmall => "amount_too_small",
                    PoolError::AboveValue => "above_value",
                    PoolError::NotWipedOut => "not_wiped_out",
                };
                Problem::new(StatusCode::CONFLICT, code, error.to_string())
            }
            Self::Above(available) => Problem::new(
                StatusCode::CONFLICT,
                "above_value",
                format!("at most {} can be withdrawn now", Cents(available).decimal()),
            ),
            Self::Retired(what, account, since) => Problem::new(
                StatusCode::GONE,
                "retired",
                format!(
                    "{what} of account {account} reach back to {}; what is older was retired",
                    since.format(&Rfc3339).unwrap_or_default()
                ),
            ),
            Self::Conflict(code, detail) => Problem::new(StatusCode::CONFLICT, code, detail),
            Self::Internal(error) => {
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "a fault of the service; it is logged")
                    .caused_by(error)
            }
            Self::Database(error) => common::database::problem(&error),
        }
        .into_response()
    }
}
