//! RabbitMQ: confirmed publishing and batched consuming, each on a long-lived connection of its own.
//!
//! A publish has succeeded only when the broker confirmed it and returned nothing. Anything else is *unknown*:
//! the message may be delivered later, so the caller repeats it under the same id. A delivery is acknowledged
//! only after its batch was handled; until then it is the broker's.

use std::future::Future;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::ReadyChunks;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::tcp::OwnedTLSConfig;
use lapin::types::FieldTable;
use lapin::uri::AMQPUri;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::crash;
use crate::message::{Body, Envelope};
use crate::retry::{self, Pauses};
use crate::service::{Lifecycle, Ready};
use crate::topology::Stream;

/// No publish takes longer; then its outcome is unknown.
pub const PUBLISH_DEADLINE: Duration = Duration::from_secs(2);
/// Opening a connection and declaring what is needed.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// Messages on their way to a confirm; more wait, and are refused at the deadline.
const IN_FLIGHT_MAX: usize = 1_024;
/// Confirm channels; the broker slows a single one down at a few dozen unconfirmed messages.
const PUBLISH_CHANNELS: usize = 4;
/// The largest batch.
const BATCH_MAX: usize = 512;
/// A batch this large or larger says that there is load.
const CROWD_MIN: usize = 8;
/// After such a batch, unless it was full, as long a rest: a commit and an acknowledgement for every few messages cost
/// both servers more than the messages do, and under load nobody is helped by them.
const CROWD_REST: Duration = Duration::from_millis(4);
/// Deliveries held at once: the next batch arrives while one is handled.
const PREFETCH: u16 = 1_024;
/// The client keeps 32 of its largest frames for each direction of a connection, in use or not; longer messages
/// simply take several.
const FRAME_BYTES_MAX: u32 = 32 * 1024;
/// A batch that can't be handled is given back after this, well before the broker's own limit of 30 minutes.
const HOLD_MAX: Duration = Duration::from_mins(10);
/// How often a connection is looked at, beside its own events.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);
/// How often the queue and its parking queue are counted.
const COUNT_INTERVAL: Duration = Duration::from_secs(5);

/// A peer that is silent for twice this long is gone.
const HEARTBEAT_SECONDS: u16 = 10;
/// Persistent: survives a restart of the broker.
const DELIVERY_MODE_PERSISTENT: u8 = 2;

/// The message may or may not have reached the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// There is no connection to the broker now.
    #[error("the message broker is not reachable")]
    Unreachable,
    /// No confirm came in time.
    #[error("the message broker did not confirm in time")]
    Late,
    /// The broker refused or returned a message on the channel.
    #[error("the message broker refused the message")]
    Refused,
}

/// Publishes to one stream. Clones share the connection.
#[derive(Clone)]
pub struct Publisher {
    stream: Arc<Stream>,
    live: watch::Receiver<Option<Arc<Live>>>,
    in_flight: Arc<Semaphore>,
}

/// A connection that works, as far as is known.
struct Live {
    channels: Vec<Channel>,
    next: AtomicUsize,
    /// Fires when a return or a refusal was seen: confirms can no longer be told apart.
    poisoned: CancellationToken,
}

impl Publisher {
    /// Starts to keep a connection; `ready` tells whether it works.
    pub fn start(url: String, stream: Stream, ready: Ready, lifecycle: &Lifecycle) -> Self {
        let (sender, live) = watch::channel(None);
        let stream = Arc::new(stream);
        let supervisor = keep_publishing(url, stream.clone(), sender, ready, lifecycle.stop().clone());
        lifecycle.spawn("publisher", supervisor);
        Self { stream, live, in_flight: Arc::new(Semaphore::new(IN_FLIGHT_MAX)) }
    }

    /// Returns when the broker has the message on disk.
    pub async fn publish<B: Body>(&self, envelope: &Envelope<B>) -> Result<(), PublishError> {
        let started = Instant::now();
        let outcome = match tokio::time::timeout(PUBLISH_DEADLINE, self.send(envelope)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(PublishError::Late),
        };
        let label = if outcome.is_ok() { "confirmed" } else { "unknown" };
        metrics::histogram!("pipeline_publish_confirm_seconds", "queue" => B::TYPE, "outcome" => label)
            .record(started.elapsed());
        outcome
    }

