//! Alerts of money, from the books to whoever is told.

use std::time::Instant;

use serde_json::json;
use sqlx::AssertSqlSafe;

use super::watch::Watch;
use crate::private::Scratch;
use crate::support::Whole;

/// Goal: units that belong to nobody's deposit arrive with their amount, and once they are taken out again that arrives.
#[tokio::test]
async fn an_imbalance_arrives_with_its_amount_and_so_does_its_repair() {
    let whole = Whole::start(&[]).await;
    let scratch = Scratch::new();
    let watch = Watch::start(&scratch.root, &whole.platform.metrics, &[]).await;
    whole.report("0", "0").await;
    for (user, amount) in [("a@example.org", 3_000), ("b@example.org", 7_000)] {
        let made = whole.operator.post("/api/users", &json!({"email": user})).await.unwrap();
        let path = format!("/api/users/{}/invest", made["user_id"].as_str().unwrap());
        whole.operator.post(&path, &json!({"amount": amount})).await.unwrap();
    }
    whole.report("10000", "10000").await;
    let mut db = whole.sandbox.database().await.unwrap();
    // A unit is a hundred-millionth of a cent at the start; the books' guards are their owner's to lift.
    let mut plant = async |units: &str| {
        for statement in [
            "alter table holdings disable trigger user".to_owned(),
            format!("update holdings set units = units {units} where user_id = (select min(user_id) from holdings)"),
            "alter table holdings enable trigger user".to_owned(),
        ] {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut db).await.unwrap();
        }
    };
    let planted = Instant::now();
    plant("+ 1234000000000000").await;
    whole.report("10001", "10000").await;
    let message = watch.arrives("Imbalance", "firing", planted).await;
    let summary = message["alerts"][0]["annotations"]["summary"].as_str().unwrap();
    assert!(summary.starts_with("the members' cents of account main are 123"), "{summary}");
    assert_eq!(message["groupLabels"], json!({"alertname": "Imbalance", "account": "main"}));

    let repaired = Instant::now();
    plant("- 1234000000000000").await;
    whole.report("10000", "10000").await;
    watch.arrives("Imbalance", "resolved", repaired).await;
    watch.stop().await;
    whole.finish().await;
}
