//! How fast messages get to the broker's disk: by one bare program, and as signals over HTTP; and from there into
//! PostgreSQL.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::domain::{AccountName, Action, Order, OrderType};
use common::message::{Body as _, Envelope, SignalAccepted};
use futures_util::stream::{FuturesUnordered, StreamExt as _, TryStreamExt as _};
use hdrhistogram::Histogram;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Confirmation, Connection, ConnectionProperties};
use sqlx::PgConnection;
use uuid::Uuid;

use super::BenchError;
use super::http::{self, post};
use super::report::{latencies, note};
use crate::sandbox::Sandbox;

/// Clients, and so the messages on their way at once.
pub(super) const CLIENTS: usize = 64;
/// Channels of the bare program; the broker slows a single one down.
const CHANNELS: usize = 4;
/// Sent before anything is counted, so that connections and caches are warm.
const WARM_UP: Duration = Duration::from_millis(500);
/// Longest wait until the dispatcher has stored everything.
const STORE_DEADLINE: Duration = Duration::from_mins(2);
/// How often is looked whether it has.
const POLL: Duration = Duration::from_millis(10);
/// Symbols of the load.
pub(super) const SYMBOLS: usize = 100;

/// What a client achieved, or a number of clients together.
pub(super) struct Load {
    begin: Instant,
    /// Taken for good, with the warm-up.
    pub(super) accepted: u64,
    /// Answered with an error: perhaps taken.
    pub(super) unknown: u64,
    /// Taken within the time that counts.
    pub(super) counted: u64,
    pub(super) lasted: Duration,
    /// Microseconds.
    pub(super) latencies: Histogram<u64>,
}

impl Load {
    fn new(started: Instant, lasted: Duration) -> Result<Self, BenchError> {
        let begin = started + WARM_UP;
        Ok(Self { begin, accepted: 0, unknown: 0, counted: 0, lasted, latencies: latencies()? })
    }

    /// Now, as long as there is time for another one.
    fn next(&self) -> Option<Instant> {
        Some(Instant::now()).filter(|now| *now < self.begin + self.lasted)
    }

    fn note(&mut self, sent: Instant, taken: bool) {
        if !taken {
            self.unknown += 1;
            return;
        }
        self.accepted += 1;
        if sent >= self.begin {
            self.counted += 1;
            note(&mut self.latencies, sent.elapsed());
        }
    }
}

/// A message as `ingest` publishes it.
pub(super) fn message(account: &AccountName, number: usize) -> Result<Envelope<SignalAccepted>, BenchError> {
    let bad = |error: common::domain::Invalid| BenchError::Lost(format!("the bench's own signal is wrong: {error}"));
    let now = common::clock::Clock::default().now();
    let order = Order {
        symbol: Some(format!("SYMBOL{}", number % SYMBOLS).parse().map_err(bad)?),
        action: Action::Buy,
        order_type: OrderType::Market,
        entry: None,
        volume: Some(serde_json::from_str("0.1")?),
        risk_percent: None,
        sl: Some(serde_json::from_str("1.09")?),
        tp: Some(serde_json::from_str("1.12")?),
        ticket: None,
        max_slippage_points: None,
    };
    Ok(Envelope {
        message_id: Uuid::now_v7(),
        kind: SignalAccepted::TYPE.to_owned(),
        occurred_at: now,
        request_id: Uuid::now_v7().to_string(),
        traceparent: None,
        body: SignalAccepted {
            signal_id: Uuid::now_v7(),
            account: account.clone(),
            principal: "owner".to_owned(),
            idempotency_key: Some(format!("bench-{number}-{}", Uuid::now_v7())),
            order,
            received_at: now,
            ttl_seconds: None,
            expires_at: None,
            order_expires_at: None,
            comment: None,
            metadata: serde_json::Map::new(),
        },
    })
}

/// The same signal over HTTP.
pub(super) fn request(key: &str, account: &str, symbol: usize, idempotency_key: &str) -> Vec<u8> {
    let body = format!(
        r#"{{"symbol":"SYMBOL{symbol}","action":"BUY","volume":0.1,"sl":1.09,"tp":1.12,"account":"{account}"}}"#
    );
    post("/api/signal", key, Some(idempotency_key), &body)
}

