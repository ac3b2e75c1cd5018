//! The market over a Unix socket: one request a line, one answer a line, in order, for any number of connections.
//!
//! The market is locked for the length of one call, never while a connection waits.

#[cfg(test)]
mod tests;

use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::{Error, Market, Request, Response, SharedMarket, now};

/// A longer line is no request, and ends its connection.
const LINE_BYTES_MAX: u64 = 64 * 1024;
/// Pause after a connection that could not be taken, so that a lack of file descriptors does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Listens at `path`. A socket that nobody listens at any more is replaced; anything else there is left alone.
pub async fn listen(path: &Path) -> Result<UnixListener, Error> {
    let failed = |source| Error::Io { path: path.display().to_string(), source };
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(failed(io::Error::new(ErrorKind::AlreadyExists, "there is something that is not a socket")));
        }
        Ok(_) => match UnixStream::connect(path).await {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
            Ok(_) => return Err(Error::InUse(path.display().to_string())),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    UnixListener::bind(path).map_err(failed)
}

/// Serves the market until `stop`; its prices make a step every `tick`, or stand still. All connections have ended then.
pub async fn serve(listener: UnixListener, market: SharedMarket, stop: CancellationToken, tick: Option<Duration>) {
    let connections = TaskTracker::new();
    let accept = async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (market, stop) = (market.clone(), stop.clone());
                    connections.spawn(async move {
                        tokio::select! {
                            biased;
                            () = stop.cancelled() => {}
                            ended = converse(stream, &market) => {
                                if let Err(error) = ended {
                                    debug!("a connection broke: {error}");
                                }
                            }
                        }
                    });
                }
                Err(error) => {
                    warn!("a connection could not be taken: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = move_prices(&market, tick) => {}
        () = accept => {}
    }
    connections.close();
    connections.wait().await;
}

async fn move_prices(market: &SharedMarket, tick: Option<Duration>) {
    let Some(tick) = tick else { return std::future::pending().await };
    let mut interval = tokio::time::interval(tick);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        if let Response::Error { message } = locked(market).call(Request::Advance { steps: 1 }, now()) {
            warn!("prices do not move: {message}");
        }
    }
}

/// Answers one connection until it ends, or is to be dropped.
async fn converse(stream: UnixStream, market: &SharedMarket) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
        if line.last() != Some(&b'\n') {
            // The end, within a line or between two, or a line that is too long.
            return Ok(());
        }
        let answer = match serde_json::from_slice(&line) {
            Ok(request) => {
                let travels = locked(market).depart(&request);
                if !travels.is_zero() {
                    tokio::time::sleep(travels).await;
                }
                let Some(answer) = locked(market).arrive(request, now()) else { return Ok(()) };
                answer
            }
            Err(error) => Response::Error { message: format!("not understood: {error}") },
        };
        let mut answer = serde_json::to_vec(&answer)?;
        answer.push(b'\n');
        writer.write_all(&answer).await?;
    }
}

fn locked(market: &SharedMarket) -> MutexGuard<'_, Market> {
    market.lock().unwrap_or_else(PoisonError::into_inner)
}
