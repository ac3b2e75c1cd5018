//! The clients of the original design: no protocol, no attempts, no signal ids in what they confirm.

use serde_json::{Value, json};
use time::Duration;

use super::steps::{BEYOND_THE_LEASE, id, ids};
use crate::support::Whole;

/// All that they know.
const PLAIN: &str = "";

fn confirmation(ticket: i64, symbol: &str, price: &str) -> Value {
    json!({"ticket": ticket, "symbol": symbol, "action": "BUY", "volume": 0.1, "price": price, "status": "executed"})
}

/// Goal: they are handed market orders, each with a volume, in flat objects; everything else waits for a terminal that
/// understands it.
#[tokio::test]
async fn a_poll_without_a_protocol_is_handed_market_orders_with_a_volume() {
    let whole = Whole::start(&[]).await;
    // A terminal that takes the rest was seen a moment ago.
    assert!(whole.poll("T").await.is_empty());
    let buy = whole.stored(json!({"symbol": "EURUSD", "action": "buy", "entry": 1.1, "limit_orders": false})).await;
    let sized = whole.stored(json!({"symbol": "GBPUSD", "action": "SELL", "volume": "0.30"})).await;
    let rest = [
        whole.stored(json!({"symbol": "A", "action": "BUY", "entry": 1.1, "limit_orders": true})).await,
        whole.stored(json!({"symbol": "B", "action": "BUY", "risk_percent": 1, "sl": 1.0})).await,
        whole.stored(json!({"symbol": "C", "action": "MODIFY", "sl": 1.0})).await,
        whole.stored(json!({"symbol": "D", "action": "CLOSE"})).await,
        whole.stored(json!({"action": "PING"})).await,
    ];
    let claimed = whole.poll_with(PLAIN).await;
    assert_eq!(ids(&claimed), [id(&buy), id(&sized)]);
    assert_eq!((&claimed[0]["volume"], &claimed[1]["volume"]), (&json!(0.01), &json!(0.3)));
    for field in claimed.iter().flat_map(|signal| signal.as_object().unwrap().values()) {
        assert!(!field.is_object(), "an object within would end theirs: {field}");
    }
    whole.swept().await;
    assert_eq!(ids(&whole.poll("T").await), ids(&rest));
    whole.finish().await;
}

/// Goal: a confirmation that names no signal belongs to the oldest claim of its symbol and action; its repetition, also
/// with other figures, belongs to the same and changes nothing.
#[tokio::test]
async fn a_confirmation_without_an_id_goes_to_the_oldest_claim() {
    let whole = Whole::start(&[]).await;
    let first = whole.buy("EURUSD").await;
    assert_eq!(ids(&whole.poll_with(PLAIN).await), [id(&first)]);
    whole.sandbox.clock.advance(BEYOND_THE_LEASE);
    whole.state(id(&first), "unknown").await;
    let second = whole.buy("EURUSD").await;
    let other = whole.buy("GBPUSD").await;
    assert_eq!(ids(&whole.poll_with(PLAIN).await), [id(&second), id(&other)], "the unknown one holds nothing back");
    for price in ["1.10000", "1.10000", "1.10001"] {
        let answer = whole.confirm(confirmation(900, "EURUSD", price)).await;
        assert_eq!((&answer["signal_id"], &answer["anomaly"]), (&first["signal_id"], &json!(null)));
        assert_eq!(whole.now(&second).await["state"], "processing", "the repetition is not the second's");
    }
    assert_eq!(whole.now(&first).await["state"], "executed");
    let answer = whole.confirm(confirmation(901, "EURUSD", "1.1")).await;
    assert_eq!(answer["signal_id"], second["signal_id"]);
    let answer = whole.confirm(confirmation(902, "EURUSD", "1.1")).await;
    assert_eq!(answer["signal_id"], json!(null), "there is no claim left: a trade of unknown origin");
    assert_eq!(whole.now(&other).await["state"], "processing");
    let tickets: Vec<Value> = whole.trades().await.iter().map(|trade| trade["ticket"].clone()).collect();
    assert_eq!(tickets, [json!(900), json!(901), json!(902)]);
    whole.finish().await;
}

