//! A platform under watch: a real Prometheus scrapes it and judges the rules, a real Alertmanager tells of them, and what it
//! posts is kept. What is shortened is said at each place, and nothing but that is.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::Uri;
use serde_json::{Value, json};
use stack::servers::observers::{Observation, Observers, RULES};
use tokio::net::TcpListener;

use crate::private::within;
use crate::support::eventually;

/// What is promised: an alert arrives within this time.
pub(super) const ARRIVES: Duration = Duration::from_secs(30);

/// A change to a rule: its alert, the text, what takes its place, and in how many lines.
pub(super) type Shortening = (&'static str, &'static str, &'static str, usize);

/// The waits of Alertmanager, with the same meaning; `repeat_interval` of people stays as it is.
const WAITS: [(&str, &str); 4] = [
    ("  group_wait: 5s", "  group_wait: 1s"),
    ("  group_interval: 30s", "  group_interval: 1s"),
    ("      group_interval: 1m", "      group_interval: 2s"),
    ("      repeat_interval: 50s", "      repeat_interval: 1s"),
];

/// One request that arrived.
#[derive(Clone, Debug)]
pub(super) struct Post {
    pub(super) at: Instant,
    pub(super) path: String,
    pub(super) body: Value,
}

type Posts = Arc<Mutex<Vec<Post>>>;

/// Prometheus, Alertmanager and who is told; both servers end with this, or with the test.
pub(super) struct Watch {
    observers: Observers,
    posts: Posts,
}

impl Watch {
    /// Watches these metrics every second, with the rules of this repository but for these changes, its files in this
    /// folder. People are told by webhook and in Telegram's place.
    pub(super) async fn start(folder: &Path, metrics: &str, shortenings: &[Shortening]) -> Self {
        let watch = Self::observe(folder, metrics, &rules(shortenings), None).await;
        let up = "up%7Bjob%3D%22mt5-community%22%7D";
        eventually("the platform is scraped", || async { watch.value(up).await.filter(|up| up == "1") }).await;
        watch
    }

    /// The same with any rules, whether or not there is something to scrape. People are told by this webhook in place of
    /// the one whose posts are kept.
    pub(super) async fn observe(folder: &Path, metrics: &str, rules: &str, webhook: Option<&str>) -> Self {
        let posts = Posts::default();
        let told = serve(posts.clone()).await;
        let variables = [
            ("ALERT_WEBHOOK_URL", webhook.map_or_else(|| format!("http://{told}/people"), str::to_owned)),
            ("ALERT_WATCHDOG_URL", format!("http://{told}/watchdog")),
            ("ALERT_TELEGRAM_TOKEN", "1:'secret".to_owned()),
            ("ALERT_TELEGRAM_CHAT_ID", "-100".to_owned()),
        ];
        let variables = unset().chain(variables.map(|(name, value)| (name.to_owned(), value)));
        let mut observation = Observation::new(variables).await.unwrap();
        observation.interval_seconds = 1;
        rules.clone_into(&mut observation.rules);
        for (from, to) in WAITS {
            replace(&mut observation.receivers, &format!("\n{from}\n"), &format!("\n{to}\n"));
        }
        let telegram = format!("parse_mode: ''\n        api_url: 'http://{told}/telegram'\n");
        replace(&mut observation.receivers, "parse_mode: ''\n", &telegram);
        let observers = Observers::start(&observation, folder, metrics).await.unwrap();
        Self { observers, posts }
    }

    /// Gives Alertmanager alerts with these labels, as Prometheus does.
    pub(super) async fn post(&self, labels: &[Value]) {
        let alerts: Vec<Value> = labels.iter().map(|labels| json!({"labels": labels})).collect();
        let url = format!("{}/api/v2/alerts", self.observers.alertmanager);
        let answer = reqwest::Client::new().post(url).json(&alerts).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }

    async fn get(&self, url: &str) -> Option<Value> {
        let answer = reqwest::get(url).await.ok()?;
        serde_json::from_str(&answer.text().await.ok()?).ok()
    }

    /// An answer of Prometheus.
    pub(super) async fn prometheus(&self, path: &str) -> Option<Value> {
        self.get(&format!("{}{path}", self.observers.prometheus)).await
    }

    /// The value of a metric that has one series alone, once it was scraped.
    pub(super) async fn value(&self, query: &str) -> Option<String> {
        let answer = self.prometheus(&format!("/api/v1/query?query={query}")).await?;
        answer["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
    }

    /// The names of the alerts that fire.
    pub(super) async fn firing(&self) -> Option<BTreeSet<String>> {
        let answer = self.prometheus("/api/v1/alerts").await?;
        let alerts = answer["data"]["alerts"].as_array()?.iter().filter(|alert| alert["state"] == "firing");
        Some(alerts.map(|alert| text(&alert["labels"]["alertname"])).collect())
    }

    /// Waits until these fire, and no others.
    pub(super) async fn fires(&self, names: &[&str]) {
        let wanted = set(names);
        eventually(&format!("{names:?} fire"), || async {
            (self.firing().await.as_ref() == Some(&wanted)).then_some(())
        })
        .await;
    }

    /// Waits until none of these fires.
    pub(super) async fn ends(&self, names: &[&str]) {
        within(ARRIVES, &format!("{names:?} fire no more"), || async {
            self.firing().await.is_some_and(|firing| firing.is_disjoint(&set(names)))
        })
        .await;
    }

    /// The labels of all that Alertmanager holds back.
    pub(super) async fn held_back(&self) -> Vec<Value> {
        let url = format!("{}/api/v2/alerts", self.observers.alertmanager);
        let Some(Value::Array(alerts)) = self.get(&url).await else { return Vec::new() };
        let held = alerts.into_iter().filter(|alert| alert["status"]["inhibitedBy"] != json!([]));
        held.map(|mut alert| alert["labels"].take()).collect()
    }

    /// Waits until Alertmanager has these, and holds them back.
    pub(super) async fn holds_back(&self, names: &[&str]) {
        within(ARRIVES, &format!("{names:?} are held back"), || async {
            let held = self.held_back().await;
            held.iter().map(|labels| text(&labels["alertname"])).collect::<BTreeSet<_>>().is_superset(&set(names))
        })
        .await;
    }

    /// All that has arrived at a path.
    pub(super) fn posts(&self, path: &str) -> Vec<Post> {
        self.posts.lock().unwrap().iter().filter(|post| post.path == path).cloned().collect()
    }

    /// The names of all that people were told of by webhook.
    pub(super) fn told(&self) -> BTreeSet<String> {
        let posts = self.posts("/people");
        posts.iter().map(|post| text(&post.body["groupLabels"]["alertname"])).collect()
    }

    /// Waits until people are told that this one fires, or is `resolved`; the message, and how long that took.
    pub(super) async fn arrives(&self, name: &str, status: &str, since: Instant) -> Value {
        let found = || {
            let posts = self.posts("/people").into_iter().filter(|post| post.at >= since);
            posts
                .into_iter()
                .find(|post| post.body["groupLabels"]["alertname"] == name && post.body["status"] == status)
        };
        within(ARRIVES, &format!("{name} arrives as {status}"), || async { found().is_some() }).await;
        let post = found().unwrap();
        println!("{name} arrived as {status} after {:.1} s", (post.at - since).as_secs_f64());
        post.body
    }

    /// Waits until the dead man's switch has heard twice more.
    pub(super) async fn beats_twice(&self) {
        let before = self.posts("/watchdog").len();
        within(ARRIVES, "the watchdog is heard twice", || async { self.posts("/watchdog").len() >= before + 2 }).await;
    }

    pub(super) async fn stop(self) {
        self.observers.stop().await.unwrap();
    }
}

/// The variables `ALERT_…` of whoever runs the tests, each empty: nobody else is to be told of what happens here.
fn unset() -> impl Iterator<Item = (String, String)> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    names.filter(|name| name.starts_with("ALERT_")).map(|name| (name, String::new()))
}

/// The rules of this repository but for these changes.
pub(super) fn rules(shortenings: &[Shortening]) -> String {
    let mut rules = RULES.to_owned();
    for change in shortenings {
        shorten(&mut rules, change);
    }
    rules
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Replaces a text that is there once.
fn replace(text: &mut String, from: &str, to: &str) {
    assert_eq!(text.matches(from).count(), 1, "{from:?} in:\n{text}");
    *text = text.replace(from, to);
}

/// Changes a rule in so many lines, and nothing else.
fn shorten(rules: &mut String, (alert, from, to, lines): &Shortening) {
    let (mut own, mut changed) = (false, 0);
    let shorten = |line: &str| {
        if let Some((_, name)) = line.split_once("- alert: ") {
            own = name == *alert;
        }
        if !own || !line.contains(from) {
            return line.to_owned();
        }
        changed += 1;
        line.replace(from, to)
    };
    let shortened: Vec<String> = rules.lines().map(shorten).collect();
    assert_eq!(changed, *lines, "lines of {alert} with {from:?}");
    *rules = shortened.join("\n");
}

/// Takes whatever is posted; the address. The answer is the one that Telegram gives, which the others do not read.
async fn serve(posts: Posts) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(take).with_state(posts);
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn take(State(posts): State<Posts>, uri: Uri, body: String) -> String {
    let body = serde_json::from_str(&body).unwrap_or(Value::String(body));
    posts.lock().unwrap().push(Post { at: Instant::now(), path: uri.path().to_owned(), body });
    json!({"ok": true, "result": {"message_id": 1, "date": 1, "chat": {"id": -100, "type": "group"}}}).to_string()
}
