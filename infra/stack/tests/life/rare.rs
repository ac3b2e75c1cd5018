//! What is rare is found among very many without reading them all, and what a client makes up does not pile up.

use serde_json::json;
use sqlx::{AssertSqlSafe, PgConnection};
use time::Duration;

use super::steps::{BEYOND_THE_LEASE, id, of};
use crate::support::{Whole, eventually};

/// More rows than any of these questions may read.
const MANY: i64 = 50_000;

/// How often an index was used, and how many of its entries were read.
async fn reads(db: &mut PgConnection, index: &str) -> (i64, i64) {
    sqlx::query_as("select idx_scan, idx_tup_read from pg_stat_user_indexes where indexrelname = $1")
        .bind(index)
        .fetch_one(db)
        .await
        .unwrap()
}

async fn run(db: &mut PgConnection, statement: &str) {
    sqlx::query(AssertSqlSafe(statement.to_owned())).execute(db).await.unwrap();
}

/// Goal: the trades of an account that has few, or none of late, those of such a status, and those of both are found by an
/// index, however many others came after them.
#[tokio::test]
async fn trades_are_listed_without_reading_all_others() {
    const ASKED: i64 = 10;
    let whole = Whole::start(&["second"]).await;
    let mut db = whole.sandbox.database().await.unwrap();
    // A tenth of them, the oldest: that they are so many does not mean that some of them are among the newest.
    let tenth = MANY / 5;
    for (from, to, account, status) in [
        (1, 2, "few", "placed"),
        (3, tenth, "second", "closed"),
        (tenth + 1, tenth * 2, "main", "cancelled"),
        (tenth * 2 + 1, tenth * 2 + 2, "second", "cancelled"),
        (tenth * 2 + 3, MANY * 2, "main", "closed"),
    ] {
        run(
            &mut db,
            &format!(
                "insert into trades (account, ticket, status, opened_at, closed_at)
                 select '{account}', n, '{status}', now(), case when '{status}' <> 'placed' then now() end
                 from generate_series({from}, {to}) n"
            ),
        )
        .await;
    }
    run(&mut db, "analyze trades").await;
    for _ in 0..ASKED {
        for (query, tickets) in [
            ("limit=2", [MANY * 2, MANY * 2 - 1]),
            ("account=few", [2, 1]),
            ("status=placed", [2, 1]),
            ("account=second&limit=2", [tenth * 2 + 2, tenth * 2 + 1]),
            ("status=cancelled&limit=2", [tenth * 2 + 2, tenth * 2 + 1]),
            ("account=second&status=closed&limit=2", [tenth, tenth - 1]),
            ("account=second&before=6&limit=2", [5, 4]),
        ] {
            let answer = whole.operator.get(&format!("/api/trades?{query}")).await.unwrap();
            let found: Vec<i64> =
                answer.as_array().unwrap().iter().map(|trade| trade["ticket"].as_i64().unwrap()).collect();
            assert_eq!(found, tickets, "{query}");
        }
    }
    for index in ["trades_account", "trades_status", "trades_account_status"] {
        let used = async || (reads(&mut whole.sandbox.database().await.unwrap(), index).await.0 >= ASKED).then_some(());
        eventually(index, used).await;
    }
    let (_, read) = reads(&mut db, "trades_pkey").await;
    assert!(read < MANY, "{read} entries were read for a few hundred rows");
    whole.finish().await;
}

/// Goal: whether a closing came after a signal that was not sent is known without reading all that came since: the account
/// is locked meanwhile.
#[tokio::test]
async fn a_closing_is_found_without_reading_all_that_came_since() {
    let whole = Whole::start(&[]).await;
    let mut db = whole.sandbox.database().await.unwrap();
    let [superseded, free] = ["EURUSD", "GBPUSD"].map(|symbol| whole.claimed(symbol));
    let (superseded, free) = (superseded.await, free.await);
    whole.sandbox.clock.advance(BEYOND_THE_LEASE);
    for signal in [&superseded, &free] {
        whole.state(id(signal), "unknown").await;
    }
    // Openings, and closings of which one is of the first one's symbol.
    run(
        &mut db,
        &format!(
            "insert into signals (signal_id, account, symbol, action, order_type, metadata, principal, request_id, state,
                 received_at, stored_at, finished_at)
             select gen_random_uuid(), 'main', case when n = {MANY} / 2 then 'EURUSD' else 'USDJPY' end,
                    case when n % 500 = 0 then 'CLOSE' else 'BUY' end, 'market', '{{}}', 'owner', 'r', 'executed', now(),
                    now(), now() from generate_series(1, {MANY}) n"
        ),
    )
    .await;
    run(&mut db, "analyze signals").await;
    for (signal, state) in [(&superseded, "cancelled"), (&free, "pending")] {
        assert_eq!(whole.confirm(of(signal, &json!({"status": "not_sent"}))).await["state"], state);
    }
    eventually("the index was used", || async {
        let mut db = whole.sandbox.database().await.unwrap();
        (reads(&mut db, "signals_handed_closings").await.0 >= 2).then_some(())
    })
    .await;
    for index in ["signals_handed_closings", "signals_listing", "signals_id_key"] {
        let (_, read) = reads(&mut db, index).await;
        assert!(read < MANY / 2, "{read} entries of {index} were read");
    }
    whole.finish().await;
}

/// Goal: who makes up names of terminals fills no table; the ones seen last are known, and every other account's.
#[tokio::test]
async fn made_up_terminals_are_forgotten() {
    let whole = Whole::start(&["second"]).await;
    let second = whole.operator.with_key(&whole.sandbox.terminals["second"]);
    second.get("/api/signals/pending?limit=1&protocol=2&terminal=T").await.unwrap();
    for number in 0..130 {
        whole.sandbox.clock.advance(Duration::milliseconds(10));
        whole.poll(&format!("made-up-{number}")).await;
    }
    assert_eq!(whole.count("terminals where account = 'main'").await, 100);
    assert_eq!(whole.count("terminals where terminal in ('made-up-30', 'made-up-129')").await, 2);
    assert_eq!(whole.count("terminals where terminal = 'made-up-29'").await, 0);
    assert_eq!(whole.count("terminals where account = 'second'").await, 1);
    whole.finish().await;
}
