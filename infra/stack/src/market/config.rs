//! What a broker is like: its account, its costs, its symbols and where their prices come from.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::{Bar, SymbolSpec};

/// What a market is opened with. It counts only the first time a path is opened, except that symbols are added.
#[derive(Debug, Clone)]
pub struct MarketConfig {
    /// The account's number.
    pub login: u64,
    /// The account's currency, with two minor digits.
    pub currency: String,
    /// Notional value per unit of margin.
    pub leverage: u32,
    /// The first deposit; zero for none.
    pub deposit: Decimal,
    /// Lent by the broker.
    pub credit: Decimal,
    /// Taken at each opening and closing, per lot.
    pub commission_per_lot: Decimal,
    /// Taken at each opening and closing beside the commission, per lot.
    pub fee_per_lot: Decimal,
    /// Whether it says to be a hedging account. It behaves like one all the same.
    pub hedging: bool,
    /// Of the random walk.
    pub seed: u64,
    /// What can be traded.
    pub symbols: Vec<SymbolSpec>,
    /// Prices to replay instead of a random walk, by symbol. A market that is opened again goes on where it was.
    pub bars: BTreeMap<String, Vec<Bar>>,
}

impl Default for MarketConfig {
    fn default() -> Self {
        Self {
            login: 10_000_001,
            currency: "USD".to_owned(),
            leverage: 100,
            deposit: Decimal::from(10_000),
            credit: Decimal::ZERO,
            commission_per_lot: Decimal::ZERO,
            fee_per_lot: Decimal::ZERO,
            hedging: true,
            seed: 1,
            symbols: ["EURUSD", "GBPUSD", "USDJPY", "XAUUSD"].map(SymbolSpec::named).to_vec(),
            bars: BTreeMap::new(),
        }
    }
}
