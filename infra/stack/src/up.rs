//! `stack up`: private servers, all services, and the main job with a simulated terminal, visibly.
//!
//! Invariant: whatever way it ends but kill -9, nothing it started goes on running; and after kill -9 the next
//! start takes over what still runs.

mod compare;
mod job;
mod native;
mod view;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use common::clock::Clock;
use common::config::{ConfigError, Limits, Settings, address, optional};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::books::DATABASE;
use crate::platform::{Keys, Platform, PlatformError, write_private};
use crate::servers::observers::{Observation, Observers};
use crate::servers::{self, Servers, ServersError};
use view::View;

/// How long the services may take to be ready once their servers are.
const READY_DEADLINE: Duration = Duration::from_mins(1);
/// Files of a data folder that say where the platform is.
const KEYS: &str = "keys.env";
const URL: &str = "url";
const METRICS: &str = "metrics";

/// Who trades.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Terminal {
    /// A simulated terminal in this process, with a market of its own.
    Sim,
    /// The Expert Advisor itself, compiled for this machine, at the same market.
    Native,
    /// None: connect your own.
    None,
}

/// Arguments of `stack up`.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub struct Args {
    /// Removes the data of earlier runs first: servers, keys, market
    #[arg(long)]
    fresh: bool,
    /// Ends after the main job; exit code 0 only if every step was verified
    #[arg(long)]
    once: bool,
    /// Port of the API on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// Where data is kept
    #[arg(long)]
    data: Option<PathBuf>,
    /// Who trades
    #[arg(long, value_enum, default_value_t = Terminal::Sim)]
    terminal: Terminal,
    /// With --terminal native: the Expert Advisor's program
    #[arg(long, env = "EA_NATIVE")]
    ea: Option<PathBuf>,
    /// With --once: the last line is one JSON object with the figures
    #[arg(long)]
    json: bool,
    /// Starts Prometheus and Alertmanager, too: alerts go where `ALERT_WEBHOOK_URL` and the others of the README say
    #[arg(long)]
    observe: bool,
}

