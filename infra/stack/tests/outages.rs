//! Servers that go away and come back, and processes that are killed, under load: what was accepted is there, once.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod load;
mod private;
mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::auth::ApiKey;
use common::clock::Clock;
use common::topology::Stream;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use load::{Load, SYMBOLS, account_for};
use private::{Program, Scratch, fills, within};
use reqwest::Method;
use rust_decimal::Decimal;
use rustix::process::Signal;
use serde_json::{Value, json};
use stack::client::Client;
use stack::faults::choices::Choices;
use stack::market::{Market, MarketConfig, SymbolSpec};
use stack::platform::Platform;
use stack::sandbox::{Sandbox, lift_limits};
use stack::servers::Servers;
use stack::terminal;
use support::{Whole, free_port};
use tokio_util::sync::CancellationToken;

/// No answer may take longer, whatever is away: a publish is given 2 s, and this machine may be busy.
const ANSWERED: Duration = Duration::from_millis(3_500);
/// From a server's return to a platform that is ready.
const BACK: Duration = Duration::from_secs(20);
/// An ordered end of a process: what it holds is given 5 s.
const ENDED: Duration = Duration::from_secs(6);

/// One request, and how long it took.
async fn ask(client: &Client, method: Method, path: &str, body: Option<Value>) -> (u16, Value, Duration) {
    let started = Instant::now();
    let (status, answer) = client.send(method, path, body.as_ref()).await.expect("an answer");
    (status.as_u16(), answer, started.elapsed())
}

fn signal(symbol: &str) -> Value {
    json!({"symbol": symbol, "action": "BUY", "volume": 0.01, "ttl_seconds": 7_200})
}

/// Waits until the platform says that it is (or is not) ready.
async fn readiness(client: &Client, wanted: u16) -> Duration {
    within(BACK, &format!("/readyz answers {wanted}"), || async {
        ask(client, Method::GET, "/readyz", None).await.0 == wanted
    })
    .await
}

/// A connection to the broker, beside the platform's.
struct Broker {
    channel: Channel,
    connection: Connection,
}

impl Broker {
    async fn connect(url: &str) -> Self {
        let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Self { channel, connection }
    }

    async fn publish(&self, exchange: &str, routing_key: &str, body: &[u8]) {
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        let sent = self.channel.basic_publish(exchange.into(), routing_key.into(), options, body, properties).await;
        assert!(sent.unwrap().await.unwrap().is_ack());
    }

    /// Publishes all of these, and waits for the confirms only then.
    async fn publish_all(&self, name: &str, bodies: &[Vec<u8>]) {
        let mut confirms = Vec::new();
        for body in bodies {
            let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
            let sent = self.channel.basic_publish(name.into(), name.into(), options, body, properties).await;
            confirms.push(sent.unwrap());
        }
        for confirm in confirms {
            assert!(confirm.await.unwrap().is_ack());
        }
    }

    async fn ready_messages(&self, queue: &str) -> u32 {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(queue.into(), options, FieldTable::default()).await.unwrap().message_count()
    }

    /// After the platform ended, when what it had not acknowledged is back: nothing may be left.
    async fn assert_empty(&self, streams: [Stream; 2]) {
        for stream in streams {
            within(BACK, &format!("{} is empty", stream.name), || async {
                self.ready_messages(&stream.name).await == 0
            })
            .await;
            assert_eq!(self.ready_messages(&stream.parked).await, 0, "parked");
        }
    }

    async fn close(self) {
        self.connection.close(200, "bye".into()).await.unwrap();
    }
}

/// Private servers and a sandbox on them.
async fn private_sandbox(scratch: &Scratch) -> (Servers, Sandbox) {
    let servers = Servers::start(&scratch.data()).await.unwrap();
    let sandbox = Sandbox::create(&servers.database_url, &servers.amqp_url, &[]).await.unwrap();
    (servers, sandbox)
}

/// Ends the platform, looks that nothing was left in its queues, and stops the servers.
async fn end(servers: Servers, sandbox: Sandbox, platform: Platform) {
    assert!(platform.stop().await, "a task failed");
    let broker = Broker::connect(&servers.amqp_url).await;
    broker.assert_empty([sandbox.signals(), sandbox.account_updates()]).await;
    broker.close().await;
    servers.stop().await.unwrap();
}

