//! The one place that reads the wall clock. Whoever judges a lease, an expiry or a freshness is handed a [`Clock`].

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use time::{Duration, OffsetDateTime};

/// The system's time, plus an offset that tests move.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    offset_ms: Arc<AtomicI64>,
}

impl Clock {
    /// Now in UTC, cut to microseconds so that a time read back from PostgreSQL equals the one written.
    pub fn now(&self) -> OffsetDateTime {
        #[expect(clippy::disallowed_methods, reason = "this is the place the others are sent to")]
        let system = OffsetDateTime::now_utc();
        let now = system + Duration::milliseconds(self.offset_ms.load(Ordering::Relaxed));
        now.replace_nanosecond(now.nanosecond() / 1_000 * 1_000).unwrap_or(now)
    }

    /// Moves this clock and all its clones forward (backward when negative).
    pub fn advance(&self, by: Duration) {
        let milliseconds = i64::try_from(by.whole_milliseconds()).unwrap_or(i64::MAX);
        self.offset_ms.fetch_add(milliseconds, Ordering::Relaxed);
    }
}
