//! A platform that has told all it can.

use common::topology::Stream;
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use reqwest::StatusCode;
use serde_json::{Value, json};
use time::Duration;

use crate::support::port::free_port;
use crate::support::{Whole, eventually};

/// How long one of the signals waits for its terminal.
pub(super) const WAIT: Duration = Duration::seconds(5);
/// How long one is in the hands of a terminal that says nothing.
pub(super) const SILENCE: Duration = Duration::seconds(31);

/// A platform whose audit log had entries before it started, since that is when it looks at them. Its metrics stay where they
/// are when it starts again.
pub(super) async fn with_books() -> Whole {
    let Whole { mut sandbox, platform, operator } = Whole::start(&["second"]).await;
    operator.post("/api/users", &json!({"user_id": "anna", "investment": 3_000})).await.unwrap();
    operator.post("/api/control", &json!({"mode": "active", "reason": "a test"})).await.unwrap();
    assert!(platform.stop().await);
    sandbox.settings.metrics_addr = ([127, 0, 0, 1], free_port()).into();
    let platform = sandbox.start().await.unwrap();
    let operator = sandbox.operator(&platform).unwrap();
    Whole { sandbox, platform, operator }
}

impl Whole {
    /// What `/metrics` answers.
    pub(super) async fn scrape(&self) -> String {
        reqwest::get(&self.platform.metrics).await.unwrap().text().await.unwrap()
    }

    /// The sum of a counter's series, or the value of one.
    pub(super) async fn value(&self, name: &str) -> f64 {
        let text = self.scrape().await;
        let own = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        text.lines().filter(own).map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
    }

    /// Reports of the account, signals that come to each of their ends, and all that can go wrong on the way.
    pub(super) async fn drive(&self) {
        self.report("10000", "10000").await;
        self.operator.post("/api/users", &json!({"user_id": "ben", "investment": 7_000})).await.unwrap();
        self.report("10500", "10000").await;
        let other = json!({"balance": 1, "equity": 1, "margin": 0, "free_margin": 1, "profit": 0, "login": 2});
        let (status, _) = self.operator.send(reqwest::Method::POST, "/api/account/update", Some(&other)).await.unwrap();
        assert_eq!(status, StatusCode::CONFLICT);

        let done = self.claimed().await;
        for (terminal, ticket, anomaly) in [("T", 7, Value::Null), ("U", 8, json!("second_ticket"))] {
            let report = of(&done, &json!({"terminal": terminal, "ticket": ticket, "deal": ticket, "price": 1.1}));
            assert_eq!(self.confirm(report).await["anomaly"], anomaly);
        }
        // It waits a little for its terminal.
        self.stored(3_600).await;
        self.sandbox.clock.advance(WAIT);
        let refused = self.poll("T").await.remove(0);
        let report = of(&refused, &json!({"terminal": "T", "status": "failed", "retcode": 10_019}));
        assert_eq!(self.confirm(report).await["state"], "failed");
        let withdrawn = self.stored(3_600).await;
        self.operator.post(&format!("/api/signals/{withdrawn}/cancel"), &json!({})).await.unwrap();
        let lapsed = self.claimed().await;
        let old = self.stored(30).await;
        self.sandbox.clock.advance(SILENCE);
        self.state(lapsed["signal_id"].as_str().unwrap(), "unknown").await;
        self.state(&old, "expired").await;
        let report = of(&lapsed, &json!({"terminal": "T", "ticket": 9, "deal": 9, "price": 1.1}));
        assert_eq!(self.confirm(report).await["state"], "executed");

        for stream in [self.sandbox.signals(), self.sandbox.account_updates()] {
            self.publish_rubbish(&stream).await;
        }
        eventually("both are kept aside", || async {
            (self.value("pipeline_dead_letters_total").await >= 2.0).then_some(())
        })
        .await;
    }

    async fn stored(&self, ttl_seconds: i64) -> String {
        let signal = json!({"symbol": "EURUSD", "action": "BUY", "volume": 0.1, "ttl_seconds": ttl_seconds});
        let signal_id = self.post(signal).await;
        self.state(&signal_id, "pending").await;
        signal_id
    }

    async fn claimed(&self) -> Value {
        self.stored(3_600).await;
        self.poll("T").await.remove(0)
    }

    async fn publish_rubbish(&self, stream: &Stream) {
        let url = &self.sandbox.settings.amqp_url;
        let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let (name, options) = (stream.name.as_str(), BasicPublishOptions::default());
        let properties = BasicProperties::default();
        channel.basic_publish(name.into(), name.into(), options, b"rubbish", properties).await.unwrap().await.unwrap();
        connection.close(200, "bye".into()).await.unwrap();
    }
}

/// A report on a claim, with these fields besides.
fn of(claimed: &Value, more: &Value) -> Value {
    let mut report = json!({"id": claimed["id"], "attempt": claimed["attempt"], "volume": 0.1});
    for (name, value) in more.as_object().unwrap() {
        report[name] = value.clone();
    }
    report
}
