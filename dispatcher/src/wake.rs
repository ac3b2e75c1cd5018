//! Wakes the requests that wait for an account: at once in this process, and in other dispatchers by NOTIFY.
//!
//! A wake-up may be lost or come for nothing; waiters look again every quarter of a second (see `sweep`).

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

/// The waiters of this process, by account.
#[derive(Clone, Default)]
pub(crate) struct Wake(Arc<Inner>);

#[derive(Default)]
struct Inner {
    accounts: Mutex<HashMap<String, watch::Sender<Wakes>>>,
    /// Whether other dispatchers share the database.
    several: AtomicBool,
}

/// What a change was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Wakes {
    /// There may be something to hand out, or not.
    #[default]
    Changed,
    /// Signals were stored: there most likely is.
    Stored,
}

/// The accounts that one transaction changed.
pub(crate) type Changed = BTreeSet<String>;

impl Wake {
    /// Sees every change of this account from now on.
    pub(crate) fn watch(&self, account: &str) -> watch::Receiver<Wakes> {
        let mut accounts = self.0.accounts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(sender) = accounts.get(account) {
            return sender.subscribe();
        }
        accounts.entry(account.to_owned()).or_default().subscribe()
    }

    /// Wakes who waits for this account.
    pub(crate) fn wake(&self, account: &str, wakes: Wakes) {
        let accounts = self.0.accounts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(sender) = accounts.get(account) {
            sender.send_replace(wakes);
        }
    }

    /// Wakes who waits for any of these.
    pub(crate) fn wake_all<'a>(&self, accounts: impl IntoIterator<Item = &'a String>, wakes: Wakes) {
        for account in accounts {
            self.wake(account, wakes);
        }
    }

    /// The accounts that somebody waits for in this process.
    pub(crate) fn waiting(&self) -> Vec<String> {
        let accounts = self.0.accounts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let waited_for = accounts.iter().filter(|(_, sender)| sender.receiver_count() > 0);
        waited_for.map(|(account, _)| account.clone()).collect()
    }

    /// Whether other dispatchers must be told of changes.
    pub(crate) fn several(&self) -> bool {
        self.0.several.load(Ordering::Relaxed)
    }

    /// Says whether other dispatchers share the database.
    pub(crate) fn set_several(&self, several: bool) {
        self.0.several.store(several, Ordering::Relaxed);
    }
}
