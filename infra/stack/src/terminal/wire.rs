//! The dispatcher's HTTP contract as this terminal understands it, written down independently of the dispatcher.
//!
//! A field that is missing here is ignored; a field that is present has the type the contract gives it, or the answer is rubbish.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::market::retcode::DONE;

/// A magic number is the account's base times this, plus the signal's id.
pub(super) const MAGIC_SPAN: u64 = 1_000_000_000_000;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Action {
    /// Open long.
    Buy,
    /// Open short.
    Sell,
    /// Close by symbol or ticket.
    Close,
    /// Close everything of ours, or of a symbol.
    CloseAll,
    /// Change stop loss and take profit.
    Modify,
    /// Nothing but an answer.
    Ping,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OrderKind {
    Market,
    Limit,
    Stop,
}

/// An object of `pending`, and of `unresolved`.
#[derive(Debug, Clone, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names are the contract's")]
pub(super) struct Signal {
    pub(super) signal_id: Uuid,
    pub(super) id: u64,
    pub(super) magic: u64,
    pub(super) attempt: u64,
    pub(super) lease_ms: Option<i64>,
    /// None: never expires.
    pub(super) remaining_ms: Option<i64>,
    pub(super) held_ms: Option<u64>,
    pub(super) max_volume: Option<Decimal>,
    pub(super) symbol: Option<String>,
    pub(super) action: Action,
    pub(super) order_type: Option<OrderKind>,
    pub(super) volume: Option<Decimal>,
    pub(super) risk_percent: Option<Decimal>,
    pub(super) entry: Option<Decimal>,
    pub(super) sl: Option<Decimal>,
    pub(super) tp: Option<Decimal>,
    pub(super) ticket: Option<u64>,
    pub(super) max_slippage_points: Option<u64>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub(super) order_expires_at: Option<OffsetDateTime>,
    pub(super) comment: Option<String>,
    /// Signals whose outcome is unknown, to be looked up before this one is executed.
    pub(super) after: Option<Vec<u64>>,
    /// Of what is unresolved: the run that took it.
    pub(super) session: Option<String>,
}

/// What a confirmation says about its signal or trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Done at the broker.
    Executed,
    /// A pending order rests at the broker.
    Placed,
    /// Refused for good.
    Failed,
    /// `OrderSend` was never called.
    NotSent,
    /// Looked up everywhere and not found.
    NotFound,
    /// A position was closed, or a resting order ended, by something other than a signal.
    Closed,
}

/// The body of `POST /api/trades/confirm`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Confirm {
    pub(super) signal_id: Option<Uuid>,
    pub(super) id: Option<u64>,
    pub(super) attempt: Option<u64>,
    pub(super) status: Status,
    pub(super) ticket: Option<u64>,
    pub(super) order: Option<u64>,
    pub(super) position: Option<u64>,
    pub(super) deal: Option<u64>,
    pub(super) symbol: Option<String>,
    pub(super) action: Option<Action>,
    pub(super) volume: Option<Decimal>,
    pub(super) price: Option<Decimal>,
    pub(super) close_price: Option<Decimal>,
    pub(super) profit: Option<Decimal>,
    pub(super) retcode: Option<u32>,
    pub(super) message: Option<String>,
    pub(super) execution_ms: Option<u64>,
    pub(super) terminal: String,
    pub(super) results: Vec<Item>,
}

/// What happened to one position or order of an action over several.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Item {
    pub(super) ticket: u64,
    pub(super) deal: Option<u64>,
    pub(super) symbol: String,
    pub(super) volume: Decimal,
    pub(super) price: Option<Decimal>,
    pub(super) close_price: Option<Decimal>,
    pub(super) profit: Option<Decimal>,
    pub(super) retcode: u32,
    pub(super) message: String,
}

impl Confirm {
    pub(super) fn new(status: Status) -> Self {
        Self {
            signal_id: None,
            id: None,
            attempt: None,
            status,
            ticket: None,
            order: None,
            position: None,
            deal: None,
            symbol: None,
            action: None,
            volume: None,
            price: None,
            close_price: None,
            profit: None,
            retcode: None,
            message: None,
            execution_ms: None,
            terminal: String::new(),
            results: Vec::new(),
        }
    }

    /// The same report, as the answer to this signal.
    pub(super) fn of(self, signal: &Signal) -> Self {
        Self {
            signal_id: Some(signal.signal_id),
            id: Some(signal.id),
            attempt: Some(signal.attempt),
            action: Some(signal.action),
            symbol: self.symbol.or_else(|| signal.symbol.clone()),
            ..self
        }
    }

    /// Tickets of the deals and of the ended orders that this report accounts for.
    pub(super) fn covers(&self) -> Vec<u64> {
        let closing = matches!(self.action, Some(Action::Close | Action::CloseAll));
        let deleted = |item: &Item| closing && item.retcode == DONE;
        let items =
            self.results.iter().filter_map(|item| item.deal.or_else(|| Some(item.ticket).filter(|_| deleted(item))));
        let whole = self.deal.or_else(|| self.ticket.filter(|_| self.status == Status::Closed));
        whole.into_iter().chain(items).collect()
    }

    pub(super) fn message(self, message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), ..self }
    }
}

/// The account's mode, as the server decides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Everything is handed out.
    Active,
    /// Closings and modifications only.
    Reducing,
    /// Nothing.
    Halted,
}

impl Mode {
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "active" => Some(Self::Active),
            "reducing" => Some(Self::Reducing),
            "halted" => Some(Self::Halted),
            _ => None,
        }
    }
}

/// The body of `POST /api/account/update`.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Update {
    pub(super) balance: Decimal,
    pub(super) equity: Decimal,
    pub(super) margin: Decimal,
    pub(super) free_margin: Decimal,
    pub(super) profit: Decimal,
    pub(super) login: u64,
    pub(super) currency: String,
    pub(super) credit: Decimal,
    /// None while the deals don't add up to the balance.
    pub(super) net_deposits: Option<Decimal>,
    pub(super) session: String,
    pub(super) seq: u64,
    pub(super) age_ms: u64,
    pub(super) open_positions: usize,
    pub(super) connected: bool,
    pub(super) trade_allowed: bool,
    pub(super) tick_age_ms: u64,
    pub(super) terminal: String,
}

/// The answer to it, as far as it matters here.
#[derive(Debug, Deserialize)]
pub(super) struct UpdateAnswer {
    pub(super) mode: Option<Mode>,
}
