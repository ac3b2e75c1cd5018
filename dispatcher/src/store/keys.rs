//! The table of keys, of which the dispatcher is the one writer. A secret is never here, and its hash never leaves here.

use common::audit::{self, Entry};
use common::auth::{ApiKey, Identity};
use common::domain::{AccountName, UserId};
use serde_json::json;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::corrupt;

/// A row of `api_keys` without the hash.
pub(crate) struct KeyRow {
    pub(crate) key_id: String,
    pub(crate) principal: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) account: Option<String>,
    pub(crate) user_id: Option<String>,
    pub(crate) label: Option<String>,
    pub(crate) source: String,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) expires_at: Option<OffsetDateTime>,
    pub(crate) revoked_at: Option<OffsetDateTime>,
}

impl KeyRow {
    /// Whether it opens anything.
    pub(crate) fn live(&self, now: OffsetDateTime) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }

    /// Whom it stands for.
    pub(crate) fn identity(&self) -> Result<Identity, sqlx::Error> {
        Ok(Identity {
            key_id: self.key_id.clone(),
            principal: self.principal.clone(),
            scopes: self.scopes.iter().map(|scope| scope.parse()).collect::<Result<_, _>>().map_err(corrupt)?,
            account: self.account.as_deref().map(str::parse).transpose().map_err(corrupt)?,
            user: self.user_id.as_deref().map(str::parse).transpose().map_err(corrupt)?,
        })
    }
}

/// Lets one change of keys in at a time, until its transaction ends; readers are not held up. Comes before any lock of an
/// account.
pub(crate) async fn lock(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("lock table api_keys in share row exclusive mode").execute(db).await.map(drop)
}

/// One key.
pub(crate) async fn find(db: &mut PgConnection, key_id: &str) -> Result<Option<KeyRow>, sqlx::Error> {
    sqlx::query_as!(
        KeyRow,
        "select key_id, principal, scopes, account, user_id, label, source, created_at, expires_at, revoked_at
         from api_keys where key_id = $1",
        key_id
    )
    .fetch_optional(db)
    .await
}

/// The keys of a principal that open something.
pub(crate) async fn live_of(
    db: &mut PgConnection,
    principal: &str,
    now: OffsetDateTime,
) -> Result<Vec<KeyRow>, sqlx::Error> {
    sqlx::query_as!(
        KeyRow,
        "select key_id, principal, scopes, account, user_id, label, source, created_at, expires_at, revoked_at
         from api_keys where principal = $1 and revoked_at is null and (expires_at is null or expires_at > $2)",
        principal,
        now
    )
    .fetch_all(db)
    .await
}

/// Keys, those that open something first, then the newest first.
pub(crate) async fn list(db: &mut PgConnection, now: OffsetDateTime, limit: i64) -> Result<Vec<KeyRow>, sqlx::Error> {
    sqlx::query_as!(
        KeyRow,
        "select key_id, principal, scopes, account, user_id, label, source, created_at, expires_at, revoked_at
         from api_keys
         order by revoked_at is null and (expires_at is null or expires_at > $1) desc, created_at desc, key_id
         limit $2",
        now,
        limit
    )
    .fetch_all(db)
    .await
}

/// Whether there is such a member, as the distributor's table has it.
pub(crate) async fn member_exists(db: &mut PgConnection, user_id: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(r#"select exists (select from members where user_id = $1) as "exists!""#, user_id)
        .fetch_one(db)
        .await
}

/// Stores a key of the API, and makes the account that it is bound to.
pub(crate) async fn insert(
    db: &mut PgConnection,
    key: &ApiKey,
    label: Option<&str>,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    let identity = &key.identity;
    make_account(db, identity).await?;
    sqlx::query!(
        "insert into api_keys (key_id, principal, secret_sha256, scopes, account, user_id, label, source, created_at,
                               expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, 'api', $8, $9)",
        identity.key_id,
        identity.principal,
        &key.secret_sha256[..],
        &scopes(identity),
        identity.account.as_ref().map(AccountName::as_str),
        identity.user.as_ref().map(UserId::as_str),
        label,
        now,
        key.expires_at
    )
    .execute(db)
    .await
    .map(drop)
}

/// Ends a key now. The caller holds the account it is bound to: a claim that is under way comes before.
pub(crate) async fn revoke(db: &mut PgConnection, key_id: &str, now: OffsetDateTime) -> Result<(), sqlx::Error> {
    sqlx::query!("update api_keys set revoked_at = $2 where key_id = $1 and revoked_at is null", key_id, now)
        .execute(db)
        .await
        .map(drop)
}

/// Lets a key end at this time, unless it ends before.
pub(crate) async fn end_at(db: &mut PgConnection, key_id: &str, end: OffsetDateTime) -> Result<(), sqlx::Error> {
    sqlx::query!("update api_keys set expires_at = least(expires_at, $2) where key_id = $1", key_id, end)
        .execute(db)
        .await
        .map(drop)
}

/// Stores the environment's keys as they are there now, and makes the accounts that they are bound to. One that was
/// revoked stays revoked.
pub(crate) async fn register(db: &mut PgConnection, keys: &[ApiKey], now: OffsetDateTime) -> Result<(), sqlx::Error> {
    lock(db).await?;
    let mut entries = Vec::new();
    for key in keys {
        let identity = &key.identity;
        make_account(db, identity).await?;
        let account = identity.account.as_ref().map(AccountName::as_str);
        let user_id = identity.user.as_ref().map(UserId::as_str);
        let scopes = scopes(identity);
        let is_new = sqlx::query_scalar!(
            r#"insert into api_keys as k (key_id, principal, secret_sha256, scopes, account, user_id, created_at)
               values ($1, $2, $3, $4, $5, $6, $7)
               on conflict (key_id) do update set principal = $2, secret_sha256 = $3, scopes = $4, account = $5,
                   user_id = $6, source = 'environment', expires_at = null
               where k.revoked_at is null
                 and (k.principal, k.secret_sha256, k.scopes, k.account, k.user_id, k.source, k.expires_at)
                     is distinct from ($2, $3, $4, $5, $6, 'environment', null)
               returning xmax = 0 as "is_new!""#,
            identity.key_id,
            identity.principal,
            &key.secret_sha256[..],
            &scopes,
            account,
            user_id,
            now
        )
        .fetch_optional(&mut *db)
        .await?;
        if let Some(is_new) = is_new {
            let event = if is_new { "key.created" } else { "key.changed" };
            let details = json!({"key_id": identity.key_id, "scopes": scopes, "account": account, "user_id": user_id});
            let principal = &identity.principal;
            entries.push(Entry { at: now, event, principal, request_id: "environment", details });
        }
    }
    audit::append(db, crate::NAME, &entries).await
}

async fn make_account(db: &mut PgConnection, identity: &Identity) -> Result<(), sqlx::Error> {
    let Some(account) = &identity.account else { return Ok(()) };
    sqlx::query!("insert into accounts (account) values ($1) on conflict do nothing", account.as_str())
        .execute(db)
        .await
        .map(drop)
}

fn scopes(identity: &Identity) -> Vec<String> {
    identity.scopes.iter().map(|scope| scope.as_str().to_owned()).collect()
}