    async fn send<B: Body>(&self, envelope: &Envelope<B>) -> Result<(), PublishError> {
        let live = self.live.borrow().clone().ok_or(PublishError::Unreachable)?;
        let payload = serde_json::to_vec(envelope).map_err(|_| PublishError::Refused)?;
        let _permit = self.in_flight.acquire().await.map_err(|_| PublishError::Unreachable)?;
        let channel = &live.channels[live.next.fetch_add(1, Ordering::Relaxed) % live.channels.len()];
        let properties = BasicProperties::default()
            .with_delivery_mode(DELIVERY_MODE_PERSISTENT)
            .with_content_type("application/json".into())
            .with_message_id(envelope.message_id.to_string().into())
            .with_type(B::TYPE.into());
        let name = self.stream.name.as_str();
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let confirmed = async {
            let confirm = channel.basic_publish(name.into(), name.into(), options, &payload, properties).await?;
            crash::point("published");
            confirm.await
        };
        tokio::select! {
            confirmation = confirmed => match confirmation {
                Ok(Confirmation::Ack(None)) => Ok(()),
                Ok(_) => {
                    live.poisoned.cancel();
                    Err(PublishError::Refused)
                }
                Err(_) => Err(PublishError::Unreachable),
            },
            // Another message on this connection came back: whose confirm is whose can't be told any more.
            () = live.poisoned.cancelled() => Err(PublishError::Refused),
        }
    }
}

async fn keep_publishing(
    url: String,
    stream: Arc<Stream>,
    live: watch::Sender<Option<Arc<Live>>>,
    ready: Ready,
    stop: CancellationToken,
) {
    loop {
        let connect = || in_time(open_for_publishing(&url, &stream));
        let Some((connection, opened)) = retry::until_ok("publishing connection", &stop, connect).await else { return };
        let poisoned = opened.poisoned.clone();
        live.send_replace(Some(Arc::new(opened)));
        let usable = || connection.status().connected() && !connection.status().blocked();
        loop {
            ready.set(usable());
            if !connection.status().connected() || poisoned.is_cancelled() {
                break;
            }
            tokio::select! {
                () = tokio::time::sleep(WATCH_INTERVAL) => {}
                () = poisoned.cancelled() => {}
                () = stop.cancelled() => {
                    // Requests under way still need their confirms: wait until nobody can publish any more.
                    live.closed().await;
                    return close(&connection).await;
                }
            }
        }
        ready.set(false);
        live.send_replace(None);
        tracing::warn!(poisoned = poisoned.is_cancelled(), "publishing connection lost, opening another");
    }
}

async fn open_for_publishing(url: &str, stream: &Stream) -> lapin::Result<(Connection, Live)> {
    let connection = connect(url, "publisher").await?;
    let mut channels = Vec::with_capacity(PUBLISH_CHANNELS);
    for _ in 0..PUBLISH_CHANNELS {
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        channels.push(channel);
    }
    stream.declare(&channels[0]).await?;
    Ok((connection, Live { channels, next: AtomicUsize::new(0), poisoned: CancellationToken::new() }))
}

async fn connect(url: &str, name: &str) -> lapin::Result<Connection> {
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let failed = |error| lapin::Error::from(lapin::ErrorKind::IOError(Arc::new(error)));
    let mut uri: AMQPUri = url.parse().map_err(|error: String| failed(std::io::Error::other(error)))?;
    uri.query.frame_max.get_or_insert(FRAME_BYTES_MAX);
    uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
    let cert_chain = authorities(url).map_err(failed)?;
    let tls = OwnedTLSConfig { identity: None, cert_chain };
    let runtime = lapin::runtime::default_runtime()?;
    in_time(Connection::connect_uri_with_config(uri, properties, tls, runtime)).await
}

