//! Keys over the three services as processes of their own; and what of a key is found anywhere.

use std::time::{Duration, Instant};

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use stack::client::Client;
use stack::sandbox::Sandbox;

use super::steps::{SERVICES, ask, id, lets_in, text};
use crate::private::{Program, Scratch, within};
use crate::support::port::free_port;
use crate::support::{Whole, servers};

/// How soon a new or revoked key counts everywhere.
const SOON: Duration = Duration::from_secs(2);
const READY: Duration = Duration::from_secs(30);

/// A service as a process of its own.
struct Service {
    program: Program,
    url: String,
    metrics: String,
}

impl Service {
    fn spawn(scratch: &Scratch, sandbox: &Sandbox, name: &str) -> Self {
        let addresses = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
        let mut environment = sandbox.environment();
        for (variable, value) in ["HTTP_ADDR", "METRICS_ADDR"].into_iter().zip(&addresses) {
            environment.push((variable.to_owned(), value.clone()));
        }
        environment.push(("RUST_LOG".to_owned(), "debug".to_owned()));
        let program = Program::spawn(scratch, &["serve", "--only", name], &environment);
        let [api, metrics] = addresses;
        Self { program, url: format!("http://{api}"), metrics: format!("http://{metrics}/metrics") }
    }

    async fn ready(&self) {
        let client = Client::new(&self.url, "").unwrap();
        within(READY, "the service is ready", || async {
            client.send(Method::GET, "/readyz", None).await.is_ok_and(|(status, _)| status == 200)
        })
        .await;
    }

    /// A series of its metrics.
    async fn series(&self, name: &str, key_id: &str) -> Option<f64> {
        let all = reqwest::Client::builder().no_proxy().build().unwrap().get(&self.metrics).send().await.unwrap();
        let text = all.text().await.unwrap();
        let begin = format!("{name}{{key_id=\"{key_id}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&begin)).map(|value| value.parse().unwrap())
    }
}

/// Waits until every service says this of a key; how long the slowest took since `began`.
async fn everywhere(clients: &[Client], expected: bool, began: Instant) -> Duration {
    for (client, service) in clients.iter().zip(SERVICES) {
        within(Duration::from_secs(10), "every service knows", || async {
            lets_in(client, service.clone()).await == expected
        })
        .await;
    }
    began.elapsed()
}

/// Goal: over three processes a key counts everywhere within two seconds of its making, is refused everywhere within two
/// of its revocation or end, is counted by its id where it was used, and stands in no log and no table.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_counts_and_ends_at_every_service_within_two_seconds() {
    let (scratch, (database_url, amqp_url)) = (Scratch::new(), servers());
    let sandbox = Sandbox::create(&database_url, &amqp_url, &[]).await.unwrap();
    let mut services = ["ingest", "dispatcher", "distributor"].map(|name| Service::spawn(&scratch, &sandbox, name));
    for service in &services {
        service.ready().await;
    }
    let operator = Client::new(&services[1].url, sandbox.keys.operator()).unwrap();
    let clients_of = |key: &Value| {
        let client = |service: &Service| Client::new(&service.url, text(key)).unwrap();
        services.iter().map(client).collect::<Vec<_>>()
    };
    let body = json!({"principal": "all", "scopes": ["signals:write", "terminal", "read"], "account": "main"});
    let mut made = Vec::new();
    for _ in 0..3 {
        let key = operator.post("/api/keys", &body).await.unwrap();
        let clients = clients_of(&key);
        let known = everywhere(&clients, true, Instant::now()).await;
        operator.post(&format!("/api/keys/{}/revoke", id(&key)), &json!({})).await.unwrap();
        // A key once refused stays so: no service lets it in between two looks.
        let refused = everywhere(&clients, false, Instant::now()).await;
        println!("known everywhere after {known:?}, refused everywhere after {refused:?}");
        assert!(known < SOON && refused < SOON, "known after {known:?}, refused after {refused:?}");
        made.push(key);
    }
    // Rotation at once, and an end by time.
    let old = operator.post("/api/keys", &body).await.unwrap();
    everywhere(&clients_of(&old), true, Instant::now()).await;
    let rotate = json!({"overlap_seconds": 0, "ttl_seconds": 4});
    let asked = Instant::now();
    let new = operator.post(&format!("/api/keys/{}/rotate", id(&old)), &rotate).await.unwrap();
    let rotated = Instant::now();
    let known = everywhere(&clients_of(&new), true, rotated).await;
    let refused = everywhere(&clients_of(&old), false, rotated).await;
    assert!(known < SOON && refused < SOON, "known after {known:?}, refused after {refused:?}");
    let ended = everywhere(&clients_of(&new), false, rotated).await;
    assert!(asked.elapsed() >= Duration::from_secs(4), "expired after {:?}", asked.elapsed());
    assert!(ended < Duration::from_secs(6), "expired after {ended:?}");
    made.extend([old, new]);

