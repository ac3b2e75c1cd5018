//! The risk gate: what an account allows, how it stands, and why an opening may not go to the market. Pure.
//!
//! Invariant: closings pass it always; what it can't know it counts against the opening.

use std::collections::{BTreeMap, BTreeSet};

use common::domain::{Cents, Mode, Order, Percent, Symbol, Volume};
use common::message::AccountUpdated;
use rust_decimal::Decimal;
use time::{Date, Duration, OffsetDateTime, UtcOffset};

use super::{Open, Reason};

/// Where an account reports, its openings wait once the last report is older than this.
pub const STATE_FRESH: Duration = Duration::seconds(60);
/// The longest that figures are under way: twice what the Expert Advisor waits for an answer. A position that we heard of
/// earlier than this before a report is among the report's.
pub const FIGURES_DELAY_MAX: Duration = Duration::seconds(10);

/// What an account allows.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The operator's switch.
    pub mode: Mode,
    /// What may be opened, by the platform's names; none: everything.
    pub symbols_allowed: Option<BTreeSet<Symbol>>,
    /// The most lots of one order.
    pub volume_max: Volume,
    /// The most positions and openings under way.
    pub positions_max: i32,
    /// The most openings handed out on one day.
    pub openings_per_day_max: i32,
    /// The part of the day's starting equity whose loss stops openings until the next day.
    pub daily_loss_percent_max: Percent,
    /// Life of openings and changes that name none.
    pub signal_ttl_seconds: i32,
    /// Lots of a signal that names none.
    pub default_volume: Volume,
    /// The broker's names of symbols, by the platform's.
    pub symbol_map: BTreeMap<Symbol, Symbol>,
    /// The account at the broker; none: the first that a terminal names.
    pub login: Option<i64>,
}

impl Rules {
    /// Whether a terminal at this account of the broker may act on the signals; first-protocol terminals name none.
    pub fn admits(&self, login: Option<i64>) -> bool {
        self.login.is_none() || login.is_none() || self.login == login
    }

    /// A symbol by the platform's name, under which the order between signals is kept: a signal may use the broker's name,
    /// and any case where that leaves no doubt. A name that the account does not know stays as it is: brokers have names
    /// that differ from others in case alone.
    pub fn platform_symbol<'a>(&'a self, symbol: &'a Symbol) -> &'a Symbol {
        let mapped = self.symbol_map.iter().flat_map(|(platform, broker)| [(platform, platform), (broker, platform)]);
        let allowed = self.symbols_allowed.iter().flatten().map(|name| (name, name));
        let mut alike = mapped.chain(allowed).filter(|(name, _)| name.as_str().eq_ignore_ascii_case(symbol.as_str()));
        if let Some((_, platform)) = alike.clone().find(|(name, _)| *name == symbol) {
            return platform;
        }
        match alike.next() {
            Some((_, platform)) if alike.all(|(_, other)| other == platform) => platform,
            _ => symbol,
        }
    }

    /// A symbol as the terminal is told it.
    pub fn broker_symbol<'a>(&'a self, symbol: &'a str) -> &'a str {
        self.symbol_map.iter().find(|(platform, _)| platform.as_str() == symbol).map_or(symbol, |(_, b)| b.as_str())
    }
}

/// How an account stands by the last of its reports that counts. Amounts in cents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// When the figures were true.
    pub at: OffsetDateTime,
    /// The account at the broker, where named.
    pub login: Option<i64>,
    /// Positions open, where reported.
    pub positions: Option<i32>,
    /// Of the last report whose profit is known.
    pub equity: i64,
    /// The account's profit then, as a level.
    pub profit: i64,
    /// Whether that level is equity - credit - net deposits; else it is the profit as reported.
    pub by_deposits: bool,
    /// The day this is about, in UTC.
    pub day: Day,
}

/// The day of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day {
    /// From 00:00 UTC.
    pub date: Date,
    /// Equity that it began with.
    pub equity: i64,
    /// Profit that it began with.
    pub profit: i64,
    /// The loss that stopped openings; it holds until the next day, or until an operator lifts it.
    pub loss: Option<i64>,
}