/// Goal: what no terminal of the account can take ends with a reason instead of waiting for ever.
#[tokio::test]
async fn what_only_newer_terminals_take_is_rejected_where_there_is_none() {
    let whole = Whole::start(&[]).await;
    assert!(whole.poll_with(PLAIN).await.is_empty());
    let opening = whole.buy("EURUSD").await;
    let rest = [
        whole.stored(json!({"symbol": "EURUSD", "action": "CLOSE"})).await,
        whole.stored(json!({"action": "CLOSE_ALL"})).await,
        whole.stored(json!({"symbol": "GBPUSD", "action": "BUY", "order_type": "limit", "entry": 1.1})).await,
        whole.stored(json!({"action": "PING"})).await,
    ];
    for signal in &rest {
        let rejected = whole.state(id(signal), "rejected").await;
        assert_eq!(rejected["code"], "terminal_too_old");
    }
    assert_eq!(ids(&whole.poll_with(PLAIN).await), [id(&opening)]);
    whole.finish().await;
}

/// Goal: where no terminal at all was seen, signals wait: a better one may come.
#[tokio::test]
async fn nothing_is_too_new_for_terminals_that_were_not_seen_yet() {
    let whole = Whole::start(&["second"]).await;
    let close = whole.stored(json!({"symbol": "EURUSD", "action": "CLOSE"})).await;
    // All accounts are judged at once: when the other's, where one was seen, has ended, this one was looked at.
    let second = whole.operator.with_key(&whole.sandbox.terminals["second"]);
    assert_eq!(second.get("/api/signals/pending").await.unwrap(), json!([]));
    let other = whole.stored(json!({"symbol": "EURUSD", "action": "CLOSE", "account": "second"})).await;
    whole.state(id(&other), "rejected").await;
    assert_eq!(ids(&whole.poll("T").await), [id(&close)]);
    whole.finish().await;
}

/// Goal: a claim that such a client never confirms is never looked up, so it ends by itself, five minutes after its life.
#[tokio::test]
async fn a_claim_they_never_confirm_fails_five_minutes_after_its_life() {
    let whole = Whole::start(&[]).await;
    let signal = whole.stored(json!({"symbol": "EURUSD", "action": "BUY", "ttl_seconds": 60})).await;
    let shorter = whole.stored(json!({"symbol": "GBPUSD", "action": "BUY", "ttl_seconds": 20})).await;
    assert_eq!(ids(&whole.poll_with(PLAIN).await), [id(&signal), id(&shorter)]);
    whole.sandbox.clock.advance(BEYOND_THE_LEASE);
    whole.state(id(&signal), "unknown").await;
    whole.sandbox.clock.advance(Duration::minutes(5));
    // Both are judged at once.
    whole.state(id(&shorter), "failed").await;
    assert_eq!(whole.now(&signal).await["state"], "unknown", "its life was longer than the lease");
    whole.sandbox.clock.advance(Duration::seconds(30));
    let failed = whole.state(id(&signal), "failed").await;
    assert_eq!(failed["code"], "unconfirmed");
    assert!(whole.poll_with(PLAIN).await.is_empty());
    whole.finish().await;
}

/// Goal: their orders carry no magic number of ours, so a newer terminal of the account is not asked to look for them:
/// it would find nothing and end the signal too early.
#[tokio::test]
async fn their_claims_are_not_given_to_others_to_look_up() {
    let whole = Whole::start(&[]).await;
    let signal = whole.buy("EURUSD").await;
    assert_eq!(ids(&whole.poll_with(PLAIN).await), [id(&signal)]);
    whole.sandbox.clock.advance(BEYOND_THE_LEASE);
    whole.state(id(&signal), "unknown").await;
    assert!(whole.unresolved().await.is_empty());
    let answer = whole.confirm(confirmation(900, "EURUSD", "1.1")).await;
    assert_eq!((&answer["signal_id"], &answer["state"]), (&signal["signal_id"], &json!("executed")));
    whole.finish().await;
}
