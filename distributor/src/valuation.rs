//! Values members' parts after the pools moved: the latest level wins, and it takes a tenth of the time at most.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::Distributor;
use crate::store::{self, valuation};

/// After a pass of d it rests for 9 d.
const REST_FACTOR: u32 = 9;
/// Looks for pools that another distributor moved, or that a restart left behind.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Partitions are made three months ahead; every hour is plenty.
const PARTITIONS_INTERVAL: Duration = Duration::from_hours(1);

/// Runs until told to stop.
pub(crate) async fn run(distributor: Arc<Distributor>, stop: CancellationToken) {
    let mut partitions: Option<Instant> = None;
    let mut failing = false;
    loop {
        let started = Instant::now();
        let outcome = once(&distributor, &mut partitions).await;
        distributor.database_ready.set(outcome.is_ok());
        if let Err(error) = &outcome
            && !failing
        {
            tracing::warn!(%error, "the valuation failed, trying again");
        }
        failing = outcome.is_err();
        let rest = if failing { LOOK_INTERVAL } else { started.elapsed() * REST_FACTOR };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(rest) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = distributor.outdated.notified() => {}
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
}

async fn once(distributor: &Distributor, partitions: &mut Option<Instant>) -> Result<(), sqlx::Error> {
    let mut db = distributor.pool.acquire().await?;
    if partitions.is_none_or(|made| made.elapsed() > PARTITIONS_INTERVAL) {
        match store::make_partitions(&mut db).await {
            // A backup holds the tables, say. They are made three months ahead: the next hour will do.
            Err(error) if common::database::was_locked(&error) => tracing::warn!(%error, "no partitions were made"),
            outcome => outcome?,
        }
        *partitions = Some(Instant::now());
    }
    // Of all, also of those that another distributor moves: what stands still is seen by what this says again.
    for (account, at) in valuation::reported(&mut db).await? {
        metrics::gauge!("pipeline_pool_report_timestamp_seconds", "account" => account).set(at);
    }
    for account in valuation::outdated(&mut db).await? {
        let started = Instant::now();
        let valuation = valuation::compute(&mut db, &account, distributor.clock.now()).await?;
        valuation::store(&mut db, &account, &valuation, distributor.clock.now()).await?;
        metrics::histogram!("pipeline_valuation_seconds").record(started.elapsed());
        if valuation.imbalance != 0 {
            tracing::error!(account, cents = valuation.imbalance, "the members' units are not the pool's");
        }
        let gauge = |name: &'static str, cents: i64| {
            metrics::gauge!(name, "account" => account.clone()).set(crate::money(cents));
        };
        gauge("pipeline_pool_imbalance", valuation.imbalance);
        gauge("pipeline_pool_equity", valuation.equity());
        if let Some(unreconciled) = valuation.unreconciled {
            gauge("pipeline_unreconciled", unreconciled);
        }
    }
    Ok(())
}
