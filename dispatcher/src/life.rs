//! The life of a signal: what may happen to it, and when. Pure; the database does what is decided here.
//!
//! `pending → processing → executed | failed`, `pending → expired | cancelled | rejected`,
//! `processing → unknown → executed | failed | pending`.
//!
//! Invariant: a signal is handed out at most once per attempt, and goes back to `pending` only when the
//! installation that took it proves from its journal that nothing was sent.

pub mod anomaly;
mod choice;
mod confirm;
pub mod gate;

use common::domain::SignalState;
use common::message::SignalAccepted;
use time::{Duration, OffsetDateTime};

pub use choice::{Choice, Open, choose, is_superseded};
pub use confirm::{Effect, Known, Report, Status, confirm};
use gate::{Account, Rules, gate};

/// How long a terminal may take to confirm what it was handed.
pub const LEASE: Duration = Duration::seconds(30);
/// A terminal that was not seen for this long is not counted on.
pub const TERMINAL_GONE: Duration = Duration::seconds(60);
/// A claim of the first protocol that was never confirmed fails this long after its expiry.
pub const UNCONFIRMED: Duration = Duration::minutes(5);
/// The protocol of terminals that know attempts, leases and look-ups.
pub const PROTOCOL: i16 = 2;

/// Why a signal ends, for a machine and for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Stable.
    pub code: &'static str,
    /// With the figures behind it.
    pub message: String,
}

impl Reason {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// What becomes of a signal that has just arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It waits for a terminal.
    Pending,
    /// It ends at once.
    Ended(SignalState, Reason),
}

/// When a signal is too old to be handed out; closings never are.
pub fn expiry(signal: &SignalAccepted, rules: Option<&Rules>) -> Option<OffsetDateTime> {
    if signal.order.action.closes() {
        return None;
    }
    let seconds = signal.ttl_seconds.or(rules.map(|rules| rules.signal_ttl_seconds)).unwrap_or(60);
    let by_life = signal.received_at.saturating_add(Duration::seconds(seconds.into()));
    Some(signal.expires_at.map_or(by_life, |time| time.min(by_life)))
}

/// Judges a signal that has just arrived. `key_stands_for_another`: its idempotency key was used for other content.
pub fn admit(
    signal: &SignalAccepted,
    account: Option<&Account>,
    key_stands_for_another: bool,
    now: OffsetDateTime,
) -> Admission {
    if key_stands_for_another {
        let reason = Reason::new("key_reused", "the idempotency key was used before for another signal");
        return Admission::Ended(SignalState::Rejected, reason);
    }
    let Some(account) = account else {
        let message = format!("no terminal's key is bound to account {}", signal.account);
        return Admission::Ended(SignalState::Rejected, Reason::new("unknown_account", message));
    };
    if expiry(signal, Some(&account.rules)).is_some_and(|expiry| expiry <= now) {
        return Admission::Ended(SignalState::Expired, expired());
    }
    match gate(&signal.order, account, now) {
        Some(reason) => Admission::Ended(SignalState::Rejected, reason),
        None => Admission::Pending,
    }
}

/// The reason of everything that got too old.
pub fn expired() -> Reason {
    Reason::new("expired", "not handed out within its life")
}

/// The reason of everything that a closing left no room for.
pub fn superseded() -> Reason {
    Reason::new("superseded", "a closing of its symbol came after it")
}

/// The end of a signal of which it is certain that nothing was sent; none: it waits for a terminal again.
pub fn unsent(
    expires_at: Option<OffsetDateTime>,
    is_superseded: bool,
    now: OffsetDateTime,
) -> Option<(SignalState, Reason)> {
    if expires_at.is_some_and(|expiry| expiry <= now) {
        return Some((SignalState::Expired, expired()));
    }
    is_superseded.then(|| (SignalState::Cancelled, superseded()))
}

#[cfg(test)]
mod tests;