/// Goal: whatever way RabbitMQ goes away (absent from the start, stopped, killed, blocked by an alarm), each POST is
/// answered in time, an unknown outcome as such, and when it is back all that was ever accepted is stored once.
#[tokio::test(flavor = "multi_thread")]
async fn signals_survive_every_way_in_which_rabbitmq_goes_away() {
    let scratch = Scratch::new();
    let (servers, sandbox) = private_sandbox(&scratch).await;
    servers.kill_rabbit().await.unwrap();
    let platform = sandbox.launch().await.unwrap();
    let client = sandbox.operator(&platform).unwrap();
    readiness(&client, 503).await;
    let (status, body, taken) = ask(&client, Method::POST, "/api/signal", Some(signal("EURUSD"))).await;
    assert_eq!((status, &body["outcome"], &body["code"]), (503, &json!("unknown"), &json!("outcome_unknown")));
    assert!(taken < ANSWERED, "{taken:?}");
    servers.start_rabbit().await.unwrap();
    println!("ready {:?} after RabbitMQ was first there", readiness(&client, 200).await);

    let load = Load::start(&[&platform.url], sandbox.keys.generator(), Duration::from_millis(50));
    load.accepts(150).await;
    for ordered in [true, false] {
        if ordered {
            servers.stop_rabbit().await.unwrap();
        } else {
            servers.kill_rabbit().await.unwrap();
        }
        load.refuses(16).await;
        readiness(&client, 503).await;
        let started = Instant::now();
        servers.start_rabbit().await.unwrap();
        println!("RabbitMQ accepts connections after {:?}", started.elapsed());
        println!("another 50 signals accepted {:?} later", load.accepts(50).await);
        println!("ready {:?} later", readiness(&client, 200).await);
        load.accepts(100).await;
    }

    servers.rabbitmqctl(&["set_vm_memory_high_watermark", "absolute", "1"]).await.unwrap();
    load.refuses(16).await;
    readiness(&client, 503).await;
    let (status, body, taken) = ask(&client, Method::POST, "/api/signal", Some(signal("EURUSD"))).await;
    assert_eq!((status, &body["outcome"]), (503, &json!("unknown")), "while blocked");
    assert!(taken < ANSWERED, "{taken:?}");
    servers.rabbitmqctl(&["set_vm_memory_high_watermark", "absolute", "2GB"]).await.unwrap();
    println!("ready {:?} after the alarm", readiness(&client, 200).await);
    load.accepts(100).await;

    assert_eq!(load.broken(), 0, "the platform itself was there all the time");
    let (logs, slowest) = load.finish().await;
    assert!(slowest < ANSWERED, "{slowest:?}");
    account_for(&sandbox, &logs).await;
    end(servers, sandbox, platform).await;
}

/// Goal: without PostgreSQL (absent from the start, killed, stopped) signals go on being accepted with the keys of the
/// environment, what needs it is refused in time rather than held, and when it is back all is stored once, in order.
#[tokio::test(flavor = "multi_thread")]
async fn signals_are_accepted_while_postgresql_is_away_and_stored_when_it_is_back() {
    let scratch = Scratch::new();
    let (servers, sandbox) = private_sandbox(&scratch).await;
    servers.kill_postgres().await.unwrap();
    let platform = sandbox.launch().await.unwrap();
    let client = sandbox.operator(&platform).unwrap();
    readiness(&client, 503).await;
    within(BACK, "ingest reaches the broker", || async {
        ask(&client, Method::POST, "/api/signal", Some(signal("EURUSD"))).await.0 == 200
    })
    .await;
    let stranger = client.with_key(&ApiKey::generate().unwrap());
    let (status, body, _) = ask(&stranger, Method::POST, "/api/signal", Some(signal("EURUSD"))).await;
    assert_eq!((status, &body["code"]), (503, &json!("keys_unavailable")));
    let load = Load::start(&[&platform.url], sandbox.keys.generator(), Duration::from_millis(50));
    load.accepts(150).await;
    refused_in_time(&client).await;
    servers.start_postgres().await.unwrap();
    println!("ready {:?} after PostgreSQL was first there", readiness(&client, 200).await);
    within(BACK, "the stranger's key is known to be nobody's", || async {
        ask(&stranger, Method::POST, "/api/signal", Some(signal("EURUSD"))).await.0 == 403
    })
    .await;

    for ordered in [false, true] {
        load.accepts(50).await;
        if ordered {
            servers.stop_postgres().await.unwrap();
        } else {
            servers.kill_postgres().await.unwrap();
        }
        load.accepts(100).await;
        readiness(&client, 503).await;
        refused_in_time(&client).await;
        load.accepts(100).await;
        servers.start_postgres().await.unwrap();
        println!("ready {:?} after PostgreSQL was back", readiness(&client, 200).await);
    }
    assert_eq!(load.broken(), 0, "the platform itself was there all the time");
    let (logs, slowest) = load.finish().await;
    assert!(slowest < ANSWERED, "{slowest:?}");
    account_for(&sandbox, &logs).await;
    end(servers, sandbox, platform).await;
}

