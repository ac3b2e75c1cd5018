//! How many requests each sender may make: a generic cell rate algorithm, one number per sender.
//!
//! Invariants: no sender's allowance depends on another's, memory is bounded whatever is sent, and nobody waits longer
//! than the window, also where the clock jumps.
//!
//! `governor` has the algorithm, but its map grows with every sender until somebody sweeps it, and has no bound; what a
//! bounded store behind its trait would leave of it is one comparison and an addition.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Mutex, PoisonError};

use time::OffsetDateTime;

/// Senders that are looked up at the same time seldom wait for one another.
const SHARDS: usize = 16;
/// The most senders that a shard remembers: about 2 MB in all shards together.
const SENDERS_PER_SHARD_MAX: usize = 4_096;

/// The allowance of every sender.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    pace: Pace,
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

/// A request costs one interval of time; a sender may be as far ahead of the clock as the window is long.
#[derive(Clone, Copy, Debug)]
struct Pace {
    interval_ns: i64,
    window_ns: i64,
}

impl Pace {
    /// A sender whose requests are paid for until `paid` makes another one: moves that on, or says how long to wait. All
    /// in nanoseconds.
    fn take(self, paid: &mut i64, now: i64) -> Result<(), i64> {
        // More than a window ahead it can only be because the clock was set back.
        *paid = (*paid).clamp(now, now + self.window_ns);
        let wait = *paid + self.interval_ns - now - self.window_ns;
        if wait > 0 {
            return Err(wait);
        }
        *paid += self.interval_ns;
        Ok(())
    }
}

/// Until when senders are paid for, by the hash of who they are: 64 random bits, so that two share one by chance only.
#[derive(Debug, Default)]
struct Shard {
    paid: HashMap<u64, i64>,
    /// Shared by all who find no room.
    crowd: i64,
    /// When it was last looked who can be forgotten.
    swept: i64,
}

impl Shard {
    /// Who has its whole allowance again is forgotten without loss. At a rate of 500/s a request is remembered for 2 ms,
    /// so that a full shard takes millions of requests a second. Should it come to that, those known keep what they
    /// have, and newcomers share one allowance.
    fn paid(&mut self, sender: u64, now: i64, pace: Pace) -> &mut i64 {
        let full = |paid: &HashMap<u64, i64>| paid.len() >= SENDERS_PER_SHARD_MAX && !paid.contains_key(&sender);
        // Looking through all of them for each newcomer would be work for the asking.
        if full(&self.paid) && !(self.swept..self.swept + pace.interval_ns).contains(&now) {
            self.paid.retain(|_, paid| (now + 1..=now + pace.window_ns).contains(&*paid));
            self.swept = now;
        }
        if full(&self.paid) { &mut self.crowd } else { self.paid.entry(sender).or_insert(now) }
    }
}

impl RateLimiter {
    /// So many requests a second, and at once as many as in `burst_seconds`. None where the rate is 0: no limit.
    pub(crate) fn new(per_second: u32, burst_seconds: u32) -> Option<Self> {
        let interval_ns = 1_000_000_000_i64.checked_div(i64::from(per_second))?;
        let window_ns = interval_ns * i64::from(per_second) * i64::from(burst_seconds);
        let pace = Pace { interval_ns, window_ns };
        Some(Self { pace, hasher: RandomState::new(), shards: Default::default() })
    }

    /// Counts a request of this sender, or says in how many seconds, at least 1, the next one is taken. What is refused
    /// is not counted.
    pub(crate) fn admit(&self, sender: &impl Hash, now: OffsetDateTime) -> Result<(), u32> {
        let now = i64::try_from(now.unix_timestamp_nanos()).unwrap_or(i64::MAX / 2);
        let sender = self.hasher.hash_one(sender);
        let shard = usize::try_from(sender % SHARDS as u64).unwrap_or_default();
        let mut shard = self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = self.pace.take(shard.paid(sender, now, self.pace), now);
        outcome.map_err(|wait| u32::try_from(wait.unsigned_abs().div_ceil(1_000_000_000)).unwrap_or(u32::MAX))
    }

