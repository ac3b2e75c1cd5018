//! Valuations, and what keeps one from being made.

use reqwest::Method;
use serde_json::json;
use sqlx::Executor as _;

use super::steps::{amount, full};
use crate::support::{Whole, eventually};

/// Goal: an account whose members' parts can't be computed keeps no other account from its valuation, and no caller away; when
/// the cause is gone it is valued too.
#[tokio::test]
async fn an_account_that_cant_be_valued_keeps_no_other_from_it() {
    let whole = Whole::start(&["aside"]).await;
    whole.member("anna", 1_000_000).await;
    let aside = json!({"amount": amount(1_000_000), "account": "aside"});
    whole.operator.post("/api/users/anna/invest", &aside).await.unwrap();
    let terminal = whole.operator.with_key(&whole.sandbox.terminals["aside"]);
    for key in [&terminal, &whole.operator] {
        whole.update_by(key, full(1_000_000, 1_000_000)).await;
    }
    let mut db = whole.sandbox.database().await.unwrap();
    // More cents than there can be.
    let planted = "update holdings set units = units * 1e15 where account = 'aside'";
    assert_eq!(db.execute(planted).await.unwrap().rows_affected(), 1);
    let before = whole.count("account_state").await;
    terminal.post("/api/account/update", &full(1_100_000, 1_000_000)).await.unwrap();
    let reported = || async { (whole.count("account_state").await > before).then_some(()) };
    eventually("the first account moved", reported).await;
    whole.operator.post("/api/account/update", &full(1_100_000, 1_000_000)).await.unwrap();
    let outdated = "pools where valued_version < version and account";
    eventually("the second account is valued", || async {
        let moved = whole.count("pool_valuations where account = 'main' and equity = 1100000").await == 1;
        moved.then_some(())
    })
    .await;
    assert_eq!(whole.count(&format!("{outdated} = 'aside'")).await, 1);
    let told = async |failed: u8| {
        let line = format!("pipeline_pool_valuation_failed{{account=\"aside\"}} {failed}");
        eventually(&line, || async {
            let text = reqwest::get(&whole.platform.metrics).await.ok()?.text().await.ok()?;
            text.lines().any(|told| told == line).then_some(())
        })
        .await;
    };
    told(1).await;
    let (ready, _) = whole.operator.send(Method::GET, "/readyz", None).await.unwrap();
    assert_eq!(ready.as_u16(), 200);
    db.execute("update holdings set units = units / 1e15 where account = 'aside'").await.unwrap();
    whole.valued().await;
    told(0).await;
    whole.finish().await;
}