/// An account as the gate judges it.
#[derive(Clone, Debug)]
pub struct Account {
    /// What it allows.
    pub rules: Rules,
    /// The last day on which an opening was handed out, and how many were.
    pub openings: Option<(Date, i32)>,
    /// None before the first report that counts.
    pub state: Option<State>,
}

/// The day of a time, from 00:00 UTC.
pub fn day(at: OffsetDateTime) -> Date {
    at.to_offset(UtcOffset::UTC).date()
}

impl Account {
    /// Openings handed out today.
    pub fn openings_today(&self, now: OffsetDateTime) -> i32 {
        self.openings.filter(|(date, _)| *date == day(now)).map_or(0, |(_, count)| count)
    }

    /// The loss that stops openings today.
    pub fn loss_today(&self, now: OffsetDateTime) -> Option<i64> {
        self.state.as_ref().filter(|state| state.day.date == day(now)).and_then(|state| state.day.loss)
    }

    /// Whether the account reports, and its last report is too old to open anything by, of another login, or of a time that
    /// is still to come: the clock was put back, and nobody knows how old it is.
    pub fn is_stale(&self, now: OffsetDateTime) -> bool {
        self.state.as_ref().is_some_and(|state| {
            state.at + STATE_FRESH < now || state.at - FIGURES_DELAY_MAX > now || !self.rules.admits(state.login)
        })
    }

    /// Positions of which we heard before this are among those of the last report; none: nothing is known of any.
    pub fn known_until(&self) -> Option<OffsetDateTime> {
        self.state.as_ref().map(|state| state.at - FIGURES_DELAY_MAX)
    }
}

/// Why nothing is opened in this mode.
pub fn mode_refuses(mode: Mode) -> Option<Reason> {
    let code = match mode {
        Mode::Active => return None,
        Mode::Reducing => "account_reducing",
        Mode::Halted => "account_halted",
    };
    Some(Reason::new(code, format!("the account is {}: no openings", mode.as_str())))
}

/// Why an order may not go to the market, whatever else is under way. Closings pass always.
pub fn gate(order: &Order, account: &Account, now: OffsetDateTime) -> Option<Reason> {
    if !order.action.opens() {
        return None;
    }
    let rules = &account.rules;
    mode_refuses(rules.mode)
        .or_else(|| symbol_refused(order, rules))
        .or_else(|| volume_refused(order, rules))
        .or_else(|| loss_refused(account, now))
}

fn symbol_refused(order: &Order, rules: &Rules) -> Option<Reason> {
    let (allowed, symbol) = (rules.symbols_allowed.as_ref()?, rules.platform_symbol(order.symbol.as_ref()?));
    let message = || format!("{symbol} is none of the {} symbols allowed", allowed.len());
    let is_allowed = allowed.iter().any(|name| rules.platform_symbol(name) == symbol);
    (!is_allowed).then(|| Reason::new("symbol_not_allowed", message()))
}

fn volume_refused(order: &Order, rules: &Rules) -> Option<Reason> {
    let volume = order.volume.filter(|volume| *volume > rules.volume_max)?;
    let message = format!("{} lots where {} are allowed", volume.get(), rules.volume_max.get());
    Some(Reason::new("volume_above_max", message))
}

fn loss_refused(account: &Account, now: OffsetDateTime) -> Option<Reason> {
    let lost = Cents(account.loss_today(now)?).decimal();
    let began = Cents(account.state.as_ref()?.day.equity).decimal();
    let message = format!(
        "{lost} lost today, of {began}, where {} % are allowed; no openings until 00:00 UTC, or until an operator sets the \
         mode to active",
        account.rules.daily_loss_percent_max.get()
    );
    Some(Reason::new("daily_loss_above_max", message))
}

/// The room that is left for openings, as one claim takes it.
#[derive(Debug)]
pub struct Room {
    positions: i64,
    under_way: i64,
    openings_today: i64,
}

impl Room {
    /// `under_way`: openings that the last report may not know: with a terminal, of unknown outcome, resting at the broker,
    /// or executed of late.
    pub fn new(account: &Account, under_way: i64, now: OffsetDateTime) -> Self {
        let positions = account.state.as_ref().and_then(|state| state.positions).unwrap_or(0);
        Self { positions: positions.max(0).into(), under_way, openings_today: account.openings_today(now).into() }
    }

