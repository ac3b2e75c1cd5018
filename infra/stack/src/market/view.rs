//! What a terminal sees: the books, as far as the connection, a delayed history and dropped comments let it.
//!
//! Positions, resting orders and money show at once; deals and finished orders may show late, and always in their order.

use time::OffsetDateTime;

use super::faults::Lost;
use super::wire::{Tick, View};
use super::{Deal, Market, Order, Position, Response, millis};

impl Market {
    pub(super) fn sync(&mut self, deals_after: u64, orders_skip: usize, now: OffsetDateTime) -> View {
        if let Some(lost) = &self.faults.lost {
            return lost.view.since(deals_after, orders_skip, now);
        }
        let visible = (self.deals_until(now).len(), self.history_until(now).len());
        if self.visible != visible {
            // What shows late is a change when it shows.
            self.visible = visible;
            self.revision += 1;
        }
        View {
            connected: true,
            account: self.account(),
            positions: self.shown_positions(),
            orders: self.shown_orders(),
            deals: self.shown_deals(deals_after, now),
            history_orders: self.shown_history(orders_skip, now),
            revision: self.revision,
            at_ms: millis(now),
        }
    }

    pub(super) fn set_connected(&mut self, connected: bool, now: OffsetDateTime) -> Response {
        self.revision += 1;
        if connected {
            self.faults.lost = None;
        } else if self.faults.lost.is_none() {
            let view = View { connected: false, ..self.sync(0, 0, now) };
            self.faults.lost = Some(Box::new(Lost { view, prices: self.state.prices.clone() }));
        }
        Response::Done
    }

    pub(super) fn tick(&self, symbol: &str) -> Option<Tick> {
        let prices = self.faults.lost.as_ref().map_or(&self.state.prices, |lost| &lost.prices);
        let quote = prices.quote(self.symbol(symbol)?)?;
        let at_ms = prices.moved_at.get(symbol).copied().unwrap_or_default();
        Some(Tick { bid: quote.bid, ask: quote.ask, at_ms })
    }

    pub(super) fn shown_positions(&self) -> Vec<Position> {
        let mut positions = self.positions();
        if self.faults.drop_comments {
            for position in &mut positions {
                position.comment.clear();
            }
        }
        positions
    }

    pub(super) fn shown_orders(&self) -> Vec<Order> {
        self.without_comments(self.orders().cloned().collect())
    }

    pub(super) fn shown_history(&self, skip: usize, now: OffsetDateTime) -> Vec<Order> {
        self.without_comments(self.history_until(now).iter().skip(skip).cloned().collect())
    }

    pub(super) fn shown_deals(&self, after: u64, now: OffsetDateTime) -> Vec<Deal> {
        let visible = self.deals_until(now);
        let from = visible.partition_point(|deal| deal.ticket <= after);
        let mut deals = visible[from..].to_vec();
        if self.faults.drop_comments {
            for deal in &mut deals {
                deal.comment.clear();
            }
        }
        deals
    }

    fn without_comments(&self, mut orders: Vec<Order>) -> Vec<Order> {
        if self.faults.drop_comments {
            for order in &mut orders {
                order.comment.clear();
            }
        }
        orders
    }

    fn deals_until(&self, now: OffsetDateTime) -> &[Deal] {
        let deals = self.deals();
        &deals[..deals.partition_point(|deal| self.shows(Some(deal.at), now))]
    }

    fn history_until(&self, now: OffsetDateTime) -> &[Order] {
        let orders = self.history_orders();
        &orders[..orders.partition_point(|order| self.shows(order.done_at, now))]
    }

    fn shows(&self, at: Option<OffsetDateTime>, now: OffsetDateTime) -> bool {
        self.faults.history_delay.is_zero() || at.is_none_or(|at| at + self.faults.history_delay <= now)
    }
}

impl View {
    fn since(&self, deals_after: u64, orders_skip: usize, now: OffsetDateTime) -> Self {
        let from = self.deals.partition_point(|deal| deal.ticket <= deals_after);
        Self {
            deals: self.deals[from..].to_vec(),
            history_orders: self.history_orders.iter().skip(orders_skip).cloned().collect(),
            at_ms: millis(now),
            account: self.account.clone(),
            positions: self.positions.clone(),
            orders: self.orders.clone(),
            ..*self
        }
    }
}
