//! Money that members bring and take.

use std::sync::Arc;

use axum::extract::State;
use common::auth::Scope;
use common::crash;
use common::domain::{AccountName, decimal};
use common::error::{FieldError, Problem};
use common::http::{Caller, IdempotencyKey, Json, Path, Query, RequestId};
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize};
use sqlx::PgConnection;
use time::OffsetDateTime;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{IntoParams, PartialSchema, ToSchema};
use uuid::Uuid;

use super::{account_of, allow_member, amount, money, unknown_account, unknown_member};
use crate::Distributor;
use crate::error::Error;
use crate::store::movement::{self, Kind, Recorded, Request};
use crate::store::{Pools, member};

/// The most movements of one page.
const LIMIT_MAX: i64 = 1_000;

/// Records a movement under its pool's lock.
pub(super) async fn record(
    distributor: &Distributor,
    db: &mut PgConnection,
    account: &str,
    request: &Request<'_>,
) -> Result<(), Error> {
    if !member::account_exists(db, account).await? {
        return Err(unknown_account(account));
    }
    let mut pools = Pools::lock(db, &[account.to_owned()]).await?;
    // Only now: later versions of a pool are never earlier.
    let now = distributor.clock.now();
    movement::record(db, pools.of(account)?, request, distributor.price_fresh, now).await?;
    Ok(pools.write(db, now).await?)
}

/// Money that a member brings.
#[derive(Deserialize, ToSchema)]
pub(super) struct Investment {
    /// Above zero, in whole cents.
    #[serde(deserialize_with = "decimal::required")]
    #[schema(value_type = decimal::Written)]
    amount: Decimal,
    /// The same as in the path, if given.
    user_id: Option<String>,
    /// `main` by default.
    #[schema(value_type = Option<AccountName>)]
    account: Option<String>,
}

/// How much a member takes.
enum Sum {
    Amount(Decimal),
    All,
}

impl PartialSchema for Sum {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::Number, Type::String])).into()
    }
}

impl ToSchema for Sum {}

impl<'de> Deserialize<'de> for Sum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        if value == "all" {
            return Ok(Self::All);
        }
        decimal::required(value).map(Self::Amount).map_err(serde::de::Error::custom)
    }
}

/// Money that a member takes.
#[derive(Deserialize, ToSchema)]
pub(super) struct Divestment {
    /// Above zero, in whole cents; or the word `all`: all there is when it is priced.
    #[schema(value_type = Option<Sum>)]
    amount: Option<Sum>,
    /// The same as the word.
    #[serde(default)]
    all: bool,
    /// The same as in the path, if given.
    user_id: Option<String>,
    /// `main` by default.
    #[schema(value_type = Option<AccountName>)]
    account: Option<String>,
}

/// The movement is recorded.
#[derive(Serialize, ToSchema)]
pub(super) struct Movement {
    message: &'static str,
    movement_id: Uuid,
    account: String,
    currency: Option<String>,
    /// `deposit` or `withdrawal`.
    kind: String,
    /// `applied`; `pending` until the account's next report gives its price; `cancelled`; `refused`.
    status: &'static str,
    /// As asked for; for all there is, what was paid; null until it is.
    amount: Option<Decimal>,
    /// Why it was refused.
    reason: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    recorded_at: OffsetDateTime,
    /// When it was priced, cancelled or refused.
    #[serde(with = "time::serde::rfc3339::option")]
    ended_at: Option<OffsetDateTime>,
    /// Units it added or took away.
    units: Option<Decimal>,
}

