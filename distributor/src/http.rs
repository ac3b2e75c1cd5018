//! Members, their money, and the account they share.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use common::auth::{Identity, Scope};
use common::domain::{AccountName, Cents, Invalid, UserId, decimal};
use common::error::{FieldError, Problem};
use common::http::{Caller, Json, Path, Query, RequestId};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::error::Error;
use crate::store::movement::{self, Deposit, HoldingRow};
use crate::store::{self};
use crate::{Api, Distributor};

pub(crate) fn routes(api: Api) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(create_user))
        .routes(routes!(invest))
        .routes(routes!(stats))
        .routes(routes!(account_stats))
        .with_state(api)
}

fn field<T>(name: &str, outcome: Result<T, Invalid>) -> Result<T, FieldError> {
    outcome.map_err(|error| FieldError::new(name, error.to_string()))
}

/// An amount a member names: above zero, in whole cents.
fn amount(name: &str, value: Decimal) -> Result<i64, FieldError> {
    let cents = field(name, Cents::exact(value))?.0;
    if cents > 0 { Ok(cents) } else { Err(FieldError::new(name, "an amount is above zero")) }
}

fn account_of(name: Option<String>) -> Result<String, FieldError> {
    field("account", name.map_or(Ok(AccountName::main()), TryInto::try_into)).map(String::from)
}

fn money(cents: i64) -> Decimal {
    Cents(cents).decimal()
}

/// A new member.
#[derive(Deserialize, ToSchema)]
struct NewUser {
    /// Chosen by the caller, or made up here.
    user_id: Option<String>,
    email: Option<String>,
    /// A first deposit, in the same step.
    #[serde(default, deserialize_with = "decimal::option")]
    investment: Option<Decimal>,
    /// The account to invest in, `main` by default.
    account: Option<String>,
}

/// The member is there.
#[derive(Serialize, ToSchema)]
struct CreatedUser {
    message: &'static str,
    user_id: String,
}

