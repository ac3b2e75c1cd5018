//! What gauges say of how things stand.

use serde_json::json;
use sqlx::{Connection as _, Executor as _};

use crate::support::{Whole, eventually};

impl Whole {
    /// Waits until all of these are lines of `/metrics`.
    async fn tells(&self, lines: &[String]) {
        eventually(&format!("{lines:#?}"), || async {
            let text = self.scrape().await;
            lines.iter().all(|line| text.lines().any(|told| told == line)).then_some(())
        })
        .await;
    }
}

/// Goal: the account's gauges say what its last report said, to the cent, and nothing where that is not the account's:
/// a terminal without a connection, or logged out, reports figures that are no loss.
#[tokio::test]
async fn an_accounts_figures_are_those_of_its_last_report_that_counts() {
    let whole = Whole::start(&[]).await;
    let names = ["balance", "equity", "margin", "free_margin", "profit", "open_positions"];
    let tells = async |values: [&str; 6]| {
        let line = |(name, value)| format!("pipeline_account_{name}{{account=\"main\"}} {value}");
        whole.tells(&names.into_iter().zip(values).map(line).collect::<Vec<_>>()).await;
    };
    let (known, unknown) = (["1000.25", "900.75", "300.5", "600.25", "100.75", "2"], ["NaN"; 6]);
    tells(unknown).await;
    let mut figures = json!({"balance": 1_000.25, "equity": 900.75, "margin": 300.5, "free_margin": 600.25,
        "profit": -99.5, "net_deposits": 800, "open_positions": 2, "currency": "USD", "login": 1});
    for (connected, expected) in [(true, known), (false, unknown), (true, known)] {
        figures["connected"] = connected.into();
        whole.operator.post("/api/account/update", &figures).await.unwrap();
        tells(expected).await;
    }
    for name in ["balance", "equity", "margin", "free_margin", "profit"] {
        figures[name] = 0.into();
    }
    whole.operator.post("/api/account/update", &figures).await.unwrap();
    tells(unknown).await;
    whole.finish().await;
}

/// Goal: a pool's gauges say how it stands: its members, their money, what a unit is worth, and what waits for a price.
#[tokio::test]
async fn a_pools_figures_are_as_it_stands() {
    let whole = Whole::start(&[]).await;
    let report = async |equity: i64, open: i64| {
        let body = json!({"balance": 1_000, "equity": equity, "margin": 0, "free_margin": 1_000, "profit": equity - 1_000,
            "net_deposits": 1_000, "open_positions": open, "currency": "USD", "login": 1});
        whole.operator.post("/api/account/update", &body).await.unwrap();
    };
    let lines = |facts: [(&str, &str); 5]| {
        facts.map(|(name, value)| format!("pipeline_{name}{{account=\"main\"}} {value}")).to_vec()
    };
    report(1_000, 0).await;
    whole.operator.post("/api/users", &json!({"user_id": "anna", "investment": 800})).await.unwrap();
    report(1_100, 1).await;
    let grown = [("pool_members", "1"), ("pool_equity", "900"), ("pool_unit_price", "1.125"), ("unreconciled", "200")];
    whole.tells(&lines([grown[0], grown[1], grown[2], grown[3], ("movements_pending", "0")])).await;
    whole.operator.post("/api/users", &json!({"user_id": "ben", "investment": 90})).await.unwrap();
    whole.tells(&lines([grown[0], grown[1], grown[2], grown[3], ("movements_pending", "1")])).await;
    report(1_100, 0).await;
    whole
        .tells(&lines([
            ("pool_members", "2"),
            ("pool_equity", "990"),
            grown[2],
            ("unreconciled", "110"),
            ("movements_pending", "0"),
        ]))
        .await;
    whole.finish().await;
}

/// Goal: a backlog is seen also while nothing can be taken from the queue, and so is a pool whose connections are stuck.
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_and_stuck_connections_are_told_while_the_database_is_stuck() {
    /// The broker gives a service so many before it wants some back.
    const HELD: u32 = 1_024;
    let whole = Whole::start(&[]).await;
    let queue = whole.sandbox.signals().name;
    let waiting = |count: u32| [format!("pipeline_queue_messages{{queue=\"{queue}\"}} {count}")];
    whole.tells(&waiting(0)).await;
    let mut database = whole.sandbox.database().await.unwrap();
    let mut stuck = database.begin().await.unwrap();
    stuck.execute("lock table signals in access exclusive mode").await.unwrap();
    for _ in 0..HELD + 7 {
        whole.post(json!({"symbol": "EURUSD", "action": "BUY", "volume": 0.1, "ttl_seconds": 3600})).await;
    }
    whole.tells(&waiting(7)).await;
    let used = "pipeline_database_connections{part=\"dispatcher\",state=\"used\"}";
    // Each gives up from time to time, and tries again.
    eventually("one is stuck", || async { (whole.value(used).await >= 1.0).then_some(()) }).await;
    stuck.rollback().await.unwrap();
    whole.tells(&waiting(0)).await;
    eventually("all connections are idle", || async { (whole.value(used).await == 0.0).then_some(()) }).await;
    whole.finish().await;
}
