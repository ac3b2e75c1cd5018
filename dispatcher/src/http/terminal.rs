//! What an account's terminal asks and tells.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::response::IntoResponse;
use common::audit::{self, Entry};
use common::auth::KeyRing;
use common::crash;
use common::error::{FieldError, Problem};
use common::http::{Caller, Json, Query, RequestId};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::operate::unknown_account;
use super::{name_fault, terminal_account};
use crate::Dispatcher;
use crate::confirmation::Confirmation;
use crate::error::Error;
use crate::gauges;
use crate::life::gate::Rules;
use crate::life::{LEASE, PROTOCOL};
use crate::store::claim::{self, Claim, Claimant, HandedOut};
use crate::store::{SignalRow, account, report};
use crate::story::{self, By};
use crate::wake::{Changed, Wakes};

/// The longest a poll is held; below what proxies and the terminal's own timeouts cut.
const WAIT_MAX: Duration = Duration::from_secs(25);
/// The most signals of one poll.
const LIMIT_MAX: usize = 100;
const ACCOUNT_MODE: HeaderName = HeaderName::from_static("x-account-mode");
const NO_STORE: (HeaderName, &str) = (header::CACHE_CONTROL, "no-store");

/// How a terminal polls.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Poll {
    /// The most signals to claim, at most 100; 0 waits and claims nothing.
    limit: Option<usize>,
    /// How long to hold the request until there is one, at most 25000.
    wait_ms: Option<u64>,
    /// 2 for terminals that know attempts and look-ups.
    protocol: Option<i16>,
    /// The installation's own id.
    #[param(max_length = 128)]
    terminal: Option<String>,
    /// This run of it.
    #[param(max_length = 128)]
    session: Option<String>,
    /// The account at the broker that the terminal is logged in to.
    #[param(minimum = 1)]
    login: Option<i64>,
}

/// Who asks for look-ups.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Asking {
    /// The account at the broker that the terminal is logged in to.
    #[param(minimum = 1)]
    login: Option<i64>,
}

/// Refuses a terminal that is logged in to another account than the signals are for; the first that says its account
/// decides.
pub(super) async fn admit(
    db: &mut PgConnection,
    account: &str,
    rules: &Rules,
    login: Option<i64>,
    (principal, request_id): (&str, &str),
    now: OffsetDateTime,
) -> Result<(), Error> {
    let Some(named) = login else { return Ok(()) };
    match rules.login {
        _ if named <= 0 => Err(FieldError::new("login", "is above zero").into()),
        None => {
            let mut transaction = db.begin().await?;
            if account::bind(&mut transaction, account, named).await? {
                let details = json!({"account": account, "login": named});
                let entry = Entry { at: now, event: "control.login", principal, request_id, details };
                audit::append(&mut transaction, crate::NAME, &[entry]).await?;
            }
            Ok(transaction.commit().await?)
        }
        Some(bound) if bound == named => Ok(()),
        Some(bound) => {
            gauges::other_login(account, now);
            let detail = format!(
                "account {account} trades on login {bound}, and this terminal is logged in to {named}: log it in to {bound}, \
                 give it the key of another account, or change login in /api/accounts/{account}/risk"
            );
            Err(Error::Conflict("another_login", detail))
        }
    }
}

