//! Who may do what: keys are made, listed, rotated and revoked here. A key's text is answered once and kept nowhere.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use common::auth::{Identity, KeyRing, Scope, visible};
use common::domain::{AccountName, Principal, UserId};
use common::error::{FieldError, Problem};
use common::http::{Caller, Json, Path, RequestId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use utoipa::ToSchema;

use super::name_fault;
use crate::Dispatcher;
use crate::error::Error;
use crate::keys::change::Change;
use crate::keys::{OVERLAP, OVERLAP_MAX, TTL_MAX};
use crate::store::keys::{self as store, KeyRow};

/// The most keys of one list.
const LIST_MAX: i64 = 1_000;
const NO_STORE: [(header::HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-store")];

/// A key without its secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct Key {
    key_id: String,
    /// What the key's text begins with.
    prefix: String,
    label: Option<String>,
    /// Who holds it.
    principal: String,
    scopes: Vec<String>,
    /// The account a terminal's key is bound to.
    account: Option<String>,
    /// The member a member's key is bound to.
    user_id: Option<String>,
    /// `environment` or `api`.
    source: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    expires_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    revoked_at: Option<OffsetDateTime>,
}

impl From<KeyRow> for Key {
    fn from(row: KeyRow) -> Self {
        Self {
            prefix: visible(&row.key_id),
            key_id: row.key_id,
            label: row.label,
            principal: row.principal,
            scopes: row.scopes,
            account: row.account,
            user_id: row.user_id,
            source: row.source,
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
        }
    }
}

/// A new key with its text.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewKey {
    /// The key itself, which nobody can show again.
    key: String,
    #[serde(flatten)]
    about: Key,
}

/// Which key to make.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Making {
    /// Who is to hold it. Idempotency keys are the principal's own, and at most two keys of it live at once.
    principal: String,
    /// `signals:write`, `terminal`, `read`, `operate`, `members:write`, `keys:write`, `member`; none that the key which
    /// asks lacks.
    scopes: Vec<String>,
    label: Option<String>,
    /// With the scope `terminal`: its account, which exists from then on.
    account: Option<String>,
    /// With the scope `member`: whose figures it reads.
    user_id: Option<String>,
    /// Life in seconds; without this and `expires_at` it ends when it is revoked.
    ttl_seconds: Option<i64>,
    /// End of life; the earlier of both counts.
    #[serde(default, with = "time::serde::rfc3339::option")]
    expires_at: Option<OffsetDateTime>,
}

impl Making {
    fn identity(&self) -> Result<Identity, Error> {
        let mut faults = Vec::new();
        let mut fault = |field: &str, message: String| faults.push(FieldError::new(field, message));
        let principal = self.principal.parse::<Principal>().map_err(|error| fault("principal", error.to_string())).ok();
        let mut scopes: Vec<Scope> = Vec::new();
        for (place, scope) in self.scopes.iter().enumerate() {
            match scope.parse() {
                Ok(scope) => scopes.push(scope),
                Err(error) => fault(&format!("scopes[{place}]"), format!("{error}")),
            }
        }
        scopes.sort_unstable();
        scopes.dedup();
        if self.scopes.is_empty() {
            fault("scopes", "names at least one".to_owned());
        }
        let account = self.account.as_deref().map(str::parse::<AccountName>).transpose();
        let account = account.map_err(|error| fault("account", error.to_string())).unwrap_or_default();
        let user = self.user_id.as_deref().map(str::parse::<UserId>).transpose();
        let user = user.map_err(|error| fault("user_id", error.to_string())).unwrap_or_default();
        for (field, given, scope) in
            [("account", self.account.is_some(), Scope::Terminal), ("user_id", self.user_id.is_some(), Scope::Member)]
        {
            if given != scopes.contains(&scope) {
                fault(field, format!("goes with the scope {}, and that with it", scope.as_str()));
            }
        }
        faults.extend(name_fault("label", self.label.as_deref()));
        if self.label.as_deref() == Some("") {
            faults.push(FieldError::new("label", "says something, or is left out"));
        }
        let Some(principal) = principal.filter(|_| faults.is_empty()) else { return Err(Error::Invalid(faults)) };
        Ok(Identity { key_id: String::new(), principal: principal.into(), scopes, account, user })
    }
}

