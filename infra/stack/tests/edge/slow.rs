//! Senders that take their time, or say nothing.

use std::time::Duration;

use common::config::Limits;
use serde_json::json;

use super::wire::{HOME, LOUD, QUIET, Wire, ask, impatient, platform, refusals, request};

/// Between bytes of one who writes them one at a time.
const DRIP: Duration = Duration::from_millis(20);

/// Writes a byte at a time until the other end hangs up; false where all was written before.
async fn drip(wire: &mut Wire, text: &str) -> bool {
    for byte in text.bytes() {
        if !wire.write([byte]).await {
            return true;
        }
        tokio::time::sleep(DRIP).await;
    }
    false
}

/// Goal: who opens a connection and says nothing, or its request's head a byte at a time, is cut off, on the first
/// request and on later ones; nobody else waits for that.
#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let whole = platform(impatient()).await;
    let live = request("GET", "/livez", "", "", "");
    let before = refusals(&whole, "slow").await;
    let silent = Wire::open(&whole, LOUD).await;
    let mut begun = Wire::open(&whole, LOUD).await;
    begun.write("GET /livez HT").await;
    let mut later = Wire::open(&whole, LOUD).await;
    assert_eq!(later.ask(&live).await.status, 200);
    later.write("GET").await;
    let mut slow = Wire::open(&whole, LOUD).await;
    // Twenty times longer than patience lasts.
    let head = format!("GET /livez HTTP/1.1\r\nX-Long: {}", "x".repeat(300));
    assert!(drip(&mut slow, &head).await, "all of it was waited for");
    for wire in [silent, begun, later, slow] {
        assert!(wire.closed().await.is_empty(), "answered before it asked");
    }
    assert!(refusals(&whole, "slow").await >= before + 4);
    assert_eq!(ask(&whole, QUIET, &live).await.status, 200);
    whole.finish().await;
}

/// Goal: a body that does not come is answered 408 and the connection ends; nothing of it is queued.
#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let whole = platform(impatient()).await;
    let key = whole.sandbox.keys.operator();
    let body = json!({"symbol": "EURUSD", "action": "BUY", "comment": "x".repeat(60)}).to_string();
    for path in ["/api/signal", "/api/account/update", "/api/users"] {
        let text = request("POST", path, key, "", &body);
        let mut wire = Wire::open(&whole, LOUD).await;
        let (begun, rest) = text.split_at(text.len() - body.len() + 1);
        wire.write(begun).await;
        drip(&mut wire, &rest[..40]).await;
        let answer = wire.answer().await.expect("an answer");
        assert_eq!((answer.status, answer.code().as_str()), (408, "body_late"), "{path}");
        assert!(wire.closed().await.is_empty(), "{path}");
    }
    let posted = whole.post(json!({"symbol": "EURUSD", "action": "SELL"})).await;
    whole.state(&posted, "pending").await;
    let mut db = whole.sandbox.database().await.unwrap();
    let stored: i64 = sqlx::query_scalar("select count(*) from signals").fetch_one(&mut db).await.unwrap();
    assert_eq!(stored, 1);
    drop(db);
    whole.finish().await;
}

/// Goal: a long poll and an idle connection live much longer than a head may take.
#[tokio::test]
async fn a_long_poll_and_a_kept_connection_outlive_the_patience_for_heads() {
    let whole = platform(impatient()).await;
    let key = whole.sandbox.keys.terminal();
    let mut kept = Wire::open(&whole, HOME).await;
    assert_eq!(kept.ask(request("GET", "/livez", "", "", "")).await.status, 200);
    let mut waiting = Wire::open(&whole, HOME).await;
    let path = "/api/signals/pending?limit=0&wait_ms=1500&protocol=2&terminal=T";
    let answer = waiting.ask(request("GET", path, key, "", "")).await;
    assert_eq!((answer.status, answer.json()), (200, json!([])));
    // That took five times the patience for heads.
    for wire in [&mut kept, &mut waiting] {
        assert_eq!(wire.ask(request("GET", "/livez", "", "", "")).await.status, 200);
    }
    whole.finish().await;
}

/// Goal: a connection that is kept and asks nothing ends at last.
#[tokio::test]
async fn an_idle_connection_ends_at_last() {
    let whole = platform(Limits { idle_timeout: Duration::from_millis(300), ..Limits::for_load() }).await;
    let mut wire = Wire::open(&whole, HOME).await;
    assert_eq!(wire.ask(request("GET", "/livez", "", "", "")).await.status, 200);
    assert!(wire.closed().await.is_empty());
    whole.finish().await;
}

/// Goal: who asks on and on and never reads an answer is cut off, and holds nothing up.
#[tokio::test]
async fn answers_that_nobody_reads_are_not_kept_for_ever() {
    let whole = platform(Limits { idle_timeout: Duration::from_millis(300), ..impatient() }).await;
    let mut wire = Wire::open(&whole, LOUD).await;
    let many = request("GET", "/openapi.json", "", "", "").repeat(50);
    let mut written = 0;
    while wire.write(&many).await {
        written += 1;
        assert!(written < 10_000, "everything was taken");
    }
    assert_eq!(ask(&whole, QUIET, request("GET", "/livez", "", "", "")).await.status, 200);
    whole.finish().await;
}

/// Goal: where silent senders hold every place of the process, they lose it, and who waits is served.
#[tokio::test]
async fn places_that_silent_senders_hold_become_free() {
    let whole = platform(Limits { connections: 3, ..impatient() }).await;
    let live = request("GET", "/livez", "", "", "");
    // One asked something and is idle: with patience, were there room.
    let mut idle = Wire::open(&whole, LOUD).await;
    assert_eq!(idle.ask(&live).await.status, 200);
    let silent = [Wire::open(&whole, LOUD).await, Wire::open(&whole, LOUD).await, Wire::open(&whole, LOUD).await];
    let mut honest = Vec::new();
    for _ in 0..4 {
        honest.push(Wire::open(&whole, QUIET).await);
    }
    for mut wire in honest {
        assert_eq!(wire.ask(&live).await.status, 200);
    }
    for wire in silent {
        assert!(wire.closed().await.is_empty());
    }
    assert!(idle.closed().await.is_empty(), "it kept its place while others waited");
    whole.finish().await;
}
