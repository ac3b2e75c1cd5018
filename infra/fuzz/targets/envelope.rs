//! Messages of both queues, from whoever may write to the broker: a consumer decodes one and can go on with it, or it has a
//! reason that can be stored.
#![no_main]

use common::message::{AccountUpdated, Body, DecodeError, Envelope, SignalAccepted};
use dispatcher::life;
use fuzz::{Books, account, now};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(envelope) = decode::<SignalAccepted>(data) {
        life::expiry(&envelope.body, None, now());
        life::admit(&envelope.body, Some(&account()), false, now());
        let _ = (now() - envelope.body.received_at).as_seconds_f64();
    }
    if let Some(envelope) = decode::<AccountUpdated>(data) {
        let mut books = Books::default();
        books.take(&envelope.body, now());
        books.take(&envelope.body, now());
    }
});

fn decode<B: Body>(data: &[u8]) -> Option<Envelope<B>> {
    match Envelope::<B>::decode(data) {
        Ok(envelope) => {
            let printed = serde_json::to_vec(&envelope).expect("what was read can be written");
            let again = Envelope::<B>::decode(&printed).expect("what was written can be read");
            assert_eq!(printed, serde_json::to_vec(&again).expect("JSON"));
            Some(envelope)
        }
        Err(error) => {
            assert_storable(&error);
            None
        }
    }
}

/// No text column takes a zero character, and a message whose reason can't be stored would come for ever.
fn assert_storable(error: &DecodeError) {
    assert!(!error.to_string().contains('\0'), "{error:?}");
}
