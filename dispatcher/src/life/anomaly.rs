//! What a report contradicts of what was known, and what an operator does about it. Pure.

use common::domain::SignalState;

use super::{Known, Report, Status};

/// What the ticket of an opening may contradict beside its own signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The ticket was reported for another signal.
    OfAnotherSignal,
    /// A later closing that was to close it too has been executed, and did not.
    BeforeAClosing,
}

/// What an operator must look at: an order that should not be there.
pub(super) fn anomaly(known: &Known<'_>, report: &Report<'_>, ticket: i64) -> Option<&'static str> {
    let opening = known.action.opens();
    if opening && known.state == SignalState::Executed && !known.tickets.is_empty() && !known.tickets.contains(&ticket)
    {
        return Some("second_ticket");
    }
    match known.doubt.filter(|_| opening && report.status != Status::Closed) {
        Some(Doubt::BeforeAClosing) => return Some("orphan"),
        Some(Doubt::OfAnotherSignal) => return Some("ticket_of_another_signal"),
        None => {}
    }
    match known.state {
        SignalState::Failed => Some("executed_after_failed"),
        SignalState::Expired => Some("executed_after_expired"),
        SignalState::Cancelled => Some("executed_after_cancelled"),
        SignalState::Rejected => Some("executed_after_rejected"),
        SignalState::Pending => Some("executed_unclaimed"),
        // It was believed not sent, and was handed out again.
        SignalState::Processing | SignalState::Unknown
            if opening && report.attempt.is_some_and(|attempt| attempt < known.attempt) =>
        {
            Some("executed_by_older_attempt")
        }
        _ => None,
    }
}

/// Every kind of report that contradicts what was known, with what an operator does about it.
pub const ANOMALIES: [(&str, &str); 11] = [
    (
        "unknown_signal",
        "An order at the broker names a signal that this account does not have. Find out who placed the \
        order and, if nobody meant it, close it at the broker. After a restore of an old backup this is a signal that was lost.",
    ),
    (
        "second_ticket",
        "Two orders at the broker for one signal. Close the one that is too many at the broker, and keep the \
        account halted until you know which terminal sent it.",
    ),
    (
        "ticket_of_another_signal",
        "One order at the broker is reported for two signals. Compare its magic number with both \
        signals: the other one may not have been executed.",
    ),
    (
        "orphan",
        "A position was opened by a signal that came before a closing, and the closing did not reach it. Close it at \
        the broker, or with a CLOSE of its ticket.",
    ),
    (
        "executed_after_failed",
        "The signal was given up, and the order is at the broker all the same. Decide whether the \
        position is still wanted, and close it if not.",
    ),
    (
        "executed_after_expired",
        "The signal had expired, and the order is at the broker all the same. Decide whether the \
        position is still wanted, and close it if not.",
    ),
    (
        "executed_after_cancelled",
        "The signal was withdrawn, and the order is at the broker all the same. Close the position \
        unless it is wanted after all.",
    ),
    (
        "executed_after_rejected",
        "The signal was refused, and the order is at the broker all the same. Close the position, and \
        halt the account until you know which terminal sent it.",
    ),
    (
        "executed_unclaimed",
        "An order at the broker for a signal that no terminal held. Halt the account until you know which \
        terminal sent it; the signal is not handed out again.",
    ),
    (
        "denied_after_executed",
        "The signal was taken for executed without a ticket, and the terminal says that there is no \
        order. Look at the broker: the trade may be missing.",
    ),
    (
        "executed_by_older_attempt",
        "The signal was believed not sent and was handed out again, and the first order is at the \
        broker. Look whether the second one was sent too, and close one of them.",
    ),
];

/// What an operator does about an anomaly.
pub fn advice(kind: &str) -> &'static str {
    let known = ANOMALIES.iter().find(|(name, _)| *name == kind);
    known.map_or("Compare the broker's history with what was known.", |(_, advice)| advice)
}

/// What an operator must look at: no order where one is believed in, on a word alone.
pub(super) fn denied(known: &Known<'_>, status: Status) -> Option<&'static str> {
    let denies = matches!(status, Status::Failed | Status::NotSent | Status::NotFound);
    let believed = known.state == SignalState::Executed && known.action.opens() && known.tickets.is_empty();
    (denies && believed).then_some("denied_after_executed")
}
