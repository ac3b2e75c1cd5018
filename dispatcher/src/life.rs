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
/// How far the clocks of ingest and dispatcher may be apart.
pub const AHEAD_MAX: Duration = Duration::minutes(1);
/// How far back a clock may be put before what was stored by it is of an unknown age.
pub const BACK_MAX: Duration = Duration::seconds(10);
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

/// From when until when a signal may be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// When it was stored.
    pub stored_at: OffsetDateTime,
    /// Its end; none: closings live for ever.
    pub expires_at: Option<OffsetDateTime>,
}

impl Life {
    /// Whether it has ended, or the clock was put back since it began: then nobody knows how old the signal is.
    pub fn is_over(&self, now: OffsetDateTime) -> bool {
        self.expires_at.is_some_and(|expiry| expiry <= now || self.stored_at - BACK_MAX > now)
    }
}

/// When a signal that is stored now will be too old to be handed out; closings never are.
pub fn expiry(signal: &SignalAccepted, rules: Option<&Rules>, now: OffsetDateTime) -> Option<OffsetDateTime> {
    if signal.order.action.closes() {
        return None;
    }
    let seconds = signal.ttl_seconds.or(rules.map(|rules| rules.signal_ttl_seconds)).unwrap_or(60);
    // Ingest's clock may be ahead of this one, and gives no longer life for that.
    let by_life = signal.received_at.min(now).saturating_add(Duration::seconds(seconds.into()));
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
    if let Some(expiry) = expiry(signal, Some(&account.rules), now) {
        if expiry <= now {
            return Admission::Ended(SignalState::Expired, expired());
        }
        // How long it has been waiting in the queue can't be told.
        if signal.received_at - now > AHEAD_MAX {
            let message = "received at a time that is still to come: the clocks of ingest and dispatcher are apart";
            return Admission::Ended(SignalState::Expired, Reason::new("expired", message));
        }
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
pub fn unsent(life: Life, is_superseded: bool, now: OffsetDateTime) -> Option<(SignalState, Reason)> {
    if life.is_over(now) {
        return Some((SignalState::Expired, expired()));
    }
    is_superseded.then(|| (SignalState::Cancelled, superseded()))
}

#[cfg(test)]
mod tests;
