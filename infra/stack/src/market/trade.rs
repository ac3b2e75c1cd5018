//! `OrderSend`: each request is judged first and has all of its effects or none.
//!
//! A refusal is an `Err` with its return code; nothing has changed then.

use rust_decimal::Decimal;
use time::OffsetDateTime;

use super::state::Effect;
use super::wire::retcode;
use super::{
    Deal, DealType, Entry, Filling, Market, Order, OrderState, OrderType, Position, Quote, Reason, Side, SymbolSpec,
    TradeAction, TradeRequest, TradeResult,
};

/// Characters of a comment that the broker keeps.
const COMMENT_MAX: usize = 31;

/// Who closes a position, and how the deal is marked.
pub(super) struct Cause {
    pub(super) reason: Reason,
    pub(super) magic: u64,
    pub(super) comment: String,
}

impl Market {
    pub(super) fn order_send(&mut self, request: &TradeRequest, now: OffsetDateTime) -> TradeResult {
        let mut result = if self.faults.fail_next == 0 {
            self.execute(request, now)
        } else {
            self.faults.fail_next -= 1;
            if self.faults.fail_executed {
                self.execute(request, now);
            }
            TradeResult { retcode: self.faults.fail_retcode, ..TradeResult::default() }
        };
        if let Some(quote) = self.quote(&request.symbol) {
            result.bid = quote.bid;
            result.ask = quote.ask;
        }
        words(result.retcode).clone_into(&mut result.comment);
        result
    }