/// Certificates of the authorities that may sign the broker's, beside the usual ones: the file that the URL names as
/// RabbitMQ's own clients have it, `amqps://host?cacertfile=/path`.
fn authorities(url: &str) -> std::io::Result<Option<String>> {
    let url = url::Url::parse(url).map_err(std::io::Error::other)?;
    let path = url.query_pairs().find(|(name, _)| name == "cacertfile").map(|(_, path)| path.into_owned());
    let read = |path: String| {
        let named = |error: std::io::Error| std::io::Error::new(error.kind(), format!("cacertfile {path}: {error}"));
        std::fs::read_to_string(&path).map_err(named)
    };
    path.map(read).transpose()
}

/// A broker that takes a connection may still not answer on it, for a queue without a leader for instance.
async fn in_time<T>(opening: impl Future<Output = lapin::Result<T>>) -> lapin::Result<T> {
    let late = |_| lapin::Error::from(lapin::ErrorKind::IOError(Arc::new(std::io::ErrorKind::TimedOut.into())));
    tokio::time::timeout(CONNECT_DEADLINE, opening).await.unwrap_or_else(|elapsed| Err(late(elapsed)))
}

async fn close(connection: &Connection) {
    let _ = tokio::time::timeout(Duration::from_secs(1), connection.close(200, "bye".into())).await;
}

/// The bodies of a batch, in the queue's order.
pub type Batch = Arc<Vec<Vec<u8>>>;

/// A consumer at work. It is dropped only after its connection was closed: dropping it cancels it, and then the broker gives
/// what is new to the next consumer before what this one holds and has not acknowledged. Where its task is dropped, the
/// process ends and takes the connection along.
struct Subscription {
    connection: Connection,
    channel: Channel,
    /// For questions: what goes wrong with them ends this channel alone.
    asking: Channel,
    batches: ManuallyDrop<ReadyChunks<lapin::Consumer>>,
}

/// Consumes one stream.
pub struct Consumer {
    /// RabbitMQ.
    pub url: String,
    /// What to consume.
    pub stream: Stream,
    /// Whether deliveries can arrive.
    pub ready: Ready,
}

impl Consumer {
    /// Hands batches of bodies to `handle`, in the queue's order, until told to stop. A batch is what is ready,
    /// without waiting for more, but under load they follow each other with a short rest. `handle` is called again
    /// with the same batch until it succeeds, so it must be
    /// idempotent; what can't be read must not make it fail.
    pub async fn run<E, F>(self, stop: CancellationToken, mut handle: impl FnMut(Batch) -> F)
    where
        E: std::fmt::Display,
        F: Future<Output = Result<(), E>>,
    {
        while !stop.is_cancelled() {
            let open = || in_time(open_for_consuming(&self.url, &self.stream));
            let Some(mut subscription) = retry::until_ok("consumer", &stop, open).await else {
                return;
            };
            self.ready.set(true);
            let asking = subscription.asking.clone();
            tokio::select! {
                () = self.consume(&mut subscription, &stop, &mut handle) => {}
                () = self.keep_counting(&asking) => {}
            }
            self.ready.set(false);
            // What is not known any more must not stand as if it were.
            self.tell_counts(None, None);
            close(&subscription.connection).await;
            drop(ManuallyDrop::into_inner(subscription.batches));
        }
    }

    async fn consume<E, F>(
        &self,
        subscription: &mut Subscription,
        stop: &CancellationToken,
        handle: &mut impl FnMut(Batch) -> F,
    ) where
        E: std::fmt::Display,
        F: Future<Output = Result<(), E>>,
    {
        let Subscription { connection, channel, batches, .. } = subscription;
        loop {
            let batch = tokio::select! {
                batch = batches.next() => batch,
                () = stop.cancelled() => return,
            };
            let Some(batch) = batch else {
                return tracing::warn!(queue = self.stream.name, "consumer ended by the broker, opening another");
            };
            let (mut bodies, mut last_tag, mut broken) = (Vec::with_capacity(batch.len()), 0, false);
            for delivery in batch {
                match delivery {
                    Ok(Delivery { data, delivery_tag, .. }) => {
                        bodies.push(data);
                        last_tag = delivery_tag;
                    }
                    Err(_) => broken = true,
                }
            }
            let crowded = (CROWD_MIN..BATCH_MAX).contains(&bodies.len());
            if !bodies.is_empty() && !self.handled(connection, channel, bodies, last_tag, stop, handle).await {
                return;
            }
            if broken {
                return tracing::warn!(queue = self.stream.name, "consumer connection lost, opening another");
            }
            if crowded {
                tokio::time::sleep(CROWD_REST).await;
            }
        }
    }

