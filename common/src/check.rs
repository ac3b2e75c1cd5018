//! The argument `check` of every program that serves: whether the one that runs beside it is ready. For a container's
//! health check, so that the image needs no other HTTP client.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use crate::config::ConfigError;

const TIMEOUT: Duration = Duration::from_secs(3);

/// What a program does with its arguments: `run` without any.
pub fn or(address: impl FnOnce() -> Result<SocketAddr, ConfigError>, run: impl FnOnce() -> ExitCode) -> ExitCode {
    let outcome = match std::env::args().nth(1).as_deref() {
        None => return run(),
        Some("check") => address().map_err(|error| error.to_string()).and_then(ready),
        Some(_) => Err("there is one argument: check; all else is set in the environment, see the README".to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(std::io::stdout(), "{why}");
            ExitCode::FAILURE
        }
    }
}

/// Asks `/readyz` at the address that a program listens on; what keeps it from being ready.
fn ready(address: SocketAddr) -> Result<(), String> {
    let answer = ask(reachable(address)).map_err(|error| format!("no answer at {address}: {error}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    match head.split_whitespace().nth(1) {
        Some("200") => Ok(()),
        _ => Err(body.to_owned()),
    }
}

/// An address that listens everywhere is asked at home.
fn reachable(address: SocketAddr) -> SocketAddr {
    let home = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(home, address.port())
}

fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what listens on every address is found on this machine.
    #[test]
    fn an_address_for_everywhere_is_asked_at_home() {
        for (listens, asked) in
            [("0.0.0.0:8000", "127.0.0.1:8000"), ("[::]:1", "[::1]:1"), ("10.0.0.1:2", "10.0.0.1:2")]
        {
            assert_eq!(reachable(listens.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
