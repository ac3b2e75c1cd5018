//! `OrderSend`: each request is judged first and has all of its effects or none.
//!
//! A refusal is an `Err` with its return code; nothing has changed then.

use rust_decimal::Decimal;
use time::OffsetDateTime;

use super::check::{check_mode, check_price, check_resting, check_stops};
use super::state::{Effect, MONEY_DIGITS};
use super::{
    Deal, DealType, Entry, Filling, Market, Order, OrderState, OrderType, Position, Quote, Reason, Side, SymbolSpec,
    TradeAction, TradeRequest, TradeResult, retcode,
};

/// Characters of a comment that the broker keeps.
const COMMENT_MAX: usize = 31;

/// Who closes a position, and how the deal is marked.
pub(super) struct Cause {
    pub(super) reason: Reason,
    pub(super) magic: u64,
    pub(super) comment: String,
}

/// What a deal comes to, but for its costs.
struct Fill {
    price: Decimal,
    profit: Decimal,
    swap: Decimal,
}

impl Market {
    pub(super) fn order_send(&mut self, request: &TradeRequest, now: OffsetDateTime) -> TradeResult {
        if self.faults.drops() {
            if self.faults.drop.take() == Some(true) {
                self.execute(request, now);
            }
            return TradeResult::default();
        }
        let mut result = if self.faults.lost.is_some() {
            TradeResult { retcode: retcode::CONNECTION, ..TradeResult::default() }
        } else if let Some(executed) = self.faults.fail.take() {
            if executed {
                self.execute(request, now);
            }
            TradeResult { retcode: self.faults.fail_retcode, ..TradeResult::default() }
        } else {
            self.execute(request, now)
        };
        if let Some(quote) = self.quote(&request.symbol) {
            result.bid = quote.bid;
            result.ask = quote.ask;
        }
        retcode::words(result.retcode).clone_into(&mut result.comment);
        result
    }

    fn execute(&mut self, request: &TradeRequest, now: OffsetDateTime) -> TradeResult {
        let outcome = if !self.faults.trade_allowed {
            Err(retcode::TRADE_DISABLED)
        } else if !self.faults.open {
            Err(retcode::MARKET_CLOSED)
        } else if self.faults.frozen && (request.position, request.order) != (0, 0) {
            Err(retcode::FROZEN)
        } else {
            match request.action {
                TradeAction::Deal if request.position == 0 => self.open_position(request, now),
                TradeAction::Deal => self.close_position(request, now),
                TradeAction::Pending => self.place(request, now),
                TradeAction::Sltp => self.change_stops(request),
                TradeAction::Modify => self.modify(request, now),
                TradeAction::Remove => self.remove(request, now),
            }
        };
        outcome.unwrap_or_else(|retcode| TradeResult { retcode, ..TradeResult::default() })
    }

    fn open_position(&mut self, request: &TradeRequest, now: OffsetDateTime) -> Result<TradeResult, u32> {
        let (spec, quote) = self.contract(&request.symbol)?;
        if request.order_type.is_pending() {
            return Err(retcode::INVALID);
        }
        if !spec.is_volume(request.volume) {
            return Err(retcode::INVALID_VOLUME);
        }
        let side = request.order_type.side();
        check_mode(&spec, side)?;
        check_price(request, &spec, quote, side)?;
        check_stops(request, &spec, quote.price(side.opposite()), side)?;
        let volume = self.fillable(request, &spec)?;
        let price = quote.price(side);
        if self.account().free_margin < self.state.margin(&spec, volume, price) {
            return Err(retcode::NO_MONEY);
        }
        let order = self.new_order(request, now);
        let ticket = order.ticket;
        let deal = self.open_by(order, volume, price, now);
        Ok(filled(ticket, deal, volume, price, request.volume))
    }

    fn close_position(&mut self, request: &TradeRequest, now: OffsetDateTime) -> Result<TradeResult, u32> {
        let position = self.position(request.position)?;
        let (spec, quote) = self.contract(&position.symbol)?;
        let side = position.side.opposite();
        if request.symbol != position.symbol || request.order_type.is_pending() || request.order_type.side() != side {
            return Err(retcode::INVALID);
        }
        if !spec.is_volume(request.volume) {
            return Err(retcode::INVALID_VOLUME);
        }
        if request.volume > position.volume {
            return Err(retcode::INVALID_CLOSE_VOLUME);
        }
        check_price(request, &spec, quote, side)?;
        let volume = self.fillable(request, &spec)?;
        let reason = if request.magic == 0 { Reason::Client } else { Reason::Expert };
        let cause = Cause { reason, magic: request.magic, comment: short(&request.comment) };
        let (order, deal, price) = self.close(&position, volume, &cause, now);
        Ok(filled(order, deal, volume, price, request.volume))
    }

