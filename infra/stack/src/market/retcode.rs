//! Return codes of the trade server, as MQL5 names them: the whole documented list.

/// Requote: the price moved beyond the deviation.
pub const REQUOTE: u32 = 10004;
/// Request rejected.
pub const REJECT: u32 = 10006;
/// Request cancelled by the trader.
pub const CANCEL: u32 = 10007;
/// Order placed.
pub const PLACED: u32 = 10008;
/// Request completed.
pub const DONE: u32 = 10009;
/// Only part of the request was completed.
pub const DONE_PARTIAL: u32 = 10010;
/// Request processing error.
pub const ERROR: u32 = 10011;
/// Request cancelled by timeout.
pub const TIMEOUT: u32 = 10012;
/// Invalid request.
pub const INVALID: u32 = 10013;
/// Invalid volume.
pub const INVALID_VOLUME: u32 = 10014;
/// Invalid price.
pub const INVALID_PRICE: u32 = 10015;
/// Invalid stops.
pub const INVALID_STOPS: u32 = 10016;
/// Trading is disabled.
pub const TRADE_DISABLED: u32 = 10017;
/// Market is closed.
pub const MARKET_CLOSED: u32 = 10018;
/// Not enough money.
pub const NO_MONEY: u32 = 10019;
/// Prices changed.
pub const PRICE_CHANGED: u32 = 10020;
/// No quotes.
pub const PRICE_OFF: u32 = 10021;
/// Invalid expiration.
pub const INVALID_EXPIRATION: u32 = 10022;
/// The order's state changed.
pub const ORDER_CHANGED: u32 = 10023;
/// Requests come too often.
pub const TOO_MANY_REQUESTS: u32 = 10024;
/// Nothing to change.
pub const NO_CHANGES: u32 = 10025;
/// The server disabled automated trading.
pub const SERVER_DISABLES_AT: u32 = 10026;
/// The terminal disabled automated trading.
pub const CLIENT_DISABLES_AT: u32 = 10027;
/// Request locked for processing.
pub const LOCKED: u32 = 10028;
/// Order or position frozen.
pub const FROZEN: u32 = 10029;
/// Invalid filling type.
pub const INVALID_FILL: u32 = 10030;
/// No connection with the trade server.
pub const CONNECTION: u32 = 10031;
/// Allowed on real accounts only.
pub const ONLY_REAL: u32 = 10032;
/// Too many resting orders.
pub const LIMIT_ORDERS: u32 = 10033;
/// Too many lots of the symbol in orders and positions.
pub const LIMIT_VOLUME: u32 = 10034;
/// Wrong or forbidden order type.
pub const INVALID_ORDER: u32 = 10035;
/// The position is closed already.
pub const POSITION_CLOSED: u32 = 10036;
/// More lots than the position has.
pub const INVALID_CLOSE_VOLUME: u32 = 10038;
/// The position has a closing order already.
pub const CLOSE_ORDER_EXIST: u32 = 10039;
/// Too many open positions.
pub const LIMIT_POSITIONS: u32 = 10040;
/// A resting order was refused when its price was reached, and cancelled.
pub const REJECT_CANCEL: u32 = 10041;
/// Only buying is allowed.
pub const LONG_ONLY: u32 = 10042;
/// Only selling is allowed.
pub const SHORT_ONLY: u32 = 10043;
/// Only closing is allowed.
pub const CLOSE_ONLY: u32 = 10044;
/// Positions may only be closed in the sequence of their opening.
pub const FIFO_CLOSE: u32 = 10045;
/// Opposite positions in one symbol are forbidden.
pub const HEDGE_PROHIBITED: u32 = 10046;

/// The broker's words for a code, as far as it uses it.
pub(super) fn words(code: u32) -> &'static str {
    match code {
        REQUOTE => "Requote",
        REJECT => "Request rejected",
        PLACED => "Order placed",
        DONE => "Request executed",
        DONE_PARTIAL => "Request executed partially",
        TIMEOUT => "Request cancelled by timeout",
        INVALID => "Invalid request",
        INVALID_VOLUME => "Invalid volume",
        INVALID_PRICE => "Invalid price",
        INVALID_STOPS => "Invalid stops",
        TRADE_DISABLED => "Trade is disabled",
        MARKET_CLOSED => "Market is closed",
        NO_MONEY => "No money",
        INVALID_EXPIRATION => "Invalid expiration",
        NO_CHANGES => "No changes",
        FROZEN => "Order or position is frozen",
        INVALID_FILL => "Unsupported filling mode",
        CONNECTION => "No connection",
        POSITION_CLOSED => "Position is closed",
        INVALID_CLOSE_VOLUME => "Close volume is too large",
        _ => "",
    }
}
