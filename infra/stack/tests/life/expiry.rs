//! How long a signal lives.

use common::clock::Clock;
use serde_json::json;
use sqlx::Connection as _;
use stack::platform::Platform;
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::net::TcpListener;

use super::steps::{id, ids};
use crate::support::{DEADLINE, Whole, eventually};

async fn free_listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Goal: an opening that nobody took within its life ends with a reason and is handed out no more, not even in the
/// moment before the end is written down.
#[tokio::test]
async fn an_opening_expires_and_is_not_handed_out_after_that() {
    let whole = Whole::start(&[]).await;
    let opening = whole.stored(json!({"symbol": "EURUSD", "action": "BUY", "volume": 0.1})).await;
    let change = whole.stored(json!({"ticket": 5, "action": "MODIFY", "sl": 0})).await;
    whole.sandbox.clock.advance(Duration::seconds(60));
    assert!(whole.poll("T").await.is_empty());
    for signal in [&opening, &change] {
        let expired = whole.state(id(signal), "expired").await;
        assert_eq!((&expired["code"], &expired["attempt"]), (&json!("expired"), &json!(0)));
        assert!(!expired["finished_at"].is_null());
    }
    assert!(whole.poll("T").await.is_empty());
    whole.finish().await;
}

/// Goal: a closing is never refused for its age.
#[tokio::test]
async fn a_closing_does_not_expire() {
    let whole = Whole::start(&[]).await;
    let close = whole.stored(json!({"symbol": "EURUSD", "action": "CLOSE", "ttl_seconds": 5})).await;
    let close_all = whole.stored(json!({"symbol": "GBPUSD", "action": "CLOSE_ALL"})).await;
    whole.sandbox.clock.advance(Duration::days(1));
    whole.swept().await;
    let claimed = whole.poll("T").await;
    assert_eq!(ids(&claimed), [id(&close), id(&close_all)]);
    assert!(claimed.iter().all(|signal| signal["remaining_ms"].is_null()));
    whole.finish().await;
}

/// Goal: the sender's own limits of life count, the earlier of both; the terminal is told what is left.
#[tokio::test]
async fn a_signal_lives_as_long_as_its_sender_says() {
    let whole = Whole::start(&[]).await;
    let soon = (whole.sandbox.clock.now() + Duration::seconds(40)).format(&Rfc3339).unwrap();
    let plain = whole.stored(json!({"symbol": "EURUSD", "action": "BUY"})).await;
    let short = whole.stored(json!({"symbol": "GBPUSD", "action": "BUY", "ttl_seconds": 50})).await;
    let long = whole.stored(json!({"symbol": "USDJPY", "action": "BUY", "ttl_seconds": 86_400})).await;
    let dated = whole.stored(json!({"symbol": "AUDUSD", "action": "BUY", "ttl_seconds": 90, "expires_at": soon})).await;
    let both = whole.stored(json!({"symbol": "XAUUSD", "action": "BUY", "ttl_seconds": 10, "expires_at": soon})).await;
    let time = |signal: &serde_json::Value, field: &str| {
        OffsetDateTime::parse(signal[field].as_str().unwrap(), &Rfc3339).unwrap()
    };
    for (signal, seconds) in [(&plain, 60), (&short, 50), (&long, 86_400), (&both, 10)] {
        assert_eq!(time(signal, "expires_at") - time(signal, "received_at"), Duration::seconds(seconds));
    }
    assert_eq!(time(&dated, "expires_at"), OffsetDateTime::parse(&soon, &Rfc3339).unwrap());
    whole.sandbox.clock.advance(Duration::seconds(15));
    whole.state(id(&both), "expired").await;
    let claimed = whole.poll("T").await;
    assert_eq!(ids(&claimed), [id(&plain), id(&short), id(&long), id(&dated)]);
    for (signal, most) in claimed.iter().zip([45_000, 35_000, 86_385_000, 25_000]) {
        let remaining = signal["remaining_ms"].as_i64().unwrap();
        // What the test itself took is gone too.
        assert!(remaining <= most && remaining > 0, "{remaining} of {most}");
        let lease = signal["lease_ms"].as_i64().unwrap();
        assert!(lease <= 30_000 && lease > 20_000, "{lease}");
    }
    whole.finish().await;
}

/// Goal: an account's own life counts for signals that name none.
#[tokio::test]
async fn an_account_sets_the_life_of_its_openings() {
    let whole = Whole::start(&[]).await;
    whole.limit(json!({"signal_ttl_seconds": 600})).await;
    let signal = whole.stored(json!({"symbol": "EURUSD", "action": "BUY"})).await;
    whole.sandbox.clock.advance(Duration::seconds(500));
    whole.swept().await;
    assert_eq!(ids(&whole.poll("T").await), [id(&signal)]);
    whole.finish().await;
}

