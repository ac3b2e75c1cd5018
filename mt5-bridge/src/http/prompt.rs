//! The EA's connections, on which whatever arrives is acknowledged at once.
//!
//! Windows' own HTTP client sends a request's body apart from its head, and not before the head is acknowledged. The
//! kernel keeps an acknowledgement back for 40 ms, in the hope of an answer to send it with, and the EA stands still.

use std::io::Result;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::serve::Listener;
use rustix::net::sockopt::set_tcp_quickack;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

pub(super) struct PromptListener(pub(super) TcpListener);

pub(super) struct PromptStream(TcpStream);

impl Listener for PromptListener {
    type Io = PromptStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (PromptStream, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        let _ = stream.set_nodelay(true);
        (PromptStream(stream), address)
    }

    fn local_addr(&self) -> Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl AsyncRead for PromptStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let outcome = Pin::new(&mut self.0).poll_read(context, buffer);
        if outcome.is_ready() {
            // The kernel forgets it with the next answer. Where it can't be set a report only takes longer.
            let _ = set_tcp_quickack(&self.0, true);
        }
        outcome
    }
}

impl AsyncWrite for PromptStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
