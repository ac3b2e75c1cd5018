//! The body of `POST /api/trades/confirm`: what is taken is known again when it comes again, holds no zero character, and
//! its figures are exactly what was written.
#![no_main]

use dispatcher::fuzz::confirmation;
use fuzz::{assert_exact, assert_refused};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let taken = match confirmation(data) {
        Ok(taken) => taken,
        Err(problem) => return assert_refused(&problem),
    };
    assert!(taken.ticket.is_none_or(|ticket| ticket > 0));
    assert!(taken.closings > 0);
    let end = data.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    // Text of a field that nobody knows is skipped unread and may be none.
    let written: Value = serde_json::from_slice(&data[..end]).unwrap_or_default();
    for (field, figure) in ["volume", "price", "profit"].into_iter().zip(taken.figures) {
        if written.is_object() {
            assert_exact(&written, field, figure);
        }
    }
    for field in ["signal_id", "symbol", "message", "terminal"] {
        assert!(!taken.report[field].as_str().unwrap_or_default().contains('\0'), "{field}");
    }
    let kept = serde_json::to_vec(&taken.report).expect("JSON");
    let again = confirmation(&kept).unwrap_or_else(|problem| panic!("{problem:?}"));
    assert_eq!(again.fingerprint == taken.fingerprint, taken.repeatable);
    assert_eq!(again.ticket, taken.ticket);
    assert_eq!(again.closings, taken.closings);
});
