//! Retires what is older than an operator wants to keep, a month at a time.
//!
//! Invariant: no row goes before the books were proved with it, and the end of that proof is in the audit log.

use common::database::{LONG_ANSWER_TIMEOUT, agrees_on_the_day, answered_within, let_rest};
use common::retention::cut;
use time::OffsetDateTime;

use crate::Distributor;
use crate::books::Verdict;
use crate::store::retention::{self, TABLES};

/// Retires what has become too old, after the books were looked at. What can't be done now is for the next look.
pub(crate) async fn after(distributor: &Distributor, verdict: &Verdict, months: u32) {
    let retired = retire(distributor, verdict, cut(distributor.clock.now(), months));
    if let Err(error) = answered_within(LONG_ANSWER_TIMEOUT, retired).await {
        tracing::warn!(%error, "old months were not retired");
    }
}

async fn retire(distributor: &Distributor, verdict: &Verdict, cut: OffsetDateTime) -> Result<(), sqlx::Error> {
    // Holds the lock for as long as it is there, and nothing else; nobody waits for it.
    let mut alone = distributor.pool.begin().await?;
    let_rest(&mut alone).await?;
    let mut retired = Ok(());
    if retention::lock(&mut alone).await? && agrees_on_the_day(&mut alone, distributor.clock.now()).await? {
        retired = retire_before(distributor, verdict, cut).await;
    }
    // Also after an error: a transaction that is dropped is ended at some later time.
    alone.rollback().await?;
    retired
}

async fn retire_before(distributor: &Distributor, verdict: &Verdict, cut: OffsetDateTime) -> Result<(), sqlx::Error> {
    let mut db = distributor.pool.acquire().await?;
    let mut months = Vec::new();
    for table in TABLES {
        months.extend(retention::months_before(&mut db, table, cut).await?.into_iter().map(|month| (table, month)));
    }
    if months.is_empty() {
        return Ok(());
    }
    if !verdict.is_clean() {
        tracing::error!("nothing is retired: the books do not add up");
        return Ok(());
    }
    retention::checkpoint(&mut db, cut, distributor.clock.now()).await?;
    for (table, month) in months {
        retention::retire(&mut db, table, &month).await?;
        tracing::info!(month, "retired");
    }
    Ok(())
}