    #[cfg(test)]
    fn remembered(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().paid.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use proptest::prelude::*;
    use time::Duration;

    fn limiter(per_second: u32, burst_seconds: u32) -> RateLimiter {
        RateLimiter::new(per_second, burst_seconds).unwrap()
    }

    /// How many of so many requests at this moment are taken.
    fn taken(limiter: &RateLimiter, sender: &str, requests: usize, now: OffsetDateTime) -> usize {
        (0..requests).filter(|_| limiter.admit(&sender, now).is_ok()).count()
    }

    #[test]
    fn a_burst_is_taken_and_then_the_rate() {
        let clock = Clock::default();
        let (start, limiter) = (clock.now(), limiter(500, 4));
        assert_eq!(taken(&limiter, "a", 3_000, start), 2_000);
        assert_eq!(limiter.admit(&"a", start), Err(1));
        assert_eq!(taken(&limiter, "a", 3_000, start + Duration::seconds(1)), 500);
        assert_eq!(taken(&limiter, "a", 3_000, start + Duration::seconds(60)), 2_000);
    }

    #[test]
    fn one_sender_takes_nothing_from_another() {
        let (now, limiter) = (Clock::default().now(), limiter(10, 1));
        assert_eq!(taken(&limiter, "loud", 1_000, now), 10);
        assert_eq!(taken(&limiter, "quiet", 10, now), 10);
    }

    #[test]
    fn a_rate_of_zero_is_no_limit() {
        assert!(RateLimiter::new(0, 4).is_none());
    }

    #[test]
    fn a_slow_rate_says_how_long_to_wait() {
        let (now, limiter) = (Clock::default().now(), limiter(1, 5));
        assert_eq!(taken(&limiter, "a", 9, now), 5);
        assert_eq!(limiter.admit(&"a", now), Err(1));
        assert_eq!(limiter.admit(&"a", now + Duration::milliseconds(999)), Err(1));
        assert_eq!(limiter.admit(&"a", now + Duration::seconds(1)), Ok(()));
    }

    #[test]
    fn a_clock_that_was_set_back_locks_nobody_out() {
        let (now, limiter) = (Clock::default().now(), limiter(10, 4));
        assert_eq!(taken(&limiter, "a", 100, now), 40);
        let before = now - Duration::hours(1);
        assert!(limiter.admit(&"a", before).unwrap_err() <= 4);
        assert_eq!(taken(&limiter, "a", 100, before + Duration::seconds(4)), 40);
    }

    /// Goal: a million senders at once neither take memory without bound nor give back what others used up.
    #[test]
    fn a_flood_of_senders_is_bounded_and_resets_nobody() {
        let (now, limiter) = (Clock::default().now(), limiter(500, 4));
        assert_eq!(taken(&limiter, "used up", 2_001, now), 2_000);
        let flood = (0..1_000_000_u32).filter(|sender| limiter.admit(sender, now).is_ok()).count();
        assert!(limiter.remembered() <= SHARDS * SENDERS_PER_SHARD_MAX);
        assert!(limiter.admit(&"used up", now).is_err(), "its allowance came back");
        // Those who found room, and one allowance a shard for all the others.
        assert!(flood <= SHARDS * (SENDERS_PER_SHARD_MAX + 2_000), "{flood} were taken");
        // A moment later all of that is paid for, and there is room again.
        let later = now + Duration::milliseconds(2);
        assert_eq!(taken(&limiter, "newcomer", 2_001, later), 2_000);
        assert!(limiter.admit(&"used up", later).is_ok());
        assert!(limiter.admit(&"used up", later).is_err());
    }

    proptest! {
        /// Goal: whatever the pauses, no stretch of time sees more than a burst and the rate; and who waits as told is
        /// taken.
        #[test]
        fn no_stretch_of_time_sees_more_than_a_burst_and_the_rate(
            per_second in 1..1_000_u32,
            burst_seconds in 1..5_u32,
            pauses_us in prop::collection::vec(0..50_000_i64, 1..400),
        ) {
            let limiter = limiter(per_second, burst_seconds);
            let mut now = Clock::default().now();
            let mut taken: Vec<OffsetDateTime> = Vec::new();
            for pause in pauses_us {
                now += Duration::microseconds(pause);
                match limiter.admit(&"a", now) {
                    Ok(()) => taken.push(now),
                    Err(seconds) => {
                        prop_assert!((1..=burst_seconds).contains(&seconds));
                        let later = now + Duration::seconds(seconds.into());
                        prop_assert!(limiter.pace.take(&mut limiter.until("a"), nanoseconds(later)).is_ok());
                    }
                }
            }
            for (first, from) in taken.iter().enumerate() {
                for (last, to) in taken.iter().enumerate().skip(first) {
                    // Intervals are cut to whole nanoseconds.
                    let paid = i128::from(limiter.pace.interval_ns) * (last - first + 1) as i128;
                    prop_assert!(paid <= (*to - *from).whole_nanoseconds() + i128::from(limiter.pace.window_ns));
                }
            }
        }
    }

    fn nanoseconds(time: OffsetDateTime) -> i64 {
        i64::try_from(time.unix_timestamp_nanos()).unwrap()
    }

    impl RateLimiter {
        fn until(&self, sender: &str) -> i64 {
            let hash = self.hasher.hash_one(sender);
            self.shards.iter().find_map(|shard| shard.lock().unwrap().paid.get(&hash).copied()).unwrap()
        }
    }
}