impl From<Recorded> for Movement {
    fn from(row: Recorded) -> Self {
        let status = row.status();
        let paid = row.moved.filter(|_| status == "applied").map(i64::abs);
        Self {
            message: match (&*row.kind, status) {
                ("deposit", "pending") => "investment recorded; it counts from the next account report",
                ("deposit", "applied") => "investment recorded",
                (_, "pending") => "withdrawal recorded; it is paid at the next account report's price",
                (_, "applied") => "withdrawal recorded",
                (_, "cancelled") => "cancelled",
                _ => "refused",
            },
            movement_id: row.movement_id,
            account: row.account,
            currency: row.currency,
            kind: row.kind,
            status,
            amount: row.asked.or(paid).map(money),
            reason: row.reason,
            recorded_at: row.recorded_at,
            ended_at: row.ended_at,
            units: row.units_delta.filter(|_| status == "applied"),
        }
    }
}

/// The movement, and what the member has invested in its account now.
#[derive(Serialize, ToSchema)]
pub(super) struct Moved {
    #[serde(flatten)]
    movement: Movement,
    /// All that is invested in this account, with deposits that are pending.
    total: Decimal,
}

/// A member's movement as the request names it.
struct Asked<'a> {
    id: &'a str,
    account: String,
    kind: Kind,
    key: Option<&'a str>,
    request_id: &'a str,
}

async fn move_money(distributor: &Distributor, caller: &Caller, asked: Asked<'_>) -> Result<axum::Json<Moved>, Error> {
    let identity = caller.allow(Scope::MembersWrite)?;
    let Asked { id, account, kind, key, request_id } = asked;
    let mut transaction = distributor.pool.begin().await?;
    let member = member::keep_open(&mut transaction, id).await?.ok_or_else(|| unknown_member(id))?;
    // The pool's row is the lock under which two requests with one key meet.
    Pools::lock(&mut transaction, std::slice::from_ref(&account)).await?;
    let known = match key {
        // A first deposit is part of its member's adding, and only to be repeated with it.
        Some(key) if member::by_key(&mut transaction, &identity.principal, key).await?.is_some() => {
            return Err(Error::KeyReused);
        }
        Some(key) => movement::by_key(&mut transaction, &identity.principal, key).await?,
        None => None,
    };
    let movement_id = known.unwrap_or_else(Uuid::now_v7);
    if known.is_none() {
        if member.closed_at.is_some() {
            return Err(Error::Conflict("user_closed", format!("member {id} is closed")));
        }
        let request = Request {
            movement_id,
            user_id: id,
            kind,
            idempotency_key: key,
            principal: &identity.principal,
            request_id,
        };
        record(distributor, &mut transaction, &account, &request).await?;
    }
    let recorded = movement::find(&mut transaction, id, movement_id).await?;
    let recorded = recorded.filter(|known| known.account == account && known.kind() == kind).ok_or(Error::KeyReused)?;
    let shares = member::shares(&mut transaction, id).await?;
    let total =
        shares.iter().find(|share| share.account == account).map_or(0, |share| share.investment + share.pending);
    transaction.commit().await?;
    crash::point("moved");
    distributor.outdated.notify_one();
    Ok(axum::Json(Moved { movement: recorded.into(), total: money(total) }))
}

fn same_member(named: Option<&String>, id: &str) -> Result<(), FieldError> {
    match named {
        Some(named) if named != id => Err(FieldError::new("user_id", "is another member than the path names")),
        _ => Ok(()),
    }
}

