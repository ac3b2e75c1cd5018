//! Signals from the queue into the database. What can't be read is kept with its reason and never stops the rest.

use std::sync::Arc;

use common::database::in_time;
use common::domain::signal::HEARTBEAT_PRINCIPAL;
use common::message::{Envelope, SignalAccepted};
use common::queue::Batch;

use time::OffsetDateTime;

use crate::Dispatcher;
use crate::store::intake::{self, Stored};
use crate::story;
use crate::wake::{Changed, Wakes};

/// Stores a batch. Called again with the same batch if that fails; changes nothing then.
pub(crate) async fn store(dispatcher: Arc<Dispatcher>, batch: Batch) -> Result<(), sqlx::Error> {
    let outcome = in_time(store_or_keep(&dispatcher, &batch)).await;
    if outcome.as_ref().is_err_and(intake::is_number_taken) {
        // The next try draws above all that are taken.
        in_time(dispatcher.raise_numbers()).await?;
    }
    outcome
}

async fn store_or_keep(dispatcher: &Dispatcher, batch: &[Vec<u8>]) -> Result<(), sqlx::Error> {
    match store_all(dispatcher, batch).await {
        Err(error) if intake::is_refused(&error) => {}
        outcome => return outcome,
    }
    // One message that the database refuses must not hold up the others.
    for body in batch {
        match store_all(dispatcher, std::slice::from_ref(body)).await {
            Err(error) if intake::is_refused(&error) => {
                let (reason, now) = (error.to_string(), dispatcher.clock.now());
                intake::dead_letter(&mut *dispatcher.pool.acquire().await?, body, &reason, now).await?;
                count_unreadable(1, &reason);
            }
            outcome => outcome?,
        }
    }
    Ok(())
}

fn count_unreadable(messages: usize, reason: &str) {
    let count = u64::try_from(messages).unwrap_or(u64::MAX);
    metrics::counter!("pipeline_dead_letters_total", "queue" => "signals").increment(count);
    tracing::error!(messages, reason, "unreadable messages kept in signal_dead_letters");
}

fn accounts(stored: &[Stored]) -> Changed {
    stored.iter().map(|signal| signal.account.clone()).collect()
}

/// In one transaction, with what can't be read, and told to other dispatchers.
async fn store_with_the_rest(
    dispatcher: &Dispatcher,
    signals: &[Envelope<SignalAccepted>],
    unreadable: &[(&Vec<u8>, String)],
    now: OffsetDateTime,
) -> Result<Vec<Stored>, sqlx::Error> {
    let mut transaction = dispatcher.pool.begin().await?;
    let stored = intake::store(&mut transaction, signals, now).await?;
    for (body, reason) in unreadable {
        intake::dead_letter(&mut transaction, body, reason, now).await?;
    }
    dispatcher.tell_others(&mut transaction, &accounts(&stored)).await?;
    transaction.commit().await?;
    Ok(stored)
}

/// Whole or not at all.
async fn store_all(dispatcher: &Dispatcher, batch: &[Vec<u8>]) -> Result<(), sqlx::Error> {
    let mut signals = Vec::with_capacity(batch.len());
    let mut unreadable = Vec::new();
    for body in batch {
        match Envelope::<SignalAccepted>::decode(body) {
            Ok(envelope) => signals.push(envelope),
            Err(error) => unreadable.push((body, error.to_string())),
        }
    }
    let now = dispatcher.clock.now();
    // The usual case is a single statement: a transaction around several would double the time to the terminal.
    let mut stored = Vec::new();
    if unreadable.is_empty() && !dispatcher.wake.several() {
        stored = intake::store_new(&mut *dispatcher.pool.acquire().await?, &signals, now).await?;
    }
    if stored.is_empty() {
        stored = store_with_the_rest(dispatcher, &signals, &unreadable, now).await?;
    }
    dispatcher.wake.wake_all(&accounts(&stored), Wakes::Stored);
    stored.iter().for_each(story::stored);
    for envelope in signals.iter().filter(|envelope| envelope.body.principal != HEARTBEAT_PRINCIPAL) {
        let age = (now - envelope.body.received_at).as_seconds_f64();
        metrics::histogram!("pipeline_accept_to_store_seconds").record(age.max(0.0));
    }
    if let Some((_, reason)) = unreadable.first() {
        count_unreadable(unreadable.len(), reason);
    }
    Ok(())
}