/// Why `stack up` ends with an error.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    /// The private servers.
    #[error(transparent)]
    Servers(#[from] ServersError),
    /// The services.
    #[error(transparent)]
    Platform(#[from] PlatformError),
    /// A setting.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A port is taken.
    #[error("can't listen on {address}: {source}; choose another port with --port (0 takes a free one)")]
    Port {
        /// The address wanted.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of the data folder.
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    /// A combination of arguments that makes no sense.
    #[error("{0}")]
    Usage(&'static str),
    /// The main job did not come out as it must.
    #[error("not verified: {0}")]
    Job(String),
}

/// Where the servers are: private ones, or named by the environment.
enum Backing {
    Private(Box<Servers>),
    Named { database_url: String, amqp_url: String },
}

impl Backing {
    fn urls(&self) -> (&str, &str) {
        match self {
            Self::Private(servers) => (&servers.database_url, &servers.amqp_url),
            Self::Named { database_url, amqp_url } => (database_url, amqp_url),
        }
    }
}

/// Runs until told to stop, or with `--once` until the job is done.
pub async fn main(args: Args, stop: CancellationToken) -> Result<ExitCode, UpError> {
    if args.json && !args.once {
        return Err(UpError::Usage("--json tells the figures of a job that ends: use it with --once"));
    }
    if args.once && args.terminal == Terminal::None {
        return Err(UpError::Usage("--once runs the main job, which needs a terminal: use --terminal sim"));
    }
    if args.terminal == Terminal::Native && args.ea.is_none() {
        return Err(UpError::Usage(
            "--terminal native needs the Expert Advisor's program: ./infra/up builds and names it",
        ));
    }
    let data = args.data.clone().unwrap_or_else(servers::default_data);
    let data = std::path::absolute(&data).map_err(|error| UpError::File(data, error))?;
    let named = named_servers()?;
    let observation = if args.observe { Some(Observation::new([]).await?) } else { None };
    // Before anything else is started or removed: these are what a user gets wrong most.
    let api = listen(SocketAddr::from(([127, 0, 0, 1], args.port))).await?;
    let metrics = listen(address("METRICS_ADDR", "127.0.0.1:0")?).await?;
    if args.fresh {
        if named.is_some() {
            return Err(UpError::Usage(
                "--fresh removes private servers' data only; empty the database and the broker that you named yourself",
            ));
        }
        servers::remove(&data).await?;
        remove(&data, &[KEYS, URL, METRICS, DATABASE])?;
        let market = data.join("terminal");
        if market.exists() {
            std::fs::remove_dir_all(&market).map_err(|error| UpError::File(market, error))?;
        }
    }
    // What a killed run left there; those of a run that goes on are not ours to remove.
    servers::check_free(&data)?;
    remove(&data, &[URL, METRICS, DATABASE])?;
    let backing = if let Some(named) = named {
        std::fs::create_dir_all(&data).map_err(|error| UpError::File(data.clone(), error))?;
        named
    } else {
        tokio::select! {
            started = Servers::start(&data) => Backing::Private(Box::new(started?)),
            () = stop.cancelled() => {
                servers::stop_leftovers(&data).await?;
                return Ok(ExitCode::SUCCESS);
            }
        }
    };
    let outcome = Box::pin(run(&args, &data, &backing, observation, [api, metrics], &stop)).await;
    remove(&data, &[URL, METRICS, DATABASE])?;
    if let Backing::Private(servers) = backing {
        servers.stop().await?;
    }
    outcome
}

fn named_servers() -> Result<Option<Backing>, UpError> {
    match (optional("DATABASE_URL")?, optional("AMQP_URL")?) {
        (Some(database_url), Some(amqp_url)) => Ok(Some(Backing::Named { database_url, amqp_url })),
        (None, None) => Ok(None),
        _ => Err(UpError::Usage("name both servers, DATABASE_URL and AMQP_URL, or neither to have private ones")),
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, UpError> {
    TcpListener::bind(address).await.map_err(|source| UpError::Port { address, source })
}

fn remove(data: &Path, names: &[&str]) -> Result<(), UpError> {
    for name in names {
        let path = data.join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(UpError::File(path, error)),
            _ => {}
        }
    }
    Ok(())
}

/// The services on their servers, until stopped or the job is done.
async fn run(
    args: &Args,
    data: &Path,
    backing: &Backing,
    observation: Option<Observation>,
    [api, metrics]: [TcpListener; 2],
    stop: &CancellationToken,
) -> Result<ExitCode, UpError> {
    let keys = Keys::load_or_generate(&data.join(KEYS))?;
    let (database_url, amqp_url) = backing.urls();
    let settings = Settings {
        database_url: database_url.to_owned(),
        amqp_url: amqp_url.to_owned(),
        amqp_prefix: optional("AMQP_PREFIX")?.unwrap_or_default(),
        http_addr: api.local_addr().map_err(PlatformError::Io)?,
        metrics_addr: metrics.local_addr().map_err(PlatformError::Io)?,
        price_fresh: common::config::seconds("PRICE_FRESH_SECONDS", 60)?,
        heartbeat: common::config::heartbeat()?,
        retention_months: common::config::retention_months()?,
        limits: Limits::from_env()?,
        keys: keys.api_keys()?,
    };
    let platform = Platform::start(&settings, &Clock::default(), api, metrics)?;
    let failed = platform.lifecycle.stop().clone();
    let mut observers = None;
    let outcome = tokio::select! {
        outcome = async {
            platform.ready(READY_DEADLINE).await?;
            if let Some(observation) = &observation {
                observers = Some(Observers::start(observation, data, &platform.metrics).await?);
            }
            serve(args, data, (&platform, database_url), observers.as_ref(), &keys, stop).await
        } => outcome,
        () = stop.cancelled() => Ok(ExitCode::SUCCESS),
        () = failed.cancelled() => Err(UpError::Job("a service ended by itself; the log above says why".to_owned())),
    };
    let unobserved = match observers {
        Some(observers) => observers.stop().await,
        None => Ok(()),
    };
    let clean = platform.stop().await;
    unobserved?;
    match outcome {
        Ok(_) if !clean => Err(UpError::Job("a service failed while it ended; the log above says why".to_owned())),
        outcome => outcome,
    }
}

async fn serve(
    args: &Args,
    data: &Path,
    (platform, database_url): (&Platform, &str),
    observers: Option<&Observers>,
    keys: &Keys,
    stop: &CancellationToken,
) -> Result<ExitCode, UpError> {
    let write = |name: &str, text: &str| {
        let path = data.join(name);
        write_private(&path, text).map_err(|error| UpError::File(path, error))
    };
    let path = data.join(KEYS);
    keys.write(&path).map_err(|error| UpError::File(path.clone(), error))?;
    write(DATABASE, database_url)?;
    write(METRICS, &platform.metrics)?;
    write(URL, &platform.url)?;
    let view = View::new();
    view.ready(&platform.url, &platform.metrics, &path);
    if let Some(observers) = observers {
        view.observed(observers);
    }
    if args.terminal == Terminal::None {
        stop.cancelled().await;
        return Ok(ExitCode::SUCCESS);
    }
    let terminal = data.join("terminal");
    let ea = args.ea.as_deref().filter(|_| args.terminal == Terminal::Native);
    let figures = Box::pin(job::run(&platform.url, keys, &terminal, ea, args.once, view, stop)).await?;
    if let (Some(figures), true) = (figures, args.json) {
        view.line(&figures.to_string());
    }
    Ok(ExitCode::SUCCESS)
}
