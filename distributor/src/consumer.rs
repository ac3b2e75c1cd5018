//! Account reports from the queue into the pools.

use std::collections::BTreeMap;
use std::sync::Arc;

use common::database::refuses_data;
use common::message::{AccountUpdated, Envelope};
use common::queue::Batch;

use crate::Distributor;
use crate::store::{self, state};

/// Applies a batch. Called again with the same batch if that fails; changes nothing then.
pub(crate) async fn apply(distributor: Arc<Distributor>, batch: Batch) -> Result<(), sqlx::Error> {
    match apply_all(&distributor, &batch).await {
        Err(error) if refuses_data(&error) => {}
        outcome => return outcome,
    }
    // One message that the database refuses must not hold up the others.
    for body in batch.iter() {
        match apply_all(&distributor, std::slice::from_ref(body)).await {
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
    let now = distributor.clock.now();
    let mut outcomes = Vec::with_capacity(batch.len());
    let mut transaction = distributor.pool.begin().await?;
    for (account, envelopes) in &by_account {
        let mut pool = store::lock_pool(&mut transaction, account).await?;
        for envelope in envelopes {
            let outcome = state::apply(&mut transaction, &mut pool, envelope, now).await?;
            outcomes.push((account, outcome, envelope.body.received_at));
        }
        store::write_pool(&mut transaction, &pool).await?;
    }
    for (body, reason) in &unreadable {
        state::dead_letter(&mut transaction, body, reason, now).await?;
    }
    transaction.commit().await?;
    distributor.outdated.notify_one();
    for (account, outcome, received_at) in outcomes {
        metrics::counter!("pipeline_account_updates_total", "outcome" => outcome).increment(1);
        let age = (distributor.clock.now() - received_at).as_seconds_f64();
        metrics::histogram!("pipeline_account_update_apply_seconds").record(age.max(0.0));
        if outcome == "another_account" || outcome == "out_of_bounds" {
            tracing::error!(account, outcome, "an account report does not belong to this pool: kept, not applied");
        }
    }
    if let Some((_, reason)) = unreadable.first() {
        count_unreadable(unreadable.len(), reason);
    }
    Ok(())
}
