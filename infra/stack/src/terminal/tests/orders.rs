//! What it is told, what it does at the market, and what it says of that.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::super::execute::Offer;
use super::super::wire::Signal;
use super::super::*;
use super::bench::{BASE, Bench, signal, soon};
use crate::market::TradeRequest;

#[tokio::test]
async fn a_market_order_is_confirmed_with_exactly_what_was_filled() {
    let mut bench = Bench::new().await;
    bench.start(&[]);
    bench.server.offer(vec![signal(1, json!({}))]);
    let said = bench.server.confirmation().await;
    let position = &bench.positions()[0];
    assert_eq!(position.magic, BASE + 1);
    assert_eq!(said["status"], "executed");
    assert_eq!((&said["id"], &said["attempt"]), (&json!(1), &json!(1)));
    assert_eq!(said["ticket"], json!(position.ticket));
    assert_eq!(said["price"].to_string(), "1.08512");
    assert_eq!(said["volume"].to_string(), "0.10");
    assert_eq!(said["retcode"], 10009);
    bench.stop().await;
}

#[tokio::test]
async fn an_opening_past_its_time_is_not_sent_and_a_closing_is() {
    let mut bench = Bench::new().await;
    bench.start(&[]);
    bench.server.offer(vec![signal(1, json!({}))]);
    bench.server.confirmation().await;
    bench.server.offer(vec![
        signal(2, json!({ "remaining_ms": 0 })),
        signal(3, json!({ "action": "CLOSE", "volume": null, "remaining_ms": null })),
    ]);
    let said = bench.server.confirmation().await;
    assert_eq!((&said["status"], &said["retcode"]), (&json!("not_sent"), &Value::Null));
    assert!(said["message"].as_str().unwrap().contains("expired"));
    let closed = bench.server.confirmation().await;
    assert_eq!((&closed["status"], &closed["price"].to_string()), (&json!("executed"), &"1.08500".to_owned()));
    assert_eq!(closed["profit"].to_string(), "-1.20");
    assert!(bench.positions().is_empty());
}

#[test]
fn both_limits_count_from_sending_the_poll() {
    let parse = |more| serde_json::from_value::<Signal>(signal(1, more)).unwrap();
    let asked_at = Instant::now();
    let received_at = asked_at + Duration::from_secs(20);
    let overdue =
        |more, after| Offer::new(parse(more), asked_at, received_at).overdue(asked_at + Duration::from_millis(after));
    assert_eq!(overdue(json!({ "remaining_ms": 25_000 }), 24_999), None);
    assert!(overdue(json!({ "remaining_ms": 25_000 }), 25_000).is_some());
    assert!(overdue(json!({ "remaining_ms": null }), 30_000).is_some_and(|reason| reason.contains("lease")));
    // The server held the poll for 19 s: its clocks started then.
    assert_eq!(overdue(json!({ "remaining_ms": 25_000, "held_ms": 19_000 }), 43_999), None);
    // It can't have held it for longer than the answer took.
    assert!(overdue(json!({ "remaining_ms": 25_000, "held_ms": 99_000 }), 45_000).is_some());
}

#[tokio::test]
async fn a_confirmation_is_repeated_until_it_is_taken_and_dropped_when_refused() {
    let mut bench = Bench::new().await;
    bench.start(&[]);
    bench.server.platform.confirm_status.store(503, Ordering::SeqCst);
    bench.server.offer(vec![signal(1, json!({}))]);
    let first = bench.server.confirmation().await;
    assert_eq!(first, bench.server.confirmation().await);
    bench.server.platform.confirm_status.store(422, Ordering::SeqCst);
    bench.server.offer(vec![signal(2, json!({})), signal(3, json!({}))]);
    assert_eq!(bench.server.confirmation().await["id"], 2);
    assert_eq!(bench.server.confirmation().await["id"], 3);
}

#[tokio::test]
async fn refusals_requotes_and_partial_fills_are_told_as_they_are() {
    for (fault, status, retcode, volume) in [
        (Fault::Reject, "failed", 10006, "null"),
        (Fault::Requote, "executed", 10009, "0.10"),
        (Fault::PartialFill, "executed", 10010, "0.05"),
    ] {
        let mut bench = Bench::new().await;
        bench.start(&[fault]);
        bench.server.offer(vec![signal(1, json!({}))]);
        let said = bench.server.confirmation().await;
        assert_eq!((said["status"].as_str(), said["retcode"].as_u64()), (Some(status), Some(retcode)), "{fault:?}");
        assert_eq!(said["volume"].to_string(), volume, "{fault:?}");
    }
}

#[tokio::test]
async fn a_resting_order_is_placed_then_filled() {
    let mut bench = Bench::new().await;
    bench.start(&[]);
    bench.server.offer(vec![signal(1, json!({ "order_type": "limit", "entry": 1.08 }))]);
    let placed = bench.server.confirmation().await;
    assert_eq!((&placed["status"], placed["price"].to_string()), (&json!("placed"), "1.08".to_owned()));
    bench.set_price("1.07980");
    let filled = bench.server.confirmation().await;
    assert_eq!((&filled["status"], &filled["order"]), (&json!("executed"), &placed["ticket"]));
    assert_eq!(filled["price"].to_string(), "1.07992");
}

#[tokio::test]
async fn a_halted_account_keeps_no_opening_order() {
    let mut bench = Bench::new().await;
    bench.start(&[]);
    bench.server.offer(vec![signal(1, json!({ "order_type": "stop", "action": "SELL", "entry": 1.08 }))]);
    let placed = bench.server.confirmation().await;
    *bench.server.platform.mode.lock().unwrap() = "halted";
    let ended = bench.server.confirmation().await;
    assert_eq!((&ended["status"], &ended["order"]), (&json!("closed"), &placed["ticket"]));
    assert_eq!(bench.market.lock().unwrap().orders().count(), 0);
}

