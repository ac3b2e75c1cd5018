//! A platform of its own on servers that are shared: for tests, load and faults.
//!
//! Invariant: two sandboxes on the same servers never see each other: own database, own names of queues, own keys.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use common::auth::{ApiKey, Identity, Scope};
use common::clock::Clock;
use common::config::{ConfigError, ENVIRONMENT_PRINCIPAL, Limits, Settings};
use common::topology::{ACCOUNT_UPDATES, SIGNALS, Stream};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::client::{Client, ClientError};
use crate::platform::{Keys, Platform, PlatformError};

/// How long a platform may take to be ready.
const READY_DEADLINE: Duration = Duration::from_secs(30);

/// A database, queues and keys, and a platform on them while one runs.
pub struct Sandbox {
    /// Moves for the platforms of this sandbox only.
    pub clock: Clock,
    /// What its platforms are started with.
    pub settings: Settings,
    /// The keys of generator, terminal and operator of account `main`.
    pub keys: Keys,
    /// Terminals' keys of further accounts, by account.
    pub terminals: BTreeMap<String, String>,
    /// Where the sandbox's database is made and dropped.
    admin_url: String,
    database: String,
}

/// Why a sandbox could not be made or removed.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Making or dropping its database.
    #[error("{0}")]
    Database(#[from] sqlx::Error),
    /// Removing its queues.
    #[error("{0}")]
    Queue(String),
    /// Starting a platform.
    #[error("{0}")]
    Platform(#[from] PlatformError),
    /// A setting, or the address of a server.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// A request.
    #[error("{0}")]
    Client(#[from] ClientError),
}

impl Sandbox {
    /// A sandbox on these servers, with a terminal's key for `main` and for each of these accounts.
    pub async fn create(database_url: &str, amqp_url: &str, accounts: &[String]) -> Result<Self, SandboxError> {
        let name = format!("sandbox_{}", Uuid::new_v4().simple());
        let mut admin = PgConnection::connect(database_url).await?;
        sqlx::query(AssertSqlSafe(format!("create database {name}"))).execute(&mut admin).await?;
        admin.close().await?;
        let (base, _) = database_url.rsplit_once('/').unwrap_or((database_url, ""));
        let keys = Keys::generate().map_err(PlatformError::Random)?;
        let mut api_keys = keys.api_keys()?;
        let mut terminals = BTreeMap::new();
        for account in accounts {
            let text = ApiKey::generate().map_err(PlatformError::Random)?;
            api_keys.push(terminal_key(account, &text)?);
            terminals.insert(account.clone(), text);
        }
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let settings = Settings {
            database_url: format!("{base}/{name}"),
            amqp_url: amqp_url.to_owned(),
            amqp_prefix: format!("{name}."),
            http_addr: any,
            metrics_addr: any,
            price_fresh: time::Duration::seconds(60),
            // A terminal made by hand is handed what its test sent, and nothing else.
            heartbeat: time::Duration::ZERO,
            retention_months: 0,
            limits: Limits::for_load(),
            keys: api_keys,
        };
        Ok(Self {
            clock: Clock::default(),
            settings,
            keys,
            terminals,
            admin_url: database_url.to_owned(),
            database: name,
        })
    }

    /// Starts a platform (another one, if one runs) without waiting until it is ready.
    pub async fn launch(&self) -> Result<Platform, SandboxError> {
        let bind = |address| async move { TcpListener::bind(address).await.map_err(PlatformError::Io) };
        let (api, metrics) = (bind(self.settings.http_addr).await?, bind(self.settings.metrics_addr).await?);
        Ok(Platform::start(&self.settings, &self.clock, api, metrics)?)
    }

    /// Starts a platform and waits until it is ready.
    pub async fn start(&self) -> Result<Platform, SandboxError> {
        let platform = self.launch().await?;
        platform.ready(READY_DEADLINE).await?;
        Ok(platform)
    }

    /// A client with all scopes.
    pub fn operator(&self, platform: &Platform) -> Result<Client, SandboxError> {
        Ok(Client::new(&platform.url, self.keys.operator())?)
    }

    /// The environment variables with which a service's own binary joins this sandbox.
    pub fn environment(&self) -> Vec<(String, String)> {
        let settings = &self.settings;
        let mut variables = vec![
            ("DATABASE_URL".to_owned(), settings.database_url.clone()),
            ("AMQP_URL".to_owned(), settings.amqp_url.clone()),
            ("AMQP_PREFIX".to_owned(), settings.amqp_prefix.clone()),
            ("HEARTBEAT_SECONDS".to_owned(), settings.heartbeat.whole_seconds().to_string()),
        ];
        variables.extend(self.keys.variables());
        variables.extend(settings.limits.variables());
        variables
    }

    /// A connection to its database.
    pub async fn database(&self) -> Result<PgConnection, SandboxError> {
        Ok(PgConnection::connect(&self.settings.database_url).await?)
    }

    /// Its stream of signals.
    pub fn signals(&self) -> Stream {
        Stream::new(&self.settings.amqp_prefix, SIGNALS)
    }

    /// Its stream of account updates.
    pub fn account_updates(&self) -> Stream {
        Stream::new(&self.settings.amqp_prefix, ACCOUNT_UPDATES)
    }

    /// Removes its queues and its database; its platforms have ended.
    pub async fn remove(self) -> Result<(), SandboxError> {
        common::queue::remove(&self.settings.amqp_url, &[self.signals(), self.account_updates()])
            .await
            .map_err(|error| SandboxError::Queue(error.to_string()))?;
        let mut admin = PgConnection::connect(&self.admin_url).await?;
        let plain = format!("drop database if exists {}", self.database);
        let force = format!("{plain} with (force)");
        if sqlx::query(AssertSqlSafe(force.clone())).execute(&mut admin).await.is_err() {
            // An ordinary user may not end autovacuum by force; for a plain drop it gives way by itself.
            let _ = sqlx::query(AssertSqlSafe(plain)).execute(&mut admin).await;
            sqlx::query(AssertSqlSafe(force)).execute(&mut admin).await?;
        }
        Ok(admin.close().await?)
    }
}

/// For load: more positions, openings a day and loss a day than the limits of a new account let through. Returns how many accounts
/// there were.
pub async fn lift_limits(db: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let statement = "update accounts set positions_max = 1000000, openings_per_day_max = 1000000,
                     daily_loss_percent_max = 100";
    Ok(sqlx::query(statement).execute(db).await?.rows_affected())
}

fn terminal_key(account: &str, text: &str) -> Result<ApiKey, ConfigError> {
    let bad = |error: common::domain::Invalid| ConfigError::Bad("account", error.to_string());
    let identity = Identity {
        key_id: String::new(),
        principal: ENVIRONMENT_PRINCIPAL.to_owned(),
        scopes: vec![Scope::Terminal],
        account: Some(account.parse().map_err(bad)?),
        user: None,
    };
    ApiKey::new(text, identity).map_err(bad)
}
