//! What a report means for the signal it is about, by all that is known.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{SignalRow, claim, corrupt};
use crate::confirmation::Confirmation;
use crate::life::anomaly::Doubt;
use crate::life::{self, Effect, Known, Report, Status};

/// What a report on a known signal does.
pub(super) struct Judged {
    pub(super) effect: Effect,
    pub(super) anomaly: Option<&'static str>,
    /// In words, what was known of the signal before.
    pub(super) known: String,
}

pub(super) async fn judge(
    db: &mut PgConnection,
    signal: &SignalRow,
    confirmation: &Confirmation,
    status: Status,
    ticket: Option<i64>,
    now: OffsetDateTime,
) -> Result<Judged, sqlx::Error> {
    let tickets = sqlx::query!("select ticket, order_ticket from trades where signal_id = $1", signal.signal_id)
        .fetch_all(&mut *db)
        .await?;
    let mut tickets: Vec<i64> =
        tickets.into_iter().flat_map(|trade| [Some(trade.ticket), trade.order_ticket]).flatten().collect();
    let words = in_words(signal, &tickets);
    // A pending order's position may have another number than the order: the order's number proves that it is the same.
    if confirmation.order.is_some_and(|order| tickets.contains(&order)) {
        tickets.extend(ticket);
    }
    let doubt = match ticket {
        Some(ticket) if !tickets.contains(&ticket) => doubt(db, signal, ticket).await?,
        _ => None,
    };
    let is_superseded = status == Status::NotSent && claim::is_superseded(db, signal, now).await?;
    let known = Known {
        state: signal.state.parse().map_err(corrupt)?,
        action: signal.action.parse().map_err(corrupt)?,
        attempt: signal.attempt,
        claim_protocol: signal.claim_protocol,
        claimed_by: signal.claimed_by.as_deref(),
        life: signal.life(),
        tickets: &tickets,
        doubt,
        is_superseded,
    };
    let report = Report {
        status,
        attempt: confirmation.attempt,
        ticket,
        terminal: confirmation.terminal.as_deref(),
        message: confirmation.message.as_deref(),
        retcode: confirmation.retcode,
    };
    let (effect, anomaly) = life::confirm(&known, &report, now);
    Ok(Judged { effect, anomaly, known: words })
}

fn in_words(signal: &SignalRow, tickets: &[i64]) -> String {
    let code = signal.code.as_deref().map(|code| format!(" ({code})")).unwrap_or_default();
    let tickets: Vec<String> = tickets.iter().map(ToString::to_string).collect();
    let tickets = if tickets.is_empty() { "none".to_owned() } else { tickets.join(", ") };
    format!("{}{code} at attempt {}, tickets: {tickets}", signal.state, signal.attempt)
}

/// What a ticket that is new to its signal contradicts elsewhere.
async fn doubt(db: &mut PgConnection, signal: &SignalRow, ticket: i64) -> Result<Option<Doubt>, sqlx::Error> {
    let found = sqlx::query!(
        r#"select exists (select from trades where account = $1 and ticket = $2
                          and signal_id is not null and signal_id <> $3) as "of_another!",
                  exists (select from signals where account = $1 and id > $4 and state = 'executed' and ticket is null
                          and action in ('CLOSE', 'CLOSE_ALL') and (symbol is null or symbol = $5))
                  and not exists (select from trades where account = $1 and ticket = $2
                                  and status in ('closed', 'cancelled')) as "before_a_closing!""#,
        signal.account,
        ticket,
        signal.signal_id,
        signal.id,
        signal.symbol
    )
    .fetch_one(db)
    .await?;
    Ok(if found.of_another {
        Some(Doubt::OfAnotherSignal)
    } else if found.before_a_closing {
        Some(Doubt::BeforeAClosing)
    } else {
        None
    })
}
