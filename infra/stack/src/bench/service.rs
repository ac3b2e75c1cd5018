//! The services in a process of their own, started as a deployment starts them, so that what is measured is theirs.
//!
//! Invariant: the process ends with the value; where it did not end in order, that is an error.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::BenchError;
use super::http::{Connection, get};
use crate::sandbox::Sandbox;

/// How long the services may take until they are ready.
const READY_DEADLINE: Duration = Duration::from_secs(30);
/// How long they may take to end.
const STOP_DEADLINE: Duration = Duration::from_secs(15);
/// How often readiness is asked for.
const POLL: Duration = Duration::from_millis(2);

/// A running `stack serve`.
pub(super) struct Service {
    child: Child,
    log: PathBuf,
    /// Where its API is.
    pub(super) address: SocketAddr,
    /// When its process was started.
    pub(super) started: Instant,
}

impl Service {
    /// Starts it; `folder` takes its log.
    pub(super) fn start(sandbox: &Sandbox, folder: &Path) -> Result<Self, BenchError> {
        Self::start_with(sandbox, folder, &[])
    }

    /// Starts it with these settings besides.
    fn start_with(sandbox: &Sandbox, folder: &Path, settings: &[(&str, String)]) -> Result<Self, BenchError> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = free.local_addr()?;
        drop(free);
        let log = folder.join("serve.log");
        // The kernel ends it with us, also where we are killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "--"]).arg(std::env::current_exe()?).arg("serve");
        command.envs(sandbox.environment()).env("HTTP_ADDR", address.to_string()).env("METRICS_ADDR", "127.0.0.1:0");
        command.env_remove("RUST_LOG").env_remove("LOG_FORMAT");
        command.envs(settings.iter().map(|(name, value)| (*name, value)));
        command.stdin(std::process::Stdio::null()).stdout(File::create(&log)?).stderr(File::create(&log)?);
        let started = Instant::now();
        let child = command.kill_on_drop(true).spawn()?;
        Ok(Self { child, log, address, started })
    }

    /// Starts it and waits until it is ready; how long that took.
    pub(super) async fn ready(sandbox: &Sandbox, folder: &Path) -> Result<(Self, Duration), BenchError> {
        Self::ready_with(sandbox, folder, &[]).await
    }

    /// The same with these settings besides.
    pub(super) async fn ready_with(
        sandbox: &Sandbox,
        folder: &Path,
        settings: &[(&str, String)],
    ) -> Result<(Self, Duration), BenchError> {
        let mut service = Self::start_with(sandbox, folder, settings)?;
        let request = get("/readyz", "");
        while service.started.elapsed() < READY_DEADLINE {
            if let Some(status) = service.child.try_wait()? {
                return Err(service.failed(format!("ended by itself: {status}")));
            }
            if let Ok(mut connection) = Connection::open(service.address).await
                && connection.exchange(&request).await.is_ok_and(|answer| answer.status == 200)
            {
                let took = service.started.elapsed();
                return Ok((service, took));
            }
            tokio::time::sleep(POLL).await;
        }
        Err(service.failed(format!("not ready within {READY_DEADLINE:?}")))
    }

    fn failed(&self, what: String) -> BenchError {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(15)..].join("\n");
        BenchError::Service { what, log: last }
    }

    /// Memory that it holds now, in megabytes.
    pub(super) fn resident_megabytes(&self) -> Result<f64, BenchError> {
        let missing = || self.failed("its memory can't be read".to_owned());
        let id = self.child.id().ok_or_else(missing)?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or_else(missing)?;
        let kibibytes: u32 = line.trim().trim_end_matches(" kB").parse().map_err(|_| missing())?;
        Ok(f64::from(kibibytes) * 1_024.0 / 1_000_000.0)
    }

    /// Ends it in order.
    pub(super) async fn stop(mut self) -> Result<(), BenchError> {
        if let Some(id) = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) {
            kill_process(id, Signal::TERM).map_err(std::io::Error::from)?;
        }
        match tokio::time::timeout(STOP_DEADLINE, self.child.wait()).await {
            Ok(status) => {
                let status = status?;
                if status.success() { Ok(()) } else { Err(self.failed(format!("did not end in order: {status}"))) }
            }
            Err(_) => Err(self.failed(format!("did not end within {STOP_DEADLINE:?}"))),
        }
    }
}