/// What a terminal and a reader ask while the database is away: a problem answer, soon, also to those who would wait.
async fn refused_in_time(client: &Client) {
    const POLL: &str = "/api/signals/pending?limit=10&protocol=2&terminal=T";
    let waiting_poll = format!("{POLL}&wait_ms=20000");
    let gets = [POLL, &waiting_poll, "/api/signals/unresolved", "/api/signals", "/api/account/stats"];
    let mut requests: Vec<_> = gets.map(|path| (Method::GET, path, None)).into();
    let confirmation = json!({"id": 1, "attempt": 1, "ticket": 7, "symbol": "EURUSD"});
    requests.push((Method::POST, "/api/trades/confirm", Some(confirmation)));
    let answers = requests.into_iter().map(|(method, path, body)| async move {
        let (status, answer, taken) = ask(client, method, path, body).await;
        assert_eq!((status, &answer["status"]), (503, &json!(503)), "{path}: {answer}");
        assert!(taken < ANSWERED, "{path}: {taken:?}");
    });
    futures_util::future::join_all(answers).await;
}

/// An account report of `main` whose profit is this many cents above what was paid in.
fn report(sandbox: &Sandbox, seq: u32) -> Vec<u8> {
    let at = sandbox.clock.now().format(&time::format_description::well_known::Rfc3339).unwrap();
    let equity = Decimal::from(1_000) + Decimal::new(seq.into(), 2);
    let figures = json!({"account": "main", "received_at": at, "terminal": null, "balance": equity, "equity": equity,
        "margin": 0, "free_margin": equity, "profit": 0, "login": 1, "currency": "USD", "credit": null,
        "net_deposits": 1_000, "session": "s", "seq": seq, "age_ms": null, "open_positions": null, "connected": null,
        "trade_allowed": null, "tick_age_ms": null});
    let envelope = json!({"message_id": uuid::Uuid::now_v7(), "type": "account.updated.v1", "occurred_at": at,
        "request_id": "r", "traceparent": null, "body": figures});
    envelope.to_string().into_bytes()
}

