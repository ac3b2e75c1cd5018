//! Prices, volumes and percentages: exact decimals within stated bounds.
//!
//! | type | bounds | decimals |
//! |---|---|---|
//! | [`Price`] | above 0, at most 10^12 | 10 |
//! | [`Level`] (a stop or target; 0 removes it) | 0 to 10^12 | 10 |
//! | [`Volume`] (lots) | above 0, at most 10^6 | 8 |
//! | [`Percent`] | above 0, at most 100 | 8 |
//!
//! A number with more digits than a decimal holds is refused, never rounded.

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

use super::Invalid;

const SIGNS: [char; 2] = ['+', '-'];

/// Reads an exact decimal from JSON text: `1.25`, `"1.25"`, `1.5e-3`.
pub fn parse(text: &str) -> Result<Decimal, Invalid> {
    let refused = || Invalid::new("not a decimal number of at most 28 digits");
    let text = text.trim();
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    // The library also reads `1_000` and `1e-+3`.
    if !mantissa.strip_prefix(SIGNS).unwrap_or(mantissa).bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        || !exponent.strip_prefix(SIGNS).unwrap_or(exponent).bytes().all(|byte| byte.is_ascii_digit())
    {
        return Err(refused());
    }
    let exact = Decimal::from_str_exact(mantissa).map_err(|_| refused())?;
    if mantissa.len() == text.len() { Ok(exact) } else { Decimal::from_scientific(text).map_err(|_| refused()) }
}

/// For `#[serde(deserialize_with)]`: a JSON number or string, or null, never through a float.
pub fn option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Decimal>, D::Error> {
    match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::Null => Ok(None),
        serde_json::Value::Number(number) => parse(&number.to_string()).map(Some).map_err(serde::de::Error::custom),
        serde_json::Value::String(text) => parse(&text).map(Some).map_err(serde::de::Error::custom),
        _ => Err(serde::de::Error::custom("expected a number, or a string that holds one")),
    }
}

/// For `#[serde(deserialize_with)]`: the same where a value must be given.
pub fn required<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
    option(deserializer)?.ok_or_else(|| serde::de::Error::custom("expected a number, found null"))
}

/// How [`required`] and [`option`] read a decimal, for the API's document: a number, or text that holds one.
pub struct Written;

impl Written {
    fn object() -> ObjectBuilder {
        ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::Number, Type::String]))
            .pattern(Some(r"^\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*$"))
    }
}

impl PartialSchema for Written {
    fn schema() -> RefOr<Schema> {
        Self::object().into()
    }
}

impl ToSchema for Written {}

macro_rules! bounded {
    ($(#[$doc:meta])* $name:ident, $what:literal, zero: $zero:literal, max: $max:expr, decimals: $decimals:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "ExactDecimal")]
        pub struct $name(Decimal);

        impl $name {
            /// The number itself, without trailing zeros.
            pub fn get(self) -> Decimal {
                self.0
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let object = Written::object().maximum(Some($max));
                let bounded = if $zero { object.minimum(Some(0)) } else { object.exclusive_minimum(Some(0)) };
                bounded.into()
            }
        }

        impl ToSchema for $name {}

        impl TryFrom<Decimal> for $name {
            type Error = Invalid;

            fn try_from(value: Decimal) -> Result<Self, Invalid> {
                let value = value.normalize();
                let max = Decimal::from($max);
                if value.is_sign_negative() && !value.is_zero() || (value.is_zero() && !$zero) || value > max {
                    let least = if $zero { "0 or more" } else { "above 0" };
                    return Err(Invalid::new(format!("{} is {least} and at most {max}", $what)));
                }
                if value.scale() > $decimals {
                    return Err(Invalid::new(format!("{} has at most {} decimals", $what, $decimals)));
                }
                Ok(Self(value))
            }
        }

        impl TryFrom<ExactDecimal> for $name {
            type Error = Invalid;

            fn try_from(value: ExactDecimal) -> Result<Self, Invalid> {
                Self::try_from(value.0)
            }
        }
    };
}

/// A decimal read by [`required`].
#[derive(Deserialize)]
struct ExactDecimal(#[serde(deserialize_with = "required")] Decimal);

bounded!(
    /// A price in the quote currency of its symbol.
    Price, "a price", zero: false, max: 1_000_000_000_000_i64, decimals: 10
);
bounded!(
    /// A stop loss or take profit price; 0 in a `MODIFY` removes it.
    Level, "a stop loss or take profit", zero: true, max: 1_000_000_000_000_i64, decimals: 10
);
bounded!(
    /// A volume in lots.
    Volume, "a volume", zero: false, max: 1_000_000_i64, decimals: 8
);
bounded!(
    /// A part of the equity, in percent.
    Percent, "a percentage", zero: false, max: 100_i64, decimals: 8
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_exactly_or_refused() {
        for (text, expected) in [("1.25", "1.25"), ("1e-3", "0.001"), ("2.5E2", "250"), (" 7 ", "7")] {
            assert_eq!(parse(text).expect(text).normalize().to_string(), expected);
        }
        for text in [
            "NaN",
            "inf",
            "",
            "1_000",
            "1e-+3",
            "+-1",
            "1e",
            "1e999",
            "0.000000000000000000000000000001",
            "123456789012345678901234567890",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn json_numbers_and_strings_are_the_same_volume() {
        let number: Volume = serde_json::from_str("0.10").unwrap();
        let string: Volume = serde_json::from_str("\"0.1\"").unwrap();
        assert_eq!(number, string);
        assert_eq!(serde_json::to_string(&number).unwrap(), "0.1");
    }

    #[test]
    fn volumes_outside_their_bounds_are_refused() {
        for text in ["0", "-0.1", "1e9", "0.000000001", "true", "\"NaN\""] {
            assert!(serde_json::from_str::<Volume>(text).is_err(), "{text}");
        }
    }
}
