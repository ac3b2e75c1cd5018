//! The pool driven as the service drives it: reports judged, applied and taken over; movements done at the price of
//! now; a row for everything that moved, from which the whole can be rebuilt.

use std::collections::BTreeMap;

use common::message::AccountUpdated;
use distributor::pool::{Ask, Change, Pool, PoolError, Withdrawal, remaining_investment};
use distributor::report::{Figures, Last, LoginError, reason_to_ignore};
use time::OffsetDateTime;

/// A member's part of the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holding {
    pub(crate) units: i128,
    pub(crate) investment: i128,
}

/// The pool with those who hold units, by user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Members {
    pub(crate) pool: Pool,
    pub(crate) holdings: BTreeMap<u8, Holding>,
}

impl Members {
    /// Of one who holds none: nothing.
    pub(crate) fn holding(&self, user: u8) -> Holding {
        self.holdings.get(&user).copied().unwrap_or_default()
    }
}

/// What moved; amounts in cents.
#[derive(Clone)]
struct Row {
    /// None: it concerns all members.
    user: Option<u8>,
    amount: i128,
    units: i128,
    investment: i128,
}

/// The members, what is known of their account, and the rows behind both.
#[derive(Default)]
pub(crate) struct Books {
    pub(crate) members: Members,
    last: Last,
    rows: Vec<Row>,
    /// Those that counted.
    reports: Vec<AccountUpdated>,
}

impl Books {
    pub(crate) fn deposit(&mut self, user: u8, amount: i128) -> Result<i128, PoolError> {
        let minted = self.members.pool.deposit(amount)?;
        self.note(Row { user: Some(user), amount, units: minted, investment: amount });
        Ok(minted)
    }

    pub(crate) fn withdraw(&mut self, user: u8, ask: Ask) -> Result<Withdrawal, PoolError> {
        let before = self.members.holding(user);
        let withdrawal = self.members.pool.withdraw(before.units, ask)?;
        let investment = remaining_investment(before.investment, before.units, withdrawal.burned);
        self.note(Row {
            user: Some(user),
            amount: -withdrawal.paid,
            units: -withdrawal.burned,
            investment: investment - before.investment,
        });
        Ok(withdrawal)
    }

    pub(crate) fn close(&mut self) -> Result<i128, PoolError> {
        let units = self.members.pool.units;
        let deficit = self.members.pool.close()?;
        self.note(Row { user: None, amount: deficit, units: -units, investment: 0 });
        Ok(deficit)
    }

    /// An operator wants this login's next report taken over as the base.
    pub(crate) fn expect_login(&mut self, login: i64) -> Result<(), LoginError> {
        self.last.expect_login(login, self.members.pool.units > 0)
    }

    /// Whether the report counts that arrives now.
    pub(crate) fn report(&mut self, update: &AccountUpdated, now: OffsetDateTime) -> bool {
        let Ok(figures) = Figures::of(update) else { return false };
        if reason_to_ignore(&self.last, update, &figures, now).is_some() {
            return false;
        }
        let (pool, level) = (&mut self.members.pool, figures.level());
        let changed = if self.last.changes_login(update) { pool.rebase(level) } else { pool.apply(level) };
        let Ok(change) = changed else { return false };
        self.last.take_over(update, figures);
        self.reports.push(update.clone());
        if let Change::Moved(amount) = change {
            self.rows.push(Row { user: None, amount, units: 0, investment: 0 });
        }
        true
    }

    fn note(&mut self, row: Row) {
        post(&mut self.members.holdings, &row);
        self.rows.push(row);
    }

    /// The same from the rows alone, as a service finds it that starts anew.
    pub(crate) fn rebuilt(&self) -> Self {
        let last = self.reports.last();
        let figures = last.and_then(|update| Figures::of(update).ok());
        let definition = figures.map(|figures| figures.level().definition);
        let mut holdings = BTreeMap::new();
        self.rows.iter().for_each(|row| post(&mut holdings, row));
        let pool = Pool {
            equity: self.rows.iter().map(|row| row.amount).sum(),
            units: self.rows.iter().map(|row| row.units).sum(),
            profit: figures.map_or(0, |figures| figures.level().profit),
            definition,
        };
        let session = last.and_then(|update| update.session.clone());
        let (of_session, of_others): (Vec<_>, Vec<_>) =
            self.reports.iter().partition(|update| update.session == session);
        let mut ended_sessions = BTreeMap::new();
        for update in of_others {
            if let Some(session) = update.session.clone() {
                let seq = ended_sessions.entry(session).or_default();
                *seq = update.seq.max(*seq);
            }
        }
        Self {
            members: Members { pool, holdings },
            last: Last {
                state_at: last.map(|update| update.received_at),
                figures,
                definition,
                login: self.reports.iter().rev().find_map(|update| update.login),
                next_login: self.last.next_login,
                currency: self.reports.iter().rev().find_map(|update| update.currency.clone()),
                session,
                seq: of_session.into_iter().filter_map(|update| update.seq).max(),
                ended_sessions,
                newly_ended: BTreeMap::new(),
            },
            rows: self.rows.clone(),
            reports: self.reports.clone(),
        }
    }

    /// Everything that decides what happens next, field by field.
    pub(crate) fn fields(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        let last = self.last.clone();
        let Last { state_at, figures, definition, login, next_login, currency, session, seq, .. } = last;
        let mut ended = last.ended_sessions;
        ended.extend(last.newly_ended);
        // Of the present one its own number counts.
        ended.retain(|of, _| session.as_ref() != Some(of));
        let last = (state_at, figures, definition, login, next_login, currency, session, seq, ended);
        (self.members.clone(), last)
    }
}

/// Those without units are not held on to.
fn post(holdings: &mut BTreeMap<u8, Holding>, row: &Row) {
    match row.user {
        Some(user) => {
            let holding = holdings.entry(user).or_default();
            holding.units += row.units;
            holding.investment += row.investment;
        }
        // A closing voids the units of all; a change of profit touches none.
        None if row.units != 0 => holdings.clear(),
        None => {}
    }
    holdings.retain(|_, holding| holding.units > 0);
}
