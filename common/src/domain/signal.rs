//! A trading signal: what is asked for, whether it makes sense, and which content it has.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{AccountName, Invalid, Level, Percent, Price, Symbol, Volume};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant),+
        }

        impl $name {
            /// The word used in the database and on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::str::FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                $(if text.eq_ignore_ascii_case($word) { return Ok(Self::$variant); })+
                Err(Invalid::new(format!("one of {}; got {text:?}", [$($word),+].join(", "))))
            }
        }
    };
}

words!(
    /// What the terminal is asked to do.
    Action {
        /// Open a long position.
        Buy = "BUY",
        /// Open a short position.
        Sell = "SELL",
        /// Close positions of a symbol, or one ticket, whole or in part.
        Close = "CLOSE",
        /// Close all positions of a symbol, or of the account.
        CloseAll = "CLOSE_ALL",
        /// Change stop loss or take profit.
        Modify = "MODIFY",
        /// Go the whole way without a trade.
        Ping = "PING",
    }
);

words!(
    /// How an opening order enters the market.
    OrderType {
        /// At once, at the market's price.
        Market = "market",
        /// Rests at `entry` until the price is better.
        Limit = "limit",
        /// Rests at `entry` until the price breaks through.
        Stop = "stop",
    }
);

words!(
    /// The states of a signal's life.
    SignalState {
        /// Stored, not yet handed out.
        Pending = "pending",
        /// Handed to a terminal under a lease.
        Processing = "processing",
        /// The lease ran out: nobody knows whether the order reached the broker.
        Unknown = "unknown",
        /// The broker holds the order or the trade.
        Executed = "executed",
        /// The terminal or the broker refused it, or it was never found.
        Failed = "failed",
        /// Too old before it was handed out.
        Expired = "expired",
        /// Withdrawn, or superseded by a closing.
        Cancelled = "cancelled",
        /// Refused by the platform.
        Rejected = "rejected",
    }
);

impl Action {
    /// Whether it can add to a position.
    pub const fn opens(self) -> bool {
        matches!(self, Self::Buy | Self::Sell)
    }

    /// Whether it takes a position away.
    pub const fn closes(self) -> bool {
        matches!(self, Self::Close | Self::CloseAll)
    }
}

impl SignalState {
    /// Whether nothing more happens to it by itself.
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Pending | Self::Processing | Self::Unknown)
    }
}

/// Whose signals heartbeats are: the platform's own. No key's principal can be written so.
pub const HEARTBEAT_PRINCIPAL: &str = ":heartbeat";

/// The longest idempotency key.
pub const KEY_CHARACTERS_MAX: usize = 255;

/// The longest comment; the broker keeps less, and may change it.
pub const COMMENT_CHARACTERS_MAX: usize = 256;

/// The order a signal carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Instrument; none only for `PING`, a `CLOSE_ALL` of the account, and where a ticket says it all.
    pub symbol: Option<Symbol>,
    /// What to do.
    pub action: Action,
    /// How an opening enters the market.
    pub order_type: OrderType,
    /// The price of a pending order; for a market order a reference only.
    pub entry: Option<Price>,
    /// Lots; none: the account's default, or `risk_percent`.
    pub volume: Option<Volume>,
    /// Size by the equity lost if `sl` is hit.
    pub risk_percent: Option<Percent>,
    /// Stop loss price.
    pub sl: Option<Level>,
    /// Take profit price.
    pub tp: Option<Level>,
    /// The position or order to close or modify.
    pub ticket: Option<i64>,
    /// How far the price may have moved, in points.
    pub max_slippage_points: Option<i32>,
}

