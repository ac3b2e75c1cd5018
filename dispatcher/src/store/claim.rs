//! Handing signals out, under the lock of their account.

use std::sync::Arc;

use common::clock::Clock;
use common::domain::SignalState;
use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use super::operate::{self, Ending};
use super::{SignalRow, account};
use crate::life::gate::{Account, Rules, day};
use crate::life::{self, Choice, LEASE, PROTOCOL, choose};
use crate::story::Changed;

/// Looked at first; only when all of these wait for something is the whole queue read.
const WINDOW: i64 = 500;

/// A terminal that asks for work.
pub(crate) struct Claimant<'a> {
    pub(crate) account: &'a str,
    /// The installation's own id; first-protocol terminals have none.
    pub(crate) terminal: Option<&'a str>,
    /// One run of it.
    pub(crate) session: Option<&'a str>,
    pub(crate) protocol: i16,
    /// The account at the broker that it is logged in to, where it says.
    pub(crate) login: Option<i64>,
    /// The key it was let in with: nothing is handed to one that ended since.
    pub(crate) key_id: &'a str,
}

/// What a claim did.
#[derive(Default)]
pub(crate) struct Claim {
    pub(crate) handed_out: Vec<HandedOut>,
    /// What it left no room for, or the gate.
    pub(crate) ended: Vec<Changed>,
}

/// A signal as it is handed out.
pub(crate) struct HandedOut {
    pub(crate) signal: SignalRow,
    pub(crate) after: Vec<i64>,
    pub(crate) rules: Arc<Rules>,
    pub(crate) magic_base: i64,
}

/// Whether anything waits at all: what a terminal that finds nothing costs.
pub(crate) async fn any_pending(db: &mut PgConnection, account: &str) -> Result<bool, sqlx::Error> {
    let any = sqlx::query_scalar!(
        r#"select exists (select from signals where account = $1 and state = 'pending') as "any!""#,
        account
    );
    any.fetch_one(db).await
}

/// What `choose` would hand out now.
pub(crate) async fn choice(
    db: &mut PgConnection,
    claimant: &Claimant<'_>,
    account: &Account,
    limit: usize,
    now: OffsetDateTime,
) -> Result<Choice, sqlx::Error> {
    let mut recent = None;
    for window in [WINDOW, i64::MAX] {
        let rows = sqlx::query_as!(
            SignalRow,
            "select * from signals
             where account = $1 and state in ('pending', 'processing', 'unknown')
               and (state <> 'pending' or id <= (select max(id) from
                    (select id from signals where account = $1 and state = 'pending' order by id limit $2) as first))
             order by id",
            claimant.account,
            window
        )
        .fetch_all(&mut *db)
        .await?;
        let open = rows.iter().map(SignalRow::open).collect::<Result<Vec<_>, _>>()?;
        let opens = open.iter().any(|signal| signal.state == SignalState::Pending && signal.order.action.opens());
        if opens && recent.is_none() {
            // After the queue: what is confirmed in between is counted twice rather than not at all.
            recent = Some(account::recent_openings(db, claimant.account, account.known_until(), now).await?);
        }
        let choice = choose(&open, account, recent.unwrap_or(0), claimant.protocol, limit, now);
        let whole = i64::try_from(rows.len()).unwrap_or(i64::MAX) < window;
        if whole || !choice.claim.is_empty() {
            return Ok(choice);
        }
    }
    Ok(Choice::default())
}

/// Hands out up to `limit` signals, each under a lease and a new attempt, in a transaction of its own.
pub(crate) async fn claim(
    db: &mut PgConnection,
    claimant: &Claimant<'_>,
    limit: usize,
    clock: &Clock,
) -> Result<Claim, sqlx::Error> {
    let mut transaction = db.begin().await?;
    let claim = claim_locked(&mut transaction, claimant, limit, clock).await?;
    transaction.commit().await?;
    Ok(claim)
}

async fn claim_locked(
    db: &mut PgConnection,
    claimant: &Claimant<'_>,
    limit: usize,
    clock: &Clock,
) -> Result<Claim, sqlx::Error> {
    let Some(row) = account::lock(db, claimant.account).await? else { return Ok(Claim::default()) };
    // Only now: whoever held the account may have done so for seconds.
    let now = clock.now();
    let account = row.account()?;
    if !account.rules.admits(claimant.login) {
        return Ok(Claim::default());
    }
    let choice = choice(db, claimant, &account, limit, now).await?;
    let reason = life::superseded();
    let superseded = choice.supersede.iter().map(|id| Ending::superseded(*id, &reason));
    let rejected = choice.reject.iter().map(|(id, reason)| Ending::rejected(*id, reason));
    let ended = operate::end_all(db, superseded.chain(rejected).collect(), now).await?;
    if choice.claim.is_empty() {
        return Ok(Claim { ended, ..Claim::default() });
    }
    let ids: Vec<i64> = choice.claim.iter().map(|(id, _)| *id).collect();
    let rows = mark(db, claimant, &ids, now).await?;
    let rules = Arc::new(account.rules);
    let handed_out = |signal: SignalRow| {
        let after = choice.claim.iter().find(|(id, _)| *id == signal.id).map(|(_, after)| after.clone());
        HandedOut { after: after.unwrap_or_default(), signal, rules: rules.clone(), magic_base: row.magic_base }
    };
    Ok(Claim { handed_out: rows.into_iter().map(handed_out).collect(), ended })
}

