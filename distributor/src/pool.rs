//! Whose money is whose: a pool of units, as in a fund. Pure, in checked integers; no clock, no database, no float.
//!
//! A pool has equity E, in minor units of its currency (cents), and units U. A member with u units has `u·E/U`.
//! A deposit of `a` mints `floor(a·U/E)` units, so nobody else's value changes by it: a newcomer takes no part in
//! profit made before he came. A withdrawal burns units, rounded up. An account's profit arrives as a *level* P, never as a flow: only its change since
//! the last level moves E, so that repeated, lost or merged reports can't corrupt anything.
//!
//! Invariant: E changes only by deposits, withdrawals and changes of P; nobody else loses by a deposit or withdrawal, and
//! what rounding leaves stays with those who stay; without units there is no equity.

/// Units of the first cent.
pub const UNITS_PER_CENT: i128 = 100_000_000;
/// A pool whose units are worth more or less than this takes no deposits: rounding would no longer be negligible.
const UNITS_PER_CENT_MIN: i128 = 1_000;
const UNITS_PER_CENT_MAX: i128 = 100_000_000_000;
/// The largest equity, amount and level in cents, so that units times equity fits in 128 bits.
pub const CENTS_MAX: i128 = 10_000_000_000_000;

/// How an account's profit is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Definition {
    /// The terminal's own word: the profit of what is open.
    Profit,
    /// Equity less credit less all deposits, so that realised profit counts too.
    Deposits,
}

/// An account's profit as one report gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// In cents.
    pub profit: i128,
    /// How it was obtained.
    pub definition: Definition,
}

/// The members' money in one account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// Cents; below zero it is a deficit that is made good first.
    pub equity: i128,
    /// Units of all members.
    pub units: i128,
    /// The level last seen.
    pub profit: i128,
    /// How that level was obtained; none before the first report.
    pub definition: Option<Definition>,
}

/// Why a pool refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The members' money is lost; a deposit would go to making good the loss.
    #[error("the pool is wiped out: its equity is not above zero")]
    WipedOut,
    /// A unit is worth too much or too little.
    #[error("the value of the pool's unit is out of range for a deposit")]
    OutOfRange,
    /// Beyond the largest amount.
    #[error("an amount or the pool's equity is beyond 10^13 minor units")]
    TooLarge,
    /// The amount buys less than one unit, or is not above zero.
    #[error("the amount is too small")]
    TooSmall,
    /// There is less to withdraw than was asked for.
    #[error("the amount is above what can be withdrawn")]
    AboveValue,
    /// Only a pool whose members' money is lost can be closed.
    #[error("the pool has equity, or no members: there is nothing to close")]
    NotWipedOut,
}

/// How much a member takes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// So many cents.
    Amount(i128),
    /// Whatever his units are worth.
    All,
}

/// What a withdrawal pays, and the units it burns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Withdrawal {
    /// In cents.
    pub paid: i128,
    /// At most what the member held.
    pub burned: i128,
}

/// What a level did to a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It became the base that later levels are measured from; nobody gained or lost.
    Base,
    /// It moved the equity by so many cents.
    Moved(i128),
}

impl Pool {
    /// Mints units for a deposit, rounded against the depositor; returns how many.
    pub fn deposit(&mut self, amount: i128) -> Result<i128, PoolError> {
        if amount <= 0 {
            return Err(PoolError::TooSmall);
        }
        if amount > CENTS_MAX || self.equity + amount > CENTS_MAX {
            return Err(PoolError::TooLarge);
        }
        let minted = if self.units == 0 {
            amount * UNITS_PER_CENT
        } else {
            if self.equity <= 0 {
                return Err(PoolError::WipedOut);
            }
            let in_range = UNITS_PER_CENT_MIN * self.equity..=UNITS_PER_CENT_MAX * self.equity;
            if !in_range.contains(&self.units) {
                return Err(PoolError::OutOfRange);
            }
            // Multiply before dividing; both are positive, so this is the floor.
            amount * self.units / self.equity
        };
        if minted == 0 {
            return Err(PoolError::TooSmall);
        }
        self.units += minted;
        self.equity += amount;
        Ok(minted)
    }

    /// Burns units of a member who holds so many, rounded against him. Who takes all whole cents gives up the rest of a
    /// cent with them: his units end.
    pub fn withdraw(&mut self, held: i128, ask: Ask) -> Result<Withdrawal, PoolError> {
        if self.units > 0 && self.equity <= 0 {
            return Err(PoolError::WipedOut);
        }
        let value = self.value(held);
        let paid = match ask {
            Ask::Amount(amount) if amount <= 0 => return Err(PoolError::TooSmall),
            Ask::Amount(amount) => amount,
            Ask::All => value,
        };
        if held <= 0 || paid > value {
            return Err(PoolError::AboveValue);
        }
        let burned = if paid == value {
            held
        } else {
            // All are positive, so this is the ceiling. What stays in the pool stays somebody's: so does its last unit.
            let ceiling = (paid * self.units + self.equity - 1) / self.equity;
            ceiling.min(self.units - 1)
        };
        self.units -= burned;
        self.equity -= paid;
        Ok(Withdrawal { paid, burned })
    }

    /// Voids the units of a pool whose money is lost, so that the next deposit starts afresh. Returns its deficit.
    pub fn close(&mut self) -> Result<i128, PoolError> {
        if self.units == 0 || self.equity > 0 {
            return Err(PoolError::NotWipedOut);
        }
        self.units = 0;
        Ok(-std::mem::take(&mut self.equity))
    }

    /// Takes a level of profit over.
    pub fn apply(&mut self, level: Level) -> Result<Change, PoolError> {
        if level.profit.abs() > CENTS_MAX {
            return Err(PoolError::TooLarge);
        }
        let first_deposits = self.definition.is_none() && level.definition == Definition::Deposits;
        let switched = self.definition.is_some_and(|definition| definition != level.definition);
        if self.units == 0 || first_deposits || switched {
            return self.rebase(level);
        }
        let moved = level.profit - self.profit;
        if (self.equity + moved).abs() > CENTS_MAX {
            return Err(PoolError::TooLarge);
        }
        self.equity += moved;
        self.profit = level.profit;
        self.definition = Some(level.definition);
        Ok(Change::Moved(moved))
    }

    /// Takes a level over as the base, whatever the level was before: nobody gains or loses.
    pub fn rebase(&mut self, level: Level) -> Result<Change, PoolError> {
        if level.profit.abs() > CENTS_MAX {
            return Err(PoolError::TooLarge);
        }
        self.profit = level.profit;
        self.definition = Some(level.definition);
        Ok(Change::Base)
    }

    /// Whole cents that these units are worth.
    pub fn value(&self, units: i128) -> i128 {
        if self.units == 0 || self.equity <= 0 { 0 } else { units * self.equity / self.units }
    }
}

/// What is left of an investment once so many of the units held are burned, to the nearest cent.
pub fn remaining_investment(investment: i128, held: i128, burned: i128) -> i128 {
    if held == 0 {
        return 0;
    }
    let product = investment * (held - burned);
    product / held + i128::from(product % held * 2 >= held)
}

#[cfg(test)]
mod tests;
