//! What can happen to an account's pool, in any order; and the terminal whose reports are part of it.

use common::domain::AccountName;
use common::message::AccountUpdated;
use distributor::pool::Pool;
use proptest::prelude::*;
use rust_decimal::Decimal;
use time::{Duration, OffsetDateTime};

/// The largest amount, equity and profit.
const LARGEST: i64 = 10_000_000_000_000;

/// One thing that happens.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Deposit {
        user: u8,
        amount: i64,
    },
    Withdraw {
        user: u8,
        take: Take,
    },
    /// A wiped pool is closed.
    Close,
    Report(Report),
    /// A message that was sent before arrives: late, out of order, or once more.
    Arrive(u8),
    /// From now on a terminal of this kind reports.
    Terminal(Kind),
    /// From now on the terminal reports another account at the broker.
    LogIn(i64),
    /// An operator wants this one's next report taken over.
    ExpectLogin(i64),
    /// All clocks are put back by so many seconds.
    PutBack(i64),
    /// The service starts anew.
    Restart,
}

/// How much is asked for.
#[derive(Clone, Debug)]
pub(crate) enum Take {
    All,
    Cents(i64),
    /// So many cents less than there is.
    AllBut(i64),
    Thousandths(i64),
}

/// What a terminal tells.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Of the first Expert Advisor.
    FiveFields,
    /// Of ours, while its history is not loaded.
    Incomplete,
    /// Of ours, with the account's deposits.
    Whole,
}

/// What a report is to say, and how it travels.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    aim: Aim,
    /// Tenths of a cent that the broker's figures carry beyond the cent.
    beyond: i64,
    credit: Option<i64>,
    deposits: i64,
    /// No position is open.
    flat: bool,
    flaw: Flaw,
    order: Order,
    /// Seconds that it is older than the latest.
    late: i64,
    /// Seconds without a report before it.
    silence: i64,
    age_ms: Option<i64>,
    /// It does not arrive now.
    held_back: bool,
}

/// Which profit it brings, in cents.
#[derive(Clone, Debug)]
enum Aim {
    Gain(i64),
    /// Of what the members have.
    GainThousandths(i64),
    /// One after which the members have so much.
    Equity(i64),
    Level(i64),
}

#[derive(Clone, Debug)]
enum Flaw {
    None,
    LoggedOut,
    Disconnected,
    OtherLogin,
    OtherCurrency,
    Anonymous,
}

#[derive(Clone, Debug)]
enum Order {
    Next,
    /// So many numbers back in its run.
    Back(i64),
    NewRun,
    /// Of so many runs ago.
    OldRun(u32),
}

pub(crate) fn steps() -> impl Strategy<Value = (Kind, Vec<Step>)> {
    (kind(), prop::collection::vec(step(), 1..60))
}

fn step() -> impl Strategy<Value = Step> {
    let user = || 0..5_u8;
    prop_oneof![
        8 => (user(), amount()).prop_map(|(user, amount)| Step::Deposit { user, amount }),
        8 => (user(), take()).prop_map(|(user, take)| Step::Withdraw { user, take }),
        2 => Just(Step::Close),
        16 => report().prop_map(Step::Report),
        3 => any::<u8>().prop_map(Step::Arrive),
        1 => kind().prop_map(Step::Terminal),
        2 => (1..4_i64).prop_map(Step::LogIn),
        3 => (1..4_i64).prop_map(Step::ExpectLogin),
        1 => (1..150_i64).prop_map(Step::PutBack),
        1 => Just(Step::Restart),
    ]
}

fn amount() -> impl Strategy<Value = i64> {
    prop_oneof![6 => 1..2_000_000_i64, 2 => 1..4_i64, 1 => 1..=LARGEST, 1 => -1..1_i64, 1 => LARGEST - 1..=LARGEST + 1]
}

