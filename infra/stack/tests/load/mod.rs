//! Senders that post signals through whatever happens, and the comparison of what they were told with what is stored.
//!
//! Each sender has a symbol of its own and goes on to the next signal only when the last one was answered, so that the
//! order in which its signals were accepted is known. It repeats what was not answered 2xx under the same key; every
//! eighth signal it gives up instead, and every fourth it posts again although it was accepted.
#![allow(unreachable_pub, reason = "a module of a test binary")]

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stack::sandbox::Sandbox;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::private::within;

/// A request that takes longer than this hangs, whatever is away.
const HANGS: Duration = Duration::from_secs(8);
/// Between two attempts at the same signal.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// For what must come true after an outage.
const RECOVERY: Duration = Duration::from_secs(45);
/// Traded by a simulated market, all of them.
pub const SYMBOLS: [&str; 8] = ["EURUSD", "GBPUSD", "USDJPY", "XAUUSD", "AUDUSD", "NZDUSD", "USDCAD", "USDCHF"];

/// What one sender was told.
#[derive(Default)]
pub struct Log {
    /// Key and signal, in the order of acceptance.
    accepted: Vec<(String, Uuid)>,
    given_up: HashSet<String>,
}

/// Senders at work.
pub struct Load {
    senders: Vec<JoinHandle<Log>>,
    tally: Arc<Tally>,
}

/// How it goes so far.
struct Tally {
    urls: Vec<String>,
    key: String,
    pace: Duration,
    stop: CancellationToken,
    /// Which URL to use; moved on by whoever finds it broken.
    url: AtomicUsize,
    accepted: AtomicU64,
    refused: AtomicU64,
    broken: AtomicU64,
    slowest: Mutex<Duration>,
}

/// What was answered to one POST.
enum Answer {
    Accepted(Uuid),
    Refused,
    /// The connection was refused or broke.
    Broken,
}

impl Load {
    /// Starts eight senders, which post to the first of these platforms that answers and pause this long between signals.
    pub fn start(urls: &[&str], key: &str, pace: Duration) -> Self {
        let tally = Arc::new(Tally {
            urls: urls.iter().map(|url| format!("{url}/api/signal")).collect(),
            key: key.to_owned(),
            pace,
            stop: CancellationToken::new(),
            url: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            broken: AtomicU64::new(0),
            slowest: Mutex::default(),
        });
        let senders = SYMBOLS.iter().map(|symbol| tokio::spawn(send(tally.clone(), symbol))).collect();
        Self { senders, tally }
    }

    /// Waits until this many more were accepted; how long it took.
    pub async fn accepts(&self, more: u64) -> Duration {
        let count = || self.tally.accepted.load(Ordering::Relaxed);
        let wanted = count() + more;
        within(RECOVERY, &format!("{more} more accepted"), || async { self.going_on() && count() >= wanted }).await
    }

    /// Waits until this many more were refused with an unknown outcome.
    pub async fn refuses(&self, more: u64) {
        let count = || self.tally.refused.load(Ordering::Relaxed);
        let wanted = count() + more;
        within(RECOVERY, &format!("{more} more refused"), || async { self.going_on() && count() >= wanted }).await;
    }

    /// True; panics when a sender ended, which it does only when something was wrong.
    fn going_on(&self) -> bool {
        assert!(!self.senders.iter().any(JoinHandle::is_finished), "a sender stumbled");
        true
    }

    /// How many requests found nobody, so far.
    pub fn broken(&self) -> u64 {
        self.tally.broken.load(Ordering::Relaxed)
    }

    /// Lets each sender bring its last signal to acceptance; what they were told, and the slowest answer of all.
    pub async fn finish(self) -> (Vec<Log>, Duration) {
        self.tally.stop.cancel();
        let mut logs = Vec::new();
        for sender in self.senders {
            let log = tokio::time::timeout(RECOVERY, sender).await;
            logs.push(log.expect("a sender does not come to its end").expect("a sender stumbled"));
        }
        let slowest = *self.tally.slowest.lock().unwrap();
        let tally = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (accepted, refused, broken) =
            (tally(&self.tally.accepted), tally(&self.tally.refused), self.tally.broken.load(Ordering::Relaxed));
        println!("{accepted} accepted, {refused} refused, {broken} without an answer; slowest answer {slowest:?}");
        (logs, slowest)
    }
}

