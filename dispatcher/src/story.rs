//! What is told of a signal's life: for each step a line in the log, with the signal's id, and a count.
//!
//! Invariant: a step is told once, by whoever made it, after its transaction was committed. Heartbeats are nobody's
//! signals: they are counted apart, and the log has them only where it is asked for more than usual.

use common::domain::SignalState;
use common::domain::signal::HEARTBEAT_PRINCIPAL;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::confirmation::Confirmation;
use crate::store::claim::HandedOut;
use crate::store::intake::Stored;
use crate::store::report::Outcome;

/// A signal in a new state, whatever brought it there.
pub(crate) struct Changed {
    pub(crate) signal_id: Uuid,
    pub(crate) account: String,
    pub(crate) state: String,
    pub(crate) attempt: i32,
    pub(crate) code: Option<String>,
    pub(crate) received_at: OffsetDateTime,
    /// Who sent it.
    pub(crate) principal: String,
}

/// Whose request brought a change about; time has none.
#[derive(Clone, Copy, Default)]
pub(crate) struct By<'a> {
    pub(crate) request_id: Option<&'a str>,
    pub(crate) principal: Option<&'a str>,
}

/// A line like any other, but for a heartbeat.
macro_rules! tell {
    ($heartbeat:expr, $($line:tt)*) => {
        if $heartbeat { tracing::debug!($($line)*) } else { tracing::info!($($line)*) }
    };
}

fn milliseconds(duration: time::Duration) -> i64 {
    i64::try_from(duration.whole_milliseconds()).unwrap_or(i64::MAX)
}

fn count(heartbeat: bool, name: &'static str, state: &str) {
    let name = if heartbeat { "pipeline_heartbeats_ended_total" } else { name };
    metrics::counter!(name, "state" => state.to_owned()).increment(1);
}

/// It is in the database, under the request that it was accepted with.
pub(crate) fn stored(signal: &Stored) {
    let Stored { signal_id, id, account, action, symbol, state, code, request_id, principal } = signal;
    let heartbeat = principal == HEARTBEAT_PRINCIPAL;
    if !heartbeat || *state != SignalState::Pending.as_str() {
        count(heartbeat, "pipeline_signals_stored_total", state);
    }
    tell!(heartbeat, signal.id = %signal_id, signal.number = id, request.id = request_id, account, action, symbol,
        state, code, "stored");
    if code.as_deref() == Some("key_reused") {
        metrics::counter!("pipeline_keys_reused_total").increment(1);
        tracing::error!(signal.id = %signal_id, request.id = request_id, account,
            "an idempotency key came with another signal: rejected");
    }
}

/// A terminal's poll is answered with it.
pub(crate) fn handed_out(handed_out: &HandedOut, request_id: &str, now: OffsetDateTime) {
    let signal = &handed_out.signal;
    let (heartbeat, age) = (signal.principal == HEARTBEAT_PRINCIPAL, now - signal.received_at);
    // A later attempt comes after a lease: nobody was slow.
    if signal.attempt == 1 && !heartbeat {
        metrics::histogram!("pipeline_accept_to_handout_seconds").record(age.as_seconds_f64().max(0.0));
    }
    if !heartbeat {
        metrics::counter!("pipeline_signals_handed_out_total").increment(1);
    }
    tell!(heartbeat, signal.id = %signal.signal_id, signal.number = signal.id, request.id = request_id, account =
        signal.account, terminal = signal.claimed_by, attempt = signal.attempt, latency_ms = milliseconds(age),
        "handed out");
}

/// It has ended, waits again, or nobody knows.
pub(crate) fn changed(changed: &Changed, by: By<'_>, now: OffsetDateTime) {
    let Changed { signal_id, account, state, attempt, code, received_at, principal: sender } = changed;
    let By { request_id, principal } = by;
    let (heartbeat, latency_ms) = (sender == HEARTBEAT_PRINCIPAL, milliseconds(now - *received_at));
    if *state != SignalState::Pending.as_str() {
        count(heartbeat, "pipeline_signals_ended_total", state);
    }
    if *state == SignalState::Unknown.as_str() {
        tracing::warn!(signal.id = %signal_id, account, attempt, code, latency_ms, "outcome unknown");
    } else {
        let what = if *state == SignalState::Pending.as_str() { "waits again" } else { "ended" };
        tell!(heartbeat, signal.id = %signal_id, request.id = request_id, account, state, code, attempt, principal,
            latency_ms, "{what}");
    }
}

/// A terminal's report was taken, and what it did.
pub(crate) fn reported(outcome: &Outcome, confirmation: &Confirmation, account: &str, request_id: &str) {
    let signal_id = outcome.signal.map(|(signal_id, _)| signal_id);
    let signal_id = signal_id.as_ref().map(tracing::field::display);
    let ticket = confirmation.ticket();
    let ended = outcome.ended.map(SignalState::as_str);
    if let Some(state) = outcome.ended {
        count(outcome.heartbeat, "pipeline_signals_ended_total", state.as_str());
        let name = match (outcome.heartbeat, state) {
            (false, _) => Some("pipeline_accept_to_end_seconds"),
            (true, SignalState::Executed) => Some("pipeline_heartbeat_seconds"),
            (true, _) => None,
        };
        if let Some(name) = name {
            metrics::histogram!(name).record(outcome.age.as_seconds_f64().max(0.0));
        }
        // None where it came of a signal that no terminal held.
        if let Some(held) = outcome.held.filter(|_| !outcome.heartbeat) {
            metrics::histogram!("pipeline_handout_to_end_seconds").record(held.as_seconds_f64().max(0.0));
        }
    }
    let what = match &*outcome.effect {
        _ if ended.is_some() => "ended",
        "pending" => "waits again",
        _ => "report kept",
    };
    tell!(
        outcome.heartbeat,
        signal.id = signal_id,
        request.id = request_id,
        account,
        state = ended,
        code = outcome.code,
        effect = ended.is_none().then_some(&outcome.effect),
        ticket,
        retcode = confirmation.retcode,
        terminal = confirmation.terminal.as_deref(),
        attempt = confirmation.attempt,
        latency_ms = ended.map(|_| milliseconds(outcome.age)),
        "{what}"
    );
    if let Some(kind) = outcome.anomaly {
        metrics::counter!("pipeline_anomalies_total", "kind" => kind).increment(1);
        tracing::error!(
            signal.id = signal_id,
            request.id = request_id,
            account,
            anomaly.kind = kind,
            ticket,
            "a report contradicts what was known"
        );
    }
}
