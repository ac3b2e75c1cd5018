//! The operator's switch: an account's mode, whoever sets it, through the API or beside services that are down.

use common::audit::{self, Entry};
use common::domain::Mode;
use serde_json::json;
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::life::gate::{self, mode_refuses};
use crate::store::{account, operate};

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

/// Switches an account in the caller's transaction, with its entry in the audit log. It counts from the next claim on, also
/// for what is queued. Returns how many openings that waited were rejected; none for an unknown account.
pub async fn switch(
    db: &mut PgConnection,
    switch: &Switch<'_>,
    now: OffsetDateTime,
) -> Result<Option<u64>, sqlx::Error> {
    let Switch { account, mode, reason, principal, request_id } = *switch;
    let Some(row) = account::lock(db, account).await? else { return Ok(None) };
    account::set_mode(db, account, mode, reason, now).await?;
    let state = row.account()?.state;
    let lifted = state.as_ref().filter(|_| mode == Mode::Active).and_then(gate::lift);
    if let (Some(day), Some(state)) = (lifted, state) {
        account::set_state(db, account, &gate::State { day, ..state }).await?;
    }
    let mut rejected = 0;
    if let Some(reason) = mode_refuses(mode) {
        rejected = operate::reject_openings(db, account, reason.code, &reason.message, now).await?;
    }
    let details = json!({"account": account, "mode": mode.as_str(), "reason": reason, "loss_lifted": lifted.is_some()});
    audit::append(db, crate::NAME, &[Entry { at: now, event: "control.mode", principal, request_id, details }]).await?;
    Ok(Some(rejected))
}
