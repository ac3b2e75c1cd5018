//! In which order signals are handed out.

use futures_util::StreamExt as _;
use futures_util::future::{join, join_all};
use futures_util::stream;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::steps::{BEYOND_THE_LEASE, id, ids, of};
use crate::support::Whole;

/// Goal: a symbol's second signal waits until the first is confirmed, whatever it is; other symbols wait for neither.
#[tokio::test]
async fn a_symbol_goes_in_its_order_and_holds_up_no_other() {
    let whole = Whole::start(&[]).await;
    let first = whole.buy("EURUSD").await;
    let second = whole.stored(json!({"symbol": "EURUSD", "action": "SELL", "ttl_seconds": 3600})).await;
    let third = whole.stored(json!({"symbol": "EURUSD", "action": "CLOSE"})).await;
    let other = whole.buy("GBPUSD").await;
    let mut claimed = whole.poll("T").await;
    assert_eq!(ids(&claimed), [id(&first), id(&other)]);
    assert!(whole.poll("T").await.is_empty() && whole.poll("U").await.is_empty());
    for next in [&second, &third] {
        whole.confirm(of(&claimed[0], &json!({"status": "failed", "message": "no money"}))).await;
        claimed = whole.poll("T").await;
        assert_eq!(ids(&claimed), [id(next)]);
    }
    whole.finish().await;
}

/// Goal: a poll for fewer than are ready takes the oldest.
#[tokio::test]
async fn a_small_poll_takes_the_oldest() {
    let whole = Whole::start(&[]).await;
    let stored = [whole.buy("AUDUSD").await, whole.buy("EURUSD").await, whole.buy("GBPUSD").await];
    for signal in &stored {
        assert_eq!(ids(&whole.poll_with("limit=1&protocol=2&terminal=T").await), [id(signal)]);
    }
    for bad in ["limit=-1", "limit=x", "limit=1&protocol=2", "limit=1&protocol=2&terminal="] {
        let path = format!("/api/signals/pending?{bad}");
        let (status, _) = whole.operator.send(Method::GET, &path, None).await.unwrap();
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
    }
    whole.finish().await;
}

/// Goal: closing the whole account waits for everything before it and is waited for by everything after it; a ping,
/// which trades nothing, passes.
#[tokio::test]
async fn closing_all_waits_for_all_before_it_and_holds_up_all_behind_it() {
    let whole = Whole::start(&[]).await;
    let before = whole.claimed("EURUSD").await;
    let close_all = whole.stored(json!({"action": "CLOSE_ALL"})).await;
    let behind = whole.buy("GBPUSD").await;
    let ping = whole.stored(json!({"action": "PING"})).await;
    let claimed = whole.poll("T").await;
    assert_eq!(ids(&claimed), [id(&ping)]);
    let answer = whole.confirm(of(&claimed[0], &json!({}))).await;
    assert_eq!(answer["state"], "executed");
    whole.confirm(of(&before, &json!({"ticket": 77, "deal": 78, "volume": 0.1}))).await;
    let claimed = whole.poll("T").await;
    assert_eq!(ids(&claimed), [id(&close_all)]);
    assert!(whole.poll("U").await.is_empty());
    whole.confirm(of(&claimed[0], &json!({"results": [{"ticket": 77, "deal": 79, "volume": 0.1, "profit": 1}]}))).await;
    assert_eq!(ids(&whole.poll("T").await), [id(&behind)]);
    whole.finish().await;
}

/// Goal: an unknown outcome holds back openings of its symbol, but never a closing: that one is handed out with what
/// must be looked up first, and ends the openings that would have waited before it.
#[tokio::test]
async fn a_closing_passes_an_unknown_outcome_and_supersedes_what_waits_behind_it() {
    let whole = Whole::start(&[]).await;
    let unknown = whole.lapsed("EURUSD").await;
    let held = whole.buy("EURUSD").await;
    assert!(whole.poll("T").await.is_empty(), "an opening waits for the outcome");
    let other = whole.buy("GBPUSD").await;
    assert_eq!(ids(&whole.poll("T").await), [id(&other)]);
    let close = whole.stored(json!({"symbol": "EURUSD", "action": "CLOSE"})).await;
    let claimed = whole.poll("T").await;
    assert_eq!(ids(&claimed), [id(&close)]);
    assert_eq!(claimed[0]["after"], json!([unknown["id"]]));
    let superseded = whole.now(&held).await;
    assert_eq!((&superseded["state"], &superseded["code"]), (&json!("cancelled"), &json!("superseded")));
    assert_eq!(whole.now(&unknown).await["state"], "unknown", "still to be looked up");
    whole.confirm(of(&claimed[0], &json!({"message": "nothing to close"}))).await;
    whole.confirm(of(&unknown, &json!({"status": "not_found"}))).await;
    let next = whole.buy("EURUSD").await;
    let claimed = whole.poll("T").await;
    assert_eq!((ids(&claimed), &claimed[0]["after"]), (vec![id(&next)], &json!([])));
    whole.finish().await;
}

