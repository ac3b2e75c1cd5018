//! The rules of the members' money: whole cents and units are added up, and every share is an exact fraction, decided from the list of the reports that counted and of what
//! was paid in and out. Shares no code with the pool.

use std::collections::BTreeMap;

use common::message::AccountUpdated;
use num_rational::BigRational;
use rust_decimal::Decimal;
use time::{Duration, OffsetDateTime};

/// Units that the first cent buys.
const FIRST_PRICE: i128 = 100_000_000;
/// Deposits are taken while a cent is worth between so many units and so many.
const UNITS_PER_CENT: (i128, i128) = (1_000, 100_000_000_000);
/// The largest amount, equity and profit.
const LARGEST: i128 = 10_000_000_000_000;

/// A whole number as a fraction.
pub(crate) fn whole(number: i128) -> BigRational {
    BigRational::from_integer(number.into())
}

fn fraction(number: i128, of: i128) -> BigRational {
    BigRational::new(number.into(), of.into())
}

fn floor(exact: &BigRational) -> i128 {
    exact.floor().to_integer().try_into().expect("no amount is longer than 128 bits")
}

fn ceiling(exact: &BigRational) -> i128 {
    -floor(&-exact)
}

/// A figure in cents, half a cent to the even one.
fn cents(figure: Decimal) -> i128 {
    let exact = fraction(figure.mantissa() * 100, 10_i128.pow(figure.scale()));
    let cents = floor(&exact);
    let (rest, half) = (exact - whole(cents), fraction(1, 2));
    let up = rest > half || (rest == half && cents % 2 != 0);
    cents + i128::from(up)
}

fn in_bounds(amount: i128) -> bool {
    (-LARGEST..=LARGEST).contains(&amount)
}

fn tells_deposits(report: &AccountUpdated) -> bool {
    report.net_deposits.is_some()
}

/// The account's profit in cents as a report tells it.
fn profit(report: &AccountUpdated) -> i128 {
    match report.net_deposits {
        Some(deposits) => cents(report.equity) - cents(report.credit.unwrap_or_default()) - cents(deposits),
        None => cents(report.profit),
    }
}

fn is_empty(report: &AccountUpdated) -> bool {
    cents(report.balance) == 0 && cents(report.equity) == 0
}

/// A member's part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) units: i128,
    /// What he brought, less in proportion to the units he gave up.
    pub(crate) investment: i128,
}

/// What a member's units are worth, in cents.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) exact: BigRational,
    /// Such that all members' are all there is.
    pub(crate) cents: i128,
}

/// All that happened to one account's pool; amounts in cents.
#[derive(Default)]
pub(crate) struct Oracle {
    /// The reports that counted, in the order they came.
    counted: Vec<AccountUpdated>,
    deposited: i128,
    paid: i128,
    /// By changes of the account's profit.
    gained: i128,
    /// The login whose next report an operator waits for.
    expected_login: Option<i64>,
    /// Deficits of pools that were closed: nobody's loss any more.
    written_off: i128,
    /// Those who hold units, by user.
    pub(crate) parts: BTreeMap<u8, Part>,
}

impl Oracle {
    /// What is there is what came in, less what went out.
    pub(crate) fn equity(&self) -> i128 {
        self.deposited - self.paid + self.gained + self.written_off
    }

    pub(crate) fn units(&self) -> i128 {
        self.parts.values().map(|part| part.units).sum()
    }

    /// Cents per unit, where somebody holds any.
    fn price(&self) -> Option<BigRational> {
        (!self.parts.is_empty()).then(|| fraction(self.equity(), self.units()))
    }

    /// Units that a deposit buys; none: it is refused.
    pub(crate) fn deposit(&mut self, user: u8, amount: i128) -> Option<i128> {
        let bought = match self.price() {
            None => amount * FIRST_PRICE,
            Some(price) => {
                let (least, most) = UNITS_PER_CENT;
                if !(fraction(1, most)..=fraction(1, least)).contains(&price) {
                    return None;
                }
                floor(&(whole(amount) / price))
            }
        };
        if amount < 1 || !in_bounds(amount) || !in_bounds(self.equity() + amount) || bought < 1 {
            return None;
        }
        let part = self.parts.entry(user).or_default();
        part.units += bought;
        part.investment += amount;
        self.deposited += amount;
        Some(bought)
    }

    /// Cents paid and units given up for an amount or, without one, for all there is; none: it is refused.
    pub(crate) fn withdraw(&mut self, user: u8, amount: Option<i128>) -> Option<(i128, i128)> {
        let price = self.price().filter(|price| *price > whole(0))?;
        let mut part = self.parts.get(&user)?.clone();
        let worth = floor(&(whole(part.units) * &price));
        let paid = amount.unwrap_or(worth);
        if amount.is_some_and(|amount| amount < 1) || paid > worth {
            return None;
        }
        let mut burned = if paid == worth { part.units } else { ceiling(&(whole(paid) / price)) };
        // Cents that stay in the pool are somebody's: its last unit stays with them.
        if burned == self.units() && paid < self.equity() {
            burned -= 1;
        }
        // To the nearest cent.
        part.investment = floor(&(whole(part.investment) * fraction(part.units - burned, part.units) + fraction(1, 2)));
        part.units -= burned;
        if part.units > 0 {
            self.parts.insert(user, part)
        } else {
            self.parts.remove(&user)
        };
        self.paid += paid;
        Some((paid, burned))
    }

