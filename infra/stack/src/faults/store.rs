//! Looks at the tables beside the platform, over a line of its own that nothing disturbs.

use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

/// Claims that a terminal is at work on, and signals that have not ended; heartbeats go on coming. An older claim waits for the end of its lease.
pub(super) async fn under_way(database_url: &str) -> Result<(i64, i64), sqlx::Error> {
    let mut db = PgConnection::connect(database_url).await?;
    let row = sqlx::query!(
        r#"select count(*) filter (where state = 'processing' and claimed_at > now() - interval '1 second') as "claims!",
                  count(*) as "open!"
           from signals where state in ('pending', 'processing', 'unknown') and principal <> ':heartbeat'"#
    );
    let row = row.fetch_one(&mut db).await?;
    Ok((row.claims, row.open))
}

/// Whether a signal was executed.
pub(super) async fn is_executed(database_url: &str, signal_id: Uuid) -> Result<bool, sqlx::Error> {
    let mut db = PgConnection::connect(database_url).await?;
    let found = sqlx::query_scalar!(
        r#"select exists (select from signals where signal_id = $1 and state = 'executed') as "found!""#,
        signal_id
    );
    found.fetch_one(&mut db).await
}