    for service in &services {
        let (count, used) = ("pipeline_api_key_requests_total", "pipeline_api_key_last_used_timestamp_seconds");
        assert!(service.series(count, id(&made[0])).await.unwrap() >= 1.0);
        let now = (sandbox.clock.now() - time::OffsetDateTime::UNIX_EPOCH).as_seconds_f64();
        let age = now - service.series(used, id(&made[0])).await.unwrap();
        assert!((-2.0..60.0).contains(&age), "{age} s ago");
        // Nobody makes a series but who holds a key.
        let stranger = Client::new(&service.url, "mt5c_stranger_0123456789012345678901234567890123456789").unwrap();
        ask(&stranger, Method::GET, "/api/signals", Value::Null).await;
        assert_eq!(service.series(count, "stranger").await, None);
    }
    let keys = [sandbox.keys.operator(), sandbox.keys.generator(), sandbox.keys.terminal()];
    let texts: Vec<String> =
        keys.into_iter().map(str::to_owned).chain(made.iter().map(|key| text(key).to_owned())).collect();
    for service in &mut services {
        service.program.stop(Signal::TERM, Duration::from_secs(10)).await;
        let log = service.program.output();
        assert!(log.contains("started") && log.contains("DEBUG"), "a log that says something: {log}");
        assert_holds_none(&log, &texts, true);
    }
    sandbox.remove().await.unwrap();
}

/// Panics where a text holds a key, its secret, or (where that has no place) the secret's hash in hexadecimal.
fn assert_holds_none(text: &str, keys: &[String], hash_too: bool) {
    for key in keys {
        let secret = key.splitn(3, '_').nth(2).unwrap();
        let bare = &secret[..64];
        let hash = format!("{:x}", Sha256::digest(secret));
        assert!(!text.contains(bare), "a secret");
        assert!(!hash_too || !text.contains(&hash), "a hash");
    }
}

/// Goal: a key's text is in the one answer and nowhere else: not in a list, another answer, the table or the audit log;
/// nor is its hash, but in the one column; and no answer about keys is kept by a cache.
#[tokio::test]
async fn a_secret_is_answered_once_and_kept_nowhere() {
    let whole = Whole::start(&[]).await;
    let body = json!({"principal": "desk", "scopes": ["read"]});
    let first = whole.make(body).await;
    let rotated = whole.operator.post(&format!("/api/keys/{}/rotate", id(&first)), &json!({})).await.unwrap();
    let revoked = whole.operator.post(&format!("/api/keys/{}/revoke", id(&first)), &json!({})).await.unwrap();
    let keys = [&first, &rotated].map(|key| text(key).to_owned());
    let list = whole.operator.get("/api/keys").await.unwrap().to_string();
    assert!(list.contains(id(&first)) && list.contains(id(&rotated)));
    let old = [keys[0].clone()];
    assert_holds_none(&rotated.to_string(), &old, true);
    assert_holds_none(&format!("{list}{revoked}"), &keys, true);
    let table: String = whole.value("select string_agg(k::text, E'\\n') from api_keys k").await;
    let log: String = whole.value("select string_agg(entry, E'\\n') from audit_log").await;
    assert!(table.contains(id(&rotated)) && log.contains(id(&rotated)) && log.contains("key.revoked"));
    assert_holds_none(&table, &keys, false);
    assert_holds_none(&log, &keys, true);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for (method, path, body) in [
        (Method::GET, "/api/keys".to_owned(), json!({})),
        (Method::POST, "/api/keys".to_owned(), json!({"principal": "other", "scopes": ["read"]})),
        (Method::POST, format!("/api/keys/{}/rotate", id(&rotated)), json!({})),
        (Method::POST, format!("/api/keys/{}/revoke", id(&rotated)), json!({})),
    ] {
        let request = http.request(method, format!("{}{path}", whole.platform.url)).json(&body);
        let answer = request.header("X-API-Key", whole.sandbox.keys.operator()).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers()["cache-control"].as_bytes()), (200, &b"no-store"[..]));
    }
    whole.finish().await;
}
