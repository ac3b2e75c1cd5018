//! How much one sender may ask, and how many connections it may have.

use common::config::Limits;
use serde_json::json;

use super::wire::{HOME, LOUD, QUIET, Wire, ask, platform, refusals, request};
use crate::support::{Whole, eventually};

/// Asks until it is refused for asking too much; how often it was taken, and the refusal.
async fn exhaust(whole: &Whole, from: [u8; 4], text: impl Fn(usize) -> String) -> (usize, super::wire::Answer) {
    let mut wire = Wire::open(whole, from).await;
    for number in 0..1_000 {
        let answer = wire.ask(text(number)).await;
        if answer.status == 429 {
            return (number, answer);
        }
    }
    panic!("never refused");
}

fn assert_refusal(answer: &super::wire::Answer, code: &str) -> u32 {
    assert_eq!((answer.status, answer.code().as_str()), (429, code));
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert!(answer.json()["detail"].as_str().unwrap().contains("nothing of this one was done"), "{answer:?}");
    let seconds = answer.header("retry-after").parse().unwrap();
    assert!((1..=5).contains(&seconds), "{seconds}");
    seconds
}

/// Goal: a key that asks too much is refused, no other key is, nothing refused reaches the queue, and after the time
/// that the answer names it goes on.
#[tokio::test]
async fn a_key_at_its_limit_is_refused_and_no_other_and_nothing_of_it_is_queued() {
    let whole = platform(Limits { rate_per_key: 2, ..Limits::for_load() }).await;
    let (generator, operator) = (whole.sandbox.keys.generator().to_owned(), whole.sandbox.keys.operator().to_owned());
    let post = |key: &str, id: &str| {
        let body = json!({"symbol": "EURUSD", "action": "BUY", "signal_id": id}).to_string();
        request("POST", "/api/signal", key, "", &body)
    };
    let before = refusals(&whole, "key_rate").await;
    let (taken, refusal) = exhaust(&whole, HOME, |number| post(&generator, &format!("first-{number}"))).await;
    assert!(taken >= 10, "the burst is five seconds' worth, {taken} were taken");
    let seconds = assert_refusal(&refusal, "key_rate_exceeded");
    assert!(refusals(&whole, "key_rate").await > before);
    assert_eq!(ask(&whole, HOME, post(&operator, "other key")).await.status, 200);
    whole.sandbox.clock.advance(time::Duration::seconds(seconds.into()));
    let last = ask(&whole, HOME, post(&generator, "afterwards")).await;
    assert_eq!(last.status, 200, "it waited as told");
    // The queue keeps its order: what was refused before would be stored before. No key is asked with, for each has its limit.
    let signal_id: uuid::Uuid = last.json()["signal_id"].as_str().unwrap().parse().unwrap();
    let stored = eventually("the last one is stored", || async {
        let mut db = whole.sandbox.database().await.unwrap();
        let counts = "select count(*), count(*) filter (where signal_id = $1) from signals";
        let (all, last): (i64, i64) = sqlx::query_as(counts).bind(signal_id).fetch_one(&mut db).await.unwrap();
        (last == 1).then_some(all)
    })
    .await;
    assert_eq!(usize::try_from(stored).unwrap(), taken + 2);
    whole.finish().await;
}

/// Goal: what a wrong or a missing key asks counts for the address, not for a key; and the right key is not at fault.
#[tokio::test]
async fn wrong_keys_use_up_nobodys_limit() {
    let whole = platform(Limits { rate_per_key: 1, ..Limits::for_load() }).await;
    let key = whole.sandbox.keys.operator().to_owned();
    let forged = format!("{}x", &key[..key.len() - 1]);
    let mut wire = Wire::open(&whole, HOME).await;
    for wrong in [forged.as_str(), "", "mt5c_0_0"].repeat(20) {
        let answer = wire.ask(request("GET", "/api/control", wrong, "", "")).await;
        assert!([401, 403].contains(&answer.status), "{answer:?}");
    }
    assert_eq!(wire.ask(request("GET", "/api/control", &key, "", "")).await.status, 200);
    whole.finish().await;
}

