//! What goes wrong on purpose. Faults end with the process; the books know nothing of them.

use std::time::Duration;

use rust_decimal::Decimal;

use super::state::Prices;
use super::wire::View;

/// Order sends that go wrong: so many, and whether they are executed all the same.
#[derive(Debug, Default)]
pub(super) struct Spoilt {
    pub(super) count: u32,
    pub(super) executed: bool,
}

/// What the terminal knew when its connection was lost: all of its history, and the last prices.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) view: View,
    pub(super) prices: Prices,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own, and any of them go together")]
pub(super) struct Faults {
    pub(super) fail: Spoilt,
    pub(super) fail_retcode: u32,
    pub(super) drop: Spoilt,
    pub(super) max_fill: Option<Decimal>,
    pub(super) open: bool,
    pub(super) trade_allowed: bool,
    pub(super) frozen: bool,
    /// Some while the terminal has no connection.
    pub(super) lost: Option<Box<Lost>>,
    pub(super) latency: Duration,
    pub(super) history_delay: Duration,
    pub(super) drop_comments: bool,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            fail: Spoilt::default(),
            fail_retcode: 0,
            drop: Spoilt::default(),
            max_fill: None,
            open: true,
            trade_allowed: true,
            frozen: false,
            lost: None,
            latency: Duration::ZERO,
            history_delay: Duration::ZERO,
            drop_comments: false,
        }
    }
}

impl Faults {
    /// Whether the next order send goes unanswered. Without a connection it gets to nobody who could drop it.
    pub(super) fn drops(&self) -> bool {
        self.drop.count > 0 && self.lost.is_none()
    }
}

impl Spoilt {
    /// Takes one of them, if there is one left: whether it is executed.
    pub(super) fn take(&mut self) -> Option<bool> {
        self.count = self.count.checked_sub(1)?;
        Some(self.executed)
    }
}
