//! Bodies of `POST /api/account/update`, one after the other (0x1e between them), and what the risk gate and the members'
//! pool make of them.
#![no_main]

use common::message::{AccountUpdated, Body as _, Envelope};
use distributor::report::Figures;
use fuzz::{Books, assert_exact, assert_refused, now};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use time::Duration;

fuzz_target!(|data: &[u8]| {
    let mut books = Books::default();
    let mut received_at = now();
    for body in data.split(|byte| *byte == 0x1e) {
        received_at += Duration::seconds(1);
        let update = match dispatcher::fuzz::update(body, received_at) {
            Ok(update) => update,
            Err(problem) => {
                assert_refused(&problem);
                continue;
            }
        };
        assert!(Figures::of(&update).is_ok(), "what is accepted can be reckoned with: {update:?}");
        let end = body.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        // Text of a field that nobody knows is skipped unread and may be none.
        let written: Value = serde_json::from_slice(&body[..end]).unwrap_or_default();
        if written.is_object() {
            for (field, figure) in [
                ("balance", Some(update.balance)),
                ("equity", Some(update.equity)),
                ("margin", Some(update.margin)),
                ("free_margin", Some(update.free_margin)),
                ("profit", Some(update.profit)),
                ("credit", update.credit),
                ("net_deposits", update.net_deposits),
            ] {
                assert_exact(&written, field, figure);
            }
        }
        let received = deliver(update);
        books.observe(&received);
        books.take(&received, received_at);
    }
});

/// The distributor reads what the dispatcher publishes.
fn deliver(update: AccountUpdated) -> AccountUpdated {
    let envelope = Envelope {
        message_id: Default::default(),
        kind: AccountUpdated::TYPE.to_owned(),
        occurred_at: update.received_at,
        request_id: "fuzz".to_owned(),
        traceparent: None,
        body: update,
    };
    let sent = serde_json::to_vec(&envelope).expect("figures can be published");
    let received = Envelope::<AccountUpdated>::decode(&sent).expect("what was accepted can be read");
    assert_eq!(sent, serde_json::to_vec(&received).expect("JSON"));
    assert_eq!(Figures::of(&received.body), Figures::of(&envelope.body));
    received.body
}
