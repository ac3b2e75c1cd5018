//! Polls that wait, and polls that compete.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use sqlx::Connection as _;
use stack::client::Client;

use super::steps::{id, ids, of};
use crate::support::{Whole, eventually};

/// A poll that waits much longer than a test.
const WAITING: &str = "/api/signals/pending?limit=10&wait_ms=25000&protocol=2&terminal=T";
/// Far less than the wait, and far more than a wake-up needs on a busy machine.
const PROMPT: Duration = Duration::from_secs(5);

/// Polls, and does something meanwhile; what was handed out by a poll that must have been woken.
async fn woken(client: &Client, path: &str, meanwhile: impl Future<Output = ()>) -> Vec<Value> {
    let then = async {
        // A round trip behind the poll on the same connections: the poll is waiting by then.
        client.get("/api/signals").await.unwrap();
        client.get("/api/signals").await.unwrap();
        meanwhile.await;
        Instant::now()
    };
    let poll = async { (client.get(path).await.unwrap(), Instant::now()) };
    let ((answer, answered_at), done_at) = join(poll, then).await;
    let woken_in = answered_at.saturating_duration_since(done_at);
    println!("woken in {woken_in:?}");
    assert!(woken_in < PROMPT, "it waited on");
    answer.as_array().unwrap().clone()
}

/// Goal: a waiting poll is answered when a signal is stored, and says how long it was held.
#[tokio::test]
async fn a_waiting_poll_is_answered_when_a_signal_comes() {
    let whole = Whole::start(&[]).await;
    let body = json!({"symbol": "EURUSD", "action": "BUY"});
    let claimed = woken(&whole.operator, WAITING, async {
        whole.post(body).await;
    })
    .await;
    assert_eq!(claimed.len(), 1);
    assert!(claimed[0]["held_ms"].as_u64().unwrap() < 25_000);
    assert!(claimed[0]["remaining_ms"].as_i64().unwrap() > 50_000);
    whole.finish().await;
}

/// Goal: a poll that waits behind an earlier signal of the symbol is answered when that one is confirmed or resolved.
#[tokio::test]
async fn a_waiting_poll_is_answered_when_the_earlier_signal_ends() {
    let whole = Whole::start(&[]).await;
    let claimed = whole.claimed("EURUSD").await;
    let second = whole.buy("EURUSD").await;
    let handed_out = woken(&whole.operator, WAITING, async {
        whole.confirm(of(&claimed, &json!({"ticket": 77, "volume": 0.1}))).await;
    })
    .await;
    assert_eq!(ids(&handed_out), [id(&second)]);
    whole.sandbox.clock.advance(super::steps::BEYOND_THE_LEASE);
    whole.state(id(&second), "unknown").await;
    let third = whole.buy("EURUSD").await;
    let handed_out = woken(&whole.operator, WAITING, async {
        let path = format!("/api/signals/{}/resolve", id(&second));
        whole.operator.post(&path, &json!({"outcome": "failed"})).await.unwrap();
    })
    .await;
    assert_eq!(ids(&handed_out), [id(&third)]);
    whole.finish().await;
}

/// Goal: a poll that waits because the account is halted is answered when it is active again.
#[tokio::test]
async fn a_waiting_poll_is_answered_when_the_account_is_active_again() {
    let whole = Whole::start(&[]).await;
    whole.switch("halted").await;
    let close = whole.stored(json!({"symbol": "EURUSD", "action": "CLOSE"})).await;
    let handed_out = woken(&whole.operator, WAITING, whole.switch("active")).await;
    assert_eq!(ids(&handed_out), [id(&close)]);
    whole.finish().await;
}

