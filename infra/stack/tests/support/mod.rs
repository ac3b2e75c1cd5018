//! What the tests of the whole platform share: a sandbox on the servers of the test run, and waiting for a condition.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

pub mod port;

use std::future::Future;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use stack::client::Client;
use stack::platform::Platform;
use stack::sandbox::Sandbox;

/// How long a condition may take to come true.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// The servers of this test run; `infra/test` starts them.
pub fn servers() -> (String, String) {
    let variable = |name| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run infra/test"));
    (variable("TEST_DATABASE_URL"), variable("TEST_AMQP_URL"))
}

/// A sandbox with a running platform and a client that may do everything.
pub struct Whole {
    pub sandbox: Sandbox,
    pub platform: Platform,
    pub operator: Client,
}

impl Whole {
    /// With terminals' keys for `main` and these accounts.
    pub async fn start(accounts: &[&str]) -> Self {
        let (database_url, amqp_url) = servers();
        let accounts: Vec<String> = accounts.iter().map(|account| (*account).to_owned()).collect();
        let sandbox = Sandbox::create(&database_url, &amqp_url, &accounts).await.expect("a sandbox");
        let platform = sandbox.start().await.expect("a platform");
        let operator = sandbox.operator(&platform).expect("a client");
        Self { sandbox, platform, operator }
    }

    /// Ends the platform and removes the sandbox; what a failed test leaves, the end of the test run removes.
    pub async fn finish(self) {
        assert!(self.platform.stop().await, "a task of the platform failed");
        self.sandbox.remove().await.expect("the sandbox is removed");
    }

    /// Posts a signal that must be accepted; its id.
    pub async fn post(&self, body: Value) -> String {
        let answer = self.operator.post("/api/signal", &body).await.expect("accepted");
        answer["signal_id"].as_str().expect("an id").to_owned()
    }

    /// Claims what the terminal `name` of `main` is handed at once.
    pub async fn poll(&self, name: &str) -> Vec<Value> {
        self.poll_with(&format!("limit=10&protocol=2&terminal={name}")).await
    }

    /// Polls with these parameters.
    pub async fn poll_with(&self, query: &str) -> Vec<Value> {
        let answer = self.operator.get(&format!("/api/signals/pending?{query}")).await.expect("a poll");
        answer.as_array().expect("a list").clone()
    }

    /// Confirms for `main`, which must be taken.
    pub async fn confirm(&self, body: Value) -> Value {
        self.operator.post("/api/trades/confirm", &body).await.expect("taken")
    }

    /// Waits until a signal is in this state, and returns it.
    pub async fn state(&self, signal_id: &str, state: &str) -> Value {
        eventually(&format!("signal {signal_id} is {state}"), || async {
            let signal = self.operator.signal(signal_id).await.expect("an answer")?;
            (signal["state"] == state).then_some(signal)
        })
        .await
    }

    /// Writes these limits of `main` and leaves the others as they are; all limits.
    pub async fn limit(&self, changes: Value) -> Value {
        let path = "/api/accounts/main/risk";
        let mut limits = self.operator.get(path).await.expect("limits");
        for (name, value) in changes.as_object().expect("an object") {
            limits[name] = value.clone();
        }
        let (status, answer) = self.operator.send(Method::PUT, path, Some(&limits)).await.expect("an answer");
        assert!(status.is_success(), "{limits}: {answer}");
        answer
    }

    /// Sends the account's figures as our Expert Advisor does, with nothing open.
    pub async fn report(&self, balance: &str, net_deposits: &str) -> Value {
        let body = json!({"balance": balance, "equity": balance, "margin": 0, "free_margin": balance, "profit": 0,
            "net_deposits": net_deposits, "currency": "USD", "login": 1});
        self.operator.post("/api/account/update", &body).await.expect("taken")
    }
}

/// Waits for a condition; panics with `what` when it does not come true within [`DEADLINE`].
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = look().await {
            return value;
        }
        assert!(started.elapsed() < DEADLINE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
