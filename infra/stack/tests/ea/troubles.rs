//! The platform away, slow, or answering rubbish; no ticks for days; a revoked key; clocks that differ.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};
use stack::market::Request;

use super::desk::Desk;
use super::gateway::{Gateway, Mood};
use crate::support::{Whole, eventually};

fn buy(symbol: &str) -> Value {
    json!({"symbol": symbol, "action": "BUY", "volume": 0.1})
}

/// Goal: through rubbish, refusals and errors of every kind nothing is executed or told wrong, the Expert Advisor goes on
/// asking, and afterwards trades on as if nothing had been.
#[tokio::test]
async fn rubbish_and_errors_do_no_harm() {
    let whole = Whole::start(&[]).await;
    let gateway = Gateway::open(&whole.platform.url).await;
    let desk = Desk::open().await;
    let ea = desk.start(&gateway.url, whole.sandbox.keys.terminal(), &[]);
    ea.says("Started").await;
    let rubbish = [
        (StatusCode::OK, "<html>no</html>"),
        (StatusCode::OK, ""),
        (StatusCode::OK, "{}"),
        (StatusCode::OK, "[{\"signal_id\":\"x\",\"id\":7,"),
        (StatusCode::OK, "[{\"signal_id\":\"x\",\"id\":7}]"),
        (
            StatusCode::OK,
            "[{\"signal_id\":\"x\",\"id\":7,\"magic\":1,\"attempt\":1,\"action\":\"BUY\",\"symbol\":\"EURUSD\",\"volume\":1}]",
        ),
        (StatusCode::OK, "[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]"),
        (StatusCode::NO_CONTENT, ""),
        (StatusCode::BAD_REQUEST, "no"),
        (StatusCode::NOT_FOUND, "no"),
        (StatusCode::TOO_MANY_REQUESTS, "slowly"),
        (StatusCode::INTERNAL_SERVER_ERROR, "oh"),
        (StatusCode::FORBIDDEN, "revoked"),
    ];
    eventually("it asks for signals", || async { (gateway.seen("/pending") > 0).then_some(()) }).await;
    for (status, text) in rubbish {
        gateway.set("", Mood::Answers(status, text));
        let before = gateway.seen("/api");
        // One was perhaps under way.
        let asked = || async { (gateway.seen("/api") > before + 3).then_some(()) };
        eventually(&format!("it goes on asking after {status} {text}"), asked).await;
    }
    assert_eq!(desk.fills().len(), 0);
    let signal = whole.signal(buy("EURUSD")).await;
    gateway.set("", Mood::Passes);
    whole.state(&signal, "executed").await;
    ea.says("The platform answers again").await;
    assert_eq!(desk.fills().len(), 1);
    ea.stopped().await;
    desk.closed(whole).await;
}

/// Goal: a signal that arrives complete but too late is not sent: time counts from the sending of the poll, not from the
/// arrival of its answer.
#[tokio::test]
async fn an_answer_that_was_long_under_way_is_not_traded() {
    let whole = Whole::start(&[]).await;
    let gateway = Gateway::open(&whole.platform.url).await;
    let desk = Desk::open().await;
    // The poll that is held up waits for the signal, however long that takes to be stored.
    let inputs = [("InpTimeoutMs", "10000"), ("InpWaitMs", "5000")];
    let ea = desk.start(&gateway.url, whole.sandbox.keys.terminal(), &inputs);
    ea.says("Started").await;
    gateway.set("/pending", Mood::Delays(Duration::from_millis(2_500)));
    let late = whole.signal(json!({"symbol": "EURUSD", "action": "BUY", "volume": 0.1, "ttl_seconds": 2})).await;
    whole.state(&late, "expired").await;
    ea.says("expired before it was sent").await;
    assert_eq!(desk.fills().len(), 0);
    gateway.set("", Mood::Passes);
    whole.executed(buy("EURUSD")).await;
    ea.stopped().await;
    desk.closed(whole).await;
}

/// Goal: what an answer carried that never arrived was not sent: it is given back by the run that asked, and executed once.
#[tokio::test]
async fn what_a_lost_answer_carried_is_executed_once() {
    let whole = Whole::start(&[]).await;
    let gateway = Gateway::open(&whole.platform.url).await;
    let desk = Desk::open().await;
    let ea = desk.start(&gateway.url, whole.sandbox.keys.terminal(), &[]);
    let open = whole.executed(buy("EURUSD")).await;
    gateway.set("/pending", Mood::Loses);
    let before = gateway.seen("/pending");
    eventually("the poll that was under way is over", || async {
        (gateway.seen("/pending") > before + 1).then_some(())
    })
    .await;
    let opening = whole.signal(buy("GBPUSD")).await;
    let close = json!({"symbol": "EURUSD", "action": "CLOSE", "volume": 0.04});
    let closing = whole.signal(close).await;
    for signal in [&opening, &closing] {
        whole.state(signal, "processing").await;
    }
    gateway.set("", Mood::Passes);
    whole.sandbox.clock.advance(time::Duration::seconds(31));
    for signal in [&opening, &closing] {
        let done = whole.state(signal, "executed").await;
        assert_eq!(done["attempt"], 2, "{done}");
    }
    assert_eq!(desk.fills().len(), 2);
    let trade = whole.trades().await.into_iter().find(|trade| trade["signal_id"] == open["signal_id"]).unwrap();
    assert_eq!(trade["status"], "open", "a part was closed, and once: {trade}");
    ea.stopped().await;
    desk.closed(whole).await;
}

