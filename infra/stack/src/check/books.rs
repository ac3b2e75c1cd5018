//! The members' money, reckoned again from the rows behind it in integers of its own.

use std::collections::{BTreeMap, HashMap, HashSet};

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::history::{Broken, Found, History, Movement, Pool, Report, Version};
use crate::market::Deal;

/// Units per cent where a pool begins.
const UNITS_PER_CENT: i128 = 100_000_000;

/// A pool as its history gives it, with its members' units.
#[derive(Default)]
struct Ledger<'a> {
    version: i64,
    equity: i128,
    units: i128,
    profit: i128,
    members: BTreeMap<&'a str, i128>,
    /// The level of profit at each version.
    levels: HashMap<i64, i128>,
}

pub(super) fn judge(history: &History, found: &mut Found) {
    let mut ledgers: BTreeMap<&str, Ledger<'_>> = BTreeMap::new();
    let movements: HashMap<Uuid, &Movement> =
        history.movements.iter().map(|movement| (movement.movement_id, movement)).collect();
    for step in &history.versions {
        let ledger = ledgers.entry(&step.account).or_default();
        if let Err(why) = ledger.follow(step, &movements) {
            let what = format!("{} of account {}: {why}", step.kind, step.account);
            found.add(Broken::BooksDiffer, what, [format!("{}@{}", step.account, step.version)]);
        }
        let sum: i128 = ledger.members.values().sum();
        if sum != step.units {
            let what = format!("members of {} hold {sum} units, the pool has {}", step.account, step.units);
            found.add(Broken::CentsAstray, what, [format!("{}@{}", step.account, step.version)]);
        }
        ledger.take(step);
    }
    let empty = Ledger::default();
    for pool in &history.pools {
        let ledger = ledgers.get(pool.account.as_str()).unwrap_or(&empty);
        pool_as_it_ends(history, pool, ledger, found);
    }
    for report in &history.reports {
        level(report, ledgers.get(report.account.as_str()).unwrap_or(&empty), found);
    }
    each_movement_once(history, found);
    balances(history, found);
}

impl<'a> Ledger<'a> {
    /// Applies a step to the members, and says where it does not follow from what was before.
    fn follow(&mut self, step: &'a Version, movements: &HashMap<Uuid, &Movement>) -> Result<(), String> {
        let (amount, mut profit) = (step.amount, self.profit);
        let (mut equity, mut units) = (0, 0);
        match step.kind.as_str() {
            "update" => (equity, profit) = (amount, self.profit + amount),
            "base" => profit = step.profit,
            "deposit" => (equity, units) = (amount, self.minted(amount)),
            "withdrawal" => {
                let held = step.user_id.as_deref().and_then(|user| self.members.get(user)).copied().unwrap_or(0);
                (equity, units) = (amount, -self.burned(-amount, held));
            }
            "closed" => (equity, units) = (-self.equity, -self.units),
            _ => {}
        }
        let next = (self.version + 1, self.equity + equity, self.units + units, profit, units);
        match &step.user_id {
            Some(user) => *self.members.entry(user).or_default() += step.units_delta,
            None if step.kind == "closed" => self.members.clear(),
            None => {}
        }
        let told = (step.version, step.equity, step.units, step.profit, step.units_delta);
        if next != told {
            return Err(format!("(version, equity, units, profit, change of units) is {told:?} instead of {next:?}"));
        }
        let Some(movement_id) = step.movement_id else { return Ok(()) };
        let Some(movement) = movements.get(&movement_id) else { return Err("of a movement that nobody made".into()) };
        let ended = matches!(step.kind.as_str(), "cancelled" | "refused");
        let same = (movement.kind == step.kind && movement.amount.is_none_or(|asked| asked == amount.abs()))
            || (ended && amount == 0);
        let own = movement.account == step.account && Some(&movement.user_id) == step.user_id.as_ref();
        if same && own { Ok(()) } else { Err(format!("not as movement {movement_id} was asked for")) }
    }