fn take() -> impl Strategy<Value = Take> {
    prop_oneof![
        2 => Just(Take::All),
        1 => (-1..3_i64).prop_map(Take::Cents),
        2 => (-1..4_i64).prop_map(Take::AllBut),
        4 => (0..1_020_i64).prop_map(Take::Thousandths),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![2 => Just(Kind::FiveFields), 1 => Just(Kind::Incomplete), 3 => Just(Kind::Whole)]
}

fn report() -> impl Strategy<Value = Report> {
    let bound = LARGEST - 1..LARGEST + 2;
    let aim = prop_oneof![
        8 => (-1_500_000..1_500_000_i64).prop_map(Aim::Gain),
        2 => (-3..4_i64).prop_map(Aim::Gain),
        5 => (-1_100..1_100_i64).prop_map(Aim::GainThousandths),
        3 => (-2_000..2_000_i64).prop_map(Aim::Equity),
        1 => (-LARGEST - 1..LARGEST + 2).prop_map(Aim::Equity),
        1 => bound.clone().prop_map(Aim::Equity),
        1 => bound.prop_map(Aim::Level),
        1 => (-LARGEST - 1..2 - LARGEST).prop_map(Aim::Level),
    ];
    let flaw = prop_oneof![
        30 => Just(Flaw::None),
        1 => Just(Flaw::LoggedOut),
        1 => Just(Flaw::Disconnected),
        1 => Just(Flaw::OtherLogin),
        1 => Just(Flaw::OtherCurrency),
        1 => Just(Flaw::Anonymous),
    ];
    let order = prop_oneof![
        20 => Just(Order::Next),
        1 => (0..3_i64).prop_map(Order::Back),
        2 => Just(Order::NewRun),
        2 => (1..4_u32).prop_map(Order::OldRun),
    ];
    let mostly_zero = |least: i64, most: i64| prop_oneof![6 => Just(0), 1 => least..most];
    let credit = prop_oneof![2 => Just(None), 1 => (0..500_i64).prop_map(Some)];
    let figures = (aim, mostly_zero(-9, 10), credit, -2_000..2_000_i64, any::<bool>());
    let age_ms = prop_oneof![2 => Just(None), 1 => (-1..2_i64).prop_map(|age| Some(age * 1_000))];
    let times = (mostly_zero(0, 4), mostly_zero(57, 65), age_ms);
    let travel = (flaw, order, times, prop::bool::weighted(0.06));
    (figures, travel).prop_map(|((aim, beyond, credit, deposits, flat), (flaw, order, times, held_back))| Report {
        aim,
        beyond,
        credit,
        deposits,
        flat,
        flaw,
        order,
        late: times.0,
        silence: times.1,
        age_ms: times.2,
        held_back,
    })
}

/// The terminal, and all that it ever sent.
pub(crate) struct Terminal {
    kind: Kind,
    login: i64,
    /// Seconds.
    now: i64,
    run: u32,
    seq: i64,
    sent: Vec<AccountUpdated>,
}

impl Terminal {
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, login: 1, now: 0, run: 4, seq: 0, sent: Vec::new() }
    }

    pub(crate) fn replace(&mut self, kind: Kind) {
        self.kind = kind;
    }

    pub(crate) fn put_back(&mut self, seconds: i64) {
        self.now -= seconds;
    }

    pub(crate) fn now(&self) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::seconds(self.now)
    }

    pub(crate) fn log_in(&mut self, login: i64) {
        self.login = login;
    }

    /// A message sent before, if there is one.
    pub(crate) fn sent(&self, index: u8) -> Option<AccountUpdated> {
        self.sent.get(usize::from(index) % self.sent.len().max(1)).cloned()
    }

    /// The message that arrives, if one does. The pool is looked at for an aim alone.
    pub(crate) fn send(&mut self, report: &Report, pool: &Pool) -> Option<AccountUpdated> {
        let profit = match report.aim {
            Aim::Gain(cents) => pool.profit + i128::from(cents),
            Aim::GainThousandths(part) => pool.profit + pool.equity * i128::from(part) / 1_000,
            Aim::Equity(cents) => pool.profit + i128::from(cents) - pool.equity,
            Aim::Level(cents) => cents.into(),
        };
        let update = self.message(report, profit);
        self.sent.push(update.clone());
        (!report.held_back).then_some(update)
    }

    fn message(&mut self, report: &Report, profit: i128) -> AccountUpdated {
        self.now += 1 + report.silence;
        let (run, seq) = self.number(&report.order);
        // Every fourth run does not number its reports, nor does any run each fifth of them.
        let seq = (run % 4 != 3 && seq % 5 != 0).then_some(seq);
        let ours = !matches!(self.kind, Kind::FiveFields);
        let whole = matches!(self.kind, Kind::Whole);
        let known = ours && !matches!(report.flaw, Flaw::Anonymous);
        // Each figure is rounded by itself: the rounded sum would be another.
        let figure = |cents: i128| Decimal::from_i128_with_scale(cents * 10 + i128::from(report.beyond), 3);
        let (credit, deposits) = (i128::from(report.credit.unwrap_or(0)), i128::from(report.deposits));
        let equity = if whole { profit + credit + deposits } else { deposits };
        let mut update = AccountUpdated {
            account: AccountName::main(),
            received_at: OffsetDateTime::UNIX_EPOCH + Duration::seconds(self.now - report.late),
            terminal: None,
            balance: figure(if report.flat { equity - credit } else { equity / 2 }),
            equity: figure(equity),
            margin: figure(1),
            free_margin: figure(2),
            profit: figure(if whole { deposits } else { profit }),
            login: known.then_some(if matches!(report.flaw, Flaw::OtherLogin) { 4 } else { self.login }),
            currency: known.then(|| if matches!(report.flaw, Flaw::OtherCurrency) { "EUR" } else { "USD" }.to_owned()),
            credit: report.credit.filter(|_| ours).map(|credit| figure(credit.into())),
            net_deposits: whole.then(|| figure(deposits)),
            session: ours.then(|| run.to_string()),
            seq: seq.filter(|_| ours),
            age_ms: report.age_ms,
            open_positions: None,
            connected: ours.then_some(!matches!(report.flaw, Flaw::Disconnected)),
            trade_allowed: None,
            tick_age_ms: None,
        };
        if matches!(report.flaw, Flaw::LoggedOut) {
            let zero = Decimal::ZERO;
            update = AccountUpdated { balance: zero, equity: zero, profit: zero, ..update };
        }
        update
    }

    /// The run and the number in it.
    fn number(&mut self, order: &Order) -> (u32, i64) {
        match order {
            Order::Next => self.seq += 1,
            Order::Back(numbers) => return (self.run, self.seq - numbers),
            Order::NewRun => (self.run, self.seq) = (self.run + 1, 1),
            Order::OldRun(runs) => return (self.run.saturating_sub(*runs), self.seq + 1),
        }
        (self.run, self.seq)
    }
}
