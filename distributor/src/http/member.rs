//! Who is a member, and what is a member's now.

use std::sync::Arc;

use axum::extract::State;
use common::auth::Scope;
use common::crash;
use common::domain::{AccountName, UserId, decimal};
use common::error::{FieldError, Problem};
use common::http::{Caller, IdempotencyKey, Json, Path, Query, RequestId};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgConnection;
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::movement::record;
use super::{account_of, allow_member, amount, field, money, unknown_member};
use crate::Distributor;
use crate::error::Error;
use crate::store::member::{self, New};
use crate::store::movement::{self, Kind, Request};

/// The most members of one page.
const LIMIT_MAX: i64 = 1_000;
/// What is said of a new member, as often as his adding is repeated.
const ADDED: &str = "user created";

/// A new member.
#[derive(Deserialize, ToSchema)]
pub(super) struct NewUser {
    /// Chosen by the caller, or made up here.
    user_id: Option<String>,
    name: Option<String>,
    email: Option<String>,
    /// A first deposit, in the same step.
    #[serde(default, deserialize_with = "decimal::option")]
    #[schema(value_type = Option<decimal::Written>)]
    investment: Option<Decimal>,
    /// The account to invest in, `main` by default.
    #[schema(value_type = Option<AccountName>)]
    account: Option<String>,
}

/// The member is there.
#[derive(Serialize, ToSchema)]
pub(super) struct CreatedUser {
    message: &'static str,
    user_id: String,
}

fn name(text: Option<String>) -> Result<Option<String>, FieldError> {
    let name = text.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    if name.as_ref().is_some_and(|name| name.chars().count() > 200 || name.chars().any(char::is_control)) {
        return Err(FieldError::new("name", "has at most 200 characters, no control characters"));
    }
    Ok(name)
}

fn email(text: Option<String>) -> Result<Option<String>, FieldError> {
    let email = text.map(|email| email.trim().to_owned()).filter(|email| !email.is_empty());
    let bad = |email: &String| email.len() > 254 || !email.contains('@') || email.chars().any(char::is_control);
    if email.as_ref().is_some_and(bad) {
        return Err(FieldError::new("email", "is an address of at most 254 characters"));
    }
    Ok(email)
}

