//! All that a dashboard can show, one after the other. What passes is held until Prometheus has seen it.

use futures_util::{StreamExt as _, stream};
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, ConnectionProperties};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use crate::drive::SILENCE;
use crate::observe::Prometheus;
use crate::support::{Whole, eventually, servers};

/// More signals than the broker gives a service before it wants some back.
const CROWD: u32 = 1_024 + 7;
/// Requests under way at once.
const AT_ONCE: usize = 32;

impl Whole {
    /// Puts a platform under load that has a report of its account and a member. It is another one at the end.
    pub(crate) async fn under_load(self, prometheus: &Prometheus) -> Self {
        self.drive().await;
        self.leave_signals(prometheus).await;
        self.move_account(prometheus).await;
        self.crowd(prometheus).await;
        self.imbalance(prometheus).await;
        self.lose_database(prometheus).await;
        self.start_again(prometheus).await
    }

    async fn buy(&self, signal_id: &str, ttl_seconds: u32) -> Value {
        let body = json!({"signal_id": signal_id, "symbol": "EURUSD", "action": "BUY", "volume": 0.1,
            "ttl_seconds": ttl_seconds});
        self.operator.post("/api/signal", &body).await.unwrap()
    }

    /// One signal that a terminal took and says nothing about, and one that nobody takes.
    async fn leave_signals(&self, prometheus: &Prometheus) {
        let unknown = self.buy("unknown", 3_600).await;
        self.state(unknown["signal_id"].as_str().unwrap(), "pending").await;
        self.poll("T").await;
        let waiting = self.buy("waiting", 3_600).await;
        self.state(waiting["signal_id"].as_str().unwrap(), "pending").await;
        self.sandbox.clock.advance(SILENCE);
        for state in ["unknown", "pending"] {
            prometheus.sees(&format!("pipeline_oldest_signal_age_seconds{{state=\"{state}\"}} > 0")).await;
        }
    }

    /// An account that trades while a member joins, then loses and may trade no more, then is halted without its broker.
    async fn move_account(&self, prometheus: &Prometheus) {
        let mut figures = json!({"balance": 10_400, "equity": 10_600, "margin": 300, "free_margin": 10_300, "profit": 200,
            "net_deposits": 10_000, "open_positions": 2, "currency": "USD", "login": 1, "connected": true,
            "trade_allowed": true});
        let report = async |figures: &Value| {
            self.operator.post("/api/account/update", figures).await.unwrap();
        };
        report(&figures).await;
        self.operator.post("/api/users", &json!({"user_id": "cleo", "investment": 100})).await.unwrap();
        prometheus.sees("pipeline_account_margin > 0 and pipeline_terminal_trade_allowed == 1").await;
        prometheus.sees("pipeline_movements_pending > 0").await;
        (figures["equity"], figures["trade_allowed"]) = (5_000.into(), false.into());
        report(&figures).await;
        prometheus.sees("pipeline_account_daily_loss_latched == 1 and pipeline_terminal_trade_allowed == 0").await;
        figures["connected"] = false.into();
        report(&figures).await;
        self.operator.post("/api/control", &json!({"mode": "halted", "reason": "a test"})).await.unwrap();
        prometheus.sees("pipeline_terminal_connected == 0").await;
        prometheus.sees("pipeline_account_mode{mode=\"halted\"} == 1").await;
    }

    /// More signals than are taken from the queue, since the database does not let go of one table; and a message where
    /// nobody reads it.
    async fn crowd(&self, prometheus: &Prometheus) {
        let mut database = self.sandbox.database().await.unwrap();
        let mut stuck = database.begin().await.unwrap();
        stuck.execute("lock table signals in access exclusive mode").await.unwrap();
        let post = async |number| drop(self.buy(&format!("crowd-{number}"), 3_600).await);
        stream::iter(0..CROWD).for_each_concurrent(AT_ONCE, post).await;
        self.park().await;
        prometheus.sees("max(pipeline_queue_messages) > 0").await;
        prometheus.sees("pipeline_parked_messages > 0").await;
        prometheus.sees("max(pipeline_database_connections{state=\"used\"}) > 0").await;
        stuck.rollback().await.unwrap();
    }

