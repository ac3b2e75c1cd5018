//! The life of a signal: what may happen to it, and when. Pure; the database does what is decided here.
//!
//! `pending → processing → executed | failed`, `pending → expired | cancelled | rejected`,
//! `processing → unknown → executed | failed | pending`.
//!
//! Invariant: a signal is handed out at most once per attempt, and goes back to `pending` only when the
//! installation that took it proves from its journal that nothing was sent.

use std::collections::HashSet;

use common::domain::{Action, Order, OrderType, SignalState, Symbol};
use common::message::SignalAccepted;
use time::{Duration, OffsetDateTime};

pub mod anomaly;
pub mod gate;

use anomaly::{Doubt, anomaly, denied};
use gate::{Account, Room, Rules, gate};

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

/// A signal in the queue, as the claim sees it.
#[derive(Clone, Debug)]
pub struct Open {
    /// Its place in the queue.
    pub id: i64,
    /// What it asks for.
    pub order: Order,
    /// `pending`, `processing` or `unknown` where it has not ended.
    pub state: SignalState,
    /// End of its life.
    pub expires_at: Option<OffsetDateTime>,
    /// How often it was handed out.
    pub attempt: i32,
    /// The protocol of its last claim.
    pub claim_protocol: Option<i16>,
}

impl Open {
    /// Whether its order may be at the broker, or on its way there, without our knowing.
    fn is_under_way(&self) -> bool {
        self.order.action.opens() && matches!(self.state, SignalState::Processing | SignalState::Unknown)
    }

    /// Whether it is about the whole account.
    fn is_about_everything(&self) -> bool {
        self.order.action == Action::CloseAll && self.order.symbol.is_none()
    }

    /// Whether a terminal of the first protocol understands it: a market order of a known volume.
    fn is_plain(&self) -> bool {
        self.order.action.opens() && self.order.order_type == OrderType::Market && self.order.risk_percent.is_none()
    }

    /// An unknown outcome holds back what follows, unless nobody will ever look it up.
    fn holds_back(&self) -> bool {
        self.state == SignalState::Unknown && self.claim_protocol.is_some_and(|protocol| protocol >= PROTOCOL)
    }
}

/// What one claim does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Handed out, oldest first, each with the unknown signals that the terminal must look up before.
    pub claim: Vec<(i64, Vec<i64>)>,
    /// Openings and changes of stops that a closing does not wait for.
    pub supersede: Vec<i64>,
    /// Openings that the gate does not let through.
    pub reject: Vec<(i64, Reason)>,
}

/// Earlier signals, as far as a later one has to know them: by symbol, by ticket, or of the whole account.
#[derive(Default)]
struct Earlier<'a> {
    symbols: HashSet<&'a Symbol>,
    tickets: HashSet<i64>,
    everything: bool,
    any: bool,
}

impl<'a> Earlier<'a> {
    fn add(&mut self, signal: &'a Open) {
        if signal.order.action == Action::Ping {
            return;
        }
        self.any = true;
        self.everything |= signal.is_about_everything();
        self.symbols.extend(&signal.order.symbol);
        self.tickets.extend(signal.order.ticket);
    }

    /// Whether the order between one of these and this signal matters.
    fn concerns(&self, signal: &Open) -> bool {
        signal.order.action != Action::Ping
            && (self.everything
                || (self.any && signal.is_about_everything())
                || signal.order.symbol.as_ref().is_some_and(|symbol| self.symbols.contains(symbol))
                || signal.order.ticket.is_some_and(|ticket| self.tickets.contains(&ticket)))
    }

    fn of(signal: &'a Open) -> Self {
        let mut one = Self::default();
        one.add(signal);
        one
    }
}

/// Chooses what a terminal is handed, from all that is open in its account, oldest first. `recent`: openings at the broker
/// that the account's last report may not know.
pub fn choose(
    open: &[Open],
    account: &Account,
    recent: i64,
    protocol: i16,
    limit: usize,
    now: OffsetDateTime,
) -> Choice {
    let mut choice = Choice::default();
    let under_way = open.iter().filter(|signal| signal.is_under_way()).count();
    let mut room = Room::new(account, recent.saturating_add(i64::try_from(under_way).unwrap_or(i64::MAX)), now);
    let stale = account.is_stale(now);
    // With a terminal, or waiting for its turn: whoever comes later waits.
    let mut waiting = Earlier::default();
    // Unknown: later openings wait for the look-up, closings are told of it.
    let mut unknown: Vec<&Open> = Vec::new();
    let mut unknowns = Earlier::default();
    // Openings behind an unknown outcome or an account that fell silent, and what is behind these: they wait, perhaps for
    // minutes, and a closing does not wait with them.
    let mut held: Vec<&Open> = Vec::new();
    let mut helds = Earlier::default();
    for signal in open {
        match signal.state {
            SignalState::Unknown if signal.holds_back() => {
                unknown.push(signal);
                unknowns.add(signal);
            }
            SignalState::Processing => waiting.add(signal),
            SignalState::Pending => {
                if choice.claim.len() >= limit {
                    break;
                }
                // Too old: ended by the sweep, holds nothing back any more.
                if signal.expires_at.is_some_and(|expiry| expiry <= now) {
                    continue;
                }
                if let Some(reason) = gate(&signal.order, account, now) {
                    choice.reject.push((signal.id, reason));
                    continue;
                }
                let (opens, closes) = (signal.order.action.opens(), signal.order.action.closes());
                let is_held = !closes && (unknowns.concerns(signal) || helds.concerns(signal) || (stale && opens));
                let taken =
                    account.rules.mode.hands_out(signal.order.action) && (protocol >= PROTOCOL || signal.is_plain());
                if is_held {
                    held.push(signal);
                    helds.add(signal);
                } else if !taken || waiting.concerns(signal) {
                    waiting.add(signal);
                } else if let Some(reason) = room.refuses(&account.rules, signal) {
                    choice.reject.push((signal.id, reason));
                } else {
                    let own = Earlier::of(signal);
                    let superseded = held.extract_if(.., |other| closes && own.concerns(other));
                    choice.supersede.extend(superseded.map(|other| other.id));
                    let after = unknown.iter().filter(|other| own.concerns(other)).map(|other| other.id);
                    choice.claim.push((signal.id, after.collect()));
                    waiting.add(signal);
                    room.take(signal);
                }
            }
            _ => {}
        }
    }
    choice
}

