//! What time does to signals. Each statement changes only rows that are still as they were.
//!
//! Invariant: it waits for nobody's row. One that somebody holds is left to the next look, which is at hand: so a transaction
//! that is stuck keeps its own rows back and no others, and none can be locked out by a look that is locked out by it.

use sqlx::PgConnection;
use sqlx::postgres::PgListener;
use time::OffsetDateTime;

use crate::life::{BACK_MAX, LEASE, UNCONFIRMED};
use crate::story::Changed;

/// Pending signals whose life is over: `expired`.
pub(crate) async fn expire(
    db: &mut PgConnection,
    code: &str,
    message: &str,
    now: OffsetDateTime,
) -> Result<Vec<Changed>, sqlx::Error> {
    sqlx::query_as!(
        Changed,
        r#"with due as (
             select signal_id from signals where state = 'pending' and expires_at <= $1 for no key update skip locked
         ), ended as (
             update signals set state = 'expired', code = $2, message = $3, finished_at = $1
             where signal_id = any(array(select signal_id from due))
             returning signal_id, account, state, attempt, code, received_at, principal
         ), logged as (
             insert into signal_events (signal_id, at, state, attempt, code, message)
             select signal_id, $1, state, attempt, $2, $3 from ended
         )
         select signal_id as "signal_id!", account as "account!", state as "state!", attempt as "attempt!", code,
                received_at as "received_at!", principal as "principal!" from ended"#,
        now,
        code,
        message
    )
    .fetch_all(db)
    .await
}

/// Ends the lives of what was stored after this time: it is of the future, and nobody knows how old that is.
pub(crate) async fn end_lives_of_the_future(
    db: &mut PgConnection,
    future: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "with due as (
             select signal_id from signals where state = 'pending' and expires_at > $2 and stored_at > $1
             for no key update skip locked
         )
         update signals set expires_at = $2 where signal_id = any(array(select signal_id from due))",
        future,
        now
    )
    .execute(db)
    .await
    .map(drop)
}

/// Claims whose lease ran out, or is longer than any that this clock gives, by one that was ahead: `unknown`. A heartbeat has
/// failed: it traded nothing, so there is nothing to look up.
pub(crate) async fn lapse(db: &mut PgConnection, now: OffsetDateTime) -> Result<Vec<Changed>, sqlx::Error> {
    sqlx::query_as!(
        Changed,
        r#"with due as (
             select signal_id from signals
             where state = 'processing' and (lease_expires_at <= $1 or lease_expires_at > $2)
             for no key update skip locked
         ), lapsed as (
             update signals set lease_expires_at = null,
                 state = case principal when ':heartbeat' then 'failed' else 'unknown' end,
                 finished_at = case principal when ':heartbeat' then $1::timestamptz end, code = 'lease_expired',
                 message = case principal when ':heartbeat' then 'the terminal did not confirm in time'
                     else 'the terminal did not confirm in time; it may or may not have sent the order' end
             where signal_id = any(array(select signal_id from due))
             returning signal_id, account, state, attempt, code, message, received_at, principal
         ), logged as (
             insert into signal_events (signal_id, at, state, attempt, code, message)
             select signal_id, $1, state, attempt, code, message from lapsed
         )
         select signal_id as "signal_id!", account as "account!", state as "state!", attempt as "attempt!", code,
                received_at as "received_at!", principal as "principal!" from lapsed"#,
        now,
        now + LEASE + BACK_MAX
    )
    .fetch_all(db)
    .await
}

/// Claims of the first protocol that nobody will ever look up: `failed`.
pub(crate) async fn give_up(db: &mut PgConnection, now: OffsetDateTime) -> Result<Vec<Changed>, sqlx::Error> {
    sqlx::query_as!(
        Changed,
        r#"with due as (
             select signal_id from signals
             where state = 'unknown' and claim_protocol < 2 and coalesce(expires_at, claimed_at) <= $2
             for no key update skip locked
         ), ended as (
             update signals set state = 'failed', code = 'unconfirmed', finished_at = $1,
                 message = 'a terminal of the first protocol took it and never confirmed'
             where signal_id = any(array(select signal_id from due))
             returning signal_id, account, state, attempt, code, message, received_at, principal
         ), logged as (
             insert into signal_events (signal_id, at, state, attempt, code, message)
             select signal_id, $1, state, attempt, code, message from ended
         )
         select signal_id as "signal_id!", account as "account!", state as "state!", attempt as "attempt!", code,
                received_at as "received_at!", principal as "principal!" from ended"#,
        now,
        now - UNCONFIRMED
    )
    .fetch_all(db)
    .await
}

/// What the terminals of these accounts can't take: `rejected`.
pub(crate) async fn reject_too_old(
    db: &mut PgConnection,
    accounts: &[String],
    now: OffsetDateTime,
) -> Result<Vec<Changed>, sqlx::Error> {
    sqlx::query_as!(
        Changed,
        r#"with due as (
             select signal_id from signals
             where state = 'pending' and account = any($2)
               and not (action in ('BUY', 'SELL') and order_type = 'market' and risk_percent is null)
             for no key update skip locked
         ), ended as (
             update signals set state = 'rejected', code = 'terminal_too_old', finished_at = $1,
                 message = 'the account''s terminal takes market orders only; update its Expert Advisor'
             where signal_id = any(array(select signal_id from due))
             returning signal_id, account, state, attempt, code, message, received_at, principal
         ), logged as (
             insert into signal_events (signal_id, at, state, attempt, code, message)
             select signal_id, $1, state, attempt, code, message from ended
         )
         select signal_id as "signal_id!", account as "account!", state as "state!", attempt as "attempt!", code,
                received_at as "received_at!", principal as "principal!" from ended"#,
        now,
        accounts
    )
    .fetch_all(db)
    .await
}