/// Records a member's deposit.
#[utoipa::path(post, path = "/api/users/{id}/invest", tag = "members", request_body = Investment,
    params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header, description = "makes a retry safe")),
    responses((status = 200, body = Moved), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
    (status = 413, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn invest(
    State(distributor): State<Arc<Distributor>>,
    caller: Caller,
    RequestId(request_id): RequestId,
    IdempotencyKey(key): IdempotencyKey,
    Path(id): Path<String>,
    Json(investment): Json<Investment>,
) -> Result<axum::Json<Moved>, Error> {
    caller.allow(Scope::MembersWrite)?;
    same_member(investment.user_id.as_ref(), &id)?;
    let kind = Kind::Deposit(amount("amount", investment.amount)?);
    let account = account_of(investment.account)?;
    let asked = Asked { id: &id, account, kind, key: key.as_deref(), request_id: &request_id };
    move_money(&distributor, &caller, asked).await
}

/// Records a member's withdrawal, at most what is his then. Less than a cent that is left goes to the others.
#[utoipa::path(post, path = "/api/users/{id}/withdraw", tag = "members", request_body = Divestment,
    params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header, description = "makes a retry safe")),
    responses((status = 200, body = Moved), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
    (status = 413, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn withdraw(
    State(distributor): State<Arc<Distributor>>,
    caller: Caller,
    RequestId(request_id): RequestId,
    IdempotencyKey(key): IdempotencyKey,
    Path(id): Path<String>,
    Json(divestment): Json<Divestment>,
) -> Result<axum::Json<Moved>, Error> {
    caller.allow(Scope::MembersWrite)?;
    same_member(divestment.user_id.as_ref(), &id)?;
    let kind = match (divestment.amount, divestment.all) {
        (Some(Sum::Amount(value)), false) => Kind::Withdrawal(Some(amount("amount", value)?)),
        (Some(Sum::All), _) | (None, true) => Kind::Withdrawal(None),
        _ => return Err(FieldError::new("amount", "either an amount, or all: true").into()),
    };
    let account = account_of(divestment.account)?;
    let asked = Asked { id: &id, account, kind, key: key.as_deref(), request_id: &request_id };
    move_money(&distributor, &caller, asked).await
}

/// Which movements.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// The last movement of the page before.
    before: Option<Uuid>,
    /// At most 1000; 100 by default.
    #[param(minimum = 1, maximum = 1_000)]
    limit: Option<i64>,
}

/// Lists a member's movements, the newest first.
#[utoipa::path(get, path = "/api/users/{id}/movements", tag = "members", params(("id" = String, Path), Which),
    responses((status = 200, body = Vec<Movement>), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn list(
    State(distributor): State<Arc<Distributor>>,
    caller: Caller,
    Path(id): Path<String>,
    Query(which): Query<Which>,
) -> Result<axum::Json<Vec<Movement>>, Error> {
    allow_member(&caller.0, &caller, &id)?;
    let limit = which.limit.unwrap_or(100);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(FieldError::new("limit", "is from 1 to 1000").into());
    }
    let mut db = distributor.pool.acquire().await?;
    member::read(&mut db, &id).await?.ok_or_else(|| unknown_member(&id))?;
    let rows = movement::list(&mut db, &id, None, which.before, limit).await?;
    Ok(axum::Json(rows.into_iter().map(Movement::from).collect()))
}

/// Takes back a movement that waits for its price.
#[utoipa::path(post, path = "/api/users/{id}/movements/{movement_id}/cancel", tag = "members",
    params(("id" = String, Path), ("movement_id" = Uuid, Path)),
    responses((status = 200, body = Movement), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn cancel(
    State(distributor): State<Arc<Distributor>>,
    caller: Caller,
    RequestId(request_id): RequestId,
    Path((id, movement_id)): Path<(String, Uuid)>,
) -> Result<axum::Json<Movement>, Error> {
    let identity = caller.allow(Scope::MembersWrite)?;
    let unknown = || Error::NotFound(format!("member {id} has no movement {movement_id}"));
    let mut transaction = distributor.pool.begin().await?;
    let found = movement::find(&mut transaction, &id, movement_id).await?.ok_or_else(unknown)?;
    let mut pools = Pools::lock(&mut transaction, std::slice::from_ref(&found.account)).await?;
    let now = distributor.clock.now();
    let by = (&*identity.principal, &*request_id);
    if !movement::cancel(&mut transaction, pools.of(&found.account)?, &found, by, now).await? {
        let detail = "the movement does not wait any more: it can't be cancelled".to_owned();
        return Err(Error::Conflict("not_pending", detail));
    }
    pools.write(&mut transaction, now).await?;
    let cancelled = movement::find(&mut transaction, &id, movement_id).await?.ok_or_else(unknown)?;
    transaction.commit().await?;
    Ok(axum::Json(cancelled.into()))
}