/// The end of a key that was asked for in one of two ways; the earlier counts.
fn end(
    ttl_seconds: Option<i64>,
    expires_at: Option<OffsetDateTime>,
    now: OffsetDateTime,
) -> Result<Option<OffsetDateTime>, FieldError> {
    let ttl_max = TTL_MAX.whole_seconds();
    if ttl_seconds.is_some_and(|ttl| !(1..=ttl_max).contains(&ttl)) {
        return Err(FieldError::new("ttl_seconds", format!("is from 1 to {ttl_max}")));
    }
    if expires_at.is_some_and(|end| end <= now || end > now + TTL_MAX) {
        return Err(FieldError::new("expires_at", "is to come, within ten years"));
    }
    let by_ttl = ttl_seconds.map(|ttl| now + Duration::seconds(ttl));
    Ok(by_ttl.into_iter().chain(expires_at).min())
}

/// What the audit log says of a key, and of the one that changed it.
fn details(key: &Key, own: &Identity) -> Value {
    let mut details = json!(key);
    details["by_key"] = json!(own.key_id);
    details
}

/// Lists keys without their secrets: at most 1,000, live ones first, then the newest first. When a key was last used is
/// the metric `pipeline_api_key_last_used_timestamp_seconds`.
#[utoipa::path(get, path = "/api/keys", tag = "keys", responses(
    (status = 200, body = Vec<Key>), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 503, body = Problem)))]
pub(crate) async fn list(
    State(dispatcher): State<Arc<Dispatcher>>,
    caller: Caller,
) -> Result<impl IntoResponse, Error> {
    caller.allow(Scope::KeysWrite)?;
    let rows = store::list(&mut *dispatcher.pool.acquire().await?, dispatcher.clock.now(), LIST_MAX).await?;
    Ok((NO_STORE, axum::Json(rows.into_iter().map(Key::from).collect::<Vec<_>>())))
}

/// Makes a key that may at most what the key that asks may. Its text is in this answer and nowhere else: where the answer
/// is lost, revoke the key and make another.
#[utoipa::path(post, path = "/api/keys", tag = "keys", request_body = Making, responses(
    (status = 200, body = NewKey), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
    (status = 413, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn create(
    State(dispatcher): State<Arc<Dispatcher>>,
    State(ring): State<KeyRing>,
    caller: Caller,
    RequestId(request_id): RequestId,
    Json(making): Json<Making>,
) -> Result<impl IntoResponse, Error> {
    let own = caller.allow(Scope::KeysWrite)?;
    let identity = making.identity()?;
    let expires_at = end(making.ttl_seconds, making.expires_at, dispatcher.clock.now())?;
    let mut change = Change::begin(&dispatcher, &ring, own, &request_id).await?;
    let (key, key_id) = change.make(identity, making.label.as_deref(), expires_at, None).await?;
    let about = Key::from(change.row(&key_id).await?);
    change.finish("key.created", details(&about, own), None).await?;
    Ok((NO_STORE, axum::Json(NewKey { key, about })))
}

/// How to rotate a key.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Rotation {
    /// How long the old key goes on: a day by default, at most 30; 0 ends it at once.
    overlap_seconds: Option<i64>,
    /// Life of the new key in seconds. Where the old one has an end, the new one must have one too.
    ttl_seconds: Option<i64>,
    /// End of the new key's life; the earlier of both counts.
    #[serde(default, with = "time::serde::rfc3339::option")]
    expires_at: Option<OffsetDateTime>,
}

