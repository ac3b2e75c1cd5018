//! What a request carries: JSON bodies, query and path parameters, idempotency keys. Whatever is wrong with them is a
//! problem answer.

use std::time::Duration;

use axum::body::{Bytes, HttpBody as _};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::BODY_BYTES_MAX;
use super::edge::{Edge, refused};
use crate::config::BODY_TIMEOUT;
use crate::domain::signal::KEY_CHARACTERS_MAX;
use crate::error::{FieldError, Problem};

/// A JSON body, whatever its content type says; zero bytes at its end, which MQL5 sends, don't count. A content encoding
/// is not undone, so that a small body stays small.
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        // One that says so is refused before it is sent.
        if usize::try_from(request.body().size_hint().lower()).is_ok_and(|length| length > BODY_BYTES_MAX) {
            return Err(too_large());
        }
        let limit: Duration = request.extensions().get().map_or(BODY_TIMEOUT, Edge::body_timeout);
        let Ok(arrived) = tokio::time::timeout(limit, Bytes::from_request(request, state)).await else {
            refused("slow");
            let detail = format!("the body did not arrive within {} s", limit.as_secs());
            return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body_late", detail));
        };
        let bytes = arrived.map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                too_large()
            } else {
                Problem::new(StatusCode::BAD_REQUEST, "body_unreadable", "the body did not arrive whole")
            }
        })?;
        parse(&bytes).map(Self)
    }
}

fn too_large() -> Problem {
    let detail = format!("a body has at most {BODY_BYTES_MAX} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
}

pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    // Fields without their names, which serde would take by their place.
    if bytes.trim_ascii_start().starts_with(b"[") {
        return Err(Problem::invalid(vec![FieldError::new("body", "is an object, not a list")]));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(&bytes[..end]);
    let malformed = |error: &serde_json::Error| {
        Problem::new(StatusCode::BAD_REQUEST, "malformed_json", format!("the body is not JSON: {error}"))
    };
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        if error.inner().is_data() {
            Problem::invalid(vec![FieldError::new(error.path().to_string(), error.inner().to_string())])
        } else {
            malformed(error.inner())
        }
    })?;
    deserializer.end().map_err(|error| malformed(&error))?;
    Ok(value)
}

/// The key under which the sender repeats a request, from the header `Idempotency-Key`; an empty one is none. One that can't
/// be read is refused: taken for none, a repetition would count again.
pub struct IdempotencyKey(pub Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let values = parts.headers.get_all("idempotency-key").iter().map(|value| str::from_utf8(value.as_bytes()));
        let Ok(keys) = values.collect::<Result<Vec<_>, _>>() else { return Err(key_fault("is UTF-8 text")) };
        match *keys {
            [] | [""] => Ok(Self(None)),
            [key] if key.chars().count() <= KEY_CHARACTERS_MAX && !key.chars().any(char::is_control) => {
                Ok(Self(Some(key.to_owned())))
            }
            [_] => Err(key_fault(&format!("has at most {KEY_CHARACTERS_MAX} printable characters"))),
            _ => Err(key_fault("is sent once")),
        }
    }
}

fn key_fault(what: &str) -> Problem {
    Problem::invalid(vec![FieldError::new("Idempotency-Key", what)])
}

/// Query parameters; a wrong one is a problem answer.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
pub struct Query<T>(pub T);

/// Path parameters; a wrong one is a problem answer.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub struct Path<T>(pub T);

impl From<axum::extract::rejection::QueryRejection> for Problem {
    fn from(rejection: axum::extract::rejection::QueryRejection) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_query", rejection.body_text())
    }
}

impl From<axum::extract::rejection::PathRejection> for Problem {
    fn from(rejection: axum::extract::rejection::PathRejection) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_path", rejection.body_text())
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    /// The key of a request with these headers; none where it is refused.
    async fn key(values: &[&[u8]]) -> Option<Option<String>> {
        let (mut parts, ()) = axum::http::Request::new(()).into_parts();
        for value in values {
            parts.headers.append("idempotency-key", HeaderValue::from_bytes(value).unwrap());
        }
        IdempotencyKey::from_request_parts(&mut parts, &()).await.ok().map(|key| key.0)
    }

    /// Goal: no key that was sent is taken for none.
    #[tokio::test]
    async fn an_idempotency_key_is_read_or_refused() {
        assert_eq!(key(&[]).await, Some(None));
        assert_eq!(key(&[b""]).await, Some(None));
        assert_eq!(key(&["März-1".as_bytes()]).await, Some(Some("März-1".to_owned())));
        let long = "x".repeat(KEY_CHARACTERS_MAX + 1);
        for refused in [&[&b"M\xe4rz-1"[..]][..], &[b"a", b"b"], &[b"a\tb"], &[long.as_bytes()]] {
            assert_eq!(key(refused).await, None, "{refused:?}");
        }
    }

    #[test]
    fn a_body_that_ends_in_zero_bytes_is_read() {
        let value: serde_json::Value = parse(b"{\"a\":1}\0").unwrap();
        assert_eq!(value["a"], 1);
        assert!(parse::<serde_json::Value>(b"{\"a\":1} x").is_err());
        assert!(parse::<serde_json::Value>(b"").is_err());
        assert!(parse::<(u8,)>(b" [1]").is_err(), "fields have names");
    }
}