/// Goal: PostgreSQL goes away, killed and stopped, while batches of account reports are applied, and while it is away more
/// come: each is recorded once, the members have the last level, and the books are clean.
#[tokio::test(flavor = "multi_thread")]
async fn account_reports_survive_postgresql_restarted_in_mid_batch() {
    const OUTAGES: u32 = 4;
    const EACH: u32 = 3_000;
    let scratch = Scratch::new();
    let (servers, sandbox) = private_sandbox(&scratch).await;
    let platform = sandbox.start().await.unwrap();
    let client = sandbox.operator(&platform).unwrap();
    let member = json!({"user_id": "A", "investment": 100});
    assert_eq!(ask(&client, Method::POST, "/api/users", Some(member)).await.0, 200);
    let broker = Broker::connect(&servers.amqp_url).await;
    let queue = sandbox.account_updates().name;
    let mut seq = 0;
    let mut reports = |count: u32| -> Vec<Vec<u8>> {
        seq += count;
        (seq - count + 1..=seq).map(|seq| report(&sandbox, seq)).collect()
    };
    for outage in 0..OUTAGES {
        broker.publish_all(&queue, &reports(EACH)).await;
        if outage % 2 == 0 {
            servers.kill_postgres().await.unwrap();
        } else {
            servers.stop_postgres().await.unwrap();
        }
        broker.publish_all(&queue, &reports(1)).await;
        println!("{} reports wait while PostgreSQL is away", broker.ready_messages(&queue).await);
        servers.start_postgres().await.unwrap();
        readiness(&client, 200).await;
    }
    let mut db = sandbox.database().await.unwrap();
    within(BACK, "every report is recorded", || async {
        let mut db = sandbox.database().await.unwrap();
        let found: i64 = sqlx::query_scalar("select count(*) from account_state").fetch_one(&mut db).await.unwrap();
        found == i64::from(seq)
    })
    .await;
    let counted = "select count(*), count(*) filter (where outcome = 'applied') from account_state";
    let counted: (i64, i64) = sqlx::query_as(counted).fetch_one(&mut db).await.unwrap();
    assert_eq!(counted, (seq.into(), seq.into()), "each once, and none out of its order");
    within(BACK, "the member has the last level", || async {
        let (_, stats, _) = ask(&client, Method::GET, "/api/users/A/stats", None).await;
        // The first level is the base.
        stack::client::cents(&stats["profit_loss"]) == i128::from(seq) - 1
    })
    .await;
    let verdict = distributor::books::verify(&mut db, &[]).await.unwrap();
    let found: Vec<_> =
        verdict.checks.iter().filter_map(|check| Some((check.name, check.difference.as_ref()?))).collect();
    assert!(found.is_empty(), "{found:?}");
    drop(db);
    broker.close().await;
    end(servers, sandbox, platform).await;
}

/// Goal: what can't be read, or can't be stored, is kept with its reason in its table, and what stands before and
/// behind it in the queue goes its way.
#[tokio::test(flavor = "multi_thread")]
async fn a_poison_message_stops_nobody() {
    let whole = Whole::start(&[]).await;
    let broker = Broker::connect(&whole.sandbox.settings.amqp_url).await;
    let envelope = |kind: &str, body: Value| {
        json!({"message_id": uuid::Uuid::new_v4(), "type": kind, "occurred_at": "2026-01-01T00:00:00Z",
            "request_id": "r", "traceparent": null, "body": body})
    };
    let rubbish = |kind: &str| -> Vec<Vec<u8>> {
        vec![
            b"not JSON".to_vec(),
            Vec::new(),
            vec![0, 255, 0, 254],
            b"{}".to_vec(),
            envelope("another.type.v9", json!({})).to_string().into_bytes(),
            envelope(kind, json!({"account": "main", "volume": -1})).to_string().into_bytes(),
            "[".repeat(100_000).into_bytes(),
        ]
    };
    // Readable, and nothing that the database can hold: no text of its has a zero character.
    let order = json!({"symbol": "EURUSD", "action": "BUY", "order_type": "market", "entry": null, "volume": 0.01,
        "risk_percent": null, "sl": null, "tp": null, "ticket": null, "max_slippage_points": null});
    let unstorable = ["comment", "idempotency_key"].map(|field| {
        let mut body = json!({"signal_id": uuid::Uuid::new_v4(), "account": "main", "principal": "p",
            "idempotency_key": null, "order": order, "received_at": "2026-01-01T00:00:00Z", "ttl_seconds": null,
            "expires_at": null, "order_expires_at": null, "comment": null, "metadata": {}});
        body[field] = json!("\0");
        envelope("signal.accepted.v1", body).to_string().into_bytes()
    });
    let (signals, updates) = (whole.sandbox.signals(), whole.sandbox.account_updates());
    let before = whole.post(signal("EURUSD")).await;
    whole.report("10000", "10000").await;
    let dead_signals = [rubbish("signal.accepted.v1"), unstorable.into()].concat();
    for body in &dead_signals {
        broker.publish(&signals.name, &signals.name, body).await;
    }
    let dead_updates = rubbish("account.updated.v1");
    for body in &dead_updates {
        broker.publish(&updates.name, &updates.name, body).await;
    }
    let behind = whole.post(signal("EURUSD")).await;
    whole.report("10100", "10000").await;
    whole.state(&before, "pending").await;
    whole.state(&behind, "pending").await;
    within(BACK, "the update behind the poison is applied", || async {
        let stats = whole.operator.get("/api/account/stats").await.unwrap();
        stack::client::cents(&stats["account"]["equity"]) == 1_010_000
    })
    .await;
    let mut db = whole.sandbox.database().await.unwrap();
    for (table, dead) in [("signal_dead_letters", dead_signals), ("account_update_dead_letters", dead_updates)] {
        let statement = format!("select reason, body from {table}");
        let kept: Vec<(String, Vec<u8>)> =
            sqlx::query_as(sqlx::AssertSqlSafe(statement)).fetch_all(&mut db).await.unwrap();
        assert_eq!(kept.len(), dead.len(), "{table}: {:?}", kept.iter().map(|(reason, _)| reason).collect::<Vec<_>>());
        for body in dead {
            let reason = kept.iter().find(|(_, kept)| *kept == body).map(|(reason, _)| reason.as_str());
            assert!(reason.is_some_and(|reason| !reason.is_empty()), "not kept as it came: {body:?}");
        }
    }
    drop(db);
    let Whole { sandbox, platform, .. } = whole;
    assert!(platform.stop().await);
    broker.assert_empty([signals, updates]).await;
    broker.close().await;
    sandbox.remove().await.unwrap();
}

