//! An installation of the terminal, and a tiny platform in the same process that hands out what it is told to.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;

use super::super::*;
use crate::market::Position;

/// Nothing here takes this long unless it is broken.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
pub(super) const BASE: u64 = 7_000_000_000_000;

pub(super) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes too long")
}

/// What the platform would hand out and has been told.
pub(super) struct Platform {
    pub(super) pending: Mutex<Vec<Value>>,
    pub(super) unresolved: Mutex<Vec<Value>>,
    pub(super) offered: Notify,
    /// Status of the next answers to a confirmation; 200 once it is used up.
    pub(super) confirm_status: AtomicU16,
    pub(super) pending_status: AtomicU16,
    pub(super) mode: Mutex<&'static str>,
    pub(super) asked: mpsc::UnboundedSender<String>,
    pub(super) confirmed: mpsc::UnboundedSender<Value>,
    pub(super) updated: mpsc::UnboundedSender<Value>,
}

pub(super) struct Server {
    pub(super) url: String,
    pub(super) platform: Arc<Platform>,
    pub(super) asked: UnboundedReceiver<String>,
    pub(super) confirmed: UnboundedReceiver<Value>,
    pub(super) updated: UnboundedReceiver<Value>,
}

async fn pending(
    State(platform): State<Arc<Platform>>,
    Query(query): Query<HashMap<String, String>>,
) -> (StatusCode, String) {
    let _ = platform.asked.send("pending".to_owned());
    let status = platform.pending_status.swap(200, Ordering::SeqCst);
    if status == 299 {
        return (StatusCode::OK, "<html>".to_owned());
    }
    let wait = Duration::from_millis(query.get("wait_ms").and_then(|text| text.parse().ok()).unwrap_or(0));
    let _ = tokio::time::timeout(wait, async {
        while platform.pending.lock().unwrap().is_empty() {
            platform.offered.notified().await;
        }
    })
    .await;
    let signals = std::mem::take(&mut *platform.pending.lock().unwrap());
    (StatusCode::from_u16(status).unwrap(), Value::from(signals).to_string())
}

async fn unresolved(State(platform): State<Arc<Platform>>) -> ([(&'static str, &'static str); 1], Json<Value>) {
    let _ = platform.asked.send("unresolved".to_owned());
    let signals = platform.unresolved.lock().unwrap().clone();
    ([("X-Account-Mode", *platform.mode.lock().unwrap())], Json(Value::from(signals)))
}

async fn confirm(State(platform): State<Arc<Platform>>, Json(body): Json<Value>) -> StatusCode {
    // A resolved signal is not asked for again.
    platform.unresolved.lock().unwrap().retain(|signal| signal["id"] != body["id"]);
    let _ = platform.confirmed.send(body);
    StatusCode::from_u16(platform.confirm_status.swap(200, Ordering::SeqCst)).unwrap()
}

async fn update(State(platform): State<Arc<Platform>>, Json(body): Json<Value>) -> Json<Value> {
    let _ = platform.updated.send(body);
    Json(json!({ "mode": *platform.mode.lock().unwrap() }))
}

impl Server {
    pub(super) async fn start() -> Self {
        let ((asked, all_asked), (confirmed, all_confirmed), (updated, all_updated)) =
            (mpsc::unbounded_channel(), mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let platform = Arc::new(Platform {
            pending: Mutex::default(),
            unresolved: Mutex::default(),
            offered: Notify::new(),
            confirm_status: AtomicU16::new(200),
            pending_status: AtomicU16::new(200),
            mode: Mutex::new("active"),
            asked,
            confirmed,
            updated,
        });
        let router = Router::new()
            .route("/api/signals/pending", get(pending))
            .route("/api/signals/unresolved", get(unresolved))
            .route("/api/trades/confirm", post(confirm))
            .route("/api/account/update", post(update))
            .with_state(Arc::clone(&platform));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, platform, asked: all_asked, confirmed: all_confirmed, updated: all_updated }
    }

    pub(super) fn offer(&self, signals: Vec<Value>) {
        self.platform.pending.lock().unwrap().extend(signals);
        self.platform.offered.notify_one();
    }