/// Adds a member, with a first deposit if one is named; both or neither. Without a key and without `user_id` a repetition
/// is another member, with another deposit.
#[utoipa::path(post, path = "/api/users", tag = "members", request_body = NewUser,
    params(("Idempotency-Key" = Option<String>, Header, description = "makes a retry safe: the same member, the same deposit")),
    responses((status = 200, body = CreatedUser), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
    (status = 413, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn create(
    State(distributor): State<Arc<Distributor>>,
    caller: Caller,
    RequestId(request_id): RequestId,
    IdempotencyKey(key): IdempotencyKey,
    Json(user): Json<NewUser>,
) -> Result<axum::Json<CreatedUser>, Error> {
    let principal = &caller.allow(Scope::MembersWrite)?.principal;
    let named = user.user_id.filter(|id| !id.is_empty());
    let named = named.map(|id| field("user_id", UserId::try_from(id))).transpose()?.map(String::from);
    let account = account_of(user.account)?;
    let (name, email) = (name(user.name)?, email(user.email)?);
    let investment = user.investment.filter(|value| !value.is_zero());
    let investment = investment.map(|value| amount("investment", value)).transpose()?;
    let content = json!([named, name, email, account, investment]).to_string();
    let content = Uuid::new_v5(&Uuid::NAMESPACE_OID, content.as_bytes());
    let user_id = named.unwrap_or_else(|| Uuid::now_v7().to_string());
    let new = New {
        user_id: &user_id,
        name: name.as_deref(),
        email: email.as_deref(),
        principal,
        idempotency_key: key.as_deref(),
        content,
    };
    let mut transaction = distributor.pool.begin().await?;
    if !member::create(&mut transaction, &new, distributor.clock.now()).await? {
        let user_id = added_before(&mut transaction, &new).await?;
        return Ok(axum::Json(CreatedUser { message: ADDED, user_id }));
    }
    if let Some(key) = new.idempotency_key
        && movement::by_key(&mut transaction, principal, key).await?.is_some()
    {
        return Err(Error::KeyReused);
    }
    if let Some(amount) = investment {
        let request = Request {
            movement_id: Uuid::now_v7(),
            user_id: &user_id,
            kind: Kind::Deposit(amount),
            idempotency_key: new.idempotency_key,
            principal,
            request_id: &request_id,
        };
        record(&distributor, &mut transaction, &account, &request).await?;
    }
    transaction.commit().await?;
    crash::point("moved");
    distributor.outdated.notify_one();
    tracing::info!(user.id = user_id, request.id = %request_id, "member added");
    Ok(axum::Json(CreatedUser { message: ADDED, user_id }))
}

/// Whom the same request added before, under its key; else the id or the key is another's.
async fn added_before(db: &mut PgConnection, new: &New<'_>) -> Result<String, Error> {
    let known = match new.idempotency_key {
        Some(key) => member::by_key(db, new.principal, key).await?,
        None => None,
    };
    match known {
        Some(known) if known.content == new.content => Ok(known.user_id),
        Some(_) => Err(Error::KeyReused),
        None => Err(Error::UserExists(new.user_id.to_owned())),
    }
}

/// Which members.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// What the id, the name or the address begins with, in any case.
    search: Option<String>,
    /// The last id of the page before.
    after: Option<String>,
    /// At most 1000; 100 by default.
    #[param(minimum = 1, maximum = 1_000)]
    limit: Option<i64>,
}

/// A member with the sums over accounts of his first account's currency.
#[derive(Serialize, ToSchema)]
pub(super) struct ListedUser {
    user_id: String,
    name: Option<String>,
    email: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    closed_at: Option<OffsetDateTime>,
    investment: Decimal,
    value: Decimal,
    profit_loss: Decimal,
    #[serde(with = "time::serde::rfc3339::option")]
    as_of: Option<OffsetDateTime>,
}

/// Lists members by id, a page at a time.
#[utoipa::path(get, path = "/api/users", tag = "members", params(Which), responses(
    (status = 200, body = Vec<ListedUser>), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn list(
    State(distributor): State<Arc<Distributor>>,
    caller: Caller,
    Query(which): Query<Which>,
) -> Result<axum::Json<Vec<ListedUser>>, Error> {
    caller.allow(Scope::Read)?;
    let limit = which.limit.unwrap_or(100);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(FieldError::new("limit", "is from 1 to 1000").into());
    }
    let (search, after) = (which.search.unwrap_or_default(), which.after.unwrap_or_default());
    let mut db = distributor.pool.acquire().await?;
    let rows = member::list(&mut db, search.trim(), &after, limit).await?;
    let listed = |row: member::Listed| ListedUser {
        user_id: row.user_id,
        name: row.name,
        email: row.email,
        created_at: row.created_at,
        closed_at: row.closed_at,
        investment: money(row.investment),
        value: money(row.value),
        profit_loss: money(row.profit_loss),
        as_of: row.as_of,
    };
    Ok(axum::Json(rows.into_iter().map(listed).collect()))
}

/// What to change; what is null or not there stays, an empty text clears.
#[derive(Deserialize, ToSchema)]
pub(super) struct Changes {
    name: Option<String>,
    email: Option<String>,
}

/// A member as entered.
#[derive(Serialize, ToSchema)]
pub(super) struct User {
    user_id: String,
    name: Option<String>,
    email: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    closed_at: Option<OffsetDateTime>,
}

