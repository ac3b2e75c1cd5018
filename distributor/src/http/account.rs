//! The account that members share.

use std::sync::Arc;

use axum::extract::State;
use common::auth::Scope;
use common::error::{FieldError, Problem};
use common::http::{Caller, Path, Query, RequestId};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use super::{account_of, money, unit_price, unknown_account};
use crate::Distributor;
use crate::error::Error;
use crate::store::{Pools, history, member, pools, pricing};

/// The most points of a chart.
const POINTS_MAX: i32 = 1_000;

/// Which account.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct OfAccount {
    /// `main` by default.
    #[param(min_length = 1)]
    account: Option<String>,
}

/// The account as its terminal last reported it.
#[derive(Serialize, ToSchema)]
pub(super) struct AccountFigures {
    balance: Decimal,
    equity: Decimal,
    margin: Decimal,
    free_margin: Decimal,
    profit: Decimal,
    credit: Decimal,
    net_deposits: Option<Decimal>,
    login: Option<i64>,
    currency: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    timestamp: Option<OffsetDateTime>,
}

/// An account and the pool of its members.
#[derive(Serialize, ToSchema)]
pub(super) struct AccountStats {
    name: String,
    /// Null before the first report.
    account: Option<AccountFigures>,
    /// The account at the broker whose first report is waited for; null: none is.
    next_login: Option<i64>,
    total_investment: Decimal,
    /// The members' money now.
    pool_equity: Decimal,
    profit_loss: Decimal,
    /// Deposits that wait for their price.
    pending: Decimal,
    /// Withdrawals that wait; those for all there is have no amount yet.
    pending_withdrawals: Decimal,
    members: i64,
    units: Decimal,
    /// Of 10^8 units, in minor units of the currency; null where the pool has none.
    unit_price: Option<Decimal>,
    /// Money in the account that is nobody's here: net deposits less the members' own.
    unreconciled: Option<Decimal>,
}

/// Tells an account's figures and its pool's.
#[utoipa::path(get, path = "/api/account/stats", tag = "members", params(OfAccount), responses(
    (status = 200, body = AccountStats), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn stats(
    State(distributor): State<Arc<Distributor>>,
    caller: Caller,
    Query(of): Query<OfAccount>,
) -> Result<axum::Json<AccountStats>, Error> {
    caller.allow(Scope::Read)?;
    let name = account_of(of.account)?;
    // One snapshot, so that the pool and what waits belong together.
    let mut transaction = distributor.pool.begin_with("begin isolation level repeatable read read only").await?;
    let pool = pools::read(&mut transaction, &name).await?;
    if pool.is_none() && !member::account_exists(&mut transaction, &name).await? {
        return Err(unknown_account(&name));
    }
    let (deposits, withdrawals) = member::waiting(&mut transaction, &name).await?;
    transaction.commit().await?;
    let (last, pool, sums) = pool.map(|state| (state.last, state.pool, state.sums)).unwrap_or_default();
    let whole = |cents: i128| i64::try_from(cents).map_err(Error::internal);
    let (equity, net) = (whole(pool.equity)?, whole(sums.deposited - sums.withdrawn)?);
    let units = Decimal::try_from_i128_with_scale(pool.units, 0).map_err(Error::internal)?;
    let next_login = last.next_login;
    let account = last.figures.map(|figures| AccountFigures {
        balance: money(figures.balance),
        equity: money(figures.equity),
        margin: money(figures.margin),
        free_margin: money(figures.free_margin),
        profit: money(figures.floating),
        credit: money(figures.credit),
        net_deposits: figures.net_deposits.map(money),
        login: last.login,
        currency: last.currency,
        timestamp: last.state_at,
    });
    Ok(axum::Json(AccountStats {
        name,
        account,
        next_login,
        total_investment: money(whole(sums.investment)?),
        pool_equity: money(equity),
        profit_loss: money(equity - net),
        pending: money(deposits),
        pending_withdrawals: money(withdrawals),
        members: sums.members,
        unit_price: unit_price(equity, units),
        units,
        unreconciled: last.figures.and_then(|figures| figures.net_deposits).map(|deposits| money(deposits - net)),
    }))
}