    /// Takes what is written over, so that each difference is told once.
    fn take(&mut self, step: &Version) {
        (self.version, self.equity, self.units, self.profit) = (step.version, step.equity, step.units, step.profit);
        self.levels.insert(step.version, step.profit);
    }

    /// Rounded against who pays in.
    fn minted(&self, amount: i128) -> i128 {
        if self.units == 0 {
            amount * UNITS_PER_CENT
        } else {
            (amount * self.units).checked_div(self.equity).unwrap_or(0)
        }
    }

    /// Rounded against who is paid; who takes all whole cents gives up the rest of a cent.
    fn burned(&self, paid: i128, held: i128) -> i128 {
        if self.units <= 0 || self.equity <= 0 {
            return 0;
        }
        if paid == held * self.equity / self.units {
            return held;
        }
        ((paid * self.units + self.equity - 1) / self.equity).min(self.units - 1)
    }
}

/// The pool's row, and each member's units and cents, are what its history gives.
fn pool_as_it_ends(history: &History, pool: &Pool, ledger: &Ledger<'_>, found: &mut Found) {
    let told = (pool.version, pool.equity, pool.units);
    let given = (ledger.version, ledger.equity, ledger.units);
    // A report may bring the first level before there is any version.
    if told != given || (ledger.version > 0 && pool.profit != ledger.profit) {
        let what = format!("the pool of {} is {pool:?}, its history ends at {given:?}", pool.account);
        found.add(Broken::BooksDiffer, what, [&pool.account]);
    }
    if pool.valued_version != pool.version {
        let what =
            format!("the pool of {} is valued as of {} and is at {}", pool.account, pool.valued_version, pool.version);
        found.add(Broken::CentsAstray, what, [&pool.account]);
    }
    let cents = cents_of(ledger);
    let mut left: HashSet<&str> =
        ledger.members.iter().filter(|(_, units)| **units != 0).map(|(user, _)| *user).collect();
    for share in history.shares.iter().filter(|share| share.account == pool.account) {
        let user = share.user_id.as_str();
        left.remove(user);
        let units = ledger.members.get(user).copied().unwrap_or(0);
        if share.units != units {
            let what = format!("member {user} has {} units, his movements give {units}", share.units);
            found.add(Broken::BooksDiffer, what, [user]);
        }
        let due = cents.get(user).copied().unwrap_or(0);
        if share.value != due {
            let what = format!("member {user} is shown {} cents, {due} are his", share.value);
            found.add(Broken::CentsAstray, what, [user]);
        }
    }
    if !left.is_empty() {
        found.add(Broken::BooksDiffer, format!("members of {} without a row", pool.account), left);
    }
}

/// Whole cents, and one more for the largest remainders, of equal ones the first by user id: together the equity.
fn cents_of<'a>(ledger: &Ledger<'a>) -> HashMap<&'a str, i128> {
    let (equity, units) = (ledger.equity.max(0), ledger.units);
    if units <= 0 {
        return HashMap::new();
    }
    let mut parts: Vec<(i128, &str, i128)> = ledger
        .members
        .iter()
        .map(|(user, held)| (-(held * equity).rem_euclid(units), *user, (held * equity).div_euclid(units)))
        .collect();
    parts.sort_unstable();
    let missing = equity - parts.iter().map(|(_, _, cents)| cents).sum::<i128>();
    let one_more = usize::try_from(missing).unwrap_or(0);
    parts
        .into_iter()
        .enumerate()
        .map(|(place, (_, user, cents))| (user, cents + i128::from(place < one_more)))
        .collect()
}

/// Rounded half-even, as reports are.
fn cents(amount: Decimal) -> i128 {
    (amount * Decimal::ONE_HUNDRED).round().to_i128().unwrap_or(i128::MAX)
}

