//! Signals with their story, and trades.

use std::sync::Arc;

use axum::extract::State;
use common::auth::Scope;
use common::domain::Mode;
use common::error::{FieldError, Problem};
use common::http::{Caller, Path, Query};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::anomaly::Anomaly;
use crate::Dispatcher;
use crate::error::Error;
use crate::store::anomaly::{self, Wanted};
use crate::store::retention::{self, Retired};
use crate::store::{self, EventRow, SignalRow, TradeRow, account};

/// The most rows of one answer.
const LIMIT_MAX: i64 = 1_000;

/// Which rows, newest first.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Listing {
    account: Option<String>,
    /// A signal's state.
    state: Option<String>,
    /// A trade's status.
    status: Option<String>,
    /// By the platform's name, under which signals and trades are kept.
    symbol: Option<String>,
    /// Only rows with a smaller number (`id` of signals, `trade_id` of trades).
    before: Option<i64>,
    /// 100 by default, at most 1000.
    #[param(minimum = 1, maximum = 1_000)]
    limit: Option<i64>,
}

/// How many rows.
pub(super) fn limit(asked: Option<i64>) -> Result<i64, Error> {
    match asked.unwrap_or(100) {
        limit @ 1..=LIMIT_MAX => Ok(limit),
        _ => Err(FieldError::new("limit", format!("is from 1 to {LIMIT_MAX}")).into()),
    }
}

/// A signal as it is stored.
#[derive(Serialize, ToSchema)]
pub(crate) struct Signal {
    signal_id: Uuid,
    id: i64,
    account: String,
    symbol: Option<String>,
    action: String,
    order_type: String,
    entry: Option<Decimal>,
    volume: Option<Decimal>,
    risk_percent: Option<Decimal>,
    sl: Option<Decimal>,
    tp: Option<Decimal>,
    ticket: Option<i64>,
    max_slippage_points: Option<i32>,
    comment: Option<String>,
    #[schema(value_type = Object)]
    metadata: serde_json::Value,
    /// Who sent it.
    principal: String,
    idempotency_key: Option<String>,
    request_id: String,
    /// `pending`, `processing`, `unknown`, `executed`, `failed`, `expired`, `cancelled`, `rejected`.
    state: String,
    /// Why it is in this state, for a machine.
    code: Option<String>,
    message: Option<String>,
    /// A closing that waits because its account is halted.
    held: bool,
    attempt: i32,
    terminal: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    lease_expires_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    expires_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    order_expires_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339")]
    received_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    stored_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    claimed_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    finished_at: Option<OffsetDateTime>,
}

impl Signal {
    fn new(row: SignalRow, halted: bool) -> Self {
        let plain = |value: Option<Decimal>| value.map(|value| value.normalize());
        Self {
            held: halted && row.state == "pending" && row.action != "PING",
            signal_id: row.signal_id,
            id: row.id,
            account: row.account,
            symbol: row.symbol,
            action: row.action,
            order_type: row.order_type,
            entry: plain(row.entry),
            volume: plain(row.volume),
            risk_percent: plain(row.risk_percent),
            sl: plain(row.sl),
            tp: plain(row.tp),
            ticket: row.ticket,
            max_slippage_points: row.max_slippage_points,
            comment: row.comment,
            metadata: row.metadata,
            principal: row.principal,
            idempotency_key: row.idempotency_key,
            request_id: row.request_id,
            state: row.state,
            code: row.code,
            message: row.message,
            attempt: row.attempt,
            terminal: row.claimed_by,
            lease_expires_at: row.lease_expires_at,
            expires_at: row.expires_at,
            order_expires_at: row.order_expires_at,
            received_at: row.received_at,
            stored_at: row.stored_at,
            claimed_at: row.claimed_at,
            finished_at: row.finished_at,
        }
    }
}

async fn halted(dispatcher: &Dispatcher, account: &str) -> Result<bool, Error> {
    let row = account::find(&mut *dispatcher.pool.acquire().await?, account).await?;
    Ok(row.is_some_and(|row| row.mode == Mode::Halted.as_str()))
}

/// Lists signals, newest first.
#[utoipa::path(get, path = "/api/signals", tag = "signals", params(Listing), responses(
    (status = 200, body = Vec<Signal>), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn signals(
    State(dispatcher): State<Arc<Dispatcher>>,
    caller: Caller,
    Query(listing): Query<Listing>,
) -> Result<axum::Json<Vec<Signal>>, Error> {
    caller.allow(Scope::Read)?;
    let limit = limit(listing.limit)?;
    let rows = {
        let mut db = dispatcher.pool.acquire().await?;
        let Listing { account, state, symbol, before, .. } = &listing;
        store::signals(&mut db, account.as_deref(), state.as_deref(), symbol.as_deref(), *before, limit).await?
    };
    let mut modes = std::collections::HashMap::new();
    let mut signals = Vec::with_capacity(rows.len());
    for row in rows {
        if !modes.contains_key(&row.account) {
            modes.insert(row.account.clone(), halted(&dispatcher, &row.account).await?);
        }
        let halted = modes.get(&row.account).copied().unwrap_or(false);
        signals.push(Signal::new(row, halted));
    }
    Ok(axum::Json(signals))
}

/// A step in a signal's life.
#[derive(Serialize, ToSchema)]
pub(crate) struct Event {
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    state: String,
    attempt: i32,
    code: Option<String>,
    message: Option<String>,
    #[schema(value_type = Option<Object>)]
    details: Option<serde_json::Value>,
}

/// How long each stage took; null where it was not reached.
#[derive(Serialize, ToSchema)]
pub(crate) struct Stages {
    /// From acceptance to the database.
    stored_ms: i64,
    /// From the database to the last claim.
    claimed_ms: Option<i64>,
    /// From the last claim to the end.
    finished_ms: Option<i64>,
    /// From acceptance to the end.
    total_ms: Option<i64>,
}

