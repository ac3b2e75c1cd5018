//! At midnight, UTC, each open position is charged or credited with its swap.
//!
//! Every night counts once, those of a weekend too; nights that passed while the market was down are made up for.

use time::{OffsetDateTime, UtcOffset};

use rust_decimal::Decimal;

use super::state::Effect;
use super::{Market, Position};

/// The number of the day that a moment is in.
pub(super) fn day(at: OffsetDateTime) -> i32 {
    at.to_offset(UtcOffset::UTC).date().to_julian_day()
}

impl Market {
    /// Does what is due at the midnights since the last call.
    pub(super) fn pass_nights(&mut self, now: OffsetDateTime) {
        let today = day(now);
        // Books from before swaps were kept begin now.
        let nights = self.state.day.map_or(0, |last| today - last);
        if nights <= 0 && self.state.day.is_some() {
            return;
        }
        let positions: Vec<Position> = self.state.positions.values().cloned().collect();
        for position in positions {
            let swap = self.state.swap_per_night(&position) * Decimal::from(nights);
            if !swap.is_zero() {
                self.apply(Effect::Position(Position { swap: position.swap + swap, ..position }));
            }
        }
        self.apply(Effect::Day(today));
        if self.faults.open {
            self.stop_out(now);
        }
    }
}
