//! What is said to the market and what it answers, shaped like MQL5's own structures.
//!
//! Enums are externally tagged on purpose: a tagged representation would buffer its content, and numbers of arbitrary
//! precision do not survive that.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{Account, Deal, Order, OrderType, Position, Quote, Side, SymbolSpec};

/// One call of [`Market::call`](super::Market::call).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// The current bid and ask of a symbol.
    Quote {
        /// The symbol's name.
        symbol: String,
    },
    /// The specification of a symbol.
    Symbol {
        /// The symbol's name.
        symbol: String,
    },
    /// Balance, equity, margin.
    Account,
    /// All open positions.
    Positions,
    /// All resting orders.
    Orders,
    /// Finished orders, oldest first.
    HistoryOrders {
        /// How many of the oldest to leave out.
        skip: usize,
    },
    /// Deals, oldest first.
    Deals {
        /// Only those with a higher ticket.
        after: u64,
    },
    /// What a trade would earn, in the account's currency (`OrderCalcProfit`).
    CalcProfit {
        /// The symbol's name.
        symbol: String,
        /// Direction of the position.
        side: Side,
        /// Lots.
        volume: Decimal,
        /// Opening price.
        open: Decimal,
        /// Closing price.
        close: Decimal,
    },
    /// The margin that a trade would bind, in the account's currency (`OrderCalcMargin`).
    CalcMargin {
        /// The symbol's name.
        symbol: String,
        /// Direction of the position.
        side: Side,
        /// Lots.
        volume: Decimal,
        /// Opening price.
        price: Decimal,
    },
    /// Everything that a terminal keeps locally, from what it has already.
    Sync {
        /// Only deals with a higher ticket.
        deals_after: u64,
        /// How many of the oldest finished orders to leave out.
        orders_skip: usize,
    },
    /// The last quote of a symbol that reached the terminal, and when it was made (`SymbolInfoTick`).
    Tick {
        /// The symbol's name.
        symbol: String,
    },
    /// The names of all symbols.
    Symbols,
    /// `OrderSend`.
    OrderSend(TradeRequest),
    /// Adds a deal of type balance.
    Deposit {
        /// Above zero, in the account's currency.
        amount: Decimal,
    },
    /// Takes from the balance, up to the free margin.
    Withdraw {
        /// Above zero, in the account's currency.
        amount: Decimal,
    },
    /// Moves every price by so many steps of its random walk.
    Advance {
        /// Number of ticks per symbol.
        steps: u32,
    },
    /// Sets a price; the ask follows by the symbol's spread.
    SetPrice {
        /// The symbol's name.
        symbol: String,
        /// The new bid.
        bid: Decimal,
    },
    /// Makes the next order sends end with a given code.
    FailNext {
        /// How many.
        count: u32,
        /// The code they are answered with.
        retcode: u32,
        /// Whether they are executed all the same, so that only the answer is wrong.
        executed: bool,
    },
    /// The largest volume one deal can have; none lifts the limit.
    SetMaxFill {
        /// Lots.
        volume: Option<Decimal>,
    },
    /// Opens or closes the market: closed, every order send is answered 10018.
    SetOpen {
        /// Whether it is open.
        open: bool,
    },
    /// Allows or forbids trading on the account: forbidden, every order send is answered 10017.
    SetTradeAllowed {
        /// Whether trading is allowed.
        allowed: bool,
    },
    /// Cuts or restores the terminal's connection: cut, it is told what it knew, and order sends are answered 10031.
    SetConnected {
        /// Whether it is connected.
        connected: bool,
    },
    /// Lets orders arrive, and be answered, that much later than they are sent, over a socket; also when their sender is gone.
    SetLatency {
        /// Milliseconds.
        ms: u64,
    },
    /// Shows new deals and finished orders that much later. They are in the books at once.
    SetHistoryDelay {
        /// Milliseconds.
        ms: u64,
    },
    /// Shows orders, deals and positions without their comments.
    SetDropComments {
        /// Whether comments are left out.
        drop: bool,
    },
    /// Makes the next order sends go unanswered: over a socket their connection is closed.
    DropNext {
        /// How many.
        count: u32,
        /// Whether they are executed all the same.
        executed: bool,
    },
    /// Freezes what exists: changing, removing and closing it is answered 10029.
    SetFreeze {
        /// Whether it is frozen.
        frozen: bool,
    },
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// To `Quote`.
    Quote(Quote),
    /// To `Symbol`.
    Symbol(SymbolSpec),
    /// To `Account`.
    Account(Account),
    /// To `Positions`.
    Positions(Vec<Position>),
    /// To `Orders` and `HistoryOrders`.
    Orders(Vec<Order>),
    /// To `Deals`.
    Deals(Vec<Deal>),
    /// To `CalcProfit`.
    Profit(Decimal),
    /// To `CalcMargin`.
    Margin(Decimal),
    /// To `Sync`.
    State(Box<View>),
    /// To `Tick`.
    Tick(Tick),
    /// To `Symbols`.
    Symbols(Vec<String>),
    /// To `OrderSend`.
    Trade(TradeResult),
    /// To everything that has nothing to tell.
    Done,
    /// The request makes no sense, or the market could not store its effects.
    Error {
        /// Why.
        message: String,
    },
}

