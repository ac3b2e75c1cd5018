//! A small client of the API, as a user's program would have one. Numbers stay exact.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use rust_decimal::Decimal;
use serde_json::Value;

/// Talks to one platform with one key.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    key: String,
}

/// Why a request brought no answer to work with.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No answer.
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    /// Another status than success.
    #[error("{path}: {status} {body}")]
    Status {
        /// The path asked for.
        path: String,
        /// What was answered.
        status: StatusCode,
        /// The problem.
        body: Value,
    },
}

impl Client {
    /// A client of the platform at this URL.
    pub fn new(url: &str, key: &str) -> Result<Self, ClientError> {
        let http = reqwest::Client::builder().no_proxy().tcp_nodelay(true).timeout(Duration::from_secs(35)).build()?;
        Ok(Self { http, url: url.to_owned(), key: key.to_owned() })
    }

    /// The same platform with another key, sharing connections.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    /// Sends a request; whatever is answered, as status and JSON.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), ClientError> {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(body);
        }
        Self::answer(request).await
    }

    /// POST under an idempotency key, so that it may be sent again; whatever is answered.
    pub async fn post_once(&self, key: &str, path: &str, body: &Value) -> Result<(StatusCode, Value), ClientError> {
        Self::answer(self.request(Method::POST, path).header("Idempotency-Key", key).json(body)).await
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).header("X-API-Key", &self.key)
    }

    async fn answer(request: reqwest::RequestBuilder) -> Result<(StatusCode, Value), ClientError> {
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    async fn expect(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, ClientError> {
        let (status, body) = self.send(method, path, body).await?;
        if status.is_success() { Ok(body) } else { Err(ClientError::Status { path: path.to_owned(), status, body }) }
    }

    /// GET, where only success will do.
    pub async fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.expect(Method::GET, path, None).await
    }

    /// POST, where only success will do.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.expect(Method::POST, path, Some(body)).await
    }

    /// The state of a signal; none while it is not stored yet.
    pub async fn signal(&self, signal_id: &str) -> Result<Option<Value>, ClientError> {
        match self.send(Method::GET, &format!("/api/signals/{signal_id}"), None).await? {
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, body) if status.is_success() => Ok(Some(body)),
            (status, body) => Err(ClientError::Status { path: format!("/api/signals/{signal_id}"), status, body }),
        }
    }
}

/// A decimal of an answer; zero where there is none.
pub fn decimal(value: &Value) -> Decimal {
    match value {
        Value::Number(number) => number.to_string().parse().unwrap_or_default(),
        Value::String(text) => text.parse().unwrap_or_default(),
        _ => Decimal::ZERO,
    }
}

/// An amount of an answer in cents.
pub fn cents(value: &Value) -> i128 {
    (decimal(value) * Decimal::ONE_HUNDRED).trunc().mantissa()
}