/// Goal: a relay waits for signals without taking them: it is told by an empty answer that comes early.
#[tokio::test]
async fn a_poll_for_none_waits_and_claims_nothing() {
    let whole = Whole::start(&[]).await;
    let path = "/api/signals/pending?limit=0&wait_ms=25000&protocol=2&terminal=T";
    let body = json!({"symbol": "EURUSD", "action": "BUY"});
    let answer = woken(&whole.operator, path, async {
        whole.post(body).await;
    })
    .await;
    assert!(answer.is_empty());
    let claimed = whole.poll("T").await;
    assert_eq!((claimed.len(), &claimed[0]["attempt"]), (1, &json!(1)));
    whole.buy("EURUSD").await;
    let started = Instant::now();
    let held = whole.poll_with("limit=0&wait_ms=300&protocol=2&terminal=T").await;
    assert!(held.is_empty() && started.elapsed() >= Duration::from_millis(300), "nothing can be handed out: it waits");
    whole.finish().await;
}

/// Goal: a poll at one dispatcher is answered by a signal, a confirmation and a switch at another.
#[tokio::test]
async fn a_waiting_poll_is_answered_from_another_dispatcher() {
    let whole = Whole::start(&[]).await;
    let other = whole.sandbox.start().await.unwrap();
    let there = whole.sandbox.operator(&other).unwrap();
    let body = |action: &str| json!({"symbol": "EURUSD", "action": action});
    let claimed = woken(&there, WAITING, async {
        whole.post(body("BUY")).await;
    })
    .await;
    assert_eq!(claimed.len(), 1);
    let close = whole.stored(body("CLOSE")).await;
    let handed_out = woken(&there, WAITING, async {
        whole.confirm(of(&claimed[0], &json!({"status": "failed"}))).await;
    })
    .await;
    assert_eq!(ids(&handed_out), [id(&close)]);
    whole.confirm(of(&handed_out[0], &json!({}))).await;
    whole.switch("halted").await;
    let close = whole.stored(body("CLOSE_ALL")).await;
    let handed_out = woken(&there, WAITING, whole.switch("active")).await;
    assert_eq!(ids(&handed_out), [id(&close)]);
    assert!(other.stop().await);
    whole.finish().await;
}

/// Waits until a statement like this one waits for a lock.
async fn waiting_for_a_lock(whole: &Whole, statement: &str) {
    let waiting = format!(
        "pg_stat_activity where wait_event_type = 'Lock' and datname = current_database() and query like '{statement}'"
    );
    eventually(statement, || async { (whole.count(&waiting).await > 0).then_some(()) }).await;
}

/// Goal: a claim that waits for its account judges by the time when it has it, so that what expired meanwhile is not handed
/// out; and however long its writing takes, the terminal's lease ends no later than the server's.
#[tokio::test]
async fn a_claim_that_waited_hands_out_by_the_time_that_is_left() {
    let whole = Whole::start(&[]).await;
    let clock = &whole.sandbox.clock;
    whole.stored(json!({"symbol": "EURUSD", "action": "BUY", "volume": 0.1})).await;
    let lasting = whole.buy("GBPUSD").await;
    let (mut account, mut signals) = (whole.sandbox.database().await.unwrap(), whole.sandbox.database().await.unwrap());
    sqlx::raw_sql("begin; select from accounts for no key update").execute(&mut account).await.unwrap();
    let release = async {
        waiting_for_a_lock(&whole, "%from accounts%for update%").await;
        // So that the sweep is not what keeps the one that expires from going out.
        sqlx::raw_sql("begin; select from signals for update").execute(&mut signals).await.unwrap();
        clock.advance(time::Duration::seconds(60));
        sqlx::raw_sql("commit").execute(&mut account).await.unwrap();
        waiting_for_a_lock(&whole, "%update signals set state = ''processing''%").await;
        clock.advance(time::Duration::seconds(5));
        let left_at = clock.now();
        sqlx::raw_sql("commit").execute(&mut signals).await.unwrap();
        left_at
    };
    let (claimed, left_at) = join(whole.poll("T"), release).await;
    assert_eq!(ids(&claimed), [id(&lasting)], "the other one expired meanwhile");
    let ends: time::OffsetDateTime = sqlx::query_scalar("select lease_expires_at from signals where id = $1")
        .bind(claimed[0]["id"].as_i64())
        .fetch_one(&mut account)
        .await
        .unwrap();
    let lease = time::Duration::milliseconds(claimed[0]["lease_ms"].as_i64().unwrap());
    assert!(left_at + lease <= ends, "{lease} from {left_at}, and the server's ends at {ends}");
    for connection in [account, signals] {
        connection.close().await.unwrap();
    }
    whole.finish().await;
}