/// Goal: whatever content is accepted over HTTP can be stored; what cannot be is refused there, not accepted and lost.
#[tokio::test]
async fn no_content_is_accepted_that_cannot_be_stored() {
    let whole = Whole::start(&[]).await;
    let base = r#"{"symbol": "EURUSD", "action": "BUY", "volume": 0.01"#;
    let mut accepted = Vec::new();
    for more in [
        r#""note": "\u0000""#,
        r#""\u0000": 1"#,
        r#""note": {"deep": ["\u0000"]}"#,
        r#""note": 1e200000"#,
        r#""note": 1e-200000"#,
        r#""note": 123456789012345678901234567890.123456789012345678901234567890"#,
        r#""note": "\ud83d\ude00""#,
        r#""comment": "\u0000""#,
        r#""comment": "größer""#,
        r#""signal_id": "\u0000""#,
        r#""signal_id": 1e200000"#,
        r#""account": "\u0000""#,
        r#""ttl_seconds": 86400"#,
        r#""expires_at": "9999-12-31T23:59:59Z""#,
        r#""expires_at": "0000-01-01T00:00:00Z""#,
        r#""order_expires_at": "9999-12-31T23:59:59Z""#,
        r#""order_expires_at": "0000-01-01T00:00:00Z""#,
        r#""order_expires_at": "-9999-01-01T00:00:00Z""#,
        r#""ticket": 9223372036854775807"#,
        r#""max_slippage_points": -2147483648"#,
        r#""entry": 0.0000000001"#,
        r#""entry": 99999999999999999999.9999999999"#,
        r#""sl": 0.00000000000000000001"#,
    ] {
        let body: Value = serde_json::from_str(&format!("{base}, {more}}}")).unwrap();
        let (status, answer, _) = ask(&whole.operator, Method::POST, "/api/signal", Some(body)).await;
        assert!([200, 400, 422].contains(&status), "{more}: {status} {answer}");
        println!("{status} {more}");
        if status == 200 {
            accepted.push((more, answer["signal_id"].as_str().unwrap().to_owned()));
        }
    }
    for (more, signal_id) in accepted {
        support::eventually(&format!("{more} is stored"), || async {
            whole.operator.signal(&signal_id).await.expect("an answer")
        })
        .await;
    }
    whole.finish().await;
}

/// Goal: a message that no queue is bound for is parked, not lost, and disturbs nobody.
#[tokio::test]
async fn a_message_with_a_wrong_routing_key_is_parked() {
    let whole = Whole::start(&[]).await;
    let broker = Broker::connect(&whole.sandbox.settings.amqp_url).await;
    for stream in [whole.sandbox.signals(), whole.sandbox.account_updates()] {
        broker.publish(&stream.name, "nowhere", b"lost?").await;
        within(BACK, "it is parked", || async { broker.ready_messages(&stream.parked).await == 1 }).await;
    }
    let signal_id = whole.post(signal("EURUSD")).await;
    whole.state(&signal_id, "pending").await;
    broker.close().await;
    whole.finish().await;
}

