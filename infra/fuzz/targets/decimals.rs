//! Numbers as text: what is read is exactly what was written, prints and reads back the same, lies within its bounds, and
//! becomes cents by half-even rounding.
#![no_main]

use common::domain::{Cents, Level, Percent, Price, Volume, decimal};
use fuzz::exact;
use libfuzzer_sys::fuzz_target;
use rust_decimal::Decimal;
use serde::Serialize;
use serde::de::DeserializeOwned;

fuzz_target!(|text: &str| {
    let Ok(value) = decimal::parse(text) else { return };
    let written = exact(text).unwrap_or_else(|| panic!("{text:?} was read as {value}"));
    let printed = value.to_string();
    assert_eq!(Some(&written), exact(&printed).as_ref(), "{text:?} was read as {value}");
    assert_eq!(decimal::parse(&printed), Ok(value));
    bounded::<Price>(value, 1_000_000_000_000, false, 10, Price::get);
    bounded::<Level>(value, 1_000_000_000_000, true, 10, Level::get);
    bounded::<Volume>(value, 1_000_000, false, 8, Volume::get);
    bounded::<Percent>(value, 100, false, 8, Percent::get);
    assert_eq!(Cents::rounded(value).ok().map(|cents| i128::from(cents.0)), half_even(value));
    assert_eq!(Cents::exact(value).ok().is_some(), half_even(value).is_some() && value.normalize().scale() <= 2);
    if let Ok(cents) = Cents::exact(value) {
        assert_eq!(cents.decimal(), value);
    }
});

fn bounded<T>(value: Decimal, max: i64, zero: bool, decimals: u32, get: fn(T) -> Decimal)
where
    T: TryFrom<Decimal> + Serialize + DeserializeOwned + PartialEq + std::fmt::Debug + Copy,
{
    let fits = (value > Decimal::ZERO || zero && value.is_zero())
        && value <= Decimal::from(max)
        && value.normalize().scale() <= decimals;
    let Ok(taken) = T::try_from(value) else {
        assert!(!fits, "{value} is within bounds");
        return;
    };
    assert!(fits && get(taken) == value, "{value} became {taken:?}");
    let printed = serde_json::to_string(&taken).expect("JSON");
    assert_eq!(exact(&printed), exact(&value.to_string()));
    assert_eq!(serde_json::from_str::<T>(&printed).expect(&printed), taken);
}

/// In cents, by whole numbers alone; none: too large.
fn half_even(value: Decimal) -> Option<i128> {
    const MAX: i128 = 10_000_000_000_000;
    let hundredfold = value.mantissa() * 100;
    let unit = 10_i128.pow(value.scale());
    let (cents, rest) = (hundredfold.div_euclid(unit), hundredfold.rem_euclid(unit));
    let up = rest * 2 > unit || (rest * 2 == unit && cents % 2 != 0);
    let cents = cents + i128::from(up);
    (-MAX..=MAX).contains(&cents).then_some(cents)
}
