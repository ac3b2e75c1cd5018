//! What happened, as three witnesses tell it who do not know of each other: the senders, the market, the tables.

use std::time::Duration;

use rust_decimal::Decimal;
use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use super::log::Post;
use crate::market::{Deal, Order};

/// A magic number is the account's base times this, plus the signal's id.
pub const MAGIC_SPAN: u64 = 1_000_000_000_000;

/// All that is judged.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Whose account at the market it is.
    pub account: String,
    /// How much later than it was sent an order may reach the market.
    pub latency: Duration,
    /// What senders posted, in the order of their logs.
    pub posts: Vec<Post>,
    /// Resting and finished orders of the market, closings too.
    pub orders: Vec<Order>,
    /// The market's deals, by ticket.
    pub deals: Vec<Deal>,
    /// By id.
    pub signals: Vec<Signal>,
    /// By time.
    pub events: Vec<Event>,
    /// In the order in which they came.
    pub reports: Vec<Report>,
    /// By account and version.
    pub versions: Vec<Version>,
    /// Deposits and withdrawals that were asked for.
    pub movements: Vec<Movement>,
    /// One for each account.
    pub pools: Vec<Pool>,
    /// What the platform says is each member's.
    pub shares: Vec<Share>,
    /// By service and number.
    pub audit: Vec<Entry>,
}

/// A row of `signals`.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns' names")]
pub struct Signal {
    pub signal_id: Uuid,
    pub id: i64,
    pub account: String,
    pub symbol: Option<String>,
    pub action: String,
    pub state: String,
    pub attempt: i32,
    pub claim_protocol: Option<i16>,
    pub idempotency_key: Option<String>,
    pub expires_at: Option<OffsetDateTime>,
    /// None where there is no such account.
    pub magic_base: Option<i64>,
}

impl Signal {
    /// Whether it opens a position.
    pub fn opens(&self) -> bool {
        matches!(self.action.as_str(), "BUY" | "SELL")
    }

    /// Whether it closes.
    pub fn closes(&self) -> bool {
        matches!(self.action.as_str(), "CLOSE" | "CLOSE_ALL")
    }
}

/// Whether nothing follows a state.
pub fn is_end(state: &str) -> bool {
    matches!(state, "executed" | "failed" | "expired" | "cancelled" | "rejected")
}

/// A row of `signal_events`.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns' names")]
pub struct Event {
    pub signal_id: Uuid,
    pub at: OffsetDateTime,
    pub state: String,
    pub attempt: i32,
}

/// A row of `account_state` that was applied.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns' names")]
pub struct Report {
    pub account: String,
    pub message_id: Uuid,
    pub version: i64,
    pub balance: Decimal,
    pub equity: Decimal,
    pub profit: Decimal,
    pub credit: Option<Decimal>,
    pub net_deposits: Option<Decimal>,
}

/// A row of `pool_history`.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns' names")]
pub struct Version {
    pub account: String,
    pub version: i64,
    pub kind: String,
    pub movement_id: Option<Uuid>,
    pub user_id: Option<String>,
    pub amount: i128,
    pub units_delta: i128,
    pub equity: i128,
    pub units: i128,
    pub profit: i128,
}

/// A row of `capital_movements`, and whether it waits for its price.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns' names")]
pub struct Movement {
    pub movement_id: Uuid,
    pub account: String,
    pub user_id: String,
    pub kind: String,
    pub amount: Option<i128>,
    pub waiting: bool,
}

/// A row of `pools`.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns' names")]
pub struct Pool {
    pub account: String,
    pub version: i64,
    pub valued_version: i64,
    pub equity: i128,
    pub units: i128,
    pub profit: i128,
}

/// A row of the view `shares`.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns' names")]
pub struct Share {
    pub account: String,
    pub user_id: String,
    pub units: i128,
    pub value: i128,
}

/// A row of `audit_log`.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns' names")]
pub struct Entry {
    pub service: String,
    pub seq: i64,
    pub entry: String,
    pub hash: Vec<u8>,
}

/// What was promised and not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Broken {
    /// Answered 2xx, and not there.
    SignalLost,
    /// In no terminal state, although all is drained.
    NotEnded,
    /// In a terminal state that its events do not tell.
    EndUntold,
    /// Its events tell of more than one end.
    EndedTwice,
    /// More than one opening order at the market.
    OpenedTwice,
    /// An opening order was sent after its signal's expiry.
    OpenedLate,
    /// The market shows what the signal's end denies, or the other way round.
    EndUntrue,
    /// Refused with 4xx, and taken all the same.
    RefusedTraded,
    /// A post without an answer, or with an unknown outcome, traded more than once.
    UnansweredTwice,
    /// The same key and content got two ids.
    AnotherId,
    /// A signal that no sender posted.
    SignalOfNobody,
    /// An order with a magic number of ours and no signal behind it.
    OrderOfNobody,
    /// A fencing token that did not grow.
    AttemptShrank,
    /// Accepted one after the other, and numbered the other way round.
    NumberedOutOfOrder,
    /// Orders of a symbol reached the market in another order than their signals'.
    SymbolOutOfOrder,
    /// Members' cents are not the account's.
    CentsAstray,
    /// The books do not follow from the rows behind them.
    BooksDiffer,
    /// The audit log was changed, or does not tell of a movement.
    AuditBroken,
}

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which.
    pub promise: Broken,
    /// How, in words.
    pub what: String,
    /// What to look up: posts, signals, orders, versions.
    pub ids: Vec<String>,
}

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Found(pub(super) Vec<Violation>);

impl Found {
    pub(super) fn add<I: ToString>(
        &mut self,
        promise: Broken,
        what: impl Into<String>,
        ids: impl IntoIterator<Item = I>,
    ) {
        let ids = ids.into_iter().map(|id| id.to_string()).collect();
        self.0.push(Violation { promise, what: what.into(), ids });
    }
}
