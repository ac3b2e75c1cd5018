//! All SQL of the distributor. Functions on a connection, so that callers compose them in one transaction.
//!
//! Invariant: whoever changes a pool holds its row and writes it back through [`Pools`], together with a row of
//! `pool_history` for each change. Locks are taken in one order: pools by account, then the audit chain.

pub(crate) mod books;
pub(crate) mod history;
pub(crate) mod login;
pub(crate) mod member;
pub(crate) mod movement;
pub(crate) mod pools;
pub(crate) mod pricing;
pub(crate) mod retention;
pub(crate) mod state;
pub(crate) mod valuation;

pub(crate) use pools::{PoolState, Pools};

use rust_decimal::Decimal;
use sqlx::PgConnection;

use crate::pool::Pool;

fn overflow<E: std::error::Error + Send + Sync + 'static>(error: E) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

/// Units as PostgreSQL's numeric; at most 10^24, well within a decimal's 28 digits.
fn numeric(units: i128) -> Result<Decimal, sqlx::Error> {
    Decimal::try_from_i128_with_scale(units, 0).map_err(overflow)
}

/// Whole units from a numeric.
fn units(value: Decimal) -> i128 {
    value.trunc().mantissa()
}

fn cents(value: i128) -> Result<i64, sqlx::Error> {
    i64::try_from(value).map_err(overflow)
}

/// Whole cents that these units of a pool are worth.
pub(crate) fn value(equity: i64, total: Decimal, held: Decimal) -> i64 {
    let pool = Pool { equity: equity.into(), units: units(total), ..Pool::default() };
    i64::try_from(pool.value(units(held))).unwrap_or(i64::MAX)
}

/// Makes the partitions of the months to come.
pub(crate) async fn make_partitions(db: &mut PgConnection, months_ahead: i32) -> Result<(), sqlx::Error> {
    for table in ["account_state", "pool_history", "pool_valuations"] {
        sqlx::query!("select ensure_month_partitions($1, $2)", table, months_ahead).execute(&mut *db).await?;
    }
    Ok(())
}
