//! A private Prometheus and Alertmanager beside a platform: its metrics are scraped, the rules judged, alerts sent to where
//! the environment says.
//!
//! Invariant: both listen on loopback only, and end with this process, however that ends. What they saw stays in the data
//! folder for the next start.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::account::{Account, SEARCHED};
use super::folder::Folder;
use super::process::until;
use super::{START_DEADLINE, STOP_DEADLINE, ServersError, free_ports};

/// The alert rules as this repository has them.
pub const RULES: &str = include_str!("../../../prometheus/rules.yml");
/// Writes Alertmanager's configuration from the environment.
const CONFIGURE: &str = include_str!("../../../alertmanager/configure");
/// Longest wait for one answer while it is being watched.
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);

/// What is watched for, how often, and who is told.
#[derive(Debug, Clone)]
pub struct Observation {
    /// Rules of Prometheus, as YAML.
    pub rules: String,
    /// Configuration of Alertmanager, as YAML; it may hold secrets.
    pub receivers: String,
    /// Seconds between two looks at the metrics, and at the rules.
    pub interval_seconds: u32,
}

impl Observation {
    /// The rules as they are, every 5 s, and the receivers of these variables (`ALERT_…`); the script's warnings go to
    /// standard error. Refused where one of both servers is not installed, or a receiver is half set.
    pub async fn new(environment: impl IntoIterator<Item = (String, String)>) -> Result<Self, ServersError> {
        check_installed()?;
        let mut command = Command::new("sh");
        command.args(["-c", CONFIGURE]).envs(environment).stdin(Stdio::null()).stdout(Stdio::piped());
        let started = command.kill_on_drop(true).spawn().map_err(ServersError::io("start sh"))?;
        let written = started.wait_with_output().await.map_err(ServersError::io("wait for sh"))?;
        if !written.status.success() {
            return Err(ServersError::Command {
                program: "alertmanager/configure".to_owned(),
                status: written.status.to_string(),
                output: "the line above says why".to_owned(),
            });
        }
        let receivers = String::from_utf8_lossy(&written.stdout).into_owned();
        Ok(Self { rules: RULES.to_owned(), receivers, interval_seconds: 5 })
    }
}

/// Both servers at work; killed when dropped.
#[derive(Debug)]
pub struct Observers {
    /// Base URL of Prometheus.
    pub prometheus: String,
    /// Base URL of Alertmanager.
    pub alertmanager: String,
    processes: [Child; 2],
}

impl Observers {
    /// Starts both on a data folder that exists, to scrape these metrics (a URL) and Alertmanager's own, and waits until
    /// they are ready.
    pub async fn start(observation: &Observation, data: &Path, metrics: &str) -> Result<Self, ServersError> {
        let folder = Folder::locate(data)?;
        let ports = free_ports(2)?;
        let prometheus = Server::new(&folder, PROMETHEUS, ports[0])?;
        let alertmanager = Server::new(&folder, ALERTMANAGER, ports[1])?;
        alertmanager.write("alertmanager.yml", &observation.receivers)?;
        prometheus.write("rules.yml", &observation.rules)?;
        prometheus.write("prometheus.yml", &scraping(observation, metrics, &alertmanager.address))?;
        // Alerts are first judged before Alertmanager is found, and would be sent again only a minute later.
        let again = format!("--rules.alert.resend-delay={}s", observation.interval_seconds);
        let keeping = ["--storage.tsdb.retention.time=30d", &again];
        let alone = ["--cluster.listen-address="];
        let (first, second) = tokio::try_join!(prometheus.start(&keeping), alertmanager.start(&alone))?;
        Ok(Self { prometheus: prometheus.url(), alertmanager: alertmanager.url(), processes: [first, second] })
    }

    /// Ends both in order, so that what they know is written; one that has not ended after 30 s is killed.
    pub async fn stop(mut self) -> Result<(), ServersError> {
        for process in &self.processes {
            if let Some(id) = process.id().and_then(|id| id.try_into().ok()).and_then(Pid::from_raw) {
                // It may have ended in this very moment.
                let _ = kill_process(id, Signal::TERM);
            }
        }
        for process in &mut self.processes {
            if timeout(STOP_DEADLINE, process.wait()).await.is_err() {
                process.kill().await.map_err(ServersError::io("kill an observer"))?;
            }
        }
        Ok(())
    }
}