/// Goal: a client that gives up its poll takes no signal with it that was stored afterwards.
#[tokio::test]
async fn a_poll_that_was_given_up_takes_nothing() {
    let whole = Whole::start(&[]).await;
    for _ in 0..5 {
        let poll = whole.operator.get(WAITING);
        assert!(tokio::time::timeout(Duration::from_millis(50), poll).await.is_err(), "it waits");
    }
    let signal = whole.buy("EURUSD").await;
    let claimed = eventually("the signal is handed out", || async {
        let claimed = whole.poll("T").await;
        (!claimed.is_empty()).then_some(claimed)
    })
    .await;
    assert_eq!((ids(&claimed), &claimed[0]["attempt"]), (vec![id(&signal)], &json!(1)));
    whole.finish().await;
}

/// What a crowd of pollers was handed, in the order in which it came.
#[derive(Default)]
struct HandedOut {
    signals: Mutex<Vec<(i64, String)>>,
    slowest: Mutex<Duration>,
}

impl HandedOut {
    fn count(&self) -> usize {
        self.signals.lock().unwrap().len()
    }

    /// Claims and confirms until all have been handed out.
    async fn poll(&self, client: &Client, terminal: &str, limit: usize, all: usize) {
        let path = format!("/api/signals/pending?limit={limit}&wait_ms=200&protocol=2&terminal={terminal}");
        while self.count() < all {
            let started = Instant::now();
            let claimed = client.get(&path).await.expect("a poll");
            let claimed = claimed.as_array().unwrap();
            if !claimed.is_empty() {
                let held = Duration::from_millis(claimed[0]["held_ms"].as_u64().unwrap());
                let mut slowest = self.slowest.lock().unwrap();
                *slowest = slowest.max(started.elapsed().saturating_sub(held));
            }
            let entry =
                |signal: &Value| (signal["id"].as_i64().unwrap(), signal["symbol"].as_str().unwrap().to_owned());
            self.signals.lock().unwrap().extend(claimed.iter().map(entry));
            let confirm = |signal: &Value| {
                let report = of(signal, &json!({"terminal": terminal, "status": "failed", "message": "a test"}));
                async move { client.post("/api/trades/confirm", &report).await.expect("taken") }
            };
            let answers: Vec<Value> = stream::iter(claimed.iter().map(confirm)).buffered(16).collect().await;
            assert!(answers.iter().all(|answer| answer["state"] == "failed"));
        }
    }

    /// Each once, and each symbol's in their order.
    fn check(&self, all: usize) {
        let signals = self.signals.lock().unwrap();
        assert_eq!(signals.len(), all);
        let mut last: HashMap<&str, i64> = HashMap::new();
        for (id, symbol) in signals.iter() {
            let earlier = last.insert(symbol, *id);
            assert!(earlier.is_none_or(|earlier| earlier < *id), "{symbol}: {id} after {earlier:?}");
        }
    }
}

/// Posts this many signals on this many symbols, many at once.
async fn post_many(client: &Client, count: usize, symbols: usize, action: &str) {
    let post = |index: usize| {
        let body =
            json!({"symbol": format!("S{}", index % symbols), "action": action, "volume": 0.1, "ttl_seconds": 3600});
        async move { client.post("/api/signal", &body).await.expect("accepted") }
    };
    let mut posted = stream::iter((0..count).map(post)).buffer_unordered(64);
    while posted.next().await.is_some() {}
}

