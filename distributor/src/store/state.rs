//! Account reports into the pool.

use common::message::{AccountUpdated, Envelope};
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{HistoryRow, PoolState, append_history, movement};
use crate::pool::Change;
use crate::report::{ENDED_SESSIONS_MAX, Figures, reason_to_ignore};

/// Takes one report over into a pool whose row the caller holds; the outcome's name.
pub(crate) async fn apply(
    db: &mut PgConnection,
    state: &mut PoolState,
    envelope: &Envelope<AccountUpdated>,
    now: OffsetDateTime,
) -> Result<&'static str, sqlx::Error> {
    let update = &envelope.body;
    let outcome = match Figures::of(update) {
        Err(_) => "out_of_bounds",
        Ok(figures) => match reason_to_ignore(&state.last, update, &figures) {
            Some(reason) => reason,
            None => take_over(db, state, update, figures, now).await?,
        },
    };
    record(db, envelope, outcome, now).await?;
    Ok(outcome)
}

async fn take_over(
    db: &mut PgConnection,
    state: &mut PoolState,
    update: &AccountUpdated,
    figures: Figures,
    now: OffsetDateTime,
) -> Result<&'static str, sqlx::Error> {
    let before = state.pool.profit;
    let Ok(change) = state.pool.apply(figures.level()) else { return Ok("out_of_bounds") };
    let last = &mut state.last;
    if last.session.is_some() && last.session != update.session {
        last.ended_sessions.extend(last.session.take());
        let excess = last.ended_sessions.len().saturating_sub(ENDED_SESSIONS_MAX);
        last.ended_sessions.drain(..excess);
    }
    last.session.clone_from(&update.session);
    last.seq = update.seq;
    last.state_at = Some(update.received_at);
    last.figures = Some(figures);
    last.definition = state.pool.definition;
    last.login = update.login.or(last.login);
    last.currency = update.currency.clone().or(last.currency.take());
    let (kind, amount) = match change {
        Change::Base => ("base", 0),
        Change::Moved(amount) => ("update", amount),
    };
    // A level that moves nothing is in account_state; the history of the pool has its changes.
    if amount != 0 || state.pool.profit != before {
        let row = HistoryRow { kind, movement: None, amount, units_delta: 0, at: now };
        append_history(db, state, row).await?;
    }
    movement::price_pending(db, state, update.received_at, now).await?;
    Ok("applied")
}

/// Keeps the report; a repetition is there already.
async fn record(
    db: &mut PgConnection,
    envelope: &Envelope<AccountUpdated>,
    outcome: &str,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    let update = &envelope.body;
    sqlx::query!(
        "insert into account_state (account, message_id, received_at, recorded_at, balance, equity, margin, free_margin,
             profit, credit, net_deposits, login, currency, session, seq, connected, outcome)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
         on conflict (message_id, received_at) do nothing",
        update.account.as_str(),
        envelope.message_id,
        update.received_at,
        now,
        update.balance,
        update.equity,
        update.margin,
        update.free_margin,
        update.profit,
        update.credit,
        update.net_deposits,
        update.login,
        update.currency,
        update.session,
        update.seq,
        update.connected,
        outcome
    )
    .execute(db)
    .await
    .map(drop)
}

/// Stores a message that can't be read.
pub(crate) async fn dead_letter(
    db: &mut PgConnection,
    body: &[u8],
    reason: &str,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into account_update_dead_letters (received_at, reason, body) values ($1, $2, $3)",
        now,
        reason,
        body
    )
    .execute(db)
    .await
    .map(drop)
}
