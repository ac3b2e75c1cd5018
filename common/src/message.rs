//! What travels through RabbitMQ: an envelope and two bodies. The consumer decodes all or nothing.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::{AccountName, Order};

/// A body with its place in a version of the contract.
pub trait Body: Serialize + serde::de::DeserializeOwned {
    /// The envelope's `type`.
    const TYPE: &'static str;
}

/// What every message carries around its body.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Envelope<B> {
    /// Unique per publish, kept over redeliveries.
    pub message_id: Uuid,
    /// `signal.accepted.v1`, `account.updated.v1`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When the publisher took it in.
    #[serde(with = "time::serde::rfc3339")]
    pub occurred_at: OffsetDateTime,
    /// The HTTP request that caused it.
    pub request_id: String,
    /// W3C trace context, passed through.
    pub traceparent: Option<String>,
    /// The message itself.
    pub body: B,
}

/// Why a message could not be read; it will not get better by trying again. Its text holds no zero character, which no
/// column takes: a message whose reason can't be stored would come for ever.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON, or a field is missing or out of bounds.
    #[error("not a readable message: {0}")]
    Json(String),
    /// Another type or version.
    #[error("type {found:?} where {expected:?} was expected")]
    Type {
        /// What the queue carries.
        expected: &'static str,
        /// What the message said.
        found: String,
    },
}

impl<B: Body> Envelope<B> {
    /// Reads a message of exactly this type.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let unreadable = |error: serde_json::Error| DecodeError::Json(error.to_string().replace('\0', "\\0"));
        let envelope: Self = serde_json::from_slice(bytes).map_err(unreadable)?;
        if envelope.kind == B::TYPE {
            Ok(envelope)
        } else {
            Err(DecodeError::Type { expected: B::TYPE, found: envelope.kind })
        }
    }
}

/// A signal that was accepted for good.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SignalAccepted {
    /// The id that the sender was given.
    pub signal_id: Uuid,
    /// The trading account.
    pub account: AccountName,
    /// Who sent it; idempotency keys are the principal's own.
    pub principal: String,
    /// The sender's key against doubles.
    pub idempotency_key: Option<String>,
    /// What to trade.
    pub order: Order,
    /// When `ingest` took it in; its life counts from here.
    #[serde(with = "time::serde::rfc3339")]
    pub received_at: OffsetDateTime,
    /// The sender's own limit of life.
    pub ttl_seconds: Option<i32>,
    /// The sender's own time of expiry.
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires_at: Option<OffsetDateTime>,
    /// When a resting order is to leave the broker's book.
    #[serde(with = "time::serde::rfc3339::option")]
    pub order_expires_at: Option<OffsetDateTime>,
    /// Free text for the order's comment.
    pub comment: Option<String>,
    /// All other fields of the request.
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

impl Body for SignalAccepted {
    const TYPE: &'static str = "signal.accepted.v1";
}

/// An account's figures as a terminal reported them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccountUpdated {
    /// The trading account, from the terminal's key.
    pub account: AccountName,
    /// When the dispatcher received it.
    #[serde(with = "time::serde::rfc3339")]
    pub received_at: OffsetDateTime,
    /// The installation that reported.
    pub terminal: Option<String>,
    /// Settled money.
    pub balance: Decimal,
    /// Balance, credit and what is open.
    pub equity: Decimal,
    /// Bound as security.
    pub margin: Decimal,
    /// Free for new positions.
    pub free_margin: Decimal,
    /// Profit of what is open.
    pub profit: Decimal,
    /// The broker's account number.
    pub login: Option<i64>,
    /// The account's currency.
    pub currency: Option<String>,
    /// The broker's credit.
    pub credit: Option<Decimal>,
    /// Deposits less withdrawals, where the history is complete.
    pub net_deposits: Option<Decimal>,
    /// One run of the terminal.
    pub session: Option<String>,
    /// Grows by one per update in a session.
    pub seq: Option<i64>,
    /// How old the figures were when sent.
    pub age_ms: Option<i64>,
    /// Positions open.
    pub open_positions: Option<i32>,
    /// Whether the terminal was connected to the broker.
    pub connected: Option<bool>,
    /// Whether the Expert Advisor may trade.
    pub trade_allowed: Option<bool>,
    /// Age of the last quote.
    pub tick_age_ms: Option<i64>,
}

impl Body for AccountUpdated {
    const TYPE: &'static str = "account.updated.v1";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_what_cannot_be_read_can_be_stored() {
        let text = r#"{"message_id":"00000000-0000-0000-0000-000000000001","type":"\u0000",
            "occurred_at":"2026-01-01T00:00:00Z","request_id":"r","traceparent":null,"body":{"account":"main",
            "signal_id":"00000000-0000-0000-0000-000000000001","principal":"p","order":{"action":"\u0000"}}}"#;
        let reason = Envelope::<SignalAccepted>::decode(text.as_bytes()).unwrap_err().to_string();
        assert!(reason.contains("unknown variant `\\0`"), "{reason:?}");
        assert!(!reason.contains('\0'), "{reason:?}");
    }

    #[test]
    fn another_type_is_not_read_as_ours() {
        let text = r#"{"message_id":"00000000-0000-0000-0000-000000000001","type":"signal.accepted.v2",
            "occurred_at":"2026-01-01T00:00:00Z","request_id":"r","traceparent":null,"body":{}}"#;
        assert!(Envelope::<AccountUpdated>::decode(text.as_bytes()).is_err());
        assert!(Envelope::<SignalAccepted>::decode(b"{").is_err());
    }
}
