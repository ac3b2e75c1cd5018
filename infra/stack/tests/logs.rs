//! The log: one line for each fact, with the ids by which one search tells a signal's whole story.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod private;
mod support;

use std::time::Duration;

use private::{Program, Scratch, within};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use stack::client::Client;
use stack::sandbox::Sandbox;
use support::port::free_port;
use support::{eventually, servers};

const READY: Duration = Duration::from_secs(30);
/// What must stand in no log.
const EMAIL: &str = "anna.secret@example.org";

/// A service as a process of its own, with its log.
struct Service {
    program: Program,
    url: String,
}

impl Service {
    fn spawn(scratch: &Scratch, name: &str, mut environment: Vec<(String, String)>) -> Self {
        let [api, metrics] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
        environment.push(("HTTP_ADDR".to_owned(), api.clone()));
        environment.push(("METRICS_ADDR".to_owned(), metrics));
        // As docker-compose.yml passes what nobody set: it is as good as unset.
        environment.push(("RUST_LOG".to_owned(), String::new()));
        let program = Program::spawn(scratch, &["serve", "--only", name], &environment);
        Self { program, url: format!("http://{api}") }
    }

    async fn answers(&self, path: &str) {
        let client = Client::new(&self.url, "").unwrap();
        within(READY, "the service answers", || async {
            client.send(Method::GET, path, None).await.is_ok_and(|(status, _)| status == 200)
        })
        .await;
    }

    /// Ends it; its whole log.
    async fn log(mut self) -> String {
        self.program.stop(Signal::TERM, Duration::from_secs(10)).await;
        self.program.output()
    }
}

/// A request under an id of the caller's own.
async fn request(service: &Service, key: &str, request_id: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}{path}", service.url);
    let request = body.map_or(http.get(&url), |body| http.post(&url).json(&body));
    let answer = request.header("X-API-Key", key).header("X-Request-Id", request_id).send().await.unwrap();
    assert_eq!(answer.headers()["x-request-id"], request_id);
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Posts a signal that must be accepted; its id.
async fn post(ingest: &Service, sandbox: &Sandbox, request_id: &str, body: Value) -> String {
    let (status, answer) = request(ingest, sandbox.keys.generator(), request_id, "/api/signal", Some(body)).await;
    assert_eq!(status, 200, "{answer}");
    answer["signal_id"].as_str().unwrap().to_owned()
}

/// Each line as the object that it must be.
fn lines(log: &str) -> Vec<Value> {
    let read = |line: &str| -> Value {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for field in ["timestamp", "level", "target", "message"] {
            assert!(object[field].is_string(), "{field} of {line}");
        }
        object
    };
    log.lines().map(read).collect()
}

/// What the logs say of a signal, oldest first: `message`, and these fields of the line.
fn story(lines: &[Value], signal_id: &str, fields: &[&str]) -> Vec<Value> {
    let mut own: Vec<&Value> = lines.iter().filter(|line| line.to_string().contains(signal_id)).collect();
    own.sort_by_key(|line| line["timestamp"].as_str());
    // The broker confirms and hands on in the same moment: nobody decides which of both is told first.
    if let [first, second, ..] = own.as_mut_slice()
        && (&first["message"], &second["message"]) == (&json!("stored"), &json!("accepted"))
    {
        std::mem::swap(first, second);
    }
    let told = |line: &&Value| {
        assert_eq!(line["signal.id"], signal_id, "{line}");
        fields.iter().map(|field| line[field].clone()).collect()
    };
    own.iter().map(told).collect()
}

