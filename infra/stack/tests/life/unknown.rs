//! Claims that nobody confirmed in time, and who may say what became of them.

use reqwest::{Method, StatusCode};
use serde_json::json;
use time::Duration;

use super::steps::{BEYOND_THE_LEASE, id, ids, of};
use crate::support::Whole;

/// Goal: nobody knows what became of a claim whose lease ran out, so time alone never hands it out again; the terminal
/// is told which magic number to look for.
#[tokio::test]
async fn a_claim_without_an_answer_becomes_unknown_and_is_never_handed_out_again() {
    let whole = Whole::start(&[]).await;
    let claimed = whole.claimed("EURUSD").await;
    assert!(whole.unresolved().await.is_empty(), "a claim under its lease is nobody's business");
    whole.sandbox.clock.advance(BEYOND_THE_LEASE);
    let unknown = whole.state(id(&claimed), "unknown").await;
    assert_eq!(unknown["code"], "lease_expired");
    let unresolved = whole.unresolved().await;
    assert_eq!(ids(&unresolved), [id(&claimed)]);
    assert_eq!(unresolved[0]["magic"], claimed["magic"]);
    assert_eq!(unresolved[0]["attempt"], 1);
    assert_eq!(unresolved[0]["terminal"], "T");
    let magic = claimed["magic"].as_i64().unwrap();
    assert_eq!(magic % 1_000_000_000_000, claimed["id"].as_i64().unwrap());
    assert!(magic > 1_000_000_000_000, "the account's base is in front");
    whole.sandbox.clock.advance(Duration::days(1));
    whole.swept().await;
    assert!(whole.poll("T").await.is_empty() && whole.poll("U").await.is_empty());
    let unknown = whole.now(&claimed).await;
    assert_eq!((&unknown["state"], &unknown["attempt"]), (&json!("unknown"), &json!(1)));
    whole.finish().await;
}

/// Goal: the installation that took the claim may prove from its journal that it sent nothing; then the signal is handed
/// out again under a higher attempt, and what is still said of the old attempt counts no more.
#[tokio::test]
async fn not_sent_from_the_claiming_installation_makes_it_pending_again() {
    let whole = Whole::start(&[]).await;
    let first = whole.lapsed("EURUSD").await;
    let answer = whole.confirm(of(&first, &json!({"status": "not_sent"}))).await;
    assert_eq!(answer["state"], "pending");
    let pending = whole.now(&first).await;
    assert_eq!((&pending["code"], &pending["attempt"]), (&json!("not_sent"), &json!(1)));
    assert!(whole.unresolved().await.is_empty());
    let second = whole.poll("U").await.remove(0);
    assert_eq!((id(&second), &second["attempt"], &second["magic"]), (id(&first), &json!(2), &first["magic"]));
    whole.told("pipeline_signals_handed_out_total 2").await;
    whole.told("pipeline_accept_to_handout_seconds_count 1").await;
    for status in ["not_sent", "failed", "not_found", "executed"] {
        let answer = whole.confirm(of(&first, &json!({"status": status, "retcode": 1}))).await;
        assert_eq!(answer["state"], "processing", "{status} without a ticket, of the older attempt");
        assert_eq!(answer["message"], "recorded: of another attempt");
    }
    assert_eq!(whole.count("trade_reports").await, 5, "recorded all the same");
    let answer = whole.confirm(of(&second, &json!({"status": "failed", "retcode": 10_006}))).await;
    assert_eq!(answer["state"], "failed");
    assert_eq!(whole.now(&first).await["code"], "refused");
    whole.finish().await;
}

