//! Debian's Prometheus, which looks at what a test runs, and the dashboards whose panels ask it.
#![allow(dead_code, unreachable_pub, reason = "a module of test binaries, of the bridge's too")]

pub mod dashboards;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use common::clock::Clock;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::process::{Child, Command};

use crate::support::eventually;
use crate::support::port::free_port;

/// How often it looks, and how far the points of a graph are apart.
const INTERVAL: Duration = Duration::from_millis(500);
/// What Grafana makes of `$__rate_interval` here: four times the interval.
pub const RATE_INTERVAL: &str = "2s";

/// A Prometheus of its own with the alert rules; ends with this.
pub struct Prometheus {
    process: Child,
    url: String,
}

/// A span of time: seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    from: f64,
    to: f64,
}

impl Prometheus {
    /// Looks at the metrics of this address, its files in this folder, and judges the rules as often.
    pub fn start(folder: &Path, address: &str) -> Self {
        let rules =
            Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|root| root.join("infra/prometheus/rules.yml"));
        let rules = rules.into_iter().find(|path| path.exists()).expect("the rules");
        let config = json!({
            "global": {"scrape_interval": interval(), "scrape_timeout": interval(), "evaluation_interval": interval()},
            "rule_files": [rules],
            "scrape_configs": [{"job_name": "test", "static_configs": [{"targets": [address]}]}],
        });
        // YAML takes JSON.
        std::fs::write(folder.join("prometheus.yml"), config.to_string()).expect("it is written");
        let own = format!("127.0.0.1:{}", free_port());
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "prometheus", "--log.level=warn"])
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()))
            .arg(format!("--web.listen-address={own}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("Debian's prometheus is installed");
        Self { process, url: format!("http://{own}") }
    }

    /// What it answers to a question; nothing while it does not answer. Panics where it finds the question wrong.
    async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Option<Value> {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let answer = client.get(format!("{}/api/v1/{path}", self.url)).query(parameters).send().await.ok()?;
        let answer: Value = serde_json::from_str(&answer.text().await.ok()?).ok()?;
        assert_eq!(answer["status"], "success", "{parameters:?}: {answer}");
        Some(answer["data"].clone())
    }

    /// Waits until a question has an answer that is not empty.
    pub async fn sees(&self, expr: &str) {
        eventually(&format!("Prometheus sees {expr}"), || async {
            let data = self.ask("query", &[("query", expr)]).await?;
            (!data["result"].as_array()?.is_empty()).then_some(())
        })
        .await;
    }

    /// Waits until it has looked so often from now on, and returns that time.
    pub async fn watches(&self, looks: u32) -> Window {
        let from = now();
        eventually(&format!("Prometheus looks {looks} times"), || async {
            let seen = format!("timestamp(up) > {from} + {}", (INTERVAL * looks).as_secs_f64());
            let data = self.ask("query", &[("query", &seen)]).await?;
            (!data["result"].as_array()?.is_empty()).then_some(())
        })
        .await;
        Window { from, to: now() }
    }

    /// The same, until it was answered at each look: where that took too long, the process seems to be down.
    pub async fn watches_without_a_gap(&self, looks: u32) -> Window {
        loop {
            let window = self.watches(looks).await;
            if self.points("up", window).await.iter().all(|(_, up)| up == "1") {
                return window;
            }
        }
    }

    /// The points of a graph: series with time left out, each with every value that it has in this window. What is not
    /// a number is no point.
    pub async fn points(&self, expr: &str, window: Window) -> BTreeSet<(String, String)> {
        let (from, to) = (window.from.to_string(), window.to.to_string());
        let parameters = [("query", expr), ("start", &from), ("end", &to), ("step", &interval())];
        let data = self.ask("query_range", &parameters).await.expect("an answer");
        let mut points = BTreeSet::new();
        for series in data["result"].as_array().expect("series") {
            let values = series["values"].as_array().expect("values").iter().filter_map(|value| value[1].as_str());
            let numbers = values.filter(|value| value.parse().is_ok_and(f64::is_finite));
            points.extend(numbers.map(|value| (series["metric"].to_string(), value.to_owned())));
        }
        points
    }

    /// The values of a label of a metric, as a dashboard's variable lists them.
    pub async fn label_values(&self, metric: &str, label: &str) -> Vec<String> {
        let data = self.ask(&format!("label/{label}/values"), &[("match[]", metric)]).await.expect("an answer");
        let values = data.as_array().expect("values").iter();
        values.map(|value| value.as_str().expect("a text").to_owned()).collect()
    }

    /// Ends it.
    pub async fn stop(mut self) {
        self.process.kill().await.expect("it ends");
    }
}

impl Window {
    /// From now on; [`Window::closed`] ends it.
    pub fn open() -> Self {
        Self { from: now(), to: f64::INFINITY }
    }

    /// Until now.
    #[must_use]
    pub fn closed(self) -> Self {
        Self { to: now(), ..self }
    }
}

fn interval() -> String {
    format!("{}ms", INTERVAL.as_millis())
}

fn now() -> f64 {
    (Clock::default().now() - OffsetDateTime::UNIX_EPOCH).as_seconds_f64()
}
