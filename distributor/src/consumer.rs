//! Account reports from the queue into the pools.

use std::collections::BTreeMap;
use std::iter;
use std::sync::Arc;

use common::database::{in_time, refuses_data};
use common::message::{AccountUpdated, Envelope};
use common::queue::Batch;

use crate::Distributor;
use crate::report::REASONS_TO_IGNORE;
use crate::store::state::{self, Taken};
use crate::store::{Pools, pricing};

/// Counters that alerts look at begin at zero: of one that is not there before its first event no increase is seen.
pub(crate) fn begin() {
    common::telemetry::metrics();
    for outcome in iter::once("applied").chain(REASONS_TO_IGNORE) {
        metrics::counter!("pipeline_account_updates_total", "outcome" => outcome).increment(0);
    }
    metrics::counter!("pipeline_dead_letters_total", "queue" => "account-updates").increment(0);
    // A histogram is there once somebody holds it.
    for name in ["pipeline_account_update_apply_seconds", "pipeline_valuation_seconds"] {
        drop(metrics::histogram!(name));
    }
}

/// Applies a batch. Called again with the same batch if that fails; changes nothing then.
pub(crate) async fn apply(distributor: Arc<Distributor>, batch: Batch) -> Result<(), sqlx::Error> {
    in_time(apply_or_keep(&distributor, &batch)).await
}

async fn apply_or_keep(distributor: &Distributor, batch: &[Vec<u8>]) -> Result<(), sqlx::Error> {
    match apply_all(distributor, batch).await {
        Err(error) if refuses_data(&error) => {}
        outcome => return outcome,
    }
    // One message that the database refuses must not hold up the others.
    for body in batch {
        match apply_all(distributor, std::slice::from_ref(body)).await {
            Err(error) if refuses_data(&error) => {
                let (reason, now) = (error.to_string(), distributor.clock.now());
                state::dead_letter(&mut *distributor.pool.acquire().await?, body, &reason, now).await?;
                count_unreadable(1, &reason);
            }
            outcome => outcome?,
        }
    }
    Ok(())
}

fn count_unreadable(messages: usize, reason: &str) {
    let count = u64::try_from(messages).unwrap_or(u64::MAX);
    metrics::counter!("pipeline_dead_letters_total", "queue" => "account-updates").increment(count);
    tracing::error!(messages, reason, "unreadable messages kept in account_update_dead_letters");
}

/// In one transaction, account by account.
async fn apply_all(distributor: &Distributor, batch: &[Vec<u8>]) -> Result<(), sqlx::Error> {
    // By account in one order for everybody, so that two distributors can't lock each other out.
    let mut by_account: BTreeMap<String, Vec<Envelope<AccountUpdated>>> = BTreeMap::new();
    let mut unreadable = Vec::new();
    for body in batch {
        match Envelope::<AccountUpdated>::decode(body) {
            Ok(envelope) => by_account.entry(envelope.body.account.to_string()).or_default().push(envelope),
            Err(error) => unreadable.push((body, error.to_string())),
        }
    }
    let accounts: Vec<String> = by_account.keys().cloned().collect();
    let mut taken = Vec::with_capacity(batch.len());
    let mut transaction = distributor.pool.begin().await?;
    let mut pools = Pools::lock(&mut transaction, &accounts).await?;
    // Only now: later versions of a pool are never earlier.
    let now = distributor.clock.now();
    state::recall_sessions(&mut transaction, &mut pools, &by_account).await?;
    let mut pending = pricing::pending(&mut transaction, &accounts).await?;
    for (account, envelopes) in &by_account {
        let pool = pools.of(account)?;
        for envelope in envelopes {
            let report = state::apply(pool, envelope, now)?;
            if let Some(waiting) = pending.get_mut(account).filter(|_| report.version.is_some()) {
                pricing::price(&mut transaction, pool, waiting, envelope.body.received_at, now).await?;
            }
            taken.push(report);
        }
    }
    state::record(&mut transaction, &taken, now).await?;
    for (body, reason) in &unreadable {
        state::dead_letter(&mut transaction, body, reason, now).await?;
    }
    pools.write(&mut transaction, now).await?;
    transaction.commit().await?;
    distributor.outdated.notify_one();
    for Taken { envelope, outcome, .. } in &taken {
        metrics::counter!("pipeline_account_updates_total", "outcome" => *outcome).increment(1);
        let age = (distributor.clock.now() - envelope.body.received_at).as_seconds_f64();
        metrics::histogram!("pipeline_account_update_apply_seconds").record(age.max(0.0));
        if matches!(*outcome, "another_account" | "out_of_bounds" | "in_the_future") {
            let account = envelope.body.account.as_str();
            tracing::error!(
                account,
                request.id = envelope.request_id,
                outcome,
                "an account report can't be right: kept, not applied"
            );
        }
    }
    if let Some((_, reason)) = unreadable.first() {
        count_unreadable(unreadable.len(), reason);
    }
    Ok(())
}
