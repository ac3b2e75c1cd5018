//! Confirmed publishing, over a few channels of one connection.
//!
//! A publish has succeeded only when the broker confirmed it and returned nothing. Anything else is *unknown*:
//! the message may be delivered later, so the caller repeats it under the same id.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, Connection};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::{close, connect, in_time};
use crate::crash;
use crate::message::{Body, Envelope};
use crate::retry;
use crate::service::{Lifecycle, Ready};
use crate::topology::Stream;

/// No publish takes longer; then its outcome is unknown.
pub const PUBLISH_DEADLINE: Duration = Duration::from_secs(2);
/// Messages on their way to a confirm; more wait, and are refused at the deadline.
const IN_FLIGHT_MAX: usize = 1_024;
/// Confirm channels; the broker slows a single one down at a few dozen unconfirmed messages.
const PUBLISH_CHANNELS: usize = 4;
/// How often a connection is looked at, beside its own events.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);
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