/// Goal: an address that asks too much is refused before its key is looked at, whatever it asks for and whatever it
/// says of itself; another address is not, and health goes on.
#[tokio::test]
async fn an_address_at_its_limit_is_refused_and_no_other() {
    let whole = platform(Limits { rate_per_address: 1, ..Limits::for_load() }).await;
    let key = whole.sandbox.keys.operator().to_owned();
    let forwarded = |number: usize| format!("X-Forwarded-For: 198.51.100.{}\r\n", number % 250);
    let guess = |number: usize| request("GET", "/api/control", &format!("mt5c_0_{number}"), &forwarded(number), "");
    let (taken, refusal) = exhaust(&whole, LOUD, guess).await;
    assert!(taken >= 4, "the burst is four seconds' worth, {taken} were taken");
    assert_refusal(&refusal, "address_rate_exceeded");
    for path in ["/api/control", "/openapi.json", "/nowhere"] {
        // Each time anew, for the address earns a request a second.
        let (_, refusal) = exhaust(&whole, LOUD, |_| request("GET", path, &key, "", "")).await;
        assert_refusal(&refusal, "address_rate_exceeded");
    }
    assert_eq!(ask(&whole, QUIET, request("GET", "/api/control", &key, "", "")).await.status, 200);
    let mut wire = Wire::open(&whole, LOUD).await;
    for path in ["/livez", "/readyz", "/health"].repeat(10) {
        assert_eq!(wire.ask(request("GET", path, "", "", "")).await.status, 200, "{path}");
    }
    whole.finish().await;
}

/// Goal: behind a trusted proxy each sender has its own limit, by the address that the proxy wrote.
#[tokio::test]
async fn senders_behind_a_trusted_proxy_are_told_apart() {
    let trusted_proxies = "127.0.0.2".parse().unwrap();
    let limits = Limits { rate_per_address: 1, connections_per_address: 1, trusted_proxies, ..Limits::for_load() };
    let whole = platform(limits).await;
    let from = |line: &str| request("GET", "/api/control", "", &format!("X-Forwarded-For: {line}\r\n"), "");
    // The left part is the sender's own invention, another one each time.
    let (_, refusal) = exhaust(&whole, LOUD, |number| from(&format!("10.0.0.{}, 198.51.100.1", number % 250))).await;
    assert_refusal(&refusal, "address_rate_exceeded");
    // The bound on connections is not the proxy's.
    let mut wires = [Wire::open(&whole, LOUD).await, Wire::open(&whole, LOUD).await];
    assert_eq!(wires[0].ask(from("198.51.100.2")).await.status, 403);
    assert_eq!(wires[1].ask(from("2001:db8::1")).await.status, 403);
    // One customer's network is one sender.
    let (_, refusal) = exhaust(&whole, LOUD, |number| from(&format!("2001:db8::{:x}", number + 1))).await;
    assert_refusal(&refusal, "address_rate_exceeded");
    whole.finish().await;
}

/// Goal: an address has no more connections than it may; others have theirs, and one that ends makes room.
#[tokio::test]
async fn connections_of_an_address_are_bounded() {
    let whole = platform(Limits { connections_per_address: 2, ..Limits::for_load() }).await;
    let live = request("GET", "/livez", "", "", "");
    let mut held = vec![Wire::open(&whole, LOUD).await, Wire::open(&whole, LOUD).await];
    for wire in &mut held {
        assert_eq!(wire.ask(&live).await.status, 200);
    }
    let before = refusals(&whole, "address_connections").await;
    assert!(Wire::open(&whole, LOUD).await.closed().await.is_empty());
    assert!(refusals(&whole, "address_connections").await > before);
    assert_eq!(ask(&whole, QUIET, &live).await.status, 200);
    for wire in &mut held {
        assert_eq!(wire.ask(&live).await.status, 200, "who was there stays");
    }
    drop(held.pop());
    eventually("there is room again", || async {
        let mut wire = Wire::open(&whole, LOUD).await;
        wire.write(&live).await;
        wire.answer().await.map(|answer| assert_eq!(answer.status, 200))
    })
    .await;
    whole.finish().await;
}
