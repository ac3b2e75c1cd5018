//! What the broker keeps and shows: quotes, the account, positions, orders, deals.
//!
//! Money is in the account's currency, volumes are lots, prices are the symbol's own.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// Buying or selling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Long.
    Buy,
    /// Short.
    Sell,
}

impl Side {
    /// The other one.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }
}

/// `ENUM_ORDER_TYPE`, as far as it is supported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderType {
    /// Buy at the market.
    #[default]
    Buy,
    /// Sell at the market.
    Sell,
    /// Buy at the price or below.
    BuyLimit,
    /// Sell at the price or above.
    SellLimit,
    /// Buy once the ask has risen to the price.
    BuyStop,
    /// Sell once the bid has fallen to the price.
    SellStop,
}

impl OrderType {
    /// The direction of the position that the order opens.
    #[must_use]
    pub fn side(self) -> Side {
        match self {
            Self::Buy | Self::BuyLimit | Self::BuyStop => Side::Buy,
            Self::Sell | Self::SellLimit | Self::SellStop => Side::Sell,
        }
    }

    /// Whether it rests at the broker until its price is reached.
    #[must_use]
    pub fn is_pending(self) -> bool {
        !matches!(self, Self::Buy | Self::Sell)
    }
}

/// Bid and ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// What a seller gets.
    pub bid: Decimal,
    /// What a buyer pays.
    pub ask: Decimal,
}

/// `AccountInfo*`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// The account's number at the broker.
    pub login: u64,
    /// Currency of all its money.
    pub currency: String,
    /// Minor digits of that currency.
    pub digits: u32,
    /// Sum of all deals.
    pub balance: Decimal,
    /// Balance, credit and profit.
    pub equity: Decimal,
    /// Bound by open positions.
    pub margin: Decimal,
    /// Equity less margin.
    pub free_margin: Decimal,
    /// Floating profit of the open positions, their swap included.
    pub profit: Decimal,
    /// Lent by the broker; not profit.
    pub credit: Decimal,
    /// Notional value per unit of margin.
    pub leverage: u32,
    /// False: it says to be a netting account. It behaves like a hedging one all the same.
    pub hedging: bool,
    /// Whether the broker lets this account trade.
    pub trade_allowed: bool,
}

/// An open position. Its ticket is that of the order which opened it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Its number.
    pub ticket: u64,
    /// The symbol's name.
    pub symbol: String,
    /// Long or short.
    pub side: Side,
    /// Lots.
    pub volume: Decimal,
    /// Opening price.
    pub price: Decimal,
    /// Stop loss, 0: none.
    pub sl: Decimal,
    /// Take profit, 0: none.
    pub tp: Decimal,
    /// Of the order which opened it.
    pub magic: u64,
    /// Of the order which opened it.
    pub comment: String,
    /// When it was opened.
    #[serde(with = "time::serde::rfc3339")]
    pub opened_at: OffsetDateTime,
    /// Floating profit in the account's currency at the current price, without the swap.
    pub profit: Decimal,
    /// For the nights so far, in the account's currency; realised when it is closed.
    #[serde(default)]
    pub swap: Decimal,
}

/// How an order stands or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// Resting.
    Placed,
    /// Filled wholly.
    Filled,
    /// Filled in part, the rest cancelled.
    Partial,
    /// Deleted before it was filled.
    Cancelled,
    /// Its time ran out.
    Expired,
    /// The broker refused to fill it.
    Rejected,
}

/// A resting or finished order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// Its number. Orders and deals are numbered by one counter.
    pub ticket: u64,
    /// The symbol's name.
    pub symbol: String,
    /// Direction and kind.
    #[serde(rename = "type")]
    pub order_type: OrderType,
    /// How it stands.
    pub state: OrderState,
    /// Lots asked for.
    pub volume: Decimal,
    /// Lots filled.
    pub filled: Decimal,
    /// Price of a resting order.
    pub price: Decimal,
    /// Stop loss, 0: none.
    pub sl: Decimal,
    /// Take profit, 0: none.
    pub tp: Decimal,
    /// The Expert Advisor's number.
    pub magic: u64,
    /// The position it opened or closed, 0 before that.
    pub position: u64,
    /// At most 31 characters.
    pub comment: String,
    /// When it ends by itself.
    #[serde(with = "time::serde::rfc3339::option")]
    pub expiration: Option<OffsetDateTime>,
    /// When it was taken; none only in books from before this was kept.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub placed_at: Option<OffsetDateTime>,
    /// When it was filled or ended otherwise; none while it rests.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub done_at: Option<OffsetDateTime>,
}

/// What a deal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DealType {
    /// Bought.
    Buy,
    /// Sold.
    Sell,
    /// A deposit or a withdrawal.
    Balance,
}

/// Whether a deal opened or closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// It opened; also the value of balance deals.
    In,
    /// It closed, wholly or in part.
    Out,
}

/// Who caused a deal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A person (no magic number).
    Client,
    /// An Expert Advisor.
    Expert,
    /// A stop loss.
    StopLoss,
    /// A take profit.
    TakeProfit,
    /// The broker, for lack of margin.
    StopOut,
}

/// One entry of the account's history. The balance is the sum of all of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deal {
    /// Its number.
    pub ticket: u64,
    /// The order behind it, 0 for balance deals.
    pub order: u64,
    /// The position it belongs to, 0 for balance deals.
    pub position: u64,
    /// What it is.
    #[serde(rename = "type")]
    pub deal_type: DealType,
    /// Opened or closed.
    pub entry: Entry,
    /// Who caused it.
    pub reason: Reason,
    /// The symbol's name, empty for balance deals.
    pub symbol: String,
    /// Lots.
    pub volume: Decimal,
    /// The fill price.
    pub price: Decimal,
    /// Realised profit, or the amount of a balance deal.
    pub profit: Decimal,
    /// Zero or negative.
    pub commission: Decimal,
    /// Of a closing deal: what the nights cost or brought.
    #[serde(default)]
    pub swap: Decimal,
    /// Zero or negative, beside the commission.
    #[serde(default)]
    pub fee: Decimal,
    /// The closing order's own number, or the position's where the broker closed it.
    pub magic: u64,
    /// The order's comment, or the broker's.
    pub comment: String,
    /// When it happened.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

impl Deal {
    /// What it did to the balance.
    #[must_use]
    pub fn net(&self) -> Decimal {
        self.profit + self.swap + self.commission + self.fee
    }
}