/// Confirms that one program gets which does nothing but publish.
pub(super) async fn bare(sandbox: &Sandbox, lasts: Duration) -> Result<Load, BenchError> {
    let connection = Connection::connect(&sandbox.settings.amqp_url, ConnectionProperties::default()).await?;
    let stream = sandbox.signals();
    let payload = serde_json::to_vec(&message(&AccountName::main(), 0)?)?;
    let publishers = FuturesUnordered::new();
    let started = Instant::now();
    for _ in 0..CHANNELS {
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        stream.declare(&channel).await?;
        for _ in 0..CLIENTS / CHANNELS {
            let (channel, payload, name) = (channel.clone(), payload.clone(), stream.name.clone());
            publishers.push(tokio::spawn(async move {
                let mut load = Load::new(started, lasts)?;
                let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
                let name = name.as_str();
                while let Some(sent) = load.next() {
                    let properties = BasicProperties::default().with_delivery_mode(2);
                    let confirm = channel.basic_publish(name.into(), name.into(), options, &payload, properties);
                    load.note(sent, confirm.await?.await? == Confirmation::Ack(None));
                }
                Ok(load)
            }));
        }
    }
    let load = together(publishers).await;
    connection.close(200, "bye".into()).await?;
    load
}

/// Signals that many clients get accepted, each sending its next when the last is answered.
pub(super) async fn over_http(address: SocketAddr, key: &str, lasts: Duration) -> Result<Load, BenchError> {
    let clients = FuturesUnordered::new();
    let started = Instant::now();
    for client in 0..CLIENTS {
        let key = key.to_owned();
        let mut connection = http::Connection::open(address).await?;
        clients.push(tokio::spawn(async move {
            let mut load = Load::new(started, lasts)?;
            let mut number = client;
            while let Some(sent) = load.next() {
                number += CLIENTS;
                let request = request(&key, "main", number % SYMBOLS, &format!("bench-{number}"));
                let status = connection.exchange(&request).await?.status;
                load.note(sent, status == 200);
            }
            Ok(load)
        }));
    }
    together(clients).await
}

type Task = tokio::task::JoinHandle<Result<Load, BenchError>>;

async fn together(mut tasks: FuturesUnordered<Task>) -> Result<Load, BenchError> {
    let mut whole: Option<Load> = None;
    while let Some(load) = tasks.next().await {
        let load = load??;
        match &mut whole {
            None => whole = Some(load),
            Some(whole) => {
                whole.accepted += load.accepted;
                whole.unknown += load.unknown;
                whole.counted += load.counted;
                whole.latencies.add(&load.latencies)?;
            }
        }
    }
    whole.ok_or_else(|| BenchError::Lost("no client ran".to_owned()))
}

/// Leaves this many messages in the queue, while nobody consumes it.
pub(super) async fn fill(sandbox: &Sandbox, messages: usize) -> Result<(), BenchError> {
    let (lifecycle, ready) =
        (common::service::Lifecycle::default(), common::service::Ready::new("bench", "publishing"));
    let url = sandbox.settings.amqp_url.clone();
    let publisher = common::queue::Publisher::start(url, sandbox.signals(), ready.clone(), &lifecycle);
    while !ready.get() {
        tokio::time::sleep(POLL).await;
    }
    let account = AccountName::main();
    futures_util::stream::iter(0..messages)
        .map(|number| {
            let (publisher, envelope) = (&publisher, message(&account, number));
            async move { Ok::<_, BenchError>(publisher.publish(&envelope?).await?) }
        })
        .buffer_unordered(CLIENTS * 4)
        .try_collect::<()>()
        .await?;
    drop(publisher);
    lifecycle.stop().cancel();
    lifecycle.finished().await;
    Ok(())
}

/// Waits until this many signals are in PostgreSQL, and looks that there is not one more or less; those whose answer
/// was an error may be there or not.
pub(super) async fn stored(db: &mut PgConnection, expected: u64, unknown: u64) -> Result<(), BenchError> {
    let started = Instant::now();
    let mut count = 0;
    // Counting is work for the database; the sequence tells for nothing when it may be worth it.
    let first = sqlx::query_scalar::<_, Option<i64>>("select min(id) from signals");
    let mut first = first.fetch_one(&mut *db).await?;
    while started.elapsed() < STORE_DEADLINE {
        let last: i64 = sqlx::query_scalar("select last_value from signal_ids").fetch_one(&mut *db).await?;
        if first.is_none() {
            first = sqlx::query_scalar("select min(id) from signals").fetch_one(&mut *db).await?;
        }
        if first.is_some_and(|first| last - first + 1 >= i64::try_from(expected).unwrap_or(i64::MAX)) {
            count = counted(db, "select count(*) from signals").await?;
            if count >= expected {
                break;
            }
        }
        tokio::time::sleep(POLL).await;
    }
    if (expected..=expected + unknown).contains(&count) {
        return Ok(());
    }
    Err(BenchError::Lost(format!("{expected} signals were accepted and {count} are in PostgreSQL")))
}

/// What a counting statement counts.
pub(super) async fn counted(db: &mut PgConnection, statement: &'static str) -> Result<u64, BenchError> {
    let count: i64 = sqlx::query_scalar(statement).fetch_one(db).await?;
    Ok(u64::try_from(count).unwrap_or_default())
}
