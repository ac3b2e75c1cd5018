//! What the broker may answer, class by class: tried again at once, final, or unknown and therefore never sent again.

use serde_json::{Value, json};
use stack::market::retcode;

use super::desk::Desk;
use crate::support::{Whole, eventually};

fn buy() -> Value {
    json!({"symbol": "EURUSD", "action": "BUY", "volume": 0.1})
}

/// Goal: refusals for the price alone are tried again with a fresh price, up to three sends; then they are final.
#[tokio::test]
async fn refusals_for_the_price_are_tried_again() {
    let whole = Whole::start(&[]).await;
    let desk = Desk::open().await;
    let ea = desk.trade(&whole);
    for (round, code) in [retcode::REQUOTE, retcode::PRICE_CHANGED, retcode::PRICE_OFF, 10024].into_iter().enumerate() {
        desk.fail(2, code, false);
        whole.executed(buy()).await;
        assert_eq!(desk.fills().len(), round + 1, "{code}");
    }
    desk.fail(3, retcode::REQUOTE, false);
    let failed = whole.failed(buy()).await;
    assert!(failed["message"].as_str().unwrap().contains("10004"), "{failed}");
    assert_eq!(desk.fills().len(), 4);
    ea.stopped().await;
    desk.closed(whole).await;
}

/// Goal: every other documented refusal is final at the first: one send, no position, the code and a reason told.
#[tokio::test]
async fn other_refusals_are_final_and_named() {
    let whole = Whole::start(&[]).await;
    let desk = Desk::open().await;
    let ea = desk.trade(&whole);
    let known = [10004, 10008, 10009, 10010, 10011, 10012, 10020, 10021, 10024, 10025, 10028, 10031];
    let documented = (10004..=10046).filter(|code| ![10005, 10037].contains(code) && !known.contains(code));
    for code in documented {
        desk.fail(1, code, false);
        let failed = whole.failed(buy()).await;
        let message = failed["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("retcode {code}: ")) && message.len() > 16, "{message}");
    }
    assert_eq!(desk.fills().len(), 0);
    ea.stopped().await;
    desk.closed(whole).await;
}

/// Goal: an answer that leaves the outcome open is looked up: what was executed is confirmed from the broker's books,
/// and nothing is sent twice.
#[tokio::test]
async fn unknown_answers_are_looked_up_and_found() {
    let whole = Whole::start(&[]).await;
    let desk = Desk::open().await;
    let ea = desk.trade(&whole);
    let unknown = [0, retcode::PLACED, retcode::ERROR, retcode::TIMEOUT, retcode::LOCKED, retcode::CONNECTION];
    for (round, code) in unknown.into_iter().enumerate() {
        desk.fail(1, code, true);
        let executed = whole.executed(buy()).await;
        assert_eq!((desk.fills().len(), &executed["attempt"]), (round + 1, &json!(1)), "{code}");
    }
    assert_eq!(whole.trades().await.len(), unknown.len());
    ea.stopped().await;
    desk.closed(whole).await;
}

/// Goal: an unknown answer to an order that never arrived is never sent again: after lease, look-ups and grace the
/// signal ends as not found, and the next one of its symbol is traded.
#[tokio::test]
async fn unknown_answers_without_an_order_end_as_not_found() {
    let whole = Whole::start(&[]).await;
    let desk = Desk::open().await;
    let ea = desk.trade(&whole);
    desk.fail(1, retcode::TIMEOUT, false);
    let lost = whole.signal(buy()).await;
    whole.state(&lost, "processing").await;
    let next = whole.signal(buy()).await;
    // Nothing may be said before the lease is over.
    ea.says("OrderSend brought no answer to rely on (retcode 10012").await;
    whole.sandbox.clock.advance(time::Duration::seconds(31));
    let failed = whole.state(&lost, "failed").await;
    assert_eq!(failed["code"], "outcome_not_found");
    whole.state(&next, "executed").await;
    assert_eq!(desk.fills().len(), 1);
    ea.stopped().await;
    desk.closed(whole).await;
}

/// Goal: a closing whose answers were lost is told from its deals.
#[tokio::test]
async fn lost_answers_to_closings_are_found_in_the_deals() {
    let whole = Whole::start(&[]).await;
    let desk = Desk::open().await;
    let ea = desk.trade(&whole);
    for _ in 0..3 {
        whole.executed(buy()).await;
    }
    desk.fail(3, retcode::TIMEOUT, true);
    whole.executed(json!({"symbol": "EURUSD", "action": "CLOSE"})).await;
    assert_eq!(desk.volumes().len(), 0);
    eventually("the trades are closed", || async {
        let trades = whole.trades().await;
        trades.iter().all(|trade| trade["status"] == "closed").then_some(())
    })
    .await;
    ea.stopped().await;
    desk.closed(whole).await;
}