/// Goal: a report whose answer is lost is delivered again and counts once; reports wait through an outage in their order.
#[tokio::test]
async fn reports_are_delivered_until_they_are_taken_and_count_once() {
    let whole = Whole::start(&[]).await;
    let gateway = Gateway::open(&whole.platform.url).await;
    let desk = Desk::open().await;
    let ea = desk.start(&gateway.url, whole.sandbox.keys.terminal(), &[]);
    gateway.set("/confirm", Mood::Loses);
    let first = whole.signal(buy("EURUSD")).await;
    whole.state(&first, "executed").await;
    gateway.set("/confirm", Mood::Answers(StatusCode::SERVICE_UNAVAILABLE, "not now"));
    let second = whole.signal(buy("GBPUSD")).await;
    eventually("it is filled", || async { (desk.fills().len() == 2).then_some(()) }).await;
    assert_eq!(whole.operator.signal(&second).await.unwrap().unwrap()["state"], "processing");
    gateway.set("", Mood::Passes);
    whole.state(&second, "executed").await;
    assert_eq!((desk.fills().len(), whole.trades().await.len()), (2, 2));
    ea.stopped().await;
    desk.closed(whole).await;
}

/// Goal: on a weekend no tick comes and the market is closed: the account is told of all the same, with the age of its
/// last tick, and a signal is refused with that reason.
#[tokio::test]
async fn a_weekend_without_ticks_silences_nothing() {
    let whole = Whole::start(&[]).await;
    let desk = Desk::open().await;
    desk.call(Request::SetOpen { open: false });
    let ea = desk.trade(&whole);
    let mut ages = Vec::new();
    while ages.len() < 3 {
        let age = eventually("an update", || async {
            let mut db = whole.sandbox.database().await.unwrap();
            let query = "select tick_age_ms from account_reports where account = 'main'";
            let age: Option<i64> = sqlx::query_scalar(query).fetch_optional(&mut db).await.unwrap().flatten();
            age.filter(|age| ages.last().is_none_or(|last| age > last))
        })
        .await;
        ages.push(age);
    }
    assert!(ages[2] >= 1_500, "{ages:?}");
    let failed = whole.failed(buy("EURUSD")).await;
    assert!(failed["message"].as_str().unwrap().contains("10018: the market is closed"), "{failed}");
    ea.stopped().await;
    desk.closed(whole).await;
}

/// Goal: in `reducing` and `halted` it deletes its own resting orders, no others, and does so also when it starts with a
/// lost journal.
#[tokio::test]
async fn its_resting_orders_end_where_openings_are_forbidden() {
    let whole = Whole::start(&[]).await;
    let desk = Desk::open().await;
    let resting = stack::market::TradeRequest {
        action: stack::market::TradeAction::Pending,
        order_type: stack::market::OrderType::BuyLimit,
        symbol: "EURUSD".to_owned(),
        volume: "0.5".parse().unwrap(),
        price: "1.01".parse().unwrap(),
        filling: stack::market::Filling::Return,
        ..Default::default()
    };
    desk.call(Request::OrderSend(resting));
    for mode in ["reducing", "halted"] {
        let ea = desk.trade(&whole);
        let limit = json!({"symbol": "EURUSD", "action": "BUY", "order_type": "limit", "entry": 1.05, "volume": 0.1});
        whole.executed(limit).await;
        assert_eq!(desk.resting(), 2);
        if mode == "halted" {
            ea.killed().await;
            std::fs::remove_file(desk.journal()).unwrap();
        } else {
            ea.stopped().await;
        }
        whole.operator.post("/api/control", &json!({"mode": mode, "reason": "a test"})).await.unwrap();
        let ea = desk.trade(&whole);
        eventually("its order is deleted", || async { (desk.resting() == 1).then_some(()) }).await;
        let cancelled = || async {
            let trades = whole.trades().await;
            trades.iter().all(|trade| trade["status"] == "cancelled").then_some(())
        };
        eventually("the platform is told", cancelled).await;
        ea.stopped().await;
        whole.operator.post("/api/control", &json!({"mode": "active", "reason": "a test"})).await.unwrap();
    }
    desk.closed(whole).await;
}