impl Rotation {
    fn overlap(&self) -> Result<Duration, FieldError> {
        let max = OVERLAP_MAX.whole_seconds();
        let overlap = self.overlap_seconds.unwrap_or_else(|| OVERLAP.whole_seconds());
        let fits = (0..=max).contains(&overlap).then(|| Duration::seconds(overlap));
        fits.ok_or_else(|| FieldError::new("overlap_seconds", format!("is from 0 to {max}")))
    }
}

/// A key in another's place.
#[derive(Serialize, ToSchema)]
pub(crate) struct Rotated {
    #[serde(flatten)]
    new: NewKey,
    /// The old one, with its end.
    replaces: Key,
}

/// Makes a key of the same principal, scopes and binding; the old one goes on for a while.
#[utoipa::path(post, path = "/api/keys/{id}/rotate", tag = "keys", request_body = Rotation,
    params(("id" = String, Path, description = "key_id")), responses(
    (status = 200, body = Rotated), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
    (status = 413, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn rotate(
    State(dispatcher): State<Arc<Dispatcher>>,
    State(ring): State<KeyRing>,
    caller: Caller,
    RequestId(request_id): RequestId,
    Path(id): Path<String>,
    Json(rotation): Json<Rotation>,
) -> Result<impl IntoResponse, Error> {
    let own = caller.allow(Scope::KeysWrite)?;
    let overlap = rotation.overlap()?;
    let expires_at = end(rotation.ttl_seconds, rotation.expires_at, dispatcher.clock.now())?;
    let mut change = Change::begin(&dispatcher, &ring, own, &request_id).await?;
    let old = change.target(&id).await?;
    if !old.live(change.now) {
        return Err(Error::Conflict("key_ended", format!("key {id} expired or was revoked: make a new one")));
    }
    // An older environment may come back and knows nothing of an end; of a revocation it does.
    if old.source == "environment" {
        let detail = format!("key {id} came from the environment: make a new key, then revoke this one");
        return Err(Error::Conflict("key_of_environment", detail));
    }
    if old.expires_at.is_some() && expires_at.is_none() {
        return Err(FieldError::new("expires_at", "the old key has an end: say when the new one is to end").into());
    }
    let at_once = overlap.is_zero().then_some(&*id);
    let (key, key_id) = change.make(old.identity()?, old.label.as_deref(), expires_at, at_once).await?;
    if at_once.is_some() {
        change.revoke(&old).await?;
    } else {
        change.end_at(&id, change.now + overlap).await?;
    }
    let (about, replaces) = (Key::from(change.row(&key_id).await?), Key::from(change.row(&id).await?));
    let mut details = details(&about, own);
    details["replaces"] = json!({"key_id": id, "expires_at": replaces.expires_at, "revoked": at_once.is_some()});
    change.finish("key.rotated", details, replaces.account.as_deref()).await?;
    Ok((NO_STORE, axum::Json(Rotated { new: NewKey { key, about }, replaces })))
}

/// Ends a key: it opens nothing any more, here at once and elsewhere within two seconds, and a poll that is held with it
/// is handed nothing. Safe to repeat.
#[utoipa::path(post, path = "/api/keys/{id}/revoke", tag = "keys",
    params(("id" = String, Path, description = "key_id")), responses(
    (status = 200, body = Key), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem),
    (status = 503, body = Problem)))]
pub(crate) async fn revoke(
    State(dispatcher): State<Arc<Dispatcher>>,
    State(ring): State<KeyRing>,
    caller: Caller,
    RequestId(request_id): RequestId,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Error> {
    let own = caller.allow(Scope::KeysWrite)?;
    let mut change = Change::begin(&dispatcher, &ring, own, &request_id).await?;
    let row = change.target(&id).await?;
    if row.revoked_at.is_some() {
        return Ok((NO_STORE, axum::Json(Key::from(row))));
    }
    change.revoke(&row).await?;
    let key = Key::from(change.row(&id).await?);
    change.finish("key.revoked", details(&key, own), key.account.as_deref()).await?;
    Ok((NO_STORE, axum::Json(key)))
}
