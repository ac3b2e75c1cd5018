//! The chain of what moved money or changed who may do what: each entry's hash covers the entry and the hash before it.

use serde::Serialize;
use sqlx::PgConnection;
use time::OffsetDateTime;

/// One entry.
#[derive(Serialize)]
pub struct Entry<'a> {
    /// When it happened.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// What, such as `movement.recorded`.
    pub event: &'static str,
    /// Who caused it.
    pub principal: &'a str,
    /// By which request.
    pub request_id: &'a str,
    /// The rest.
    pub details: serde_json::Value,
}

/// Appends to the chain of a service, in the caller's transaction; the chain is locked until that ends, so this comes
/// last.
pub async fn append(db: &mut PgConnection, service: &str, entries: &[Entry<'_>]) -> Result<(), sqlx::Error> {
    if entries.is_empty() {
        return Ok(());
    }
    let text = |entry| serde_json::to_string(entry).map_err(|error| sqlx::Error::Encode(Box::new(error)));
    let entries = entries.iter().map(text).collect::<Result<Vec<_>, _>>()?;
    sqlx::query!(
        r#"select append_audit($1, entry)::text as "void" from unnest($2::text[]) with ordinality as e (entry, place)
           order by place"#,
        service,
        &entries
    )
    .fetch_all(db)
    .await
    .map(drop)
}

/// Where a chain ends.
pub struct Head {
    /// Whose chain.
    pub service: String,
    /// The number of its last entry.
    pub seq: i64,
    /// That entry's hash, in hexadecimal.
    pub hash: String,
}

/// Where every chain ends.
pub async fn heads(db: &mut PgConnection) -> Result<Vec<Head>, sqlx::Error> {
    sqlx::query_as!(
        Head,
        r#"select distinct on (service) service, seq, encode(hash, 'hex') as "hash!"
           from audit_log order by service, seq desc"#
    )
    .fetch_all(db)
    .await
}
