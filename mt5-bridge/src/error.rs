//! Why a request of the EA got no answer of the dispatcher.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use common::error::Problem;

/// Everything that the relay answers itself, apart from empty polls.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// No connection, or it broke.
    #[error("the dispatcher cannot be reached: {0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("the dispatcher did not answer within {0} s")]
    Late(u64),
    /// The request can't be passed on.
    #[error("{0}")]
    Unusable(String),
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let detail = self.to_string();
        // A report may have arrived though its answer did not; the EA repeats it, which is safe.
        match self {
            Self::Unreachable(_) => {
                Problem::new(StatusCode::BAD_GATEWAY, "dispatcher_unreachable", detail).outcome_unknown()
            }
            Self::Late(_) => Problem::new(StatusCode::GATEWAY_TIMEOUT, "dispatcher_timeout", detail).outcome_unknown(),
            Self::Unusable(_) => Problem::new(StatusCode::BAD_REQUEST, "request_unusable", detail),
        }
        .into_response()
    }
}
