//! Settings from the environment into typed values. Every error names the variable and says what it should hold.

use std::net::SocketAddr;

use crate::auth::{ApiKey, Identity, Scope};
use crate::domain::AccountName;

/// A setting that is missing or can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Neither the variable nor its `_FILE` form is set.
    #[error("{0} is not set: {1}")]
    Missing(&'static str, &'static str),
    /// Set, but not to something usable.
    #[error("{0} can't be used: {1}")]
    Bad(&'static str, String),
}

/// A variable's value; `NAME_FILE` names a file that holds it instead. Empty counts as unset.
pub fn optional(name: &'static str) -> Result<Option<String>, ConfigError> {
    if let Some(value) = std::env::var(name).ok().filter(|value| !value.is_empty()) {
        return Ok(Some(value));
    }
    let Some(path) = std::env::var(format!("{name}_FILE")).ok().filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(error) => Err(ConfigError::Bad(name, format!("the file {path} of {name}_FILE: {error}"))),
    }
}

/// A variable that must be set; `what` says what it is for.
pub fn required(name: &'static str, what: &'static str) -> Result<String, ConfigError> {
    optional(name)?.ok_or(ConfigError::Missing(name, what))
}

/// A listening address such as `127.0.0.1:8000`.
pub fn address(name: &'static str, default: &str) -> Result<SocketAddr, ConfigError> {
    let text = optional(name)?.unwrap_or_else(|| default.to_owned());
    text.parse().map_err(|_| ConfigError::Bad(name, format!("{text:?} is not an address like 127.0.0.1:8000")))
}

/// Where a service's API listens.
pub fn http_addr() -> Result<SocketAddr, ConfigError> {
    address("HTTP_ADDR", "127.0.0.1:8000")
}

/// A time in whole seconds, from 0 to a day.
pub fn seconds(name: &'static str, default: i64) -> Result<time::Duration, ConfigError> {
    let Some(text) = optional(name)? else { return Ok(time::Duration::seconds(default)) };
    let seconds = text.parse().ok().filter(|seconds| (0..=86_400).contains(seconds));
    let bad = || ConfigError::Bad(name, format!("{text:?} is not a number of seconds from 0 to 86400"));
    seconds.map(time::Duration::seconds).ok_or_else(bad)
}

/// Where a service finds its neighbours and listens. `Debug` shows no secret.
#[derive(Clone)]
pub struct Settings {
    /// PostgreSQL.
    pub database_url: String,
    /// RabbitMQ.
    pub amqp_url: String,
    /// Put before every exchange and queue name, so that several platforms can share a broker.
    pub amqp_prefix: String,
    /// The API.
    pub http_addr: SocketAddr,
    /// The metrics, apart from the API.
    pub metrics_addr: SocketAddr,
    /// How old an account's last report may be for members' money to be priced by it, where nothing is open.
    pub price_fresh: time::Duration,
    /// Keys that work at once, also while PostgreSQL is down.
    pub keys: Vec<ApiKey>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Settings")
            .field("http_addr", &self.http_addr)
            .field("metrics_addr", &self.metrics_addr)
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// Reads `DATABASE_URL`, `AMQP_URL`, `AMQP_PREFIX`, `HTTP_ADDR`, `METRICS_ADDR`, `PRICE_FRESH_SECONDS` and the
    /// three keys.
    pub fn from_env() -> Result<Self, ConfigError> {
        Ok(Self {
            database_url: required("DATABASE_URL", "postgres://user:password@host:5432/database")?,
            amqp_url: required("AMQP_URL", "amqp://user:password@host:5672/%2f")?,
            amqp_prefix: optional("AMQP_PREFIX")?.unwrap_or_default(),
            http_addr: http_addr()?,
            metrics_addr: address("METRICS_ADDR", "127.0.0.1:9000")?,
            price_fresh: seconds("PRICE_FRESH_SECONDS", 60)?,
            keys: keys_from_env()?,
        })
    }
}

/// Who holds the keys of the environment: one principal, so that a retry with another of them is still a retry.
pub const ENVIRONMENT_PRINCIPAL: &str = "owner";

/// The keys a deployment starts with and what each may do.
pub const ENVIRONMENT_KEYS: [(&str, &[Scope]); 3] =
    [("GENERATOR_KEY", &[Scope::SignalsWrite]), ("TERMINAL_KEY", &[Scope::Terminal]), ("OPERATOR_KEY", &Scope::ALL)];

/// One of [`ENVIRONMENT_KEYS`] with its text.
pub fn environment_key(name: &'static str, scopes: &[Scope], text: &str) -> Result<ApiKey, ConfigError> {
    let identity = Identity {
        key_id: String::new(),
        principal: ENVIRONMENT_PRINCIPAL.to_owned(),
        scopes: scopes.to_vec(),
        account: scopes.contains(&Scope::Terminal).then(AccountName::main),
        user: None,
    };
    ApiKey::new(text, identity).map_err(|error| ConfigError::Bad(name, error.to_string()))
}

fn keys_from_env() -> Result<Vec<ApiKey>, ConfigError> {
    let mut keys = Vec::new();
    for (name, scopes) in ENVIRONMENT_KEYS {
        if let Some(text) = optional(name)? {
            keys.push(environment_key(name, scopes, &text)?);
        }
    }
    Ok(keys)
}