/// A signal in a terminal's hands. Flat, for readers that know no nesting.
#[derive(Serialize, ToSchema)]
pub(crate) struct Claimed {
    signal_id: Uuid,
    id: i64,
    /// The magic number for the order.
    magic: i64,
    attempt: i32,
    /// How long the claim holds, from the sending of the poll.
    lease_ms: i64,
    /// How long the order may still be sent, from the sending of the poll; null: no limit.
    remaining_ms: Option<i64>,
    /// How long the server held this poll.
    held_ms: u64,
    account: String,
    /// By the broker's name where the account maps it.
    symbol: Option<String>,
    action: String,
    order_type: String,
    volume: Option<Decimal>,
    max_volume: Decimal,
    risk_percent: Option<Decimal>,
    entry: Option<Decimal>,
    sl: Option<Decimal>,
    tp: Option<Decimal>,
    ticket: Option<i64>,
    max_slippage_points: Option<i32>,
    #[serde(with = "time::serde::rfc3339::option")]
    order_expires_at: Option<OffsetDateTime>,
    comment: Option<String>,
    /// Numbers of signals whose outcome must be looked up first.
    after: Vec<i64>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

fn milliseconds(duration: time::Duration) -> i64 {
    i64::try_from(duration.whole_milliseconds()).unwrap_or(i64::MAX)
}

fn plain(value: Option<Decimal>) -> Option<Decimal> {
    value.map(|value| value.normalize())
}

impl Claimed {
    /// Both limits as they are left at this answer.
    fn new(handed_out: HandedOut, now: OffsetDateTime, held: Duration) -> Self {
        let HandedOut { signal, after, rules, magic_base } = handed_out;
        let sized =
            signal.volume.is_some() || signal.risk_percent.is_some() || !matches!(&*signal.action, "BUY" | "SELL");
        Self {
            signal_id: signal.signal_id,
            id: signal.id,
            magic: claim::magic(magic_base, signal.id),
            attempt: signal.attempt,
            lease_ms: milliseconds(signal.lease_expires_at.map_or(LEASE, |end| (end - now).min(LEASE))),
            // The terminal counts from when it sent the poll, which is earlier than now by the time it was held.
            remaining_ms: signal.expires_at.map(|expiry| milliseconds(expiry - now)),
            held_ms: u64::try_from(held.as_millis()).unwrap_or(u64::MAX),
            account: signal.account,
            symbol: signal.symbol.map(|symbol| rules.broker_symbol(&symbol).to_owned()),
            action: signal.action,
            order_type: signal.order_type,
            volume: plain(signal.volume).or((!sized).then(|| rules.default_volume.get())),
            max_volume: rules.volume_max.get(),
            risk_percent: plain(signal.risk_percent),
            entry: plain(signal.entry),
            sl: plain(signal.sl),
            tp: plain(signal.tp),
            ticket: signal.ticket,
            max_slippage_points: signal.max_slippage_points,
            order_expires_at: signal.order_expires_at,
            comment: signal.comment,
            after,
            created_at: signal.received_at,
        }
    }
}

/// Hands pending signals to the account's terminal, oldest first, each at most once per attempt.
#[utoipa::path(get, path = "/api/signals/pending", tag = "terminal", params(Poll), responses(
    (status = 200, body = Vec<Claimed>), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 409, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn pending(
    State(dispatcher): State<Arc<Dispatcher>>,
    State(keys): State<KeyRing>,
    caller: Caller,
    RequestId(request_id): RequestId,
    Query(poll): Query<Poll>,
) -> Result<impl IntoResponse, Error> {
    let account = terminal_account(&caller)?.as_str();
    let protocol = poll.protocol.unwrap_or(1);
    let limit = poll.limit.unwrap_or(10).min(LIMIT_MAX);
    if protocol >= PROTOCOL && poll.terminal.as_deref().unwrap_or_default().is_empty() {
        return Err(FieldError::new("terminal", "protocol 2 names its installation").into());
    }
    let names = [("terminal", &poll.terminal), ("session", &poll.session)];
    let faults: Vec<_> = names.iter().filter_map(|(field, name)| name_fault(field, name.as_deref())).collect();
    if !faults.is_empty() {
        return Err(Error::Invalid(faults));
    }
    let wait = Duration::from_millis(poll.wait_ms.unwrap_or(0)).min(WAIT_MAX);
    let name = poll.terminal.as_deref().unwrap_or("");
    if dispatcher.polls.due(account, name, protocol) {
        let (mut db, now) = (dispatcher.pool.acquire().await?, dispatcher.clock.now());
        // A key's account is made with the key; where it is not there yet, neither is a signal.
        if let Some(row) = account::find(&mut db, account).await? {
            let by = (&*caller.0.principal, &*request_id);
            if let Err(error) = admit(&mut db, account, &row.account()?.rules, poll.login, by, now).await {
                dispatcher.polls.forget(account, name, protocol);
                return Err(error);
            }
            account::touch_terminal(&mut db, account, name, protocol, now).await?;
        }
    }
    let claimant = Claimant {
        account,
        terminal: poll.terminal.as_deref(),
        session: poll.session.as_deref(),
        protocol,
        login: poll.login,
        key_id: &caller.0.key_id,
    };
    let by = By { request_id: Some(&request_id), principal: None };
    let started = Instant::now();
    let mut changes = dispatcher.wake.watch(account);
    let mut woken = Wakes::Changed;
    loop {
        // The key may have ended while the poll was held; the claim looks once more, at the table.
        if !keys.knows(&caller.0) {
            return Err(Error::KeyEnded);
        }
        let claimed = look(&dispatcher, &claimant, limit, woken, by).await?;
        if let Some(claimed) = claimed {
            let now = dispatcher.clock.now();
            for signal in &claimed {
                story::handed_out(signal, &request_id, now);
            }
            let held = started.elapsed();
            let claimed = claimed.into_iter().map(|signal| Claimed::new(signal, now, held)).collect();
            return Ok(([NO_STORE], axum::Json(claimed)));
        }
        let left = wait.saturating_sub(started.elapsed());
        if left.is_zero() {
            break;
        }
        tokio::select! {
            _ = changes.changed() => woken = *changes.borrow_and_update(),
            () = tokio::time::sleep(left) => break,
            () = dispatcher.stop.cancelled() => break,
        }
    }
    Ok(([NO_STORE], axum::Json(Vec::new())))
}

/// What the poll is answered with now; none: it waits on.
async fn look(
    dispatcher: &Dispatcher,
    claimant: &Claimant<'_>,
    limit: usize,
    woken: Wakes,
    by: By<'_>,
) -> Result<Option<Vec<HandedOut>>, Error> {
    let mut db = dispatcher.pool.acquire().await?;
    if woken == Wakes::Changed && !claim::any_pending(&mut db, claimant.account).await? {
        return Ok(None);
    }
    if limit == 0 {
        let now = dispatcher.clock.now();
        let Some(row) = account::find(&mut db, claimant.account).await? else { return Ok(None) };
        let choice = claim::choice(&mut db, claimant, &row.account()?, 1, now).await?;
        // What is to be rejected ends with a claim too.
        return Ok((!choice.claim.is_empty() || !choice.reject.is_empty()).then(Vec::new));
    }
    let Claim { handed_out, ended } = claim::claim(&mut db, claimant, limit, &dispatcher.clock).await?;
    if !handed_out.is_empty() {
        crash::point("claimed");
    }
    for signal in &ended {
        story::changed(signal, by, dispatcher.clock.now());
    }
    Ok((!handed_out.is_empty()).then_some(handed_out))
}

/// A signal whose order the terminal must look up at the broker.
#[derive(Serialize, ToSchema)]
pub(crate) struct LookUp {
    signal_id: Uuid,
    id: i64,
    magic: i64,
    attempt: i32,
    symbol: Option<String>,
    action: String,
    order_type: String,
    volume: Option<Decimal>,
    entry: Option<Decimal>,
    /// With `tp`, what a change of stops must look like where it happened.
    sl: Option<Decimal>,
    tp: Option<Decimal>,
    ticket: Option<i64>,
    /// The installation that took it: only this one may report `not_sent`.
    terminal: Option<String>,
    /// The run of it that took it: one that does not know the claim never received it.
    session: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    claimed_at: Option<OffsetDateTime>,
    /// How long ago the claim was.
    age_ms: Option<i64>,
}

/// Signals with an unknown outcome, which the terminal looks up before it asks for new ones.
#[utoipa::path(get, path = "/api/signals/unresolved", tag = "terminal", params(Asking),
    responses(
    (status = 200, body = Vec<LookUp>, headers(("x-account-mode" = String, description = "the account's mode"))),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 409, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn unresolved(
    State(dispatcher): State<Arc<Dispatcher>>,
    caller: Caller,
    RequestId(request_id): RequestId,
    Query(asking): Query<Asking>,
) -> Result<impl IntoResponse, Error> {
    let account = terminal_account(&caller)?.as_str();
    let mut db = dispatcher.pool.acquire().await?;
    let row = account::find(&mut db, account).await?.ok_or_else(|| unknown_account(account))?;
    let rules = row.account()?.rules;
    let now = dispatcher.clock.now();
    admit(&mut db, account, &rules, asking.login, (&caller.0.principal, &request_id), now).await?;
    let mode = rules.mode.as_str();
    let look_up = |signal: SignalRow| LookUp {
        magic: claim::magic(row.magic_base, signal.id),
        signal_id: signal.signal_id,
        id: signal.id,
        attempt: signal.attempt,
        symbol: signal.symbol.map(|symbol| rules.broker_symbol(&symbol).to_owned()),
        action: signal.action,
        order_type: signal.order_type,
        volume: plain(signal.volume),
        entry: plain(signal.entry),
        sl: plain(signal.sl),
        tp: plain(signal.tp),
        ticket: signal.ticket,
        terminal: signal.claimed_by,
        session: signal.claim_session,
        claimed_at: signal.claimed_at,
        age_ms: signal.claimed_at.map(|claimed| milliseconds(now - claimed)),
    };
    let list: Vec<LookUp> = claim::unresolved(&mut db, account).await?.into_iter().map(look_up).collect();
    Ok(([NO_STORE, (ACCOUNT_MODE, mode)], axum::Json(list)))
}

/// What a confirmation did.
#[derive(Serialize, ToSchema)]
pub(crate) struct Confirmed {
    /// `ok`: the report is kept.
    status: &'static str,
    message: String,
    signal_id: Option<Uuid>,
    /// The signal's state now.
    state: Option<&'static str>,
    /// What an operator must look at.
    anomaly: Option<&'static str>,
}

/// Takes a terminal's report on an order. Safe to repeat.
#[utoipa::path(post, path = "/api/trades/confirm", tag = "terminal", request_body = Confirmation, responses(
    (status = 200, body = Confirmed), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 404, body = Problem), (status = 413, body = Problem),
    (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn confirm(
    State(dispatcher): State<Arc<Dispatcher>>,
    caller: Caller,
    RequestId(request_id): RequestId,
    Json(confirmation): Json<Confirmation>,
) -> Result<axum::Json<Confirmed>, Error> {
    let account = terminal_account(&caller)?.as_str();
    let (status, action) = (confirmation.status()?, confirmation.action()?);
    let now = dispatcher.clock.now();
    let mut transaction = dispatcher.pool.begin().await?;
    let outcome = report::apply(&mut transaction, account, &confirmation, status, action, now).await?;
    let Some(outcome) = outcome else {
        return Err(Error::NotFound("no such signal in this account, and no ticket that proves a trade".to_owned()));
    };
    let changed = Changed::from([account.to_owned()]);
    dispatcher.tell_others(&mut transaction, &changed).await?;
    transaction.commit().await?;
    crash::point("taken");
    dispatcher.wake.wake_all(&changed, Wakes::Changed);
    story::reported(&outcome, &confirmation, account, &request_id);
    Ok(axum::Json(Confirmed {
        status: "ok",
        message: outcome.effect,
        signal_id: outcome.signal.map(|(signal_id, _)| signal_id),
        state: outcome.signal.map(|(_, state)| state.as_str()),
        anomaly: outcome.anomaly,
    }))
}
