//! Why the dispatcher refuses a request.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use common::error::{FieldError, Problem};

/// Everything its endpoints refuse.
#[derive(Debug)]
pub(crate) enum Error {
    /// The request itself, the key or the scope.
    Request(Problem),
    /// Fields at fault.
    Invalid(Vec<FieldError>),
    /// The key is bound to no account.
    NoAccount,
    /// The key expired or was revoked since it was let in.
    KeyEnded,
    /// The key would make, rotate or revoke one that may more than it may itself.
    BeyondOwnKey(String),
    /// No such signal, account, key, member.
    NotFound(String),
    /// The signal ended so long ago that it is not kept.
    Retired(String),
    /// The signal or key is in another state than the request needs.
    Conflict(&'static str, String),
    /// The database is away or slow.
    Database(sqlx::Error),
    /// The broker did not confirm.
    Publish(common::queue::PublishError),
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
            Self::NoAccount => Problem::new(
                StatusCode::FORBIDDEN,
                "key_without_account",
                "a terminal's key must be bound to an account; this one is not",
            ),
            Self::KeyEnded => Problem::new(
                StatusCode::FORBIDDEN,
                "key_wrong",
                "this API key expired or was revoked while the request was under way",
            ),
            Self::BeyondOwnKey(detail) => Problem::new(StatusCode::FORBIDDEN, "beyond_own_key", detail),
            Self::NotFound(what) => Problem::not_found(what),
            Self::Retired(detail) => Problem::new(StatusCode::GONE, "signal_retired", detail),
            Self::Conflict(code, detail) => Problem::new(StatusCode::CONFLICT, code, detail),
            Self::Database(error) => common::database::problem(&error),
            Self::Publish(error) => Problem::unavailable("broker_unavailable", format!("{error}; try again")),
        }
        .into_response()
    }
}