/// Goal: closing the account passes an unknown outcome of any symbol too.
#[tokio::test]
async fn closing_all_passes_unknown_outcomes() {
    let whole = Whole::start(&[]).await;
    let unknown = [whole.lapsed("EURUSD").await, whole.lapsed("GBPUSD").await];
    let held = whole.buy("GBPUSD").await;
    let close_all = whole.stored(json!({"action": "CLOSE_ALL"})).await;
    let claimed = whole.poll("T").await;
    assert_eq!(ids(&claimed), [id(&close_all)]);
    assert_eq!(claimed[0]["after"], json!([unknown[0]["id"], unknown[1]["id"]]));
    assert_eq!(whole.now(&held).await["code"], "superseded");
    whole.finish().await;
}

/// Goal: a change of stops that waits for an unknown outcome does not make a closing wait with it.
#[tokio::test]
async fn a_closing_does_not_wait_for_a_modification_that_is_held_back() {
    let whole = Whole::start(&[]).await;
    let unknown = whole.lapsed("EURUSD").await;
    let modify = whole.stored(json!({"symbol": "EURUSD", "action": "MODIFY", "sl": 1.05})).await;
    let close = whole.stored(json!({"symbol": "EURUSD", "action": "CLOSE"})).await;
    let claimed = whole.poll("T").await;
    assert_eq!(ids(&claimed), [id(&close)]);
    assert_eq!(claimed[0]["after"], json!([unknown["id"]]));
    assert_eq!(whole.now(&modify).await["code"], "superseded");
    whole.finish().await;
}

/// Posts a closing behind what is unknown and lets terminal `T` claim it.
async fn closing(whole: &Whole, body: Value, after: &Value) -> Value {
    let close = whole.stored(body).await;
    let claimed = whole.poll("T").await.remove(0);
    assert_eq!((id(&claimed), &claimed["after"]), (id(&close), &json!([after["id"]])));
    claimed
}

/// The signal, which was not sent, ended by the closing behind it, and no terminal is handed it.
async fn assert_superseded(whole: &Whole, signal: &Value) {
    let ended = whole.now(signal).await;
    assert_eq!((&ended["state"], &ended["code"]), (&json!("cancelled"), &json!("superseded")));
    assert!(ended["message"].as_str().unwrap().starts_with("a closing of its symbol came after it"), "{ended}");
    assert!(!ids(&whole.unresolved().await).contains(&id(signal)));
    assert!(whole.poll("T").await.is_empty() && whole.poll("U").await.is_empty());
}

/// Goal: an opening whose outcome was unknown does not open what a later closing was to close, whatever became of the
/// closing: nothing was sent, so nothing is sent any more. What is posted after the closing is traded.
#[tokio::test]
async fn an_opening_that_was_not_sent_does_not_go_out_after_the_closing_behind_it() {
    let whole = Whole::start(&[]).await;
    for (symbol, fate) in
        [("EURUSD", "executed"), ("GBPUSD", "failed"), ("USDJPY", "processing"), ("AUDUSD", "unknown")]
    {
        let opening = whole.lapsed(symbol).await;
        let close = closing(&whole, json!({"symbol": symbol, "action": "CLOSE"}), &opening).await;
        match fate {
            "processing" => {}
            "unknown" => whole.sandbox.clock.advance(BEYOND_THE_LEASE),
            ended => drop(whole.confirm(of(&close, &json!({"status": ended, "message": "nothing to close"}))).await),
        }
        whole.state(id(&close), fate).await;
        let answer = whole.confirm(of(&opening, &json!({"status": "not_sent"}))).await;
        assert_eq!((&answer["state"], &answer["anomaly"]), (&json!("cancelled"), &json!(null)), "{fate}");
        assert_superseded(&whole, &opening).await;
        if matches!(fate, "executed" | "failed") {
            whole.claimed(symbol).await;
        }
    }
    whole.finish().await;
}