    fn place(&mut self, request: &TradeRequest, now: OffsetDateTime) -> Result<TradeResult, u32> {
        let (spec, quote) = self.contract(&request.symbol)?;
        if !request.order_type.is_pending() {
            return Err(retcode::INVALID);
        }
        if !spec.is_volume(request.volume) {
            return Err(retcode::INVALID_VOLUME);
        }
        check_mode(&spec, request.order_type.side())?;
        check_resting(request, request.order_type, &spec, quote, now)?;
        let order = self.new_order(request, now);
        let ticket = order.ticket;
        self.apply(Effect::Order(order));
        Ok(TradeResult { retcode: retcode::PLACED, order: ticket, volume: request.volume, ..TradeResult::default() })
    }

    fn change_stops(&mut self, request: &TradeRequest) -> Result<TradeResult, u32> {
        let position = self.position(request.position)?;
        let (spec, quote) = self.contract(&position.symbol)?;
        if (position.sl, position.tp) == (request.sl, request.tp) {
            return Err(retcode::NO_CHANGES);
        }
        check_stops(request, &spec, quote.price(position.side.opposite()), position.side)?;
        self.apply(Effect::Position(Position { sl: request.sl, tp: request.tp, ..position }));
        Ok(TradeResult { retcode: retcode::DONE, ..TradeResult::default() })
    }

    fn modify(&mut self, request: &TradeRequest, now: OffsetDateTime) -> Result<TradeResult, u32> {
        let order = self.state.orders.get(&request.order).cloned().ok_or(retcode::INVALID)?;
        let (spec, quote) = self.contract(&order.symbol)?;
        let changed = (request.price, request.sl, request.tp, request.expiration);
        if changed == (order.price, order.sl, order.tp, order.expiration) {
            return Err(retcode::NO_CHANGES);
        }
        check_resting(request, order.order_type, &spec, quote, now)?;
        let (price, sl, tp, expiration) = changed;
        self.apply(Effect::Order(Order { price, sl, tp, expiration, ..order }));
        Ok(TradeResult { retcode: retcode::DONE, order: request.order, ..TradeResult::default() })
    }

    fn remove(&mut self, request: &TradeRequest, now: OffsetDateTime) -> Result<TradeResult, u32> {
        let order = self.state.orders.get(&request.order).cloned().ok_or(retcode::INVALID)?;
        self.order_done(Order { state: OrderState::Cancelled, ..order }, now);
        Ok(TradeResult { retcode: retcode::DONE, order: request.order, ..TradeResult::default() })
    }

    /// A resting order whose price was reached. What the largest fill leaves is cancelled.
    pub(super) fn fill_pending(&mut self, order: Order, quote: Quote, now: OffsetDateTime) {
        let Some(spec) = self.symbol(&order.symbol) else { return };
        let price = quote.price(order.order_type.side());
        let volume = self.faults.max_fill.map_or(order.volume, |most| most.min(order.volume));
        let affordable = self.account().free_margin >= self.state.margin(spec, volume, price);
        if affordable && spec.is_volume(volume) {
            self.open_by(order, volume, price, now);
        } else {
            self.order_done(Order { state: OrderState::Rejected, ..order }, now);
        }
    }

    /// The order is done, a deal is made, a position stands. Returns the deal's ticket.
    fn open_by(&mut self, order: Order, volume: Decimal, price: Decimal, now: OffsetDateTime) -> u64 {
        let state = if volume == order.volume { OrderState::Filled } else { OrderState::Partial };
        let done = Order { state, filled: volume, position: order.ticket, ..order };
        self.order_done(done.clone(), now);
        let side = done.order_type.side();
        let reason = if done.magic == 0 { Reason::Client } else { Reason::Expert };
        let cause = Cause { reason, magic: done.magic, comment: done.comment.clone() };
        let fill = Fill { price, profit: Decimal::ZERO, swap: Decimal::ZERO };
        let deal = self.deal(&done, Entry::In, &fill, cause, now);
        self.apply(Effect::Position(Position {
            ticket: done.ticket,
            symbol: done.symbol,
            side,
            volume,
            price,
            sl: done.sl,
            tp: done.tp,
            magic: done.magic,
            comment: done.comment,
            opened_at: now,
            profit: Decimal::ZERO,
            swap: Decimal::ZERO,
        }));
        deal
    }