/// Which part of an account's history.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Chart {
    /// `main` by default.
    #[param(min_length = 1)]
    account: Option<String>,
    /// RFC 3339; the beginning by default.
    #[serde(default, with = "time::serde::rfc3339::option")]
    from: Option<OffsetDateTime>,
    /// Now by default.
    #[serde(default, with = "time::serde::rfc3339::option")]
    to: Option<OffsetDateTime>,
    /// At most so many, evenly over the time: 2 to 1000, 200 by default.
    #[param(minimum = 2, maximum = 1_000)]
    points: Option<i32>,
}

/// The members' money at one time.
#[derive(Serialize, ToSchema)]
pub(super) struct ChartPoint {
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    equity: Decimal,
    /// Of all members since the beginning, with those who left.
    profit: Decimal,
    /// Of 10^8 units, in minor units of the currency; null where the pool has none.
    unit_price: Option<Decimal>,
}

/// Tells how the members' money in an account went, for a chart; it begins where all that is kept begins.
#[utoipa::path(get, path = "/api/account/history", tag = "members", params(Chart), responses(
    (status = 200, body = Vec<ChartPoint>), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 410, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn history(
    State(distributor): State<Arc<Distributor>>,
    caller: Caller,
    Query(chart): Query<Chart>,
) -> Result<axum::Json<Vec<ChartPoint>>, Error> {
    caller.allow(Scope::Read)?;
    let name = account_of(chart.account)?;
    let count = chart.points.unwrap_or(200);
    if !(2..=POINTS_MAX).contains(&count) {
        return Err(FieldError::new("points", "is from 2 to 1000").into());
    }
    let now = distributor.clock.now();
    let to = chart.to.unwrap_or(now).min(now);
    let mut db = distributor.pool.acquire().await?;
    if !member::account_exists(&mut db, &name).await? {
        return Err(unknown_account(&name));
    }
    if let Some(since) = history::kept_since(&mut db, &name).await?
        && to < since
    {
        return Err(Error::Retired("the points", name, since));
    }
    let points = history::points(&mut db, &name, chart.from, to, count).await?;
    let point = |point: history::Point| ChartPoint {
        at: point.at,
        equity: money(point.equity),
        profit: money(point.equity - point.paid_in),
        unit_price: unit_price(point.equity, point.units),
    };
    Ok(axum::Json(points.into_iter().map(point).collect()))
}

/// The pool begins afresh.
#[derive(Serialize, ToSchema)]
pub(super) struct ClosedPool {
    account: String,
    /// What was lost beyond the members' money.
    deficit: Decimal,
}

/// Closes a pool whose members' money is lost: their units become void, and the next deposit starts afresh.
#[utoipa::path(post, path = "/api/accounts/{account}/pool/close", tag = "control", params(("account" = String, Path)),
    responses((status = 200, body = ClosedPool), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn close_pool(
    State(distributor): State<Arc<Distributor>>,
    caller: Caller,
    RequestId(request_id): RequestId,
    Path(account): Path<String>,
) -> Result<axum::Json<ClosedPool>, Error> {
    let identity = caller.allow(Scope::Operate)?;
    let mut transaction = distributor.pool.begin().await?;
    if pools::read(&mut transaction, &account).await?.is_none() {
        return Err(Error::NotFound(format!("account {account} has no pool")));
    }
    let mut pools = Pools::lock(&mut transaction, std::slice::from_ref(&account)).await?;
    let now = distributor.clock.now();
    let by = (&*identity.principal, &*request_id);
    let deficit = pricing::close_pool(&mut transaction, pools.of(&account)?, by, now).await?;
    pools.write(&mut transaction, now).await?;
    transaction.commit().await?;
    distributor.outdated.notify_one();
    tracing::warn!(account, request.id = %request_id, "a wiped-out pool was closed");
    let deficit = money(i64::try_from(deficit).map_err(Error::internal)?);
    Ok(axum::Json(ClosedPool { account, deficit }))
}