/// Goal: a closing of all positions, of the symbol or of the account, supersedes the opening too.
#[tokio::test]
async fn an_opening_that_was_not_sent_does_not_go_out_after_a_closing_of_all() {
    let whole = Whole::start(&[]).await;
    for body in [json!({"symbol": "EURUSD", "action": "CLOSE_ALL"}), json!({"action": "CLOSE_ALL"})] {
        let opening = whole.lapsed("EURUSD").await;
        let close = closing(&whole, body, &opening).await;
        whole.confirm(of(&close, &json!({"message": "nothing to close"}))).await;
        whole.confirm(of(&opening, &json!({"status": "not_sent"}))).await;
        assert_superseded(&whole, &opening).await;
    }
    whole.finish().await;
}

/// Goal: a closing of another symbol, one that came before, one that still waits and one that was withdrawn leave an
/// opening that was not sent as it is.
#[tokio::test]
async fn a_closing_that_says_nothing_of_an_opening_lets_it_go_out_again() {
    let whole = Whole::start(&[]).await;
    let before = whole.stored(json!({"symbol": "EURUSD", "action": "CLOSE"})).await;
    let claimed = whole.poll("T").await.remove(0);
    assert_eq!(id(&claimed), id(&before));
    whole.confirm(of(&claimed, &json!({"message": "nothing to close"}))).await;
    let opening = whole.lapsed("EURUSD").await;
    let other = whole.stored(json!({"symbol": "GBPUSD", "action": "CLOSE"})).await;
    let claimed = whole.poll("T").await.remove(0);
    assert_eq!(id(&claimed), id(&other));
    whole.confirm(of(&claimed, &json!({"message": "nothing to close"}))).await;
    let withdrawn = whole.stored(json!({"symbol": "EURUSD", "action": "CLOSE"})).await;
    whole.operator.post(&format!("/api/signals/{}/cancel", id(&withdrawn)), &json!({})).await.unwrap();
    let waiting = whole.stored(json!({"symbol": "EURUSD", "action": "CLOSE"})).await;
    let answer = whole.confirm(of(&opening, &json!({"status": "not_sent"}))).await;
    assert_eq!(answer["state"], "pending");
    let again = whole.poll("T").await;
    assert_eq!((ids(&again), &again[0]["attempt"]), (vec![id(&opening)], &json!(2)));
    whole.confirm(of(&again[0], &json!({"ticket": 77, "deal": 78, "volume": 0.1}))).await;
    assert_eq!(ids(&whole.poll("T").await), [id(&waiting)], "which closes it");
    whole.finish().await;
}

/// Goal: an operator's retry sends no opening after the closing behind it either; a closing is retried.
#[tokio::test]
async fn a_retry_does_not_send_an_opening_after_the_closing_behind_it() {
    let whole = Whole::start(&[]).await;
    let retry = async |signal: &Value| {
        let body = json!({"outcome": "retry", "message": "the terminal was off"});
        whole.operator.post(&format!("/api/signals/{}/resolve", id(signal)), &body).await.unwrap()
    };
    let opening = whole.lapsed("EURUSD").await;
    let close = closing(&whole, json!({"symbol": "EURUSD", "action": "CLOSE"}), &opening).await;
    assert_eq!(retry(&opening).await["state"], "cancelled");
    assert_superseded(&whole, &opening).await;
    assert!(whole.now(&opening).await["message"].as_str().unwrap().ends_with("the terminal was off"));
    whole.sandbox.clock.advance(BEYOND_THE_LEASE);
    whole.state(id(&close), "unknown").await;
    assert_eq!(retry(&close).await["state"], "pending");
    assert_eq!(ids(&whole.poll("T").await), [id(&close)]);
    whole.finish().await;
}

