//! Money in whole minor units of its currency.

use rust_decimal::Decimal;

use super::Invalid;

/// An amount in minor units (cents) of an account's currency, which has two decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cents(pub i64);

impl Cents {
    /// The largest amount, equity or profit the platform takes: 10^13 cents.
    pub const MAX: i64 = 10_000_000_000_000;

    /// A reported figure, rounded half-even to the cent (the broker's own figures may carry more digits).
    pub fn rounded(value: Decimal) -> Result<Self, Invalid> {
        let value = value.round_dp_with_strategy(2, rust_decimal::RoundingStrategy::MidpointNearestEven);
        Self::exact(value)
    }

    /// An amount that must be whole cents already, such as one a member names.
    pub fn exact(value: Decimal) -> Result<Self, Invalid> {
        let value = value.normalize();
        if value.scale() > 2 {
            return Err(Invalid::new("an amount has at most 2 decimals"));
        }
        let cents = value.checked_mul(Decimal::ONE_HUNDRED).and_then(|v| i64::try_from(v).ok());
        match cents {
            Some(cents) if (-Self::MAX..=Self::MAX).contains(&cents) => Ok(Self(cents)),
            _ => Err(Invalid::new("an amount is at most 100000000000.00")),
        }
    }

    /// The amount with its two decimals.
    pub fn decimal(self) -> Decimal {
        Decimal::new(self.0, 2)
    }
}

impl From<Cents> for i128 {
    fn from(cents: Cents) -> Self {
        Self::from(cents.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reported_figures_round_half_even_and_amounts_do_not_round() {
        let figure = |text: &str| Cents::rounded(text.parse().unwrap()).map(|cents| cents.0);
        assert_eq!(figure("0.125"), Ok(12));
        assert_eq!(figure("0.135"), Ok(14));
        assert_eq!(figure("-0.125"), Ok(-12));
        assert!(Cents::exact("0.125".parse().unwrap()).is_err());
        for text in ["100000000000.01", "-100000000000.01", "-92233720368547758.08", "92233720368547758.07"] {
            assert!(Cents::exact(text.parse().unwrap()).is_err(), "{text}");
            assert!(Cents::rounded(text.parse().unwrap()).is_err(), "{text}");
        }
    }
}