/// Goal: only the journal that holds the claim can prove that nothing was sent: another installation's word, or that of
/// one that lost its journal (and so has a new name), changes nothing.
#[tokio::test]
async fn not_sent_from_anybody_else_changes_nothing() {
    let whole = Whole::start(&[]).await;
    let claimed = whole.lapsed("EURUSD").await;
    for terminal in [json!("U"), json!(null)] {
        let answer = whole.confirm(of(&claimed, &json!({"status": "not_sent", "terminal": terminal}))).await;
        assert_eq!(answer["state"], "unknown");
        assert_eq!(answer["message"], "recorded: from an installation that did not take it");
    }
    assert!(whole.poll("U").await.is_empty());
    assert_eq!(ids(&whole.unresolved().await), [id(&claimed)]);
    whole.finish().await;
}

/// Goal: a signal that was never sent and is too old by now ends; it is not sent late.
#[tokio::test]
async fn not_sent_after_its_life_ends_the_signal() {
    let whole = Whole::start(&[]).await;
    let stored = whole.stored(json!({"symbol": "EURUSD", "action": "BUY", "ttl_seconds": 20})).await;
    let claimed = whole.poll("T").await.remove(0);
    whole.sandbox.clock.advance(BEYOND_THE_LEASE);
    whole.state(id(&stored), "unknown").await;
    let answer = whole.confirm(of(&claimed, &json!({"status": "not_sent"}))).await;
    assert_eq!(answer["state"], "expired");
    assert_eq!(whole.now(&stored).await["code"], "expired");
    assert!(whole.poll("T").await.is_empty());
    whole.finish().await;
}

/// Goal: what a whole look-up does not find ends as failed and is never sent again; should the order turn up after all,
/// its ticket corrects the record and is reported as an anomaly.
#[tokio::test]
async fn not_found_ends_the_signal_until_a_ticket_proves_otherwise() {
    let whole = Whole::start(&[]).await;
    let claimed = whole.lapsed("EURUSD").await;
    whole.confirm(of(&claimed, &json!({"status": "not_found", "terminal": "U"}))).await;
    let failed = whole.state(id(&claimed), "failed").await;
    assert_eq!(failed["code"], "outcome_not_found");
    assert!(whole.poll("T").await.is_empty() && whole.unresolved().await.is_empty());
    let answer = whole.confirm(of(&claimed, &json!({"ticket": 77, "deal": 78, "volume": 0.1}))).await;
    assert_eq!((&answer["state"], &answer["anomaly"]), (&json!("executed"), &json!("executed_after_failed")));
    assert_eq!(whole.trades().await.len(), 1);
    whole.finish().await;
}

/// Goal: a ticket is proof, whichever attempt it belongs to.
#[tokio::test]
async fn a_ticket_of_an_older_attempt_wins() {
    let whole = Whole::start(&[]).await;
    let first = whole.lapsed("EURUSD").await;
    whole.confirm(of(&first, &json!({"status": "not_sent"}))).await;
    let second = whole.poll("T").await.remove(0);
    assert_eq!(second["attempt"], 2);
    let answer = whole.confirm(of(&first, &json!({"ticket": 77, "deal": 78, "volume": 0.1}))).await;
    assert_eq!((&answer["state"], &answer["anomaly"]), (&json!("executed"), &json!("executed_by_older_attempt")));
    let answer = whole.confirm(of(&second, &json!({"status": "failed"}))).await;
    assert_eq!(answer["state"], "executed", "the end stands");
    let answer = whole.confirm(of(&second, &json!({"ticket": 79, "deal": 80, "volume": 0.1}))).await;
    assert_eq!(answer["anomaly"], "second_ticket", "both attempts traded");
    whole.finish().await;
}

