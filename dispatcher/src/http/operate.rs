//! What an operator decides: modes, and the fate of single signals.

use std::sync::Arc;

use axum::extract::State;
use common::audit::{self, Entry};
use common::auth::Scope;
use common::domain::{AccountName, Cents, Mode};
use common::error::{FieldError, Problem};
use common::http::{Caller, Json, Path, Query, RequestId};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::json;
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::read::find;
use crate::Dispatcher;
use crate::control::{self, Switch};
use crate::error::Error;
use crate::life;
use crate::store::account::{self, AccountRow};
use crate::store::{claim, operate};
use crate::story::{self, By, Changed};
use crate::wake::{self, Wakes};

/// A signal's state after a decision.
#[derive(Serialize, ToSchema)]
pub(crate) struct Decided {
    signal_id: Uuid,
    state: &'static str,
}

pub(super) async fn commit(
    dispatcher: &Dispatcher,
    mut transaction: sqlx::Transaction<'_, sqlx::Postgres>,
    account: String,
) -> Result<(), Error> {
    let changed = wake::Changed::from([account]);
    dispatcher.tell_others(&mut transaction, &changed).await?;
    transaction.commit().await?;
    dispatcher.wake.wake_all(&changed, Wakes::Changed);
    Ok(())
}

/// Withdraws a signal that was not handed out yet.
#[utoipa::path(post, path = "/api/signals/{id}/cancel", tag = "signals",
    params(("id" = String, Path, description = "signal_id or number")), responses(
    (status = 200, body = Decided), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 409, body = Problem), (status = 410, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn cancel(
    State(dispatcher): State<Arc<Dispatcher>>,
    caller: Caller,
    RequestId(request_id): RequestId,
    Path(id): Path<String>,
) -> Result<axum::Json<Decided>, Error> {
    let principal = &caller.allow(Scope::Operate)?.principal;
    let signal = find(&dispatcher, &id).await?;
    let now = dispatcher.clock.now();
    let mut transaction = dispatcher.pool.begin().await?;
    let message = format!("cancelled by {principal}");
    let ended = operate::end(&mut transaction, signal.id, "cancelled", "cancelled", &message, now).await?;
    let ended = ended.ok_or_else(|| {
        Error::Conflict("not_pending", "the signal is not pending any more: it can't be withdrawn".to_owned())
    })?;
    let details = json!({"signal_id": signal.signal_id});
    let entry = Entry { at: now, event: "control.cancelled", principal, request_id: &request_id, details };
    audit::append(&mut transaction, crate::NAME, &[entry]).await?;
    commit(&dispatcher, transaction, signal.account).await?;
    story::changed(&ended, By { request_id: Some(&request_id), principal: Some(principal) }, now);
    Ok(axum::Json(Decided { signal_id: signal.signal_id, state: "cancelled" }))
}

/// An operator's word on a signal with an unknown outcome.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Resolution {
    /// `executed`, `failed`, or `retry` (only where it is certain that nothing was sent).
    outcome: String,
    /// How this is known.
    message: Option<String>,
}

/// Decides the fate of a signal whose outcome is unknown.
#[utoipa::path(post, path = "/api/signals/{id}/resolve", tag = "signals", request_body = Resolution,
    params(("id" = String, Path, description = "signal_id or number")), responses(
    (status = 200, body = Decided), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem), (status = 410, body = Problem),
    (status = 413, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn resolve(
    State(dispatcher): State<Arc<Dispatcher>>,
    caller: Caller,
    RequestId(request_id): RequestId,
    Path(id): Path<String>,
    Json(resolution): Json<Resolution>,
) -> Result<axum::Json<Decided>, Error> {
    let principal = &caller.allow(Scope::Operate)?.principal;
    if !matches!(&*resolution.outcome, "executed" | "failed" | "retry") {
        return Err(FieldError::new("outcome", "one of executed, failed, retry").into());
    }
    let found = find(&dispatcher, &id).await?;
    let now = dispatcher.clock.now();
    let mut transaction = dispatcher.pool.begin().await?;
    // As for a terminal's word that nothing was sent: no claim may hand out a closing meanwhile.
    if resolution.outcome == "retry" {
        account::lock(&mut transaction, &found.account).await?;
    }
    let signal = claim::lock_signal(&mut transaction, &found.account, Some(found.signal_id), None).await?;
    let signal = signal.ok_or_else(|| Error::NotFound(format!("no signal {id}")))?;
    if signal.state != "unknown" {
        let detail = format!("the signal is {}, not unknown: there is nothing to resolve", signal.state);
        return Err(Error::Conflict("not_unknown", detail));
    }
    let message = format!("{principal}: {}", resolution.message.as_deref().unwrap_or("no reason given"));
    let (state, code, message) = match &*resolution.outcome {
        "executed" => ("executed", "resolved", message),
        "failed" => ("failed", "resolved", message),
        _ => match life::unsent(signal.life(), claim::is_superseded(&mut transaction, &signal, now).await?, now) {
            Some((state, reason)) => (state.as_str(), reason.code, format!("{}; {message}", reason.message)),
            None => ("pending", "resolved", message),
        },
    };
    operate::set_state(&mut transaction, signal.signal_id, state, Some(code), Some(&message), now).await?;
    let details = json!({"signal_id": signal.signal_id, "outcome": resolution.outcome, "message": resolution.message});
    let entry = Entry { at: now, event: "control.resolved", principal, request_id: &request_id, details };
    audit::append(&mut transaction, crate::NAME, &[entry]).await?;
    let resolved = Changed {
        signal_id: signal.signal_id,
        account: signal.account.clone(),
        state: state.to_owned(),
        attempt: signal.attempt,
        code: Some(code.to_owned()),
        received_at: signal.received_at,
        principal: signal.principal.clone(),
    };
    commit(&dispatcher, transaction, signal.account).await?;
    story::changed(&resolved, By { request_id: Some(&request_id), principal: Some(principal) }, now);
    Ok(axum::Json(Decided { signal_id: signal.signal_id, state }))
}

/// Which account.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct OfAccount {
    /// `main` by default.
    account: Option<String>,
}

