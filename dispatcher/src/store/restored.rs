//! What a restore makes of the signals that a backup holds.

use sqlx::PgConnection;
use time::OffsetDateTime;

/// A service that is connected to this database, if any.
pub(crate) async fn running_service(db: &mut PgConnection) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select application_name as "name!" from pg_stat_activity
           where datname = current_database() and application_name in ('ingest', 'dispatcher', 'distributor') limit 1"#
    )
    .fetch_optional(db)
    .await
}

/// Ends what waited: nobody knows what became of it since. Returns how many.
pub(crate) async fn cancel_waiting(db: &mut PgConnection, now: OffsetDateTime) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "with ended as (
             update signals set state = 'cancelled', code = 'restored', finished_at = $1,
                 message = 'it waited in a backup that was restored; what became of it since is not known'
             where state = 'pending' returning signal_id, state, attempt, code, message
         )
         insert into signal_events (signal_id, at, state, attempt, code, message)
         select signal_id, $1, state, attempt, code, message from ended",
        now
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Has what a terminal had in its hands looked up at the broker, but for heartbeats, which are no orders. Returns how many.
pub(crate) async fn doubt_claimed(db: &mut PgConnection, now: OffsetDateTime) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "with lapsed as (
             update signals set code = 'restored', lease_expires_at = null,
                 state = case principal when ':heartbeat' then 'failed' else 'unknown' end,
                 finished_at = case principal when ':heartbeat' then $1::timestamptz end,
                 message = 'a terminal had it in a backup that was restored; the broker knows whether it was sent'
             where state = 'processing' returning signal_id, state, attempt, code, message
         )
         insert into signal_events (signal_id, at, state, attempt, code, message)
         select signal_id, $1, state, attempt, code, message from lapsed",
        now
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}
