//! The screen that the terminal draws on, in memory (Xvfb).

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::health::State;
use crate::parts::Part;
use crate::process::{Children, command, ending};

/// The number of the display that runs now.
pub(crate) type Number = Option<u32>;

const START_DEADLINE: Duration = Duration::from_secs(10);
pub(crate) const END_DEADLINE: Duration = Duration::from_secs(2);

/// Runs the display until it ends or is told to; why it ended.
pub(crate) async fn run(
    part: &Part,
    children: &Children,
    screen: &str,
    home: &Path,
    numbers: &watch::Sender<Number>,
    stop: &CancellationToken,
) -> String {
    let mut xvfb = command("Xvfb", home);
    // It chooses a free number itself and writes it to its output once it is ready; only this machine may connect.
    xvfb.args(["-displayfd", "1", "-screen", "0", &format!("{screen}x24"), "-nolisten", "tcp", "-noreset"]);
    // The terminal draws without OpenGL, whose software renderer would take 50 MB.
    xvfb.args(["-extension", "GLX"]);
    let mut child = match children.spawn(xvfb.stdout(Stdio::piped())) {
        Ok(child) => child,
        Err(error) => return error,
    };
    let Some(output) = child.output() else { return "its output can't be read".to_owned() };
    let mut lines = BufReader::new(output).lines();
    let ready = async {
        match lines.next_line().await.ok().flatten().and_then(|line| line.trim().parse().ok()) {
            Some(number) => number,
            // Without a number its end will say why.
            None => std::future::pending().await,
        }
    };
    let number: u32 = tokio::select! {
        number = ready => number,
        status = child.wait() => return format!("before it was ready it {}", ending(status)),
        () = tokio::time::sleep(START_DEADLINE) => {
            child.end(Signal::KILL, Duration::ZERO).await;
            return format!("Xvfb was not ready within {} s", START_DEADLINE.as_secs());
        }
    };
    part.set(State::Running(format!("on :{number}")));
    numbers.send_replace(Some(number));
    let why = tokio::select! {
        status = child.wait() => ending(status),
        () = stop.cancelled() => {
            child.end(Signal::TERM, END_DEADLINE).await;
            "stopped".to_owned()
        }
    };
    numbers.send_replace(None);
    why
}

/// Waits for a display; `None` when told to stop first.
pub(crate) async fn wait_for(numbers: &mut watch::Receiver<Number>, stop: &CancellationToken) -> Number {
    tokio::select! {
        number = numbers.wait_for(Option::is_some) => number.ok().and_then(|number| *number),
        () = stop.cancelled() => None,
    }
}