/// Adds a member, with a first deposit if one is named; both or neither.
#[utoipa::path(post, path = "/api/users", tag = "members", request_body = NewUser, responses(
    (status = 200, body = CreatedUser), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
    (status = 413, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
async fn create_user(
    State(distributor): State<Arc<Distributor>>,
    caller: Caller,
    RequestId(request_id): RequestId,
    Json(user): Json<NewUser>,
) -> Result<axum::Json<CreatedUser>, Error> {
    let identity = caller.allow(Scope::MembersWrite)?;
    let user_id: String = match user.user_id.filter(|id| !id.is_empty()) {
        Some(id) => field("user_id", UserId::try_from(id))?.into(),
        None => Uuid::now_v7().to_string(),
    };
    let account = account_of(user.account)?;
    let email = user.email.map(|email| email.trim().to_owned()).filter(|email| !email.is_empty());
    if email
        .as_ref()
        .is_some_and(|email| email.len() > 254 || !email.contains('@') || email.chars().any(char::is_control))
    {
        return Err(FieldError::new("email", "is an address of at most 254 characters").into());
    }
    let investment = user.investment.filter(|value| !value.is_zero());
    let investment = investment.map(|value| amount("investment", value)).transpose()?;
    let now = distributor.clock.now();
    let mut transaction = distributor.pool.begin().await?;
    if !movement::create_user(&mut transaction, &user_id, email.as_deref(), now).await? {
        return Err(Error::UserExists(user_id));
    }
    if let Some(amount) = investment {
        let deposit = Deposit {
            movement_id: Uuid::now_v7(),
            user_id: &user_id,
            amount,
            idempotency_key: None,
            principal: &identity.principal,
            request_id: &request_id,
            recorded_at: now,
        };
        pay_in(&mut transaction, &account, &deposit, now).await?;
    }
    transaction.commit().await?;
    distributor.outdated.notify_one();
    tracing::info!(user.id = user_id, request.id = %request_id, "member added");
    Ok(axum::Json(CreatedUser { message: "user created", user_id }))
}

/// Takes a deposit in under the pool's lock; true: it counts now, false: it waits for a price.
async fn pay_in(
    db: &mut sqlx::PgConnection,
    account: &str,
    deposit: &Deposit<'_>,
    now: OffsetDateTime,
) -> Result<bool, Error> {
    if !movement::account_exists(db, account).await? {
        return Err(Error::NotFound(format!("no account {account}; it exists once a terminal's key is bound to it")));
    }
    let mut pool = store::lock_pool(db, account).await?;
    let counted = movement::deposit(db, &mut pool, deposit, now).await?.map_err(Error::Pool)?;
    store::write_pool(db, &pool).await?;
    Ok(counted)
}

/// Money that a member brings.
#[derive(Deserialize, ToSchema)]
struct Investment {
    /// Above zero, in whole cents.
    #[serde(deserialize_with = "decimal::required")]
    amount: Decimal,
    /// The same as in the path, if given.
    user_id: Option<String>,
    /// `main` by default.
    account: Option<String>,
}

/// The deposit is recorded.
#[derive(Serialize, ToSchema)]
struct Invested {
    message: &'static str,
    movement_id: Uuid,
    /// `applied`, or `pending` until the account's next report gives its price.
    status: &'static str,
    amount: Decimal,
    /// All that this member has invested in this account, with what is pending.
    total: Decimal,
}

/// Records a member's deposit.
#[utoipa::path(post, path = "/api/users/{id}/invest", tag = "members", request_body = Investment,
    params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header, description = "makes a retry safe")),
    responses((status = 200, body = Invested), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
    (status = 413, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
async fn invest(
    State(distributor): State<Arc<Distributor>>,
    caller: Caller,
    RequestId(request_id): RequestId,
    headers: HeaderMap,
    Path(id): Path<String>,
    Json(investment): Json<Investment>,
) -> Result<axum::Json<Invested>, Error> {
    let identity = caller.allow(Scope::MembersWrite)?;
    if investment.user_id.as_ref().is_some_and(|user_id| *user_id != id) {
        return Err(FieldError::new("user_id", "is another member than the path names").into());
    }
    let amount = amount("amount", investment.amount)?;
    let account = account_of(investment.account)?;
    let key = headers.get("idempotency-key").and_then(|value| value.to_str().ok()).filter(|key| !key.is_empty());
    let now = distributor.clock.now();
    let mut transaction = distributor.pool.begin().await?;
    if movement::user(&mut transaction, &id).await?.is_none() {
        return Err(Error::NotFound(format!("no member {id}")));
    }
    // The pool's row is the lock under which two requests with one key meet.
    store::lock_pool(&mut transaction, &account).await?;
    let known = match key {
        Some(key) => movement::by_key(&mut transaction, &identity.principal, key).await?,
        None => None,
    };
    let (movement_id, counted) = match known {
        Some(known) if known.account == account && known.user_id == id && known.amount == amount => {
            (known.movement_id, !known.pending)
        }
        Some(_) => return Err(Error::KeyReused),
        None => {
            let deposit = Deposit {
                movement_id: Uuid::now_v7(),
                user_id: &id,
                amount,
                idempotency_key: key,
                principal: &identity.principal,
                request_id: &request_id,
                recorded_at: now,
            };
            (deposit.movement_id, pay_in(&mut transaction, &account, &deposit, now).await?)
        }
    };
    let holdings = movement::holdings(&mut transaction, &id).await?;
    let total = holdings.iter().find(|holding| holding.account == account);
    let total = total.map_or(0, |holding| holding.investment + holding.pending);
    transaction.commit().await?;
    distributor.outdated.notify_one();
    Ok(axum::Json(Invested {
        message: if counted {
            "investment recorded"
        } else {
            "investment recorded; it counts from the next account report"
        },
        movement_id,
        status: if counted { "applied" } else { "pending" },
        amount: money(amount),
        total: money(total),
    }))
}

/// A member's part of one account.
#[derive(Serialize, ToSchema)]
struct Share {
    account: String,
    currency: Option<String>,
    investment: Decimal,
    value: Decimal,
    profit_loss: Decimal,
    deposited: Decimal,
    withdrawn: Decimal,
    /// Deposits that wait for their price.
    pending: Decimal,
    units: Decimal,
    /// The account report that the figures belong to.
    #[serde(with = "time::serde::rfc3339::option")]
    as_of: Option<OffsetDateTime>,
}

/// A member's figures: the sum over accounts of one currency, and each account.
#[derive(Serialize, ToSchema)]
struct UserStats {
    user_id: String,
    email: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    investment: Decimal,
    value: Decimal,
    profit_loss: Decimal,
    pending: Decimal,
    #[serde(with = "time::serde::rfc3339::option")]
    as_of: Option<OffsetDateTime>,
    accounts: Vec<Share>,
}

/// Reading all members, or with a member's key its own.
fn allow_member(identity: &Identity, caller: &Caller, id: &str) -> Result<(), Problem> {
    let own =
        identity.scopes.contains(&Scope::Member) && identity.user.as_ref().is_some_and(|user| user.as_str() == id);
    if own { Ok(()) } else { caller.allow(Scope::Read).map(drop) }
}

/// Tells a member's figures as of the last account report.
#[utoipa::path(get, path = "/api/users/{id}/stats", tag = "members", params(("id" = String, Path)), responses(
    (status = 200, body = UserStats), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 503, body = Problem)))]
