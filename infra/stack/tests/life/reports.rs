//! Confirmations that come twice, late, with another ticket, or about nothing we know.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use time::Duration;

use super::steps::{id, of};
use crate::support::Whole;

/// Goal: a repeated confirmation is answered like the first and has no second effect.
#[tokio::test]
async fn a_confirmation_that_comes_twice_counts_once() {
    let whole = Whole::start(&[]).await;
    let claimed = whole.claimed("EURUSD").await;
    let report = of(&claimed, &json!({"ticket": 77, "order": 77, "deal": 78, "volume": 0.1, "price": "1.10000"}));
    whole.confirm(report.clone()).await;
    let (before, trades) = (whole.now(&claimed).await, whole.trades().await);
    for repetition in [
        report.clone(),
        of(&report, &json!({"message": "again", "execution_ms": 5})),
        of(&report, &json!({"retcode": 10_009})),
        json!({"signal_id": claimed["signal_id"], "ticket": 77, "deal": 78}),
    ] {
        let answer = whole.confirm(repetition).await;
        assert_eq!((&answer["state"], &answer["anomaly"]), (&json!("executed"), &json!(null)));
    }
    assert_eq!(whole.now(&claimed).await, before);
    assert_eq!(whole.trades().await, trades);
    assert_eq!((trades.len(), &trades[0]["volume"]), (1, &json!(0.1)));
    whole.finish().await;
}

/// Goal: the same confirmation arriving many times at once has one effect, and each sender is answered.
#[tokio::test]
async fn one_confirmation_sent_by_many_at_once_counts_once() {
    let whole = Whole::start(&[]).await;
    let claimed = whole.claimed("EURUSD").await;
    let report = of(&claimed, &json!({"ticket": 77, "deal": 78, "volume": 0.1, "price": 1.1}));
    let answers = futures_util::future::join_all((0..20).map(|_| whole.confirm(report.clone()))).await;
    assert!(answers.iter().all(|answer| answer["state"] == "executed"));
    assert_eq!(whole.count("trade_reports").await, 1);
    assert_eq!(whole.trades().await[0]["volume"], json!(0.1));
    assert_eq!(whole.now(&claimed).await["events"].as_array().unwrap().len(), 3);
    whole.finish().await;
}

/// Goal: a report about a signal that does not exist leaves nothing behind, unless its ticket proves a trade: that one
/// is kept, and somebody is told.
#[tokio::test]
async fn a_report_about_an_unknown_signal_needs_a_ticket() {
    let whole = Whole::start(&[]).await;
    let nobody = uuid::Uuid::new_v4();
    for body in [
        json!({"signal_id": nobody, "attempt": 1, "status": "failed"}),
        json!({"id": 5, "attempt": 1, "status": "not_found"}),
        json!({"signal_id": "not-an-id", "status": "executed"}),
        json!({"symbol": "EURUSD", "action": "BUY", "status": "failed"}),
    ] {
        let refusal = whole.refused(Method::POST, "/api/trades/confirm", body).await;
        assert_eq!(refusal, (StatusCode::NOT_FOUND, "not_found".to_owned()));
    }
    assert_eq!(whole.count("trade_reports").await, 0);
    for (ticket, signal) in [(77, json!(nobody)), (78, json!("not-an-id"))] {
        let body = json!({"signal_id": signal, "ticket": ticket, "symbol": "EURUSD", "action": "BUY", "volume": 0.1,
            "price": 1.1});
        let answer = whole.confirm(body).await;
        assert_eq!((&answer["signal_id"], &answer["anomaly"]), (&json!(null), &json!("unknown_signal")));
    }
    let trades = whole.trades().await;
    assert_eq!((trades.len(), &trades[0]["ticket"], &trades[0]["signal_id"]), (2, &json!(77), &json!(null)));
    whole.finish().await;
}

