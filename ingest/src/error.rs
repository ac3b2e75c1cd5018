//! Why a signal is not accepted.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use common::error::{FieldError, Problem};
use common::queue::PublishError;
use uuid::Uuid;

/// What `POST /api/signal` refuses.
#[derive(Debug)]
pub(crate) enum Error {
    /// The request itself, the key or the scope.
    Request(Problem),
    /// The signal makes no sense.
    Invalid(Vec<FieldError>),
    /// The idempotency key stood for another signal.
    KeyReused,
    /// Nobody knows whether the broker has this signal.
    Publish(Uuid, PublishError),
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Request(problem)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match self {
            Self::Request(problem) => problem,
            Self::Invalid(errors) => Problem::invalid(errors),
            Self::KeyReused => Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "this idempotency key was sent before with another signal; use a new key for a new signal",
            ),
            Self::Publish(signal_id, error) => Problem::unavailable(
                "outcome_unknown",
                format!("{error}; the signal may or may not be accepted: send it again with the same idempotency key"),
            )
            .outcome_unknown()
            .about_signal(signal_id)
            .caused_by(error),
        }
        .into_response()
    }
}