#[tokio::test]
async fn closing_all_spares_what_is_not_ours() {
    let mut bench = Bench::new().await;
    for magic in [0, 9_000_000_000_001] {
        let foreign = TradeRequest {
            magic,
            symbol: "EURUSD".to_owned(),
            volume: "0.10".parse().unwrap(),
            ..TradeRequest::default()
        };
        bench.call(Request::OrderSend(foreign));
    }
    bench.start(&[]);
    bench.server.offer(vec![
        signal(1, json!({})),
        signal(2, json!({ "symbol": "XAUUSD" })),
        signal(3, json!({ "order_type": "limit", "entry": 1.08 })),
        signal(4, json!({ "action": "MODIFY", "sl": 1.07, "volume": null })),
        signal(5, json!({ "action": "CLOSE_ALL", "symbol": null, "volume": null, "remaining_ms": null, "after": [1] })),
        signal(6, json!({ "action": "PING", "symbol": null, "volume": null })),
    ]);
    let mut said = Vec::new();
    while said.len() < 7 {
        said.push(bench.server.confirmation().await);
    }
    let modified = said.iter().find(|one| one["id"] == 4).unwrap();
    assert_eq!(modified["results"].as_array().unwrap().len(), 2, "a position and a resting order");
    let all = said.iter().find(|one| one["id"] == 5).unwrap();
    assert_eq!(all["results"].as_array().unwrap().len(), 3);
    assert_eq!(all["message"], "3 of 3 done");
    assert_eq!(said.last().unwrap()["id"], 6);
    assert_eq!(bench.positions().len(), 2);
    assert_eq!(bench.market.lock().unwrap().orders().count(), 0);
}

#[tokio::test]
async fn the_volume_at_risk_is_what_the_stop_would_lose() {
    let mut bench = Bench::new().await;
    bench.start(&[]);
    let risk =
        |id, percent| signal(id, json!({ "volume": null, "risk_percent": percent, "sl": 1.08012, "max_volume": 0.50 }));
    bench.server.offer(vec![risk(1, json!(1)), risk(2, json!(50)), risk(3, json!(0.001))]);
    // 1 % of 10,000 over 500 points of 1.00 per lot: 0.20 lots.
    assert_eq!(bench.server.confirmation().await["volume"].to_string(), "0.20");
    assert_eq!(bench.server.confirmation().await["volume"].to_string(), "0.50");
    assert_eq!(bench.server.confirmation().await["retcode"], 10014);
}

#[tokio::test]
async fn rubbish_and_errors_are_survived() {
    let mut bench = Bench::new().await;
    for status in [299, 500] {
        bench.server.platform.pending_status.store(status, Ordering::SeqCst);
        if bench.run.is_none() {
            bench.start(&[]);
        }
        while soon(bench.server.asked.recv()).await.unwrap() != "pending" {}
    }
    bench.server.offer(vec![signal(1, json!({}))]);
    // The answer with status 500 may have carried the signal away; what counts is that the next one is taken.
    bench.server.offer(vec![signal(2, json!({}))]);
    while soon(bench.server.asked.recv()).await.unwrap() != "pending" {}
    bench.server.offer(vec![signal(3, json!({}))]);
    while bench.server.confirmation().await["id"] != 3 {}
}

#[tokio::test]
async fn updates_carry_the_account_and_count_up() {
    let mut bench = Bench::new().await;
    bench.start(&[]);
    let first = soon(bench.server.updated.recv()).await.unwrap();
    assert_eq!((&first["seq"], first["net_deposits"].to_string()), (&json!(1), "10000".to_owned()));
    bench.call(Request::Deposit { amount: "250.50".parse().unwrap() });
    let second = soon(bench.server.updated.recv()).await.unwrap();
    assert_eq!((&second["seq"], second["net_deposits"].to_string()), (&json!(2), "10250.50".to_owned()));
    assert_eq!(second["session"], first["session"]);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_the_long_poll() {
    let mut bench = Bench::new().await;
    bench.start(&[]);
    while soon(bench.server.asked.recv()).await.unwrap() != "pending" {}
    let started_at = Instant::now();
    bench.stop().await;
    assert!(started_at.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_hanging_terminal_claims_and_says_nothing() {
    let mut bench = Bench::new().await;
    bench.start(&[Fault::HangWithClaim]);
    bench.server.offer(vec![signal(1, json!({}))]);
    let events = bench.events.as_mut().unwrap();
    while !matches!(soon(events.recv()).await.unwrap(), Event::Received { id: 1, .. }) {}
    bench.stop().await;
    assert_eq!(bench.sends(), 0);
    assert!(bench.server.confirmed.try_recv().is_err());
}

#[tokio::test]
async fn the_original_terminal_says_its_six_fields_and_no_id() {
    let mut bench = Bench::new().await;
    bench.start(&[Fault::OldProtocol]);
    bench.server.offer(vec![signal(1, json!({}))]);
    let said = bench.server.confirmation().await;
    let mut names: Vec<&String> = said.as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["action", "price", "status", "symbol", "ticket", "volume"]);
    assert_eq!(said["price"].to_string(), "1.08512");
    let update = soon(bench.server.updated.recv()).await.unwrap();
    assert_eq!(update.as_object().unwrap().len(), 5);
}
