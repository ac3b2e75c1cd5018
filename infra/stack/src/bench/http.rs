//! Just enough of HTTP/1.1 to load the services without loading the machine: one connection, one request at a time.
//!
//! Invariant: an answer is returned whole, or the connection is of no further use.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// No answer takes longer; a long poll is held for at most 25 s.
const DEADLINE: Duration = Duration::from_secs(35);
/// Larger than any answer to a load request.
const ANSWER_BYTES: usize = 4_096;

/// A connection that is kept.
pub(super) struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

/// What was answered.
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    pub(super) body: &'a [u8],
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, answer: Vec::with_capacity(ANSWER_BYTES) })
    }

    /// Sends a request as it is, and waits for its answer.
    pub(super) async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        let whole = self.read_answer(request);
        let (status, start, end) =
            tokio::time::timeout(DEADLINE, whole).await.map_err(|_| io::ErrorKind::TimedOut)??;
        Ok(Answer { status, body: &self.answer[start..end] })
    }

    /// The status, and where the body begins and ends.
    async fn read_answer(&mut self, request: &[u8]) -> io::Result<(u16, usize, usize)> {
        self.stream.write_all(request).await?;
        self.answer.clear();
        loop {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(start) = self.answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").map(|end| end + 4) {
                let (status, length) = head(&self.answer[..start]).ok_or(io::ErrorKind::InvalidData)?;
                if self.answer.len() >= start + length {
                    return Ok((status, start, start + length));
                }
            }
        }
    }
}

/// The status and the length of the body; none where they are not told.
fn head(head: &[u8]) -> Option<(u16, usize)> {
    const LENGTH: &[u8] = b"content-length:";
    let status = std::str::from_utf8(head.get(9..12)?).ok()?.parse().ok()?;
    let mut lines = head.split(|byte| *byte == b'\n');
    let line = lines.find(|line| line.len() > LENGTH.len() && line[..LENGTH.len()].eq_ignore_ascii_case(LENGTH))?;
    let length = std::str::from_utf8(&line[LENGTH.len()..]).ok()?.trim().parse().ok()?;
    Some((status, length))
}

/// A GET with this key.
pub(super) fn get(path: &str, key: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: {key}\r\n\r\n").into_bytes()
}

/// A POST of JSON with this key and an idempotency key where there is one.
pub(super) fn post(path: &str, key: &str, idempotency_key: Option<&str>, body: &str) -> Vec<u8> {
    let header = idempotency_key.map(|key| format!("idempotency-key: {key}\r\n")).unwrap_or_default();
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: {key}\r\n{header}\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_length_are_found_in_any_case() {
        assert_eq!(head(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nX: y\r\n\r\n"), Some((200, 12)));
        assert_eq!(head(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length:0\r\n\r\n"), Some((503, 0)));
        assert_eq!(head(b"HTTP/1.1 200 OK\r\n\r\n"), None);
    }
}
