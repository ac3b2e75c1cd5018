//! Prices move, and what rests at the broker reacts: pending orders, stops, expirations and the stop-out.
//!
//! Whatever is triggered is filled at the price that triggered it, so a gap costs what it costs.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use time::OffsetDateTime;

use super::trade::Cause;
use super::{Market, Order, OrderState, OrderType, Position, Quote, Reason, Response, Side, bars, millis};

/// Below this share of the margin, in percent, the broker closes the worst position.
const STOP_OUT_PERCENT: i64 = 50;

impl Market {
    /// A closed market has no quotes: its prices stand still.
    pub(super) fn advance(&mut self, steps: u32, now: OffsetDateTime) {
        if !self.faults.open {
            return;
        }
        let names: Vec<String> = self.state.symbols.keys().cloned().collect();
        for _ in 0..steps {
            for name in &names {
                if self.step(name) {
                    self.state.prices.moved_at.insert(name.clone(), millis(now));
                    self.react(name, now);
                }
            }
        }
        self.price_moved();
    }

    /// Moves a price; false where it stands still because its bars are over.
    fn step(&mut self, name: &str) -> bool {
        let prices = &mut self.state.prices;
        if let Some(bars) = self.bars.get(name) {
            let step = prices.replayed.entry(name.to_owned()).or_default();
            let Some((bid, spread)) = bars::price(bars, *step) else { return false };
            *step += 1;
            prices.bids.insert(name.to_owned(), bid);
            prices.spreads.insert(name.to_owned(), spread);
        } else if let (Some(spec), Some(bid)) = (self.state.symbols.get(name), prices.bids.get_mut(name)) {
            *bid = spec.step(*bid, &mut prices.random);
        }
        true
    }

    /// A replay starts with its first price; a symbol that is no longer replayed has its own spread again.
    pub(super) fn begin_bars(&mut self) {
        let names: Vec<String> = self.bars.keys().cloned().collect();
        self.state.prices.spreads.retain(|name, _| names.contains(name));
        for name in names {
            if !self.state.prices.replayed.contains_key(&name) {
                self.step(&name);
            }
        }
    }

    pub(super) fn set_price(&mut self, symbol: &str, bid: Decimal, now: OffsetDateTime) -> Response {
        let points = self.symbol(symbol).filter(|spec| spec.is_price(bid)).and_then(|spec| (bid / spec.point).to_i64());
        let Some(points) = points else { return super::answer::unknown(symbol) };
        self.state.prices.bids.insert(symbol.to_owned(), points);
        self.state.prices.moved_at.insert(symbol.to_owned(), millis(now));
        self.react(symbol, now);
        self.price_moved();
        self.stored_at = None; // a price set by hand is stored with this very call
        Response::Done
    }

    fn price_moved(&mut self) {
        self.prices_changed = true;
        self.revision += 1;
    }

    pub(super) fn expire_orders(&mut self, now: OffsetDateTime) {
        let over = |order: &&Order| order.expiration.is_some_and(|at| at <= now);
        let expired: Vec<Order> = self.state.orders.values().filter(over).cloned().collect();
        for order in expired {
            self.order_done(Order { state: OrderState::Expired, ..order }, now);
        }
    }

    fn react(&mut self, symbol: &str, now: OffsetDateTime) {
        let Some(quote) = self.quote(symbol).filter(|_| self.faults.open) else { return };
        let hit = |order: &&Order| order.symbol == symbol && is_reached(order, quote);
        let orders: Vec<Order> = self.state.orders.values().filter(hit).cloned().collect();
        for order in orders {
            self.fill_pending(order, quote, now);
        }
        let stopped = |position: &Position| (position.symbol == symbol).then(|| stop_hit(position, quote)).flatten();
        let stops: Vec<(Position, Reason)> =
            self.state.positions.values().filter_map(|position| Some((position.clone(), stopped(position)?))).collect();
        for (position, reason) in stops {
            self.close_by_broker(&position, reason, now);
        }
        self.stop_out(now);
    }

    pub(super) fn stop_out(&mut self, now: OffsetDateTime) {
        while !self.state.positions.is_empty() {
            let account = self.account();
            if account.equity * Decimal::ONE_HUNDRED >= account.margin * Decimal::from(STOP_OUT_PERCENT) {
                return;
            }
            let worst = self.positions().into_iter().min_by_key(|position| position.profit + position.swap);
            let Some(worst) = worst else { return };
            self.close_by_broker(&worst, Reason::StopOut, now);
        }
    }

    fn close_by_broker(&mut self, position: &Position, reason: Reason, now: OffsetDateTime) {
        let comment = match reason {
            Reason::StopLoss => format!("[sl {}]", position.sl),
            Reason::TakeProfit => format!("[tp {}]", position.tp),
            _ => "[so]".to_owned(),
        };
        self.close(position, position.volume, &Cause { reason, magic: position.magic, comment }, now);
    }
}

fn is_reached(order: &Order, quote: Quote) -> bool {
    match order.order_type {
        OrderType::BuyLimit => quote.ask <= order.price,
        OrderType::SellLimit => quote.bid >= order.price,
        OrderType::BuyStop => quote.ask >= order.price,
        OrderType::SellStop => quote.bid <= order.price,
        OrderType::Buy | OrderType::Sell => false,
    }
}

fn stop_hit(position: &Position, quote: Quote) -> Option<Reason> {
    let price = quote.price(position.side.opposite());
    let (lost, won) = match position.side {
        Side::Buy => (price <= position.sl, price >= position.tp),
        Side::Sell => (price >= position.sl, price <= position.tp),
    };
    if !position.sl.is_zero() && lost {
        Some(Reason::StopLoss)
    } else if !position.tp.is_zero() && won {
        Some(Reason::TakeProfit)
    } else {
        None
    }
}