/// Goal: an operator decides what no terminal can, but only of what is unknown.
#[tokio::test]
async fn an_operator_resolves_what_is_unknown_and_nothing_else() {
    let whole = Whole::start(&[]).await;
    for (symbol, outcome, state) in
        [("EURUSD", "executed", "executed"), ("GBPUSD", "failed", "failed"), ("USDJPY", "retry", "pending")]
    {
        let claimed = whole.claimed(symbol).await;
        let path = format!("/api/signals/{}/resolve", id(&claimed));
        let body = json!({"outcome": outcome, "message": "seen at the broker"});
        let refusal = whole.refused(Method::POST, &path, body.clone()).await;
        assert_eq!(refusal, (StatusCode::CONFLICT, "not_unknown".to_owned()));
        whole.sandbox.clock.advance(BEYOND_THE_LEASE);
        whole.state(id(&claimed), "unknown").await;
        let bad = whole.refused(Method::POST, &path, json!({"outcome": "perhaps"})).await;
        assert_eq!(bad.0, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(whole.operator.post(&path, &body).await.unwrap()["state"], state);
        let resolved = whole.now(&claimed).await;
        assert_eq!((&resolved["state"], &resolved["code"]), (&json!(state), &json!("resolved")));
        assert!(resolved["message"].as_str().unwrap().contains("seen at the broker"));
        let refusal = whole.refused(Method::POST, &path, body).await;
        assert_eq!(refusal, (StatusCode::CONFLICT, "not_unknown".to_owned()));
    }
    let again = whole.poll("U").await;
    assert_eq!((again.len(), &again[0]["symbol"], &again[0]["attempt"]), (1, &json!("USDJPY"), &json!(2)));
    let nobody = format!("/api/signals/{}/resolve", uuid::Uuid::new_v4());
    assert_eq!(whole.refused(Method::POST, &nobody, json!({"outcome": "failed"})).await.0, StatusCode::NOT_FOUND);
    whole.finish().await;
}

/// Goal: an operator's retry of a signal whose life is over does not send it late.
#[tokio::test]
async fn a_retry_after_its_life_expires_the_signal() {
    let whole = Whole::start(&[]).await;
    let claimed = whole.lapsed("EURUSD").await;
    whole.sandbox.clock.advance(Duration::hours(1));
    let path = format!("/api/signals/{}/resolve", id(&claimed));
    let answer = whole.operator.post(&path, &json!({"outcome": "retry"})).await.unwrap();
    assert_eq!(answer["state"], "expired");
    assert!(whole.poll("T").await.is_empty());
    whole.finish().await;
}

/// Goal: two terminals share an account and one hangs with a claim: the other goes on with what the claim does not
/// concern, may prove that the order exists, and may not say that it was never sent.
#[tokio::test]
async fn a_terminal_that_hangs_with_a_claim_stops_its_own_symbol_only() {
    let whole = Whole::start(&[]).await;
    let (euro, pound) = (whole.buy("EURUSD").await, whole.buy("GBPUSD").await);
    let hanging = whole.poll_with("limit=2&protocol=2&terminal=A").await;
    assert_eq!(ids(&hanging), [id(&euro), id(&pound)]);
    let (next_euro, yen) = (whole.buy("EURUSD").await, whole.buy("USDJPY").await);
    let other = whole.poll("B").await;
    assert_eq!(ids(&other), [id(&yen)], "the other symbol only");
    whole.confirm(of(&other[0], &json!({"terminal": "B", "ticket": 70, "deal": 71, "volume": 0.1}))).await;
    whole.sandbox.clock.advance(BEYOND_THE_LEASE);
    whole.state(id(&euro), "unknown").await;
    whole.state(id(&pound), "unknown").await;
    assert_eq!(whole.unresolved().await.len(), 2);
    let answer =
        whole.confirm(of(&hanging[0], &json!({"terminal": "B", "ticket": 77, "deal": 78, "volume": 0.1}))).await;
    assert_eq!(answer["state"], "executed", "any terminal of the account may prove it");
    assert_eq!(ids(&whole.poll("B").await), [id(&next_euro)], "its symbol goes on");
    let answer = whole.confirm(of(&hanging[1], &json!({"terminal": "B", "status": "not_sent"}))).await;
    assert_eq!(answer["state"], "unknown", "another one can't know");
    let answer = whole.confirm(of(&hanging[1], &json!({"terminal": "A", "status": "not_sent"}))).await;
    assert_eq!(answer["state"], "pending", "its own journal can");
    whole.finish().await;
}
