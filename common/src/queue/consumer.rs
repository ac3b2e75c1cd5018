//! Batched consuming, on a connection of its own.
//!
//! A delivery is acknowledged only after its batch was handled; until then it is the broker's.

use std::future::Future;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::ReadyChunks;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio_util::sync::CancellationToken;

use super::{CONNECT_DEADLINE, close, connect, in_time};
use crate::crash;
use crate::retry::{self, Pauses};
use crate::service::Ready;
use crate::topology::Stream;

/// The largest batch.
const BATCH_MAX: usize = 512;
/// A batch this large or larger says that there is load.
const CROWD_MIN: usize = 8;
/// After such a batch, unless it was full, as long a rest: a commit and an acknowledgement for every few messages cost
/// both servers more than the messages do, and under load nobody is helped by them.
const CROWD_REST: Duration = Duration::from_millis(4);
/// Deliveries held at once: the next batch arrives while one is handled.
const PREFETCH: u16 = 1_024;
/// A batch that can't be handled is given back after this, well before the broker's own limit of 30 minutes.
const HOLD_MAX: Duration = Duration::from_mins(10);
/// How often the queue and its parking queue are counted.
const COUNT_INTERVAL: Duration = Duration::from_secs(5);

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
    /// with the same batch until it succeeds, so it must be idempotent; what can't be read must not make it fail.
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
