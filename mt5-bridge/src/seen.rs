//! What the passing requests show: that the EA lives, what it says of its connection, and whether the dispatcher answers.
//! Nothing about trades.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::clock::Clock;
use serde::Deserialize;
use time::OffsetDateTime;

use crate::health::Expert;

/// What was seen of the EA since the terminal's start, and of the dispatcher.
pub(crate) struct Seen {
    clock: Clock,
    last: Mutex<Last>,
    /// When a request last went to the dispatcher, and what was wrong.
    dispatcher: Mutex<Option<(Instant, Result<(), String>)>>,
}

#[derive(Clone, Copy, Default)]
struct Last {
    heard: Option<Instant>,
    poll: Option<Instant>,
    update: Option<Instant>,
    connected: Option<bool>,
    trade_allowed: Option<bool>,
}

/// The fields of an account update that are looked at.
#[derive(Deserialize)]
struct Update {
    connected: Option<bool>,
    trade_allowed: Option<bool>,
}

impl Seen {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, last: Mutex::default(), dispatcher: Mutex::default() }
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A terminal starts: what its predecessor did says nothing about it.
    pub(crate) fn forget(&self) {
        *self.last() = Last::default();
    }

    /// The EA lives: it asked for something, whatever it was.
    pub(crate) fn heard(&self) {
        self.last().heard = Some(Instant::now());
    }

    /// The EA asked for signals.
    pub(crate) fn poll(&self) {
        self.last().poll = Some(Instant::now());
        metrics::gauge!("bridge_ea_last_poll_timestamp_seconds").set(seconds(self.clock.now()));
    }

    /// The EA reported the account. MQL5 may end a body with a zero byte.
    pub(crate) fn update(&self, body: &[u8]) {
        let end = body.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let said = serde_json::from_slice::<Update>(&body[..end]).ok();
        let (connected, trade_allowed) = said.map_or((None, None), |update| (update.connected, update.trade_allowed));
        let mut last = self.last();
        *last = Last { update: Some(Instant::now()), connected, trade_allowed, ..*last };
        drop(last);
        metrics::gauge!("bridge_ea_last_update_timestamp_seconds").set(seconds(self.clock.now()));
        let said = [("bridge_terminal_connected", connected), ("bridge_terminal_trade_allowed", trade_allowed)];
        for (name, said) in said {
            metrics::gauge!(name).set(f64::from(said == Some(true)));
        }
    }

    /// A request went to the dispatcher, and how that ended.
    pub(crate) fn dispatcher(&self, outcome: Result<(), String>) {
        let mut dispatcher = self.dispatcher.lock().unwrap_or_else(PoisonError::into_inner);
        let was_wrong = matches!(&*dispatcher, Some((_, Err(_))));
        match &outcome {
            Ok(()) if was_wrong => tracing::info!("the dispatcher answers again"),
            Err(why) if !was_wrong => tracing::warn!(why, "the EA's requests do not get through"),
            _ => {}
        }
        *dispatcher = Some((Instant::now(), outcome));
    }

    /// How the last request to the dispatcher ended, and how long ago.
    pub(crate) fn last_answer(&self) -> Option<(Duration, Result<(), String>)> {
        let dispatcher = self.dispatcher.lock().unwrap_or_else(PoisonError::into_inner);
        dispatcher.as_ref().map(|(at, outcome)| (at.elapsed(), outcome.clone()))
    }

    /// With ages counted from now.
    pub(crate) fn expert(&self) -> Expert {
        let last = *self.last();
        Expert {
            heard: last.heard.map(|at| at.elapsed()),
            poll: last.poll.map(|at| at.elapsed()),
            update: last.update.map(|at| at.elapsed()),
            connected: last.connected,
            trade_allowed: last.trade_allowed,
        }
    }
}

fn seconds(time: OffsetDateTime) -> f64 {
    (time - OffsetDateTime::UNIX_EPOCH).as_seconds_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the connection and the permission are read from an update as MQL5 sends it, and only from the last one.
    #[test]
    fn an_update_tells_connection_and_permission() {
        let seen = Seen::new(Clock::default());
        seen.update(b"{\"balance\":1.10,\"connected\":true,\"trade_allowed\":false,\"login\":7}\0");
        assert_eq!((seen.expert().connected, seen.expert().trade_allowed), (Some(true), Some(false)));
        seen.update(b"{\"balance\":1.10}");
        assert_eq!((seen.expert().connected, seen.expert().trade_allowed), (None, None));
        assert!(seen.expert().poll.is_none());
        seen.poll();
        assert!(seen.expert().poll.is_some());
        seen.forget();
        assert!(seen.expert().poll.is_none() && seen.expert().update.is_none());
    }
}
