//! A bounded memory of idempotency keys, so that a key used again for other content is refused at once.
//!
//! It forgets the oldest. What slips past it is caught for ever by the dispatcher's table of keys.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use uuid::Uuid;

/// About 20 MB when full.
const KEYS_MAX: usize = 100_000;

/// The keys seen last and the signals they stand for.
#[derive(Clone, Default)]
pub(crate) struct RecentKeys(Arc<Mutex<Memory>>);

#[derive(Default)]
struct Memory {
    /// By a hash of principal and key.
    signals: HashMap<Uuid, Uuid>,
    oldest_first: VecDeque<Uuid>,
}

/// What is remembered of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nothing; from now on it stands for this signal.
    New,
    /// It stood for this signal before.
    ForThis,
    /// It stands for another signal.
    ForAnother,
}

impl RecentKeys {
    /// What this key stands for, which is to stand for this signal.
    pub(crate) fn look_up(&self, principal: &str, key: &str, signal_id: Uuid) -> Known {
        let name = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{principal}\u{1f}{key}").as_bytes());
        let mut memory = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = memory.signals.get(&name) {
            return if *known == signal_id { Known::ForThis } else { Known::ForAnother };
        }
        if memory.oldest_first.len() >= KEYS_MAX
            && let Some(oldest) = memory.oldest_first.pop_front()
        {
            memory.signals.remove(&oldest);
        }
        memory.signals.insert(name, signal_id);
        memory.oldest_first.push_back(name);
        Known::New
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stands_for_one_signal_per_principal() {
        let recent = RecentKeys::default();
        let (one, two) = (Uuid::now_v7(), Uuid::now_v7());
        assert_eq!(recent.look_up("p", "k", one), Known::New);
        assert_eq!(recent.look_up("p", "k", one), Known::ForThis);
        assert_eq!(recent.look_up("p", "k", two), Known::ForAnother);
        assert_eq!(recent.look_up("q", "k", two), Known::New);
    }

    #[test]
    fn the_memory_forgets_the_oldest_and_stays_bounded() {
        let recent = RecentKeys::default();
        for number in 0..KEYS_MAX + 10 {
            assert_eq!(recent.look_up("p", &number.to_string(), Uuid::nil()), Known::New);
        }
        assert_eq!(recent.0.lock().unwrap().signals.len(), KEYS_MAX);
        assert_eq!(recent.look_up("p", "0", Uuid::max()), Known::New);
        assert_eq!(recent.look_up("p", &KEYS_MAX.to_string(), Uuid::max()), Known::ForAnother);
    }
}
