//! The heartbeat: a signal that trades nothing goes to each account's terminal and back, so that the age of the last one
//! tells whether the whole way works.
//!
//! Invariant: however many ingests there are, and however often each tries, an account has one heartbeat a slot of time.

use std::collections::BTreeSet;

use common::domain::signal::HEARTBEAT_PRINCIPAL;
use common::domain::{AccountName, Action, Order, OrderType};
use common::message::SignalAccepted;
use common::queue::PublishError;
use common::service::Ready;
use time::{Duration, OffsetDateTime};
use tokio_util::sync::CancellationToken;

use crate::Ingest;

/// How often is looked whether another slot has begun.
const LOOK_INTERVAL: std::time::Duration = std::time::Duration::from_millis(500);
/// No heartbeat lives longer: a terminal that comes back after a night finds no night of them.
const TTL_SECONDS_MAX: i64 = 60;

/// Sends heartbeats while there is a broker, until told to stop.
pub(crate) async fn run(ingest: Ingest, interval: Duration, publishing: Ready, stop: CancellationToken) {
    let mut last_slot = i64::MIN;
    let mut sent: BTreeSet<AccountName> = BTreeSet::new();
    while tokio::time::timeout(LOOK_INTERVAL, stop.cancelled()).await.is_err() {
        let now = ingest.clock.now();
        let slot = slot(interval, now);
        if slot != last_slot {
            last_slot = slot;
            sent.clear();
        }
        let unsent: Vec<AccountName> = ingest.keys.accounts().difference(&sent).cloned().collect();
        for account in &unsent {
            if !publishing.get() || stop.is_cancelled() {
                break;
            }
            if let Err(error) = send(&ingest, account, slot, interval, now).await {
                // Tried again at the next look, as the same signal; meanwhile the others would fare no better.
                tracing::warn!(%account, %error, "heartbeat not published");
                break;
            }
            sent.insert(account.clone());
        }
    }
}

/// When the slot of this moment began, in seconds: the same for every ingest.
fn slot(interval: Duration, now: OffsetDateTime) -> i64 {
    let seconds = interval.whole_seconds().max(1);
    now.unix_timestamp().div_euclid(seconds) * seconds
}

async fn send(
    ingest: &Ingest,
    account: &AccountName,
    slot: i64,
    interval: Duration,
    now: OffsetDateTime,
) -> Result<(), PublishError> {
    let signal = heartbeat(account, slot, interval, now);
    let signal_id = signal.signal_id;
    ingest.publish(signal, signal_id.to_string(), None).await?;
    metrics::counter!("pipeline_heartbeats_accepted_total").increment(1);
    tracing::debug!(signal.id = %signal_id, %account, "heartbeat accepted");
    Ok(())
}

/// A ping whose id is made of what it stands for, and that is gone before the one after the next.
fn heartbeat(account: &AccountName, slot: i64, interval: Duration, now: OffsetDateTime) -> SignalAccepted {
    let order = Order {
        symbol: None,
        action: Action::Ping,
        order_type: OrderType::Market,
        entry: None,
        volume: None,
        risk_percent: None,
        sl: None,
        tp: None,
        ticket: None,
        max_slippage_points: None,
    };
    SignalAccepted {
        signal_id: order.keyed_id(HEARTBEAT_PRINCIPAL, &slot.to_string(), account),
        account: account.clone(),
        principal: HEARTBEAT_PRINCIPAL.to_owned(),
        // The id is enough; keys are kept for ever.
        idempotency_key: None,
        order,
        received_at: now,
        ttl_seconds: i32::try_from((2 * interval.whole_seconds()).min(TTL_SECONDS_MAX)).ok(),
        expires_at: None,
        order_expires_at: None,
        comment: None,
        metadata: serde_json::Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: in one slot every ingest makes the same signal, of which the dispatcher keeps one; another slot's and another
    /// account's are others, and none outlives the one after the next, nor a minute.
    #[test]
    fn one_slot_of_an_account_has_one_heartbeat() {
        let main = AccountName::main();
        let of = |account: &AccountName, second, interval| {
            let now = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000) + Duration::seconds(second);
            let interval = Duration::seconds(interval);
            heartbeat(account, slot(interval, now), interval, now)
        };
        let first = of(&main, 0, 30);
        assert_eq!(first.signal_id, of(&main, 29, 30).signal_id);
        assert_ne!(first.signal_id, of(&main, 30, 30).signal_id);
        assert_ne!(first.signal_id, of(&main, -1, 30).signal_id);
        assert_ne!(first.signal_id, of(&"second".parse().unwrap(), 0, 30).signal_id);
        assert_eq!(first.ttl_seconds, Some(60));
        assert_eq!(of(&main, 0, 5).ttl_seconds, Some(10));
        assert_eq!(of(&main, 0, 60).ttl_seconds, Some(60));
        assert!(first.order.faults().is_empty());
    }
}
