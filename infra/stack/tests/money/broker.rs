//! Account reports straight into the queue: repeated, late, or as no dispatcher would let them through.

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::{Value, json};
use stack::sandbox::Sandbox;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::support::{Whole, eventually};

/// A connection beside the platform's, and the stream of account reports.
pub(super) struct Broker {
    channel: Channel,
    connection: Connection,
    stream: String,
}

/// An envelope around these figures of an account, received at this time; its id.
pub(super) fn envelope(account: &str, received_at: OffsetDateTime, figures: &Value) -> (Uuid, Value) {
    let message_id = Uuid::now_v7();
    let at = received_at.format(&Rfc3339).unwrap();
    let mut body = json!({"account": account, "received_at": at, "terminal": null, "login": null, "currency": null,
        "credit": null, "net_deposits": null, "session": null, "seq": null, "age_ms": null, "open_positions": null,
        "connected": null, "trade_allowed": null, "tick_age_ms": null});
    for (name, figure) in figures.as_object().expect("an object") {
        body[name] = figure.clone();
    }
    // As the dispatcher writes them: JSON numbers.
    for name in ["balance", "equity", "margin", "free_margin", "profit", "credit", "net_deposits"] {
        if let Some(text) = body[name].as_str() {
            body[name] = serde_json::from_str(text).unwrap();
        }
    }
    let message = json!({"message_id": message_id, "type": "account.updated.v1", "occurred_at": at, "request_id": "test",
        "traceparent": null, "body": body});
    (message_id, message)
}

impl Broker {
    pub(super) async fn connect(sandbox: &Sandbox) -> Self {
        let connection =
            Connection::connect(&sandbox.settings.amqp_url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Self { channel, connection, stream: sandbox.account_updates().name }
    }

    /// Puts these into the queue, in this order, and returns when the broker has them.
    pub(super) async fn publish(&self, messages: &[Value]) {
        let mut confirms = Vec::new();
        let properties = BasicProperties::default().with_delivery_mode(2);
        for message in messages {
            let (name, body) = (self.stream.as_str(), message.to_string());
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            let sent =
                self.channel.basic_publish(name.into(), name.into(), options, body.as_bytes(), properties.clone());
            confirms.push(sent.await.unwrap());
        }
        for confirm in confirms {
            assert!(confirm.await.unwrap().is_ack());
        }
    }

    /// Publishes these figures of `main` as received at this time, and waits for what becomes of them.
    pub(super) async fn report(&self, whole: &Whole, received_at: OffsetDateTime, figures: &Value) -> String {
        let (message_id, message) = envelope("main", received_at, figures);
        self.publish(&[message]).await;
        outcome(whole, message_id).await
    }

    pub(super) async fn close(self) {
        self.connection.close(200, "bye".into()).await.unwrap();
    }
}

/// What became of a report, once it is recorded and its pool valued.
pub(super) async fn outcome(whole: &Whole, message_id: Uuid) -> String {
    let wanted = format!("account_state where message_id = '{message_id}'");
    eventually("the report is recorded", || async { (whole.count(&wanted).await == 1).then_some(()) }).await;
    whole.valued().await;
    whole.text(&format!("select outcome from {wanted}")).await
}
