//! What tests need that break things: a folder of their own, programs of ours that can be killed, and a look at what
//! still runs.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use stack::market::{DealType, Entry, Market};
use tokio::process::{Child, Command};

/// How often a condition that nothing announces is looked at.
const POLL: Duration = Duration::from_millis(10);

/// Waits for a condition; panics with `what` when it does not come true in time. Returns how long it took.
pub async fn within<F: Future<Output = bool>>(deadline: Duration, what: &str, mut look: impl FnMut() -> F) -> Duration {
    let started = Instant::now();
    while !look().await {
        assert!(started.elapsed() < deadline, "in vain for {deadline:?}: {what}");
        tokio::time::sleep(POLL).await;
    }
    started.elapsed()
}

/// A folder that the servers' users can pass through; removed at the end, with what still runs of it.
pub struct Scratch {
    pub root: PathBuf,
}

impl Scratch {
    pub fn new() -> Self {
        let name = format!("stack-test-{}", uuid::Uuid::new_v4().simple());
        let root = std::env::temp_dir().canonicalize().unwrap().join(name);
        DirBuilder::new().mode(0o711).create(&root).unwrap();
        Self { root }
    }

    /// Where the servers keep their data; not there at first.
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    pub fn data_text(&self) -> String {
        self.data().to_str().unwrap().to_owned()
    }

    /// Processes, but this one, that name this folder or work in it, and its RabbitMQ's name server.
    pub fn left_over(&self) -> Vec<(i32, String)> {
        let ports = std::fs::read_to_string(self.data().join("ports")).unwrap_or_default();
        let epmd = ports.split_whitespace().nth(3).unwrap_or("none");
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let found = processes.filter_map(|entry| {
            let id: i32 = entry.file_name().to_str()?.parse().ok()?;
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let folder = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
            let root = self.root.to_str()?;
            let ours = line.contains(root) || folder.starts_with(&self.root);
            let names = line.starts_with("epmd ") && line.contains(&format!(" {epmd} "));
            // A zombie has no command line; a child of a server that died ends by itself, and is waited for.
            ((ours || names) && !line.is_empty()).then_some((id, line))
        });
        found.filter(|(id, _)| u32::try_from(*id) != Ok(std::process::id())).collect()
    }

    /// Waits until nothing of this folder runs, for what ends by itself when its parent has.
    pub async fn assert_nothing_runs(&self) {
        let started = Instant::now();
        loop {
            let left = self.left_over();
            if left.is_empty() {
                return;
            }
            assert!(started.elapsed() < Duration::from_secs(3), "still running: {left:?}");
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for (id, _) in self.left_over() {
            let _ = kill_process(Pid::from_raw(id).unwrap(), Signal::KILL);
        }
        // A server that is just dying may still write.
        let started = Instant::now();
        while std::fs::remove_dir_all(&self.root).is_err() && started.elapsed() < Duration::from_secs(2) {
            std::thread::yield_now();
        }
    }
}

/// The binary `stack` at work; killed when dropped.
pub struct Program {
    child: Child,
    output: PathBuf,
}

impl Program {
    /// Starts it with nothing of the test run's environment but these variables. What it writes goes to a file.
    pub fn spawn(scratch: &Scratch, arguments: &[&str], environment: &[(String, String)]) -> Self {
        let output = scratch.root.join(format!("output-{}", uuid::Uuid::new_v4().simple()));
        let file = File::create(&output).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_stack"));
        command.args(arguments).env_clear().envs(environment.iter().cloned());
        for name in ["PATH", "HOME", "TMPDIR"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file).kill_on_drop(true);
        Self { child: command.spawn().unwrap(), output }
    }

    /// What it wrote so far.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap()
    }

    /// Waits until it has written this; panics when it ends before.
    pub async fn wrote(&mut self, text: &str, deadline: Duration) {
        let started = Instant::now();
        while !self.output().contains(text) {
            let ended = self.child.try_wait().unwrap();
            let waits = ended.is_none() && started.elapsed() < deadline;
            assert!(waits, "{text:?} was not written ({ended:?}):\n{}", self.output());
            tokio::time::sleep(POLL).await;
        }
    }

    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Whether it has begun to look after this signal, which ends it otherwise.
    pub fn catches(&self, signal: Signal) -> bool {
        let Some(id) = self.child.id() else { return false };
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
        caught >> (signal.as_raw() - 1) & 1 == 1
    }

    pub fn signal(&self, signal: Signal) {
        if let Some(id) = self.child.id() {
            kill_process(Pid::from_raw(i32::try_from(id).unwrap()).unwrap(), signal).unwrap();
        }
    }

    /// Ends it as a crash would.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits for its end; panics when it goes on beyond the deadline.
    pub async fn ended(&mut self, deadline: Duration) -> ExitStatus {
        let ended = tokio::time::timeout(deadline, self.child.wait()).await;
        let Ok(status) = ended else { panic!("did not end within {deadline:?}:\n{}", self.output()) };
        status.unwrap()
    }

    /// Signals it and waits for its end, which must be a success.
    pub async fn stop(&mut self, signal: Signal, deadline: Duration) -> Duration {
        let started = Instant::now();
        self.signal(signal);
        let status = self.ended(deadline).await;
        assert!(status.success(), "{status}:\n{}", self.output());
        started.elapsed()
    }
}

/// How often each signal number was filled at the broker.
pub fn fills(market: &Market) -> BTreeMap<u64, usize> {
    // A magic number is the account's base times this, plus the signal's number.
    const MAGIC_IDS: u64 = 1_000_000_000_000;
    let openings = market.deals().iter().filter(|deal| deal.deal_type != DealType::Balance && deal.entry == Entry::In);
    let mut fills = BTreeMap::new();
    for deal in openings {
        *fills.entry(deal.magic % MAGIC_IDS).or_default() += 1;
    }
    fills
}

/// The permissions of a file.
pub fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
