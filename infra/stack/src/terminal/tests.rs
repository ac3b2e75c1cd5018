//! The terminal against a tiny platform in the same process: what it says, and above all what it does not do twice.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;

use super::execute::Offer;
use super::wire::{Confirm, Signal};
use super::*;
use crate::market::{Position, TradeRequest};

/// Nothing here takes this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(20);
const BASE: u64 = 7_000_000_000_000;

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes too long")
}

/// What the platform would hand out and has been told.
struct Platform {
    pending: Mutex<Vec<Value>>,
    unresolved: Mutex<Vec<Value>>,
    offered: Notify,
    /// Status of the next answers to a confirmation; 200 once it is used up.
    confirm_status: AtomicU16,
    pending_status: AtomicU16,
    mode: Mutex<&'static str>,
    asked: mpsc::UnboundedSender<String>,
    confirmed: mpsc::UnboundedSender<Value>,
    updated: mpsc::UnboundedSender<Value>,
}

struct Server {
    url: String,
    platform: Arc<Platform>,
    asked: UnboundedReceiver<String>,
    confirmed: UnboundedReceiver<Value>,
    updated: UnboundedReceiver<Value>,
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
    async fn start() -> Self {
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

    fn offer(&self, signals: Vec<Value>) {
        self.platform.pending.lock().unwrap().extend(signals);
        self.platform.offered.notify_one();
    }

    fn leave_unresolved(&self, signal: Value) {
        self.platform.unresolved.lock().unwrap().push(signal);
    }

    /// What was handed out and has not ended is unresolved; also what an answer carried that nobody received.
    fn end_leases(&self, attempts: &HashMap<u64, u64>, ended: &HashMap<u64, String>) {
        let waiting: Vec<Value> = self.platform.pending.lock().unwrap().iter().map(|one| one["id"].clone()).collect();
        let claimed = attempts.iter().filter(|(id, _)| !ended.contains_key(id) && !waiting.contains(&json!(id)));
        let unresolved = claimed.map(|(id, attempt)| signal(*id, json!({ "attempt": attempt }))).collect();
        *self.platform.unresolved.lock().unwrap() = unresolved;
    }

    async fn confirmation(&mut self) -> Value {
        soon(self.confirmed.recv()).await.unwrap()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the callers read better")]
fn signal(id: u64, more: Value) -> Value {
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
struct Bench {
    market: SharedMarket,
    folder: PathBuf,
    server: Server,
    run: Option<(JoinHandle<Result<(), Error>>, CancellationToken)>,
    events: Option<UnboundedReceiver<Event>>,
}

impl Bench {
    async fn new() -> Self {
        let market = Market::open(None, MarketConfig::default(), now()).unwrap();
        let folder = std::env::temp_dir().join(format!("terminal-{}", uuid::Uuid::new_v4()));
        Self { market: Arc::new(Mutex::new(market)), folder, server: Server::start().await, run: None, events: None }
    }

    fn start(&mut self, faults: &[Fault]) {
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

    async fn stop(&mut self) {
        let (task, stop) = self.run.take().unwrap();
        stop.cancel();
        soon(task).await.unwrap().unwrap();
    }

    async fn crash(&mut self) -> Error {
        soon(self.run.take().unwrap().0).await.unwrap().unwrap_err()
    }

    fn call(&self, request: Request) -> Response {
        self.market.lock().unwrap().call(request, now())
    }

    fn set_price(&self, bid: &str) {
        self.call(Request::SetPrice { symbol: "EURUSD".to_owned(), bid: bid.parse().unwrap() });
    }

    fn positions(&self) -> Vec<Position> {
        self.market.lock().unwrap().positions()
    }

    fn sends(&self) -> usize {
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

#[tokio::test]
async fn a_market_order_is_confirmed_with_exactly_what_was_filled() {
    let mut bench = Bench::new().await;
    bench.start(&[]);
    bench.server.offer(vec![signal(1, json!({}))]);
    let said = bench.server.confirmation().await;
    let position = &bench.positions()[0];
    assert_eq!(position.magic, BASE + 1);
    assert_eq!(said["status"], "executed");
    assert_eq!((&said["id"], &said["attempt"]), (&json!(1), &json!(1)));
    assert_eq!(said["ticket"], json!(position.ticket));
    assert_eq!(said["price"].to_string(), "1.08512");
    assert_eq!(said["volume"].to_string(), "0.10");
    assert_eq!(said["retcode"], 10009);
    bench.stop().await;
}

#[tokio::test]
async fn what_is_unresolved_is_asked_before_anything_else() {
    let mut bench = Bench::new().await;
    bench.start(&[]);
    let mut asked = Vec::new();
    while asked.last().is_none_or(|last| last != "pending") {
        asked.push(soon(bench.server.asked.recv()).await.unwrap());
    }
    assert_eq!(asked[0], "unresolved");
}

#[tokio::test]
async fn a_crash_after_the_fill_never_leads_to_a_second_order() {
    let mut bench = Bench::new().await;
    bench.start(&[Fault::CrashAfterFill]);
    bench.server.offer(vec![signal(1, json!({}))]);
    assert!(matches!(bench.crash().await, Error::Crashed(Fault::CrashAfterFill)));
    bench.server.leave_unresolved(signal(1, json!({ "lease_ms": null, "remaining_ms": null })));
    bench.server.offer(vec![signal(1, json!({ "attempt": 2 }))]);
    bench.start(&[Fault::CrashAfterFill]);
    let said = bench.server.confirmation().await;
    assert_eq!((&said["status"], &said["ticket"]), (&json!("executed"), &json!(bench.positions()[0].ticket)));
    bench.stop().await;
    assert_eq!(bench.sends(), 1);
}

#[tokio::test]
async fn a_claim_that_was_never_sent_is_given_back_and_can_be_taken_again() {
    let mut bench = Bench::new().await;
    bench.start(&[Fault::CrashBeforeSend]);
    bench.server.offer(vec![signal(1, json!({}))]);
    bench.crash().await;
    bench.server.leave_unresolved(signal(1, json!({})));
    bench.start(&[]);
    assert_eq!(bench.server.confirmation().await["status"], "not_sent");
    assert_eq!(bench.sends(), 0);
    bench.server.offer(vec![signal(1, json!({ "attempt": 2 }))]);
    let said = bench.server.confirmation().await;
    assert_eq!((&said["status"], &said["attempt"]), (&json!("executed"), &json!(2)));
}

/// Goal: nobody waits for the end of a lease where the journal and the broker know what became of the claim.
#[tokio::test]
async fn a_new_run_tells_at_once_what_the_one_before_left_open() {
    for (fault, told) in [(Fault::CrashBeforeSend, "not_sent"), (Fault::CrashAfterFill, "executed")] {
        let mut bench = Bench::new().await;
        bench.start(&[fault]);
        bench.server.offer(vec![signal(1, json!({}))]);
        bench.crash().await;
        bench.start(&[]);
        let said = bench.server.confirmation().await;
        assert_eq!((&said["id"], &said["attempt"], &said["status"]), (&json!(1), &json!(1), &json!(told)));
        bench.stop().await;
        bench.start(&[]);
        bench.server.offer(vec![signal(2, json!({}))]);
        assert_eq!(bench.server.confirmation().await["id"], 2, "it is told once");
    }
}

#[tokio::test]
async fn a_send_that_may_have_happened_is_never_called_not_sent() {
    let mut bench = Bench::new().await;
    bench.start(&[Fault::CrashWhileSending]);
    bench.server.offer(vec![signal(1, json!({}))]);
    bench.crash().await;
    bench.server.leave_unresolved(signal(1, json!({})));
    bench.start(&[]);
    assert_eq!(bench.server.confirmation().await["status"], "not_found");
    assert_eq!(bench.sends(), 0);
}

#[tokio::test]
async fn a_lost_journal_proves_nothing() {
    let mut bench = Bench::new().await;
    bench.start(&[Fault::CrashBeforeSend]);
    bench.server.offer(vec![signal(1, json!({}))]);
    bench.crash().await;
    std::fs::remove_file(bench.folder.join("journal.jsonl")).unwrap();
    bench.server.leave_unresolved(signal(1, json!({})));
    bench.start(&[]);
    assert_eq!(bench.server.confirmation().await["status"], "not_found");
}

/// Goal: whatever dies when, each signal ends, and no signal is traded twice. A model of the platform gives back what was
/// not sent and asks for what was claimed and never answered.
#[tokio::test]
async fn no_sequence_of_crashes_trades_a_signal_twice() {
    const SIGNALS: u64 = 12;
    /// Silence for this long is the end of every claim; the terminal itself is told of thirty seconds.
    const LEASE: Duration = Duration::from_millis(200);
    let mut bench = Bench::new().await;
    bench.server.offer((1..=SIGNALS).map(|id| signal(id, json!({}))).collect());
    let mut attempts: HashMap<u64, u64> = (1..=SIGNALS).map(|id| (id, 1)).collect();
    let mut ended: HashMap<u64, String> = HashMap::new();
    // How each run misbehaves, and after how many confirmations it is killed if it lives that long.
    let runs: [(&[Fault], usize); 7] = [
        (&[Fault::CrashBeforeSend], 99),
        (&[Fault::CrashAfterFill], 99),
        (&[Fault::Requote], 2),
        (&[Fault::CrashWhileSending, Fault::ConfirmTwice], 99),
        (&[Fault::LoseAnswer], 3),
        (&[Fault::PartialFill], 1),
        (&[Fault::ConfirmTwice], 99),
    ];
    for (faults, killed_after) in runs {
        bench.start(faults);
        let (mut task, _stop) = bench.run.take().unwrap();
        let mut confirmations = 0;
        while confirmations < killed_after && ended.len() < attempts.len() {
            let said = tokio::select! {
                said = bench.server.confirmation() => said,
                _ = &mut task => break,
                () = tokio::time::sleep(LEASE) => {
                    bench.server.end_leases(&attempts, &ended);
                    continue;
                }
            };
            confirmations += 1;
            let id = said["id"].as_u64().unwrap();
            if said["status"] != "not_sent" {
                let status = said["status"].as_str().unwrap().to_owned();
                let before = ended.insert(id, status.clone());
                assert!(before.is_none_or(|before| before == status), "signal {id} ended in two ways");
            } else if said["attempt"] == json!(attempts[&id]) && !ended.contains_key(&id) {
                *attempts.get_mut(&id).unwrap() += 1;
                bench.server.offer(vec![signal(id, json!({ "attempt": attempts[&id] }))]);
            }
        }
        if !task.is_finished() {
            task.abort();
            let _ = task.await;
        }
    }
    assert_eq!(ended.len(), attempts.len(), "every signal ended");
    let market = bench.market.lock().unwrap();
    for (id, status) in ended {
        let deals = market.deals().iter().filter(|deal| deal.magic == BASE + id).count();
        assert_eq!(deals, usize::from(status == "executed"), "signal {id} is {status}");
    }
}

#[tokio::test]
async fn a_redelivered_attempt_is_not_executed_again() {
    let mut bench = Bench::new().await;
    bench.start(&[]);
    bench.server.offer(vec![signal(1, json!({}))]);
    bench.server.confirmation().await;
    bench.server.offer(vec![signal(1, json!({})), signal(1, json!({ "attempt": 2 })), signal(2, json!({}))]);
    assert_eq!(bench.server.confirmation().await["id"], 2);
    assert_eq!(bench.sends(), 2);
}

#[tokio::test]
async fn an_opening_past_its_time_is_not_sent_and_a_closing_is() {
    let mut bench = Bench::new().await;
    bench.start(&[]);
    bench.server.offer(vec![signal(1, json!({}))]);
    bench.server.confirmation().await;
    bench.server.offer(vec![
        signal(2, json!({ "remaining_ms": 0 })),
        signal(3, json!({ "action": "CLOSE", "volume": null, "remaining_ms": null })),
    ]);
    let said = bench.server.confirmation().await;
    assert_eq!((&said["status"], &said["retcode"]), (&json!("not_sent"), &Value::Null));
    assert!(said["message"].as_str().unwrap().contains("expired"));
    let closed = bench.server.confirmation().await;
    assert_eq!((&closed["status"], &closed["price"].to_string()), (&json!("executed"), &"1.08500".to_owned()));
    assert_eq!(closed["profit"].to_string(), "-1.20");
    assert!(bench.positions().is_empty());
}

#[test]
fn both_limits_count_from_sending_the_poll() {
    let parse = |more| serde_json::from_value::<Signal>(signal(1, more)).unwrap();
    let asked_at = Instant::now();
    let received_at = asked_at + Duration::from_secs(20);
    let overdue =
        |more, after| Offer::new(parse(more), asked_at, received_at).overdue(asked_at + Duration::from_millis(after));
    assert_eq!(overdue(json!({ "remaining_ms": 25_000 }), 24_999), None);
    assert!(overdue(json!({ "remaining_ms": 25_000 }), 25_000).is_some());
    assert!(overdue(json!({ "remaining_ms": null }), 30_000).is_some_and(|reason| reason.contains("lease")));
    // The server held the poll for 19 s: its clocks started then.
    assert_eq!(overdue(json!({ "remaining_ms": 25_000, "held_ms": 19_000 }), 43_999), None);
    // It can't have held it for longer than the answer took.
    assert!(overdue(json!({ "remaining_ms": 25_000, "held_ms": 99_000 }), 45_000).is_some());
}

#[tokio::test]
async fn a_confirmation_is_repeated_until_it_is_taken_and_dropped_when_refused() {
    let mut bench = Bench::new().await;
    bench.start(&[]);
    bench.server.platform.confirm_status.store(503, Ordering::SeqCst);
    bench.server.offer(vec![signal(1, json!({}))]);
    let first = bench.server.confirmation().await;
    assert_eq!(first, bench.server.confirmation().await);
    bench.server.platform.confirm_status.store(422, Ordering::SeqCst);
    bench.server.offer(vec![signal(2, json!({})), signal(3, json!({}))]);
    assert_eq!(bench.server.confirmation().await["id"], 2);
    assert_eq!(bench.server.confirmation().await["id"], 3);
}

#[tokio::test]
async fn an_undelivered_confirmation_survives_a_restart() {
    let mut bench = Bench::new().await;
    let url = std::mem::replace(&mut bench.server.url, "http://127.0.0.1:1".to_owned());
    let mut journal = Journal::open(Some(&bench.folder.join("journal.jsonl"))).unwrap();
    journal.report(Confirm { id: Some(5), ..Confirm::new(Status::Failed) }).unwrap();
    drop(journal);
    bench.start(&[]);
    bench.stop().await;
    bench.server.url = url;
    bench.start(&[]);
    assert_eq!(bench.server.confirmation().await["id"], 5);
}

#[tokio::test]
async fn a_lost_answer_is_looked_up_before_a_word_is_said() {
    let mut bench = Bench::new().await;
    bench.start(&[Fault::LoseAnswer]);
    bench.server.offer(vec![
        signal(1, json!({})),
        signal(2, json!({ "action": "CLOSE", "volume": null, "remaining_ms": null })),
    ]);
    let said = bench.server.confirmation().await;
    assert_eq!((&said["status"], said["price"].to_string()), (&json!("executed"), "1.08512".to_owned()));
    let closed = bench.server.confirmation().await;
    assert_eq!((&closed["status"], &closed["ticket"]), (&json!("executed"), &said["ticket"]));
    assert_eq!(bench.sends(), 2);
}

#[tokio::test]
async fn refusals_requotes_and_partial_fills_are_told_as_they_are() {
    for (fault, status, retcode, volume) in [
        (Fault::Reject, "failed", 10006, "null"),
        (Fault::Requote, "executed", 10009, "0.10"),
        (Fault::PartialFill, "executed", 10010, "0.05"),
    ] {
        let mut bench = Bench::new().await;
        bench.start(&[fault]);
        bench.server.offer(vec![signal(1, json!({}))]);
        let said = bench.server.confirmation().await;
        assert_eq!((said["status"].as_str(), said["retcode"].as_u64()), (Some(status), Some(retcode)), "{fault:?}");
        assert_eq!(said["volume"].to_string(), volume, "{fault:?}");
    }
}

#[tokio::test]
async fn a_stop_loss_is_reported_once_over_restarts() {
    let mut bench = Bench::new().await;
    bench.start(&[]);
    bench.server.offer(vec![signal(1, json!({ "sl": 1.08 })), signal(2, json!({}))]);
    let opened = bench.server.confirmation().await;
    bench.server.confirmation().await;
    bench.set_price("1.07900");
    let closed = bench.server.confirmation().await;
    assert_eq!((&closed["status"], &closed["ticket"], &closed["id"]), (&json!("closed"), &opened["ticket"], &json!(1)));
    assert_eq!(
        (closed["close_price"].to_string(), closed["profit"].to_string()),
        ("1.07900".to_owned(), "-61.20".to_owned())
    );
    bench.stop().await;
    bench.start(&[]);
    let by_hand = bench.positions()[0].clone();
    bench.call(Request::OrderSend(TradeRequest {
        position: by_hand.ticket,
        symbol: by_hand.symbol,
        volume: by_hand.volume,
        order_type: crate::market::OrderType::Sell,
        ..TradeRequest::default()
    }));
    let next = bench.server.confirmation().await;
    assert_eq!((&next["id"], &next["message"]), (&json!(2), &json!("closed by hand")));
}

#[tokio::test]
async fn a_resting_order_is_placed_then_filled() {
    let mut bench = Bench::new().await;
    bench.start(&[]);
    bench.server.offer(vec![signal(1, json!({ "order_type": "limit", "entry": 1.08 }))]);
    let placed = bench.server.confirmation().await;
    assert_eq!((&placed["status"], placed["price"].to_string()), (&json!("placed"), "1.08".to_owned()));
    bench.set_price("1.07980");
    let filled = bench.server.confirmation().await;
    assert_eq!((&filled["status"], &filled["order"]), (&json!("executed"), &placed["ticket"]));
    assert_eq!(filled["price"].to_string(), "1.07992");
}

#[tokio::test]
async fn a_halted_account_keeps_no_opening_order() {
    let mut bench = Bench::new().await;
    bench.start(&[]);
    bench.server.offer(vec![signal(1, json!({ "order_type": "stop", "action": "SELL", "entry": 1.08 }))]);
    let placed = bench.server.confirmation().await;
    *bench.server.platform.mode.lock().unwrap() = "halted";
    let ended = bench.server.confirmation().await;
    assert_eq!((&ended["status"], &ended["order"]), (&json!("closed"), &placed["ticket"]));
    assert_eq!(bench.market.lock().unwrap().orders().count(), 0);
}

#[tokio::test]
async fn closing_all_spares_what_is_not_ours() {
    let mut bench = Bench::new().await;
    for magic in [0, 9_000_000_000_001] {
        let foreign = TradeRequest {
            magic,
            symbol: "EURUSD".to_owned(),
            volume: "0.10".parse().unwrap(),
            ..TradeRequest::default()
        };
        bench.call(Request::OrderSend(foreign));
    }
    bench.start(&[]);
    bench.server.offer(vec![
        signal(1, json!({})),
        signal(2, json!({ "symbol": "XAUUSD" })),
        signal(3, json!({ "order_type": "limit", "entry": 1.08 })),
        signal(4, json!({ "action": "MODIFY", "sl": 1.07, "volume": null })),
        signal(5, json!({ "action": "CLOSE_ALL", "symbol": null, "volume": null, "remaining_ms": null, "after": [1] })),
        signal(6, json!({ "action": "PING", "symbol": null, "volume": null })),
    ]);
    let mut said = Vec::new();
    while said.len() < 7 {
        said.push(bench.server.confirmation().await);
    }
    let modified = said.iter().find(|one| one["id"] == 4).unwrap();
    assert_eq!(modified["results"].as_array().unwrap().len(), 2, "a position and a resting order");
    let all = said.iter().find(|one| one["id"] == 5).unwrap();
    assert_eq!(all["results"].as_array().unwrap().len(), 3);
    assert_eq!(all["message"], "3 of 3 done");
    assert_eq!(said.last().unwrap()["id"], 6);
    assert_eq!(bench.positions().len(), 2);
    assert_eq!(bench.market.lock().unwrap().orders().count(), 0);
}

#[tokio::test]
async fn the_volume_at_risk_is_what_the_stop_would_lose() {
    let mut bench = Bench::new().await;
    bench.start(&[]);
    let risk =
        |id, percent| signal(id, json!({ "volume": null, "risk_percent": percent, "sl": 1.08012, "max_volume": 0.50 }));
    bench.server.offer(vec![risk(1, json!(1)), risk(2, json!(50)), risk(3, json!(0.001))]);
    // 1 % of 10,000 over 500 points of 1.00 per lot: 0.20 lots.
    assert_eq!(bench.server.confirmation().await["volume"].to_string(), "0.20");
    assert_eq!(bench.server.confirmation().await["volume"].to_string(), "0.50");
    assert_eq!(bench.server.confirmation().await["retcode"], 10014);
}

#[tokio::test]
async fn rubbish_and_errors_are_survived() {
    let mut bench = Bench::new().await;
    for status in [299, 500] {
        bench.server.platform.pending_status.store(status, Ordering::SeqCst);
        if bench.run.is_none() {
            bench.start(&[]);
        }
        while soon(bench.server.asked.recv()).await.unwrap() != "pending" {}
    }
    bench.server.offer(vec![signal(1, json!({}))]);
    // The answer with status 500 may have carried the signal away; what counts is that the next one is taken.
    bench.server.offer(vec![signal(2, json!({}))]);
    while soon(bench.server.asked.recv()).await.unwrap() != "pending" {}
    bench.server.offer(vec![signal(3, json!({}))]);
    while bench.server.confirmation().await["id"] != 3 {}
}

#[tokio::test]
async fn updates_carry_the_account_and_count_up() {
    let mut bench = Bench::new().await;
    bench.start(&[]);
    let first = soon(bench.server.updated.recv()).await.unwrap();
    assert_eq!((&first["seq"], first["net_deposits"].to_string()), (&json!(1), "10000".to_owned()));
    bench.call(Request::Deposit { amount: "250.50".parse().unwrap() });
    let second = soon(bench.server.updated.recv()).await.unwrap();
    assert_eq!((&second["seq"], second["net_deposits"].to_string()), (&json!(2), "10250.50".to_owned()));
    assert_eq!(second["session"], first["session"]);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_the_long_poll() {
    let mut bench = Bench::new().await;
    bench.start(&[]);
    while soon(bench.server.asked.recv()).await.unwrap() != "pending" {}
    let started_at = Instant::now();
    bench.stop().await;
    assert!(started_at.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_hanging_terminal_claims_and_says_nothing() {
    let mut bench = Bench::new().await;
    bench.start(&[Fault::HangWithClaim]);
    bench.server.offer(vec![signal(1, json!({}))]);
    let events = bench.events.as_mut().unwrap();
    while !matches!(soon(events.recv()).await.unwrap(), Event::Received { id: 1, .. }) {}
    bench.stop().await;
    assert_eq!(bench.sends(), 0);
    assert!(bench.server.confirmed.try_recv().is_err());
}

#[tokio::test]
async fn the_original_terminal_says_its_six_fields_and_no_id() {
    let mut bench = Bench::new().await;
    bench.start(&[Fault::OldProtocol]);
    bench.server.offer(vec![signal(1, json!({}))]);
    let said = bench.server.confirmation().await;
    let mut names: Vec<&String> = said.as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["action", "price", "status", "symbol", "ticket", "volume"]);
    assert_eq!(said["price"].to_string(), "1.08512");
    let update = soon(bench.server.updated.recv()).await.unwrap();
    assert_eq!(update.as_object().unwrap().len(), 5);
}

#[test]
fn a_torn_last_line_of_the_journal_is_cut_off() {
    let path = std::env::temp_dir().join(format!("journal-{}.jsonl", uuid::Uuid::new_v4()));
    let mut journal = Journal::open(Some(&path)).unwrap();
    journal.claim([(BASE + 1, 1), (BASE + 2, 1)].into_iter()).unwrap();
    journal.sending(BASE + 1, 1).unwrap();
    assert!(Journal::open(Some(&path)).is_err(), "two terminals don't share a journal");
    drop(journal);
    let mut torn = std::fs::read(&path).unwrap();
    torn.extend(br#"{"sending":{"ma"#);
    std::fs::write(&path, torn).unwrap();
    let mut journal = Journal::open(Some(&path)).unwrap();
    assert!(journal.intent(1).unwrap().sent);
    assert!(!journal.intent(2).unwrap().sent);
    journal.sending(BASE + 2, 1).unwrap();
    drop(journal);
    assert!(Journal::open(Some(&path)).unwrap().intent(2).unwrap().sent);
    std::fs::remove_file(path).unwrap();
}
