//! A process that is started again and again, whatever was done to it.

use std::fs::OpenOptions;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// How long an ordered end may take.
const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// What is started, and the process while it runs. It dies with its value, and with this process.
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) binary: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) log: PathBuf,
    pub(super) child: Option<Child>,
}

impl Program {
    /// Whether it ended although nobody ended it.
    pub(super) fn has_fallen(&mut self) -> io::Result<bool> {
        Ok(match &mut self.child {
            Some(child) => child.try_wait()?.is_some(),
            None => false,
        })
    }

    /// Starts it; it does not run.
    pub(super) fn start(&mut self) -> io::Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(&self.binary).args(&self.arguments);
        command.env_remove("RUST_LOG").env_remove("LOG_FORMAT").envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        self.child = Some(command.spawn()?);
        Ok(())
    }

    /// Signals it, if it runs.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        let id = self.child.as_ref().and_then(Child::id).and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        match id.map(|id| kill_process(id, signal)) {
            Some(Err(error)) if error != rustix::io::Errno::SRCH => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Ends it as a crash would.
    pub(super) async fn kill(&mut self) -> io::Result<()> {
        match self.child.take() {
            Some(mut child) => child.kill().await,
            None => Ok(()),
        }
    }

    /// Ends it in order; one that does not end in time is killed. Whether it ended by itself, and well.
    pub(super) async fn stop(&mut self) -> io::Result<bool> {
        self.signal(Signal::TERM)?;
        let Some(mut child) = self.child.take() else { return Ok(true) };
        match tokio::time::timeout(STOP_DEADLINE, child.wait()).await {
            Ok(status) => Ok(status?.success()),
            Err(_) => child.kill().await.map(|()| false),
        }
    }
}