/// The last quote that reached the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// What a seller gets.
    pub bid: Decimal,
    /// What a buyer pays.
    pub ask: Decimal,
    /// When the price last moved, in milliseconds of the Unix epoch: on a weekend it is old.
    pub at_ms: i64,
}

/// What a terminal keeps locally. Without a connection it is what was known when the connection was lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// Whether the terminal is connected to the broker.
    pub connected: bool,
    /// Balance, equity, margin.
    pub account: Account,
    /// All open positions.
    pub positions: Vec<Position>,
    /// All resting orders.
    pub orders: Vec<Order>,
    /// The deals asked for, by ticket.
    pub deals: Vec<Deal>,
    /// The finished orders asked for, oldest first.
    pub history_orders: Vec<Order>,
    /// Another one for every change of what is shown here.
    pub revision: u64,
    /// The broker's clock, in milliseconds of the Unix epoch.
    pub at_ms: i64,
}

/// `ENUM_TRADE_REQUEST_ACTIONS`, as far as it is supported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TradeAction {
    /// A market order; with a position ticket it closes.
    #[default]
    Deal,
    /// A resting order.
    Pending,
    /// New stop loss and take profit of a position.
    Sltp,
    /// New price, stops and expiration of a resting order.
    Modify,
    /// Deletes a resting order.
    Remove,
}

/// `ENUM_ORDER_TYPE_FILLING`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filling {
    /// All or nothing. What an unset field means in MQL5.
    #[default]
    Fok,
    /// What can be filled at once; the rest is cancelled.
    Ioc,
    /// The rest stays; for resting orders only.
    Return,
}

/// `MqlTradeRequest`. Zero and empty mean "not given".
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TradeRequest {
    /// What to do.
    pub action: TradeAction,
    /// The Expert Advisor's number; it stays with order, deal and position. 0: by hand.
    pub magic: u64,
    /// Ticket of the resting order to modify or remove.
    pub order: u64,
    /// Ticket of the position to close or modify.
    pub position: u64,
    /// The symbol's name.
    pub symbol: String,
    /// Lots.
    pub volume: Decimal,
    /// Direction and kind.
    #[serde(rename = "type")]
    pub order_type: OrderType,
    /// Price of a resting order; of a market order the price that was seen (0: any).
    pub price: Decimal,
    /// Stop loss.
    pub sl: Decimal,
    /// Take profit.
    pub tp: Decimal,
    /// Largest accepted deviation from the price, in points.
    pub deviation: u64,
    /// How it may be filled.
    pub filling: Filling,
    /// When a resting order ends.
    #[serde(with = "time::serde::rfc3339::option")]
    pub expiration: Option<OffsetDateTime>,
    /// At most 31 characters are kept.
    pub comment: String,
}

/// `MqlTradeResult`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TradeResult {
    /// See [`retcode`](super::retcode).
    pub retcode: u32,
    /// Ticket of the deal, 0 without one.
    pub deal: u64,
    /// Ticket of the order, 0 without one.
    pub order: u64,
    /// Filled lots.
    pub volume: Decimal,
    /// Price of the deal.
    pub price: Decimal,
    /// The bid when it was judged.
    pub bid: Decimal,
    /// The ask when it was judged.
    pub ask: Decimal,
    /// The broker's words.
    pub comment: String,
}
