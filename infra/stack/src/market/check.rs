//! What a request must be to be taken at all: prices, stops and distances. Pure; a refusal is its return code.

use rust_decimal::Decimal;
use time::OffsetDateTime;

use super::{OrderType, Quote, Side, SymbolSpec, TradeMode, TradeRequest, retcode};

/// A market order names the price that its sender saw; a worse one beyond the deviation is a requote.
pub(super) fn check_price(request: &TradeRequest, spec: &SymbolSpec, quote: Quote, side: Side) -> Result<(), u32> {
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

/// Whether the broker takes such an opening of the symbol at all.
pub(super) fn check_mode(spec: &SymbolSpec, side: Side) -> Result<(), u32> {
    match (spec.trade_mode, side) {
        (TradeMode::Full, _) | (TradeMode::LongOnly, Side::Buy) | (TradeMode::ShortOnly, Side::Sell) => Ok(()),
        (TradeMode::LongOnly, Side::Sell) => Err(retcode::LONG_ONLY),
        (TradeMode::ShortOnly, Side::Buy) => Err(retcode::SHORT_ONLY),
        (TradeMode::CloseOnly, _) => Err(retcode::CLOSE_ONLY),
        (TradeMode::Disabled, _) => Err(retcode::TRADE_DISABLED),
    }
}

/// Stops lie on their side of the reference price, at the least distance or further.
pub(super) fn check_stops(
    request: &TradeRequest,
    spec: &SymbolSpec,
    reference: Decimal,
    side: Side,
) -> Result<(), u32> {
    let valid = |stop: Decimal, above: bool| {
        let room = || if above { stop - reference } else { reference - stop };
        stop.is_zero() || (spec.is_price(stop) && room() >= spec.distance())
    };
    let long = side == Side::Buy;
    if valid(request.sl, !long) && valid(request.tp, long) { Ok(()) } else { Err(retcode::INVALID_STOPS) }
}

pub(super) fn check_resting(
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
    if request.expiration.is_some_and(|at| at <= now || !spec.expiration) {
        return Err(retcode::INVALID_EXPIRATION);
    }
    check_stops(request, spec, request.price, kind.side())
}
