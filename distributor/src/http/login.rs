//! An operator moves a pool to another account at the broker.

use std::sync::Arc;

use axum::extract::State;
use common::auth::Scope;
use common::error::{FieldError, Problem};
use common::http::{Caller, Json, Path, RequestId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Distributor;
use crate::error::Error;
use crate::store::{Pools, login, pools};

/// The account at the broker that the pool is to follow.
#[derive(Deserialize, ToSchema)]
pub(super) struct NextLogin {
    /// The present one takes an earlier wish back.
    login: i64,
}

/// Which account at the broker a pool follows.
#[derive(Serialize, ToSchema)]
pub(super) struct Logins {
    account: String,
    login: Option<i64>,
    /// The one whose first report is waited for; until then no report counts.
    next_login: Option<i64>,
}

/// Has the first report of another login taken over as the base: the members' money stays what it is, and from there on
/// that account's profit is theirs. Refused while the last report of the present login shows open positions.
#[utoipa::path(post, path = "/api/accounts/{account}/pool/login", tag = "control", request_body = NextLogin,
    params(("account" = String, Path)), responses(
    (status = 200, body = Logins), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
    (status = 413, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn set(
    State(distributor): State<Arc<Distributor>>,
    caller: Caller,
    RequestId(request_id): RequestId,
    Path(account): Path<String>,
    Json(NextLogin { login }): Json<NextLogin>,
) -> Result<axum::Json<Logins>, Error> {
    let principal = &*caller.allow(Scope::Operate)?.principal;
    if login <= 0 {
        return Err(FieldError::new("login", "is above zero").into());
    }
    let mut transaction = distributor.pool.begin().await?;
    if pools::read(&mut transaction, &account).await?.is_none() {
        return Err(Error::NotFound(format!("account {account} has no pool")));
    }
    let mut pools = Pools::lock(&mut transaction, std::slice::from_ref(&account)).await?;
    let now = distributor.clock.now();
    let state = pools.of(&account)?;
    state.last.expect_login(login, state.pool.units > 0)?;
    login::expected(&mut transaction, state, login, (principal, &request_id), now).await?;
    let logins = Logins { account, login: state.last.login, next_login: state.last.next_login };
    pools.write(&mut transaction, now).await?;
    transaction.commit().await?;
    tracing::warn!(account = logins.account, login, principal, request.id = %request_id, "a pool is to follow another login");
    Ok(axum::Json(logins))
}
