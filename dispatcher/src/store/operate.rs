//! Changes of a signal's state by decision: of a report, an operator, or the gate.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::life::Reason;
use crate::story::Changed;

/// Ends a pending signal; none if it was not pending any more.
pub(crate) async fn end(
    db: &mut PgConnection,
    id: i64,
    state: &str,
    code: &str,
    message: &str,
    now: OffsetDateTime,
) -> Result<Option<Changed>, sqlx::Error> {
    sqlx::query_as!(
        Changed,
        r#"with ended as (
             update signals set state = $2, code = $3, message = $4, finished_at = $5
             where id = $1 and state = 'pending' returning signal_id, account, state, attempt, code, received_at, principal
         ), logged as (
             insert into signal_events (signal_id, at, state, attempt, code, message)
             select signal_id, $5, state, attempt, code, $4 from ended
         )
         select signal_id as "signal_id!", account as "account!", state as "state!", attempt as "attempt!", code,
                received_at as "received_at!", principal as "principal!" from ended"#,
        id,
        state,
        code,
        message,
        now
    )
    .fetch_optional(db)
    .await
}

/// The end of a pending signal that a claim brings about.
pub(crate) struct Ending<'a> {
    id: i64,
    state: &'static str,
    code: &'static str,
    message: &'a str,
}

impl<'a> Ending<'a> {
    /// A closing does not wait for it.
    pub(crate) fn superseded(id: i64, reason: &'a Reason) -> Self {
        Self { id, state: "cancelled", code: reason.code, message: &reason.message }
    }

    /// The gate does not let it through.
    pub(crate) fn rejected(id: i64, reason: &'a Reason) -> Self {
        Self { id, state: "rejected", code: reason.code, message: &reason.message }
    }
}

/// Ends these signals as far as they are still pending.
pub(crate) async fn end_all(
    db: &mut PgConnection,
    endings: Vec<Ending<'_>>,
    now: OffsetDateTime,
) -> Result<Vec<Changed>, sqlx::Error> {
    if endings.is_empty() {
        return Ok(Vec::new());
    }
    let text = |field: fn(&Ending<'_>) -> String| endings.iter().map(field).collect::<Vec<_>>();
    sqlx::query_as!(
        Changed,
        r#"with ended as (
             update signals s set state = e.state, code = e.code, message = e.message, finished_at = $5
             from unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) as e (id, state, code, message)
             where s.id = e.id and s.state = 'pending'
             returning s.signal_id, s.account, s.attempt, s.state, s.code, s.message, s.received_at, s.principal
         ), logged as (
             insert into signal_events (signal_id, at, state, attempt, code, message)
             select signal_id, $5, state, attempt, code, message from ended
         )
         select signal_id as "signal_id!", account as "account!", state as "state!", attempt as "attempt!", code,
                received_at as "received_at!", principal as "principal!" from ended"#,
        &endings.iter().map(|ending| ending.id).collect::<Vec<_>>(),
        &text(|ending| ending.state.to_owned()),
        &text(|ending| ending.code.to_owned()),
        &text(|ending| ending.message.to_owned()),
        now
    )
    .fetch_all(db)
    .await
}

/// Ends all pending openings of an account.
pub(crate) async fn reject_openings(
    db: &mut PgConnection,
    account: &str,
    code: &str,
    message: &str,
    now: OffsetDateTime,
) -> Result<Vec<Changed>, sqlx::Error> {
    sqlx::query_as!(
        Changed,
        r#"with ended as (
             update signals set state = 'rejected', code = $2, message = $3, finished_at = $4
             where account = $1 and state = 'pending' and action in ('BUY', 'SELL')
             returning signal_id, account, state, attempt, code, received_at, principal
         ), logged as (
             insert into signal_events (signal_id, at, state, attempt, code, message)
             select signal_id, $4, state, attempt, code, $3 from ended
         )
         select signal_id as "signal_id!", account as "account!", state as "state!", attempt as "attempt!", code,
                received_at as "received_at!", principal as "principal!" from ended"#,
        account,
        code,
        message,
        now
    )
    .fetch_all(db)
    .await
}

/// Writes a signal's new state, whatever it was; the caller holds its row and has judged.
pub(crate) async fn set_state(
    db: &mut PgConnection,
    signal_id: Uuid,
    state: &str,
    code: Option<&str>,
    message: Option<&str>,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "with changed as (
             update signals set state = $2, code = $3, message = $4, lease_expires_at = null,
                 finished_at = case when $2 in ('pending', 'unknown') then null else $5::timestamptz end
             where signal_id = $1 returning attempt
         )
         insert into signal_events (signal_id, at, state, attempt, code, message)
         select $1, $5, $2, attempt, $3, $4 from changed",
        signal_id,
        state,
        code,
        message,
        now
    )
    .execute(db)
    .await
    .map(drop)
}

/// Whether a terminal may be executing a signal of the account, or what became of one is unknown; a ping trades nothing.
pub(crate) async fn any_in_hand(db: &mut PgConnection, account: &str) -> Result<bool, sqlx::Error> {
    let any = sqlx::query_scalar!(
        r#"select exists (select from signals where account = $1 and state in ('processing', 'unknown')
                          and action <> 'PING') as "any!""#,
        account
    );
    any.fetch_one(db).await
}