/// Whether a closing supersedes this signal. `closings`: those of its account that came after it and were handed out;
/// whatever became of them, they are the sender's later word.
pub fn is_superseded(signal: &Open, closings: &[Open]) -> bool {
    !signal.order.action.closes() && closings.iter().any(|closing| Earlier::of(closing).concerns(signal))
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

/// What a terminal says of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done at the broker, whole or in part.
    Executed,
    /// A pending order rests at the broker.
    Placed,
    /// Refused by the terminal or the broker.
    Failed,
    /// Never sent, by the terminal's own journal.
    NotSent,
    /// Looked up at the broker, and not there.
    NotFound,
    /// A position ended: by its stops, by hand, by a signal.
    Closed,
}

/// A terminal's report on a known signal.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// What it says.
    pub status: Status,
    /// The claim it speaks of; terminals of the first protocol know none.
    pub attempt: Option<i32>,
    /// The broker's number.
    pub ticket: Option<i64>,
    /// The installation that speaks.
    pub terminal: Option<&'a str>,
    /// What the broker or the terminal said.
    pub message: Option<&'a str>,
    /// MT5's return code.
    pub retcode: Option<i32>,
}

/// What is known of a signal when a report arrives.
#[derive(Clone, Debug)]
pub struct Known<'a> {
    /// Its state.
    pub state: SignalState,
    /// What it asks for.
    pub action: Action,
    /// Its current attempt.
    pub attempt: i32,
    /// The protocol of its last claim.
    pub claim_protocol: Option<i16>,
    /// The installation that took it.
    pub claimed_by: Option<&'a str>,
    /// End of its life.
    pub expires_at: Option<OffsetDateTime>,
    /// The tickets that its order has at the broker, as reported before.
    pub tickets: &'a [i64],
    /// What else is known that the ticket of an opening contradicts.
    pub doubt: Option<Doubt>,
    /// Whether a closing that was handed out supersedes it; told where the report says that nothing was sent.
    pub is_superseded: bool,
}

/// What a report does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The signal ends, or its end is corrected.
    End(SignalState, Reason),
    /// It waits for a terminal again.
    Again,
    /// It is recorded; the reason says why it changes nothing.
    Nothing(&'static str),
}

impl Effect {
    /// Why the signal ends, for a machine.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::End(_, reason) => Some(reason.code),
            Self::Again | Self::Nothing(_) => None,
        }
    }
}

/// What a report does, and what is odd about it.
pub fn confirm(known: &Known<'_>, report: &Report<'_>, now: OffsetDateTime) -> (Effect, Option<&'static str>) {
    let traded = matches!(report.status, Status::Executed | Status::Placed | Status::Closed);
    if let (true, Some(ticket)) = (traded, report.ticket) {
        return (with_ticket(known), anomaly(known, report, ticket));
    }
    match report.attempt {
        Some(attempt) if attempt != known.attempt => return (Effect::Nothing("of another attempt"), None),
        None if known.claim_protocol.is_some_and(|protocol| protocol >= PROTOCOL) => {
            return (Effect::Nothing("without its attempt"), None);
        }
        _ => {}
    }
    if !matches!(known.state, SignalState::Processing | SignalState::Unknown) {
        return (Effect::Nothing("the signal is not with a terminal"), denied(known, report.status));
    }
    let effect = match report.status {
        Status::Executed | Status::Placed => executed("confirmed"),
        Status::Closed => Effect::Nothing("without a ticket"),
        Status::Failed => {
            let message = report.message.unwrap_or("no reason given");
            let retcode = report.retcode.map(|code| format!("retcode {code}: ")).unwrap_or_default();
            end(SignalState::Failed, "refused", format!("{retcode}{message}"))
        }
        Status::NotFound => end(SignalState::Failed, "outcome_not_found", "not at the broker; never sent again"),
        // Only the installation that took it has the journal that can say so.
        Status::NotSent if known.claimed_by.is_none() || report.terminal != known.claimed_by => {
            Effect::Nothing("from an installation that did not take it")
        }
        Status::NotSent => unsent(known.expires_at, known.is_superseded, now)
            .map_or(Effect::Again, |(state, reason)| Effect::End(state, reason)),
    };
    (effect, None)
}

fn end(state: SignalState, code: &'static str, message: impl Into<String>) -> Effect {
    Effect::End(state, Reason::new(code, message))
}

fn executed(message: &str) -> Effect {
    end(SignalState::Executed, "executed", message)
}

/// A ticket is proof: it ends every signal as executed, whatever was believed.
fn with_ticket(known: &Known<'_>) -> Effect {
    match known.state {
        SignalState::Executed => Effect::Nothing("executed already"),
        state if state.is_terminal() => executed("corrected: the broker holds it"),
        _ => executed("confirmed"),
    }
}

#[cfg(test)]
mod tests;
