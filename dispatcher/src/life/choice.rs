//! What one claim hands out: never what the order between signals forbids.

use std::collections::HashSet;

use common::domain::{Action, Order, OrderType, SignalState, Symbol};
use time::OffsetDateTime;

use super::gate::{Account, Room, gate};
use super::{Life, PROTOCOL, Reason};

/// A signal in the queue, as the claim sees it.
#[derive(Clone, Debug)]
pub struct Open {
    /// Its place in the queue.
    pub id: i64,
    /// What it asks for.
    pub order: Order,
    /// `pending`, `processing` or `unknown` where it has not ended.
    pub state: SignalState,
    /// While it may be handed out.
    pub life: Life,
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
    let under_way = open.iter().filter(|signal| signal.is_under_way()).count();
    let orders = recent.saturating_add(i64::try_from(under_way).unwrap_or(i64::MAX));
    let mut look = Look {
        account,
        protocol,
        now,
        room: Room::new(account, orders, now),
        waiting: Earlier::default(),
        unknown: Vec::new(),
        unknowns: Earlier::default(),
        held: Vec::new(),
        helds: Earlier::default(),
        choice: Choice::default(),
    };
    for signal in open {
        match signal.state {
            SignalState::Unknown if signal.holds_back() => {
                look.unknown.push(signal);
                look.unknowns.add(signal);
            }
            SignalState::Processing => look.waiting.add(signal),
            SignalState::Pending if look.choice.claim.len() >= limit => break,
            SignalState::Pending => look.at(signal),
            _ => {}
        }
    }
    look.choice
}

/// One look through what is open, and what of it later signals have to know.
struct Look<'a> {
    account: &'a Account,
    protocol: i16,
    now: OffsetDateTime,
    room: Room,
    /// With a terminal, or waiting for its turn: whoever comes later waits.
    waiting: Earlier<'a>,
    /// Unknown: later openings wait for the look-up, closings are told of it.
    unknown: Vec<&'a Open>,
    unknowns: Earlier<'a>,
    /// Openings behind an unknown outcome or an account that fell silent, and what is behind these: they wait, perhaps for
    /// minutes, and a closing does not wait with them.
    held: Vec<&'a Open>,
    helds: Earlier<'a>,
    choice: Choice,
}

impl<'a> Look<'a> {
    /// Decides on a signal that is pending.
    fn at(&mut self, signal: &'a Open) {
        // Too old: ended by the sweep, holds nothing back any more.
        if signal.life.is_over(self.now) {
            return;
        }
        if let Some(reason) = gate(&signal.order, self.account, self.now) {
            return self.choice.reject.push((signal.id, reason));
        }
        let (action, rules) = (signal.order.action, &self.account.rules);
        let is_stale = action.opens() && self.account.is_stale(self.now);
        if !action.closes() && (self.unknowns.concerns(signal) || self.helds.concerns(signal) || is_stale) {
            self.held.push(signal);
            return self.helds.add(signal);
        }
        let is_taken = rules.mode.hands_out(action) && (self.protocol >= PROTOCOL || signal.is_plain());
        if !is_taken || self.waiting.concerns(signal) {
            return self.waiting.add(signal);
        }
        match self.room.refuses(rules, signal) {
            Some(reason) => self.choice.reject.push((signal.id, reason)),
            None => self.claim(signal),
        }
    }

    fn claim(&mut self, signal: &'a Open) {
        let (own, closes) = (Earlier::of(signal), signal.order.action.closes());
        let superseded = self.held.extract_if(.., |other| closes && own.concerns(other));
        self.choice.supersede.extend(superseded.map(|other| other.id));
        let after = self.unknown.iter().filter(|other| own.concerns(other)).map(|other| other.id);
        self.choice.claim.push((signal.id, after.collect()));
        self.waiting.add(signal);
        self.room.take(signal);
    }
}

/// Whether a closing supersedes this signal. `closings`: those of its account that came after it and were handed out;
/// whatever became of them, they are the sender's later word.
pub fn is_superseded(signal: &Open, closings: &[Open]) -> bool {
    !signal.order.action.closes() && closings.iter().any(|closing| Earlier::of(closing).concerns(signal))
}
