//! Why the distributor refuses a request.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use common::error::{FieldError, Problem};

use crate::pool::PoolError;

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
    /// The pool can't take the money.
    Pool(PoolError),
    /// The database is away or slow.
    Database(sqlx::Error),
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
                };
                Problem::new(StatusCode::CONFLICT, code, error.to_string())
            }
            Self::Database(error) => common::database::problem(&error),
        }
        .into_response()
    }
}
