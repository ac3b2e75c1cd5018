//! The MetaTrader 5 container's first process: keeps the display, VNC and the terminal running, tells how they are, and
//! relays the EA's requests to the dispatcher.
//!
//! Invariant: what keeps the terminal alive never decides about a trade; the EA and the dispatcher do.

mod connections;
mod dispatcher;
mod display;
mod error;
mod health;
mod http;
mod install;
mod parts;
mod process;
mod relay;
mod secret;
mod seen;
mod settings;
mod startup;
mod terminal;
mod vnc;
mod wine;

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use common::clock::Clock;
use common::config::Limits;
use common::service::Lifecycle;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::connections::connections;
use crate::dispatcher::Dispatcher;
use crate::parts::Parts;
use crate::process::Children;
use crate::relay::Relay;
use crate::seen::Seen;
use crate::settings::Settings;
use crate::terminal::Terminal;
use crate::wine::Wine;

/// Runs until SIGTERM or Ctrl-C; with the argument `check` says instead whether the bridge that runs is ready.
pub fn main() -> ExitCode {
    common::telemetry::start_logs("info");
    common::check::or(common::config::http_addr, supervisor)
}

fn supervisor() -> ExitCode {
    let settings = match Settings::from_env() {
        Ok(settings) => settings,
        Err(errors) => {
            for error in &errors {
                tracing::error!(%error, "can't start");
            }
            return ExitCode::FAILURE;
        }
    };
    // One thread: everything here waits, and memory is for the terminal.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(run(settings))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            tracing::error!(error, "can't start");
            ExitCode::FAILURE
        }
    }
}

/// Serves and supervises; false if a task failed.
async fn run(settings: Settings) -> Result<bool, String> {
    // Wine's services leave their parents; whoever is not the first process takes its place for them.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(|error| error.to_string())?;
    let stop = stop_on_signals().map_err(|error| error.to_string())?;
    secret::folder(&settings.data)?;
    secret::folder(&settings.run)?;
    // What one that was killed has left.
    for file in [vnc::PASSWORD_FILE, terminal::CONFIGURATION_FILE] {
        secret::remove(&settings.run.join(file));
    }
    // The display's lock and the socket of Wine's server are there, wherever a program's own files are.
    secret::writable(Path::new("/tmp"))?;
    let seen = Arc::new(Seen::new(Clock::default()));
    let parts = Arc::new(Parts::new(seen.clone()));
    let connections = connections(settings.authorities.clone())?;
    let dispatcher = Dispatcher::new(connections, settings.dispatcher.clone(), &settings.key, seen.clone())?;
    let relay = Arc::new(Relay::new(dispatcher, seen));
    let lifecycle = Lifecycle::default();
    lifecycle.serve_metrics(bind(settings.metrics_addr, "METRICS_ADDR").await?);
    let health = bind(settings.http_addr, "HTTP_ADDR").await?;
    lifecycle.spawn(
        "health",
        common::http::serve(health, http::health(parts.clone()), Limits::default(), lifecycle.stop().clone()),
    );
    let listener = bind(settings.relay_addr, "RELAY_ADDR").await?;
    lifecycle.spawn("relay", http::serve_relay(listener, relay.clone(), lifecycle.stop().clone()));
    lifecycle.spawn("wait", relay.watch(lifecycle.stop().clone()));
    tracing::info!(http.address = %settings.http_addr, metrics.address = %settings.metrics_addr,
        relay.address = %settings.relay_addr, dispatcher = %settings.dispatcher, "started");
    let children_stop = stop.child_token();
    let supervision = supervise(&settings, &parts, &children_stop);
    tokio::pin!(supervision);
    tokio::select! {
        () = &mut supervision => {}
        // A task failed. The terminal is still closed in order.
        () = lifecycle.stop().cancelled() => {
            children_stop.cancel();
            supervision.await;
        }
    }
    // Only now: an EA that says something while its terminal closes is still heard.
    lifecycle.stop().cancel();
    Ok(lifecycle.finished().await)
}

/// The relay alone, without a terminal to keep: for tests, and for measuring what it adds. Serves until told to stop.
pub async fn relay_alone(
    listener: TcpListener,
    dispatcher: &str,
    key: &str,
    stop: CancellationToken,
) -> Result<(), String> {
    let dispatcher = dispatcher.parse().map_err(|_| format!("{dispatcher} is no address"))?;
    let seen = Arc::new(Seen::new(Clock::default()));
    let dispatcher = Dispatcher::new(connections(None)?, dispatcher, key, seen.clone())?;
    let relay = Arc::new(Relay::new(dispatcher, seen));
    tokio::join!(http::serve_relay(listener, relay.clone(), stop.clone()), Arc::clone(&relay).watch(stop));
    Ok(())
}

/// Keeps all programs running until told to stop; then the terminal ends first, what it stands on after it.
async fn supervise(settings: &Settings, parts: &Parts, stop: &CancellationToken) {
    let children = Children::default();
    let (sender, numbers) = watch::channel(None);
    let rest = CancellationToken::new();
    let display = process::keep(&parts.display, &rest, async || {
        display::run(&parts.display, &children, &settings.screen, &settings.data, &sender, &rest).await
    });
    let mut for_vnc = numbers.clone();
    let vnc =
        process::keep(&parts.vnc, &rest, async || vnc::run(&parts.vnc, &children, settings, &mut for_vnc, &rest).await);
    let wine = Wine::new(children.clone(), &settings.data);
    let terminal = Terminal { settings, parts, children: &children, wine, silent_starts: AtomicU32::new(0) };
    let mut for_terminal = numbers;
    let terminal = async {
        process::keep(&parts.terminal, stop, async || terminal.run(&mut for_terminal, stop).await).await;
        rest.cancel();
    };
    tokio::join!(display, vnc, terminal, process::reap(children.clone(), rest.clone()));
    children.reap_orphans();
}

async fn bind(address: SocketAddr, variable: &str) -> Result<TcpListener, String> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|error| format!("can't listen on {address}: {error}; set {variable} to a free address"))
}

fn stop_on_signals() -> std::io::Result<CancellationToken> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        told.cancel();
    });
    Ok(stop)
}
