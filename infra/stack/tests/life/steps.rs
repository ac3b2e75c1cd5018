//! What the tests of a signal's life do again and again.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _};
use time::Duration;

use crate::support::{Whole, eventually};

/// Longer than a claim holds.
pub(super) const BEYOND_THE_LEASE: Duration = Duration::seconds(31);

/// The id that the sender of this signal was given.
pub(super) fn id(signal: &Value) -> &str {
    signal["signal_id"].as_str().expect("a signal's id")
}

/// A report of terminal `T` on a claim, with these fields besides.
pub(super) fn of(claimed: &Value, more: &Value) -> Value {
    let mut report = json!({"id": claimed["id"], "attempt": claimed["attempt"], "terminal": "T"});
    for (name, value) in more.as_object().expect("an object") {
        report[name] = value.clone();
    }
    report
}

/// The ids of these signals in their order.
pub(super) fn ids(signals: &[Value]) -> Vec<&str> {
    signals.iter().map(id).collect()
}

impl Whole {
    /// Posts a signal and waits until it is stored.
    pub(super) async fn stored(&self, body: Value) -> Value {
        let signal_id = self.post(body).await;
        eventually("the signal is stored", || async { self.operator.signal(&signal_id).await.expect("an answer") })
            .await
    }

    /// Stores a market order of a tenth of a lot that lives for an hour.
    pub(super) async fn buy(&self, symbol: &str) -> Value {
        self.stored(json!({"symbol": symbol, "action": "BUY", "volume": 0.1, "ttl_seconds": 3600})).await
    }

    /// Stores a market order and lets terminal `T` claim it.
    pub(super) async fn claimed(&self, symbol: &str) -> Value {
        let stored = self.buy(symbol).await;
        let claimed = self.poll("T").await;
        assert_eq!(ids(&claimed), [id(&stored)], "the one that was waiting");
        claimed[0].clone()
    }

    /// Stores a market order, and lets terminal `T` claim it and fall silent until its outcome is unknown.
    pub(super) async fn lapsed(&self, symbol: &str) -> Value {
        let claimed = self.claimed(symbol).await;
        self.sandbox.clock.advance(BEYOND_THE_LEASE);
        self.state(id(&claimed), "unknown").await;
        claimed
    }

    /// A signal as it is now.
    pub(super) async fn now(&self, signal: &Value) -> Value {
        self.operator.signal(id(signal)).await.expect("an answer").expect("a signal")
    }

    /// Waits until the regular look at all signals has been made with the clock as it is now.
    pub(super) async fn swept(&self) {
        let short = self.stored(json!({"symbol": "WITNESS", "action": "BUY", "ttl_seconds": 1})).await;
        self.sandbox.clock.advance(Duration::seconds(2));
        self.state(id(&short), "expired").await;
    }

    /// What the terminal must look up.
    pub(super) async fn unresolved(&self) -> Vec<Value> {
        let answer = self.operator.get("/api/signals/unresolved").await.expect("an answer");
        answer.as_array().expect("a list").clone()
    }

    /// Switches the account `main`.
    pub(super) async fn switch(&self, mode: &str) {
        let body = json!({"mode": mode, "reason": "a test"});
        let control = self.operator.post("/api/control", &body).await.expect("switched");
        assert_eq!(control["mode"], mode);
    }

    /// All trades by their tickets, oldest first.
    pub(super) async fn trades(&self) -> Vec<Value> {
        let answer = self.operator.get("/api/trades?limit=1000").await.expect("an answer");
        let mut trades = answer.as_array().expect("a list").clone();
        trades.reverse();
        trades
    }

    /// Sends what must be refused; the status and the code of the refusal.
    pub(super) async fn refused(&self, method: Method, path: &str, body: Value) -> (StatusCode, String) {
        let (status, answer) = self.operator.send(method, path, Some(&body)).await.expect("an answer");
        assert!(!status.is_success(), "{path} took {body}: {answer}");
        (status, answer["code"].as_str().expect("a code").to_owned())
    }

    /// A number from the database.
    pub(super) async fn count(&self, what: &str) -> i64 {
        let mut database = self.sandbox.database().await.expect("a connection");
        let query = sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {what}")));
        let count = query.fetch_one(&mut database).await.expect("a number");
        database.close().await.expect("it closes");
        count
    }
}
