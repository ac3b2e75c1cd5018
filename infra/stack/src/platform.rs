//! The three services in one process on one port, and the keys that a first run makes.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use common::auth::ApiKey;
use common::clock::Clock;
use common::config::{ConfigError, ENVIRONMENT_KEYS, Settings, environment_key};
use common::http::Edge;
use common::service::{Lifecycle, Part};
use tokio::net::TcpListener;

/// One of the services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[expect(missing_docs, reason = "the services' names")]
pub enum Service {
    Ingest,
    Dispatcher,
    Distributor,
}

/// All three services, or only this one; the caller serves them.
pub fn parts(
    settings: &Settings,
    clock: &Clock,
    lifecycle: &Lifecycle,
    only: Option<Service>,
) -> Result<Vec<Part>, ConfigError> {
    let all = [Service::Ingest, Service::Dispatcher, Service::Distributor];
    let start = |service| match service {
        Service::Ingest => ingest::start(settings, clock, lifecycle),
        Service::Dispatcher => dispatcher::start(settings, clock, lifecycle),
        Service::Distributor => distributor::start(settings, clock, lifecycle),
    };
    all.into_iter().filter(|service| only.is_none_or(|only| only == *service)).map(start).collect()
}

/// A platform that runs in this process.
pub struct Platform {
    /// Base URL of the API.
    pub url: String,
    /// Address of the metrics.
    pub metrics: String,
    /// Its tasks.
    pub lifecycle: Lifecycle,
}

impl Platform {
    /// Starts all services on these listeners. They answer at once, with 503 until their servers are there.
    pub fn start(
        settings: &Settings,
        clock: &Clock,
        api: TcpListener,
        metrics: TcpListener,
    ) -> Result<Self, PlatformError> {
        let lifecycle = Lifecycle::default();
        let platform = Self {
            url: format!("http://{}", api.local_addr()?),
            metrics: format!("http://{}/metrics", metrics.local_addr()?),
            lifecycle: lifecycle.clone(),
        };
        let edge = Edge::new(&settings.limits, clock);
        lifecycle.serve(parts(settings, clock, &lifecycle, None)?, edge, api, metrics);
        Ok(platform)
    }

    /// Waits until every part can do its work.
    pub async fn ready(&self, deadline: Duration) -> Result<(), PlatformError> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let url = format!("{}/readyz", self.url);
        let poll = async {
            loop {
                if client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(deadline, poll).await.map_err(|_| PlatformError::NotReady(deadline))
    }

    /// Asks everything to finish what it holds, and waits for it. False if a task had failed.
    pub async fn stop(self) -> bool {
        self.lifecycle.stop().cancel();
        self.lifecycle.finished().await
    }
}

/// Why the platform did not start.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A socket or a file.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The HTTP client could not be made.
    #[error("{0}")]
    Client(#[from] reqwest::Error),
    /// Something it needs is away.
    #[error("not ready within {0:?}; the log above says what it waits for")]
    NotReady(Duration),
    /// No randomness.
    #[error("no randomness for keys: {0}")]
    Random(#[from] getrandom::Error),
}

/// The keys of a first run, as text, in the order of [`ENVIRONMENT_KEYS`].
#[derive(Clone)]
pub struct Keys {
    texts: Vec<(&'static str, String)>,
}

impl Keys {
    /// New random keys.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let text = |(name, _)| ApiKey::generate().map(|text| (name, text));
        Ok(Self { texts: ENVIRONMENT_KEYS.into_iter().map(text).collect::<Result<_, _>>()? })
    }

    /// The keys of this file, or new ones where there is none; they are not written yet.
    pub fn load_or_generate(path: &Path) -> Result<Self, PlatformError> {
        let Ok(text) = std::fs::read_to_string(path) else { return Ok(Self::generate()?) };
        let find = |name: &'static str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            let missing = || ConfigError::Bad(name, format!("{} has no line for it; remove the file", path.display()));
            line.map(|value| (name, value.trim().to_owned())).ok_or_else(missing)
        };
        Ok(Self { texts: ENVIRONMENT_KEYS.into_iter().map(|(name, _)| find(name)).collect::<Result<_, _>>()? })
    }

    /// Writes them for a shell to read, for the owner's eyes only.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        let lines: Vec<String> = self.texts.iter().map(|(name, text)| format!("{name}={text}")).collect();
        write_private(path, &(lines.join("\n") + "\n"))
    }

    /// As the services hold them.
    pub fn api_keys(&self) -> Result<Vec<ApiKey>, ConfigError> {
        let scopes = ENVIRONMENT_KEYS.into_iter().map(|(_, scopes)| scopes);
        self.texts.iter().zip(scopes).map(|((name, text), scopes)| environment_key(name, scopes, text)).collect()
    }

    /// As environment variables.
    pub fn variables(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.texts.iter().map(|(name, text)| ((*name).to_owned(), text.clone()))
    }

    fn text(&self, name: &str) -> &str {
        self.texts.iter().find(|(key, _)| *key == name).map_or("", |(_, text)| text)
    }

    /// For who posts signals.
    pub fn generator(&self) -> &str {
        self.text("GENERATOR_KEY")
    }

    /// For the terminal of account `main`.
    pub fn terminal(&self) -> &str {
        self.text("TERMINAL_KEY")
    }

    /// For everything.
    pub fn operator(&self) -> &str {
        self.text("OPERATOR_KEY")
    }
}

/// Writes a file that only its owner can read, whole or not at all.
pub fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(new, path)
}