    /// Handles one batch and acknowledges it; false where the connection is to be opened anew.
    async fn handled<E, F>(
        &self,
        connection: &Connection,
        channel: &Channel,
        bodies: Vec<Vec<u8>>,
        last_tag: u64,
        stop: &CancellationToken,
        handle: &mut impl FnMut(Batch) -> F,
    ) -> bool
    where
        E: std::fmt::Display,
        F: Future<Output = Result<(), E>>,
    {
        let started = Instant::now();
        let batch = Arc::new(bodies);
        let mut pauses = Pauses::default();
        while let Err(error) = handle(batch.clone()).await {
            tracing::warn!(queue = self.stream.name, error = %error, messages = batch.len(), "batch not handled");
            self.ready.set(false);
            if stop.is_cancelled() || started.elapsed() > HOLD_MAX || !connection.status().connected() {
                return false;
            }
            tokio::select! {
                () = pauses.wait() => {}
                () = stop.cancelled() => return false,
            }
        }
        self.ready.set(true);
        crash::point("handled");
        let acknowledged = channel.basic_ack(last_tag, BasicAckOptions { multiple: true });
        let acknowledged = tokio::time::timeout(CONNECT_DEADLINE, acknowledged).await;
        // Not acknowledged: the batch comes again and changes nothing.
        matches!(acknowledged, Ok(Ok(())))
    }

    /// Tells again and again what lies in the queue and beside it, also while a batch can't be handled; never ends.
    async fn keep_counting(&self, channel: &Channel) {
        loop {
            let ready = count(channel, &self.stream.name).await;
            let parked = count(channel, &self.stream.parked).await;
            self.tell_counts(ready, parked);
            tokio::time::sleep(COUNT_INTERVAL).await;
        }
    }

    fn tell_counts(&self, ready: Option<u32>, parked: Option<u32>) {
        let Stream { name, parked: beside } = &self.stream;
        let value = |count: Option<u32>| count.map_or(f64::NAN, f64::from);
        metrics::gauge!("pipeline_queue_messages", "queue" => name.clone()).set(value(ready));
        metrics::gauge!("pipeline_parked_messages", "queue" => beside.clone()).set(value(parked));
    }
}

/// Messages that wait in a queue; none where the broker does not say.
async fn count(channel: &Channel, queue: &str) -> Option<u32> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let declared = channel.queue_declare(queue.into(), options, FieldTable::default());
    let declared = tokio::time::timeout(CONNECT_DEADLINE, declared).await;
    declared.ok()?.ok().map(|queue| queue.message_count())
}

async fn open_for_consuming(url: &str, stream: &Stream) -> lapin::Result<Subscription> {
    let connection = connect(url, "consumer").await?;
    let (channel, asking) = (connection.create_channel().await?, connection.create_channel().await?);
    stream.declare(&channel).await?;
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let consumer = channel.basic_consume(stream.name.as_str().into(), "".into(), options, FieldTable::default());
    let batches = consumer.await?.ready_chunks(BATCH_MAX);
    Ok(Subscription { connection, channel, asking, batches: ManuallyDrop::new(batches) })
}

/// Removes these streams with all that is in them. For tests and load, which make streams of their own.
pub async fn remove(url: &str, streams: &[Stream]) -> lapin::Result<()> {
    let connection = connect(url, "removal").await?;
    let channel = connection.create_channel().await?;
    for stream in streams {
        stream.delete(&channel).await?;
    }
    connection.close(200, "bye".into()).await
}
