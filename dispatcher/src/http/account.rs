//! The account's figures, from its terminal on to the members' shares.

use std::sync::Arc;

use axum::extract::State;
use common::crash;
use common::domain::{AccountName, Cents, decimal};
use common::error::{FieldError, Problem};
use common::http::{Caller, Json, RequestId};
use common::message::{AccountUpdated, Body as _, Envelope};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::operate::unknown_account;
use super::terminal::admit;
use super::{name_fault, terminal_account};
use crate::Dispatcher;
use crate::error::Error;
use crate::life::gate;
use crate::store::account::{self, AccountRow};
use crate::wake::Wakes;

/// An account's figures. The first Expert Advisor sends the first five only.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Update {
    #[serde(deserialize_with = "decimal::required")]
    #[schema(value_type = decimal::Written)]
    balance: Decimal,
    #[serde(deserialize_with = "decimal::required")]
    #[schema(value_type = decimal::Written)]
    equity: Decimal,
    #[serde(deserialize_with = "decimal::required")]
    #[schema(value_type = decimal::Written)]
    margin: Decimal,
    #[serde(deserialize_with = "decimal::required")]
    #[schema(value_type = decimal::Written)]
    free_margin: Decimal,
    #[serde(deserialize_with = "decimal::required")]
    #[schema(value_type = decimal::Written)]
    profit: Decimal,
    login: Option<i64>,
    #[schema(max_length = 128)]
    currency: Option<String>,
    #[serde(default, deserialize_with = "decimal::option")]
    #[schema(value_type = Option<decimal::Written>)]
    credit: Option<Decimal>,
    /// Deposits less withdrawals; only while the history is complete.
    #[serde(default, deserialize_with = "decimal::option")]
    #[schema(value_type = Option<decimal::Written>)]
    net_deposits: Option<Decimal>,
    /// One run of the terminal.
    #[schema(max_length = 128)]
    session: Option<String>,
    /// Grows by one per update in a session.
    seq: Option<i64>,
    /// How old the figures are.
    age_ms: Option<i64>,
    open_positions: Option<i32>,
    connected: Option<bool>,
    trade_allowed: Option<bool>,
    tick_age_ms: Option<i64>,
    #[schema(max_length = 128)]
    terminal: Option<String>,
}

impl Update {
    /// Fields that no account can have.
    fn faults(&self) -> Vec<FieldError> {
        let mut faults = Vec::new();
        let figures = [
            ("balance", Some(self.balance)),
            ("equity", Some(self.equity)),
            ("margin", Some(self.margin)),
            ("free_margin", Some(self.free_margin)),
            ("profit", Some(self.profit)),
            ("credit", self.credit),
            ("net_deposits", self.net_deposits),
        ];
        for (field, figure) in figures {
            if let Some(Err(error)) = figure.map(Cents::rounded) {
                faults.push(FieldError::new(field, error.to_string()));
            }
        }
        for (field, text) in [("session", &self.session), ("currency", &self.currency), ("terminal", &self.terminal)] {
            faults.extend(name_fault(field, text.as_deref()));
        }
        faults
    }

    /// As it is published.
    pub(crate) fn accept(
        self,
        account: AccountName,
        received_at: OffsetDateTime,
    ) -> Result<AccountUpdated, Vec<FieldError>> {
        let faults = self.faults();
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(AccountUpdated {
            account,
            received_at,
            terminal: self.terminal,
            balance: self.balance,
            equity: self.equity,
            margin: self.margin,
            free_margin: self.free_margin,
            profit: self.profit,
            login: self.login,
            currency: self.currency,
            credit: self.credit,
            net_deposits: self.net_deposits,
            session: self.session,
            seq: self.seq,
            age_ms: self.age_ms,
            open_positions: self.open_positions,
            connected: self.connected,
            trade_allowed: self.trade_allowed,
            tick_age_ms: self.tick_age_ms,
        })
    }
}

/// The update is on its way to the members' shares.
#[derive(Serialize, ToSchema)]
pub(crate) struct Updated {
    /// `ok`.
    status: &'static str,
    message: &'static str,
    /// What the account may do now.
    mode: String,
    /// The first part of all magic numbers of the account: by it the terminal knows the account's own orders.
    magic_base: i64,
}

/// Keeps a report, and how the account stands by it, for the risk gate. Returns the account. Refuses figures of another
/// account at the broker: they say nothing of this one.
async fn keep(
    dispatcher: &Dispatcher,
    envelope: &Envelope<AccountUpdated>,
    principal: &str,
) -> Result<AccountRow, Error> {
    let update = &envelope.body;
    let name = update.account.as_str();
    let mut transaction = dispatcher.pool.begin().await?;
    let row = account::lock(&mut transaction, name).await?.ok_or_else(|| unknown_account(name))?;
    let before = row.account()?;
    let by = (principal, &*envelope.request_id);
    admit(&mut transaction, name, &before.rules, update.login, by, update.received_at).await?;
    account::store_report(&mut transaction, update).await?;
    let state = gate::observe(&before, update);
    if let Some(state) = &state {
        account::set_state(&mut transaction, name, state).await?;
    }
    transaction.commit().await?;
    crash::point("kept");
    let stopped = |state: &gate::State| state.day.loss.is_some() && before.loss_today(state.at).is_none();
    if let Some(gate::State { day, .. }) = state.filter(stopped) {
        tracing::error!(
            account = name,
            request.id = envelope.request_id,
            lost.cents = day.loss,
            of.cents = day.equity,
            "the day's loss is above what the account allows: no openings until tomorrow or an operator's word"
        );
    }
    if before.is_stale(update.received_at) {
        dispatcher.wake.wake(name, Wakes::Changed);
    }
    Ok(row)
}

/// Takes an account's figures; 409 where they are another account's than the signals are for.
#[utoipa::path(post, path = "/api/account/update", tag = "terminal", request_body = Update, responses(
    (status = 200, body = Updated), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
    (status = 413, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn update(
    State(dispatcher): State<Arc<Dispatcher>>,
    caller: Caller,
    RequestId(request_id): RequestId,
    Json(update): Json<Update>,
) -> Result<axum::Json<Updated>, Error> {
    let account = terminal_account(&caller)?.clone();
    let received_at = dispatcher.clock.now();
    let body = update.accept(account, received_at).map_err(Error::Invalid)?;
    let envelope = Envelope {
        message_id: Uuid::now_v7(),
        kind: AccountUpdated::TYPE.to_owned(),
        occurred_at: received_at,
        request_id: request_id.to_string(),
        traceparent: None,
        body,
    };
    // First, so that it is kept also while the broker of messages is away, and no other account's figures go further.
    let AccountRow { mode, magic_base, .. } = keep(&dispatcher, &envelope, &caller.0.principal).await?;
    dispatcher.publisher.publish(&envelope).await.map_err(Error::Publish)?;
    crash::point("updated");
    Ok(axum::Json(Updated { status: "ok", message: "account figures accepted", mode, magic_base }))
}
