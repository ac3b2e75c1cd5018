//! The alerts end to end: Debian's Prometheus with the rules as they are scrapes a running platform and evaluates them.
//! What is shortened is its clockwork: it looks every second instead of every 15. The rules that this waits for have no
//! `for`, so none of them is changed.
#![expect(clippy::unwrap_used, reason = "what several tests share may panic like a test")]

mod private;
mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;

use private::{Scratch, free_port};
use serde_json::{Value, json};
use support::{Whole, eventually};
use tokio::process::{Child, Command};

/// A Prometheus of its own; ends with this, or with the test.
struct Prometheus {
    process: Child,
    url: String,
}

impl Prometheus {
    /// Scrapes these metrics with the rules of this repository, its files in this folder.
    fn start(folder: &Path, metrics: &str) -> Self {
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../prometheus/rules.yml").canonicalize().unwrap();
        let target = metrics.trim_start_matches("http://").trim_end_matches("/metrics");
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [rules],
            "scrape_configs": [{"job_name": "mt5-community", "static_configs": [{"targets": [target]}]}],
        });
        // YAML takes JSON.
        std::fs::write(folder.join("prometheus.yml"), config.to_string()).unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "prometheus", "--log.level=warn"])
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("Debian's prometheus is installed");
        Self { process, url: format!("http://{address}") }
    }

    async fn get(&self, path: &str) -> Option<Value> {
        let answer = reqwest::get(format!("{}{path}", self.url)).await.ok()?;
        serde_json::from_str(&answer.text().await.ok()?).ok()
    }

    /// The value of a metric that has one series alone, once it was scraped.
    async fn value(&self, query: &str) -> Option<String> {
        let answer = self.get(&format!("/api/v1/query?query={query}")).await?;
        answer["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
    }

    /// The names of the alerts that fire.
    async fn firing(&self) -> Option<BTreeSet<String>> {
        let answer = self.get("/api/v1/alerts").await?;
        let alerts = answer["data"]["alerts"].as_array()?.iter().filter(|alert| alert["state"] == "firing");
        Some(alerts.map(|alert| alert["labels"]["alertname"].as_str().unwrap_or_default().to_owned()).collect())
    }

    /// Waits until these fire, and no others.
    async fn fires(&self, names: &[&str]) {
        let wanted: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        eventually(&format!("{names:?} fire"), || async {
            (self.firing().await.as_ref() == Some(&wanted)).then_some(())
        })
        .await;
    }

    async fn stop(mut self) {
        self.process.kill().await.unwrap();
    }
}

/// Goal: an execution that fails and a report that contradicts what is known reach who looks at Prometheus, with the
/// figures; the second one stays until an operator has looked at it, and ends then.
#[tokio::test]
async fn a_failed_execution_and_an_anomaly_fire_and_an_acknowledged_anomaly_ends() {
    let whole = Whole::start(&[]).await;
    let scratch = Scratch::new();
    let prometheus = Prometheus::start(&scratch.root, &whole.platform.metrics);
    prometheus.fires(&["Watchdog"]).await;
    let failed = "pipeline_signals_ended_total%7Bstate%3D%22failed%22%7D";
    eventually("the counter is known before its first event", || async {
        prometheus.value(failed).await.filter(|value| value == "0")
    })
    .await;

    let buy = async || {
        let id = whole.post(json!({"symbol": "EURUSD", "action": "BUY", "volume": 0.1, "ttl_seconds": 3600})).await;
        whole.state(&id, "pending").await;
        whole.poll("T").await.remove(0)
    };
    let refused = buy().await;
    let (id, attempt) = (&refused["id"], &refused["attempt"]);
    let report = json!({"id": id, "attempt": attempt, "terminal": "T", "status": "failed", "retcode": 10_019});
    assert_eq!(whole.confirm(report).await["state"], "failed");
    prometheus.fires(&["FailedExecution", "Watchdog"]).await;

    let done = buy().await;
    for (terminal, ticket, anomaly) in [("T", 7, Value::Null), ("U", 8, json!("second_ticket"))] {
        let report = json!({"id": done["id"], "attempt": done["attempt"], "terminal": terminal, "ticket": ticket,
            "deal": ticket, "volume": 0.1, "price": 1.1});
        assert_eq!(whole.confirm(report).await["anomaly"], anomaly);
    }
    prometheus.fires(&["Anomaly", "FailedExecution", "Watchdog"]).await;
    let alerts = prometheus.get("/api/v1/alerts").await.unwrap()["data"]["alerts"].clone();
    let told = alerts.as_array().unwrap().iter().find(|alert| alert["labels"]["alertname"] == "Anomaly").unwrap();
    let summary = "1 reports on account main contradict what was known: second_ticket";
    assert_eq!((&told["annotations"]["summary"], &told["labels"]["severity"]), (&json!(summary), &json!("critical")));

    let open = whole.operator.get("/api/anomalies?acknowledged=false").await.unwrap();
    let path = format!("/api/anomalies/{}/acknowledge", open[0]["anomaly_id"]);
    whole.operator.post(&path, &json!({"note": "the second position is closed"})).await.unwrap();
    prometheus.fires(&["FailedExecution", "Watchdog"]).await;
    prometheus.stop().await;
    whole.finish().await;
}
