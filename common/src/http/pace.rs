//! A connection's pace: whoever opens one and then says nothing, or its request a byte at a time, is cut off.
//!
//! Only the connection's own task changes the phase; the lock is there because the connection and its service both
//! hold it, and is never waited for.

use std::io::Result;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// What a connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It waits for a request's head to be whole, since it was opened or the head's first byte came.
    Head(Instant),
    /// A request is being answered; that has a timeout of its own.
    Answering,
    /// It was answered, takes the answer, and may ask again.
    Idle(Instant),
}

/// How long a connection may be in each phase.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) head: Duration,
    pub(super) idle: Duration,
}

/// The phase of one connection.
#[derive(Clone, Debug)]
pub(super) struct Pace(Arc<Mutex<Phase>>);

impl Pace {
    /// Of a connection that was just opened.
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Phase::Head(Instant::now()))))
    }

    fn set(&self, phase: Phase) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    fn get(&self) -> Phase {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request's head is whole.
    pub(super) fn answering(&self) {
        self.set(Phase::Answering);
    }

    /// The request was answered.
    pub(super) fn answered(&self) {
        self.set(Phase::Idle(Instant::now()));
    }

    /// Whether a request's head is still to come.
    pub(super) fn in_head(&self) -> bool {
        matches!(self.get(), Phase::Head(_))
    }

    fn heard(&self) {
        if matches!(self.get(), Phase::Idle(_)) {
            self.set(Phase::Head(Instant::now()));
        }
    }

    /// When to look again, or None when the connection's time is over. Looks are never further apart than a head may
    /// take, so that a connection lives at most that much longer than it may.
    pub(super) fn look(&self, now: Instant, patience: Patience) -> Option<Instant> {
        look(self.get(), now, patience)
    }
}

fn look(phase: Phase, now: Instant, patience: Patience) -> Option<Instant> {
    let end = match phase {
        Phase::Answering => return Some(now + patience.head),
        Phase::Head(since) => since + patience.head,
        Phase::Idle(since) => since + patience.idle,
    };
    (now < end).then(|| end.min(now + patience.head))
}

/// A connection that notes when it hears something.
pub(super) struct Paced<Io> {
    pub(super) io: Io,
    pub(super) pace: Pace,
}

impl<Io: AsyncRead + Unpin> AsyncRead for Paced<Io> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.io).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.pace.heard();
        }
        outcome
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Paced<Io> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { head: Duration::from_secs(10), idle: Duration::from_secs(150) };

    fn lives(phase: impl Fn(Instant) -> Phase, seconds: u64) -> bool {
        let start = Instant::now();
        look(phase(start), start + Duration::from_secs(seconds), PATIENCE).is_some()
    }

    #[test]
    fn each_phase_ends_at_its_time() {
        assert!(lives(Phase::Head, 9) && !lives(Phase::Head, 10));
        assert!(lives(Phase::Idle, 149) && !lives(Phase::Idle, 150));
        assert!(lives(|_| Phase::Answering, 100_000), "a long poll is the service's own matter");
    }

    #[test]
    fn no_look_is_further_away_than_a_head_may_take() {
        let now = Instant::now();
        for phase in [Phase::Head(now), Phase::Idle(now), Phase::Answering] {
            assert_eq!(look(phase, now, PATIENCE), Some(now + PATIENCE.head), "{phase:?}");
        }
        let old = Phase::Idle(now);
        let late = now + Duration::from_secs(145);
        assert_eq!(look(old, late, PATIENCE), Some(now + PATIENCE.idle));
    }

    #[test]
    fn bytes_begin_a_head_and_do_not_prolong_it() {
        let pace = Pace::new();
        let opened = pace.get();
        pace.heard();
        assert_eq!(pace.get(), opened, "a byte more is no more time");
        pace.answering();
        pace.heard();
        assert_eq!(pace.get(), Phase::Answering);
        pace.answered();
        assert!(matches!(pace.get(), Phase::Idle(_)));
        pace.heard();
        assert!(matches!(pace.get(), Phase::Head(_)));
    }
}
