//! Signals that ended long ago go; their keys and ids stay, and with them the promise of one order.

use reqwest::Method;
use serde_json::{Value, json};
use stack::client::Client;
use time::Duration;

use super::steps::{id, ids, of};
use crate::past::month;
use crate::support::{Whole, eventually};

fn buy(symbol: &str) -> Value {
    json!({"symbol": symbol, "action": "BUY", "volume": 0.1, "ttl_seconds": 3600})
}

fn ticket(claimed: &Value, ticket: i64) -> Value {
    of(claimed, &json!({"ticket": ticket, "deal": ticket + 1_000, "volume": 0.1, "price": 1.1}))
}

fn closed(claimed: &Value, ticket: i64) -> Value {
    let close =
        json!({"status": "closed", "ticket": ticket, "deal": ticket + 2_000, "volume": 0.1, "close_price": 1.2});
    of(claimed, &close)
}

impl Whole {
    /// Posts under an idempotency key, as often as one likes; the id.
    async fn keyed(&self, client: &Client, key: &str, body: &Value) -> String {
        let (status, answer) = client.post_once(key, "/api/signal", body).await.unwrap();
        assert_eq!(status, 200, "{answer}");
        answer["signal_id"].as_str().unwrap().to_owned()
    }

    /// Executes a signal under this ticket.
    async fn executed(&self, symbol: &str, number: i64) -> Value {
        let claimed = self.claimed(symbol).await;
        self.confirm(ticket(&claimed, number)).await;
        claimed
    }

    /// Two restarts with the grace between them; then what could go is gone.
    async fn retired(self, months: u32) -> Self {
        let marks = self.count("retired_signals").await;
        let whole = self.restarted(months).await;
        eventually("ids are known as retired", || async {
            (whole.count("retired_signals").await > marks).then_some(())
        })
        .await;
        whole.sandbox.clock.advance(Duration::seconds(61));
        let whole = whole.restarted(months).await;
        eventually("old events are gone", || async {
            let old = format!("month_partitions('signal_events') where ends_at <= '{}'", month(months));
            let rows = "signals s join retired_signals using (signal_id)";
            (whole.count(&old).await == 0 && whole.count(rows).await == 0).then_some(())
        })
        .await;
        whole
    }

    /// The status and the code of a question for a signal.
    async fn word_of(&self, signal: &str) -> (u16, String) {
        let (status, answer) = self.operator.send(Method::GET, &format!("/api/signals/{signal}"), None).await.unwrap();
        let word = if status.is_success() { &answer["state"] } else { &answer["code"] };
        (status.as_u16(), word.as_str().unwrap().to_owned())
    }
}

/// Goal: of a signal that ended before what is kept, the row and the events go, and a question for it is answered as such;
/// what is still open, or was not looked at, stays with its events, until that has ended too.
#[tokio::test]
async fn what_ended_long_ago_goes_and_what_is_open_stays() {
    let whole = Whole::start_in_the_past().await;
    let gone = whole.executed("EURUSD", 1).await;
    whole.confirm(closed(&gone, 1)).await;
    let open = whole.executed("GBPUSD", 2).await;
    let contradicted = whole.executed("USDJPY", 3).await;
    whole.confirm(closed(&contradicted, 3)).await;
    assert_eq!(whole.confirm(ticket(&contradicted, 4)).await["anomaly"], "second_ticket");
    whole.confirm(closed(&contradicted, 4)).await;
    let rejected = whole.stored(json!({"symbol": "EURUSD", "action": "BUY", "volume": 11})).await;
    whole.wait_until(month(1) + Duration::days(1));
    let later = whole.executed("EURUSD", 5).await;
    whole.confirm(closed(&later, 5)).await;
    whole.wait_until(month(0) + Duration::hours(1));
    let mut whole = whole.retired(2).await;
    for signal in [&gone, &rejected] {
        for name in [id(signal).to_owned(), signal["id"].to_string()] {
            assert_eq!(whole.word_of(&name).await, (410, "signal_retired".to_owned()), "{name}");
            for (path, body) in [("cancel", json!({})), ("resolve", json!({"outcome": "failed"}))] {
                let path = format!("/api/signals/{name}/{path}");
                let (status, code) = whole.refused(Method::POST, &path, body).await;
                assert_eq!((status.as_u16(), &*code), (410, "signal_retired"), "{path}");
            }
        }
    }
    for signal in [&open, &contradicted, &later] {
        let kept = whole.now(signal).await;
        let states: Vec<&Value> = kept["events"].as_array().unwrap().iter().map(|event| &event["state"]).collect();
        assert_eq!(states, ["pending", "processing", "executed"], "{kept}");
    }
    assert_eq!(whole.word_of("5").await, (404, "not_found".to_owned()), "there never was one");
    // Trades are kept, with the id of what opened them.
    let first = whole.trades().await.remove(0);
    assert_eq!((&first["ticket"], &first["signal_id"]), (&json!(1), &gone["signal_id"]));

    // A report that comes so late is no order of nobody without a trace.
    let (status, _) = whole.refused(Method::POST, "/api/trades/confirm", of(&gone, &json!({"status": "failed"}))).await;
    assert_eq!(status.as_u16(), 404);
    assert_eq!(whole.confirm(ticket(&gone, 6)).await["anomaly"], "unknown_signal");
    let anomalies = whole.operator.get("/api/anomalies?acknowledged=false").await.unwrap();
    assert!(anomalies[0]["known"].as_str().unwrap().contains("was retired"), "{anomalies}");

    // Once nothing is open and somebody has looked, they go too.
    whole.confirm(closed(&open, 2)).await;
    for anomaly in anomalies.as_array().unwrap() {
        let path = format!("/api/anomalies/{}/acknowledge", anomaly["anomaly_id"]);
        whole.operator.post(&path, &json!({"note": "looked at"})).await.unwrap();
    }
    whole = whole.retired(2).await;
    for signal in [&open, &contradicted] {
        assert_eq!(whole.word_of(id(signal)).await, (410, "signal_retired".to_owned()));
        assert_eq!(whole.count(&format!("signal_events where signal_id = '{}'", id(signal))).await, 0);
    }
    assert_eq!(whole.now(&later).await["state"], "executed");
    whole.finish().await;
}