/// A process with all services, on a port that stays the same over its lives.
fn serve(scratch: &Scratch, sandbox: &Sandbox, address: SocketAddr) -> Program {
    let mut environment = sandbox.environment();
    environment.push(("HTTP_ADDR".to_owned(), address.to_string()));
    environment.push(("METRICS_ADDR".to_owned(), "127.0.0.1:0".to_owned()));
    Program::spawn(scratch, &["serve"], &environment)
}

async fn shared_sandbox() -> Sandbox {
    let (database_url, amqp_url) = support::servers();
    Sandbox::create(&database_url, &amqp_url, &[]).await.unwrap()
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

async fn stored(sandbox: &Sandbox) -> i64 {
    let mut db = sandbox.database().await.unwrap();
    sqlx::query_scalar("select count(*) from signals").fetch_one(&mut db).await.unwrap()
}

/// Goal: of two processes with all services the one that consumes is killed under load, and the other takes over:
/// signals are stored without it, each once and in order.
#[tokio::test(flavor = "multi_thread")]
async fn the_second_of_two_dispatchers_takes_over_when_the_first_is_killed() {
    let scratch = Scratch::new();
    let sandbox = shared_sandbox().await;
    let (first_at, second_at) = (loopback(), loopback());
    let (first_url, second_url) = (format!("http://{first_at}"), format!("http://{second_at}"));
    let first = serve(&scratch, &sandbox, first_at);
    let up = async |url: &str| {
        let client = Client::new(url, sandbox.keys.operator()).unwrap();
        within(BACK, "the platform is ready", || async {
            client.send(Method::GET, "/readyz", None).await.is_ok_and(|(status, _)| status.is_success())
        })
        .await;
    };
    up(&first_url).await;
    let mut second = serve(&scratch, &sandbox, second_at);
    up(&second_url).await;
    let load = Load::start(&[&first_url, &second_url], sandbox.keys.generator(), Duration::from_millis(10));
    load.accepts(300).await;
    first.kill().await;
    let before = stored(&sandbox).await;
    let taken = within(BACK, "the other one stores", || async { stored(&sandbox).await > before + 50 }).await;
    println!("the other dispatcher stored another 50 signals {taken:?} after the kill");
    load.accepts(300).await;
    assert!(load.broken() > 0, "nobody noticed the kill");
    let (logs, _) = load.finish().await;
    account_for(&sandbox, &logs).await;
    second.stop(Signal::TERM, ENDED).await;
    sandbox.remove().await.unwrap();
}

/// Goal: all services are killed again and again under load, while a terminal trades: every accepted signal is there
/// once and reaches its end, and no signal is filled twice.
#[tokio::test(flavor = "multi_thread")]
async fn killing_the_platform_again_and_again_loses_nothing_and_trades_nothing_twice() {
    const KILLS: usize = 5;
    let scratch = Scratch::new();
    let mut sandbox = shared_sandbox().await;
    let address = loopback();
    sandbox.settings.http_addr = address;
    let url = format!("http://{address}");
    let market_config = MarketConfig {
        deposit: Decimal::from(10_000_000),
        symbols: SYMBOLS.map(SymbolSpec::named).to_vec(),
        ..MarketConfig::default()
    };
    let market = Arc::new(Market::open(None, market_config, Clock::default().now()).unwrap().into());
    let stop_terminal = CancellationToken::new();
    let config = terminal::Config {
        unresolved_interval: Duration::from_millis(200),
        grace: Duration::from_millis(500),
        tick_interval: None,
        ..terminal::Config::new(&url, sandbox.keys.terminal(), reqwest::Client::builder().no_proxy().build().unwrap())
    };
    let trading = tokio::spawn(terminal::run(config, Arc::clone(&market), None, stop_terminal.clone()));
    let load = Load::start(&[&url], sandbox.keys.generator(), Duration::from_millis(40));
    let mut choices = Choices::new(2_026);
    for _ in 0..KILLS {
        let platform = serve(&scratch, &sandbox, address);
        load.accepts(30 + choices.below(60)).await;
        // More positions than usual are going to be open. No kill before there is an account: else the last life alone
        // makes it, and rejects most of what waited.
        within(BACK, "the limits are lifted", || async {
            lift_limits(&mut sandbox.database().await.unwrap()).await.is_ok_and(|accounts| accounts > 0)
        })
        .await;
        platform.kill().await;
    }
    // The last life is in this process, so that its clock can be moved.
    let platform = sandbox.start().await.unwrap();
    load.accepts(50).await;
    assert!(load.broken() > 0, "nobody noticed the kills");
    let (logs, _) = load.finish().await;
    account_for(&sandbox, &logs).await;
    // Claims whose answer was lost in a kill: their leases run out, and the terminal looks them up.
    let mut db = sandbox.database().await.unwrap();
    let started = Instant::now();
    let mut progress = (i64::MAX, Instant::now());
    loop {
        let statement = "select count(*) from signals where state in ('pending', 'processing', 'unknown')";
        let open: i64 = sqlx::query_scalar(statement).fetch_one(&mut db).await.unwrap();
        if open == 0 {
            break;
        }
        assert!(started.elapsed() < Duration::from_mins(1), "{open} signals do not end");
        if open < progress.0 {
            progress = (open, Instant::now());
        } else if progress.1.elapsed() > Duration::from_secs(1) {
            sandbox.clock.advance(time::Duration::seconds(31));
            progress.1 = Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("all ended {:?} after the last kill's backlog was stored", started.elapsed());
    stop_terminal.cancel();
    trading.await.unwrap().unwrap();
    let states = account_for(&sandbox, &logs).await;
    println!("{states:?}");
    let fills = fills(&market.lock().unwrap());
    compare_fills(&sandbox, fills).await;
    assert!(platform.stop().await);
    drop(db);
    sandbox.remove().await.unwrap();
}

/// Every executed signal has one fill at the broker, every other one none.
async fn compare_fills(sandbox: &Sandbox, mut fills: BTreeMap<u64, usize>) {
    let mut db = sandbox.database().await.unwrap();
    let statement = "select id, state, coalesce(code, '') from signals";
    let signals: Vec<(i64, String, String)> = sqlx::query_as(statement).fetch_all(&mut db).await.unwrap();
    for (id, state, code) in signals {
        let found = fills.remove(&u64::try_from(id).unwrap()).unwrap_or(0);
        assert_eq!(found, usize::from(state == "executed"), "signal {id} is {state} {code} and has {found} fills");
    }
    assert!(fills.is_empty(), "fills of signals that nobody sent: {fills:?}");
}

/// Goal: told to stop under load and with a terminal waiting, the process finishes what it holds and ends in time, and
/// what it had accepted is stored by it or by the next one.
#[tokio::test(flavor = "multi_thread")]
async fn an_ordered_stop_under_load_ends_in_time_and_loses_nothing() {
    let scratch = Scratch::new();
    let mut sandbox = shared_sandbox().await;
    let address = loopback();
    sandbox.settings.http_addr = address;
    let url = format!("http://{address}");
    let load = Load::start(&[&url], sandbox.keys.generator(), Duration::from_millis(5));
    for signal in [Signal::TERM, Signal::INT, Signal::TERM] {
        let mut process = serve(&scratch, &sandbox, address);
        load.accepts(200).await;
        let client = Client::new(&url, sandbox.keys.terminal()).unwrap();
        // Holds a request and then an idle connection: neither may hold up the end.
        let waiting = tokio::spawn(async move {
            client.get("/api/signals/pending?limit=0&wait_ms=25000&protocol=2&terminal=T").await.is_ok()
        });
        load.accepts(20).await;
        println!("ended {:?} after it was told to", process.stop(signal, ENDED).await);
        waiting.await.unwrap();
    }
    let platform = sandbox.start().await.unwrap();
    load.accepts(50).await;
    let (logs, _) = load.finish().await;
    account_for(&sandbox, &logs).await;
    assert!(platform.stop().await);
    sandbox.remove().await.unwrap();
}
