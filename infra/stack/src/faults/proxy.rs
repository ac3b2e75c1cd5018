//! A line between two parts that can be cut, slowed, halved and reset, and whose connections can be lost without a word.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What a line does with what is sent over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Passes it on.
    Whole,
    /// Ends all connections, and every new one at once.
    Cut,
    /// Passes it on that much later, both ways.
    Slow(Duration),
    /// Passes questions on, and holds the answers back.
    Halved,
    /// Ends all connections with a reset, and takes new ones.
    Reset,
}

impl std::fmt::Display for Line {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole => formatter.write_str("whole"),
            Self::Cut => formatter.write_str("cut"),
            Self::Slow(delay) => write!(formatter, "slowed by {} ms", delay.as_millis()),
            Self::Halved => formatter.write_str("without answers"),
            Self::Reset => formatter.write_str("reset"),
        }
    }
}

/// Listens for one side and connects to the other; of several it takes turns, and leaves out who does not listen.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    line: watch::Sender<Line>,
    lost: watch::Sender<()>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// A line that is whole, to whoever of these listens.
    pub async fn start(others: Vec<SocketAddr>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let ((line, seen), (lost, losses)) = (watch::channel(Line::Whole), watch::channel(()));
        let (others, turn) = (Arc::new(others), Arc::new(AtomicUsize::new(0)));
        let accepting = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let (others, first) = (others.clone(), turn.fetch_add(1, Ordering::Relaxed));
                let (line, lost) = (seen.clone(), losses.clone());
                tokio::spawn(async move {
                    let ended = connect(stream, &others, first, line, lost).await;
                    tracing::debug!(?ended, "a connection ended");
                });
            }
        });
        Ok(Self { address, line, lost, accepting })
    }

    /// Makes the line so, for the connections that there are and for new ones.
    pub fn set(&self, line: Line) {
        self.line.send_replace(line);
    }

    /// Loses the connections that there are, as if the host at either end had gone and another had its address: nothing comes
    /// of them any more, no end and no reset, and new ones are well.
    pub fn lose_connections(&self) {
        self.lost.send_replace(());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn connect(
    mut one: TcpStream,
    others: &[SocketAddr],
    first: usize,
    mut line: watch::Receiver<Line>,
    mut lost: watch::Receiver<()>,
) -> io::Result<()> {
    lost.mark_unchanged();
    if *line.borrow_and_update() == Line::Cut {
        return Ok(());
    }
    let mut other = None;
    for turn in 0..others.len() {
        other = TcpStream::connect(others[(first + turn) % others.len()]).await.ok();
        if other.is_some() {
            break;
        }
    }
    let Some(mut other) = other else { return Ok(()) };
    one.set_nodelay(true)?;
    other.set_nodelay(true)?;
    let ended = {
        let ((from_one, to_one), (from_other, to_other)) = (one.split(), other.split());
        tokio::select! {
            ended = pass(from_one, to_other, line.clone(), false) => Some(ended),
            ended = pass(from_other, to_one, line.clone(), true) => Some(ended),
            broken = line.wait_for(|line| matches!(line, Line::Cut | Line::Reset)) => {
                Some(broken.map(drop).map_err(io::Error::other))
            }
            _ = lost.changed() => None,
        }
    };
    let Some(ended) = ended else {
        // Both ends stay open, until the proxy itself is gone.
        while lost.changed().await.is_ok() {}
        return Ok(());
    };
    if *line.borrow() == Line::Reset {
        one.set_zero_linger()?;
        other.set_zero_linger()?;
    }
    ended
}

/// One direction, until its sender ends.
async fn pass(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut line: watch::Receiver<Line>,
    answers: bool,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1_024];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        let now = *line.borrow_and_update();
        if let Line::Slow(delay) = now {
            tokio::time::sleep(delay).await;
        }
        if answers {
            line.wait_for(|line| *line != Line::Halved).await.map_err(io::Error::other)?;
        }
        to.write_all(&buffer[..count]).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers every byte with itself.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        address
    }

    async fn ask(stream: &mut TcpStream) -> io::Result<u8> {
        stream.write_all(b"?").await?;
        stream.read_u8().await
    }

    /// Goal: each state of a line does what it says, and is over when the line is whole again.
    #[tokio::test]
    async fn a_line_can_be_slowed_halved_reset_and_cut_and_its_connections_lost() {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
        let proxy = Proxy::start(vec![free, echo().await]).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(ask(&mut stream).await.unwrap(), b'?', "the one that listens is found");
        proxy.set(Line::Slow(Duration::from_millis(60)));
        let began = std::time::Instant::now();
        assert_eq!(ask(&mut stream).await.unwrap(), b'?');
        assert!(began.elapsed() >= Duration::from_millis(120), "{:?}", began.elapsed());
        proxy.set(Line::Halved);
        let answer = tokio::time::timeout(Duration::from_millis(300), ask(&mut stream)).await;
        assert!(answer.is_err(), "no answer");
        proxy.set(Line::Whole);
        assert_eq!(stream.read_u8().await.unwrap(), b'?', "the answer that was held back");
        proxy.set(Line::Reset);
        let reset = stream.read_u8().await.unwrap_err();
        assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
        proxy.set(Line::Cut);
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        assert!(ask(&mut stream).await.is_err(), "ended");
        proxy.set(Line::Whole);
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(ask(&mut stream).await.unwrap(), b'?');
        proxy.lose_connections();
        let mut other = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(ask(&mut other).await.unwrap(), b'?', "a new one is well");
        let answer = tokio::time::timeout(Duration::from_millis(300), ask(&mut stream)).await;
        assert!(answer.is_err(), "no answer, and no end: {answer:?}");
    }
}
