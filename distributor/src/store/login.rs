//! The account at the broker that a pool follows, changed by an operator alone.

use common::audit::{self, Entry};
use serde_json::json;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::PoolState;

/// Has the audit log tell that an operator wants this login's next report taken over as the base.
pub(crate) async fn expected(
    db: &mut PgConnection,
    state: &mut PoolState,
    login: i64,
    (principal, request_id): (&str, &str),
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    state.touch();
    let details = json!({"account": state.account, "login": login, "present": state.last.login});
    let entry = Entry { at: now, event: "pool.login", principal, request_id, details };
    audit::append(db, crate::NAME, &[entry]).await
}
