//! What is decided about signals and their account is in the audit log.

use serde_json::{Value, json};

use super::steps::{BEYOND_THE_LEASE, id};
use crate::support::{Whole, eventually};

/// The entries about signals and the account, oldest first: what, by whom, by which request, and the rest.
async fn entries(whole: &Whole) -> Vec<Value> {
    let mut database = whole.sandbox.database().await.unwrap();
    let entries: Vec<String> = sqlx::query_scalar(
        "select entry from audit_log where service = 'dispatcher' and entry::jsonb ->> 'event' like 'control.%' order by seq",
    )
    .fetch_all(&mut database)
    .await
    .unwrap();
    entries.iter().map(|entry| serde_json::from_str(entry).unwrap()).collect()
}

/// Goal: a signal that an operator cancels or decides on, and the account at the broker that the first terminal names, each
/// leave one entry that says who; what changes nothing leaves none.
#[tokio::test]
async fn decisions_about_signals_and_the_first_login_are_audited() {
    let whole = Whole::start(&[]).await;
    let poll = "limit=10&protocol=2&terminal=T&login=5";
    for _ in 0..2 {
        assert!(whole.poll_with(poll).await.is_empty());
        whole.operator.get("/api/signals/unresolved?login=5").await.unwrap();
    }
    let bound = entries(&whole).await;
    assert_eq!(bound.len(), 1, "{bound:?}");
    assert_eq!((&bound[0]["event"], &bound[0]["principal"]), (&json!("control.login"), &json!("owner")));
    assert_eq!(bound[0]["details"], json!({"account": "main", "login": 5}));
    assert!(!bound[0]["request_id"].as_str().unwrap().is_empty());
    let cancelled = whole.buy("EURUSD").await;
    let cancel = format!("/api/signals/{}/cancel", id(&cancelled));
    whole.operator.post(&cancel, &json!({})).await.unwrap();
    whole.operator.post(&cancel, &json!({})).await.expect_err("it is cancelled already");
    whole.buy("EURUSD").await;
    let unknown = whole.poll_with(poll).await.remove(0);
    whole.sandbox.clock.advance(BEYOND_THE_LEASE);
    whole.state(id(&unknown), "unknown").await;
    let resolve = format!("/api/signals/{}/resolve", id(&unknown));
    whole.operator.post(&resolve, &json!({"outcome": "failed"})).await.unwrap();
    let told: Vec<Value> = entries(&whole).await.into_iter().skip(1).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    for (entry, (event, signal)) in told.iter().zip([("control.cancelled", &cancelled), ("control.resolved", &unknown)])
    {
        assert_eq!((&entry["event"], &entry["principal"]), (&json!(event), &json!("owner")));
        assert_eq!(entry["details"]["signal_id"], signal["signal_id"]);
    }
    whole.finish().await;
}

/// Goal: the same where the account's figures name the login first.
#[tokio::test]
async fn the_login_that_figures_name_first_is_audited() {
    let whole = Whole::start(&[]).await;
    for _ in 0..2 {
        whole.report("1000", "1000").await;
    }
    eventually("both are recorded", || async { (whole.count("account_state").await == 2).then_some(()) }).await;
    let bound = entries(&whole).await;
    assert_eq!((bound.len(), &bound[0]["details"]), (1, &json!({"account": "main", "login": 1})));
    whole.finish().await;
}