/// Openings that arrived while their account was switched: `rejected`.
pub(crate) async fn reject_switched_off(
    db: &mut PgConnection,
    now: OffsetDateTime,
) -> Result<Vec<Changed>, sqlx::Error> {
    sqlx::query_as!(
        Changed,
        r#"with due as (
             select s.signal_id from signals s join accounts a using (account)
             where a.mode <> 'active' and s.state = 'pending' and s.action in ('BUY', 'SELL')
             for no key update of s skip locked
         ), ended as (
             update signals s set state = 'rejected', code = 'account_' || a.mode, finished_at = $1,
                 message = 'the account is ' || a.mode || ': no openings'
             from accounts a
             where a.account = s.account and s.signal_id = any(array(select signal_id from due))
             returning s.signal_id, s.account, s.state, s.attempt, s.code, s.message, s.received_at, s.principal
         ), logged as (
             insert into signal_events (signal_id, at, state, attempt, code, message)
             select signal_id, $1, state, attempt, code, message from ended
         )
         select signal_id as "signal_id!", account as "account!", state as "state!", attempt as "attempt!", code,
                received_at as "received_at!", principal as "principal!" from ended"#,
        now
    )
    .fetch_all(db)
    .await
}

/// Those of these accounts that have something to hand out, perhaps.
pub(crate) async fn with_pending(db: &mut PgConnection, accounts: &[String]) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select account as "account!" from unnest($1::text[]) as waiting (account)
           where (select true from signals s where s.account = waiting.account and s.state = 'pending' limit 1)"#,
        accounts
    )
    .fetch_all(db)
    .await
}

/// How many dispatchers share this database, by their listening connections.
pub(crate) async fn dispatchers(db: &mut PgConnection, application: &str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from pg_stat_activity
           where application_name = $1 and datname = current_database()"#,
        application
    )
    .fetch_one(db)
    .await
}

/// Tells the other dispatchers that these accounts changed.
pub(crate) async fn notify(db: &mut PgConnection, channel: &str, accounts: &str) -> Result<(), sqlx::Error> {
    sqlx::query_scalar!(r#"select pg_notify($1, $2)::text as "void""#, channel, accounts).fetch_one(db).await.map(drop)
}

/// Makes the partitions of the months to come.
pub(crate) async fn make_partitions(db: &mut PgConnection, months_ahead: i32) -> Result<(), sqlx::Error> {
    sqlx::query_scalar!(r#"select ensure_month_partitions('signal_events', $1)::text as "void""#, months_ahead)
        .fetch_one(db)
        .await
        .map(drop)
}

/// The signals in one of the states that are no end.
pub(crate) struct OpenSignals {
    pub(crate) state: String,
    pub(crate) count: i64,
    /// When the oldest was stored or, where a terminal took it, was claimed; one that is held by its halted account is none.
    pub(crate) since: Option<OffsetDateTime>,
}

/// For the gauges: each of these states, also where no signal is in it. Heartbeats are nobody's signals.
pub(crate) async fn open_signals(db: &mut PgConnection) -> Result<Vec<OpenSignals>, sqlx::Error> {
    sqlx::query_as!(
        OpenSignals,
        r#"select state as "state!", count(s.id) as "count!",
                  min(case when state = 'pending' then s.stored_at else s.claimed_at end)
                      filter (where state <> 'pending' or a.mode <> 'halted') as since
           from unnest(array['pending', 'processing', 'unknown']) as states (state)
           left join (select * from signals
                      where state in ('pending', 'processing', 'unknown') and principal <> ':heartbeat') s using (state)
           left join accounts a using (account)
           group by state"#
    )
    .fetch_all(db)
    .await
}

/// Forgets up to `limit` heartbeats that ended before this time, with all that was written of them. What each account
/// confirmed last stays, for that is what is told, and so does what an operator has to look at. By arrays, so that each table is
/// read by its index: how few these are among all signals no statistics tell.
pub(crate) async fn forget_heartbeats(
    db: &mut PgConnection,
    before: OffsetDateTime,
    limit: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "with old as (
             select signal_id from signals s
             where principal = ':heartbeat' and finished_at < $1
               and (state <> 'executed' or exists (
                    select from signals later where later.principal = ':heartbeat' and later.state = 'executed'
                    and later.account = s.account and later.finished_at > s.finished_at))
               and not exists (select from trades t where t.signal_id = s.signal_id)
               and not exists (select from trade_reports r where r.signal_id = s.signal_id and r.anomaly is not null)
             limit $2
         ), reports as (
             delete from trade_reports where signal_id = any(array(select signal_id from old))
         ), events as (
             delete from signal_events where signal_id = any(array(select signal_id from old))
         )
         delete from signals where signal_id = any(array(select signal_id from old))",
        before,
        limit
    )
    .execute(db)
    .await
    .map(drop)
}

/// Asks whether the connection on which this dispatcher listens is still there.
pub(crate) async fn ask(listener: &mut PgListener) -> Result<(), sqlx::Error> {
    sqlx::query("select").execute(listener).await.map(drop)
}
