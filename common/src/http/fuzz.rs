//! What fuzzing calls: how every handler reads a body and a key.

use axum::http::HeaderMap;
use serde::de::DeserializeOwned;

use crate::error::Problem;

/// A body as every handler reads it.
pub fn body<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    super::body::parse(bytes)
}

/// The key that a request's headers name.
pub fn key(headers: &HeaderMap) -> Option<&str> {
    super::key_of(headers).ok().flatten()
}
