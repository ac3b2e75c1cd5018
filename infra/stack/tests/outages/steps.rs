//! What the tests of outages do again and again.

use std::time::{Duration, Instant};

use common::topology::Stream;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use reqwest::Method;
use serde_json::{Value, json};
use stack::client::Client;
use stack::platform::Platform;
use stack::sandbox::Sandbox;
use stack::servers::Servers;

use crate::private::{Scratch, within};

/// No answer may take longer, whatever is away: a publish is given 2 s, and this machine may be busy.
pub(super) const ANSWERED: Duration = Duration::from_millis(3_500);
/// From a server's return to a platform that is ready.
pub(super) const BACK: Duration = Duration::from_secs(20);
/// An ordered end of a process: what it holds is given 5 s.
pub(super) const ENDED: Duration = Duration::from_secs(6);

/// One request, and how long it took.
pub(super) async fn ask(client: &Client, method: Method, path: &str, body: Option<Value>) -> (u16, Value, Duration) {
    let started = Instant::now();
    let (status, answer) = client.send(method, path, body.as_ref()).await.expect("an answer");
    (status.as_u16(), answer, started.elapsed())
}

pub(super) fn signal(symbol: &str) -> Value {
    json!({"symbol": symbol, "action": "BUY", "volume": 0.01, "ttl_seconds": 7_200})
}

/// Waits until the platform says that it is (or is not) ready.
pub(super) async fn readiness(client: &Client, wanted: u16) -> Duration {
    within(BACK, &format!("/readyz answers {wanted}"), || async {
        ask(client, Method::GET, "/readyz", None).await.0 == wanted
    })
    .await
}

/// A connection to the broker, beside the platform's.
pub(super) struct Broker {
    pub(super) channel: Channel,
    pub(super) connection: Connection,
}

impl Broker {
    pub(super) async fn connect(url: &str) -> Self {
        let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Self { channel, connection }
    }

    pub(super) async fn publish(&self, exchange: &str, routing_key: &str, body: &[u8]) {
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        let sent = self.channel.basic_publish(exchange.into(), routing_key.into(), options, body, properties).await;
        assert!(sent.unwrap().await.unwrap().is_ack());
    }

    /// Publishes all of these, and waits for the confirms only then.
    pub(super) async fn publish_all(&self, name: &str, bodies: &[Vec<u8>]) {
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

    pub(super) async fn ready_messages(&self, queue: &str) -> u32 {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(queue.into(), options, FieldTable::default()).await.unwrap().message_count()
    }

    /// After the platform ended, when what it had not acknowledged is back: nothing may be left.
    pub(super) async fn assert_empty(&self, streams: [Stream; 2]) {
        for stream in streams {
            within(BACK, &format!("{} is empty", stream.name), || async {
                self.ready_messages(&stream.name).await == 0
            })
            .await;
            assert_eq!(self.ready_messages(&stream.parked).await, 0, "parked");
        }
    }

    pub(super) async fn close(self) {
        self.connection.close(200, "bye".into()).await.unwrap();
    }
}

/// Private servers and a sandbox on them.
pub(super) async fn private_sandbox(scratch: &Scratch) -> (Servers, Sandbox) {
    let servers = Servers::start(&scratch.data()).await.unwrap();
    let sandbox = Sandbox::create(&servers.database_url, &servers.amqp_url, &[]).await.unwrap();
    (servers, sandbox)
}

/// Ends the platform, looks that nothing was left in its queues, and stops the servers.
pub(super) async fn end(servers: Servers, sandbox: Sandbox, platform: Platform) {
    assert!(platform.stop().await, "a task failed");
    let broker = Broker::connect(&servers.amqp_url).await;
    broker.assert_empty([sandbox.signals(), sandbox.account_updates()]).await;
    broker.close().await;
    servers.stop().await.unwrap();
}