/// Goal: many terminals poll one account at two dispatchers at once, and no signal is handed out twice or out of order.
#[tokio::test]
async fn two_dispatchers_never_hand_out_a_signal_twice() {
    const ALL: usize = 200;
    let whole = Whole::start(&[]).await;
    let other = whole.sandbox.start().await.unwrap();
    let there = whole.sandbox.operator(&other).unwrap();
    let handed_out = HandedOut::default();
    let pollers = (0..6).map(|number| {
        let client = if number % 2 == 0 { &whole.operator } else { &there };
        let handed_out = &handed_out;
        async move { handed_out.poll(client, &format!("T{number}"), 5, ALL).await }
    });
    join(post_many(&whole.operator, ALL, 40, "BUY"), join_all(pollers)).await;
    handed_out.check(ALL);
    assert_eq!(whole.count("signals where state = 'failed' and attempt = 1").await, 200);
    assert_eq!(whole.count("signal_events where state = 'processing'").await, 200);
    assert!(other.stop().await);
    whole.finish().await;
}

/// Goal: two dispatchers look at the same leases and lives; each end is written once, and neither stumbles.
#[tokio::test]
async fn two_dispatchers_end_what_time_has_ended_once() {
    let whole = Whole::start(&[]).await;
    let other = whole.sandbox.start().await.unwrap();
    whole.limit(json!({"positions_max": 300})).await;
    post_many(&whole.operator, 600, 600, "BUY").await;
    eventually("all are stored", || async { (whole.count("signals").await == 600).then_some(()) }).await;
    let claimed = join_all((0..3).map(|_| whole.poll_with("limit=100&protocol=2&terminal=T"))).await;
    assert_eq!(claimed.iter().map(Vec::len).sum::<usize>(), 300);
    whole.sandbox.clock.advance(time::Duration::hours(1));
    eventually("all were ended", || async {
        let open = whole.count("signals where state in ('pending', 'processing')").await;
        (open == 0).then_some(())
    })
    .await;
    assert_eq!(whole.count("signal_events where state = 'unknown'").await, 300);
    assert_eq!(whole.count("signal_events where state = 'expired'").await, 300);
    assert!(other.stop().await);
    whole.finish().await;
}

/// Goal: ten thousand signals that nobody took are all stored and all handed out, a hundred at a time, each once and in
/// its symbol's order, and the last claims are no slower than the first.
#[tokio::test]
async fn ten_thousand_pending_signals_are_all_handed_out_once() {
    const ALL: usize = 10_000;
    let whole = Whole::start(&[]).await;
    let started = Instant::now();
    post_many(&whole.operator, ALL, 200, "CLOSE").await;
    println!("accepted in {:?}", started.elapsed());
    eventually("all are stored", || async { (whole.count("signals").await == 10_000).then_some(()) }).await;
    println!("stored after {:?}", started.elapsed());
    let handed_out = HandedOut::default();
    let started = Instant::now();
    join_all(["A", "B"].map(|name| handed_out.poll(&whole.operator, name, 100, ALL))).await;
    println!(
        "handed out and confirmed in {:?}, slowest claim {:?}",
        started.elapsed(),
        handed_out.slowest.lock().unwrap()
    );
    handed_out.check(ALL);
    assert_eq!(whole.count("signals where state = 'failed' and attempt = 1").await, 10_000);
    whole.finish().await;
}

/// Goal: a long queue behind one signal that nobody confirms costs the other symbols nothing: they are found behind it.
#[tokio::test]
async fn a_symbol_is_found_behind_a_long_queue_of_another() {
    let whole = Whole::start(&[]).await;
    let first = whole.buy("S0").await;
    post_many(&whole.operator, 5_000, 1, "CLOSE").await;
    let other = whole.stored(json!({"symbol": "EURUSD", "action": "CLOSE"})).await;
    let first = whole.poll_with("limit=1&protocol=2&terminal=T").await.into_iter().find(|one| id(one) == id(&first));
    let first = first.expect("the oldest");
    let started = Instant::now();
    let claimed = whole.poll("T").await;
    println!("found in {:?}", started.elapsed());
    assert_eq!(ids(&claimed), [id(&other)]);
    let started = Instant::now();
    assert!(whole.poll("T").await.is_empty());
    println!("nothing found in {:?}", started.elapsed());
    whole.confirm(of(&first, &json!({"status": "failed"}))).await;
    assert_eq!(whole.poll("T").await.len(), 1);
    whole.finish().await;
}
