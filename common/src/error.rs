//! What a caller is told when something is refused: RFC 9457 problem details with a stable `code`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// An answer of type `application/problem+json`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// A URN made from the code.
    #[serde(rename = "type")]
    kind: String,
    /// The code in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What went wrong and what to do.
    detail: String,
    /// Stable; what a client branches on.
    code: &'static str,
    /// The fields at fault.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    /// `unknown`: the request may or may not have taken effect; repeat it with the same idempotency key.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip)]
    retry_after_seconds: Option<u32>,
    #[serde(skip)]
    cause: Cause,
}

/// What the log says of a problem and its caller is not told. It travels with the answer to the one place that logs
/// answers, which knows the request.
#[derive(Clone, Debug, Default)]
pub struct Cause {
    /// The problem's code.
    pub code: &'static str,
    /// What went wrong, in the words of the part that failed.
    pub error: Option<String>,
    /// The signal that the request was about.
    pub signal_id: Option<Uuid>,
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Path of the field in the body.
    pub field: String,
    /// What it should be.
    pub message: String,
}

impl FieldError {
    /// Of a field and what is wrong with it.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl Problem {
    /// What every answer with a problem is.
    pub const MEDIA_TYPE: &'static str = "application/problem+json";

    /// A problem of this status and code.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let mut title = code.replace('_', " ");
        if let Some(first) = title.get_mut(0..1) {
            first.make_ascii_uppercase();
        }
        Self {
            kind: format!("urn:problem:{code}"),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            code,
            errors: Vec::new(),
            outcome: None,
            retry_after_seconds: None,
            cause: Cause { code, ..Cause::default() },
        }
    }

    /// 422 with the fields at fault.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let list: Vec<String> = errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
        let detail = list.join("; ");
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", detail) }
    }

    /// 404 for this thing.
    pub fn not_found(what: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", what)
    }

    /// 503: try again shortly.
    pub fn unavailable(code: &'static str, detail: impl Into<String>) -> Self {
        Self { retry_after_seconds: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail) }
    }

    /// Says in how many seconds to try again.
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after_seconds: Some(seconds), ..self }
    }

    /// Says that the request may have taken effect all the same.
    #[must_use]
    pub fn outcome_unknown(self) -> Self {
        Self { outcome: Some("unknown"), ..self }
    }

    /// Says to the log alone what went wrong.
    #[must_use]
    pub fn caused_by(mut self, error: impl std::fmt::Display) -> Self {
        self.cause.error = Some(error.to_string());
        self
    }

    /// Says to the log which signal it is about.
    #[must_use]
    pub fn about_signal(mut self, signal_id: Uuid) -> Self {
        self.cause.signal_id = Some(signal_id);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(Self::MEDIA_TYPE));
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self.cause);
        response
    }
}