    fn execute(&mut self, request: &TradeRequest, now: OffsetDateTime) -> TradeResult {
        let outcome = if !self.faults.trade_allowed {
            Err(retcode::TRADE_DISABLED)
        } else if !self.faults.open {
            Err(retcode::MARKET_CLOSED)
        } else {
            match request.action {
                TradeAction::Deal if request.position == 0 => self.open_position(request, now),
                TradeAction::Deal => self.close_position(request, now),
                TradeAction::Pending => self.place(request, now),
                TradeAction::Sltp => self.change_stops(request),
                TradeAction::Modify => self.modify(request, now),
                TradeAction::Remove => self.remove(request),
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
        check_price(request, &spec, quote, side)?;
        check_stops(request, &spec, quote.price(side.opposite()), side)?;
        let volume = self.fillable(request, &spec)?;
        let price = quote.price(side);
        if self.account().free_margin < self.state.margin(&spec, volume, price) {
            return Err(retcode::NO_MONEY);
        }
        let order = self.new_order(request);
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
        if !spec.is_volume(request.volume) || request.volume > position.volume {
            return Err(retcode::INVALID_VOLUME);
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
        check_resting(request, request.order_type, &spec, quote, now)?;
        let order = self.new_order(request);
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

    fn remove(&mut self, request: &TradeRequest) -> Result<TradeResult, u32> {
        let order = self.state.orders.get(&request.order).cloned().ok_or(retcode::INVALID)?;
        self.apply(Effect::OrderDone(Order { state: OrderState::Cancelled, ..order }));
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
            self.apply(Effect::OrderDone(Order { state: OrderState::Rejected, ..order }));
        }
    }

    /// The order is done, a deal is made, a position stands. Returns the deal's ticket.
    fn open_by(&mut self, order: Order, volume: Decimal, price: Decimal, now: OffsetDateTime) -> u64 {
        let state = if volume == order.volume { OrderState::Filled } else { OrderState::Partial };
        let done = Order { state, filled: volume, position: order.ticket, ..order };
        self.apply(Effect::OrderDone(done.clone()));
        let side = done.order_type.side();
        let reason = if done.magic == 0 { Reason::Client } else { Reason::Expert };
        let cause = Cause { reason, magic: done.magic, comment: done.comment.clone() };
        let deal = self.deal(&done, Entry::In, Decimal::ZERO, price, cause, now);
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
        };
        self.apply(Effect::OrderDone(order.clone()));
        let cause = Cause { comment: cause.comment.clone(), ..*cause };
        let deal = self.deal(&order, Entry::Out, profit, price, cause, now);
        if volume == position.volume {
            self.apply(Effect::PositionGone(position.ticket));
        } else {
            self.apply(Effect::Position(Position { volume: position.volume - volume, ..position.clone() }));
        }
        (order.ticket, deal, price)
    }

    fn deal(
        &mut self,
        order: &Order,
        entry: Entry,
        profit: Decimal,
        price: Decimal,
        cause: Cause,
        now: OffsetDateTime,
    ) -> u64 {
        let ticket = self.state.next_ticket;
        let commission = -(self.state.commission_per_lot * order.filled).round_dp(super::state::MONEY_DIGITS);
        self.apply(Effect::Deal(Deal {
            ticket,
            order: order.ticket,
            position: order.position,
            deal_type: if order.order_type.side() == Side::Buy { DealType::Buy } else { DealType::Sell },
            entry,
            reason: cause.reason,
            symbol: order.symbol.clone(),
            volume: order.filled,
            price,
            profit,
            commission,
            magic: cause.magic,
            comment: cause.comment,
            at: now,
        }));
        ticket
    }

    fn new_order(&self, request: &TradeRequest) -> Order {
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
            filling if !spec.filling.contains(&filling) => Err(retcode::INVALID_FILL),
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

/// A market order names the price that its sender saw; a worse one beyond the deviation is a requote.
fn check_price(request: &TradeRequest, spec: &SymbolSpec, quote: Quote, side: Side) -> Result<(), u32> {
    if request.price.is_zero() {
        return Ok(());
    }
    if !spec.is_price(request.price) {
        return Err(retcode::INVALID_PRICE);
    }
    let worse = match side {
        Side::Buy => quote.ask - request.price,
        Side::Sell => request.price - quote.bid,
    };
    if worse > spec.point * Decimal::from(request.deviation) { Err(retcode::REQUOTE) } else { Ok(()) }
}

/// Stops lie on their side of the reference price, at the least distance or further.
fn check_stops(request: &TradeRequest, spec: &SymbolSpec, reference: Decimal, side: Side) -> Result<(), u32> {
    let valid = |stop: Decimal, above: bool| {
        let room = || if above { stop - reference } else { reference - stop };
        stop.is_zero() || (spec.is_price(stop) && room() >= spec.distance())
    };
    let long = side == Side::Buy;
    if valid(request.sl, !long) && valid(request.tp, long) { Ok(()) } else { Err(retcode::INVALID_STOPS) }
}

fn check_resting(
    request: &TradeRequest,
    kind: OrderType,
    spec: &SymbolSpec,
    quote: Quote,
    now: OffsetDateTime,
) -> Result<(), u32> {
    if !spec.is_price(request.price) {
        return Err(retcode::INVALID_PRICE);
    }
    let room = match kind {
        OrderType::BuyLimit => quote.ask - request.price,
        OrderType::BuyStop => request.price - quote.ask,
        OrderType::SellLimit => request.price - quote.bid,
        OrderType::SellStop => quote.bid - request.price,
        OrderType::Buy | OrderType::Sell => return Err(retcode::INVALID),
    };
    if room < spec.distance() {
        return Err(retcode::INVALID_PRICE);
    }
    if request.expiration.is_some_and(|at| at <= now) {
        return Err(retcode::INVALID_EXPIRATION);
    }
    check_stops(request, spec, request.price, kind.side())
}

fn short(comment: &str) -> String {
    comment.chars().take(COMMENT_MAX).collect()
}

fn words(code: u32) -> &'static str {
    match code {
        retcode::REQUOTE => "Requote",
        retcode::REJECT => "Request rejected",
        retcode::PLACED => "Order placed",
        retcode::DONE => "Request executed",
        retcode::DONE_PARTIAL => "Request executed partially",
        retcode::TIMEOUT => "Request cancelled by timeout",
        retcode::INVALID => "Invalid request",
        retcode::INVALID_VOLUME => "Invalid volume",
        retcode::INVALID_PRICE => "Invalid price",
        retcode::INVALID_STOPS => "Invalid stops",
        retcode::TRADE_DISABLED => "Trade is disabled",
        retcode::MARKET_CLOSED => "Market is closed",
        retcode::NO_MONEY => "No money",
        retcode::INVALID_EXPIRATION => "Invalid expiration",
        retcode::NO_CHANGES => "No changes",
        retcode::INVALID_FILL => "Unsupported filling mode",
        retcode::POSITION_CLOSED => "Position is closed",
        _ => "",
    }
}