    pub(super) fn leave_unresolved(&self, signal: Value) {
        self.platform.unresolved.lock().unwrap().push(signal);
    }

    /// What was handed out and has not ended is unresolved; also what an answer carried that nobody received.
    pub(super) fn end_leases(&self, attempts: &HashMap<u64, u64>, ended: &HashMap<u64, String>) {
        let waiting: Vec<Value> = self.platform.pending.lock().unwrap().iter().map(|one| one["id"].clone()).collect();
        let claimed = attempts.iter().filter(|(id, _)| !ended.contains_key(id) && !waiting.contains(&json!(id)));
        let unresolved = claimed.map(|(id, attempt)| signal(*id, json!({ "attempt": attempt }))).collect();
        *self.platform.unresolved.lock().unwrap() = unresolved;
    }

    pub(super) async fn confirmation(&mut self) -> Value {
        soon(self.confirmed.recv()).await.unwrap()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the callers read better")]
pub(super) fn signal(id: u64, more: Value) -> Value {
    let mut signal = json!({
        "signal_id": uuid::Uuid::from_u128(u128::from(id)), "id": id, "magic": BASE + id, "attempt": 1, "lease_ms": 30_000,
        "remaining_ms": 60_000, "held_ms": 0, "max_volume": 10, "account": "main", "symbol": "EURUSD", "action": "BUY",
        "order_type": "market", "volume": 0.10, "risk_percent": null, "entry": null, "sl": null, "tp": null, "ticket": null,
        "max_slippage_points": null, "order_expires_at": null, "comment": null, "after": [],
    });
    for (name, value) in more.as_object().unwrap() {
        signal[name] = value.clone();
    }
    signal
}

/// One installation: a market and a journal that outlive its runs.
pub(super) struct Bench {
    pub(super) market: SharedMarket,
    pub(super) folder: PathBuf,
    pub(super) server: Server,
    pub(super) run: Option<(JoinHandle<Result<(), Error>>, CancellationToken)>,
    pub(super) events: Option<UnboundedReceiver<Event>>,
}

impl Bench {
    pub(super) async fn new() -> Self {
        let market = Market::open(None, MarketConfig::default(), now()).unwrap();
        let folder = std::env::temp_dir().join(format!("terminal-{}", uuid::Uuid::new_v4()));
        Self { market: Arc::new(Mutex::new(market)), folder, server: Server::start().await, run: None, events: None }
    }

    pub(super) fn start(&mut self, faults: &[Fault]) {
        let config = Config {
            journal: Some(self.folder.join("journal.jsonl")),
            faults: faults.to_vec(),
            tick_interval: None,
            unresolved_interval: Duration::from_millis(20),
            grace: Duration::from_millis(100),
            wait: Duration::from_secs(5),
            ..Config::new(&self.server.url, "key", reqwest::Client::new())
        };
        let stop = CancellationToken::new();
        let (events, seen) = mpsc::unbounded_channel();
        self.events = Some(seen);
        self.run = Some((tokio::spawn(run(config, Arc::clone(&self.market), Some(events), stop.clone())), stop));
    }

    pub(super) async fn stop(&mut self) {
        let (task, stop) = self.run.take().unwrap();
        stop.cancel();
        soon(task).await.unwrap().unwrap();
    }

    pub(super) async fn crash(&mut self) -> Error {
        soon(self.run.take().unwrap().0).await.unwrap().unwrap_err()
    }

    pub(super) fn call(&self, request: Request) -> Response {
        self.market.lock().unwrap().call(request, now())
    }

    pub(super) fn set_price(&self, bid: &str) {
        self.call(Request::SetPrice { symbol: "EURUSD".to_owned(), bid: bid.parse().unwrap() });
    }

    pub(super) fn positions(&self) -> Vec<Position> {
        self.market.lock().unwrap().positions()
    }

    pub(super) fn sends(&self) -> usize {
        self.market.lock().unwrap().history_orders().len()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some((task, _)) = self.run.take() {
            task.abort();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
