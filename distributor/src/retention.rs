//! Retires what is older than an operator wants to keep, a month at a time.
//!
//! Invariant: no row goes before the books were proved with it, and the end of that proof is in the audit log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::database::agrees_on_the_day;
use common::retention::cut;
use sqlx::PgConnection;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::Distributor;
use crate::books::verify;
use crate::store::books::Difference;
use crate::store::retention::{self, TABLES};

/// How often it looks whether a month has become too old.
const INTERVAL: Duration = Duration::from_hours(1);
/// How soon it tries again where the database was away or somebody held a table.
const RETRY_INTERVAL: Duration = Duration::from_mins(1);
/// After an attempt of d it rests for 9 d at least.
const REST_FACTOR: u32 = 9;

/// Runs until told to stop.
pub(crate) async fn run(distributor: Arc<Distributor>, months: u32, stop: CancellationToken) {
    loop {
        let started = Instant::now();
        let rest = match once(&distributor, months).await {
            Ok(()) => INTERVAL,
            Err(error) => {
                tracing::warn!(%error, "old months were not retired, trying again");
                // The proof is most of it.
                RETRY_INTERVAL.max(started.elapsed() * REST_FACTOR)
            }
        };
        if tokio::time::timeout(rest, stop.cancelled()).await.is_ok() {
            return;
        }
    }
}

async fn once(distributor: &Distributor, months: u32) -> Result<(), sqlx::Error> {
    let cut = cut(distributor.clock.now(), months);
    // Holds the lock for as long as it is there, and nothing else.
    let mut alone = distributor.pool.begin().await?;
    if !retention::lock(&mut alone).await? || !agrees_on_the_day(&mut alone, distributor.clock.now()).await? {
        return Ok(());
    }
    let mut db = distributor.pool.acquire().await?;
    let mut months = Vec::new();
    for table in TABLES {
        months.extend(retention::months_before(&mut db, table, cut).await?.into_iter().map(|month| (table, month)));
    }
    if months.is_empty() || !is_proved(distributor, &mut db, cut).await? {
        return Ok(());
    }
    for (table, month) in months {
        retention::retire(&mut db, table, &month).await?;
        tracing::info!(month, "retired");
    }
    alone.commit().await
}

/// Proves the books, and writes a checkpoint of each account where there is none for this cut; false where they do not add
/// up.
async fn is_proved(distributor: &Distributor, db: &mut PgConnection, cut: OffsetDateTime) -> Result<bool, sqlx::Error> {
    for check in verify(db, &[]).await?.checks {
        if let Some(Difference { place, expected, found }) = check.difference {
            tracing::error!(check = check.name, place, expected, found, "nothing is retired: the books do not add up");
            return Ok(false);
        }
    }
    retention::checkpoint(db, cut, distributor.clock.now()).await?;
    Ok(true)
}