async fn stats(
    State(distributor): State<Arc<Distributor>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<UserStats>, Error> {
    allow_member(&caller.0, &caller, &id)?;
    let mut db = distributor.pool.acquire().await?;
    let user = movement::user(&mut db, &id).await?.ok_or_else(|| Error::NotFound(format!("no member {id}")))?;
    let rows = movement::holdings(&mut db, &id).await?;
    // Sums are per currency: the first account's; other currencies are in the list only.
    let currency = rows.first().and_then(|row| row.currency.clone());
    let sum =
        |figure: fn(&HoldingRow) -> i64| money(rows.iter().filter(|row| row.currency == currency).map(figure).sum());
    let (investment, value) = (sum(|row| row.investment), sum(|row| row.value));
    let (profit_loss, pending) = (sum(|row| row.profit_loss), sum(|row| row.pending));
    let as_of = rows.iter().filter_map(|row| row.as_of).min();
    let share = |row: HoldingRow| Share {
        account: row.account,
        currency: row.currency,
        investment: money(row.investment),
        value: money(row.value),
        profit_loss: money(row.profit_loss),
        deposited: money(row.deposited),
        withdrawn: money(row.withdrawn),
        pending: money(row.pending),
        units: row.units,
        as_of: row.as_of,
    };
    Ok(axum::Json(UserStats {
        user_id: user.user_id,
        email: user.email,
        created_at: user.created_at,
        investment,
        value,
        profit_loss,
        pending,
        as_of,
        accounts: rows.into_iter().map(share).collect(),
    }))
}

/// Which account.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct OfAccount {
    /// `main` by default.
    account: Option<String>,
}

/// The account as its terminal last reported it.
#[derive(Serialize, ToSchema)]
struct AccountFigures {
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
struct AccountStats {
    name: String,
    /// Null before the first report.
    account: Option<AccountFigures>,
    total_investment: Decimal,
    /// The members' money now.
    pool_equity: Decimal,
    profit_loss: Decimal,
    pending: Decimal,
    members: i64,
    units: Decimal,
    /// Money in the account that is nobody's here: net deposits less the members' own.
    unreconciled: Option<Decimal>,
}

/// Tells an account's figures and its pool's.
#[utoipa::path(get, path = "/api/account/stats", tag = "members", params(OfAccount), responses(
    (status = 200, body = AccountStats), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
async fn account_stats(
    State(distributor): State<Arc<Distributor>>,
    caller: Caller,
    Query(of): Query<OfAccount>,
) -> Result<axum::Json<AccountStats>, Error> {
    caller.allow(Scope::Read)?;
    let name = account_of(of.account)?;
    // One snapshot, so that the pool and its members' sums belong together.
    let mut transaction = distributor.pool.begin_with("begin isolation level repeatable read read only").await?;
    let pool = store::pool(&mut transaction, &name).await?;
    if pool.is_none() && !movement::account_exists(&mut transaction, &name).await? {
        return Err(Error::NotFound(format!("no account {name}; it exists once a terminal's key is bound to it")));
    }
    let totals = movement::totals(&mut transaction, &name).await?;
    transaction.commit().await?;
    let (equity, units) = pool.as_ref().map_or((0, 0), |state| (state.pool.equity, state.pool.units));
    let last = pool.map(|state| state.last).unwrap_or_default();
    let equity = i64::try_from(equity).unwrap_or_default();
    let net = totals.deposited - totals.withdrawn;
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
        total_investment: money(totals.investment),
        pool_equity: money(equity),
        profit_loss: money(equity - net),
        pending: money(totals.pending),
        members: totals.members,
        units: Decimal::try_from_i128_with_scale(units, 0).unwrap_or_default(),
        unreconciled: last.figures.and_then(|figures| figures.net_deposits).map(|deposits| money(deposits - net)),
    }))
}
