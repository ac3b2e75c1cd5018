//! Pauses between attempts at something that must work in the end. The one place that uses `backoff`.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use backoff::backoff::Backoff as _;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};
use tokio_util::sync::CancellationToken;

/// Growing pauses with jitter, without an end.
pub struct Pauses(ExponentialBackoff);

impl Default for Pauses {
    fn default() -> Self {
        Self::between(Duration::from_millis(50), Duration::from_millis(500))
    }
}

impl Pauses {
    /// From about `first`, each half as long again as the one before, up to about `longest`.
    pub fn between(first: Duration, longest: Duration) -> Self {
        let policy = ExponentialBackoffBuilder::new()
            .with_initial_interval(first)
            .with_max_interval(longest)
            .with_max_elapsed_time(None)
            .build();
        Self(policy)
    }

    /// The next pause.
    pub fn next_pause(&mut self) -> Duration {
        self.0.next_backoff().unwrap_or(self.0.max_interval)
    }

    /// Waits for the next pause.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.next_pause()).await;
    }

    /// Starts again with the shortest pause.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

/// Tries until it works; `None` when told to stop first. A failure is logged once as `what` when it changes.
pub async fn until_ok<T, E, F>(what: &str, stop: &CancellationToken, mut attempt: impl FnMut() -> F) -> Option<T>
where
    E: Display,
    F: Future<Output = Result<T, E>>,
{
    let mut pauses = Pauses::default();
    let mut last = String::new();
    loop {
        let outcome = tokio::select! {
            outcome = attempt() => outcome,
            () = stop.cancelled() => return None,
        };
        match outcome {
            Ok(value) => {
                if !last.is_empty() {
                    tracing::info!(what, "works again");
                }
                return Some(value);
            }
            Err(error) => {
                let text = error.to_string();
                if text != last {
                    tracing::warn!(what, error = %text, "failed, trying again");
                    last = text;
                }
            }
        }
        tokio::select! {
            () = pauses.wait() => {}
            () = stop.cancelled() => return None,
        }
    }
}
