//! Settings from the environment into typed values. Every error names the variable and says what it should hold.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use crate::auth::{ApiKey, Identity, Scope};
use crate::domain::{AccountName, Invalid};

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

/// A variable's value; `NAME_FILE` names a file that holds it instead, where space at the end does not count. Empty counts
/// as unset.
pub fn optional(name: &'static str) -> Result<Option<String>, ConfigError> {
    let filled = |text: &String| !text.is_empty();
    if let Some(value) = std::env::var(name).ok().filter(filled) {
        return Ok(Some(value));
    }
    let Some(path) = std::env::var(format!("{name}_FILE")).ok().filter(filled) else {
        return Ok(None);
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim_end().to_owned()).filter(filled)),
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

/// A whole number from 0 to `max`.
pub fn number(name: &'static str, default: u32, max: u32) -> Result<u32, ConfigError> {
    let Some(text) = optional(name)? else { return Ok(default) };
    let number = text.parse().ok().filter(|number| *number <= max);
    number.ok_or_else(|| ConfigError::Bad(name, format!("{text:?} is not a whole number from 0 to {max}")))
}

/// How often each account's terminal is sent a heartbeat; zero: never. Not less often than every minute, since an alert
/// goes by it.
pub fn heartbeat() -> Result<time::Duration, ConfigError> {
    number("HEARTBEAT_SECONDS", 30, 60).map(|seconds| time::Duration::seconds(seconds.into()))
}

/// How many whole months before the present one are kept; 0: all.
pub fn retention_months() -> Result<u32, ConfigError> {
    number("RETENTION_MONTHS", 0, 1_200)
}

/// Proxies whose `X-Forwarded-For` is believed: addresses and networks, separated by commas.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    /// Whether this is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl std::str::FromStr for Proxies {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let network = |text: &str| {
            let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            network
                .ok()
                .filter(|network| network.prefix_len() > 0)
                .ok_or_else(|| Invalid::new(format!("{text:?} is neither an address nor a network such as 10.0.0.0/8")))
        };
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(network).collect::<Result<_, _>>().map(Self)
    }
}

/// How long a request's body may take.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What one sender may take of the API.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Requests a second of one address, before authentication; 0: as many as it likes.
    pub rate_per_address: u32,
    /// Requests a second with one key, after authentication; 0: as many as it likes.
    pub rate_per_key: u32,
    /// Whose word on a sender's address is taken.
    pub trusted_proxies: Proxies,
    /// Connections to one listener at a time, and never more than three quarters of the files that the process may
    /// have open; 0: as many as these.
    pub connections: usize,
    /// Connections of one address at a time, trusted proxies excepted; 0: as many as there are.
    pub connections_per_address: usize,
    /// How long the head of a request may take, from its first byte or the opening of the connection.
    pub head_timeout: Duration,
    /// How long its body may take.
    pub body_timeout: Duration,
    /// How long a connection is kept after an answer. Longer than what stands before us keeps it, which is 60 to 120 s:
    /// a request that crosses our hanging up would look unanswered.
    pub idle_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rate_per_address: 500,
            rate_per_key: 200,
            trusted_proxies: Proxies::default(),
            connections: 4_096,
            connections_per_address: 256,
            head_timeout: Duration::from_secs(10),
            body_timeout: BODY_TIMEOUT,
            idle_timeout: Duration::from_secs(150),
        }
    }
}

