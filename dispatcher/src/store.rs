//! All SQL of the dispatcher. Functions on a connection, so that callers compose them in one transaction.
//!
//! Invariant: every change of a signal's state appends its event in the same statement.

pub(crate) mod account;
pub(crate) mod anomaly;
pub(crate) mod claim;
pub(crate) mod intake;
mod judge;
pub(crate) mod keys;
pub(crate) mod operate;
pub(crate) mod report;
pub(crate) mod restored;
pub(crate) mod retention;
pub(crate) mod sweep;

use common::domain::{Invalid, Level, Order, Percent, Price, Volume};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::life::{Life, Open};

/// A row of `signals`, as it is.
#[derive(Clone, Debug)]
pub(crate) struct SignalRow {
    pub(crate) signal_id: Uuid,
    pub(crate) id: i64,
    pub(crate) account: String,
    pub(crate) symbol: Option<String>,
    pub(crate) action: String,
    pub(crate) order_type: String,
    pub(crate) entry: Option<Decimal>,
    pub(crate) volume: Option<Decimal>,
    pub(crate) risk_percent: Option<Decimal>,
    pub(crate) sl: Option<Decimal>,
    pub(crate) tp: Option<Decimal>,
    pub(crate) ticket: Option<i64>,
    pub(crate) max_slippage_points: Option<i32>,
    pub(crate) order_expires_at: Option<OffsetDateTime>,
    pub(crate) comment: Option<String>,
    pub(crate) metadata: serde_json::Value,
    pub(crate) principal: String,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) request_id: String,
    pub(crate) state: String,
    pub(crate) code: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) attempt: i32,
    pub(crate) claimed_by: Option<String>,
    pub(crate) claim_session: Option<String>,
    pub(crate) claim_protocol: Option<i16>,
    pub(crate) lease_expires_at: Option<OffsetDateTime>,
    pub(crate) expires_at: Option<OffsetDateTime>,
    pub(crate) received_at: OffsetDateTime,
    pub(crate) stored_at: OffsetDateTime,
    pub(crate) claimed_at: Option<OffsetDateTime>,
    pub(crate) finished_at: Option<OffsetDateTime>,
}

/// A stored word or number that the domain refuses: the schema and the code disagree.
pub(crate) fn corrupt(error: Invalid) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

fn bounded<T: TryFrom<Decimal, Error = Invalid>>(value: Option<Decimal>) -> Result<Option<T>, sqlx::Error> {
    value.map(T::try_from).transpose().map_err(corrupt)
}

impl SignalRow {
    /// What the signal asks for.
    pub(crate) fn order(&self) -> Result<Order, sqlx::Error> {
        Ok(Order {
            symbol: self.symbol.as_deref().map(str::parse).transpose().map_err(corrupt)?,
            action: self.action.parse().map_err(corrupt)?,
            order_type: self.order_type.parse().map_err(corrupt)?,
            entry: bounded::<Price>(self.entry)?,
            volume: bounded::<Volume>(self.volume)?,
            risk_percent: bounded::<Percent>(self.risk_percent)?,
            sl: bounded::<Level>(self.sl)?,
            tp: bounded::<Level>(self.tp)?,
            ticket: self.ticket,
            max_slippage_points: self.max_slippage_points,
        })
    }

    /// While it may be handed out.
    pub(crate) fn life(&self) -> Life {
        Life { stored_at: self.stored_at, expires_at: self.expires_at }
    }

    /// As the claim judges it.
    pub(crate) fn open(&self) -> Result<Open, sqlx::Error> {
        Ok(Open {
            id: self.id,
            order: self.order()?,
            state: self.state.parse().map_err(corrupt)?,
            life: self.life(),
            attempt: self.attempt,
            claim_protocol: self.claim_protocol,
        })
    }
}

/// One signal by its id.
pub(crate) async fn signal(db: &mut PgConnection, signal_id: Uuid) -> Result<Option<SignalRow>, sqlx::Error> {
    sqlx::query_as!(SignalRow, "select * from signals where signal_id = $1", signal_id).fetch_optional(db).await
}