async fn mark(
    db: &mut PgConnection,
    claimant: &Claimant<'_>,
    ids: &[i64],
    now: OffsetDateTime,
) -> Result<Vec<SignalRow>, sqlx::Error> {
    sqlx::query_as!(
        SignalRow,
        r#"with claimed as (
             update signals set state = 'processing', code = null, message = null, attempt = attempt + 1,
                 claimed_by = $3, claim_protocol = $4, claimed_at = $5, lease_expires_at = $6, claim_session = $7
             where id = any($1) and account = $2 and state = 'pending' and (expires_at is null or expires_at > $5)
               and not exists (select from api_keys k
                               where k.key_id = $9 and (k.revoked_at is not null or k.expires_at <= $5))
             returning *
         ), logged as (
             insert into signal_events (signal_id, at, state, attempt, details)
             select signal_id, $5, state, attempt, jsonb_build_object('terminal', $3::text) from claimed
         ), counted as (
             update accounts
             set openings = (case when openings_on = $8 then openings else 0 end) + first.count, openings_on = $8
             from (select count(*)::integer as count from claimed where attempt = 1 and action in ('BUY', 'SELL')) as first
             where account = $2 and first.count > 0
         )
         select signal_id as "signal_id!", id as "id!", account as "account!", symbol, action as "action!",
                order_type as "order_type!", entry, volume, risk_percent, sl, tp, ticket, max_slippage_points,
                order_expires_at, comment, metadata as "metadata!", principal as "principal!", idempotency_key,
                request_id as "request_id!", state as "state!", code, message, attempt as "attempt!", claimed_by,
                claim_session, claim_protocol, lease_expires_at, expires_at, received_at as "received_at!",
                stored_at as "stored_at!", claimed_at, finished_at
         from claimed order by id"#,
        ids,
        claimant.account,
        claimant.terminal,
        claimant.protocol,
        now,
        now + LEASE,
        claimant.session,
        day(now),
        claimant.key_id
    )
    .fetch_all(db)
    .await
}

/// Whether a closing that was handed out supersedes this signal, which is not to be sent late in any case; the caller
/// holds its account's lock.
pub(crate) async fn is_superseded(
    db: &mut PgConnection,
    signal: &SignalRow,
    now: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    // So no more is read than what came within its life.
    if signal.life().is_over(now) {
        return Ok(false);
    }
    // One is enough. In the order of the closings' own index: there may be any number of signals since.
    let closing = sqlx::query_as!(
        SignalRow,
        "select * from signals
         where (account, id) > ($1, $2) and account <= $1 and action in ('CLOSE', 'CLOSE_ALL')
           and state in ('processing', 'unknown', 'executed', 'failed')
           and (symbol = $3 or ticket = $4 or (symbol is null and action = 'CLOSE_ALL'))
         order by account, id limit 1",
        signal.account,
        signal.id,
        signal.symbol,
        signal.ticket
    )
    .fetch_optional(db)
    .await?;
    let closing = closing.as_ref().map(SignalRow::open).transpose()?;
    Ok(life::is_superseded(&signal.open()?, closing.as_slice()))
}

/// What is unknown in an account, oldest first. Orders of first-protocol terminals carry no magic number of ours: nobody
/// could find them by it.
pub(crate) async fn unresolved(db: &mut PgConnection, account: &str) -> Result<Vec<SignalRow>, sqlx::Error> {
    sqlx::query_as!(
        SignalRow,
        "select * from signals where account = $1 and state = 'unknown' and claim_protocol >= $2 order by id",
        account,
        PROTOCOL
    )
    .fetch_all(db)
    .await
}

/// The magic number of an order.
pub(crate) fn magic(base: i64, id: i64) -> i64 {
    const IDS: i64 = 1_000_000_000_000;
    base * IDS + id
}

/// A signal's state and claim, locked until the transaction ends.
pub(crate) async fn lock_signal(
    db: &mut PgConnection,
    account: &str,
    signal_id: Option<Uuid>,
    id: Option<i64>,
) -> Result<Option<SignalRow>, sqlx::Error> {
    sqlx::query_as!(
        SignalRow,
        "select * from signals where account = $1 and (signal_id = $2 or ($2 is null and id = $3)) for update",
        account,
        signal_id,
        id
    )
    .fetch_optional(db)
    .await
}
