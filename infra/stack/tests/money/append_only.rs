//! The rows that prove the balances can only be added to, by whatever statement and through whichever partition.

use sqlx::{AssertSqlSafe, PgConnection};

use super::books::mixed_story;
use crate::support::Whole;

const BOOKS: [&str; 5] = ["capital_movements", "account_state", "pool_history", "pool_valuations", "audit_log"];

async fn assert_refused(db: &mut PgConnection, statement: String) {
    let outcome = sqlx::query(AssertSqlSafe(statement.clone())).execute(&mut *db).await;
    let error = outcome.map(|done| done.rows_affected()).expect_err(&statement).to_string();
    // A table that others refer to is not even asked.
    let refused = error.contains("append-only") || error.contains("truncate a table referenced in a foreign key");
    assert!(refused, "{statement}: {error}");
}

/// Goal: nobody changes, removes or empties what is in the books, be it a whole table, one of its partitions, one that is
/// made later, or all that hangs on another table.
#[tokio::test]
async fn the_books_can_only_be_added_to() {
    let whole = Whole::start(&["second"]).await;
    mixed_story(&whole).await;
    let mut db = whole.sandbox.database().await.unwrap();
    let before = rows(&mut db).await;
    sqlx::query("select ensure_month_partitions('pool_history', 6)").execute(&mut db).await.unwrap();
    for table in BOOKS {
        let partitions = "select inhrelid::regclass::text from pg_inherits where inhparent = $1::regclass";
        let partitions: Vec<String> = sqlx::query_scalar(partitions).bind(table).fetch_all(&mut db).await.unwrap();
        let partitioned = !["capital_movements", "audit_log"].contains(&table);
        assert!(partitions.len() >= if partitioned { 5 } else { 0 }, "{table}: {partitions:?}");
        let mut with_rows = 0;
        for books in partitions.iter().map(String::as_str).chain([table]) {
            assert_refused(&mut db, format!("truncate {books}")).await;
            assert_refused(&mut db, format!("truncate {books} cascade")).await;
            // A change of no rows changes nothing.
            let count = format!("select count(*) from {books}");
            let count: i64 = sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&mut db).await.unwrap();
            if count > 0 {
                with_rows += 1;
                let column = if table == "audit_log" { "service" } else { "account" };
                assert_refused(&mut db, format!("update {books} set {column} = {column}")).await;
                assert_refused(&mut db, format!("delete from {books}")).await;
                assert_refused(&mut db, format!("delete from {books} where ctid = (select min(ctid) from {books})"))
                    .await;
            }
        }
        assert_eq!(with_rows, if partitioned { 2 } else { 1 }, "{table}: this month's partition and the whole");
    }
    assert_refused(&mut db, "truncate members cascade".to_owned()).await;
    let upsert = "insert into audit_log (service, seq, entry, hash) select service, seq, 'x', hash from audit_log
        on conflict (service, seq) do update set entry = excluded.entry";
    assert_refused(&mut db, upsert.to_owned()).await;
    assert_eq!(rows(&mut db).await, before);
    drop(db);
    whole.finish_clean().await;
}

async fn rows(db: &mut PgConnection) -> Vec<i64> {
    let mut counts = Vec::new();
    for table in BOOKS {
        let count = format!("select count(*) from {table}");
        counts.push(sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&mut *db).await.unwrap());
    }
    counts
}
