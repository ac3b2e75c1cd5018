//! What the broker knows, and the effects that change it.
//!
//! Effects carry outcomes, never decisions: applying the stored ones again gives the same state, whatever the prices were.

use std::collections::BTreeMap;

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};

use super::symbol::Random;
use super::{Account, Deal, DealType, MarketConfig, Order, Position, Quote, Side, SymbolSpec};

/// Minor digits of the account's currency.
pub(super) const MONEY_DIGITS: u32 = 2;

/// A change that happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Effect {
    Deal(Deal),
    /// Opened or changed.
    Position(Position),
    PositionGone(u64),
    /// Placed or changed.
    Order(Order),
    /// Filled, deleted, expired or refused: it moves into the history.
    OrderDone(Order),
    /// The day whose first midnight has been dealt with, by its Julian number.
    Day(i32),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Prices {
    pub(super) random: Random,
    /// Bid in points.
    pub(super) bids: BTreeMap<String, i64>,
    /// When a symbol's price last moved, in milliseconds of the Unix epoch.
    #[serde(default)]
    pub(super) moved_at: BTreeMap<String, i64>,
    /// Steps taken of the bars that are replayed.
    #[serde(default)]
    pub(super) replayed: BTreeMap<String, usize>,
    /// Spreads that replayed bars brought, in points.
    #[serde(default)]
    pub(super) spreads: BTreeMap<String, i64>,
}