/// One signal by its number.
pub(crate) async fn signal_by_number(db: &mut PgConnection, id: i64) -> Result<Option<SignalRow>, sqlx::Error> {
    sqlx::query_as!(SignalRow, "select * from signals where id = $1", id).fetch_optional(db).await
}

/// The newest signals but for heartbeats, below `before` where given.
pub(crate) async fn signals(
    db: &mut PgConnection,
    account: Option<&str>,
    state: Option<&str>,
    symbol: Option<&str>,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<SignalRow>, sqlx::Error> {
    sqlx::query_as!(
        SignalRow,
        "select * from signals
         where ($1::text is null or account = $1) and ($2::text is null or state = $2)
           and ($3::text is null or symbol = $3) and ($4::bigint is null or id < $4)
           and principal <> ':heartbeat'
         order by id desc limit $5",
        account,
        state,
        symbol,
        before,
        limit
    )
    .fetch_all(db)
    .await
}

/// A row of `signal_events`.
pub(crate) struct EventRow {
    pub(crate) at: OffsetDateTime,
    pub(crate) state: String,
    pub(crate) attempt: i32,
    pub(crate) code: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) details: Option<serde_json::Value>,
}

/// What happened to a signal, oldest first.
pub(crate) async fn events(db: &mut PgConnection, signal_id: Uuid) -> Result<Vec<EventRow>, sqlx::Error> {
    sqlx::query_as!(
        EventRow,
        "select at, state, attempt, code, message, details from signal_events where signal_id = $1 order by at, attempt",
        signal_id
    )
    .fetch_all(db)
    .await
}

/// A row of `trades`.
pub(crate) struct TradeRow {
    pub(crate) trade_id: i64,
    pub(crate) account: String,
    pub(crate) ticket: i64,
    pub(crate) signal_id: Option<Uuid>,
    pub(crate) symbol: Option<String>,
    pub(crate) action: Option<String>,
    pub(crate) volume: Decimal,
    pub(crate) closed_volume: Decimal,
    pub(crate) open_price: Option<Decimal>,
    pub(crate) close_price: Option<Decimal>,
    pub(crate) profit: Decimal,
    pub(crate) status: String,
    pub(crate) retcode: Option<i32>,
    pub(crate) execution_ms: Option<i64>,
    pub(crate) opened_at: OffsetDateTime,
    pub(crate) closed_at: Option<OffsetDateTime>,
}

/// The newest trades, below `before` where given. Each of the four questions walks an index of its own, in its order and
/// between its bounds: asked by an equality, or with one condition for all, few trades among very many would be looked for
/// from the newest on.
pub(crate) async fn trades(
    db: &mut PgConnection,
    account: Option<&str>,
    status: Option<&str>,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<TradeRow>, sqlx::Error> {
    sqlx::query_as!(
        TradeRow,
        "select trade_id, account, ticket, signal_id, symbol, action, volume, closed_volume, open_price, close_price,
                profit, status, retcode, execution_ms, opened_at, closed_at
         from trades where trade_id in (
             (select trade_id from trades where $1::text is null and $2::text is null and trade_id < $3
              order by trade_id desc limit $4)
             union all
             (select trade_id from trades where $2::text is null and (account, trade_id) < ($1, $3) and account >= $1
              order by account desc, trade_id desc limit $4)
             union all
             (select trade_id from trades where $1::text is null and (status, trade_id) < ($2, $3) and status >= $2
              order by status desc, trade_id desc limit $4)
             union all
             (select trade_id from trades
              where (account, status, trade_id) < ($1, $2, $3) and (account, status) >= ($1, $2)
              order by account desc, status desc, trade_id desc limit $4))
         order by trade_id desc",
        account,
        status,
        before.unwrap_or(i64::MAX),
        limit
    )
    .fetch_all(db)
    .await
}
