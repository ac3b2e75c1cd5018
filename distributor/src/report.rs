//! Which reports of an account count, and which level of profit they give. Pure.

use std::collections::BTreeMap;

use common::domain::{Cents, Invalid};
use common::message::AccountUpdated;
use rust_decimal::Decimal;
use time::{Duration, OffsetDateTime};

use crate::pool::{Definition, Level};

/// An account's figures in cents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Settled money.
    pub balance: i64,
    /// Balance, credit and what is open.
    pub equity: i64,
    /// Bound as security.
    pub margin: i64,
    /// Free for new positions.
    pub free_margin: i64,
    /// Profit of what is open.
    pub floating: i64,
    /// The broker's credit.
    pub credit: i64,
    /// Deposits less withdrawals, where known.
    pub net_deposits: Option<i64>,
}

impl Figures {
    /// Rounds a report's figures half-even to cents.
    pub fn of(update: &AccountUpdated) -> Result<Self, Invalid> {
        let cents = |figure: Decimal| Cents::rounded(figure).map(|cents| cents.0);
        Ok(Self {
            balance: cents(update.balance)?,
            equity: cents(update.equity)?,
            margin: cents(update.margin)?,
            free_margin: cents(update.free_margin)?,
            floating: cents(update.profit)?,
            credit: update.credit.map(cents).transpose()?.unwrap_or(0),
            net_deposits: update.net_deposits.map(cents).transpose()?,
        })
    }

    /// The account's profit as this report gives it.
    pub fn level(&self) -> Level {
        match self.net_deposits {
            Some(deposits) => Level {
                profit: i128::from(self.equity) - i128::from(self.credit) - i128::from(deposits),
                definition: Definition::Deposits,
            },
            None => Level { profit: self.floating.into(), definition: Definition::Profit },
        }
    }

    /// Whether no position is open: then no price can have moved the account since.
    pub fn shows_nothing_open(&self) -> bool {
        i128::from(self.equity) == i128::from(self.balance) + i128::from(self.credit)
    }
}

/// What is known of an account from the last report that counted.
#[derive(Clone, Debug, Default)]
pub struct Last {
    /// When it was received; none before the first.
    pub state_at: Option<OffsetDateTime>,
    /// The figures then.
    pub figures: Option<Figures>,
    /// Whether deposits were ever reported.
    pub definition: Option<Definition>,
    /// The broker's account number.
    pub login: Option<i64>,
    /// The one that an operator wants instead: its first report becomes the base, and until then none counts.
    pub next_login: Option<i64>,
    /// The account's currency.
    pub currency: Option<String>,
    /// The terminal's run, and its last number.
    pub session: Option<String>,
    /// The last number in that run.
    pub seq: Option<i64>,
    /// Runs that another followed, of those that may still be heard of, each with its last number.
    pub ended_sessions: BTreeMap<String, Option<i64>>,
    /// The same of those that ended with reports taken over just now.
    pub newly_ended: BTreeMap<String, Option<i64>>,
}

/// Why an operator can't have another login taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// The first report that names a login decides.
    #[error("no report has named a login yet: the next one that does is taken over by itself")]
    NoneYet,
    /// It is the present one already.
    #[error("the account is on this login already")]
    Present,
    /// What is open would go on to gain or lose without the members.
    #[error("the last report of the present login shows open positions: close them, and wait for the report")]
    PositionsOpen,
}

impl Last {
    /// Has another login's first report taken over as the base; the present login takes that back. `members`: whether
    /// somebody holds units.
    pub fn expect_login(&mut self, login: i64, members: bool) -> Result<(), LoginError> {
        let present = self.login.ok_or(LoginError::NoneYet)?;
        if login == present {
            return self.next_login.take().map(drop).ok_or(LoginError::Present);
        }
        if members && !self.figures.is_some_and(|figures| figures.shows_nothing_open()) {
            return Err(LoginError::PositionsOpen);
        }
        self.next_login = Some(login);
        Ok(())
    }

    /// Whether this is the report of the login that an operator waits for.
    pub fn changes_login(&self, update: &AccountUpdated) -> bool {
        self.next_login.is_some() && self.next_login == update.login
    }

    /// The last number of this report's run, if another run followed it.
    fn ended(&self, update: &AccountUpdated) -> Option<&Option<i64>> {
        let session = update.session.as_ref().filter(|_| update.session != self.session)?;
        self.newly_ended.get(session).or_else(|| self.ended_sessions.get(session))
    }