impl Order {
    /// All reasons why this order makes no sense, with the field that says so.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let mut fault = |field, reason: &str| faults.push((field, reason.to_owned()));
        let opens = self.action.opens();
        match self.action {
            Action::Buy | Action::Sell if self.symbol.is_none() => fault("symbol", "is required"),
            Action::Close if self.symbol.is_none() && self.ticket.is_none() => {
                fault("symbol", "is required where no ticket is named");
            }
            Action::Modify => {
                if self.symbol.is_none() && self.ticket.is_none() {
                    fault("symbol", "is required where no ticket is named");
                }
                if self.sl.is_none() && self.tp.is_none() {
                    fault("sl", "MODIFY needs sl or tp");
                }
            }
            _ => {}
        }
        if opens && self.ticket.is_some() {
            fault("ticket", "an opening order names no ticket");
        }
        if opens && self.order_type != OrderType::Market && self.entry.is_none() {
            fault("entry", "a pending order needs a price");
        }
        if !opens && self.order_type != OrderType::Market {
            fault("order_type", "belongs to BUY and SELL");
        }
        if self.risk_percent.is_some() {
            if !opens {
                fault("risk_percent", "belongs to BUY and SELL");
            } else if self.sl.is_none() {
                fault("risk_percent", "needs sl, the price at which that part is lost");
            } else if self.volume.is_some() {
                fault("risk_percent", "give volume or risk_percent, not both");
            }
        }
        if opens {
            self.stop_faults(&mut fault);
        }
        faults
    }

    /// A stop on the wrong side of the entry, or of the other stop.
    fn stop_faults(&self, fault: &mut impl FnMut(&'static str, &str)) {
        let price = |value: Option<Decimal>| value.unwrap_or_default();
        let sign = if self.action == Action::Buy { Decimal::ONE } else { Decimal::NEGATIVE_ONE };
        let below = |low: Option<Decimal>, high: Option<Decimal>| {
            low.is_none() || high.is_none() || sign * price(low) < sign * price(high)
        };
        let (sl, tp, entry) = (self.sl.map(Level::get), self.tp.map(Level::get), self.entry.map(Price::get));
        let (worse, better) = if self.action == Action::Buy { ("below", "above") } else { ("above", "below") };
        if !below(sl, entry) {
            fault("sl", &format!("must be {worse} entry for {}", self.action.as_str()));
        }
        if !below(entry, tp) {
            fault("tp", &format!("must be {better} entry for {}", self.action.as_str()));
        }
        if entry.is_none() && !below(sl, tp) {
            fault("sl", &format!("must be {worse} tp for {}", self.action.as_str()));
        }
    }

    /// The id of a signal sent under an idempotency key: the same principal, key and content give the same id.
    /// Times, comment and metadata are not content, so that a retry may carry new ones.
    pub fn keyed_id(&self, principal: &str, key: &str, account: &AccountName) -> Uuid {
        let text = |value: Option<Decimal>| value.map(|v| v.normalize().to_string()).unwrap_or_default();
        let content = [
            principal.to_owned(),
            key.to_owned(),
            account.to_string(),
            self.symbol.as_ref().map(ToString::to_string).unwrap_or_default(),
            self.action.as_str().to_owned(),
            self.order_type.as_str().to_owned(),
            text(self.entry.map(Price::get)),
            text(self.volume.map(Volume::get)),
            text(self.risk_percent.map(Percent::get)),
            text(self.sl.map(Level::get)),
            text(self.tp.map(Level::get)),
            self.ticket.map(|ticket| ticket.to_string()).unwrap_or_default(),
        ];
        // A unit separator is a control character, which no field may hold: fields can't run into each other.
        Uuid::new_v5(&Uuid::NAMESPACE_OID, content.join("\u{1f}").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(action: Action) -> Order {
        Order {
            symbol: Some("EURUSD".parse().unwrap()),
            action,
            order_type: OrderType::Market,
            entry: None,
            volume: None,
            risk_percent: None,
            sl: None,
            tp: None,
            ticket: None,
            max_slippage_points: None,
        }
    }

    fn level(text: &str) -> Level {
        Level::try_from(text.parse::<Decimal>().unwrap()).unwrap()
    }

    fn fields(order: &Order) -> Vec<&'static str> {
        order.faults().into_iter().map(|(field, _)| field).collect()
    }

    #[test]
    fn stops_must_lie_on_their_side() {
        let buy = Order { sl: Some(level("1.1")), tp: Some(level("1.0")), ..order(Action::Buy) };
        assert_eq!(fields(&buy), ["sl"]);
        assert!(fields(&Order { action: Action::Sell, ..buy.clone() }).is_empty());
        let entry = Some(Price::try_from("1.05".parse::<Decimal>().unwrap()).unwrap());
        assert_eq!(fields(&Order { entry, ..buy.clone() }), ["sl", "tp"]);
        assert!(fields(&Order { entry, action: Action::Sell, ..buy }).is_empty());
    }

    #[test]
    fn each_action_asks_for_what_it_needs() {
        assert!(fields(&order(Action::Buy)).is_empty());
        assert_eq!(fields(&Order { symbol: None, ..order(Action::Sell) }), ["symbol"]);
        assert_eq!(fields(&Order { symbol: None, ..order(Action::Close) }), ["symbol"]);
        assert!(fields(&Order { symbol: None, ticket: Some(7), ..order(Action::Close) }).is_empty());
        assert!(fields(&Order { symbol: None, ..order(Action::CloseAll) }).is_empty());
        assert!(fields(&Order { symbol: None, ..order(Action::Ping) }).is_empty());
        assert_eq!(fields(&order(Action::Modify)), ["sl"]);
        assert_eq!(fields(&Order { order_type: OrderType::Limit, ..order(Action::Buy) }), ["entry"]);
        assert_eq!(fields(&Order { ticket: Some(7), ..order(Action::Buy) }), ["ticket"]);
    }

    #[test]
    fn the_same_key_and_content_give_the_same_id_and_any_other_content_another() {
        let main = AccountName::main();
        let volume = |text: &str| Some(Volume::try_from(text.parse::<Decimal>().unwrap()).unwrap());
        let first = Order { volume: volume("0.10"), ..order(Action::Buy) };
        let id = first.keyed_id("p", "k", &main);
        let slipped = Order { volume: volume("0.1"), max_slippage_points: Some(3), ..order(Action::Buy) };
        assert_eq!(id, slipped.keyed_id("p", "k", &main));
        for other in [
            order(Action::Buy),
            Order { volume: volume("0.2"), ..order(Action::Buy) },
            Order { volume: volume("0.1"), ..order(Action::Sell) },
            Order { volume: volume("0.1"), sl: Some(level("1")), ..order(Action::Buy) },
        ] {
            assert_ne!(id, other.keyed_id("p", "k", &main));
        }
        assert_ne!(id, first.keyed_id("q", "k", &main));
        assert_ne!(id, first.keyed_id("p", "l", &main));
        assert_ne!(id, first.keyed_id("p", "k", &"second".parse().unwrap()));
    }
}
