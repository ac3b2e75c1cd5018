//! A small history made by the platform at work: members, openings, closings, a repetition, a refusal, an answer that its
//! sender never saw, and a signal that fails.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use stack::check::history::History;
use stack::check::log::Recorder;
use stack::market::{self, Market, MarketConfig};
use stack::terminal;
use tokio::io::AsyncWriteExt as _;
use tokio_util::sync::CancellationToken;

use crate::support::{DEADLINE, Whole, eventually};

/// The key of the post whose sender hung up before the answer.
pub(crate) const HUNG_UP: &str = "hung-up";

/// The platform after it did its work, with nothing under way.
pub(crate) struct Story {
    whole: Whole,
    folder: PathBuf,
}

impl Story {
    pub(crate) async fn told() -> Self {
        let whole = Whole::start(&[]).await;
        let folder = std::env::temp_dir().join(format!("check-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let story = Self { whole, folder };
        let market = Market::open(Some(&story.market()), MarketConfig::default(), market::now()).expect("a market");
        let config = terminal::Config {
            tick_interval: Some(Duration::from_millis(50)),
            update_interval: Duration::from_millis(200),
            wait: Duration::from_secs(1),
            ..terminal::Config::new(
                &story.whole.platform.url,
                story.whole.sandbox.keys.terminal(),
                reqwest::Client::builder().no_proxy().build().expect("a client"),
            )
        };
        let stop = CancellationToken::new();
        let trading = tokio::spawn(terminal::run(config, Arc::new(Mutex::new(market)), None, stop.clone()));
        story.members().await;
        story.signals().await;
        let clean = story.drained().await;
        assert!(clean.is_empty(), "{clean:#?}");
        stop.cancel();
        trading.await.expect("no panic").expect("the terminal ends in order");
        story
    }

    async fn members(&self) {
        eventually("the account is known", || async {
            self.whole.operator.get("/api/account/stats").await.ok().filter(|stats| stats["account"].is_object())
        })
        .await;
        for (user, investment) in [("anna", 3_000), ("ben", 3_333), ("carla", 3_667)] {
            let body = json!({"user_id": user, "investment": investment});
            self.whole.operator.post("/api/users", &body).await.expect("a member");
        }
    }

    async fn signals(&self) {
        let recorder = Recorder::create(&self.log()).expect("a log");
        let buy = |symbol: &str| json!({"symbol": symbol, "action": "BUY", "volume": 0.1, "ttl_seconds": 600});
        let close = |symbol: &str| json!({"symbol": symbol, "action": "CLOSE"});
        let steps = [
            ("1", buy("EURUSD"), 200),
            ("2", buy("EURUSD"), 200),
            ("3", buy("GBPUSD"), 200),
            ("3", buy("GBPUSD"), 200),
            ("4", close("EURUSD"), 200),
            ("5", buy("EURUSD"), 200),
            ("6", json!({"symbol": "EURUSD", "action": "BUY", "volume": -1}), 422),
            ("7", buy("NOSUCH"), 200),
            (
                "8",
                json!({"symbol": "USDJPY", "action": "BUY", "order_type": "limit", "entry": 100, "volume": 0.1}),
                200,
            ),
        ];
        for (key, body, status) in &steps {
            self.post(&recorder, key, body, *status).await;
        }
        self.hang_up(&recorder, &buy("GBPUSD")).await;
        let withdrawal = json!({"amount": 100});
        self.whole.operator.post("/api/users/anna/withdraw", &withdrawal).await.expect("a withdrawal");
        self.post(&recorder, "9", &json!({"action": "CLOSE_ALL"}), 200).await;
    }

    async fn post(&self, recorder: &Recorder, key: &str, body: &Value, wanted: u16) {
        let mut sent = body.clone();
        sent["signal_id"] = json!(key);
        let post = recorder.sent(market::now(), Some(key), body).expect("a line");
        let (status, answer) =
            self.whole.operator.send(Method::POST, "/api/signal", Some(&sent)).await.expect("an answer");
        let signal_id = answer["signal_id"].as_str().filter(|_| status.is_success()).and_then(|id| id.parse().ok());
        recorder.answered(post, market::now(), Some(status.as_u16()), signal_id).expect("a line");
        assert_eq!(status, wanted, "{answer}");
    }

    /// Posts, and goes away once the signal is stored, without reading what was answered.
    async fn hang_up(&self, recorder: &Recorder, body: &Value) {
        let address = self.whole.platform.url.trim_start_matches("http://");
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
        let post = recorder.sent(market::now(), Some(HUNG_UP), body).expect("a line");
        let (key, body) = (self.whole.sandbox.keys.generator(), body.to_string());
        let request = format!(
            "POST /api/signal HTTP/1.1\r\nHost: {address}\r\nX-API-Key: {key}\r\nIdempotency-Key: {HUNG_UP}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        eventually("it is stored", || async {
            let mut db = self.whole.sandbox.database().await.expect("a connection");
            let stored = "select 1 from signals where idempotency_key = $1";
            sqlx::query(stored).bind(HUNG_UP).fetch_optional(&mut db).await.expect("an answer")
        })
        .await;
        drop(stream);
        recorder.answered(post, market::now(), None, None).expect("a line");
    }

    /// Waits until nothing is under way any more; what the checker says of that moment.
    async fn drained(&self) -> Vec<stack::check::history::Violation> {
        let started = Instant::now();
        loop {
            let found = stack::check::violations(&self.history().await);
            if found.is_empty() || started.elapsed() > DEADLINE {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What the three witnesses say now.
    pub(crate) async fn history(&self) -> History {
        let mut db = self.whole.sandbox.database().await.expect("a connection");
        stack::check::read(&mut db, &[self.log()], &self.market(), "main", Duration::ZERO).await.expect("a history")
    }

    pub(crate) fn market(&self) -> PathBuf {
        self.folder.join("market")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("sender.jsonl")
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn database_url(&self) -> &str {
        &self.whole.sandbox.settings.database_url
    }

    pub(crate) async fn removed(self) {
        self.whole.finish().await;
        std::fs::remove_dir_all(&self.folder).expect("the folder is removed");
    }
}
