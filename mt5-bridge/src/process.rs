//! Programs that are started, watched, ended within a deadline, and the orphans they leave.
//!
//! Invariant: a program that we wait for is collected by its waiter alone, every other dead child by
//! [`Children::reap_orphans`]; so no zombie stays and no exit status is lost.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::retry::Pauses;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::process::{ChildStdout, Command};
use tokio_util::sync::CancellationToken;

use crate::health::State;
use crate::parts::Part;

/// The first pause before a program is started again, and the longest.
const RESTART_PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_mins(1));
/// A program that ran for longer starts again after the shortest pause.
const STABLE: Duration = Duration::from_mins(2);
/// A killed process is gone at once, unless the kernel holds it.
const KILL_DEADLINE: Duration = Duration::from_secs(5);

/// A program's command with a clean environment: none of our secrets is in it.
pub(crate) fn command(program: &str, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    for name in ["PATH", "LANG", "TZ"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.kill_on_drop(true);
    command
}

/// The processes that somebody waits for.
#[derive(Clone, Default)]
pub(crate) struct Children(Arc<Mutex<HashSet<u32>>>);

impl Children {
    fn awaited(&self) -> MutexGuard<'_, HashSet<u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a program.
    pub(crate) fn spawn(&self, command: &mut Command) -> Result<Child, String> {
        // Held until the process is noted down: else one that ends at once could be taken for an orphan.
        let mut awaited = self.awaited();
        let program = command.as_std().get_program().display().to_string();
        let process = command.spawn().map_err(|error| match error.kind() {
            ErrorKind::NotFound => format!("{program} is not installed"),
            _ => format!("{program} can't be started: {error}"),
        })?;
        let id = process.id().ok_or_else(|| format!("{program} ended at once"))?;
        awaited.insert(id);
        Ok(Child { process, id, children: self.clone() })
    }

    /// Runs a program to its end; it is killed after the deadline.
    pub(crate) async fn run(&self, command: &mut Command, deadline: Duration) -> Result<ExitStatus, String> {
        let mut child = self.spawn(command)?;
        if let Ok(status) = tokio::time::timeout(deadline, child.wait()).await {
            return status;
        }
        child.end(Signal::KILL, Duration::ZERO).await;
        let program = command.as_std().get_program().display();
        Err(format!("{program} did not end within {} s", deadline.as_secs()))
    }

    /// Collects dead children that nobody waits for; how many.
    pub(crate) fn reap_orphans(&self) -> usize {
        let awaited = self.awaited();
        let own = std::process::id();
        let orphan = |process: &Process| process.parent == own && process.dead && !awaited.contains(&process.id);
        let orphans: Vec<u32> = Process::all().filter(orphan).map(|process| process.id).collect();
        let collect = |id: &&u32| {
            let pid = pid(**id);
            pid.is_some_and(|pid| {
                waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG).is_ok_and(|end| end.is_some())
            })
        };
        orphans.iter().filter(collect).count()
    }
}

/// Collects orphans whenever a child has ended, and now and then for good measure, until told to stop.
pub(crate) async fn reap(children: Children, stop: CancellationToken) {
    let ended = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::child());
    let Ok(mut ended) = ended else { return tracing::error!("the ends of children can't be heard of") };
    while !stop.is_cancelled() {
        let reaped = children.reap_orphans();
        metrics::counter!("bridge_orphans_reaped_total").increment(u64::try_from(reaped).unwrap_or(u64::MAX));
        tokio::select! {
            _ = ended.recv() => {}
            () = tokio::time::sleep(Duration::from_secs(2)) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// A running program.
pub(crate) struct Child {
    process: tokio::process::Child,
    pub(crate) id: u32,
    children: Children,
}

impl Child {
    /// Waits until it ends; can be dropped and asked again.
    pub(crate) async fn wait(&mut self) -> Result<ExitStatus, String> {
        let status = self.process.wait().await.map_err(|error| format!("its end was missed: {error}"));
        self.children.awaited().remove(&self.id);
        status
    }

    /// What it writes, where that was asked for.
    pub(crate) fn output(&mut self) -> Option<ChildStdout> {
        self.process.stdout.take()
    }

    /// Asks it to end with a signal, and kills it after the deadline.
    pub(crate) async fn end(&mut self, signal: Signal, deadline: Duration) {
        if let (Some(_), Some(pid)) = (self.process.id(), pid(self.id)) {
            let _ = kill_process(pid, signal);
        }
        if tokio::time::timeout(deadline, self.wait()).await.is_err() {
            let _ = self.process.start_kill();
            let _ = tokio::time::timeout(KILL_DEADLINE, self.wait()).await;
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // From here on whoever finds it dead may collect it.
        self.children.awaited().remove(&self.id);
    }
}

/// How a program ended, in words.
pub(crate) fn ending(status: Result<ExitStatus, String>) -> String {
    match status {
        Err(error) => error,
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("ended with code {code}"),
            (None, Some(signal)) => format!("ended by signal {signal}"),
            (None, None) => "ended".to_owned(),
        },
    }
}

/// Runs a part of the container again and again, with growing pauses, until told to stop. `run` returns why it ended.
pub(crate) async fn keep(part: &Part, stop: &CancellationToken, mut run: impl AsyncFnMut() -> String) {
    let mut pauses = Pauses::between(RESTART_PAUSE.0, RESTART_PAUSE.1);
    loop {
        let started = Instant::now();
        let why = run().await;
        part.set(State::Down(why.clone()));
        if stop.is_cancelled() {
            return;
        }
        if started.elapsed() > STABLE {
            pauses.reset();
        }
        let pause = pauses.next_pause();
        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(part = part.name, why, pause_ms, "down, starting it again after a pause");
        metrics::counter!("bridge_restarts_total", "part" => part.name).increment(1);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

fn pid(id: u32) -> Option<Pid> {
    i32::try_from(id).ok().and_then(Pid::from_raw)
}

/// A process as the kernel describes it.
struct Process {
    id: u32,
    parent: u32,
    /// Ended, and not yet collected: to `kill` it still looks alive.
    dead: bool,
}

impl Process {
    fn read(id: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name comes in brackets and may hold anything.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let dead = matches!(fields.next()?, "Z" | "X");
        Some(Self { id, parent: fields.next()?.parse().ok()?, dead })
    }

    /// Everything that runs, or has run and was not collected.
    fn all() -> impl Iterator<Item = Self> {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|entry| Self::read(entry.file_name().to_str()?.parse().ok()?))
    }
}

/// A program that runs, whoever started it.
pub(crate) struct Running {
    pub(crate) id: u32,
    /// Its command line, arguments apart by blanks.
    pub(crate) command: String,
}

impl Running {
    /// Those that were started with this `NAME=value` in their environment.
    pub(crate) fn with_variable(variable: String) -> impl Iterator<Item = Self> {
        let running = Process::all().filter(|process| !process.dead);
        running.filter_map(move |Process { id, .. }| {
            let environment = std::fs::read(format!("/proc/{id}/environ")).ok()?;
            let command = std::fs::read(format!("/proc/{id}/cmdline")).ok()?;
            let has = environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes());
            has.then(|| Self { id, command: String::from_utf8_lossy(&command).replace('\0', " ") })
        })
    }

    /// Ends it at once. One that has ended meanwhile is fine.
    pub(crate) fn kill(&self) {
        if let Some(pid) = pid(self.id) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}
