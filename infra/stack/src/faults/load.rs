//! Senders and members at work through whatever happens, each with a log of what it was told.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::choices::Choices;
use super::stage::SYMBOLS;
use crate::check::log::Recorder;
use crate::client::Client;
use crate::market::now;

/// Senders; each has a symbol of its own, so that it knows the order in which its signals were accepted.
const SENDERS: usize = 8;
/// Who waits longer has no answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// Between two attempts at the same signal.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Attempts at a signal until it is given up.
const ATTEMPTS: usize = 5;
/// Members' first deposits.
const MEMBERS: [(&str, u32); 3] = [("anna", 3_000), ("ben", 3_333), ("carla", 3_667)];

/// All of it, until it is told to stop.
pub(super) struct Load {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<io::Result<()>>>,
    in_flight: Arc<AtomicUsize>,
    /// The senders' logs.
    pub(super) logs: Vec<PathBuf>,
}

impl Load {
    /// Starts senders at this URL, each with a signal every `pace`, and members at that one, who keep their money moving.
    pub(super) fn start(
        folder: &Path,
        key: &str,
        senders: &str,
        pace: Duration,
        members: Client,
        choices: &mut Choices,
    ) -> Result<Self, super::FaultsError> {
        let (stop, in_flight) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        let (mut tasks, mut logs) = (Vec::new(), Vec::new());
        for number in 0..SENDERS {
            let log = folder.join(format!("sender-{number}.jsonl"));
            let symbols = SYMBOLS.iter().skip(number).step_by(SENDERS).copied().collect();
            let sender = Sender::new(&format!("s{number}"), senders, key, &log, in_flight.clone())?;
            let own = Choices::new(choices.below(u64::MAX));
            tasks.push(tokio::spawn(sender.work(symbols, pace, own, stop.clone())));
            logs.push(log);
        }
        tasks.push(tokio::spawn(invest(members, Choices::new(choices.below(u64::MAX)), stop.clone())));
        Ok(Self { stop, tasks, in_flight, logs })
    }

    /// Posts that wait for their answer.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Lets everybody bring what he is at to its end.
    pub(super) async fn finish(self) -> Result<Vec<PathBuf>, super::FaultsError> {
        self.stop.cancel();
        for task in self.tasks {
            task.await??;
        }
        Ok(self.logs)
    }
}

/// Posts one signal at a time.
pub(super) struct Sender {
    name: String,
    http: reqwest::Client,
    url: String,
    key: String,
    recorder: Recorder,
    in_flight: Arc<AtomicUsize>,
    count: usize,
}

impl Sender {
    pub(super) fn new(
        name: &str,
        url: &str,
        key: &str,
        log: &Path,
        in_flight: Arc<AtomicUsize>,
    ) -> Result<Self, super::FaultsError> {
        let http = reqwest::Client::builder().no_proxy().tcp_nodelay(true).timeout(PATIENCE).build()?;
        let (name, url, key) = (name.to_owned(), format!("{url}/api/signal"), key.to_owned());
        Ok(Self { name, http, url, key, recorder: Recorder::create(log)?, in_flight, count: 0 })
    }

    async fn work(
        mut self,
        symbols: Vec<&str>,
        pace: Duration,
        mut choices: Choices,
        stop: CancellationToken,
    ) -> io::Result<()> {
        while !stop.is_cancelled() {
            let symbol = choices.of(&symbols).copied().unwrap_or_default();
            let body = signal(symbol, &mut choices);
            // Some give up at once where the outcome is unknown, some repeat although they were answered.
            let (patient, doubts) = (choices.below(4) > 0, choices.below(8) == 0);
            let key = self.next_key();
            for attempt in 1..=ATTEMPTS {
                let (status, _) = self.post(&key, &body).await?;
                let known = status.is_some_and(|status| status < 500);
                if (known && !doubts) || attempt == ATTEMPTS || !(known || patient) {
                    break;
                }
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            tokio::time::sleep(pace).await;
        }
        Ok(())
    }

    pub(super) fn next_key(&mut self) -> String {
        self.count += 1;
        format!("{}-{}", self.name, self.count)
    }

    /// Posts under this key, with a line before and a line after; the status, and the id that was given.
    pub(super) async fn post(&self, key: &str, body: &Value) -> io::Result<(Option<u16>, Option<Uuid>)> {
        let post = self.recorder.sent(now(), Some(key), body)?;
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let request = self.http.post(&self.url).header("X-API-Key", &self.key).header("Idempotency-Key", key);
        let answer = async {
            let answer = request.json(body).send().await.ok()?;
            let status = answer.status().as_u16();
            // Half an answer is none.
            Some((status, answer.bytes().await.ok()?))
        };
        let answer = answer.await;
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        let signal_id = answer
            .as_ref()
            .and_then(|(_, body)| serde_json::from_slice::<Value>(body).ok()?["signal_id"].as_str()?.parse().ok());
        let status = answer.map(|(status, _)| status);
        self.recorder.answered(post, now(), status, signal_id)?;
        Ok((status, signal_id))
    }
}

/// Openings, closings, what must be refused, and what expires soon.
fn signal(symbol: &str, choices: &mut Choices) -> Value {
    let side = if choices.below(2) == 0 { "BUY" } else { "SELL" };
    match choices.below(20) {
        0 => json!({"symbol": symbol, "action": side, "volume": -1}),
        1..=3 => json!({"symbol": symbol, "action": "CLOSE"}),
        4..=6 => json!({"symbol": symbol, "action": side, "volume": 0.01, "ttl_seconds": 2}),
        _ => json!({"symbol": symbol, "action": side, "volume": 0.01, "ttl_seconds": 600}),
    }
}

/// Members join, pay in and take out; each movement under a key, so that it may be repeated until it is answered.
async fn invest(client: Client, mut choices: Choices, stop: CancellationToken) -> io::Result<()> {
    let repeat = async |key: &str, path: &str, body: Value| {
        for _ in 0..ATTEMPTS {
            let answer = client.post_once(key, path, &body).await;
            if answer.is_ok_and(|(status, _)| !status.is_server_error()) || stop.is_cancelled() {
                break;
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    };
    for (user, investment) in MEMBERS {
        repeat(user, "/api/users", json!({"user_id": user, "investment": investment})).await;
    }
    for number in 0.. {
        if stop.is_cancelled() {
            break;
        }
        let user = choices.of(&MEMBERS).map_or("", |(user, _)| user);
        let what = if choices.below(3) == 0 { "withdraw" } else { "invest" };
        let body = json!({"amount": 1 + choices.below(50)});
        repeat(&format!("movement-{number}"), &format!("/api/users/{user}/{what}"), body).await;
        tokio::time::sleep(choices.millis(200, 600)).await;
    }
    Ok(())
}