async fn send(tally: Arc<Tally>, symbol: &'static str) -> Log {
    let http = reqwest::Client::builder().no_proxy().timeout(HANGS).build().unwrap();
    let mut log = Log::default();
    for number in 0.. {
        if tally.stop.is_cancelled() {
            break;
        }
        let key = format!("{symbol}-{number}");
        let body = json!({"symbol": symbol, "action": "BUY", "volume": 0.01, "ttl_seconds": 7_200});
        let signal_id = loop {
            match tally.post(&http, &key, &body).await {
                Answer::Accepted(signal_id) => break Some(signal_id),
                Answer::Refused | Answer::Broken if number % 8 == 7 => break None,
                Answer::Refused => {}
                Answer::Broken => {
                    tally.url.fetch_add(1, Ordering::Relaxed);
                }
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        };
        match signal_id {
            None => drop(log.given_up.insert(key)),
            Some(signal_id) => {
                if number % 4 == 0
                    && let Answer::Accepted(again) = tally.post(&http, &key, &body).await
                {
                    assert_eq!(again, signal_id, "a repetition was given another id");
                }
                tally.accepted.fetch_add(1, Ordering::Relaxed);
                log.accepted.push((key, signal_id));
            }
        }
        tokio::time::sleep(tally.pace).await;
    }
    log
}

impl Tally {
    async fn post(&self, http: &reqwest::Client, key: &str, body: &Value) -> Answer {
        let url = &self.urls[self.url.load(Ordering::Relaxed) % self.urls.len()];
        let request = http.post(url).header("X-API-Key", &self.key).header("Idempotency-Key", key).json(body);
        let started = Instant::now();
        let answer = request.send().await;
        let taken = started.elapsed();
        let broken = |error: reqwest::Error| {
            assert!(!error.is_timeout(), "a POST hung for {HANGS:?}: {error}");
            self.broken.fetch_add(1, Ordering::Relaxed);
            Answer::Broken
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return broken(error),
        };
        {
            let mut slowest = self.slowest.lock().unwrap();
            *slowest = taken.max(*slowest);
        }
        let (status, retry_after) = (answer.status().as_u16(), answer.headers().contains_key("retry-after"));
        let text = match answer.text().await {
            Ok(text) => text,
            Err(error) => return broken(error),
        };
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        match status {
            200 => Answer::Accepted(body["signal_id"].as_str().unwrap().parse().unwrap()),
            503 if body["outcome"] == "unknown" && retry_after => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                Answer::Refused
            }
            _ => panic!("an answer that no sender can work with: {status} {text}"),
        }
    }
}

/// A signal as the database has it.
struct Row {
    signal_id: Uuid,
    id: i64,
    /// With the reason, where there is one.
    state: String,
}

/// Waits until every accepted signal is stored; then compares. Returns the number of signals by state.
///
/// Every accepted signal is there once, under the id that was answered; one that was given up at most once; nothing
/// else is; and each sender's signals are numbered in the order in which they were accepted.
pub async fn account_for(sandbox: &Sandbox, logs: &[Log]) -> BTreeMap<String, usize> {
    let mut db = sandbox.database().await.unwrap();
    let accepted: Vec<Uuid> =
        logs.iter().flat_map(|log| log.accepted.iter().map(|(_, signal_id)| *signal_id)).collect();
    let started = Instant::now();
    loop {
        let statement = "select count(*) from signals where signal_id = any($1)";
        let stored: i64 = sqlx::query_scalar(statement).bind(&accepted).fetch_one(&mut db).await.unwrap();
        if usize::try_from(stored) == Ok(accepted.len()) {
            break;
        }
        assert!(started.elapsed() < RECOVERY, "{stored} of {} accepted signals are stored", accepted.len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("all {} accepted signals stored {:?} after the last was accepted", accepted.len(), started.elapsed());
    let mut rows: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    let mut states = BTreeMap::new();
    let statement = "select idempotency_key, signal_id, id, concat_ws(' ', state, code) from signals where idempotency_key is not null order by id";
    let found: Vec<(String, Uuid, i64, String)> = sqlx::query_as(statement).fetch_all(&mut db).await.unwrap();
    for (key, signal_id, id, state) in found {
        *states.entry(state.clone()).or_default() += 1;
        rows.entry(key).or_default().push(Row { signal_id, id, state });
    }
    for log in logs {
        let mut last = 0;
        for (key, signal_id) in &log.accepted {
            let found = rows.remove(key).unwrap_or_default();
            let [row] = found.as_slice() else { panic!("{key} is stored {} times", found.len()) };
            assert_eq!(row.signal_id, *signal_id, "{key} is stored under another id");
            assert!(!row.state.starts_with("rejected"), "{key} is {}", row.state);
            assert!(row.id > last, "{key} was accepted after what is numbered {last}, and is numbered {}", row.id);
            last = row.id;
        }
        for key in &log.given_up {
            assert!(rows.remove(key).unwrap_or_default().len() <= 1, "{key} is stored twice");
        }
    }
    let unasked: Vec<&String> = rows.keys().collect();
    assert!(unasked.is_empty(), "stored, and sent by nobody: {unasked:?}");
    let twice =
        "select count(*) from (select 1 from signal_events where attempt = 0 and state in ('pending', 'rejected')
        group by signal_id having count(*) > 1) as twice";
    let twice: i64 = sqlx::query_scalar(twice).fetch_one(&mut db).await.unwrap();
    assert_eq!(twice, 0, "signals whose storing was noted twice");
    states
}