/// Goal: a signal that was not handed out can be withdrawn; once it is with a terminal it can't.
#[tokio::test]
async fn only_what_is_pending_can_be_cancelled() {
    let whole = Whole::start(&[]).await;
    let (first, second) = (whole.buy("EURUSD").await, whole.buy("EURUSD").await);
    let claimed = whole.poll("T").await;
    assert_eq!(ids(&claimed), [id(&first)]);
    let cancel = |signal| format!("/api/signals/{signal}/cancel");
    let by_number = cancel(second["id"].to_string());
    let answer = whole.operator.post(&by_number, &json!({})).await.unwrap();
    assert_eq!((&answer["state"], &answer["signal_id"]), (&json!("cancelled"), &second["signal_id"]));
    assert_eq!(whole.now(&second).await["code"], "cancelled");
    for path in [by_number, cancel(id(&first).to_owned())] {
        let refusal = whole.refused(Method::POST, &path, json!({})).await;
        assert_eq!(refusal, (StatusCode::CONFLICT, "not_pending".to_owned()));
    }
    let nobody = cancel("5".to_owned());
    assert_eq!(whole.refused(Method::POST, &nobody, json!({})).await.0, StatusCode::NOT_FOUND);
    whole.confirm(of(&claimed[0], &json!({"status": "failed"}))).await;
    assert!(whole.poll("T").await.is_empty());
    whole.finish().await;
}

/// Goal: a withdrawal and a claim at the same moment: the signal is either withdrawn and never handed out, or handed out
/// and the withdrawal refused.
#[tokio::test]
async fn a_withdrawal_and_a_claim_never_both_succeed() {
    let whole = Whole::start(&[]).await;
    let mut all = Vec::new();
    for number in 0..30 {
        all.push(whole.buy(&format!("S{number}")).await);
    }
    let cancel = async |signal: &serde_json::Value| {
        let path = format!("/api/signals/{}/cancel", id(signal));
        let (status, _) = whole.operator.send(Method::POST, &path, Some(&json!({}))).await.unwrap();
        assert!(matches!(status, StatusCode::OK | StatusCode::CONFLICT), "{status}");
        (status == StatusCode::OK).then(|| id(signal).to_owned())
    };
    // No more at once than have their turn in time: one account's are one after another.
    let withdrawn = stream::iter(all.iter().rev().map(cancel)).buffer_unordered(12);
    let claim = async || whole.poll_with("limit=3&protocol=2&terminal=T").await;
    let (cancelled, claimed) = join(withdrawn.collect::<Vec<_>>(), join_all((0..10).map(|_| claim()))).await;
    let cancelled: Vec<String> = cancelled.into_iter().flatten().collect();
    let claimed: Vec<String> = claimed.iter().flatten().map(|signal| id(signal).to_owned()).collect();
    println!("{} withdrawn, {} handed out", cancelled.len(), claimed.len());
    assert!(claimed.iter().all(|signal| !cancelled.contains(signal)));
    for (signals, state) in [(&cancelled, "cancelled"), (&claimed, "processing")] {
        for signal in signals {
            assert_eq!(whole.operator.signal(signal).await.unwrap().unwrap()["state"], state);
        }
    }
    whole.finish().await;
}

/// Goal: a signal may use the broker's name of a symbol, or another case of one that the account knows: it is the same
/// symbol, in the order between signals and for an order that turns up too late.
#[tokio::test]
async fn a_symbol_keeps_its_order_whatever_it_is_called() {
    let whole = Whole::start(&[]).await;
    whole.limit(json!({"symbol_map": {"EURUSD": "EURUSD.a"}})).await;
    let opening = whole.claimed("eurusd").await;
    assert_eq!(opening["symbol"], "EURUSD.a");
    let closing = whole.stored(json!({"symbol": "EURUSD.a", "action": "CLOSE"})).await;
    assert_eq!((&whole.now(&opening).await["symbol"], &closing["symbol"]), (&json!("EURUSD"), &json!("EURUSD")));
    assert!(whole.poll("T").await.is_empty(), "the closing waits for the opening");
    whole.sandbox.clock.advance(BEYOND_THE_LEASE);
    whole.state(id(&opening), "unknown").await;
    let closing = whole.poll("T").await.remove(0);
    assert_eq!((&closing["symbol"], &closing["after"]), (&json!("EURUSD.a"), &json!([opening["id"]])));
    whole.confirm(of(&closing, &json!({"retcode": 10_025}))).await;
    let answer = whole.confirm(of(&opening, &json!({"ticket": 77, "deal": 78, "volume": 0.1}))).await;
    assert_eq!(answer["anomaly"], "orphan");
    whole.limit(json!({"symbols_allowed": ["EURUSD"]})).await;
    assert_eq!(whole.stored(json!({"symbol": "EurUsd.A", "action": "SELL"})).await["state"], "pending");
    assert_eq!(whole.stored(json!({"symbol": "GBPUSD", "action": "SELL"})).await["state"], "rejected");
    whole.finish().await;
}
