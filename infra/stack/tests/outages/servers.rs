//! RabbitMQ and PostgreSQL go away, and come back.

use std::time::{Duration, Instant};

use common::auth::ApiKey;
use reqwest::Method;
use rust_decimal::Decimal;
use serde_json::json;
use stack::client::Client;
use stack::sandbox::Sandbox;

use super::steps::{ANSWERED, BACK, Broker, ask, end, private_sandbox, readiness, signal};
use crate::load::{Load, account_for};
use crate::private::{Scratch, within};

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
