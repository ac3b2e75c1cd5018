//! What the fuzz targets share: the time, an account to judge by, and an oracle for decimals that knows text only.

use std::collections::BTreeMap;

use common::domain::{Mode, Percent, Volume};
use common::error::Problem;
use common::message::AccountUpdated;
use dispatcher::life::gate::{self, Account, Rules};
use distributor::pool::{Definition, Pool};
use distributor::report::{Figures, Last, reason_to_ignore};
use rust_decimal::Decimal;
use serde_json::Value;
use time::{Duration, OffsetDateTime};

/// When everything is received: 2024-10-04.
pub fn now() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::days(20_000)
}

/// A number as its text means it: whether it is below zero, its digits without zeros around them, and the power of ten
/// of the last; none: no number.
pub fn exact(text: &str) -> Option<(bool, String, i64)> {
    let text = text.trim();
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i64 = exponent.parse().ok()?;
    let negative = mantissa.starts_with('-');
    let mantissa = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return Some((false, String::new(), 0));
    }
    let zeros = digits.len() - digits.trim_end_matches('0').len();
    let power = exponent - i64::try_from(fraction.len()).ok()? + i64::try_from(zeros).ok()?;
    Some((negative, significant.to_owned(), power))
}

/// The field of a JSON object as it was written, and the number that was made of it, are the same.
pub fn assert_exact(object: &Value, field: &str, number: Option<Decimal>) {
    let text = match &object[field] {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let written = text.map(|text| exact(&text).unwrap_or_else(|| panic!("{field}: {text:?} was taken for {number:?}")));
    assert_eq!(written, number.and_then(|number| exact(&number.to_string())), "{field}");
}

/// A refusal is the sender's fault, never ours.
pub fn assert_refused(problem: &Problem) {
    let problem = serde_json::to_value(problem).expect("a problem is JSON");
    let status = problem["status"].as_u64().unwrap_or_default();
    assert!((400..500).contains(&status), "{problem}");
    assert!(!problem["detail"].as_str().unwrap_or_default().is_empty(), "{problem}");
}

/// An account with rules as they are at first.
pub fn account() -> Account {
    let volume = |text: &str| Volume::try_from(text.parse::<Decimal>().expect(text)).expect(text);
    let rules = Rules {
        mode: Mode::Active,
        symbols_allowed: None,
        volume_max: volume("10"),
        positions_max: 200,
        openings_per_day_max: 1_000,
        daily_loss_percent_max: Percent::try_from(Decimal::from(20)).expect("20"),
        signal_ttl_seconds: 60,
        default_volume: volume("0.01"),
        symbol_map: BTreeMap::new(),
        login: None,
    };
    Account { rules, openings: None, state: None }
}

/// What one account's reports lead to: at the dispatcher's risk gate, and in the distributor's pool.
pub struct Books {
    account: Account,
    pool: Pool,
    last: Last,
}

impl Default for Books {
    /// Members with 1,000.00 in a pool whose terminal has not reported.
    fn default() -> Self {
        let mut pool = Pool { definition: Some(Definition::Profit), ..Pool::default() };
        pool.deposit(100_000).expect("a first deposit");
        Self { account: account(), pool, last: Last::default() }
    }
}

impl Books {
    /// Looks at a report as the risk gate does.
    pub fn observe(&mut self, update: &AccountUpdated) {
        if let Some(state) = gate::observe(&self.account, update) {
            self.account.state = Some(state);
        }
    }

    /// Takes a report over as the distributor does; it may be ignored, and moves the pool by what the level moved by.
    pub fn take(&mut self, update: &AccountUpdated, now: OffsetDateTime) {
        let Ok(figures) = Figures::of(update) else { return };
        if reason_to_ignore(&self.last, update, &figures, now).is_some() {
            return;
        }
        let before = self.pool.clone();
        if self.pool.apply(figures.level()).is_err() {
            assert_eq!(self.pool, before, "a refused report changes nothing");
            return;
        }
        let moved = if before.definition == self.pool.definition { self.pool.profit - before.profit } else { 0 };
        assert_eq!(self.pool.equity - before.equity, moved, "{before:?} {figures:?}");
        assert_eq!(self.pool.units, before.units);
        self.last.take_over(update, figures);
    }
}