/// Gives a member another name or address. The id stays: the books are kept by it.
#[utoipa::path(patch, path = "/api/users/{id}", tag = "members", request_body = Changes, params(("id" = String, Path)),
    responses((status = 200, body = User), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 404, body = Problem), (status = 413, body = Problem),
    (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn update(
    State(distributor): State<Arc<Distributor>>,
    caller: Caller,
    Path(id): Path<String>,
    Json(changes): Json<Changes>,
) -> Result<axum::Json<User>, Error> {
    caller.allow(Scope::MembersWrite)?;
    // Empty is what remains of a text that is there and says nothing.
    let name = changes.name.map(|text| name(Some(text)).map(Option::unwrap_or_default)).transpose()?;
    let email = changes.email.map(|text| email(Some(text)).map(Option::unwrap_or_default)).transpose()?;
    let mut db = distributor.pool.acquire().await?;
    let member = member::update(&mut db, &id, name.as_deref(), email.as_deref()).await?;
    let member = member.ok_or_else(|| unknown_member(&id))?;
    let member::Member { user_id, name, email, created_at, closed_at } = member;
    Ok(axum::Json(User { user_id, name, email, created_at, closed_at }))
}

/// Ends a membership that holds nothing: it takes no more money and stays in the books.
#[utoipa::path(post, path = "/api/users/{id}/close", tag = "members", params(("id" = String, Path)), responses(
    (status = 200, body = User), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn close(
    State(distributor): State<Arc<Distributor>>,
    caller: Caller,
    RequestId(request_id): RequestId,
    Path(id): Path<String>,
) -> Result<axum::Json<User>, Error> {
    caller.allow(Scope::MembersWrite)?;
    let mut transaction = distributor.pool.begin().await?;
    let closed = member::close(&mut transaction, &id, distributor.clock.now()).await?;
    let member = member::read(&mut transaction, &id).await?.ok_or_else(|| unknown_member(&id))?;
    if !closed {
        let detail = format!("member {id} has money in an account, or on its way; withdraw all of it first");
        return Err(Error::Conflict("has_money", detail));
    }
    transaction.commit().await?;
    tracing::info!(user.id = id, request.id = %request_id, "member closed");
    let member::Member { user_id, name, email, created_at, closed_at } = member;
    Ok(axum::Json(User { user_id, name, email, created_at, closed_at }))
}

/// A member's part of one account.
#[derive(Serialize, ToSchema)]
pub(super) struct Share {
    account: String,
    currency: Option<String>,
    investment: Decimal,
    value: Decimal,
    profit_loss: Decimal,
    deposited: Decimal,
    withdrawn: Decimal,
    /// Deposits that wait for their price.
    pending: Decimal,
    /// Withdrawals that wait; those for all there is have no amount yet.
    pending_withdrawals: Decimal,
    units: Decimal,
    /// The account report that the figures belong to.
    #[serde(with = "time::serde::rfc3339::option")]
    as_of: Option<OffsetDateTime>,
}

/// A member's figures: the sum over accounts of the first one's currency, and each account.
#[derive(Serialize, ToSchema)]
pub(super) struct UserStats {
    user_id: String,
    name: Option<String>,
    email: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    closed_at: Option<OffsetDateTime>,
    investment: Decimal,
    value: Decimal,
    profit_loss: Decimal,
    pending: Decimal,
    pending_withdrawals: Decimal,
    #[serde(with = "time::serde::rfc3339::option")]
    as_of: Option<OffsetDateTime>,
    accounts: Vec<Share>,
}

/// Tells a member's figures as of the last account report.
#[utoipa::path(get, path = "/api/users/{id}/stats", tag = "members", params(("id" = String, Path)), responses(
    (status = 200, body = UserStats), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn stats(
    State(distributor): State<Arc<Distributor>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<UserStats>, Error> {
    allow_member(&caller.0, &caller, &id)?;
    let mut db = distributor.pool.acquire().await?;
    let user = member::read(&mut db, &id).await?.ok_or_else(|| unknown_member(&id))?;
    let rows = member::shares(&mut db, &id).await?;
    // Sums are per currency: that of the first account with money that counts; others are in the list only.
    let first = rows.iter().find(|row| row.deposited != 0).or(rows.first());
    let currency = first.and_then(|row| row.currency.clone());
    let summed = || rows.iter().filter(|row| row.currency == currency);
    let sum = |figure: fn(&member::Share) -> i64| money(summed().map(figure).sum());
    let (investment, value) = (sum(|row| row.investment), sum(|row| row.value));
    let (profit_loss, pending) = (sum(|row| row.profit_loss), sum(|row| row.pending));
    let pending_withdrawals = sum(|row| row.pending_withdrawals);
    let as_of = summed().filter_map(|row| row.as_of).min();
    let share = |row: member::Share| Share {
        account: row.account,
        currency: row.currency,
        investment: money(row.investment),
        value: money(row.value),
        profit_loss: money(row.profit_loss),
        deposited: money(row.deposited),
        withdrawn: money(row.withdrawn),
        pending: money(row.pending),
        pending_withdrawals: money(row.pending_withdrawals),
        units: row.units,
        as_of: row.as_of,
    };
    Ok(axum::Json(UserStats {
        user_id: user.user_id,
        name: user.name,
        email: user.email,
        created_at: user.created_at,
        closed_at: user.closed_at,
        investment,
        value,
        profit_loss,
        pending,
        pending_withdrawals,
        as_of,
        accounts: rows.into_iter().map(share).collect(),
    }))
}
