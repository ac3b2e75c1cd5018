//! A simulated broker with one hedging account: it takes requests shaped like those of MetaTrader 5 and answers like it.
//!
//! Pure and synchronous, with the clock passed in; `server.rs` alone puts it on a socket. Its invariant: the balance is
//! the sum of all deals, and what an answer says happened is stored before the answer is given, so that killing the
//! process loses nothing.

mod answer;
mod bars;
mod check;
mod config;
mod connection;
mod faults;
mod night;
mod price;
mod process;
mod record;
pub mod retcode;
mod server;
mod state;
mod store;
mod symbol;
mod trade;
mod view;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rust_decimal::Decimal;
use time::{Duration, OffsetDateTime};

use faults::Faults;
use state::{Effect, State};
use store::{Record, Store};

pub use bars::{Bar, read_bars};
pub use config::MarketConfig;
pub use connection::Connection;
pub use process::{Args, main};
pub use record::{Account, Deal, DealType, Entry, Order, OrderState, OrderType, Position, Quote, Reason, Side};
pub use server::{listen, serve};
pub use symbol::{Execution, SymbolSpec, TradeMode};
pub use wire::{Filling, Request, Response, Tick, TradeAction, TradeRequest, TradeResult, View};

/// Largest amount of money and largest price taken, so that no product of a request can overflow.
const NUMBER_MAX: Decimal = Decimal::from_parts(0xD4A5_1000, 0xE8, 0, false, 0); // 10^12
/// Prices that moved without any other effect are stored this often.
const PRICES_STORED_EVERY: Duration = Duration::seconds(10);

