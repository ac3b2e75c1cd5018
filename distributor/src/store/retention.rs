//! Old months off the big tables, and the checkpoints from which the books are proved without them.

use common::audit::{self, Entry};
use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;

/// The tables whose months go. Of the first two a part stays, in their default partitions.
pub(crate) const TABLES: [&str; 3] = ["pool_history", "pool_valuations", "account_state"];

/// Makes sure that no other distributor retires until the transaction ends; false where one does.
pub(crate) async fn lock(db: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select pg_try_advisory_xact_lock(hashtext('retention'), hashtext('distributor')) as "locked!""#
    )
    .fetch_one(db)
    .await
}

/// Keeps months from being taken off until the transaction ends. Its first statement: a snapshot that is older than the end of
/// a retirement would see its rows neither where they were nor where they are.
pub(crate) async fn hold(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("lock table pool_history, pool_valuations, account_state in access share mode")
        .execute(db)
        .await
        .map(drop)
}

/// A table's partitions that ended before this time, oldest first.
pub(crate) async fn months_before(
    db: &mut PgConnection,
    table: &str,
    cut: OffsetDateTime,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select month as "month!" from month_partitions($1) as m (month, ends_at) where ends_at <= $2 order by ends_at"#,
        table,
        cut
    )
    .fetch_all(db)
    .await
}

/// Writes the checkpoint of each pool, from the one before and what came since, with its entry in the audit log. The
/// caller has proved the books.
pub(crate) async fn checkpoint(
    db: &mut PgConnection,
    cut: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    let mut transaction = db.begin().await?;
    sqlx::query!("set local statement_timeout = '1h'").execute(&mut *transaction).await?;
    let details = sqlx::query_scalar!(
        r#"with ends as (
             select account, max(version) as version from (
                 select account, version from pool_chain where at < $1
                 union all select account, version from report_chain where received_at < $1
                 union all select account, 0 from pools) as covered
             group by account
           ), reports as (
             select r.* from report_chain r join ends e using (account) where r.version < e.version or r.received_at < $1
           ), last_reports as (
             select distinct on (account) account, place, version, by_deposits from reports order by account, place desc
           ), last_logins as (
             select distinct on (account) account, login from reports where login is not null order by account, place desc
           ), times as (
             select account, login::text, count(*) as times
             from (select account, login, lag(login) over (partition by account order by place) as before
                   from reports where login is not null) as named
             where login <> before group by account, login
             union all
             select account, key, value::bigint from last_checkpoints, jsonb_each_text(login_changes)
           ), logins as (
             select account, jsonb_object_agg(login, times) as changes
             from (select account, login, sum(times) as times from times group by account, login) as summed group by account
           ), written as (
             insert into pool_checkpoints (account, cut, version, at, equity, units, profit, paid_in, report_place,
                 report_version, report_by_deposits, login, login_changes, digest)
             select e.account, $1, e.version, coalesce(h.at, 'epoch'), coalesce(h.equity, 0), coalesce(h.units, 0),
                    coalesce(h.profit, 0), coalesce(h.paid_in, 0), r.place, r.version, r.by_deposits, l.login,
                    coalesce(c.changes, '{}'), history_digest(e.account, e.version)
             from ends e
             left join pool_chain h using (account, version)
             left join last_reports r using (account)
             left join last_logins l using (account)
             left join logins c using (account)
             on conflict (account, cut) do nothing
             returning pool_checkpoints
           )
           select checkpoint_details(pool_checkpoints) as "details!" from written"#,
        cut
    )
    .fetch_all(&mut *transaction)
    .await?;
    let entry = |details| Entry { at: now, event: "books.checkpoint", principal: crate::NAME, request_id: "", details };
    let entries: Vec<Entry<'_>> = details.into_iter().map(entry).collect();
    audit::append(&mut transaction, crate::NAME, &entries).await?;
    transaction.commit().await
}

/// Takes a month off its table; an error where somebody holds the table for more than a moment.
pub(crate) async fn retire(db: &mut PgConnection, table: &str, month: &str) -> Result<(), sqlx::Error> {
    let mut transaction = db.begin().await?;
    sqlx::query!("set local statement_timeout = '1h'").execute(&mut *transaction).await?;
    sqlx::query!("select retire_month($1, $2)", table, month).execute(&mut *transaction).await?;
    transaction.commit().await
}
