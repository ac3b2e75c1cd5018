//! Signals from the queue into the database. What can't be read is kept with its reason and never stops the rest.

use std::sync::Arc;

use common::message::{Envelope, SignalAccepted};
use common::queue::Batch;

use crate::Dispatcher;
use crate::store::intake;
use crate::wake::Changed;

/// Stores a batch in one transaction. Called again with the same batch if that fails; changes nothing then.
pub(crate) async fn store(dispatcher: Arc<Dispatcher>, batch: Batch) -> Result<(), sqlx::Error> {
    let mut signals = Vec::with_capacity(batch.len());
    let mut unreadable = Vec::new();
    for body in batch.iter() {
        match Envelope::<SignalAccepted>::decode(body) {
            Ok(envelope) => signals.push(envelope),
            Err(error) => unreadable.push((body, error.to_string())),
        }
    }
    let now = dispatcher.clock.now();
    let mut transaction = dispatcher.pool.begin().await?;
    let stored = intake::store(&mut transaction, &signals, now).await?;
    for (body, reason) in &unreadable {
        intake::dead_letter(&mut transaction, body, reason, now).await?;
    }
    let changed: Changed = stored.iter().map(|signal| signal.account.clone()).collect();
    dispatcher.tell_others(&mut transaction, &changed).await?;
    transaction.commit().await?;
    dispatcher.wake.wake_all(&changed);
    for signal in &stored {
        metrics::counter!("pipeline_signals_stored_total", "state" => signal.state.clone()).increment(1);
        if signal.code.as_deref() == Some("key_reused") {
            tracing::error!(account = signal.account, "an idempotency key came with another signal: rejected");
        }
    }
    for envelope in &signals {
        let age = (now - envelope.body.received_at).as_seconds_f64();
        metrics::histogram!("pipeline_accept_to_store_seconds").record(age.max(0.0));
    }
    if !unreadable.is_empty() {
        let count = u64::try_from(unreadable.len()).unwrap_or(u64::MAX);
        metrics::counter!("pipeline_dead_letters_total", "queue" => "signals").increment(count);
        tracing::error!(messages = count, reason = unreadable[0].1, "unreadable messages kept in signal_dead_letters");
    }
    Ok(())
}