    /// Whether this report of a run that ended is surely newer than all that counted: the run that followed has been
    /// silent for so long that no slow connection explains it, and the report names its account at the broker.
    fn readmits(&self, update: &AccountUpdated, now: OffsetDateTime) -> bool {
        let age = Duration::milliseconds(update.age_ms.unwrap_or(0).max(0));
        update.login.is_some() && self.counted_at(now).is_none_or(|at| update.received_at - at > SILENCE + age)
    }

    /// When the last report that counted was received, where that says anything: one from the future was by a clock that was
    /// put right since.
    fn counted_at(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        self.state_at.filter(|at| *at - now <= AHEAD_MAX)
    }

    /// Takes over a report that counts.
    pub fn take_over(&mut self, update: &AccountUpdated, figures: Figures) {
        if self.session != update.session {
            let seq = self.ended(update).copied().flatten();
            self.newly_ended.extend(self.session.take().map(|session| (session, self.seq)));
            self.seq = seq;
        }
        self.session.clone_from(&update.session);
        // A report without a number does not make those before it new again.
        self.seq = update.seq.or(self.seq);
        self.state_at = Some(update.received_at);
        self.figures = Some(figures);
        self.definition = Some(figures.level().definition);
        if self.changes_login(update) {
            self.next_login = None;
        }
        self.login = update.login.or(self.login);
        self.currency = update.currency.clone().or(self.currency.take());
    }
}

/// How long a run of the terminal is silent before one that it followed is heard again.
const SILENCE: Duration = Duration::minutes(1);

/// How far the clocks of two services may be apart.
pub(crate) const AHEAD_MAX: Duration = Duration::minutes(1);

/// Every reason to ignore a report, that of one whose figures no account can have included.
pub const REASONS_TO_IGNORE: [&str; 9] = [
    "out_of_bounds",
    "in_the_future",
    "superseded_session",
    "seq_not_newer",
    "older_than_last",
    "not_connected",
    "logged_out",
    "history_incomplete",
    "another_account",
];