/// Goal: a signal that is posted again under its key after it was retired is a repetition and is never executed again, and
/// its key means its first content for ever.
#[tokio::test]
async fn a_key_outlives_its_signal() {
    let whole = Whole::start_in_the_past().await;
    let generator = whole.operator.with_key(whole.sandbox.keys.generator());
    let first = whole.keyed(&generator, "first", &buy("EURUSD")).await;
    whole.state(&first, "pending").await;
    let claimed = whole.poll("T").await.remove(0);
    whole.confirm(of(&claimed, &json!({"status": "failed", "retcode": 10_019}))).await;
    whole.wait_until(month(0) + Duration::hours(1));
    let whole = whole.retired(1).await;
    let generator = whole.operator.with_key(whole.sandbox.keys.generator());
    let signals = whole.count("signals").await;
    for _ in 0..3 {
        assert_eq!(whole.keyed(&generator, "first", &buy("EURUSD")).await, first);
    }
    // The queue is in order: once this one is stored, those before were judged.
    let witness = whole.buy("GBPUSD").await;
    assert_eq!(whole.word_of(&first).await, (410, "signal_retired".to_owned()));
    assert_eq!(whole.count("signals").await, signals + 1);
    let out = whole.poll("T").await;
    assert_eq!(ids(&out), [id(&witness)]);
    assert!(out[0]["id"].as_i64() > claimed["id"].as_i64());
    // Other content under the key is none of it, also where ingest does not remember the key.
    let whole = whole.restarted(1).await;
    let generator = whole.operator.with_key(whole.sandbox.keys.generator());
    let reused = whole.keyed(&generator, "first", &buy("USDJPY")).await;
    assert_eq!(whole.state(&reused, "rejected").await["code"], "key_reused");
    whole.finish().await;
}

/// Goal: while the outcome of a signal is unknown, what came after it stays, for what turns up is compared with it.
#[tokio::test]
async fn what_came_after_an_unknown_outcome_stays() {
    let whole = Whole::start_in_the_past().await;
    let before = whole.executed("EURUSD", 1).await;
    whole.confirm(closed(&before, 1)).await;
    let unknown = whole.lapsed("GBPUSD").await;
    let closing = whole.stored(json!({"symbol": "GBPUSD", "action": "CLOSE"})).await;
    let claimed = whole.poll("T").await.remove(0);
    whole.confirm(of(&claimed, &json!({"results": []}))).await;
    whole.state(id(&closing), "executed").await;
    whole.wait_until(month(0) + Duration::hours(1));
    let whole = whole.retired(1).await;
    assert_eq!(whole.word_of(id(&before)).await.0, 410);
    assert_eq!(whole.word_of(id(&closing)).await, (200, "executed".to_owned()));
    assert_eq!(whole.confirm(ticket(&unknown, 7)).await["anomaly"], "orphan");
    whole.finish().await;
}
