//! One set of recorded exchanges for both: what the platform hands out, and what the simulated terminal and the Expert
//! Advisor say to it. So that what one is tested with holds for the other.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use stack::market::{MarketConfig, Request};
use stack::terminal::{self, Config};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::desk::{Desk, program};
use crate::support::eventually;

/// A recorded exchange.
#[derive(Deserialize)]
struct Exchange {
    name: String,
    /// What is said to the market first.
    market: Vec<Request>,
    /// What the terminal is handed, one answer after the other.
    pending: Vec<Vec<Value>>,
    #[serde(default)]
    unresolved: Vec<Value>,
    /// What it must confirm, in this order; other fields may stand beside these, and `true` stands for any value.
    confirms: Vec<Value>,
}

/// A platform that follows the record.
struct Platform {
    pending: Mutex<Vec<Vec<Value>>>,
    unresolved: Mutex<Vec<Value>>,
    confirmed: Mutex<Vec<Value>>,
}

async fn pending(State(platform): State<Arc<Platform>>) -> Json<Value> {
    let next = |answers: &mut Vec<Vec<Value>>| if answers.is_empty() { Vec::new() } else { answers.remove(0) };
    let answer = next(&mut platform.pending.lock().unwrap());
    if answer.is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Json(Value::from(answer))
}

async fn unresolved(State(platform): State<Arc<Platform>>) -> ([(&'static str, &'static str); 1], Json<Value>) {
    ([("X-Account-Mode", "active")], Json(Value::from(platform.unresolved.lock().unwrap().clone())))
}

async fn confirm(State(platform): State<Arc<Platform>>, Json(body): Json<Value>) -> Json<Value> {
    platform.unresolved.lock().unwrap().retain(|signal| signal["id"] != body["id"]);
    platform.confirmed.lock().unwrap().push(body);
    Json(json!({"status": "ok"}))
}

async fn update() -> Json<Value> {
    Json(json!({"status": "ok", "mode": "active", "magic_base": 7}))
}

/// Whether everything expected is there.
fn holds(expected: &Value, said: &Value) -> bool {
    match (expected, said) {
        (Value::Bool(true), said) => !said.is_null(),
        (Value::Object(expected), Value::Object(said)) => {
            expected.iter().all(|(name, value)| holds(value, said.get(name).unwrap_or(&Value::Null)))
        }
        (Value::Array(expected), Value::Array(said)) => {
            expected.len() == said.len() && expected.iter().zip(said).all(|(one, other)| holds(one, other))
        }
        (Value::Number(_), Value::Number(_)) => stack::client::decimal(expected) == stack::client::decimal(said),
        _ => expected == said,
    }
}

async fn play(exchange: &Exchange, native: bool) {
    let platform = Arc::new(Platform {
        pending: Mutex::new(exchange.pending.clone()),
        unresolved: Mutex::new(exchange.unresolved.clone()),
        confirmed: Mutex::default(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new()
        .route("/api/signals/pending", get(pending))
        .route("/api/signals/unresolved", get(unresolved))
        .route("/api/trades/confirm", post(confirm))
        .route("/api/account/update", post(update))
        .with_state(Arc::clone(&platform));
    let stop = CancellationToken::new();
    tokio::spawn(axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned()).into_future());
    let desk = Desk::with(MarketConfig::default(), program().await);
    for request in &exchange.market {
        desk.call(request.clone());
    }
    let who = if native { "the Expert Advisor" } else { "the simulated terminal" };
    let done = || async {
        let confirmed = platform.confirmed.lock().unwrap();
        (confirmed.len() >= exchange.confirms.len()).then(|| confirmed.clone())
    };
    let what = format!("{who} tells all of {:?}", exchange.name);
    let said = if native {
        let ea = desk.start(&url, "", &[("InpWaitMs", "200")]);
        let said = eventually(&what, done).await;
        ea.stopped().await;
        said
    } else {
        let ending = CancellationToken::new();
        let running = tokio::spawn(terminal::run(simulated(&url, &desk), desk.market.clone(), None, ending.clone()));
        let said = eventually(&what, done).await;
        ending.cancel();
        running.await.unwrap().unwrap();
        said
    };
    stop.cancel();
    assert_eq!(said.len(), exchange.confirms.len(), "{who}, {}: {said:#?}", exchange.name);
    for (expected, said) in exchange.confirms.iter().zip(&said) {
        assert!(holds(expected, said), "{who}, {}: expected {expected:#}, said {said:#}", exchange.name);
    }
}

fn simulated(url: &str, desk: &Desk) -> Config {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    Config {
        journal: Some(desk.folder.join("journal.jsonl")),
        wait: Duration::from_millis(200),
        unresolved_interval: Duration::from_millis(100),
        grace: Duration::from_secs(1),
        tick_interval: None,
        ..Config::new(url, "", client)
    }
}

/// Goal: the simulated terminal and the Expert Advisor say the same in each recorded exchange.
#[tokio::test]
async fn the_simulated_terminal_and_the_expert_advisor_speak_alike() {
    let exchanges: Vec<Exchange> = serde_json::from_str(include_str!("exchanges.json")).unwrap();
    assert!(exchanges.len() > 10);
    for exchange in &exchanges {
        for native in [false, true] {
            play(exchange, native).await;
        }
    }
}