/// Why a report is kept but changes nothing; none: it counts.
pub fn reason_to_ignore(
    last: &Last,
    update: &AccountUpdated,
    figures: &Figures,
    now: OffsetDateTime,
) -> Option<&'static str> {
    // It would make all that come before its time look old.
    if update.received_at - now > AHEAD_MAX {
        return Some("in_the_future");
    }
    let same_session = update.session.is_some() && update.session == last.session;
    let ended = last.ended(update);
    if ended.is_some() && !last.readmits(update, now) {
        return Some("superseded_session");
    }
    let last_seq = if same_session { last.seq } else { ended.copied().flatten() };
    if update.seq.is_some() && update.seq <= last_seq {
        return Some("seq_not_newer");
    }
    // Within a run its numbers tell the order; between runs, and without numbers, time does.
    let ordered_by_seq = same_session && update.seq.is_some();
    if !ordered_by_seq && last.counted_at(now).is_some_and(|at| update.received_at <= at) {
        return Some("older_than_last");
    }
    if update.connected == Some(false) {
        return Some("not_connected");
    }
    let empty = |figures: &Figures| figures.balance == 0 && figures.equity == 0;
    if empty(figures) && last.figures.as_ref().is_some_and(|figures| !empty(figures)) {
        return Some("logged_out");
    }
    if figures.net_deposits.is_none() && last.definition == Some(Definition::Deposits) {
        return Some("history_incomplete");
    }
    let differs = |known: bool, same: bool| known && !same;
    let other_login = match last.next_login {
        // One that names none may be the old one's.
        Some(next) => update.login != Some(next),
        None => differs(last.login.is_some() && update.login.is_some(), update.login == last.login),
    };
    if other_login || differs(last.currency.is_some() && update.currency.is_some(), update.currency == last.currency) {
        return Some("another_account");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(session: Option<&str>, seq: Option<i64>, second: i64) -> AccountUpdated {
        let thousand = Decimal::from(1_000);
        AccountUpdated {
            account: common::domain::AccountName::main(),
            received_at: OffsetDateTime::UNIX_EPOCH + Duration::seconds(second),
            terminal: None,
            balance: thousand,
            equity: thousand,
            margin: Decimal::ZERO,
            free_margin: thousand,
            profit: Decimal::ZERO,
            login: Some(1),
            currency: Some("USD".into()),
            credit: None,
            net_deposits: None,
            session: session.map(Into::into),
            seq,
            age_ms: None,
            open_positions: None,
            connected: None,
            trade_allowed: None,
            tick_age_ms: None,
        }
    }

    fn last(update: &AccountUpdated) -> Last {
        let figures = Figures::of(update).unwrap();
        Last {
            state_at: Some(update.received_at),
            figures: Some(figures),
            definition: Some(figures.level().definition),
            login: update.login,
            next_login: None,
            currency: update.currency.clone(),
            session: update.session.clone(),
            seq: update.seq,
            ended_sessions: [("old".into(), Some(7))].into(),
            newly_ended: BTreeMap::new(),
        }
    }

    fn verdict(last: &Last, update: &AccountUpdated) -> Option<&'static str> {
        reason_to_ignore(last, update, &Figures::of(update).unwrap(), update.received_at)
    }

    #[test]
    fn a_report_far_ahead_of_the_clock_does_not_count() {
        let (update, minute) = (update(None, None, 1_000), Duration::minutes(1));
        let figures = Figures::of(&update).unwrap();
        let verdict = |now| reason_to_ignore(&Last::default(), &update, &figures, now);
        assert_eq!(verdict(update.received_at - minute), None);
        assert_eq!(verdict(update.received_at - minute - Duration::NANOSECOND), Some("in_the_future"));
        assert_eq!(verdict(update.received_at + Duration::DAY), None);
    }

    /// Goal: a clock that was ahead for a while does not keep reports from counting until its time has come.
    #[test]
    fn a_time_that_is_still_to_come_makes_no_report_old() {
        let known = last(&update(Some("s"), Some(5), 3_600));
        let (minute, late) = (Duration::minutes(1), |session, seq| update(session, seq, 100));
        let judged = |update: &AccountUpdated, now| {
            reason_to_ignore(&known, update, &Figures::of(update).unwrap(), OffsetDateTime::UNIX_EPOCH + now)
        };
        let (hour, put_right) = (minute * 60, minute * 59 - Duration::NANOSECOND);
        for (session, seq) in [(None, None), (Some("t"), Some(1)), (Some("s"), None)] {
            let report = late(session, seq);
            assert_eq!(judged(&report, hour), Some("older_than_last"), "{session:?}");
            assert_eq!(judged(&report, minute * 59), Some("older_than_last"), "{session:?}: clocks differ a little");
            assert_eq!(judged(&report, put_right), None, "{session:?}");
        }
        assert_eq!(judged(&late(Some("old"), Some(8)), hour), Some("superseded_session"));
        assert_eq!(judged(&late(Some("old"), Some(8)), put_right), None);
        assert_eq!(judged(&late(Some("old"), Some(7)), put_right), Some("seq_not_newer"), "numbers count on");
        assert_eq!(judged(&late(Some("s"), Some(5)), put_right), Some("seq_not_newer"));
    }

    #[test]
    fn only_what_is_newer_counts() {
        let known = last(&update(Some("s"), Some(5), 100));
        assert_eq!(verdict(&known, &update(Some("s"), Some(6), 101)), None);
        assert_eq!(verdict(&known, &update(Some("s"), Some(6), 99)), None);
        assert_eq!(verdict(&known, &update(Some("s"), Some(5), 101)), Some("seq_not_newer"));
        assert_eq!(verdict(&known, &update(Some("s"), Some(4), 101)), Some("seq_not_newer"));
        assert_eq!(verdict(&known, &update(Some("t"), Some(1), 101)), None);
        assert_eq!(verdict(&known, &update(Some("t"), Some(1), 99)), Some("older_than_last"));
        assert_eq!(verdict(&known, &update(Some("old"), Some(99), 101)), Some("superseded_session"));
        assert_eq!(verdict(&known, &update(None, None, 100)), Some("older_than_last"));
    }

    #[test]
    fn a_run_that_ended_is_heard_again_once_the_one_that_followed_is_silent_for_a_minute() {
        let mut known = last(&update(Some("s"), Some(5), 100));
        let old = |seq, second| update(Some("old"), seq, second);
        assert_eq!(verdict(&known, &old(Some(8), 160)), Some("superseded_session"));
        assert_eq!(verdict(&known, &old(Some(7), 161)), Some("seq_not_newer"));
        assert_eq!(verdict(&known, &old(None, 161)), None);
        let aged = |age_ms| AccountUpdated { age_ms: Some(age_ms), ..old(Some(8), 161) };
        assert_eq!(verdict(&known, &aged(1_000)), Some("superseded_session"), "seen when the other still spoke");
        assert_eq!([999, -1].map(|age_ms| verdict(&known, &aged(age_ms))), [None; 2]);
        let anonymous = AccountUpdated { login: None, ..old(Some(8), 161) };
        assert_eq!(verdict(&known, &anonymous), Some("superseded_session"), "it may be another account");
        let other = AccountUpdated { login: Some(2), ..old(Some(8), 161) };
        assert_eq!(verdict(&known, &other), Some("another_account"));

        let mut take_over = |update: AccountUpdated| {
            let verdict = verdict(&known, &update);
            if verdict.is_none() {
                known.take_over(&update, Figures::of(&update).unwrap());
            }
            verdict
        };
        assert_eq!(take_over(old(None, 161)), None);
        assert_eq!(take_over(old(Some(7), 162)), Some("seq_not_newer"), "its numbers go on");
        assert_eq!(take_over(old(Some(8), 162)), None);
        assert_eq!(take_over(update(Some("s"), Some(6), 163)), Some("superseded_session"));
        assert_eq!(take_over(update(Some("s"), Some(5), 223)), Some("seq_not_newer"));
        assert_eq!(take_over(update(Some("s"), Some(6), 223)), None, "it comes back by the same rule");
        assert_eq!(take_over(old(Some(9), 224)), Some("superseded_session"));
    }

    #[test]
    fn a_terminal_that_is_not_logged_in_says_nothing_of_the_account() {
        let known = last(&update(None, None, 1));
        let next = update(None, None, 2);
        let zeros = AccountUpdated { balance: Decimal::ZERO, equity: Decimal::ZERO, ..next.clone() };
        assert_eq!(verdict(&known, &zeros), Some("logged_out"));
        assert_eq!(verdict(&Last::default(), &zeros), None);
        assert_eq!(verdict(&known, &AccountUpdated { connected: Some(false), ..next.clone() }), Some("not_connected"));
        assert_eq!(verdict(&known, &AccountUpdated { login: Some(2), ..next.clone() }), Some("another_account"));
        assert_eq!(verdict(&known, &AccountUpdated { currency: Some("EUR".into()), ..next }), Some("another_account"));
    }

    #[test]
    fn another_login_is_taken_over_once_an_operator_says_so() {
        let mut known = last(&update(Some("s"), Some(5), 1));
        let other = AccountUpdated { login: Some(2), ..update(Some("t"), Some(1), 2) };
        let own = update(Some("s"), Some(6), 2);
        assert_eq!(known.expect_login(1, true), Err(LoginError::Present));
        assert_eq!(Last::default().expect_login(1, false), Err(LoginError::NoneYet));
        assert_eq!(known.expect_login(2, true), Ok(()));
        assert_eq!(verdict(&known, &own), Some("another_account"), "the old one says nothing any more");
        assert_eq!(verdict(&known, &AccountUpdated { login: None, ..own.clone() }), Some("another_account"));
        assert_eq!(verdict(&known, &AccountUpdated { login: Some(3), ..other.clone() }), Some("another_account"));
        assert_eq!(
            verdict(&known, &AccountUpdated { currency: Some("EUR".into()), ..other.clone() }),
            Some("another_account")
        );
        assert_eq!(verdict(&known, &other), None);
        assert!(known.changes_login(&other) && !known.changes_login(&own));
        let mut back = known.clone();
        assert_eq!(back.expect_login(1, true), Ok(()), "taken back");
        assert_eq!((verdict(&back, &own), verdict(&back, &other)), (None, Some("another_account")));
        known.take_over(&other, Figures::of(&other).unwrap());
        assert_eq!((known.login, known.next_login), (Some(2), None));
        assert_eq!(
            verdict(&known, &AccountUpdated { received_at: own.received_at + Duration::DAY, session: None, ..own }),
            Some("another_account")
        );
    }

    #[test]
    fn members_do_not_leave_open_positions_behind() {
        let open = AccountUpdated { equity: Decimal::from(1_001), ..update(None, None, 1) };
        assert_eq!(last(&open).expect_login(2, true), Err(LoginError::PositionsOpen));
        assert_eq!(last(&open).expect_login(2, false), Ok(()), "nobody's money is in it");
    }

    #[test]
    fn nothing_is_open_where_equity_is_balance_and_credit() {
        let shows_nothing_open = |equity: i64, credit: Option<i64>| {
            let update = update(None, None, 1);
            let update = AccountUpdated { equity: equity.into(), credit: credit.map(Into::into), ..update };
            Figures::of(&update).unwrap().shows_nothing_open()
        };
        assert!(shows_nothing_open(1_000, None));
        assert!(shows_nothing_open(1_050, Some(50)));
        assert!(!shows_nothing_open(1_000, Some(50)));
        assert!(!shows_nothing_open(1_001, None));
    }

    #[test]
    fn a_history_not_yet_loaded_does_not_count_once_it_was_whole() {
        let whole = AccountUpdated { net_deposits: Some(Decimal::from(900)), ..update(None, None, 1) };
        assert_eq!(Figures::of(&whole).unwrap().level().profit, 10_000);
        let known = last(&whole);
        assert_eq!(verdict(&known, &update(None, None, 2)), Some("history_incomplete"));
    }
}