/// The account's profit after a report is the pool's at its version: so are the members' cents.
fn level(report: &Report, ledger: &Ledger<'_>, found: &mut Found) {
    let level = match report.net_deposits {
        Some(deposits) => cents(report.equity) - cents(report.credit.unwrap_or_default()) - cents(deposits),
        None => cents(report.profit),
    };
    let booked = ledger.levels.get(&report.version).copied().unwrap_or(0);
    if report.version > 0 && booked != level {
        let what = format!("account {} had {level} cents of profit, its pool {booked}", report.account);
        let version = format!("{}@{}", report.account, report.version);
        found.add(Broken::CentsAstray, what, [report.message_id.to_string(), version]);
    }
}

/// A movement has one end, or waits.
fn each_movement_once(history: &History, found: &mut Found) {
    let mut ends: HashMap<Uuid, usize> = HashMap::new();
    for movement_id in history.versions.iter().filter_map(|step| step.movement_id) {
        *ends.entry(movement_id).or_default() += 1;
    }
    let mut audited: HashMap<Uuid, (String, Option<i128>)> = HashMap::new();
    for entry in &history.audit {
        let Ok(entry) = serde_json::from_str::<serde_json::Value>(&entry.entry) else { continue };
        let details = &entry["details"];
        let movement_id = details["movement_id"].as_str().and_then(|text| text.parse().ok());
        if let Some(movement_id) = movement_id.filter(|_| entry["event"] == "movement.recorded") {
            let amount = details["amount"].to_string().parse().ok();
            audited.insert(movement_id, (details["user_id"].as_str().unwrap_or_default().to_owned(), amount));
        }
    }
    for movement in &history.movements {
        let times = ends.get(&movement.movement_id).copied().unwrap_or(0) + usize::from(movement.waiting);
        if times != 1 {
            let what = format!("a movement of {} counts {times} times", movement.user_id);
            found.add(Broken::BooksDiffer, what, [movement.movement_id]);
        }
        if audited.get(&movement.movement_id) != Some(&(movement.user_id.clone(), movement.amount)) {
            let what = format!("a movement of {} is not in the audit log as it is in the books", movement.user_id);
            found.add(Broken::AuditBroken, what, [movement.movement_id]);
        }
    }
}

/// Every reported balance is one that the market had, none older than the last; and after the drain it is the market's.
fn balances(history: &History, found: &mut Found) {
    let mut sum = Decimal::ZERO;
    let mut after_deals: Vec<Decimal> = vec![sum];
    for net in history.deals.iter().map(Deal::net) {
        sum += net;
        after_deals.push(sum);
    }
    let (mut place, mut last) = (0, None);
    for report in history.reports.iter().filter(|report| report.account == history.account) {
        let further = after_deals[place..].iter().position(|balance| *balance == report.balance);
        if further.is_none() {
            let what = format!("a balance of {} was reported that the market did not have then", report.balance);
            found.add(Broken::CentsAstray, what, [report.message_id]);
        }
        place += further.unwrap_or(0);
        last = Some(report);
    }
    if let Some(last) = last.filter(|last| last.balance != sum) {
        let what = format!("the market's balance is {sum}, the last one reported {}", last.balance);
        found.add(Broken::CentsAstray, what, [last.message_id]);
    }
}

/// Every entry's hash covers it and the hash before it, and no number is missing.
pub(super) fn audit(history: &History, found: &mut Found) {
    let mut ends: BTreeMap<&str, (i64, &[u8])> = BTreeMap::new();
    for entry in &history.audit {
        let (seq, hash) = ends.entry(&entry.service).or_insert((0, &[]));
        let expected = Sha256::new().chain_update(*hash).chain_update(&entry.entry).finalize();
        if entry.seq != *seq + 1 || entry.hash[..] != expected[..] {
            let what = format!("entry {} of the {}'s chain is not what follows", entry.seq, entry.service);
            found.add(Broken::AuditBroken, what, [format!("{}:{}", entry.service, entry.seq)]);
        }
        (*seq, *hash) = (entry.seq, &entry.hash);
    }
}