    /// The deficit that closing writes off; none: there is nothing to close.
    pub(crate) fn close(&mut self) -> Option<i128> {
        let deficit = -self.equity();
        if self.parts.is_empty() || deficit < 0 {
            return None;
        }
        self.written_off += deficit;
        self.parts.clear();
        Some(deficit)
    }

    fn present_login(&self) -> Option<i64> {
        self.counted.iter().rev().find_map(|report| report.login)
    }

    /// Whether an operator may have another login taken over, or takes that back.
    pub(crate) fn expect_login(&mut self, login: i64) -> bool {
        let Some(present) = self.present_login() else { return false };
        if login == present {
            return self.expected_login.take().is_some();
        }
        let is_flat = |report: &AccountUpdated| {
            cents(report.equity) == cents(report.balance) + cents(report.credit.unwrap_or_default())
        };
        let allowed = self.parts.is_empty() || self.counted.last().is_some_and(is_flat);
        if allowed {
            self.expected_login = Some(login);
        }
        allowed
    }

    /// Whether a report counts that arrives now.
    pub(crate) fn report(&mut self, report: &AccountUpdated, now: OffsetDateTime) -> bool {
        if !self.is_news(report, now) || !self.is_sound(report) {
            return false;
        }
        let before = self.counted.last();
        let told_alike = before.is_none_or(|before| tells_deposits(before) == tells_deposits(report));
        let has_base = before.is_some() || !tells_deposits(report);
        let gain = if self.parts.is_empty() || !told_alike || !has_base || self.expected_login.is_some() {
            0
        } else {
            profit(report) - before.map_or(0, profit)
        };
        if !in_bounds(self.equity() + gain) {
            return false;
        }
        self.gained += gain;
        self.expected_login = None;
        self.counted.push(report.clone());
        true
    }

    /// Within a run of the terminal its numbers tell the order, else time does; a run that another followed is over until
    /// its account's figures are of more than a minute after all that was heard. Nothing is news from more than a minute
    /// ahead, and a time so far ahead says of no other that it is old.
    fn is_news(&self, report: &AccountUpdated, now: OffsetDateTime) -> bool {
        let is_to_come = |report: &AccountUpdated| report.received_at > now + Duration::seconds(60);
        if is_to_come(report) {
            return false;
        }
        let Some(last) = self.counted.last() else { return true };
        let is_of_run = |other: &&AccountUpdated| report.session.is_some() && other.session == report.session;
        let is_over = !is_of_run(&last) && self.counted.iter().any(|other| is_of_run(&other));
        let counts_on =
            report.seq.is_none() || self.counted.iter().filter(is_of_run).all(|other| other.seq < report.seq);
        if is_over {
            let taken_at = report.received_at - Duration::milliseconds(report.age_ms.map_or(0, |age| age.max(0)));
            let is_later = taken_at - Duration::seconds(60) > last.received_at || is_to_come(last);
            return report.login.is_some() && is_later && counts_on;
        }
        let is_later = last.received_at < report.received_at || is_to_come(last);
        counts_on && ((is_of_run(&last) && report.seq.is_some()) || is_later)
    }

    /// Whether these are the figures of this account, whole and within the bounds.
    fn is_sound(&self, report: &AccountUpdated) -> bool {
        let known = |unlike: &dyn Fn(&AccountUpdated) -> bool| self.counted.iter().any(unlike);
        let logged_out = is_empty(report) && known(&|other| !is_empty(other));
        let not_loaded = !tells_deposits(report) && known(&tells_deposits);
        let other_login = match self.expected_login {
            Some(expected) => report.login != Some(expected),
            None => report.login.is_some() && self.present_login().is_some_and(|login| report.login != Some(login)),
        };
        let other_currency =
            report.currency.is_some() && known(&|other| other.currency.is_some() && other.currency != report.currency);
        let figures = [report.balance, report.equity, report.margin, report.free_margin, report.profit];
        let all = figures.into_iter().chain(report.credit).chain(report.net_deposits);
        report.connected != Some(false)
            && !(logged_out || not_loaded || other_login || other_currency)
            && all.map(cents).chain([profit(report)]).all(in_bounds)
    }

    /// Each member's share: the cents that no exact share reaches go to those who are short of most, of equals to the
    /// first.
    pub(crate) fn shares(&self) -> BTreeMap<u8, Share> {
        let price = self.price().map_or_else(|| whole(0), |price| price.max(whole(0)));
        let share = |part: &Part| {
            let exact = whole(part.units) * &price;
            Share { cents: floor(&exact), exact }
        };
        let mut shares: BTreeMap<u8, Share> = self.parts.iter().map(|(user, part)| (*user, share(part))).collect();
        let mut short: Vec<(BigRational, u8)> =
            shares.iter().map(|(user, share)| (whole(share.cents) - &share.exact, *user)).collect();
        short.sort();
        let mut left = self.equity().max(0) - shares.values().map(|share| share.cents).sum::<i128>();
        for (_, user) in short {
            if left > 0 {
                shares.entry(user).and_modify(|share| share.cents += 1);
                left -= 1;
            }
        }
        shares
    }
}
