//! What fuzzing calls: a request as the handler reads and judges it.

use common::error::Problem;
use common::message::SignalAccepted;
use time::OffsetDateTime;

use crate::request::SignalRequest;

/// The signal that a body and a key in the header ask for.
pub fn signal(body: &[u8], header_key: Option<&str>, now: OffsetDateTime) -> Result<SignalAccepted, Problem> {
    let request: SignalRequest = common::http::fuzz::body(body)?;
    request.accept("owner", header_key, now).map_err(Problem::invalid)
}
