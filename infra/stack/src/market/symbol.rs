//! Symbols and their prices: a seeded random walk in whole points.
//!
//! The same seed and the same steps give the same prices, on every machine.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{Filling, NUMBER_MAX, Quote, Side};

/// The contract of one symbol.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SymbolSpec {
    /// Its name, with the broker's suffix.
    pub name: String,
    /// What one lot consists of: `EUR` of `EURUSD`.
    pub base: String,
    /// What its price is in: `USD` of `EURUSD`.
    pub profit_currency: String,
    /// Digits after the decimal point of its price.
    pub digits: u32,
    /// Smallest step of its price: 10^-digits.
    pub point: Decimal,
    /// Prices are multiples of this; of an index it may be several points. None: one point.
    #[serde(default)]
    pub tick_size: Option<Decimal>,
    /// Units of the base in one lot.
    pub contract_size: Decimal,
    /// Smallest order, in lots.
    pub volume_min: Decimal,
    /// Largest order, in lots.
    pub volume_max: Decimal,
    /// Orders are multiples of this, in lots.
    pub volume_step: Decimal,
    /// Least distance of stops and resting orders from the price, in points.
    pub stops_level: i64,
    /// Distance of the ask from the bid, in points; replayed bars bring their own.
    pub spread: i64,
    /// What a night brings to a long position, in points; mostly below zero.
    #[serde(default)]
    pub swap_long: Decimal,
    /// What a night brings to a short position, in points.
    #[serde(default)]
    pub swap_short: Decimal,
    /// Which orders are taken.
    #[serde(default)]
    pub trade_mode: TradeMode,
    /// Whether the broker answers with the price that was asked, or with its own.
    #[serde(default)]
    pub execution: Execution,
    /// Whether a resting order may name its end.
    #[serde(default = "allowed")]
    pub expiration: bool,
    /// How market orders may be filled, the preferred way first.
    pub filling: Vec<Filling>,
    /// Where the walk starts, in points.
    pub start: i64,
}

/// What may be done with a symbol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TradeMode {
    /// Everything.
    #[default]
    Full,
    /// Buying, and closing.
    LongOnly,
    /// Selling, and closing.
    ShortOnly,
    /// Closing alone.
    CloseOnly,
    /// Nothing.
    Disabled,
}

/// How market orders are executed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Execution {
    /// At the market's price.
    #[default]
    Market,
    /// At the price of the request, whole or not at all.
    Instant,
}

fn allowed() -> bool {
    true
}

impl SymbolSpec {
    /// The specification of a well-known symbol; an unknown one is treated as a currency pair priced near 1.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let upper = name.to_ascii_uppercase();
        let (digits, contract_size, spread, start, swap_tenths) = match upper.get(..6).unwrap_or_default() {
            "EURUSD" => (5, 100_000, 12, 108_500, (-65, 21)),
            "GBPUSD" => (5, 100_000, 15, 127_000, (-24, -18)),
            "AUDUSD" => (5, 100_000, 14, 66_000, (-27, 4)),
            "USDCHF" => (5, 100_000, 15, 90_000, (52, -98)),
            "USDCAD" => (5, 100_000, 15, 136_000, (11, -45)),
            "USDJPY" => (3, 100_000, 14, 151_000, (91, -204)),
            "XAUUSD" => (2, 100, 25, 235_000, (-318, 147)),
            _ => (5, 100_000, 20, 100_000, (-30, -30)),
        };
        Self {
            name: name.to_owned(),
            base: upper.get(..3).unwrap_or("USD").to_owned(),
            profit_currency: upper.get(3..6).unwrap_or("USD").to_owned(),
            digits,
            point: Decimal::new(1, digits),
            tick_size: None,
            trade_mode: TradeMode::Full,
            execution: Execution::Market,
            expiration: true,
            contract_size: Decimal::from(contract_size),
            volume_min: Decimal::new(1, 2),
            volume_max: Decimal::from(100),
            volume_step: Decimal::new(1, 2),
            stops_level: 10,
            spread,
            swap_long: Decimal::new(swap_tenths.0, 1),
            swap_short: Decimal::new(swap_tenths.1, 1),
            filling: if contract_size == 100 { vec![Filling::Ioc] } else { vec![Filling::Ioc, Filling::Fok] },
            start,
        }
    }

    /// Whether a price is on the symbol's grid, above zero and thinkable.
    pub(super) fn is_price(&self, price: Decimal) -> bool {
        price > Decimal::ZERO && price <= NUMBER_MAX && (price % self.tick_size.unwrap_or(self.point)).is_zero()
    }

    /// Whether lots are within the limits and a multiple of the step.
    pub(super) fn is_volume(&self, volume: Decimal) -> bool {
        (self.volume_min..=self.volume_max).contains(&volume) && (volume % self.volume_step).is_zero()
    }

    /// Whether a market order may be filled in this way: at the price that was asked it is whole.
    pub(super) fn fills(&self, filling: Filling) -> bool {
        match self.execution {
            Execution::Market => self.filling.contains(&filling),
            Execution::Instant => filling == Filling::Fok,
        }
    }

    pub(super) fn distance(&self) -> Decimal {
        self.point * Decimal::from(self.stops_level)
    }

    pub(super) fn quote(&self, bid_points: i64, spread: i64) -> Quote {
        Quote { bid: Decimal::new(bid_points, self.digits), ask: Decimal::new(bid_points + spread, self.digits) }
    }

    /// One step of at most ten points, pulled back towards the start once a tenth away from it.
    pub(super) fn step(&self, bid_points: i64, random: &mut Random) -> i64 {
        let step = i64::try_from(random.next() % 21).unwrap_or(0) - 10;
        if (bid_points - self.start).abs() * 10 > self.start {
            let pull = (self.start - bid_points).signum();
            bid_points + step.abs() * pull
        } else {
            bid_points + step
        }
    }
}

impl Quote {
    /// What an order of this side is filled at.
    #[must_use]
    pub fn price(&self, side: Side) -> Decimal {
        match side {
            Side::Buy => self.ask,
            Side::Sell => self.bid,
        }
    }
}

/// `SplitMix64`: small, fast, and one number of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
