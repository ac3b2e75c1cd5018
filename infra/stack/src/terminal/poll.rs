//! The long poll: signals are claimed by it, written down, then dealt with one after the other.
//!
//! What the journal or this run already knows is never executed again, whatever is offered.

use std::time::Instant;

use super::api::Pause;
use super::execute::Offer;
use super::wire::{Confirm, Signal, Status};
use super::{EMPTY_PAUSE, Error, Event, Fault, Terminal};

impl Terminal {
    /// Asks for signals and deals with them, one after the other, until it stops.
    pub(super) async fn poll(&self) -> Result<(), Error> {
        if self.or_stop(self.reconciled.cancelled()).await.is_none() {
            return Ok(());
        }
        let mut pause = Pause::new();
        let (limit, wait) = (self.config.limit.to_string(), self.config.wait.as_millis().to_string());
        let mut query = self.asker();
        query.extend([("limit", limit), ("wait_ms", wait)]);
        loop {
            let asked_at = Instant::now();
            let Some(answer) = self.or_stop(self.api.get("/api/signals/pending", &query, self.config.wait)).await
            else {
                return Ok(());
            };
            let rest = match answer.and_then(|answer| answer.json::<Vec<Signal>>()) {
                Ok(signals) if signals.is_empty() && asked_at.elapsed() < EMPTY_PAUSE => EMPTY_PAUSE,
                Ok(signals) => {
                    pause = Pause::new();
                    self.take(signals, asked_at).await?;
                    continue;
                }
                Err(failure) => {
                    self.error(format!("poll failed: {failure}"));
                    pause.next()
                }
            };
            if self.or_stop(tokio::time::sleep(rest)).await.is_none() {
                return Ok(());
            }
        }
    }

    /// Writes the claims down, then executes them in their order.
    async fn take(&self, signals: Vec<Signal>, asked_at: Instant) -> Result<(), Error> {
        let received_at = Instant::now();
        let mut fresh: Vec<Offer> = Vec::with_capacity(signals.len());
        {
            let mut desk = self.desk();
            for signal in signals {
                let known = desk
                    .journal
                    .intent(signal.id)
                    .is_some_and(|intent| intent.sent || intent.attempt >= signal.attempt);
                if known || desk.in_hand.contains(&signal.id) {
                    // Its fate is in the journal or at the broker; the question for unresolved signals brings it to light.
                    self.error(format!(
                        "signal {} was offered again (attempt {}) and is not executed again",
                        signal.id, signal.attempt
                    ));
                } else {
                    desk.in_hand.insert(signal.id);
                    fresh.push(Offer::new(signal, asked_at, received_at));
                }
            }
            desk.journal.claim(fresh.iter().map(|offer| (offer.signal.magic, offer.signal.attempt)))?;
        }
        for Offer { signal, .. } in &fresh {
            self.tell(|| Event::Received {
                id: signal.id,
                action: signal.action,
                symbol: signal.symbol.clone(),
                held_ms: signal.held_ms.unwrap_or(0),
                remaining_ms: signal.remaining_ms,
            });
        }
        if self.has(Fault::HangWithClaim) && !fresh.is_empty() {
            self.hung.cancel();
            return std::future::pending().await;
        }
        for offer in fresh {
            if self.stop.is_cancelled() {
                self.report(Confirm::new(Status::NotSent).of(&offer.signal).message("the terminal is stopping"))?;
            } else {
                self.execute(&offer).await?;
            }
            self.desk().in_hand.remove(&offer.signal.id);
        }
        Ok(())
    }
}
