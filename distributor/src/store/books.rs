//! The books checked against themselves, in SQL: every balance is derived again from the rows behind it, with none of
//! the pool's own code. Each check tells the first difference it finds.
//!
//! Invariant: where old rows were retired the proof begins at the last checkpoint, which the audit log vouches for; sums of
//! movements are of all time, for their rows stay.

mod audit;
mod pool;
mod reports;

use sqlx::PgConnection;

pub(crate) use self::audit::{audited, chains, checkpoints, hash_at};
pub(crate) use self::pool::{holdings, movements, pools, prices, versions};
pub(crate) use self::reports::{logins, reports, valuations};

/// Two figures that should be the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where, such as an account with a version or a member.
    pub place: String,
    /// What the books give.
    pub expected: String,
    /// What is there.
    pub found: String,
}

type Checked = Result<Option<Difference>, sqlx::Error>;

/// A snapshot of everything, for as long as it takes.
pub(crate) async fn hold_still(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("set transaction isolation level repeatable read, read only").execute(&mut *db).await?;
    super::retention::hold(db).await?;
    sqlx::query!("set local statement_timeout = '1h'").execute(&mut *db).await?;
    // Whole tables are compared with each other; where the planner takes one for small, a nested loop takes for ever.
    sqlx::query!("set local enable_nestloop = off").execute(db).await.map(drop)
}