impl Prices {
    fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            bids: BTreeMap::new(),
            moved_at: BTreeMap::new(),
            replayed: BTreeMap::new(),
            spreads: BTreeMap::new(),
        }
    }

    pub(super) fn quote(&self, symbol: &SymbolSpec) -> Option<Quote> {
        let spread = self.spreads.get(&symbol.name).copied().unwrap_or(symbol.spread);
        self.bids.get(&symbol.name).map(|bid| symbol.quote(*bid, spread))
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct State {
    /// Of the last record that is part of it.
    pub(super) sequence: u64,
    login: u64,
    currency: String,
    leverage: u32,
    pub(super) commission_per_lot: Decimal,
    #[serde(default)]
    pub(super) fee_per_lot: Decimal,
    #[serde(default = "hedging")]
    hedging: bool,
    /// None in books from before swaps were kept.
    #[serde(default)]
    pub(super) day: Option<i32>,
    pub(super) symbols: BTreeMap<String, SymbolSpec>,
    pub(super) prices: Prices,
    pub(super) next_ticket: u64,
    pub(super) balance: Decimal,
    credit: Decimal,
    pub(super) positions: BTreeMap<u64, Position>,
    pub(super) orders: BTreeMap<u64, Order>,
    pub(super) history: Vec<Order>,
    pub(super) deals: Vec<Deal>,
}

impl State {
    pub(super) fn new(config: &MarketConfig) -> Self {
        Self {
            sequence: 0,
            login: config.login,
            currency: config.currency.clone(),
            leverage: config.leverage.max(1),
            commission_per_lot: config.commission_per_lot,
            fee_per_lot: config.fee_per_lot,
            hedging: config.hedging,
            day: None,
            symbols: BTreeMap::new(),
            prices: Prices::new(config.seed),
            next_ticket: 1_000_001,
            balance: Decimal::ZERO,
            credit: config.credit,
            positions: BTreeMap::new(),
            orders: BTreeMap::new(),
            history: Vec::new(),
            deals: Vec::new(),
        }
    }

    /// A price nobody has seen move yet is one of `at_ms`.
    pub(super) fn add_symbols(&mut self, symbols: Vec<SymbolSpec>, at_ms: i64) {
        for symbol in symbols {
            self.prices.moved_at.entry(symbol.name.clone()).or_insert(at_ms);
            self.prices.bids.entry(symbol.name.clone()).or_insert(symbol.start);
            self.symbols.entry(symbol.name.clone()).or_insert(symbol);
        }
    }

    pub(super) fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::Deal(deal) => {
                self.balance += deal.net();
                self.next_ticket = self.next_ticket.max(deal.ticket + 1);
                self.deals.push(deal.clone());
            }
            Effect::Position(position) => {
                self.positions.insert(position.ticket, position.clone());
            }
            Effect::PositionGone(ticket) => {
                self.positions.remove(ticket);
            }
            Effect::Order(order) => {
                self.next_ticket = self.next_ticket.max(order.ticket + 1);
                self.orders.insert(order.ticket, order.clone());
            }
            Effect::OrderDone(order) => {
                self.next_ticket = self.next_ticket.max(order.ticket + 1);
                self.orders.remove(&order.ticket);
                self.history.push(order.clone());
            }
            Effect::Day(day) => self.day = Some(*day),
        }
    }

    pub(super) fn deals_sum(&self) -> Decimal {
        self.deals.iter().map(Deal::net).sum()
    }

    pub(super) fn quote(&self, symbol: &str) -> Option<Quote> {
        self.prices.quote(self.symbols.get(symbol)?)
    }

    /// An amount of another currency in the account's, at the current bid; none where no symbol connects the two.
    pub(super) fn convert(&self, amount: Decimal, currency: &str) -> Option<Decimal> {
        if currency == self.currency {
            return Some(amount);
        }
        self.symbols.values().find_map(|symbol| {
            let bid = || self.quote(&symbol.name).map(|quote| quote.bid);
            if symbol.base == self.currency && symbol.profit_currency == currency {
                Some(amount / bid()?)
            } else if symbol.base == currency && symbol.profit_currency == self.currency {
                Some(amount * bid()?)
            } else {
                None
            }
        })
    }

    /// Profit in the account's currency, in whole minor units.
    pub(super) fn profit(
        &self,
        spec: &SymbolSpec,
        side: Side,
        volume: Decimal,
        open: Decimal,
        close: Decimal,
    ) -> Decimal {
        let difference = match side {
            Side::Buy => close - open,
            Side::Sell => open - close,
        };
        let amount = difference * volume * spec.contract_size;
        self.convert(amount, &spec.profit_currency).unwrap_or(amount).round_dp(MONEY_DIGITS)
    }

    /// What a position binds, rounded up.
    pub(super) fn margin(&self, spec: &SymbolSpec, volume: Decimal, price: Decimal) -> Decimal {
        let lots = volume * spec.contract_size;
        let notional = if spec.base == self.currency {
            lots
        } else {
            self.convert(lots * price, &spec.profit_currency).unwrap_or(lots)
        };
        (notional / Decimal::from(self.leverage)).round_dp_with_strategy(MONEY_DIGITS, RoundingStrategy::AwayFromZero)
    }

    pub(super) fn floating(&self, position: &Position) -> Decimal {
        let priced = self.symbols.get(&position.symbol).zip(self.quote(&position.symbol));
        priced.map_or(Decimal::ZERO, |(spec, quote)| {
            let close = quote.price(position.side.opposite());
            self.profit(spec, position.side, position.volume, position.price, close)
        })
    }

    /// What a night costs (below zero) or brings, in whole minor units.
    pub(super) fn swap_per_night(&self, position: &Position) -> Decimal {
        let Some(spec) = self.symbols.get(&position.symbol) else { return Decimal::ZERO };
        let points = match position.side {
            Side::Buy => spec.swap_long,
            Side::Sell => spec.swap_short,
        };
        let amount = points * spec.point * position.volume * spec.contract_size;
        self.convert(amount, &spec.profit_currency).unwrap_or(amount).round_dp(MONEY_DIGITS)
    }

    pub(super) fn account(&self, trade_allowed: bool) -> Account {
        let profit: Decimal = self.positions.values().map(|position| self.floating(position) + position.swap).sum();
        let margin_of = |position: &Position| {
            self.symbols
                .get(&position.symbol)
                .map_or(Decimal::ZERO, |spec| self.margin(spec, position.volume, position.price))
        };
        let margin: Decimal = self.positions.values().map(margin_of).sum();
        let equity = self.balance + self.credit + profit;
        Account {
            login: self.login,
            currency: self.currency.clone(),
            digits: MONEY_DIGITS,
            balance: self.balance,
            equity,
            margin,
            free_margin: equity - margin,
            profit,
            credit: self.credit,
            leverage: self.leverage,
            hedging: self.hedging,
            trade_allowed,
        }
    }

    /// What is wrong with a state read from a file, if anything.
    pub(super) fn fault(&self) -> Option<String> {
        let sum = self.deals_sum();
        if sum != self.balance {
            return Some(format!("the deals add up to {sum}, the balance is {}", self.balance));
        }
        let sorted = self.deals.is_sorted_by(|one, next| one.ticket < next.ticket);
        let known = self
            .deals
            .iter()
            .all(|deal| deal.deal_type == DealType::Balance || self.symbols.contains_key(&deal.symbol));
        (!sorted || !known).then(|| "deals out of order, or of an unknown symbol".to_owned())
    }
}

/// Books from before this was kept are those of hedging accounts.
fn hedging() -> bool {
    true
}