/// Goal: over three processes every line is one JSON object; the lines with a signal's id, by their time, are its story:
/// executed, expired, rejected, with a contradiction; each has the id of the request at hand, and where it is stored that
/// of its POST; and no line has a key, its secret, or a member's address.
#[tokio::test(flavor = "multi_thread")]
async fn one_search_tells_a_signals_whole_story() {
    let (scratch, (database_url, amqp_url)) = (Scratch::new(), servers());
    let sandbox = Sandbox::create(&database_url, &amqp_url, &[]).await.unwrap();
    let [ingest, dispatcher, distributor] = ["ingest", "dispatcher", "distributor"].map(|name| {
        let mut environment = sandbox.environment();
        environment.push(("LOG_FORMAT".to_owned(), "json".to_owned()));
        Service::spawn(&scratch, name, environment)
    });
    for service in [&ingest, &dispatcher, &distributor] {
        service.answers("/readyz").await;
    }
    let operator = Client::new(&dispatcher.url, sandbox.keys.operator()).unwrap();
    let state = |signal_id: String, state: &'static str| {
        let operator = &operator;
        async move {
            eventually(state, || async {
                let signal = operator.signal(&signal_id).await.unwrap();
                signal.filter(|signal| signal["state"] == state)
            })
            .await
        }
    };

    let body = json!({"symbol": "EURUSD", "action": "BUY", "volume": 0.1, "signal_id": "key-1"});
    let executed = post(&ingest, &sandbox, "post-1", body.clone()).await;
    within(READY, "it is told as stored", || async {
        dispatcher.program.output().lines().any(|line| line.contains(&executed) && line.contains("\"stored\""))
    })
    .await;
    let terminal = sandbox.keys.terminal();
    let pending = "/api/signals/pending?protocol=2&terminal=T";
    let (_, claimed) = request(&dispatcher, terminal, "poll-1", pending, None).await;
    assert_eq!(claimed[0]["signal_id"], executed.as_str());
    for (request_id, ticket) in [("report-1", 77), ("report-2", 78)] {
        let report = json!({"signal_id": executed, "attempt": 1, "ticket": ticket, "terminal": "T", "retcode": 10009});
        let (status, answer) = request(&dispatcher, terminal, request_id, "/api/trades/confirm", Some(report)).await;
        assert_eq!(status, 200, "{answer}");
    }
    assert_eq!(post(&ingest, &sandbox, "post-2", body).await, executed);

    let soon = json!({"symbol": "GBPUSD", "action": "SELL", "volume": 0.1, "ttl_seconds": 5});
    let expired = post(&ingest, &sandbox, "post-3", soon).await;
    let large = json!({"symbol": "USDJPY", "action": "BUY", "volume": 11});
    let rejected = post(&ingest, &sandbox, "post-4", large).await;
    state(expired.clone(), "expired").await;
    state(rejected.clone(), "rejected").await;
    let waiting = post(&ingest, &sandbox, "post-5", json!({"action": "CLOSE_ALL"})).await;
    state(waiting.clone(), "pending").await;
    let cancel = format!("/api/signals/{waiting}/cancel");
    request(&dispatcher, sandbox.keys.operator(), "cancel-1", &cancel, Some(json!({}))).await;

    let key = operator.post("/api/keys", &json!({"principal": "desk", "scopes": ["read"]})).await.unwrap();
    let member = json!({"user_id": "anna", "name": "Anna", "email": EMAIL, "investment": 100});
    request(&distributor, sandbox.keys.operator(), "join-1", "/api/users", Some(member)).await;
    let guess = "mt5c_guess_0123456789abcdef0123456789abcdef01234567";
    for service in [&ingest, &dispatcher, &distributor] {
        request(service, guess, "guess-1", "/api/signals", None).await;
    }

    let mut logs = Vec::new();
    for service in [ingest, dispatcher, distributor] {
        logs.push(service.log().await);
    }
    let texts = [sandbox.keys.operator(), sandbox.keys.generator(), terminal, key["key"].as_str().unwrap(), guess];
    for log in &logs {
        assert!(!log.contains(EMAIL), "a member's address");
        assert!(texts.iter().all(|text| !log.contains(text.splitn(3, '_').nth(2).unwrap())), "a secret");
    }
    assert!(logs[2].contains("join-1"), "{}", logs[2]);
    let lines: Vec<Value> = logs.iter().flat_map(|log| lines(log)).collect();
    assert_eq!(
        story(&lines, &executed, &["message", "request.id", "account", "state", "ticket", "attempt"]),
        [
            json!(["accepted", "post-1", "main", null, null, null]),
            json!(["stored", "post-1", "main", "pending", null, null]),
            json!(["handed out", "poll-1", "main", null, null, 1]),
            json!(["ended", "report-1", "main", "executed", 77, 1]),
            json!(["report kept", "report-2", "main", null, 78, 1]),
            json!(["a report contradicts what was known", "report-2", "main", null, 78, null]),
            json!(["accepted", "post-2", "main", null, null, null]),
        ]
    );
    assert_eq!(
        story(&lines, &expired, &["message", "request.id", "action", "symbol", "state", "code"]),
        [
            json!(["accepted", "post-3", "SELL", "GBPUSD", null, null]),
            json!(["stored", "post-3", "SELL", "GBPUSD", "pending", null]),
            json!(["ended", null, null, null, "expired", "expired"]),
        ]
    );
    assert_eq!(
        story(&lines, &rejected, &["message", "request.id", "state", "code"]),
        [json!(["accepted", "post-4", null, null]), json!(["stored", "post-4", "rejected", "volume_above_max"]),]
    );
    assert_eq!(
        story(&lines, &waiting, &["message", "request.id", "state", "principal"])[2..],
        [json!(["ended", "cancel-1", "cancelled", "owner"])]
    );
    let of = |message: &str| lines.iter().find(|line| line["message"] == message && line["signal.id"] == *executed);
    assert_eq!(of("accepted").unwrap()["repeated"], false);
    assert!(of("ended").unwrap()["latency_ms"].as_i64().unwrap() >= 0);
    assert_eq!(of("stored").unwrap()["signal.number"], claimed[0]["id"]);
    sandbox.remove().await.unwrap();
}

/// Goal: a request that fails is told once, with what failed, its id and its signal's, in readable lines, which hold no
/// codes of a terminal's colours where no terminal reads them.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_request_is_told_once_and_without_colours() {
    let (scratch, (database_url, amqp_url)) = (Scratch::new(), servers());
    let sandbox = Sandbox::create(&database_url, &amqp_url, &[]).await.unwrap();
    let mut environment = sandbox.environment();
    environment.push(("AMQP_URL".to_owned(), format!("amqp://user:password@127.0.0.1:{}/%2f", free_port())));
    let ingest = Service::spawn(&scratch, "ingest", environment);
    ingest.answers("/livez").await;
    let body = Some(json!({"symbol": "EURUSD", "action": "BUY", "signal_id": "key-1"}));
    let (status, _) = request(&ingest, sandbox.keys.generator(), "post-1", "/api/signal", body).await;
    assert_eq!(status, 503);
    let log = ingest.log().await;
    let told: Vec<&str> = log.lines().filter(|line| line.contains("post-1")).collect();
    let [line] = told[..] else { panic!("one line: {log}") };
    for part in ["WARN", "request.id=post-1", "signal.id=", "code=\"outcome_unknown\"", "broker is not reachable"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert!(log.contains("started") && !log.contains('\u{1b}'), "{log}");
    assert!(!log.contains("user:password"), "{log}");
    sandbox.remove().await.unwrap();
}