/// What an account may do.
#[derive(Serialize, ToSchema)]
pub(crate) struct Control {
    account: String,
    /// `active`, `reducing`, `halted`.
    #[schema(value_type = Mode)]
    mode: String,
    reason: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    changed_at: Option<OffsetDateTime>,
    /// Today's loss that stopped openings until 00:00 UTC, or until the mode is set to `active`; null: none did.
    daily_loss: Option<Decimal>,
}

impl Control {
    fn new(row: AccountRow, now: OffsetDateTime) -> Result<Self, Error> {
        let daily_loss = row.account()?.loss_today(now).map(|loss| Cents(loss).decimal());
        Ok(Self {
            account: row.account,
            mode: row.mode,
            reason: row.mode_reason,
            changed_at: row.mode_changed_at,
            daily_loss,
        })
    }
}

pub(super) fn unknown_account(account: &str) -> Error {
    Error::NotFound(format!("no account {account}; it exists once a terminal's key is bound to it"))
}

/// Reads an account's mode.
#[utoipa::path(get, path = "/api/control", tag = "control", params(OfAccount), responses(
    (status = 200, body = Control), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn control(
    State(dispatcher): State<Arc<Dispatcher>>,
    caller: Caller,
    Query(of): Query<OfAccount>,
) -> Result<axum::Json<Control>, Error> {
    caller.allow(Scope::Operate)?;
    let account = of.account.unwrap_or_else(|| AccountName::main().into());
    let row = account::find(&mut *dispatcher.pool.acquire().await?, &account).await?;
    Ok(axum::Json(Control::new(row.ok_or_else(|| unknown_account(&account))?, dispatcher.clock.now())?))
}

/// A change of mode.
#[derive(Deserialize, ToSchema)]
pub(crate) struct SetControl {
    /// `main` by default.
    account: Option<String>,
    /// `active`, `reducing`, `halted`.
    #[schema(value_type = Mode)]
    mode: String,
    reason: Option<String>,
}

/// Switches an account's mode; it counts from the next claim on, also for what is queued.
#[utoipa::path(post, path = "/api/control", tag = "control", request_body = SetControl, responses(
    (status = 200, body = Control), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 404, body = Problem), (status = 413, body = Problem),
    (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn set_control(
    State(dispatcher): State<Arc<Dispatcher>>,
    caller: Caller,
    RequestId(request_id): RequestId,
    Json(set): Json<SetControl>,
) -> Result<axum::Json<Control>, Error> {
    let principal = &caller.allow(Scope::Operate)?.principal;
    let mode: Mode = set.mode.parse().map_err(|error| FieldError::new("mode", format!("{error}")))?;
    let account = set.account.unwrap_or_else(|| AccountName::main().into());
    let now = dispatcher.clock.now();
    let mut transaction = dispatcher.pool.begin().await?;
    let switch = Switch { account: &account, mode, reason: set.reason.as_deref(), principal, request_id: &request_id };
    let switched = control::switch(&mut transaction, &switch, now).await?;
    let switched = switched.ok_or_else(|| unknown_account(&account))?;
    let row = account::find(&mut transaction, &account).await?.ok_or_else(|| unknown_account(&account))?;
    commit(&dispatcher, transaction, account.clone()).await?;
    switched.tell(&switch, now);
    tracing::info!(account, rejected = switched.rejected(), mode = mode.as_str(), principal, request.id = %request_id, "mode changed");
    Ok(axum::Json(Control::new(row, now)?))
}