/// Goal: an opening that was too old when it was stored ends as expired: it too has its row and its reason.
#[tokio::test]
async fn a_signal_that_waited_too_long_in_the_queue_is_stored_as_expired() {
    let whole = Whole::start(&[]).await;
    let mut database = whole.sandbox.database().await.unwrap();
    // Whoever holds the keys' table holds up the storing, as an outage would.
    sqlx::query("begin").execute(&mut database).await.unwrap();
    sqlx::query("lock table idempotency_keys in access exclusive mode").execute(&mut database).await.unwrap();
    let body = |signal_id: &str| json!({"symbol": "EURUSD", "action": "BUY", "signal_id": signal_id});
    whole.post(body("first")).await;
    eventually("the storing is held up", || async {
        (whole.count("pg_locks where not granted and relation = 'idempotency_keys'::regclass").await > 0).then_some(())
    })
    .await;
    // This one waits in the queue.
    let signal_id = whole.post(body("late")).await;
    whole.sandbox.clock.advance(Duration::seconds(61));
    sqlx::query("commit").execute(&mut database).await.unwrap();
    database.close().await.unwrap();
    let expired = whole.state(&signal_id, "expired").await;
    assert_eq!(expired["code"], "expired");
    assert_eq!(expired["events"].as_array().unwrap().len(), 1, "it was never anything else: {}", expired["events"]);
    assert!(whole.poll("T").await.is_empty());
    whole.finish().await;
}

/// Goal: a clock that is put back keeps no opening alive: it ends, and is handed out no more, not even before the end is
/// written down; a closing waits on.
#[tokio::test]
async fn an_opening_does_not_outlive_a_clock_that_is_put_back() {
    let whole = Whole::start(&[]).await;
    let opening = whole.stored(json!({"symbol": "EURUSD", "action": "BUY"})).await;
    let closing = whole.stored(json!({"symbol": "GBPUSD", "action": "CLOSE"})).await;
    whole.sandbox.clock.advance(-Duration::hours(1));
    assert_eq!(ids(&whole.poll("T").await), [id(&closing)]);
    assert_eq!(whole.state(id(&opening), "expired").await["code"], "expired");
    let next = whole.stored(json!({"symbol": "EURUSD", "action": "BUY"})).await;
    assert_eq!(ids(&whole.poll("T").await), [id(&next)], "by the new time");
    whole.finish().await;
}

/// Goal: nor does a clock that is put back keep a claim alive, behind which closings would wait: its outcome is unknown, and a
/// closing goes out and tells of it; an installation that was seen by that clock is forgotten.
#[tokio::test]
async fn a_claim_does_not_outlive_a_clock_that_is_put_back() {
    let whole = Whole::start(&[]).await;
    let claimed = whole.claimed("EURUSD").await;
    let closing = whole.stored(json!({"symbol": "EURUSD", "action": "CLOSE"})).await;
    assert!(whole.poll("T").await.is_empty(), "the opening is in hand");
    whole.sandbox.clock.advance(-Duration::hours(1));
    assert_eq!(whole.state(id(&claimed), "unknown").await["code"], "lease_expired");
    let handed_out = whole.poll("U").await;
    assert_eq!(ids(&handed_out), [id(&closing)]);
    assert_eq!(handed_out[0]["after"], json!([claimed["id"]]));
    assert_eq!(whole.count("terminals").await, 1);
    whole.finish().await;
}

/// Goal: a signal from an ingest whose clock is ahead lives as long as any other.
#[tokio::test]
async fn a_clock_of_ingest_that_is_ahead_gives_no_longer_life() {
    let whole = Whole::start(&[]).await;
    let ahead = Clock::default();
    ahead.advance(Duration::seconds(30));
    let listeners = (free_listener().await, free_listener().await);
    let other = Platform::start(&whole.sandbox.settings, &ahead, listeners.0, listeners.1).unwrap();
    other.ready(DEADLINE).await.unwrap();
    // The first platform consumes, so the other one's ingest alone has a part in this.
    let there = whole.sandbox.operator(&other).unwrap();
    let answer = there.post("/api/signal", &json!({"symbol": "EURUSD", "action": "BUY"})).await.unwrap();
    let signal_id = answer["signal_id"].as_str().unwrap();
    let signal = whole.state(signal_id, "pending").await;
    let received = OffsetDateTime::parse(signal["received_at"].as_str().unwrap(), &Rfc3339).unwrap();
    assert!(received > whole.sandbox.clock.now() + Duration::seconds(10), "ingest is ahead");
    let claimed = whole.poll("T").await;
    assert_eq!(ids(&claimed), [signal_id]);
    let remaining = claimed[0]["remaining_ms"].as_i64().unwrap();
    assert!(remaining <= 60_000 && remaining > 30_000, "{remaining}");
    assert!(other.stop().await);
    whole.finish().await;
}

/// Goal: a closing that was stored by a clock that was ahead does not look young until that time has come: what is told of the
/// oldest one that waits is at least how far ahead it was.
#[tokio::test]
async fn a_signal_that_was_stored_by_a_clock_ahead_does_not_look_young() {
    let whole = Whole::start(&[]).await;
    whole.stored(json!({"symbol": "EURUSD", "action": "CLOSE"})).await;
    whole.sandbox.clock.advance(-Duration::hours(1));
    let oldest = r#"pipeline_oldest_signal_age_seconds{state="pending"}"#;
    eventually(oldest, || async {
        let text = reqwest::get(&whole.platform.metrics).await.ok()?.text().await.ok()?;
        let told: f64 = text.lines().find_map(|line| line.strip_prefix(oldest)?.trim().parse().ok())?;
        (told > 3_000.0).then_some(())
    })
    .await;
    whole.finish().await;
}
