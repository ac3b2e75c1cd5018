//! What senders make up, by the thousand, and the number of series.

use std::time::Instant;

use futures_util::{StreamExt as _, stream};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::drive::with_books;
use crate::catalogue::series;
use crate::support::{Whole, eventually};

/// How many of each kind a load has.
struct Load {
    signals: u32,
    polls: u32,
    members: u32,
    strange_paths: u32,
    wrong_keys: u32,
    odd_requests: u32,
}

/// One of each that could be told differently.
const ONE_OF_EACH: Load = Load { signals: 2, polls: 2, members: 1, strange_paths: 8, wrong_keys: 6, odd_requests: 28 };
const GREAT: Load =
    Load { signals: 10_000, polls: 200, members: 1_000, strange_paths: 1_000, wrong_keys: 1_000, odd_requests: 200 };
/// Requests under way at once.
const AT_ONCE: usize = 32;

/// Goal: nothing that a sender makes up is a label: the series after thousands of distinct keys, comments, symbols,
/// terminals, members, paths and ids are those after one of each kind, to the last.
#[tokio::test(flavor = "multi_thread")]
async fn no_load_makes_a_series() {
    let whole = with_books().await;
    whole.drive().await;
    whole.bear(&ONE_OF_EACH, 0).await;
    let known = eventually("everything was told once", || async {
        let known = series(&whole.scrape().await);
        let slow = ["account_equity", "pool_members", "audit_head", "anomalies_open", "queue_messages"];
        let told = |name: &&str| known.iter().any(|series| series.starts_with(&format!("pipeline_{name}{{")));
        slow.iter().all(told).then_some(known)
    })
    .await;
    let started = Instant::now();
    whole.bear(&GREAT, 1_000_000).await;
    // The slowest gauges are told every five seconds; so they are again.
    whole.report("10300", "10000").await;
    eventually("the gauges are told anew", || async {
        let line = "pipeline_account_equity{account=\"main\"} 10300";
        whole.scrape().await.lines().any(|told| told == line).then_some(())
    })
    .await;
    let after = series(&whole.scrape().await);
    let new: Vec<_> = after.difference(&known).collect();
    assert!(new.is_empty(), "{} of {} are new: {new:#?}", new.len(), after.len());
    assert_eq!(after, known);
    println!("{} series before and after, {:?}", after.len(), started.elapsed());
    whole.finish().await;
}

impl Whole {
    /// Sends all of a load, with names that begin at this number.
    async fn bear(&self, load: &Load, first: u32) {
        let numbers = |count: u32| stream::iter(first..first + count);
        let stored = self.value("pipeline_signals_stored_total").await;
        numbers(load.signals).for_each_concurrent(AT_ONCE, |number| self.signal(number)).await;
        eventually("all signals are stored", || async {
            let now = self.value("pipeline_signals_stored_total").await;
            (now >= stored + f64::from(load.signals)).then_some(())
        })
        .await;
        numbers(load.polls).for_each(|number| self.terminal(number)).await;
        self.report("10400", "10000").await;
        numbers(load.members).for_each_concurrent(8, |number| self.member(number)).await;
        numbers(load.strange_paths).for_each_concurrent(AT_ONCE, |number| self.strange_path(number)).await;
        numbers(load.wrong_keys).for_each_concurrent(AT_ONCE, |number| self.wrong_key(number)).await;
        numbers(load.odd_requests).for_each_concurrent(AT_ONCE, |number| self.odd_request(number)).await;
    }

    async fn signal(&self, number: u32) {
        let action = if number.is_multiple_of(2) { "BUY" } else { "SELL" };
        let signal = json!({"symbol": format!("SYM{}", number % 100), "action": action, "volume": 0.01,
            "ttl_seconds": 3600, "comment": format!("c{number}"), "metadata": {"strategy": number}});
        let (status, answer) = self.operator.post_once(&format!("k{number}"), "/api/signal", &signal).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{answer}");
    }

    /// A terminal of another name claims signals, and confirms them with tickets and words of its own.
    async fn terminal(&self, number: u32) {
        for claimed in self.poll_with(&format!("limit=3&protocol=2&terminal=T{number}")).await {
            let done = json!({"id": claimed["id"], "attempt": claimed["attempt"], "terminal": format!("T{number}"),
                "ticket": claimed["id"], "deal": claimed["id"], "volume": 0.01, "price": 1.1,
                "message": format!("words {number}")});
            let answer = self.confirm(done).await;
            assert_eq!((&answer["state"], &answer["anomaly"]), (&json!("executed"), &Value::Null));
        }
    }

    async fn member(&self, number: u32) {
        let member =
            json!({"user_id": format!("m{number}"), "email": format!("m{number}@example.org"), "investment": 10});
        self.operator.post("/api/users", &member).await.unwrap();
    }

    async fn strange_path(&self, number: u32) {
        let path = match number % 8 {
            0 => format!("/nowhere/{number}"),
            1 => format!("/api/signals/{number}-x"),
            2 => format!("/api/users/nobody-{number}/stats"),
            3 => format!("/api/accounts/none-{number}/risk"),
            4 => format!("/api/signals/pending/{number}"),
            5 => format!("/api/signal{number}?a={number}"),
            6 => format!("/%2e%2e/{number}%00"),
            _ => format!("/api/anomalies/{number}/acknowledge/{number}"),
        };
        let (status, answer) = self.operator.send(Method::GET, &path, None).await.unwrap();
        assert!(status.is_client_error(), "{path}: {status} {answer}");
    }

    async fn wrong_key(&self, number: u32) {
        let key =
            [format!("mt5c_{number:08}_{}", "0".repeat(64)), format!("key {number}")][number as usize % 2].clone();
        let path = ["/api/signals", "/api/control", "/api/users"][number as usize % 3];
        let (status, _) = self.operator.with_key(&key).send(Method::GET, path, None).await.unwrap();
        assert_eq!(status, StatusCode::FORBIDDEN);
    }

    async fn odd_request(&self, number: u32) {
        let methods = ["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "BREW"];
        let method = Method::from_bytes(methods[number as usize % methods.len()].as_bytes()).unwrap();
        let path = match number / 7 % 4 {
            0 => format!("/api/signals/x{number}/cancel"),
            1 => format!("/api/users/nobody-{number}/movements/{number}/cancel"),
            2 => format!("/api/keys/none-{number}/revoke"),
            _ => format!("/api/nothing/{number}"),
        };
        let (status, answer) = self.operator.send(method, &path, None).await.unwrap();
        assert!(status.is_client_error(), "{path}: {status} {answer}");
    }
}