/// Why a market could not be opened or no longer stores its effects.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process has it open.
    #[error("{0} is in use by another process")]
    InUse(String),
    /// A file holds something that was never written by a market.
    #[error("{path}: {reason}")]
    Corrupt {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Profit in this symbol can't be converted into the account's currency by any other symbol.
    #[error("no symbol converts the profit of {0} into the account's currency")]
    NoConversion(String),
    /// A file of bars is not one.
    #[error("{path}:{line}: {reason}")]
    Bars {
        /// The file.
        path: String,
        /// From 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// Bars belong to a symbol that is traded.
    #[error("there are bars of {0}, which is not traded")]
    BarsOfUnknown(String),
}

/// A market that its terminals and observers look at, in one process.
pub type SharedMarket = Arc<Mutex<Market>>;

/// The broker.
#[derive(Debug)]
pub struct Market {
    state: State,
    store: Option<Store>,
    bars: BTreeMap<String, Vec<Bar>>,
    /// Applied in memory, stored before the call returns.
    batch: Vec<Effect>,
    prices_changed: bool,
    stored_at: Option<OffsetDateTime>,
    faults: Faults,
    /// How many deals and finished orders showed when they were last looked at.
    visible: (usize, usize),
    revision: u64,
    under_way: usize,
    broken: Option<String>,
}

impl Market {
    /// Opens the market kept in the folder `path`, or a new one; without a path it lives in memory only.
    pub fn open(path: Option<&Path>, config: MarketConfig, now: OffsetDateTime) -> Result<Self, Error> {
        let opened = path.map(Store::open).transpose()?;
        let (store, stored) = opened.map_or((None, None), |(store, state)| (Some(store), state));
        let fresh = stored.is_none();
        let deposit = config.deposit;
        let mut state = stored.unwrap_or_else(|| State::new(&config));
        state.add_symbols(config.symbols, millis(now));
        if let Some(symbol) =
            state.symbols.values().find(|symbol| state.convert(Decimal::ONE, &symbol.profit_currency).is_none())
        {
            return Err(Error::NoConversion(symbol.name.clone()));
        }
        if let Some(name) = config.bars.keys().find(|name| !state.symbols.contains_key(*name)) {
            return Err(Error::BarsOfUnknown(name.clone()));
        }
        let mut market = Self {
            state,
            store,
            bars: config.bars,
            batch: Vec::new(),
            prices_changed: false,
            stored_at: None,
            faults: Faults::default(),
            visible: (0, 0),
            revision: 0,
            under_way: 0,
            broken: None,
        };
        market.begin_bars();
        if fresh {
            market.state.day = Some(night::day(now));
            if deposit > Decimal::ZERO {
                market.balance_deal(deposit.round_dp(state::MONEY_DIGITS), now);
            }
            market.batch.clear();
            if let Some(store) = &mut market.store {
                store.compact(&market.state)?;
            }
        }
        Ok(market)
    }

    /// Answers one request. Whatever the answer says happened is stored by then.
    pub fn call(&mut self, request: Request, now: OffsetDateTime) -> Response {
        if let Some(message) = &self.broken {
            return Response::Error { message: message.clone() };
        }
        self.pass_nights(now);
        self.expire_orders(now);
        let response = self.answer(request, now);
        match self.store_effects(now) {
            Ok(()) => response,
            Err(error) => {
                let message = format!("the market can't store its effects: {error}");
                self.broken = Some(message.clone());
                Response::Error { message }
            }
        }
    }

    fn balance_deal(&mut self, amount: Decimal, now: OffsetDateTime) {
        let deal = Deal {
            ticket: self.state.next_ticket,
            order: 0,
            position: 0,
            deal_type: DealType::Balance,
            entry: Entry::In,
            reason: Reason::Client,
            symbol: String::new(),
            volume: Decimal::ZERO,
            price: Decimal::ZERO,
            profit: amount,
            commission: Decimal::ZERO,
            swap: Decimal::ZERO,
            fee: Decimal::ZERO,
            magic: 0,
            comment: String::new(),
            at: now,
        };
        self.apply(Effect::Deal(deal));
    }

    fn apply(&mut self, effect: Effect) {
        self.state.apply(&effect);
        self.revision += 1;
        if self.store.is_some() {
            self.batch.push(effect);
        }
    }

    fn store_effects(&mut self, now: OffsetDateTime) -> Result<(), Error> {
        let Some(store) = &mut self.store else { return Ok(()) };
        let prices_due = self.prices_changed && self.stored_at.is_none_or(|at| now - at >= PRICES_STORED_EVERY);
        if self.batch.is_empty() && !prices_due {
            return Ok(());
        }
        self.state.sequence += 1;
        let record = Record {
            sequence: self.state.sequence,
            effects: std::mem::take(&mut self.batch),
            prices: self.state.prices.clone(),
        };
        store.append(&record, &self.state)?;
        self.prices_changed = false;
        self.stored_at = Some(now);
        Ok(())
    }

    /// Grows with every change of money, positions, orders, prices or permissions.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// All deals, by ticket.
    pub fn deals(&self) -> &[Deal] {
        &self.state.deals
    }

    /// The deals with a higher ticket.
    pub fn deals_after(&self, ticket: u64) -> &[Deal] {
        let from = self.state.deals.partition_point(|deal| deal.ticket <= ticket);
        &self.state.deals[from..]
    }

    /// Finished orders in the sequence in which they finished.
    pub fn history_orders(&self) -> &[Order] {
        &self.state.history
    }

    /// Resting orders, by ticket.
    pub fn orders(&self) -> impl Iterator<Item = &Order> {
        self.state.orders.values()
    }

    /// Open positions by ticket, with their floating profit.
    pub fn positions(&self) -> Vec<Position> {
        let valued = |one: &Position| Position { profit: self.state.floating(one), ..one.clone() };
        self.state.positions.values().map(valued).collect()
    }

    /// Bid and ask.
    pub fn quote(&self, symbol: &str) -> Option<Quote> {
        self.state.quote(symbol)
    }

    /// A symbol's contract.
    pub fn symbol(&self, name: &str) -> Option<&SymbolSpec> {
        self.state.symbols.get(name)
    }

    /// Profit of a trade in the account's currency; none for an unknown symbol or impossible figures.
    pub fn calc_profit(
        &self,
        symbol: &str,
        side: Side,
        volume: Decimal,
        open: Decimal,
        close: Decimal,
    ) -> Option<Decimal> {
        let spec = self.symbol(symbol)?;
        (volume > Decimal::ZERO && volume <= spec.volume_max && spec.is_price(open) && spec.is_price(close))
            .then(|| self.state.profit(spec, side, volume, open, close))
    }

    /// The margin of a trade in the account's currency; none for an unknown symbol or impossible figures.
    pub fn calc_margin(&self, symbol: &str, volume: Decimal, price: Decimal) -> Option<Decimal> {
        let spec = self.symbol(symbol)?;
        (volume > Decimal::ZERO && volume <= spec.volume_max && spec.is_price(price))
            .then(|| self.state.margin(spec, volume, price))
    }

    /// The account's figures at the current prices.
    pub fn account(&self) -> Account {
        self.state.account(self.faults.trade_allowed)
    }
}

/// All orders, resting and finished, and all deals of the books in a folder, which may be those of an open market.
pub fn read_books(folder: &Path) -> Result<(Vec<Order>, Vec<Deal>), Error> {
    let state = store::read(folder)?;
    let orders = state.history.into_iter().chain(state.orders.into_values());
    Ok((orders.collect(), state.deals))
}

/// A time in milliseconds of the Unix epoch.
fn millis(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

/// The broker's clock: it stands for another machine, which has its own.
#[expect(clippy::disallowed_methods, reason = "the simulated market and terminal are independent of every other crate")]
pub fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
