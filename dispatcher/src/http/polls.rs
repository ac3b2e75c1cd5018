//! Which polls were written down of late: a terminal asks many times a second.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A terminal's poll is written down at most this often.
const POLL_NOTE_INTERVAL: Duration = Duration::from_secs(10);

/// When each installation's last poll was written down.
#[derive(Default)]
pub(crate) struct Polls(Mutex<HashMap<(String, String, i16), Instant>>);

impl Polls {
    /// This one was not written down after all.
    pub(super) fn forget(&self, account: &str, terminal: &str, protocol: i16) {
        let mut polls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        polls.remove(&(account.to_owned(), terminal.to_owned(), protocol));
    }

    /// Whether it is time to write this one down.
    pub(super) fn due(&self, account: &str, terminal: &str, protocol: i16) -> bool {
        let mut polls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Installations come and go; what is old is written down anew anyway.
        if polls.len() > 10_000 {
            polls.retain(|_, noted| noted.elapsed() < POLL_NOTE_INTERVAL);
        }
        let now = Instant::now();
        match polls.get_mut(&(account.to_owned(), terminal.to_owned(), protocol)) {
            Some(noted) if noted.elapsed() < POLL_NOTE_INTERVAL => false,
            Some(noted) => {
                *noted = now;
                true
            }
            None => {
                polls.insert((account.to_owned(), terminal.to_owned(), protocol), now);
                true
            }
        }
    }
}