/// Goal: a second ticket for one opening is a second order at the broker: it is kept beside the first, and an anomaly.
#[tokio::test]
async fn another_ticket_for_an_executed_opening_is_an_anomaly() {
    let whole = Whole::start(&[]).await;
    let claimed = whole.claimed("EURUSD").await;
    whole.confirm(of(&claimed, &json!({"ticket": 77, "deal": 78, "volume": 0.1, "price": 1.1}))).await;
    let answer = whole.confirm(of(&claimed, &json!({"ticket": 79, "deal": 80, "volume": 0.1, "price": 1.1}))).await;
    assert_eq!((&answer["state"], &answer["anomaly"]), (&json!("executed"), &json!("second_ticket")));
    let tickets: Vec<Value> = whole.trades().await.iter().map(|trade| trade["ticket"].clone()).collect();
    assert_eq!(tickets, [json!(77), json!(79)]);
    whole.finish().await;
}

/// Goal: whatever a signal was believed to have ended as, a ticket corrects it to executed, and somebody is told.
#[tokio::test]
async fn a_ticket_corrects_every_other_end() {
    let whole = Whole::start(&[]).await;
    let buy = |symbol: &str, volume: &str| json!({"symbol": symbol, "action": "BUY", "volume": volume});
    let rejected = whole.stored(buy("EURUSD", "10.01")).await;
    let expired = whole.stored(buy("EURUSD", "0.1")).await;
    whole.sandbox.clock.advance(Duration::seconds(61));
    let cancelled = whole.stored(buy("EURUSD", "0.1")).await;
    whole.operator.post(&format!("/api/signals/{}/cancel", id(&cancelled)), &json!({})).await.unwrap();
    let failed = whole.claimed("EURUSD").await;
    whole.confirm(of(&failed, &json!({"status": "failed", "retcode": 10_019}))).await;
    let unclaimed = whole.buy("EURUSD").await;
    let ends = [
        (&rejected, "rejected", "executed_after_rejected"),
        (&expired, "expired", "executed_after_expired"),
        (&cancelled, "cancelled", "executed_after_cancelled"),
        (&failed, "failed", "executed_after_failed"),
        (&unclaimed, "pending", "executed_unclaimed"),
    ];
    for (ticket, (signal, end, anomaly)) in (100..).zip(ends) {
        whole.state(id(signal), end).await;
        let report = json!({"signal_id": signal["signal_id"], "ticket": ticket, "volume": 0.1, "price": 1.1});
        let answer = whole.confirm(report).await;
        assert_eq!((&answer["state"], &answer["anomaly"]), (&json!("executed"), &json!(anomaly)));
        let corrected = whole.now(signal).await;
        assert_eq!(corrected["state"], "executed");
        let story: Vec<&Value> = corrected["events"].as_array().unwrap().iter().map(|event| &event["state"]).collect();
        assert_eq!(story.last(), Some(&&json!("executed")));
        assert!(story.contains(&&json!(end)), "what was believed stays in the story: {story:?}");
    }
    assert_eq!(whole.trades().await.len(), ends.len());
    whole.finish().await;
}

/// Goal: one account's terminal can't touch another account's signal.
#[tokio::test]
async fn a_report_from_another_account_does_not_reach_the_signal() {
    let whole = Whole::start(&["second"]).await;
    let claimed = whole.claimed("EURUSD").await;
    let second = whole.operator.with_key(&whole.sandbox.terminals["second"]);
    let (status, _) = second
        .send(Method::POST, "/api/trades/confirm", Some(&of(&claimed, &json!({"status": "failed"}))))
        .await
        .unwrap();
    assert_eq!(status, StatusCode::NOT_FOUND);
    let report = of(&claimed, &json!({"ticket": 77, "volume": 0.1}));
    let answer = second.post("/api/trades/confirm", &report).await.unwrap();
    assert_eq!(answer["anomaly"], "unknown_signal");
    assert_eq!(whole.now(&claimed).await["state"], "processing");
    let trades = whole.trades().await;
    assert_eq!((trades.len(), &trades[0]["account"], &trades[0]["signal_id"]), (1, &json!("second"), &json!(null)));
    whole.finish().await;
}