impl Limits {
    /// Reads `RATE_LIMIT_PER_ADDRESS`, `RATE_LIMIT_PER_KEY`, `TRUSTED_PROXIES`, `CONNECTIONS_MAX` and
    /// `CONNECTIONS_PER_ADDRESS_MAX`.
    pub fn from_env() -> Result<Self, ConfigError> {
        const RATE_MAX: u32 = 1_000_000;
        let size = |name, default: usize| {
            let default = u32::try_from(default).unwrap_or(RATE_MAX);
            number(name, default, RATE_MAX).map(|size| usize::try_from(size).unwrap_or(usize::MAX))
        };
        let (plain, proxies) = (Self::default(), optional("TRUSTED_PROXIES")?.unwrap_or_default());
        let bad = |error: Invalid| ConfigError::Bad("TRUSTED_PROXIES", error.to_string());
        Ok(Self {
            rate_per_address: number("RATE_LIMIT_PER_ADDRESS", plain.rate_per_address, RATE_MAX)?,
            rate_per_key: number("RATE_LIMIT_PER_KEY", plain.rate_per_key, RATE_MAX)?,
            trusted_proxies: proxies.parse().map_err(bad)?,
            connections: size("CONNECTIONS_MAX", plain.connections)?,
            connections_per_address: size("CONNECTIONS_PER_ADDRESS_MAX", plain.connections_per_address)?,
            ..plain
        })
    }

    /// For load from one machine with one key: no rates, and all connections for whoever wants them.
    pub fn for_load() -> Self {
        Self { rate_per_address: 0, rate_per_key: 0, connections_per_address: 0, ..Self::default() }
    }

    /// As environment variables; the timeouts have none.
    pub fn variables(&self) -> [(String, String); 4] {
        [
            ("RATE_LIMIT_PER_ADDRESS", self.rate_per_address.to_string()),
            ("RATE_LIMIT_PER_KEY", self.rate_per_key.to_string()),
            ("CONNECTIONS_MAX", self.connections.to_string()),
            ("CONNECTIONS_PER_ADDRESS_MAX", self.connections_per_address.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
    }
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
    /// How often each account's terminal is sent a heartbeat; zero: never.
    pub heartbeat: time::Duration,
    /// How many whole months before the present one are kept; 0: all.
    pub retention_months: u32,
    /// What one sender may take of the API.
    pub limits: Limits,
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
    /// Reads `DATABASE_URL`, `AMQP_URL`, `AMQP_PREFIX`, `HTTP_ADDR`, `METRICS_ADDR`, `PRICE_FRESH_SECONDS`,
    /// `HEARTBEAT_SECONDS`, `RETENTION_MONTHS`, the limits and the three keys.
    pub fn from_env() -> Result<Self, ConfigError> {
        Ok(Self {
            database_url: required("DATABASE_URL", "postgres://user:password@host:5432/database")?,
            amqp_url: required("AMQP_URL", "amqp://user:password@host:5672/%2f")?,
            amqp_prefix: optional("AMQP_PREFIX")?.unwrap_or_default(),
            http_addr: http_addr()?,
            metrics_addr: address("METRICS_ADDR", "127.0.0.1:9000")?,
            price_fresh: seconds("PRICE_FRESH_SECONDS", 60)?,
            heartbeat: heartbeat()?,
            retention_months: retention_months()?,
            limits: Limits::from_env()?,
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
    let mut keys: Vec<ApiKey> = Vec::new();
    for (name, scopes) in ENVIRONMENT_KEYS {
        if let Some(text) = optional(name)? {
            // Headers are trimmed, too.
            let key = environment_key(name, scopes, text.trim())?;
            if keys.iter().any(|other| other.identity.key_id == key.identity.key_id) {
                return Err(ConfigError::Bad(name, "another key of the environment has the same id".to_owned()));
            }
            keys.push(key);
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_addresses_and_networks() {
        let proxies: Proxies = "10.0.0.0/8, 192.0.2.7,, fd00::/8".parse().unwrap();
        for (address, trusted) in [
            ("10.255.0.1", true),
            ("::ffff:10.0.0.1", true),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("11.0.0.1", false),
            ("fd12::1", true),
            ("2001:db8::1", false),
        ] {
            assert_eq!(proxies.contains(address.parse().unwrap()), trusted, "{address}");
        }
        assert!(!"".parse::<Proxies>().unwrap().contains("127.0.0.1".parse().unwrap()));
        // Whoever trusts all lets each sender name itself.
        for wrong in ["gateway", "10.0.0.0/33", "10.0.0.1:80", "0.0.0.0/0", "::/0", "10.0.0.0/8 192.0.2.7"] {
            assert!(wrong.parse::<Proxies>().is_err(), "{wrong}");
        }
    }
}
