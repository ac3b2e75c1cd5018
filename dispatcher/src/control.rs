//! The operator's switch: an account's mode, whoever sets it, through the API or beside services that are down.

use common::audit::{self, Entry};
use common::domain::Mode;
use serde_json::json;
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::life::gate::{self, mode_refuses};
use crate::store::{account, operate};
use crate::story::{self, By, Changed};

/// What is to be switched, by whom, and why.
pub struct Switch<'a> {
    /// The account.
    pub account: &'a str,
    /// Its mode from now on; `active` also lets openings through again that a day's loss had stopped.
    pub mode: Mode,
    /// For whoever asks later.
    pub reason: Option<&'a str>,
    /// Who switches, for the audit log.
    pub principal: &'a str,
    /// By which request.
    pub request_id: &'a str,
}

/// What a switch did; to be told once its transaction was committed.
#[must_use]
pub struct Switched(Vec<Changed>);

impl Switched {
    /// How many openings that waited were rejected.
    pub fn rejected(&self) -> usize {
        self.0.len()
    }

    /// Tells the log and the metrics of each of them.
    pub fn tell(&self, switch: &Switch<'_>, now: OffsetDateTime) {
        let by = By { request_id: Some(switch.request_id), principal: Some(switch.principal) };
        for signal in &self.0 {
            story::changed(signal, by, now);
        }
    }
}

/// Switches an account in the caller's transaction, with its entry in the audit log. It counts from the next claim on, also
/// for what is queued. None for an unknown account.
pub async fn switch(
    db: &mut PgConnection,
    switch: &Switch<'_>,
    now: OffsetDateTime,
) -> Result<Option<Switched>, sqlx::Error> {
    let Switch { account, mode, reason, principal, request_id } = *switch;
    let Some(row) = account::lock(db, account).await? else { return Ok(None) };
    account::set_mode(db, account, mode, reason, now).await?;
    let state = row.account()?.state;
    let lifted = state.as_ref().filter(|_| mode == Mode::Active).and_then(gate::lift);
    if let (Some(day), Some(state)) = (lifted, state) {
        account::set_state(db, account, &gate::State { day, ..state }).await?;
    }
    let mut rejected = Vec::new();
    if let Some(reason) = mode_refuses(mode) {
        rejected = operate::reject_openings(db, account, reason.code, &reason.message, now).await?;
    }
    let details = json!({"account": account, "mode": mode.as_str(), "reason": reason, "loss_lifted": lifted.is_some()});
    audit::append(db, crate::NAME, &[Entry { at: now, event: "control.mode", principal, request_id, details }]).await?;
    Ok(Some(Switched(rejected)))
}
