//! What a terminal's report does to a signal.

use common::domain::{Action, SignalState};
use time::OffsetDateTime;

use super::anomaly::{Doubt, anomaly, denied};
use super::{Life, PROTOCOL, Reason, unsent};

/// What a terminal says of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done at the broker, whole or in part.
    Executed,
    /// A pending order rests at the broker.
    Placed,
    /// Refused by the terminal or the broker.
    Failed,
    /// Never sent, by the terminal's own journal.
    NotSent,
    /// Looked up at the broker, and not there.
    NotFound,
    /// A position ended: by its stops, by hand, by a signal.
    Closed,
}

/// A terminal's report on a known signal.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// What it says.
    pub status: Status,
    /// The claim it speaks of; terminals of the first protocol know none.
    pub attempt: Option<i32>,
    /// The broker's number.
    pub ticket: Option<i64>,
    /// The installation that speaks.
    pub terminal: Option<&'a str>,
    /// What the broker or the terminal said.
    pub message: Option<&'a str>,
    /// MT5's return code.
    pub retcode: Option<i32>,
}

/// What is known of a signal when a report arrives.
#[derive(Clone, Debug)]
pub struct Known<'a> {
    /// Its state.
    pub state: SignalState,
    /// What it asks for.
    pub action: Action,
    /// Its current attempt.
    pub attempt: i32,
    /// The protocol of its last claim.
    pub claim_protocol: Option<i16>,
    /// The installation that took it.
    pub claimed_by: Option<&'a str>,
    /// While it may be handed out.
    pub life: Life,
    /// The tickets that its order has at the broker, as reported before.
    pub tickets: &'a [i64],
    /// What else is known that the ticket of an opening contradicts.
    pub doubt: Option<Doubt>,
    /// Whether a closing that was handed out supersedes it; told where the report says that nothing was sent.
    pub is_superseded: bool,
}

/// What a report does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The signal ends, or its end is corrected.
    End(SignalState, Reason),
    /// It waits for a terminal again.
    Again,
    /// It is recorded; the reason says why it changes nothing.
    Nothing(&'static str),
}

impl Effect {
    /// Why the signal ends, for a machine.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::End(_, reason) => Some(reason.code),
            Self::Again | Self::Nothing(_) => None,
        }
    }
}

/// What a report does, and what is odd about it.
pub fn confirm(known: &Known<'_>, report: &Report<'_>, now: OffsetDateTime) -> (Effect, Option<&'static str>) {
    let traded = matches!(report.status, Status::Executed | Status::Placed | Status::Closed);
    if let (true, Some(ticket)) = (traded, report.ticket) {
        return (with_ticket(known), anomaly(known, report, ticket));
    }
    match report.attempt {
        Some(attempt) if attempt != known.attempt => return (Effect::Nothing("of another attempt"), None),
        None if known.claim_protocol.is_some_and(|protocol| protocol >= PROTOCOL) => {
            return (Effect::Nothing("without its attempt"), None);
        }
        _ => {}
    }
    if !matches!(known.state, SignalState::Processing | SignalState::Unknown) {
        return (Effect::Nothing("the signal is not with a terminal"), denied(known, report.status));
    }
    let effect = match report.status {
        Status::Executed | Status::Placed => executed("confirmed"),
        Status::Closed => Effect::Nothing("without a ticket"),
        Status::Failed => {
            let message = report.message.unwrap_or("no reason given");
            let retcode = report.retcode.map(|code| format!("retcode {code}: ")).unwrap_or_default();
            end(SignalState::Failed, "refused", format!("{retcode}{message}"))
        }
        Status::NotFound => end(SignalState::Failed, "outcome_not_found", "not at the broker; never sent again"),
        // Only the installation that took it has the journal that can say so.
        Status::NotSent if known.claimed_by.is_none() || report.terminal != known.claimed_by => {
            Effect::Nothing("from an installation that did not take it")
        }
        Status::NotSent => unsent(known.life, known.is_superseded, now)
            .map_or(Effect::Again, |(state, reason)| Effect::End(state, reason)),
    };
    (effect, None)
}

fn end(state: SignalState, code: &'static str, message: impl Into<String>) -> Effect {
    Effect::End(state, Reason::new(code, message))
}

fn executed(message: &str) -> Effect {
    end(SignalState::Executed, "executed", message)
}

/// A ticket is proof: it ends every signal as executed, whatever was believed.
fn with_ticket(known: &Known<'_>) -> Effect {
    match known.state {
        SignalState::Executed => Effect::Nothing("executed already"),
        state if state.is_terminal() => executed("corrected: the broker holds it"),
        _ => executed("confirmed"),
    }
}
