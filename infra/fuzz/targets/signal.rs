//! The body of `POST /api/signal`: what is accepted makes sense, is exactly what was written, is the same signal when it
//! is sent again in other words, and reaches the dispatcher.
#![no_main]

use common::message::{Body as _, Envelope, SignalAccepted};
use dispatcher::life;
use fuzz::{account, assert_exact, assert_refused, now};
use libfuzzer_sys::fuzz_target;
use rust_decimal::Decimal;
use serde_json::{Value, json};

fuzz_target!(|data: &[u8]| {
    let key = Some("key");
    let signal = match ingest::fuzz::signal(data, key, now()) {
        Ok(signal) => signal,
        Err(problem) => return assert_refused(&problem),
    };
    let order = &signal.order;
    assert!(order.faults().is_empty());
    let volume = order.volume.map(|volume| volume.get());
    assert!(volume.is_none_or(|volume| volume > Decimal::ZERO && volume <= Decimal::from(1_000_000)));
    let end = data.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    // Where a name is written twice, the body was refused.
    let written: Value = serde_json::from_slice(&data[..end]).expect("accepted, so it is JSON");
    assert_exact(&written, "volume", volume);
    assert_exact(&written, "risk_percent", order.risk_percent.map(|percent| percent.get()));
    if order.entry.is_some() {
        assert_exact(&written, "entry", order.entry.map(|price| price.get()));
    }
    for (field, level) in [("sl", order.sl), ("tp", order.tp)] {
        if level.is_some() {
            assert_exact(&written, field, level.map(|level| level.get()));
        }
    }
    assert_same_again(&signal, key);
    assert_delivered(signal);
});

/// The same order in other words, under the same key.
fn assert_same_again(signal: &SignalAccepted, key: Option<&str>) {
    let order = &signal.order;
    let text = |number: Option<Decimal>| number.map(|number| format!(" {number} "));
    let again = json!({
        "account": signal.account.as_str(),
        "symbol": order.symbol.as_ref().map(|symbol| format!(" {symbol} ")),
        "action": order.action.as_str().to_lowercase(),
        "order_type": order.order_type.as_str().to_uppercase(),
        "entry": text(order.entry.map(|price| price.get())),
        "volume": text(order.volume.map(|volume| volume.get())),
        "risk_percent": text(order.risk_percent.map(|percent| percent.get())),
        "sl": text(order.sl.map(|level| level.get())),
        "tp": text(order.tp.map(|level| level.get())),
        "ticket": order.ticket,
        "comment": "again",
    });
    let body = serde_json::to_vec(&again).expect("JSON");
    let again = ingest::fuzz::signal(&body, key, now()).expect("the same signal is accepted again");
    assert_eq!(again.signal_id, signal.signal_id, "{again:?} {signal:?}");
    let other = ingest::fuzz::signal(&body, Some("another key"), now()).expect("the same signal is accepted again");
    assert_ne!(other.signal_id, signal.signal_id);
}

/// The dispatcher reads what ingest publishes, and judges it.
fn assert_delivered(signal: SignalAccepted) {
    let envelope = Envelope {
        message_id: signal.signal_id,
        kind: SignalAccepted::TYPE.to_owned(),
        occurred_at: now(),
        request_id: "fuzz".to_owned(),
        traceparent: None,
        body: signal,
    };
    let sent = serde_json::to_vec(&envelope).expect("a signal can be published");
    let received = Envelope::<SignalAccepted>::decode(&sent).expect("what was accepted can be read");
    assert_eq!(sent, serde_json::to_vec(&received).expect("JSON"));
    life::admit(&received.body, Some(&account()), false, now());
    let closes = received.body.order.action.closes();
    assert_eq!(life::expiry(&received.body, None, now()).is_none(), closes);
}
