//! The Expert Advisor in place of the simulated terminal: its own program, at the same market, as a process.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::view::View;
use crate::market::{self, SharedMarket};
use crate::platform::write_private;

/// How long it may take to deliver what it knows before it is ended.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// Why it could not go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum NativeError {
    #[error("{0}: {1}; ./infra/up --terminal native builds it")]
    Start(PathBuf, std::io::Error),
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    #[error(transparent)]
    Market(#[from] market::Error),
    #[error("the Expert Advisor ended by itself ({0})")]
    Ended(std::process::ExitStatus),
}

/// Runs the Expert Advisor's program at the market until `stop`; shows what it logs.
pub(super) async fn run(
    program: &Path,
    folder: &Path,
    (url, key): (&str, &str),
    market: SharedMarket,
    view: View,
    stop: CancellationToken,
) -> Result<(), NativeError> {
    // What is started is another program, which would start all the same.
    std::fs::File::open(program).map_err(|error| NativeError::Start(program.to_owned(), error))?;
    let files = folder.join("files");
    std::fs::create_dir_all(&files).map_err(|error| NativeError::File(files.clone(), error))?;
    let inputs = folder.join("inputs.set");
    let text = format!("InpUrl={url}\nInpKey={key}\nInpTimerMs=16\nInpUpdateSeconds=2\n");
    write_private(&inputs, &text).map_err(|error| NativeError::File(inputs.clone(), error))?;
    let socket = folder.join("market.socket");
    let listener = market::listen(&socket).await?;
    let ended = CancellationToken::new();
    let serving = market::serve(listener, market, ended.clone(), None);
    let trading = async {
        // It must not outlive this process.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "--"])
            .arg(program)
            .arg("--market")
            .arg(&socket)
            .arg("--files")
            .arg(&files)
            .arg("--inputs")
            .arg(&inputs)
            .args(["--symbol", "EURUSD", "--allow", url])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let outcome = match child {
            Ok(child) => watch(child, view, stop).await,
            Err(error) => Err(error),
        };
        ended.cancel();
        match outcome {
            Ok(Some(status)) => Err(NativeError::Ended(status)),
            Ok(None) => Ok(()),
            Err(error) => Err(NativeError::Start(program.to_owned(), error)),
        }
    };
    let ((), outcome) = tokio::join!(serving, trading);
    let _ = std::fs::remove_file(&socket); // the next start replaces one that is left
    outcome
}

/// Shows its log until it is told to stop; its exit status where it ended by itself.
async fn watch(
    mut child: Child,
    view: View,
    stop: CancellationToken,
) -> std::io::Result<Option<std::process::ExitStatus>> {
    let mut lines = child.stdout.take().map(|out| BufReader::new(out).lines());
    let show = async {
        if let Some(lines) = &mut lines {
            while let Some(line) = lines.next_line().await? {
                // Time and name of the program stand before the text, as in the terminal's journal.
                view.terminal(line.splitn(3, '\t').last().unwrap_or_default());
            }
        }
        Ok::<(), std::io::Error>(())
    };
    tokio::select! {
        shown = show => shown?,
        () = stop.cancelled() => {
            terminate(&child);
            if tokio::time::timeout(STOP_DEADLINE, child.wait()).await.is_err() {
                child.kill().await?;
            }
            return Ok(None);
        }
    }
    child.wait().await.map(Some)
}

fn terminate(child: &Child) {
    let pid = child.id().and_then(|pid| pid.try_into().ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended in this very moment.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}
