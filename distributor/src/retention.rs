//! Retires what is older than an operator wants to keep, a month at a time.
//!
//! Invariant: no row goes before the books were proved with it, and the end of that proof is in the audit log.

use std::sync::Arc;
use std::time::Duration;

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

/// Runs until told to stop.
pub(crate) async fn run(distributor: Arc<Distributor>, months: u32, stop: CancellationToken) {
    loop {
        let cut = cut(distributor.clock.now(), months);
        let rest = match once(&distributor, cut).await {
            Ok(()) => INTERVAL,
            Err(error) => {
                tracing::warn!(%error, "old months were not retired, trying again");
                RETRY_INTERVAL
            }
        };
        if tokio::time::timeout(rest, stop.cancelled()).await.is_ok() {
            return;
        }
    }
}

async fn once(distributor: &Distributor, cut: OffsetDateTime) -> Result<(), sqlx::Error> {
    // Holds the lock for as long as it is there, and nothing else.
    let mut alone = distributor.pool.begin().await?;
    if !retention::lock(&mut alone).await? {
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

/// Whether the books are proved up to the cut, by a checkpoint of each account; proves them where they are not.
async fn is_proved(distributor: &Distributor, db: &mut PgConnection, cut: OffsetDateTime) -> Result<bool, sqlx::Error> {
    if retention::is_checkpointed(db, cut).await? {
        return Ok(true);
    }
    for check in verify(db, &[]).await?.checks {
        if let Some(Difference { place, expected, found }) = check.difference {
            tracing::error!(check = check.name, place, expected, found, "nothing is retired: the books do not add up");
            return Ok(false);
        }
    }
    retention::checkpoint(db, cut, distributor.clock.now()).await?;
    Ok(true)
}
