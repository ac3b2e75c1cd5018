//! Processes that are ours: found by what their command line names, ended with a deadline.
//!
//! Invariant: a process is signalled only while it is the very one that was found (same id, same start time).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use super::ServersError;

/// How often a condition that nothing announces is looked at.
pub(super) const POLL: Duration = Duration::from_millis(20);
/// A virtual machine that has just been started loses a signal without a trace, so that it is signalled again.
const SIGNAL_AGAIN: Duration = Duration::from_millis(500);
/// Longest wait for a killed process to be gone.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// One process, told apart from a later one of the same id by its start time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) id: u32,
    pub(super) name: String,
    started: u64,
    parent: u32,
    session: u32,
}

impl Process {
    /// The live process of this id; a zombie is dead.
    fn read(id: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let (head, tail) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = tail.split_whitespace().collect();
        if matches!(*fields.first()?, "Z" | "X") {
            return None;
        }
        Some(Self {
            id,
            name: head.split_once('(')?.1.to_owned(),
            started: fields.get(19)?.parse().ok()?,
            parent: fields.get(1)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
        })
    }

    fn all() -> impl Iterator<Item = Self> {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|entry| Self::read(entry.file_name().to_str()?.parse().ok()?))
    }

    /// Live processes that have `argument` as one whole argument.
    pub(super) fn with_argument(argument: &Path) -> Vec<Self> {
        let named = |process: &Self| {
            std::fs::read(format!("/proc/{}/cmdline", process.id)).is_ok_and(|line| {
                line.split(|byte| *byte == 0).any(|part| OsStr::from_bytes(part) == argument.as_os_str())
            })
        };
        Self::all().filter(|process| process.id != std::process::id() && named(process)).collect()
    }

    /// Live processes that this one started.
    pub(super) fn children(&self) -> Vec<Self> {
        Self::all().filter(|process| process.parent == self.id).collect()
    }

    /// The one of these that has none of the others as its parent: a server, not a fork that has yet to rename itself.
    pub(super) fn first_parent(found: &[Self]) -> Option<&Self> {
        found.iter().find(|process| found.iter().all(|other| other.id != process.parent))
    }

    /// Whether a process of this name still belongs to the session that `leader` opened.
    pub(super) fn any_in_session(leader: u32, name: &str) -> bool {
        Self::all().any(|process| process.session == leader && process.name == name)
    }

    /// Whether the process of this id has ended and its parent has yet to take note: to others it still looks alive.
    pub(super) fn is_zombie(id: u32) -> bool {
        state_of(id) == Some('Z')
    }

    /// Whether it still runs.
    pub(super) fn alive(&self) -> bool {
        Self::read(self.id).is_some_and(|now| now.started == self.started)
    }

    /// Whether it is frozen.
    pub(super) fn is_stopped(&self) -> bool {
        self.alive() && state_of(self.id) == Some('T')
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<(), ServersError> {
        let Some(id) = i32::try_from(self.id).ok().and_then(Pid::from_raw) else { return Ok(()) };
        if !self.alive() {
            return Ok(());
        }
        match kill_process(id, signal) {
            Err(error) if error != rustix::io::Errno::SRCH => {
                Err(ServersError::io(format!("signal process {} ({})", self.id, self.name))(error.into()))
            }
            _ => Ok(()),
        }
    }
}

/// The letter for what a process is doing, of one that there is.
fn state_of(id: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// Signals the processes, again and again, and waits until none is left; kills those that outlive the deadline.
pub(super) async fn end(processes: &[Process], signal: Signal, deadline: Duration) -> Result<(), ServersError> {
    let end = Instant::now() + deadline;
    while Instant::now() < end {
        for process in processes {
            process.signal(signal)?;
            // A frozen one sees no other signal.
            process.signal(Signal::CONT)?;
        }
        if gone(processes, SIGNAL_AGAIN.min(end - Instant::now())).await {
            return Ok(());
        }
    }
    for process in processes {
        tracing::warn!(process.id, process.name, deadline_s = deadline.as_secs(), "did not end in time; killing it");
        process.signal(Signal::KILL)?;
    }
    if gone(processes, KILL_DEADLINE).await {
        return Ok(());
    }
    let names: Vec<String> = processes.iter().map(|process| format!("{} ({})", process.name, process.id)).collect();
    Err(ServersError::io(format!("kill {}", names.join(", ")))(std::io::ErrorKind::TimedOut.into()))
}

async fn gone(processes: &[Process], deadline: Duration) -> bool {
    until(deadline, async || !processes.iter().any(Process::alive)).await
}

/// Waits for a condition; false when the deadline passed first.
pub(super) async fn until(deadline: Duration, condition: impl AsyncFn() -> bool) -> bool {
    let end = Instant::now() + deadline;
    while !condition().await {
        if Instant::now() >= end {
            return false;
        }
        sleep(POLL).await;
    }
    true
}

/// Starts a server that outlives us, and returns the process unless it ended at once; its output goes to `output`,
/// which is emptied first.
pub(super) fn spawn(mut command: Command, output: &Path) -> Result<Option<Process>, ServersError> {
    let file = std::fs::File::create(output).map_err(ServersError::io(format!("create {}", output.display())))?;
    let copy = file.try_clone().map_err(ServersError::io("duplicate a file handle"))?;
    let child = command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(copy)
        .spawn()
        .map_err(ServersError::io(format!("start {}", command.as_std().get_program().display())))?;
    // The runtime collects the exit status of a child that was let go.
    Ok(child.id().and_then(Process::read))
}

/// Runs a program to its end and returns what it wrote; it is killed when the caller gives up.
pub(super) async fn run(program: &str, mut command: Command, input: &str) -> Result<String, ServersError> {
    use tokio::io::AsyncWriteExt as _;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(ServersError::io(format!("start {program}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends without reading says why in its status.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = child.wait_with_output().await.map_err(ServersError::io(format!("wait for {program}")))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let said = format!("{}\n{}", text(&output.stdout), text(&output.stderr));
    Err(ServersError::Command {
        program: program.to_owned(),
        status: output.status.to_string(),
        output: said.trim().to_owned(),
    })
}
