//! Account reports into the pool.

use std::collections::BTreeMap;

use common::message::{AccountUpdated, Envelope};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::pools::Done;
use super::{PoolState, Pools};
use crate::pool::Change;
use crate::report::{Figures, reason_to_ignore};

/// A report with what became of it.
pub(crate) struct Taken<'a> {
    pub(crate) envelope: &'a Envelope<AccountUpdated>,
    /// `applied`, or why it was not.
    pub(crate) outcome: &'static str,
    /// The pool's version after it, where it was applied.
    pub(crate) version: Option<i64>,
}

/// Takes one report over into a pool.
pub(crate) fn apply<'a>(
    state: &mut PoolState,
    envelope: &'a Envelope<AccountUpdated>,
    now: OffsetDateTime,
) -> Result<Taken<'a>, sqlx::Error> {
    let update = &envelope.body;
    let ignored = |outcome| Ok(Taken { envelope, outcome, version: None });
    let Ok(figures) = Figures::of(update) else { return ignored("out_of_bounds") };
    if let Some(reason) = reason_to_ignore(&state.last, update, &figures, now) {
        return ignored(reason);
    }
    let before = state.pool.profit;
    let level = figures.level();
    let changed = if state.last.changes_login(update) { state.pool.rebase(level) } else { state.pool.apply(level) };
    let Ok(change) = changed else { return ignored("out_of_bounds") };
    state.last.take_over(update, figures);
    state.touch();
    let done = match change {
        Change::Base => Done::new("base", 0),
        Change::Moved(amount) => Done::new("update", amount),
    };
    // A level that moves nothing is in account_state; the history of the pool has its changes.
    if done.amount != 0 || state.pool.profit != before {
        state.note(&done)?;
    }
    Ok(Taken { envelope, outcome: "applied", version: Some(state.version) })
}

/// Makes known to the pools which of these reports' sessions ended before, and at which number.
pub(crate) async fn recall_sessions(
    db: &mut PgConnection,
    pools: &mut Pools,
    updates: &BTreeMap<String, Vec<Envelope<AccountUpdated>>>,
) -> Result<(), sqlx::Error> {
    let (mut accounts, mut sessions) = (Vec::new(), Vec::new());
    for state in pools.iter_mut() {
        for envelope in updates.get(&state.account).into_iter().flatten() {
            if envelope.body.session.is_some() && envelope.body.session != state.last.session {
                accounts.push(state.account.clone());
                sessions.extend(envelope.body.session.clone());
            }
        }
    }
    if sessions.is_empty() {
        return Ok(());
    }
    let ended = sqlx::query!(
        r#"select e.account, e.session, e.seq from ended_sessions e
           join (select distinct * from unnest($1::text[], $2::text[])) as asked (account, session)
           using (account, session)"#,
        &accounts,
        &sessions
    )
    .fetch_all(db)
    .await?;
    for row in ended {
        pools.of(&row.account)?.last.ended_sessions.insert(row.session, row.seq);
    }
    Ok(())
}

/// Keeps the reports; a repetition is there already.
pub(crate) async fn record(db: &mut PgConnection, taken: &[Taken<'_>], now: OffsetDateTime) -> Result<(), sqlx::Error> {
    if taken.is_empty() {
        return Ok(());
    }
    let figure = |figure: fn(&AccountUpdated) -> Decimal| -> Vec<Decimal> {
        taken.iter().map(|taken| figure(&taken.envelope.body)).collect()
    };
    let given = |figure: fn(&AccountUpdated) -> Option<Decimal>| -> Vec<Option<Decimal>> {
        taken.iter().map(|taken| figure(&taken.envelope.body)).collect()
    };
    let text = |text: fn(&AccountUpdated) -> Option<String>| -> Vec<Option<String>> {
        taken.iter().map(|taken| text(&taken.envelope.body)).collect()
    };
    let number = |number: fn(&AccountUpdated) -> Option<i64>| -> Vec<Option<i64>> {
        taken.iter().map(|taken| number(&taken.envelope.body)).collect()
    };
    let connected: Vec<Option<bool>> = taken.iter().map(|taken| taken.envelope.body.connected).collect();
    let versions: Vec<Option<i64>> = taken.iter().map(|taken| taken.version).collect();
    sqlx::query!(
        "insert into account_state (recorded_at, account, message_id, received_at, balance, equity, margin, free_margin,
             profit, credit, net_deposits, login, currency, session, seq, connected, outcome, version)
         select $1, account, message_id, received_at, balance, equity, margin, free_margin, profit, credit, net_deposits,
                login, currency, session, seq, connected, outcome, version
         from unnest($2::text[], $3::uuid[], $4::timestamptz[], $5::numeric[], $6::numeric[],
             $7::numeric[], $8::numeric[], $9::numeric[], $10::numeric[], $11::numeric[], $12::bigint[], $13::text[],
             $14::text[], $15::bigint[], $16::boolean[], $17::text[], $18::bigint[]) with ordinality
             as r (account, message_id, received_at, balance, equity, margin, free_margin, profit, credit, net_deposits,
                   login, currency, session, seq, connected, outcome, version, nth)
         order by nth
         on conflict (message_id, received_at) do nothing",
        now,
        &taken.iter().map(|taken| taken.envelope.body.account.to_string()).collect::<Vec<_>>(),
        &taken.iter().map(|taken| taken.envelope.message_id).collect::<Vec<Uuid>>(),
        &taken.iter().map(|taken| taken.envelope.body.received_at).collect::<Vec<_>>(),
        &figure(|update| update.balance),
        &figure(|update| update.equity),
        &figure(|update| update.margin),
        &figure(|update| update.free_margin),
        &figure(|update| update.profit),
        &given(|update| update.credit) as &[Option<Decimal>],
        &given(|update| update.net_deposits) as &[Option<Decimal>],
        &number(|update| update.login) as &[Option<i64>],
        &text(|update| update.currency.clone()) as &[Option<String>],
        &text(|update| update.session.clone()) as &[Option<String>],
        &number(|update| update.seq) as &[Option<i64>],
        &connected as &[Option<bool>],
        &taken.iter().map(|taken| taken.outcome.to_owned()).collect::<Vec<_>>(),
        &versions as &[Option<i64>]
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