    async fn park(&self) {
        let url = &self.sandbox.settings.amqp_url;
        let connection = lapin::Connection::connect(url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let (parked, options) = (self.sandbox.signals().parked, BasicPublishOptions::default());
        let confirm =
            channel.basic_publish("".into(), parked.as_str().into(), options, b"lost", BasicProperties::default());
        confirm.await.unwrap().await.unwrap();
        connection.close(200, "bye".into()).await.unwrap();
    }

    /// Somebody changes the members' units behind the platform's back.
    async fn imbalance(&self, prometheus: &Prometheus) {
        let mut database = self.sandbox.database().await.unwrap();
        let planted = "update holdings set units = units * 2 where account = 'main' and user_id = 'anna'";
        assert_eq!(database.execute(planted).await.unwrap().rows_affected(), 1);
        database.close().await.unwrap();
        self.report("10900", "10000").await;
        prometheus.sees("abs(pipeline_pool_imbalance{account=\"main\"}) > 0").await;
    }

    /// The database lets nobody in for a while.
    async fn lose_database(&self, prometheus: &Prometheus) {
        let (url, _) = servers();
        let mut admin = PgConnection::connect(&url).await.unwrap();
        let (_, name) = self.sandbox.settings.database_url.rsplit_once('/').unwrap();
        let mut alter = async |allowed: bool| {
            let statement = format!("alter database {name} with allow_connections {allowed}");
            admin.execute(AssertSqlSafe(statement)).await.unwrap();
            let end = format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'");
            admin.execute(AssertSqlSafe(end)).await.unwrap();
        };
        alter(false).await;
        prometheus.sees("pipeline_part_ready{need=\"database\"} == 0").await;
        let (status, _) = self.operator.send(Method::GET, "/api/signals", None).await.unwrap();
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        prometheus.sees("pipeline_http_request_seconds_count{route=\"/api/signals\",status=\"503\"}").await;
        alter(true).await;
        prometheus.sees("min(pipeline_part_ready{need=\"database\"}) == 1").await;
    }

    /// The process ends, and another one finds what was changed in the books, has forgotten which keys it saw, sends
    /// heartbeats, and lets a sender ask less.
    async fn start_again(self, prometheus: &Prometheus) -> Self {
        let Self { mut sandbox, platform, .. } = self;
        assert!(platform.stop().await);
        prometheus.sees("up == 0").await;
        sandbox.settings.limits.rate_per_key = 2;
        sandbox.settings.heartbeat = time::Duration::SECOND;
        let platform = sandbox.start().await.unwrap();
        let operator = sandbox.operator(&platform).unwrap();
        let whole = Self { sandbox, platform, operator };
        prometheus.sees("pipeline_books_differences > 0").await;
        let other = json!({"signal_id": "waiting", "symbol": "EURUSD", "action": "SELL", "volume": 0.1});
        whole.operator.post("/api/signal", &other).await.unwrap();
        prometheus.sees("pipeline_keys_reused_total > 0").await;
        // How long they take is told from the first one on, so the second one is the first that a rate shows.
        for confirmed in [1, 2] {
            whole.confirm_heartbeats().await;
            prometheus.sees(&format!("pipeline_heartbeat_seconds_count >= {confirmed}")).await;
        }
        prometheus.sees("pipeline_heartbeat_timestamp_seconds > 0").await;
        eventually("the key is refused", || async {
            let (status, _) = whole.operator.send(Method::GET, "/api/control", None).await.unwrap();
            (status == StatusCode::TOO_MANY_REQUESTS).then_some(())
        })
        .await;
        prometheus.sees("pipeline_http_refused_total > 0").await;
        prometheus.watches(4).await;
        whole
    }

    /// A terminal confirms what it is sent, with a key of its own.
    async fn confirm_heartbeats(&self) {
        let terminal = self.operator.with_key(self.sandbox.keys.terminal());
        let sent = eventually("a heartbeat goes out", || async {
            let path = "/api/signals/pending?limit=10&protocol=2&terminal=T&wait_ms=5000";
            let sent = terminal.get(path).await.unwrap().as_array().unwrap().clone();
            (!sent.is_empty()).then_some(sent)
        })
        .await;
        for signal in sent {
            assert_eq!(signal["action"], "PING", "the account is halted");
            let report =
                json!({"id": signal["id"], "attempt": signal["attempt"], "terminal": "T", "status": "executed"});
            terminal.post("/api/trades/confirm", &report).await.unwrap();
        }
    }
}
