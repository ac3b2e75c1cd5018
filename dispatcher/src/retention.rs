//! Retires signals that ended before what an operator wants to keep, a batch at a time, and the months of their events.
//!
//! Invariant: the id of a signal is known as retired for so long before its row goes that no intake takes it for a new one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::database::{LONG_ANSWER_TIMEOUT, agrees_on_the_day, answered_within, let_rest};
use common::retention::cut;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::Dispatcher;
use crate::store::retention::{self, Walked};

/// How often it looks for what has become too old.
const INTERVAL: Duration = Duration::from_hours(1);
/// How soon it goes on where rows were marked, the database was away, or somebody held a table.
const RETRY_INTERVAL: Duration = Duration::from_mins(2);
/// From an id's being known as retired to the end of its row: longer than any statement takes that did not see it.
const GRACE: time::Duration = time::Duration::minutes(1);

/// Runs until told to stop.
pub(crate) async fn run(dispatcher: Arc<Dispatcher>, months: u32, stop: CancellationToken) {
    loop {
        let walked = once(&dispatcher, cut(dispatcher.clock.now(), months), &stop);
        let rest = match answered_within(LONG_ANSWER_TIMEOUT, walked).await {
            Ok(true) => INTERVAL,
            Ok(false) => RETRY_INTERVAL,
            Err(error) => {
                tracing::warn!(%error, "old signals were not retired, trying again");
                RETRY_INTERVAL
            }
        };
        if tokio::time::timeout(rest, stop.cancelled()).await.is_ok() {
            return;
        }
    }
}

/// False where something is left to do soon.
async fn once(dispatcher: &Dispatcher, cut: OffsetDateTime, stop: &CancellationToken) -> Result<bool, sqlx::Error> {
    let (mut after, mut marked, mut removed) = (0, 0, 0);
    loop {
        let started = Instant::now();
        let now = dispatcher.clock.now();
        let mut transaction = dispatcher.pool.begin().await?;
        if !retention::lock(&mut transaction).await? || !agrees_on_the_day(&mut transaction, now).await? {
            return Ok(true);
        }
        let Walked { last, to_mark, to_remove } = retention::walk(&mut transaction, after, cut, now - GRACE).await?;
        marked += retention::mark(&mut transaction, &to_mark, now).await?;
        removed += retention::remove(&mut transaction, &to_remove, cut).await?;
        transaction.commit().await?;
        let Some(last) = last else { break };
        after = last;
        // Half of the time is everybody else's.
        if tokio::time::timeout(started.elapsed(), stop.cancelled()).await.is_ok() {
            return Ok(true);
        }
    }
    if removed > 0 {
        tracing::info!(removed, "signals retired");
    }
    if marked > 0 {
        return Ok(false);
    }
    // Holds the lock for as long as it is there, and nothing else; nobody waits for it.
    let mut alone = dispatcher.pool.begin().await?;
    let_rest(&mut alone).await?;
    let mut retired = Ok(());
    if retention::lock(&mut alone).await? {
        retired = retire_before(dispatcher, cut).await;
    }
    // Also after an error: a transaction that is dropped is ended at some later time.
    alone.rollback().await?;
    retired.map(|()| true)
}

async fn retire_before(dispatcher: &Dispatcher, cut: OffsetDateTime) -> Result<(), sqlx::Error> {
    let mut db = dispatcher.pool.acquire().await?;
    for month in retention::months_before(&mut db, cut).await? {
        retention::retire(&mut db, &month).await?;
        tracing::info!(month, "retired");
    }
    Ok(())
}
