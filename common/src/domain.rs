//! The words of the trade as types that can't be built wrong. Pure: no database, no queue, no HTTP, no clock.

pub mod account;
pub mod decimal;
pub mod money;
pub mod name;
pub mod signal;

pub use account::Mode;
pub use decimal::{Level, Percent, Price, Volume};
pub use money::Cents;
pub use name::{AccountName, Principal, Symbol, UserId};
pub use signal::{Action, Order, OrderType, SignalState};

/// Why a value was refused, worded for the one who sent it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

impl Invalid {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}