    /// Closes so many lots of a position at the current price. Returns the tickets of order and deal, and the price.
    pub(super) fn close(
        &mut self,
        position: &Position,
        volume: Decimal,
        cause: &Cause,
        now: OffsetDateTime,
    ) -> (u64, u64, Decimal) {
        let side = position.side.opposite();
        let (spec, quote) = self.contract(&position.symbol).expect("a position's symbol is never removed");
        let price = quote.price(side);
        let profit = self.state.profit(&spec, position.side, volume, position.price, price);
        let swap = (position.swap * volume / position.volume).round_dp(MONEY_DIGITS);
        let order = Order {
            ticket: self.state.next_ticket,
            symbol: position.symbol.clone(),
            order_type: if side == Side::Buy { OrderType::Buy } else { OrderType::Sell },
            state: OrderState::Filled,
            volume,
            filled: volume,
            price: Decimal::ZERO,
            sl: Decimal::ZERO,
            tp: Decimal::ZERO,
            magic: cause.magic,
            position: position.ticket,
            comment: cause.comment.clone(),
            expiration: None,
            placed_at: Some(now),
            done_at: Some(now),
        };
        self.order_done(order.clone(), now);
        let cause = Cause { comment: cause.comment.clone(), ..*cause };
        let deal = self.deal(&order, Entry::Out, &Fill { price, profit, swap }, cause, now);
        if volume == position.volume {
            self.apply(Effect::PositionGone(position.ticket));
        } else {
            let (volume, swap) = (position.volume - volume, position.swap - swap);
            self.apply(Effect::Position(Position { volume, swap, ..position.clone() }));
        }
        (order.ticket, deal, price)
    }

    pub(super) fn order_done(&mut self, order: Order, now: OffsetDateTime) {
        self.apply(Effect::OrderDone(Order { done_at: Some(now), ..order }));
    }

    fn deal(&mut self, order: &Order, entry: Entry, fill: &Fill, cause: Cause, now: OffsetDateTime) -> u64 {
        let ticket = self.state.next_ticket;
        // Subtracted, not negated: there is a negative zero.
        let cost = |per_lot: Decimal| Decimal::ZERO - (per_lot * order.filled).round_dp(MONEY_DIGITS);
        let (commission, fee) = (cost(self.state.commission_per_lot), cost(self.state.fee_per_lot));
        self.apply(Effect::Deal(Deal {
            ticket,
            order: order.ticket,
            position: order.position,
            deal_type: if order.order_type.side() == Side::Buy { DealType::Buy } else { DealType::Sell },
            entry,
            reason: cause.reason,
            symbol: order.symbol.clone(),
            volume: order.filled,
            price: fill.price,
            profit: fill.profit,
            commission,
            swap: fill.swap,
            fee,
            magic: cause.magic,
            comment: cause.comment,
            at: now,
        }));
        ticket
    }

    fn new_order(&self, request: &TradeRequest, now: OffsetDateTime) -> Order {
        Order {
            ticket: self.state.next_ticket,
            symbol: request.symbol.clone(),
            order_type: request.order_type,
            state: OrderState::Placed,
            volume: request.volume,
            filled: Decimal::ZERO,
            price: if request.order_type.is_pending() { request.price } else { Decimal::ZERO },
            sl: request.sl,
            tp: request.tp,
            magic: request.magic,
            position: 0,
            comment: short(&request.comment),
            expiration: request.expiration,
            placed_at: Some(now),
            done_at: None,
        }
    }

    fn contract(&self, symbol: &str) -> Result<(SymbolSpec, Quote), u32> {
        Ok((self.symbol(symbol).cloned().ok_or(retcode::INVALID)?, self.quote(symbol).ok_or(retcode::PRICE_OFF)?))
    }

    fn position(&self, ticket: u64) -> Result<Position, u32> {
        let once = || self.state.deals.iter().any(|deal| deal.position == ticket && ticket != 0);
        let absent = || if once() { retcode::POSITION_CLOSED } else { retcode::INVALID };
        self.state.positions.get(&ticket).cloned().ok_or_else(absent)
    }

    fn fillable(&self, request: &TradeRequest, spec: &SymbolSpec) -> Result<Decimal, u32> {
        let volume = self.faults.max_fill.map_or(request.volume, |most| most.min(request.volume));
        match request.filling {
            filling if !spec.fills(filling) => Err(retcode::INVALID_FILL),
            Filling::Fok if volume < request.volume => Err(retcode::REJECT),
            _ if !spec.is_volume(volume) => Err(retcode::REJECT),
            _ => Ok(volume),
        }
    }
}

fn filled(order: u64, deal: u64, volume: Decimal, price: Decimal, requested: Decimal) -> TradeResult {
    let retcode = if volume == requested { retcode::DONE } else { retcode::DONE_PARTIAL };
    TradeResult { retcode, deal, order, volume, price, ..TradeResult::default() }
}

fn short(comment: &str) -> String {
    comment.chars().take(COMMENT_MAX).collect()
}
