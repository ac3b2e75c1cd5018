//! Reports of terminals: what they do to signals, trades and deals.
//!
//! Invariant: a deal counts once, and a report with a ticket is never lost, whatever it is about.

use common::domain::signal::HEARTBEAT_PRINCIPAL;
use common::domain::{Action, SignalState};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::judge::{Judged, judge};
use super::{SignalRow, account as accounts, claim, corrupt, operate, retention};
use crate::confirmation::{Confirmation, Part};
use crate::life::{Effect, Status};

/// MT5's return codes of what was done: placed, done, done in part, nothing to change.
const DONE: [i32; 4] = [10_008, 10_009, 10_010, 10_025];

/// What a report did.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The signal it was about, and its state now.
    pub(crate) signal: Option<(Uuid, SignalState)>,
    /// In words, for the terminal's log.
    pub(crate) effect: String,
    /// What an operator must look at.
    pub(crate) anomaly: Option<&'static str>,
    /// What such a report contradicts, in words.
    known: Option<String>,
    /// The state it caused, if any.
    pub(crate) ended: Option<SignalState>,
    /// Why, for a machine.
    pub(crate) code: Option<&'static str>,
    /// Whether the signal is a heartbeat.
    pub(crate) heartbeat: bool,
    /// How long ago the signal was accepted.
    pub(crate) age: time::Duration,
    /// How long ago it was last handed out; none where it never was.
    pub(crate) held: Option<time::Duration>,
}

/// Takes a report in; none where it is about a signal that does not exist and proves no trade.
pub(crate) async fn apply(
    db: &mut PgConnection,
    account: &str,
    confirmation: &Confirmation,
    status: Status,
    action: Option<Action>,
    now: OffsetDateTime,
) -> Result<Option<Outcome>, sqlx::Error> {
    // What was not sent may go out again: that is judged against closings, which no claim may hand out meanwhile.
    if status == Status::NotSent {
        accounts::lock(db, account).await?;
    }
    let ticket = confirmation.ticket();
    let signal = find(db, account, confirmation, action, ticket).await?;
    let traded = matches!(status, Status::Executed | Status::Placed | Status::Closed);
    if signal.is_none() && !(traded && ticket.is_some()) {
        return Ok(None);
    }
    let Judged { effect, anomaly, known } = match &signal {
        Some(signal) => judge(db, signal, confirmation, status, ticket, now).await?,
        None if confirmation.names_a_signal() => Judged {
            effect: Effect::Nothing("of an unknown signal"),
            anomaly: Some("unknown_signal"),
            known: match retention::find(db, confirmation.uuid(), confirmation.id).await? {
                Some(retired) if retired.account == account => {
                    format!("the signal ended at {} and was retired", retired.finished_at)
                }
                _ => format!("account {account} has no such signal"),
            },
        },
        None => Judged { effect: Effect::Nothing("of an order that is not ours"), anomaly: None, known: String::new() },
    };
    let words = match &effect {
        Effect::End(state, _) => state.as_str().to_owned(),
        Effect::Again => "pending".to_owned(),
        Effect::Nothing(why) => format!("recorded: {why}"),
    };
    let signal_id = signal.as_ref().map(|signal| signal.signal_id);
    let known = anomaly.is_some().then_some(known);
    let (code, age) = (effect.code(), signal.as_ref().map_or(time::Duration::ZERO, |signal| now - signal.received_at));
    let held = signal.as_ref().and_then(|signal| signal.claimed_at).map(|claimed| now - claimed);
    let heartbeat = signal.as_ref().is_some_and(|signal| signal.principal == HEARTBEAT_PRINCIPAL);
    let mut outcome = Outcome { signal: None, effect: words, anomaly, known, ended: None, code, heartbeat, age, held };
    if let Some(signal) = &signal {
        outcome.signal = Some((signal.signal_id, signal.state.parse().map_err(corrupt)?));
    }
    if !record(db, account, confirmation, status, signal_id, &outcome, now).await? {
        "repeated".clone_into(&mut outcome.effect);
        outcome.anomaly = None;
        return Ok(Some(outcome));
    }
    if let Some(signal) = &signal
        && let Some(state) = write(db, signal, &effect, now).await?
    {
        outcome.signal = Some((signal.signal_id, state));
        outcome.ended = state.is_terminal().then_some(state);
    }
    if traded && ticket.is_some() {
        trade(db, account, confirmation, status, action, signal.as_ref(), now).await?;
    }
    Ok(Some(outcome))
}

