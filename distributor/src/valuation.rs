//! Values members' parts after the pools moved: the latest level wins, and it takes a tenth of the time at most.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::database::in_time;
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

use crate::store::valuation::{self, Standing};
use crate::{Distributor, store};

/// After a pass of d it rests for 9 d.
const REST_FACTOR: u32 = 9;
/// Looks for pools that another distributor moved, or that a restart left behind.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How often they are made; every hour is plenty.
const PARTITIONS_INTERVAL: Duration = Duration::from_hours(1);
/// Partitions are made so many months ahead.
const PARTITIONS_AHEAD: i32 = 3;

/// Runs until told to stop.
pub(crate) async fn run(distributor: Arc<Distributor>, stop: CancellationToken) {
    let mut partitions: Option<Instant> = None;
    let mut failures = Vec::new();
    loop {
        let started = Instant::now();
        let outcome = in_time(once(&distributor, &mut partitions)).await;
        distributor.database_ready.set(outcome.is_ok());
        let failed: Vec<String> = match outcome {
            Ok(failed) => failed.into_iter().map(|(account, error)| format!("account {account}: {error}")).collect(),
            Err(error) => vec![error.to_string()],
        };
        let rest = if failed.is_empty() { started.elapsed() * REST_FACTOR } else { LOOK_INTERVAL };
        if !failed.is_empty() && failed != failures {
            tracing::warn!(error = failed.join("; "), "the valuation failed, trying again");
        }
        failures = failed;
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

/// What the database refused of single pools, which keeps no other from its valuation, by account.
async fn once(
    distributor: &Distributor,
    partitions: &mut Option<Instant>,
) -> Result<BTreeMap<String, sqlx::Error>, sqlx::Error> {
    let mut db = distributor.pool.acquire().await?;
    if partitions.is_none_or(|made| made.elapsed() > PARTITIONS_INTERVAL) {
        // A backup holds the tables, say. The next hour will do: this month's are there since the start.
        if let Err(error) = store::make_partitions(&mut db, PARTITIONS_AHEAD).await {
            tracing::warn!(%error, "no partitions were made");
        }
        *partitions = Some(Instant::now());
    }
    // Of all, also of those that another distributor moves: what stands still is seen by what this says again.
    let standings = valuation::standings(&mut db).await?;
    standings.iter().for_each(tell);
    let mut failed = BTreeMap::new();
    for account in valuation::outdated(&mut db).await? {
        match value(distributor, &mut db, &account).await {
            // Its answer, so the next one has an answer too.
            Err(error @ sqlx::Error::Database(_)) => drop(failed.insert(account, error)),
            outcome => outcome?,
        }
    }
    for Standing { account, .. } in standings {
        let is_refused = failed.contains_key(&account);
        metrics::gauge!("pipeline_pool_valuation_failed", "account" => account).set(f64::from(is_refused));
    }
    Ok(failed)
}

async fn value(distributor: &Distributor, db: &mut PgConnection, account: &str) -> Result<(), sqlx::Error> {
    let started = Instant::now();
    let valuation = valuation::compute(db, account, distributor.clock.now()).await?;
    valuation::store(db, account, &valuation, distributor.clock.now()).await?;
    metrics::histogram!("pipeline_valuation_seconds").record(started.elapsed());
    if valuation.imbalance != 0 {
        tracing::error!(account, cents = valuation.imbalance, "the members' units are not the pool's");
    }
    metrics::gauge!("pipeline_pool_imbalance", "account" => account.to_owned()).set(crate::money(valuation.imbalance));
    Ok(())
}

fn tell(standing: &Standing) {
    let &Standing { ref account, reported_at, equity, units, members, pending, unreconciled } = standing;
    let facts = [
        ("pipeline_pool_report_timestamp_seconds", reported_at),
        ("pipeline_pool_equity", Some(crate::money(equity))),
        ("pipeline_pool_unit_price", crate::unit_price(equity, units).and_then(|price| f64::try_from(price).ok())),
        ("pipeline_pool_members", Some(number(members))),
        ("pipeline_movements_pending", Some(number(pending))),
        ("pipeline_unreconciled", unreconciled.map(crate::money)),
    ];
    for (name, value) in facts {
        // A gauge keeps its last value for ever; with NaN no comparison of an alert is true.
        metrics::gauge!(name, "account" => account.clone()).set(value.unwrap_or(f64::NAN));
    }
}

fn number(count: i64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