    /// Why there is none for this one; only openings take any.
    pub fn refuses(&self, rules: &Rules, signal: &Open) -> Option<Reason> {
        if !signal.order.action.opens() {
            return None;
        }
        if self.positions + self.under_way >= rules.positions_max.into() {
            let message = format!(
                "{} positions open and {} openings under way where {} are allowed in all",
                self.positions, self.under_way, rules.positions_max
            );
            return Some(Reason::new("positions_at_max", message));
        }
        // What was handed out before was counted then.
        if signal.attempt == 0 && self.openings_today >= rules.openings_per_day_max.into() {
            let message = format!(
                "{} openings handed out since 00:00 UTC where {} a day are allowed",
                self.openings_today, rules.openings_per_day_max
            );
            return Some(Reason::new("openings_at_max", message));
        }
        None
    }

    /// Takes this one's place.
    pub fn take(&mut self, signal: &Open) {
        if signal.order.action.opens() {
            self.under_way += 1;
            self.openings_today += i64::from(signal.attempt == 0);
        }
    }
}

/// A report's profit as a level, in cents, and whether it is by deposits; none where a figure is out of bounds.
fn level(update: &AccountUpdated) -> Option<(i64, i64, bool)> {
    let cents = |figure: Decimal| Cents::rounded(figure).ok().map(|cents| cents.0);
    let equity = cents(update.equity)?;
    match update.net_deposits {
        Some(deposits) => Some((equity, equity - cents(update.credit.unwrap_or_default())? - cents(deposits)?, true)),
        None => Some((equity, cents(update.profit)?, false)),
    }
}

/// How the account stands after a report; none where the report does not count: of another login, of a terminal without
/// its broker, of an account logged out, or older than the last.
pub fn observe(account: &Account, update: &AccountUpdated) -> Option<State> {
    let rules = &account.rules;
    // Another login's figures are no beginning for this one's; its first report begins anew.
    let last = account.state.as_ref().filter(|last| {
        rules.admits(last.login) && (last.login.is_none() || update.login.is_none() || last.login == update.login)
    });
    let age = Duration::milliseconds(update.age_ms.unwrap_or(0).clamp(0, 86_400_000));
    let at = update.received_at - age;
    let (equity, profit, by_deposits) = level(update)?;
    let logged_out = update.balance.is_zero() && update.equity.is_zero() && last.is_some_and(|last| last.equity != 0);
    // A last report from the future was by a clock that was put right since.
    let late = last.is_some_and(|last| at < last.at && last.at <= update.received_at + FIGURES_DELAY_MAX);
    if !rules.admits(update.login) || update.connected == Some(false) || logged_out || late {
        return None;
    }
    let date = day(at);
    let day = Day { date, equity, profit, loss: None };
    let mut state =
        State { at, login: update.login, positions: update.open_positions, equity, profit, by_deposits, day };
    let Some(last) = last else { return Some(state) };
    state.login = state.login.or(last.login);
    if last.by_deposits && !by_deposits {
        // While its history is not complete the terminal can't say what was earned.
        (state.equity, state.profit, state.by_deposits) = (last.equity, last.profit, true);
    }
    // A day begins with what the last one ended with.
    let ended = Day { date, equity: last.equity, profit: last.profit, loss: None };
    state.day = if last.day.date == date { last.day } else { ended };
    if last.by_deposits != state.by_deposits || state.day.equity <= 0 {
        // Profit means something else from here on, or there was no money before.
        state.day = Day { equity: state.equity, profit: state.profit, ..state.day };
    }
    let lost = state.day.profit - state.profit;
    let allowed = rules.daily_loss_percent_max.get() * Decimal::from(state.day.equity.max(0));
    if state.day.loss.is_none() && lost > 0 && Decimal::from(lost) * Decimal::ONE_HUNDRED >= allowed {
        state.day.loss = Some(lost);
    }
    Some(state)
}

/// What an operator makes of a day that a loss had stopped: the loss is accepted, and the count begins anew from here.
pub fn lift(state: &State) -> Option<Day> {
    state.day.loss.map(|_| Day { equity: state.equity, profit: state.profit, loss: None, ..state.day })
}

#[cfg(test)]
mod tests;
