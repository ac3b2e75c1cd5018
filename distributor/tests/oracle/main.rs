//! Members' money against an oracle: the same things happen to the pool and to the rules told a second time, in exact
//! fractions; after each of them both agree to the smallest unit, and nobody lost to another.

mod books;
mod rules;
mod steps;

use std::collections::BTreeMap;

use common::message::AccountUpdated;
use distributor::pool::{Ask, PoolError};
use num_rational::BigRational;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseResult, TestRunner};

use books::{Books, Holding, Members};
use rules::{Oracle, Part, whole};
use steps::{Kind, Step, Take, Terminal, steps};
use time::OffsetDateTime;

/// Goal: whatever happens in whatever order, the pool is what exact reckoning says, and no movement takes from anybody.
#[test]
fn the_pool_agrees_with_exact_reckoning() {
    agree(2_000);
}

/// Goal: the same, for what happens rarely.
#[test]
#[ignore = "long: a hundred thousand sequences"]
fn the_pool_agrees_with_exact_reckoning_for_long() {
    agree(100_000);
}

/// Tries so many sequences; prints the shortest that fails.
fn agree(sequences: u32) {
    let config = ProptestConfig { cases: sequences, failure_persistence: None, ..ProptestConfig::default() };
    if let Err(error) = TestRunner::new(config).run(&steps(), |(kind, steps)| run(kind, &steps)) {
        panic!("{error}");
    }
}

fn run(kind: Kind, steps: &[Step]) -> TestCaseResult {
    let (mut books, mut oracle, mut terminal) = (Books::default(), Oracle::default(), Terminal::new(kind));
    for step in steps {
        match step {
            Step::Deposit { user, amount } => deposit(&mut books, &mut oracle, *user, (*amount).into())?,
            Step::Withdraw { user, take } => withdraw(&mut books, &mut oracle, *user, take)?,
            Step::Close => {
                let before = books.members.clone();
                let deficit = kept(&before, &books.close(), &books.members)?;
                prop_assert_eq!(deficit, oracle.close());
            }
            Step::Report(report) => {
                let update = terminal.send(report, &books.members.pool);
                take(&mut books, &mut oracle, update, terminal.now())?;
            }
            Step::Arrive(index) => take(&mut books, &mut oracle, terminal.sent(*index), terminal.now())?,
            Step::PutBack(seconds) => terminal.put_back(*seconds),
            Step::Terminal(kind) => terminal.replace(*kind),
            Step::LogIn(login) => terminal.log_in(*login),
            Step::ExpectLogin(login) => {
                prop_assert_eq!(books.expect_login(*login).is_ok(), oracle.expect_login(*login));
            }
            Step::Restart => {
                let rebuilt = books.rebuilt();
                prop_assert_eq!(rebuilt.fields(), books.fields());
                books = rebuilt;
            }
        }
        same(&books.members, &oracle)?;
    }
    Ok(())
}

fn deposit(books: &mut Books, oracle: &mut Oracle, user: u8, amount: i128) -> TestCaseResult {
    let before = books.members.clone();
    let minted = kept(&before, &books.deposit(user, amount), &books.members)?;
    prop_assert_eq!(minted, oracle.deposit(user, amount));
    if minted.is_some() {
        prop_assert!(value(&books.members, user) <= value(&before, user) + whole(amount));
        let unit = price(&before);
        nobody_else_lost(&before, &books.members, user, &unit)?;
    }
    Ok(())
}

fn withdraw(books: &mut Books, oracle: &mut Oracle, user: u8, take: &Take) -> TestCaseResult {
    let before = books.members.clone();
    let worth = before.pool.value(before.holding(user).units);
    let amount = match take {
        Take::All => None,
        Take::Cents(cents) => Some((*cents).into()),
        Take::AllBut(cents) => Some(worth - i128::from(*cents)),
        Take::Thousandths(part) => Some(worth * i128::from(*part) / 1_000),
    };
    let withdrawal = kept(&before, &books.withdraw(user, amount.map_or(Ask::All, Ask::Amount)), &books.members)?;
    let done = withdrawal.map(|withdrawal| (withdrawal.paid, withdrawal.burned));
    prop_assert_eq!(done, oracle.withdraw(user, amount));
    if let Some((paid, _)) = done {
        prop_assert!(whole(paid) + value(&books.members, user) <= value(&before, user));
        nobody_else_lost(&before, &books.members, user, &(whole(1) + price(&before)))?;
    }
    Ok(())
}

/// A message arrives, if there is one.
fn take(books: &mut Books, oracle: &mut Oracle, update: Option<AccountUpdated>, now: OffsetDateTime) -> TestCaseResult {
    let Some(update) = update else { return Ok(()) };
    let before = books.members.clone();
    let counts = books.report(&update, now);
    prop_assert_eq!(counts, oracle.report(&update, now), "whether it counts: {:?}", update);
    prop_assert!(counts || books.members == before, "what does not count changes nothing");
    Ok(())
}

/// What was done; where it was refused, nothing may have changed.
fn kept<T: Copy>(before: &Members, done: &Result<T, PoolError>, after: &Members) -> Result<Option<T>, TestCaseError> {
    prop_assert!(done.is_ok() || before == after, "a refusal changes nothing");
    Ok(done.ok())
}

/// Cents per unit, by the pool's own figures.
fn price(members: &Members) -> BigRational {
    let pool = &members.pool;
    if pool.units == 0 { whole(0) } else { whole(pool.equity) / whole(pool.units) }
}

/// What a member's units are worth exactly.
fn value(members: &Members, user: u8) -> BigRational {
    whole(members.holding(user).units) * price(members)
}

/// Who did not move keeps what he has, and all of them together gain less than this.
fn nobody_else_lost(before: &Members, after: &Members, user: u8, bound: &BigRational) -> TestCaseResult {
    let mut gained = whole(0);
    for other in before.holdings.keys().filter(|other| **other != user) {
        let gain = value(after, *other) - value(before, *other);
        prop_assert!(gain >= whole(0), "{} lost {}", other, -gain);
        gained += gain;
    }
    let nobody = before.holdings.keys().all(|other| *other == user);
    prop_assert!(nobody || gained < *bound, "{} was given away", gained);
    Ok(())
}

/// Both agree to the smallest unit; the members' cents are the pool's.
fn same(members: &Members, oracle: &Oracle) -> TestCaseResult {
    let Members { pool, holdings } = members;
    prop_assert_eq!((pool.equity, pool.units), (oracle.equity(), oracle.units()));
    let part = |holding: &Holding| Part { units: holding.units, investment: holding.investment };
    let parts: BTreeMap<u8, Part> = holdings.iter().map(|(user, holding)| (*user, part(holding))).collect();
    prop_assert_eq!(&parts, &oracle.parts);
    prop_assert!(!parts.is_empty() || pool.equity == 0, "money without members");
    let shares = oracle.shares();
    for (user, share) in &shares {
        let value = whole(pool.value(parts[user].units));
        prop_assert!(value <= share.exact && share.exact < value + whole(1), "{} has {}", user, share.exact);
    }
    prop_assert_eq!(shares.values().map(|share| share.cents).sum::<i128>(), pool.equity.max(0));
    Ok(())
}