/// A signal with all that happened to it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Story {
    #[serde(flatten)]
    signal: Signal,
    events: Vec<Event>,
    /// Reports that contradict what was known of it, newest first.
    anomalies: Vec<Anomaly>,
    stages: Stages,
}

/// Finds a signal by its id or its number.
pub(crate) async fn find(dispatcher: &Dispatcher, id: &str) -> Result<SignalRow, Error> {
    let mut db = dispatcher.pool.acquire().await?;
    let (number, uuid) = (id.parse::<i64>().ok(), id.parse::<Uuid>().ok());
    let row = match (number, uuid) {
        (Some(number), _) => store::signal_by_number(&mut db, number).await?,
        (_, Some(uuid)) => store::signal(&mut db, uuid).await?,
        _ => None,
    };
    if let Some(row) = row {
        return Ok(row);
    }
    match retention::find(&mut db, uuid.filter(|_| number.is_none()), number).await? {
        Some(Retired { finished_at, .. }) => {
            let ended = finished_at.format(&Rfc3339).unwrap_or_default();
            Err(Error::Retired(format!("signal {id} ended at {ended} and was retired; its trades are kept")))
        }
        None => Err(Error::NotFound(format!("no signal {id}"))),
    }
}

/// Tells one signal's whole story.
#[utoipa::path(get, path = "/api/signals/{id}", tag = "signals",
    params(("id" = String, Path, description = "signal_id or number")), responses(
    (status = 200, body = Story), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 410, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn signal(
    State(dispatcher): State<Arc<Dispatcher>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<Story>, Error> {
    caller.allow(Scope::Read)?;
    let row = find(&dispatcher, &id).await?;
    let (events, anomalies) = {
        let mut db = dispatcher.pool.acquire().await?;
        let wanted = Wanted { signal_id: Some(row.signal_id), ..Wanted::default() };
        (store::events(&mut db, row.signal_id).await?, anomaly::list(&mut db, &wanted, LIMIT_MAX).await?)
    };
    let since = |from: Option<OffsetDateTime>, to: Option<OffsetDateTime>| {
        Some(i64::try_from((to? - from?).whole_milliseconds()).unwrap_or(i64::MAX))
    };
    let stages = Stages {
        stored_ms: since(Some(row.received_at), Some(row.stored_at)).unwrap_or_default(),
        claimed_ms: since(Some(row.stored_at), row.claimed_at),
        finished_ms: since(row.claimed_at, row.finished_at),
        total_ms: since(Some(row.received_at), row.finished_at),
    };
    let halted = halted(&dispatcher, &row.account).await?;
    let event = |row: EventRow| Event {
        at: row.at,
        state: row.state,
        attempt: row.attempt,
        code: row.code,
        message: row.message,
        details: row.details,
    };
    let events = events.into_iter().map(event).collect();
    let anomalies = anomalies.into_iter().map(Anomaly::from).collect();
    Ok(axum::Json(Story { signal: Signal::new(row, halted), events, anomalies, stages }))
}

/// A trade at the broker.
#[derive(Serialize, ToSchema)]
pub(crate) struct Trade {
    trade_id: i64,
    account: String,
    ticket: i64,
    signal_id: Option<Uuid>,
    symbol: Option<String>,
    action: Option<String>,
    volume: Decimal,
    closed_volume: Decimal,
    open_price: Option<Decimal>,
    close_price: Option<Decimal>,
    /// What the closed part brought, with swap and with what opening and closing cost.
    profit: Decimal,
    /// `placed`, `open`, `closed`, `cancelled`.
    status: String,
    retcode: Option<i32>,
    execution_ms: Option<i64>,
    #[serde(with = "time::serde::rfc3339")]
    opened_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    closed_at: Option<OffsetDateTime>,
}

/// Lists trades, newest first.
#[utoipa::path(get, path = "/api/trades", tag = "trades", params(Listing), responses(
    (status = 200, body = Vec<Trade>), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn trades(
    State(dispatcher): State<Arc<Dispatcher>>,
    caller: Caller,
    Query(listing): Query<Listing>,
) -> Result<axum::Json<Vec<Trade>>, Error> {
    caller.allow(Scope::Read)?;
    let limit = limit(listing.limit)?;
    let mut db = dispatcher.pool.acquire().await?;
    let Listing { account, status, before, .. } = &listing;
    let rows = store::trades(&mut db, account.as_deref(), status.as_deref(), *before, limit).await?;
    let plain = |value: Option<Decimal>| value.map(|value| value.normalize());
    let trade = |row: TradeRow| Trade {
        trade_id: row.trade_id,
        account: row.account,
        ticket: row.ticket,
        signal_id: row.signal_id,
        symbol: row.symbol,
        action: row.action,
        volume: row.volume.normalize(),
        closed_volume: row.closed_volume.normalize(),
        open_price: plain(row.open_price),
        close_price: plain(row.close_price),
        profit: row.profit.normalize(),
        status: row.status,
        retcode: row.retcode,
        execution_ms: row.execution_ms,
        opened_at: row.opened_at,
        closed_at: row.closed_at,
    };
    Ok(axum::Json(rows.into_iter().map(trade).collect()))
}

/// The same under the name that the first clients know.
#[utoipa::path(get, path = "/api/trades/history", tag = "trades", params(Listing), responses(
    (status = 200, body = Vec<Trade>), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn trades_history(
    state: State<Arc<Dispatcher>>,
    caller: Caller,
    listing: Query<Listing>,
) -> Result<axum::Json<Vec<Trade>>, Error> {
    trades(state, caller, listing).await
}
