//! The way for a person to see and use the terminal's screen (x11vnc). Only with a password.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::display::{END_DEADLINE, Number, wait_for};
use crate::health::State;
use crate::parts::Part;
use crate::process::{Children, command, ending};
use crate::secret;
use crate::settings::Settings;

const START_DEADLINE: Duration = Duration::from_secs(10);
/// In the folder for short-lived files.
pub(crate) const PASSWORD_FILE: &str = "vnc-password";

/// Serves the display until it or the display ends, or until told to stop; why it ended.
pub(crate) async fn run(
    part: &Part,
    children: &Children,
    settings: &Settings,
    numbers: &mut watch::Receiver<Number>,
    stop: &CancellationToken,
) -> String {
    let Some(vnc) = &settings.vnc else {
        part.set(State::Off("VNC_PASSWORD is not set"));
        stop.cancelled().await;
        return "stopped".to_owned();
    };
    let Some(number) = wait_for(numbers, stop).await else { return "stopped".to_owned() };
    let file = settings.run.join(PASSWORD_FILE);
    if let Err(error) = secret::write(&file, vnc.password.as_bytes()) {
        return error;
    }
    let mut x11vnc = arguments(number, vnc.address, &file, &settings.data);
    let mut child = match children.spawn(x11vnc.stdout(Stdio::piped())) {
        Ok(child) => child,
        Err(error) => {
            secret::remove(&file);
            return error;
        }
    };
    let Some(output) = child.output() else { return "its output can't be read".to_owned() };
    let mut lines = BufReader::new(output).lines();
    let ready = async {
        // Once it listens it says on which port.
        while let Ok(Some(line)) = lines.next_line().await {
            if line.starts_with("PORT=") {
                return;
            }
        }
        // Without another word its end will say why.
        std::future::pending::<()>().await;
    };
    let outcome = tokio::select! {
        () = ready => {
            part.set(State::Running(format!("on {}", vnc.address)));
            Ok(())
        }
        status = child.wait() => Err(Some(status)),
        () = tokio::time::sleep(START_DEADLINE) => Err(None),
        () = stop.cancelled() => Ok(()),
    };
    secret::remove(&file);
    if let Err(ended) = outcome {
        if let Some(status) = ended {
            return ending(status);
        }
        child.end(Signal::KILL, Duration::ZERO).await;
        return format!("x11vnc did not listen within {} s", START_DEADLINE.as_secs());
    }
    tokio::select! {
        status = child.wait() => ending(status),
        () = stop.cancelled() => {
            child.end(Signal::TERM, END_DEADLINE).await;
            "stopped".to_owned()
        }
    }
}

fn arguments(number: u32, address: std::net::SocketAddr, password: &Path, home: &Path) -> tokio::process::Command {
    let mut x11vnc = command("x11vnc", home);
    // It reads the password once, then removes the file.
    let password = format!("rm:{}", password.display());
    x11vnc.args(["-display", &format!(":{number}"), "-passwdfile", &password, "-rfbport", &address.port().to_string()]);
    x11vnc.args(["-norc", "-forever", "-shared", "-noipv6", "-nolookup", "-no6", "-noxrecord", "-quiet"]);
    if !address.ip().is_unspecified() {
        x11vnc.args(["-listen", &address.ip().to_string()]);
    }
    x11vnc
}
