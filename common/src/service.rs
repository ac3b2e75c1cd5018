//! The life of a process: parts start, serve, and end in order.
//!
//! Two tokens: `stop` asks everything to finish what it holds; `abort` ends what did not within the deadline.
//! A task that dies by itself stops the whole process with a failing exit code: half a platform is none.

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use utoipa_axum::router::OpenApiRouter;

use crate::clock::Clock;
use crate::config::{self, ConfigError, Limits, Settings};
use crate::http::{self, Edge};
use crate::telemetry::Scrape;

/// How long parts may take to finish what they hold.
pub const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(5);

/// Whether a part has one of the things it needs to do its work.
#[derive(Clone, Debug)]
pub struct Ready {
    ready: Arc<AtomicBool>,
    part: &'static str,
    /// Such as `database`.
    need: &'static str,
}

impl Ready {
    /// It has not, until it says so.
    pub fn new(part: &'static str, need: &'static str) -> Self {
        // A gauge that is set before there are metrics would be lost.
        crate::telemetry::metrics();
        let new = Self { ready: Arc::default(), part, need };
        new.set(false);
        new
    }

    /// Whether it has.
    pub fn get(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Says whether it has.
    pub fn set(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
        metrics::gauge!("pipeline_part_ready", "part" => self.part, "need" => self.need).set(f64::from(ready));
    }
}

/// What a service adds to the API of its process.
pub struct Part {
    /// Its name in readiness and logs.
    pub name: &'static str,
    /// Its endpoints.
    pub routes: OpenApiRouter,
    /// What it needs to do its work: ready when all are.
    pub ready: Vec<Ready>,
}

/// The tasks of a process and how they are told to end.
#[derive(Clone, Default)]
pub struct Lifecycle {
    stop: CancellationToken,
    abort: CancellationToken,
    tasks: TaskTracker,
    failed: Arc<AtomicBool>,
    scrape: Scrape,
}

impl Lifecycle {
    /// Fires when the process is to end; finish what you hold.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// What is asked for when the metrics are.
    pub fn scrape(&self) -> &Scrape {
        &self.scrape
    }

    /// Runs a task until it ends. One that ends before it was told to stops the process.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let lifecycle = self.clone();
        self.tasks.spawn(async move {
            // A task of its own, so that a panic in it is seen here rather than lost.
            let mut running = tokio::spawn(task);
            let ended = tokio::select! {
                ended = &mut running => ended,
                () = lifecycle.abort.cancelled() => {
                    running.abort();
                    return tracing::warn!(task = name, "did not finish in time, ended");
                }
            };
            if ended.is_err() || !lifecycle.stop.is_cancelled() {
                tracing::error!(task = name, panicked = ended.is_err(), "ended by itself, stopping");
                lifecycle.failed.store(true, Ordering::Relaxed);
                lifecycle.stop.cancel();
            }
        });
    }

    /// Serves these parts within these limits, and the metrics apart from them, until told to stop.
    pub fn serve(&self, parts: Vec<Part>, edge: Edge, api: TcpListener, metrics: TcpListener) {
        let stop = self.stop.clone();
        self.spawn("api", async move {
            let limits = edge.limits().clone();
            http::serve(api, http::api(parts, edge), limits, stop).await;
        });
        self.serve_metrics(metrics);
    }

    /// Serves the metrics until told to stop.
    pub fn serve_metrics(&self, metrics: TcpListener) {
        crate::telemetry::metrics();
        let stop = self.stop.clone();
        self.spawn(
            "metrics",
            http::serve(metrics, http::metrics_router(self.scrape.clone()), Limits::default(), stop.clone()),
        );
        self.spawn("metrics upkeep", async move {
            while tokio::time::timeout(crate::telemetry::UPKEEP_INTERVAL, stop.cancelled()).await.is_err() {
                crate::telemetry::metrics().run_upkeep();
            }
        });
    }

    /// Waits until something stops the process, then until everything has ended. False if a task failed.
    pub async fn finished(&self) -> bool {
        self.stop.cancelled().await;
        self.tasks.close();
        if tokio::time::timeout(SHUTDOWN_DEADLINE, self.tasks.wait()).await.is_err() {
            self.abort.cancel();
            self.tasks.wait().await;
        }
        !self.failed.load(Ordering::Relaxed)
    }

    /// Stops on SIGTERM or Ctrl-C.
    pub fn stop_on_signals(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let stop = self.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            stop.cancel();
        });
        Ok(())
    }
}

/// The `main` of a service that has a process of its own: settings from the environment, one part, until a signal; with
/// the argument `check` it says instead whether the one that runs is ready.
pub fn main(start: impl FnOnce(&Settings, &Clock, &Lifecycle) -> Result<Part, ConfigError>) -> ExitCode {
    crate::telemetry::start_logs("info,sqlx=warn,lapin=warn");
    crate::check::or(config::http_addr, || match run(start) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            tracing::error!(error = %error, "can't start");
            ExitCode::FAILURE
        }
    })
}

/// Why a process could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is missing or wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address can't be listened on.
    #[error("can't listen on {0}: {1}; set {2} to a free address")]
    Listen(std::net::SocketAddr, std::io::Error, &'static str),
    /// The runtime could not start.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

fn run(start: impl FnOnce(&Settings, &Clock, &Lifecycle) -> Result<Part, ConfigError>) -> Result<bool, StartError> {
    let settings = Settings::from_env()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        let lifecycle = Lifecycle::default();
        lifecycle.stop_on_signals()?;
        let (api, metrics) = listen(&settings).await?;
        let clock = Clock::default();
        let part = start(&settings, &clock, &lifecycle)?;
        lifecycle.serve(vec![part], Edge::new(&settings.limits, &clock), api, metrics);
        tracing::info!(http.address = %settings.http_addr, metrics.address = %settings.metrics_addr, "started");
        Ok(lifecycle.finished().await)
    });
    // A name that is being looked up can't be interrupted, and is not waited for.
    runtime.shutdown_background();
    outcome
}

/// Opens the two listeners of a process.
pub async fn listen(settings: &Settings) -> Result<(TcpListener, TcpListener), StartError> {
    let bind = |address, variable| async move {
        TcpListener::bind(address).await.map_err(|error| StartError::Listen(address, error, variable))
    };
    Ok((bind(settings.http_addr, "HTTP_ADDR").await?, bind(settings.metrics_addr, "METRICS_ADDR").await?))
}