/// What Prometheus is to do; YAML takes JSON.
fn scraping(observation: &Observation, metrics: &str, alertmanager: &str) -> String {
    let interval = format!("{}s", observation.interval_seconds);
    let target = metrics.trim_start_matches("http://").trim_end_matches("/metrics");
    let config = json!({
        "global": {"scrape_interval": interval, "evaluation_interval": interval},
        "rule_files": ["rules.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
        "scrape_configs": [
            {"job_name": "mt5-community", "static_configs": [{"targets": [target]}]},
            {"job_name": "alertmanager", "static_configs": [{"targets": [alertmanager]}]},
        ],
    });
    config.to_string()
}

/// What differs between both.
#[derive(Debug, Clone, Copy)]
struct Kind {
    name: &'static str,
    /// Its program, and the Debian package that brings it.
    program: &'static str,
    /// The argument that says where its data is to be.
    storage: &'static str,
}

const PROMETHEUS: Kind = Kind { name: "prometheus", program: "prometheus", storage: "--storage.tsdb.path" };
const ALERTMANAGER: Kind = Kind { name: "alertmanager", program: "prometheus-alertmanager", storage: "--storage.path" };

/// One of them, not started yet.
struct Server<'a> {
    kind: Kind,
    folder: &'a Folder,
    account: Account,
    address: String,
}

impl<'a> Server<'a> {
    fn new(folder: &'a Folder, kind: Kind, port: u16) -> Result<Self, ServersError> {
        let account = Account::of(&folder.path(kind.name), "prometheus")?;
        if !folder.has(kind.name)? {
            folder.create_for(kind.name, &account)?;
        }
        Ok(Self { kind, folder, account, address: format!("127.0.0.1:{port}") })
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A file of its configuration.
    fn write(&self, name: &str, text: &str) -> Result<(), ServersError> {
        self.folder.write_for(name, text, Some(&self.account))
    }

    /// Starts it with these arguments more, and waits until it is ready.
    async fn start(&self, more: &[&str]) -> Result<Child, ServersError> {
        let Kind { name, program, storage } = self.kind;
        let output = format!("{name}.out");
        let path = self.folder.path(&output);
        let file = std::fs::File::create(&path).map_err(ServersError::io(format!("create {}", path.display())))?;
        let copy = file.try_clone().map_err(ServersError::io("duplicate a file handle"))?;
        let mut command = self.account.command("setpriv");
        command.args(["--pdeathsig", "KILL", "--", program, "--log.level=warn"]).args(more);
        command.arg(format!("--config.file={}", self.folder.path(&format!("{name}.yml")).display()));
        command.arg(format!("{storage}={}", self.folder.path(name).display()));
        command.arg(format!("--web.listen-address={}", self.address));
        command.stdin(Stdio::null()).stdout(file).stderr(copy).kill_on_drop(true);
        let mut process = command.spawn().map_err(ServersError::io(format!("start {program}")))?;
        let reason = tokio::select! {
            ready = until(START_DEADLINE, async || self.is_ready().await) => {
                if ready {
                    return Ok(process);
                }
                "it was not ready in time"
            }
            _ = process.wait() => "it ended",
        };
        Err(ServersError::NotStarted { server: program, reason, log: self.folder.tail(&[&output]) })
    }

    async fn is_ready(&self) -> bool {
        let Ok(client) = reqwest::Client::builder().no_proxy().timeout(ANSWER_DEADLINE).build() else { return false };
        client.get(format!("{}/-/ready", self.url())).send().await.is_ok_and(|answer| answer.status().is_success())
    }
}

/// Looks for both programs; the error names the Debian packages that bring the missing ones.
fn check_installed() -> Result<(), ServersError> {
    let found = |kind: &Kind| SEARCHED.split(':').any(|folder| Path::new(folder).join(kind.program).exists());
    let missing: Vec<&str> =
        [PROMETHEUS, ALERTMANAGER].iter().filter(|kind| !found(kind)).map(|kind| kind.program).collect();
    if missing.is_empty() { Ok(()) } else { Err(ServersError::NotInstalled { packages: missing.join(" ") }) }
}
