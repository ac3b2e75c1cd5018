//! A connection as it is, on which a test writes what it likes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use common::config::Limits;
use serde_json::Value;
use stack::sandbox::Sandbox;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::support::{DEADLINE, Whole, servers};

/// Addresses of this machine, for senders that are to be told apart.
pub(crate) const HOME: [u8; 4] = [127, 0, 0, 1];
pub(crate) const LOUD: [u8; 4] = [127, 0, 0, 2];
pub(crate) const QUIET: [u8; 4] = [127, 0, 0, 3];

/// A platform within these limits.
pub(crate) async fn platform(limits: Limits) -> Whole {
    let (database_url, amqp_url) = servers();
    let mut sandbox = Sandbox::create(&database_url, &amqp_url, &[]).await.unwrap();
    sandbox.settings.limits = limits;
    let platform = sandbox.start().await.unwrap();
    let operator = sandbox.operator(&platform).unwrap();
    Whole { sandbox, platform, operator }
}

/// One without rates, whose patience is short.
pub(crate) fn impatient() -> Limits {
    let short = Duration::from_millis(300);
    Limits { head_timeout: short, body_timeout: short, ..Limits::for_load() }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// A request's text, with this key and further lines of its head.
pub(crate) fn request(method: &str, path: &str, key: &str, lines: &str, body: &str) -> String {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n{lines}Content-Length: {length}\r\n\r\n{body}")
}

/// One connection.
pub(crate) struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Wire {
    /// From this address of this machine.
    pub(crate) async fn open(whole: &Whole, from: [u8; 4]) -> Self {
        let to: SocketAddr = whole.platform.url.strip_prefix("http://").unwrap().parse().unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((from, 0))).unwrap();
        let stream = timeout(DEADLINE, socket.connect(to)).await.expect("in time").unwrap();
        Self { stream, read: Vec::new() }
    }

    /// Writes; false where the other end has hung up.
    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        timeout(DEADLINE, self.stream.write_all(bytes.as_ref())).await.expect("in time").is_ok()
    }

    /// The next answer; None where the connection ends before.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        let head = loop {
            if let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                let head: Vec<u8> = self.read.drain(..end + 4).collect();
                break String::from_utf8(head).unwrap();
            }
            self.more().await?;
        };
        let (first, lines) = head.split_once("\r\n").unwrap();
        let status = first.split(' ').nth(1).unwrap().parse().unwrap();
        let lines = lines.lines().filter_map(|line| line.split_once(": "));
        let headers: BTreeMap<String, String> =
            lines.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        while self.read.len() < length {
            self.more().await?;
        }
        Some(Answer { status, headers, body: self.read.drain(..length).collect() })
    }

    async fn more(&mut self) -> Option<()> {
        let length = timeout(DEADLINE, self.stream.read_buf(&mut self.read)).await.expect("in time").unwrap_or(0);
        (length > 0).then_some(())
    }

    /// Writes a request and reads its answer.
    pub(crate) async fn ask(&mut self, text: impl AsRef<[u8]>) -> Answer {
        self.write(text).await;
        self.answer().await.expect("an answer")
    }

    /// Says that nothing more will be written.
    pub(crate) async fn end(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Waits until the other end hangs up; what was read and not looked at until then.
    pub(crate) async fn closed(mut self) -> Vec<u8> {
        while self.more().await.is_some() {}
        self.read
    }
}

/// A request on a connection of its own.
pub(crate) async fn ask(whole: &Whole, from: [u8; 4], text: impl AsRef<[u8]>) -> Answer {
    Wire::open(whole, from).await.ask(text).await
}

/// How often this was refused, in this process: other tests may run beside this one, so it only grows.
pub(crate) async fn refusals(whole: &Whole, reason: &str) -> u64 {
    let text = reqwest::get(&whole.platform.metrics).await.unwrap().text().await.unwrap();
    let name = format!("pipeline_http_refused_total{{reason=\"{reason}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or(0)
}
