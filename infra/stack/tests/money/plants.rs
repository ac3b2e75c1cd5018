//! How differences are planted in the books, one at a time, behind the back of what guards them.

use distributor::books::Noted;
use sqlx::{AssertSqlSafe, PgConnection};
use stack::sandbox::Sandbox;

use super::books::mixed_story;
use super::steps::{assert_clean, verdict};
use crate::support::Whole;

pub(super) const VERSIONS: &str = "each version of a pool follows from the one before";
pub(super) const PRICES: &str = "each movement has its price";
pub(super) const MOVEMENTS: &str = "each movement counts once, or waits";
pub(super) const POOLS: &str = "each pool is as its history ends";
pub(super) const HOLDINGS: &str = "each member's part is the sum of his movements";
pub(super) const REPORTS: &str = "each level of profit is a report's";
pub(super) const LOGINS: &str = "each change of the login was asked for";
pub(super) const CHECKPOINTS: &str = "each checkpoint is as it was proved";
pub(super) const VALUATIONS: &str = "the members' cents add up to their pool";
pub(super) const CHAINS: &str = "the audit chains are whole";
pub(super) const AUDITED: &str = "each movement is in the audit log";
pub(super) const NOTED: &str = "the audit log is the one that was noted";

/// Everything that is planted in; the rest of the database is not of the books.
const TABLES: [&str; 9] = [
    "capital_movements",
    "pending_movements",
    "account_state",
    "pool_history",
    "pool_valuations",
    "pool_checkpoints",
    "audit_log",
    "pools",
    "holdings",
];

/// The books of a mixed story that nobody works on any more, and a connection that no trigger hinders any more.
pub(super) async fn books() -> (Sandbox, PgConnection) {
    let whole = Whole::start(&["second"]).await;
    mixed_story(&whole).await;
    let Whole { sandbox, platform, .. } = whole;
    assert!(platform.stop().await);
    unguarded(sandbox).await
}

/// The same of any sandbox without a platform.
pub(super) async fn unguarded(sandbox: Sandbox) -> (Sandbox, PgConnection) {
    let mut db = sandbox.database().await.unwrap();
    // As the tables' owner; only a superuser could do it without a trace.
    let owner = "do $$ declare statement text; begin
        for statement in
            select format('alter table %s disable trigger user', relid) from unnest($1::regclass[]) as t (relid)
            union all
            select format('alter table %s drop constraint %I', conrelid::regclass, conname) from pg_constraint
            where contype = 'f' and conparentid = 0 and conrelid = any($1::regclass[])
        loop execute statement; end loop; end $$";
    let all: String = text(
        &mut db,
        "select string_agg(quote_literal(c.oid::regclass), ', ') from pg_class c
        left join pg_inherits i on i.inhrelid = c.oid
        where c.relkind in ('r', 'p') and coalesce(i.inhparent, c.oid)::regclass::text in ('capital_movements',
            'pending_movements', 'account_state', 'pool_history', 'pool_valuations', 'pool_checkpoints', 'audit_log', 'pools', 'holdings')",
    )
    .await;
    run(&mut db, &owner.replace("$1", &format!("array[{all}]"))).await;
    for table in TABLES {
        run(&mut db, &format!("create temporary table saved_{table} as table {table}")).await;
    }
    assert_clean(&mut db).await;
    (sandbox, db)
}

pub(super) async fn run(db: &mut PgConnection, statement: &str) -> u64 {
    sqlx::query(AssertSqlSafe(statement.to_owned())).execute(db).await.expect(statement).rows_affected()
}

/// Puts everything back.
pub(super) async fn restore(db: &mut PgConnection) {
    for table in TABLES {
        run(db, &format!("delete from {table}")).await;
        run(db, &format!("insert into {table} overriding system value table saved_{table}")).await;
    }
}

/// Every difference, as check and place.
pub(super) async fn differences(db: &mut PgConnection, noted: &[Noted]) -> Vec<(&'static str, String)> {
    let checks = verdict(db, noted).await.checks;
    checks.into_iter().filter_map(|check| Some((check.name, check.difference?.place))).collect()
}

/// Plants each of these, and looks that the check named finds it at a place that begins like this.
pub(super) async fn assert_found(plants: &[(&str, &str, &str)]) {
    assert_found_in(books().await, plants).await;
}

/// The same in these books.
pub(super) async fn assert_found_in((sandbox, mut db): (Sandbox, PgConnection), plants: &[(&str, &str, &str)]) {
    let movement: String =
        text(&mut db, "select 'movement ' || movement_id from pool_history where account = 'main' and version = 2")
            .await;
    let mut missed = Vec::new();
    for (plant, check, place) in plants {
        let place = if *place == "movement" { &movement } else { *place };
        let changed = run(&mut db, plant).await;
        assert!(changed == 1 || plant.starts_with("do "), "{plant}: {changed} rows");
        let found = differences(&mut db, &[]).await;
        if !found.iter().any(|(name, at)| name == check && at.starts_with(place)) {
            missed.push(format!("{plant}: not found by {check:?} at {place:?}, but {found:?}"));
        }
        restore(&mut db).await;
    }
    assert_clean(&mut db).await;
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    drop(db);
    sandbox.remove().await.unwrap();
}

async fn text(db: &mut PgConnection, query: &str) -> String {
    sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(db).await.expect(query)
}
