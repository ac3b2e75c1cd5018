//! Signals that ended long ago: their ids are kept, their rows and events go.

use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

/// Signals that are looked at in one transaction.
const BATCH: i64 = 1_000;

/// Makes sure that no other dispatcher retires until the transaction ends; false where one does.
pub(crate) async fn lock(db: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select pg_try_advisory_xact_lock(hashtext('retention'), hashtext('dispatcher')) as "locked!""#
    )
    .fetch_one(db)
    .await
}

/// What a batch of old signals comes to.
pub(crate) struct Walked {
    /// Where to go on; none where all the rest is younger than the cut.
    pub(crate) last: Option<i64>,
    /// Those that can go and are not known as retired yet.
    pub(crate) to_mark: Vec<Uuid>,
    /// Those that were marked before the grace.
    pub(crate) to_remove: Vec<Uuid>,
}

/// Looks at the next signals after this number. Numbers follow the time of storing, so it ends where the cut is.
pub(crate) async fn walk(
    db: &mut PgConnection,
    after: i64,
    cut: OffsetDateTime,
    marked_before: OffsetDateTime,
) -> Result<Walked, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select s.id, s.signal_id, s.stored_at < $2 as "old!", may_retire(s, $2) as "may_go!",
                  r.retired_at as "retired_at?"
           from (select * from signals where id > $1 order by id limit $3) s left join retired_signals r using (signal_id)
           order by s.id"#,
        after,
        cut,
        BATCH
    )
    .fetch_all(db)
    .await?;
    let mut walked = Walked { last: None, to_mark: Vec::new(), to_remove: Vec::new() };
    for row in rows {
        if !row.old {
            walked.last = None;
            break;
        }
        walked.last = Some(row.id);
        match row.retired_at {
            _ if !row.may_go => {}
            None => walked.to_mark.push(row.signal_id),
            Some(at) if at <= marked_before => walked.to_remove.push(row.signal_id),
            Some(_) => {}
        }
    }
    Ok(walked)
}

/// Makes the ids of these known as retired. Returns how many.
pub(crate) async fn mark(db: &mut PgConnection, signals: &[Uuid], now: OffsetDateTime) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "insert into retired_signals (signal_id, id, account, finished_at, retired_at)
         select signal_id, id, account, finished_at, $2 from signals where signal_id = any($1)
         on conflict do nothing",
        signals,
        now
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Removes these with their events, but for those of which something has come meanwhile. Returns how many. What is left of
/// their events goes with its month.
pub(crate) async fn remove(db: &mut PgConnection, signals: &[Uuid], cut: OffsetDateTime) -> Result<u64, sqlx::Error> {
    // A report that holds a signal's row is about to change what is judged below.
    let free = sqlx::query_scalar!(
        "select signal_id from signals where signal_id = any($1) order by id for update skip locked",
        signals
    )
    .fetch_all(&mut *db)
    .await?;
    let gone = sqlx::query_scalar!(
        "delete from signals s where signal_id = any($1) and may_retire(s, $2) returning signal_id",
        &free,
        cut
    )
    .fetch_all(&mut *db)
    .await?;
    sqlx::query!("delete from signal_events_default where signal_id = any($1)", &gone).execute(db).await?;
    Ok(u64::try_from(gone.len()).unwrap_or(u64::MAX))
}

/// The events' partitions that ended before this time, oldest first.
pub(crate) async fn months_before(db: &mut PgConnection, cut: OffsetDateTime) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select month as "month!" from month_partitions('signal_events') as m (month, ends_at) where ends_at <= $1
           order by ends_at"#,
        cut
    )
    .fetch_all(db)
    .await
}

/// Takes a month of events off the table, but for those of signals that are still there; an error where somebody holds the
/// table for more than a moment.
pub(crate) async fn retire(db: &mut PgConnection, month: &str) -> Result<(), sqlx::Error> {
    let mut transaction = db.begin().await?;
    sqlx::query!("set local statement_timeout = '1h'").execute(&mut *transaction).await?;
    sqlx::query!("select retire_month('signal_events', $1)", month).execute(&mut *transaction).await?;
    transaction.commit().await
}

/// When a signal that is not there any more had ended, and of which account it was.
pub(crate) struct Retired {
    pub(crate) account: String,
    pub(crate) finished_at: OffsetDateTime,
}

/// A retired signal by its id or its number; none where there never was one.
pub(crate) async fn find(
    db: &mut PgConnection,
    signal_id: Option<Uuid>,
    id: Option<i64>,
) -> Result<Option<Retired>, sqlx::Error> {
    sqlx::query_as!(
        Retired,
        r#"select account as "account!", finished_at as "finished_at!" from retired_signals where signal_id = $1
           union all
           select account, finished_at from retired_signals where $1::uuid is null and id = $2"#,
        signal_id,
        id
    )
    .fetch_optional(db)
    .await
}