/// The signal a report is about, locked.
async fn find(
    db: &mut PgConnection,
    account: &str,
    confirmation: &Confirmation,
    action: Option<Action>,
    ticket: Option<i64>,
) -> Result<Option<SignalRow>, sqlx::Error> {
    if confirmation.names_a_signal() {
        return claim::lock_signal(db, account, confirmation.uuid(), confirmation.id).await;
    }
    let known = sqlx::query_scalar!("select signal_id from trades where account = $1 and ticket = $2", account, ticket)
        .fetch_optional(&mut *db)
        .await?;
    if let Some(signal_id) = known {
        return match signal_id {
            Some(signal_id) => claim::lock_signal(db, account, Some(signal_id), None).await,
            None => Ok(None),
        };
    }
    // The first Expert Advisor names no signal: it can only mean the oldest it was handed of that kind.
    sqlx::query_as!(
        SignalRow,
        "select * from signals where account = $1 and state in ('processing', 'unknown')
           and symbol in ($2, platform_symbol($1, $2)) and action = $3 order by id limit 1 for update",
        account,
        confirmation.symbol.as_deref(),
        action.map(Action::as_str)
    )
    .fetch_optional(db)
    .await
}

/// Keeps the report; false for a repetition.
async fn record(
    db: &mut PgConnection,
    account: &str,
    confirmation: &Confirmation,
    status: Status,
    signal_id: Option<Uuid>,
    outcome: &Outcome,
    now: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    let body = serde_json::to_string(confirmation).map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
    let done = sqlx::query!(
        "insert into trade_reports
             (account, received_at, terminal, signal_id, attempt, status, fingerprint, body, effect, anomaly, known)
         values ($1, $2, $3, $4, $5, $6, $7, $8::text::json, $9, $10, $11) on conflict (account, fingerprint) do nothing",
        account,
        now,
        confirmation.terminal.as_deref(),
        signal_id,
        confirmation.attempt,
        Confirmation::status_word(status),
        &confirmation.fingerprint()[..],
        body,
        outcome.effect,
        outcome.anomaly,
        outcome.known
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Carries the effect out; the signal's new state, if it has one.
async fn write(
    db: &mut PgConnection,
    signal: &SignalRow,
    effect: &Effect,
    now: OffsetDateTime,
) -> Result<Option<SignalState>, sqlx::Error> {
    let (state, code, message) = match effect {
        Effect::End(state, reason) => (*state, Some(reason.code), Some(reason.message.as_str())),
        Effect::Again => {
            (SignalState::Pending, Some("not_sent"), Some("the terminal's journal shows that nothing was sent"))
        }
        Effect::Nothing(_) => return Ok(None),
    };
    operate::set_state(db, signal.signal_id, state.as_str(), code, message, now).await?;
    Ok(Some(state))
}

/// What a report with a ticket does to the account's trades.
async fn trade(
    db: &mut PgConnection,
    account: &str,
    confirmation: &Confirmation,
    status: Status,
    action: Option<Action>,
    signal: Option<&SignalRow>,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    let asked = signal.map(|signal| signal.action.parse::<Action>().map_err(corrupt)).transpose()?;
    match (status, asked.or(action)) {
        (Status::Closed, _) | (Status::Executed, Some(Action::Close | Action::CloseAll)) => {
            // A position that ended by itself is reported under the signal that opened it.
            let opened_by = signal.filter(|_| status == Status::Closed);
            for part in confirmation.closings() {
                close(db, account, &part, opened_by, now).await?;
            }
            Ok(())
        }
        (_, Some(Action::Modify | Action::Ping)) => Ok(()),
        _ => open(db, account, confirmation, status, asked.or(action), signal, now).await,
    }
}

/// Counts a deal; false if it was counted before. Reports without a deal's number count by their ticket alone.
async fn count_deal(
    db: &mut PgConnection,
    account: &str,
    ticket: i64,
    part: &Part,
    closing: bool,
    now: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    let Some(deal) = part.deal.filter(|deal| *deal > 0) else { return Ok(true) };
    let done = sqlx::query!(
        "insert into deals (account, deal, ticket, closing, volume, price, profit, reported_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing",
        account,
        deal,
        ticket,
        closing,
        part.volume.unwrap_or_default(),
        if closing { part.close_price.or(part.price) } else { part.price },
        part.profit.unwrap_or_default(),
        now
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

async fn open(
    db: &mut PgConnection,
    account: &str,
    confirmation: &Confirmation,
    status: Status,
    action: Option<Action>,
    signal: Option<&SignalRow>,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    let Some(ticket) = confirmation.ticket() else { return Ok(()) };
    let resting = status == Status::Placed;
    let fill = Part {
        deal: confirmation.deal.filter(|_| !resting),
        volume: confirmation.volume,
        price: confirmation.price,
        profit: confirmation.profit,
        ..Part::default()
    };
    if !count_deal(db, account, ticket, &fill, false, now).await? {
        return Ok(());
    }
    // What opening cost; without a deal's number it can't be told from a repetition, and first-protocol terminals mean
    // something else by it.
    let cost = fill.profit.filter(|_| fill.deal.is_some()).unwrap_or_default();
    merge_into_position(db, account, ticket, confirmation.order).await?;
    // An order that rested here until now becomes the position it was filled into.
    let filled = sqlx::query!(
        "update trades set status = 'open', ticket = $3, volume = $4, open_price = coalesce($5, open_price),
             profit = profit + $7, filled_at = $8
         where account = $1 and ticket = any($2) and status = 'placed' and not $6",
        account,
        &[ticket, confirmation.order.unwrap_or(ticket)],
        ticket,
        confirmation.volume.unwrap_or_default(),
        confirmation.price,
        resting,
        cost,
        now
    )
    .execute(&mut *db)
    .await?;
    if filled.rows_affected() > 0 {
        return Ok(());
    }
    // All its deals, in whatever order they came; without a deal's number a second report can't be told from a repetition.
    let filled_volume: Option<Decimal> = match fill.deal {
        Some(_) => opened_volume(db, account, ticket).await?,
        None => None,
    };
    sqlx::query!(
        "insert into trades (account, ticket, order_ticket, signal_id, symbol, action, volume, open_price, status,
                             retcode, execution_ms, opened_at, filled_at, profit)
         values ($1, $2, $3, $4, platform_symbol($1, $5), $6, $7, $8, $9, $10, $11, $12,
                 case when $9 = 'open' then $12::timestamptz end, $14)
         on conflict (account, ticket) do update set
             profit = trades.profit + $14,
             signal_id = coalesce(trades.signal_id, excluded.signal_id),
             order_ticket = coalesce(trades.order_ticket, excluded.order_ticket),
             symbol = coalesce(trades.symbol, excluded.symbol),
             action = coalesce(trades.action, excluded.action),
             open_price = coalesce(trades.open_price, excluded.open_price),
             volume = greatest(coalesce($13, trades.volume), trades.closed_volume),
             status = case when trades.status in ('closed', 'cancelled') and $13 > trades.closed_volume then 'open'
                           else trades.status end,
             closed_at = case when $13 > trades.closed_volume then null else trades.closed_at end,
             filled_at = coalesce(trades.filled_at, excluded.filled_at)",
        account,
        ticket,
        confirmation.order,
        signal.map(|signal| signal.signal_id),
        signal.and_then(|signal| signal.symbol.as_deref()).or(confirmation.symbol.as_deref()),
        action.map(Action::as_str),
        confirmation.volume.or(signal.and_then(|signal| signal.volume)).unwrap_or_default(),
        confirmation.price,
        if resting { "placed" } else { "open" },
        confirmation.retcode,
        confirmation.execution_ms,
        now,
        filled_volume,
        cost
    )
    .execute(db)
    .await
    .map(drop)
}

/// Where a position has another number than its order, and its closing was reported before its fill, it has a row already:
/// the resting order's is merged into that one.
async fn merge_into_position(
    db: &mut PgConnection,
    account: &str,
    position: i64,
    order: Option<i64>,
) -> Result<(), sqlx::Error> {
    let Some(order) = order.filter(|order| *order != position) else { return Ok(()) };
    sqlx::query!(
        "with resting as (
             delete from trades where account = $1 and ticket = $3 and status = 'placed'
               and exists (select from trades where account = $1 and ticket = $2)
             returning *
         )
         update trades t set signal_id = coalesce(t.signal_id, r.signal_id),
             order_ticket = coalesce(t.order_ticket, r.ticket), symbol = coalesce(t.symbol, r.symbol),
             action = coalesce(t.action, r.action), retcode = coalesce(t.retcode, r.retcode),
             execution_ms = coalesce(t.execution_ms, r.execution_ms), opened_at = least(t.opened_at, r.opened_at)
         from resting r where t.account = $1 and t.ticket = $2",
        account,
        position,
        order
    )
    .execute(db)
    .await
    .map(drop)
}

/// Lots of the deals that opened a position.
async fn opened_volume(db: &mut PgConnection, account: &str, ticket: i64) -> Result<Option<Decimal>, sqlx::Error> {
    sqlx::query_scalar!(
        "select sum(volume) from deals where account = $1 and ticket = $2 and not closing",
        account,
        ticket
    )
    .fetch_one(db)
    .await
}

async fn close(
    db: &mut PgConnection,
    account: &str,
    part: &Part,
    opened_by: Option<&SignalRow>,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    let Some(ticket) = part.ticket.filter(|ticket| *ticket > 0) else { return Ok(()) };
    // A closing or deletion that the broker refused ended nothing.
    if part.deal.is_none() && part.retcode.is_some_and(|code| !DONE.contains(&code)) {
        return Ok(());
    }
    if !count_deal(db, account, ticket, part, true, now).await? {
        return Ok(());
    }
    let deal = part.deal.filter(|deal| *deal > 0);
    let volume: Option<Decimal> = part.volume.filter(|volume| !volume.is_zero());
    if deal.is_none() {
        let deleted = sqlx::query!(
            "update trades set status = 'cancelled', closed_at = $3
             where account = $1 and ticket = $2 and status = 'placed'",
            account,
            ticket,
            now
        )
        .execute(&mut *db)
        .await?;
        if deleted.rows_affected() > 0 || (volume.is_none() && part.close_price.is_none()) {
            return Ok(());
        }
    }
    // A position we never heard of (opened by hand, or its opening is still to be reported) is kept too, as wholly closed.
    // Without a deal's number what is said of a closed one can't be told from a repetition.
    sqlx::query!(
        "insert into trades (account, ticket, signal_id, symbol, action, volume, closed_volume, close_price, profit, status,
                             opened_at, closed_at)
         values ($1, $2, $9, platform_symbol($1, $3), $10, coalesce($4::numeric, 0), coalesce($4::numeric, 0), $5::numeric,
                 coalesce($6::numeric, 0), 'closed', $7, $7)
         on conflict (account, ticket) do update set
             volume = greatest(trades.volume, trades.closed_volume + coalesce($4::numeric, 0)),
             closed_volume = trades.closed_volume + coalesce($4::numeric, trades.volume - trades.closed_volume),
             close_price = coalesce($5::numeric, trades.close_price),
             profit = trades.profit + coalesce($6::numeric, 0),
             filled_at = coalesce(trades.filled_at, $7),
             status = case when trades.closed_volume + coalesce($4::numeric, trades.volume) >= trades.volume
                           then 'closed' else 'open' end,
             closed_at = case when trades.closed_volume + coalesce($4::numeric, trades.volume) >= trades.volume then $7 end
         where trades.status = 'open' or $8",
        account,
        ticket,
        part.symbol.as_deref(),
        volume,
        part.close_price,
        part.profit,
        now,
        deal.is_some(),
        opened_by.map(|signal| signal.signal_id),
        opened_by.map(|signal| &*signal.action)
    )
    .execute(db)
    .await
    .map(drop)
}
