//! After a restore: what the database takes for waiting or under way may have happened since the backup.
//!
//! Invariant: nothing that was to go out goes out again, and nothing new before an operator says so.

use common::audit::{self, Entry};
use common::domain::Mode;
use serde_json::json;
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::control::{Switch, switch};
use crate::store::{account, intake, restored, sweep};

/// Numbers that the lost time may have given out beyond what the clock allows for: a day at full speed.
const NUMBERS_LOST_MAX: i64 = 1_000_000_000;
const REASON: &str = "restored from a backup: compare with the broker, then set the mode to active";

/// What was made safe.
#[derive(Debug, Default)]
pub struct Restored {
    /// Accounts that are halted now.
    pub accounts: Vec<String>,
    /// Signals that waited, and are cancelled.
    pub cancelled: u64,
    /// Signals that were in a terminal's hands, and are looked up at the broker.
    pub unknown: u64,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum RestoredError {
    /// A service works on the database.
    #[error("{0} is connected to this database: stop the services first")]
    ServiceRuns(String),
    /// PostgreSQL.
    #[error("nothing was made safe: {0}")]
    Database(#[from] sqlx::Error),
}

/// Makes a restored database safe in the caller's transaction: what waited is cancelled, what was under way is unknown,
/// every account is halted, and numbers go on above any that was given out; with its entry in the audit log.
pub async fn make_safe(
    db: &mut PgConnection,
    (principal, request_id): (&str, &str),
    now: OffsetDateTime,
) -> Result<Restored, RestoredError> {
    if let Some(service) = restored::running_service(db).await? {
        return Err(RestoredError::ServiceRuns(service));
    }
    // A backup may be older than the months that were made ahead.
    sweep::make_partitions(db, 0).await?;
    let accounts = account::names(db).await?;
    let cancelled = restored::cancel_waiting(db, now).await?;
    let unknown = restored::doubt_claimed(db, now).await?;
    for account in &accounts {
        let halt = Switch { account, mode: Mode::Halted, reason: Some(REASON), principal, request_id };
        switch(db, &halt, now).await?;
    }
    intake::raise_sequence(db, now, NUMBERS_LOST_MAX).await?;
    let details = json!({"accounts": accounts, "cancelled": cancelled, "unknown": unknown});
    let entry = Entry { at: now, event: "platform.restored", principal, request_id, details };
    audit::append(db, crate::NAME, &[entry]).await?;
    Ok(Restored { accounts, cancelled, unknown })
}
