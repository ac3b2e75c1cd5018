//! The exchanges and queues, declared alike by whoever comes first.
//!
//! Every queue is a quorum queue: only those write to disk before they confirm. What can't be routed or is
//! refused too often goes to a parking queue; nothing is dropped, and nothing leaves by age.

use lapin::options::{
    ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

/// One stream of messages: an exchange, its queue, and where the rest goes.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Exchange and queue have the same name.
    pub name: String,
    /// Exchange and queue for what can't be routed or delivered.
    pub parked: String,
}

/// Accepted signals, from `ingest` to the dispatcher.
pub const SIGNALS: &str = "signals";
/// Account figures, from the dispatcher to the distributor.
pub const ACCOUNT_UPDATES: &str = "account-updates";

/// So high that an outage, however long, never reaches it; set, because newer brokers have a low default.
const DELIVERY_LIMIT: i64 = 1_000_000_000;
/// Beyond this the broker refuses, and the sender is told; at 1 KB a message about 2 GB of disk.
const LENGTH_MAX: i64 = 2_000_000;

impl Stream {
    /// The stream of this name on a broker shared under a prefix.
    pub fn new(prefix: &str, name: &str) -> Self {
        Self { name: format!("{prefix}{name}"), parked: format!("{prefix}{name}.parked") }
    }

    /// Declares everything of this stream; doing it twice changes nothing.
    pub async fn declare(&self, channel: &Channel) -> lapin::Result<()> {
        self.declare_queue(channel, &self.parked, parked_arguments()).await?;
        self.declare_exchange(channel, &self.parked, ExchangeKind::Fanout, FieldTable::default()).await?;
        self.bind(channel, &self.parked).await?;
        self.declare_queue(channel, &self.name, self.queue_arguments()).await?;
        let mut arguments = FieldTable::default();
        arguments.insert("alternate-exchange".into(), long_string(&self.parked));
        self.declare_exchange(channel, &self.name, ExchangeKind::Direct, arguments).await?;
        self.bind(channel, &self.name).await
    }

    /// Deletes everything of this stream.
    pub async fn delete(&self, channel: &Channel) -> lapin::Result<()> {
        for name in [&self.name, &self.parked] {
            channel.exchange_delete(name.as_str().into(), ExchangeDeleteOptions::default()).await?;
            channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await?;
        }
        Ok(())
    }

    fn queue_arguments(&self) -> FieldTable {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), long_string("quorum"));
        arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(DELIVERY_LIMIT));
        arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(LENGTH_MAX));
        arguments.insert("x-overflow".into(), long_string("reject-publish"));
        arguments.insert("x-dead-letter-exchange".into(), long_string(&self.parked));
        arguments.insert("x-dead-letter-strategy".into(), long_string("at-least-once"));
        arguments
    }

    async fn declare_queue(&self, channel: &Channel, name: &str, arguments: FieldTable) -> lapin::Result<()> {
        channel.queue_declare(name.into(), QueueDeclareOptions::durable(), arguments).await.map(drop)
    }

    async fn declare_exchange(
        &self,
        channel: &Channel,
        name: &str,
        kind: ExchangeKind,
        arguments: FieldTable,
    ) -> lapin::Result<()> {
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(name.into(), kind, options, arguments).await
    }

    /// Binds the queue to the exchange of the same name, with that name as routing key.
    async fn bind(&self, channel: &Channel, name: &str) -> lapin::Result<()> {
        let options = QueueBindOptions::default();
        channel.queue_bind(name.into(), name.into(), name.into(), options, FieldTable::default()).await
    }
}

fn parked_arguments() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), long_string("quorum"));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(DELIVERY_LIMIT));
    arguments
}

fn long_string(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}
