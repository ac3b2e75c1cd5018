//! The stated vectors, and what holds for every sequence of deposits and levels.

use proptest::prelude::*;

use super::*;

fn level(profit: i128) -> Level {
    Level { profit, definition: Definition::Profit }
}

/// Members' cents by largest remainder, ties by place: what the valuation does in SQL.
fn shares(pool: &Pool, members: &[i128]) -> Vec<i128> {
    let whole: Vec<i128> = members.iter().map(|units| pool.value(*units)).collect();
    if pool.units == 0 || pool.equity <= 0 {
        return whole;
    }
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by_key(|index| (-(members[*index] * pool.equity % pool.units), *index));
    let missing = usize::try_from(pool.equity - whole.iter().sum::<i128>()).unwrap();
    let extra = |index: usize| i128::from(order.iter().take(missing).any(|other| *other == index));
    whole.iter().enumerate().map(|(index, cents)| cents + extra(index)).collect()
}

#[test]
fn profit_is_shared_in_proportion() {
    let mut pool = Pool::default();
    let members = [pool.deposit(300_000).unwrap(), pool.deposit(700_000).unwrap()];
    assert_eq!(pool.apply(level(50_000)), Ok(Change::Moved(50_000)));
    assert_eq!(shares(&pool, &members), [315_000, 735_000]);
}

#[test]
fn a_late_joiner_takes_no_past_profit() {
    let mut pool = Pool::default();
    let mut members = vec![pool.deposit(300_000).unwrap(), pool.deposit(700_000).unwrap()];
    pool.apply(level(50_000)).unwrap();
    members.push(pool.deposit(1_000_000).unwrap());
    assert_eq!(shares(&pool, &members), [315_000, 735_000, 1_000_000]);
    pool.apply(level(152_500)).unwrap();
    assert_eq!(shares(&pool, &members), [330_750, 771_750, 1_050_000]);
}

#[test]
fn cents_that_do_not_divide_go_to_the_first_of_equals() {
    let mut pool = Pool::default();
    let members: Vec<i128> = (0..3).map(|_| pool.deposit(10_000).unwrap()).collect();
    pool.apply(level(10_000)).unwrap();
    assert_eq!(shares(&pool, &members), [13_334, 13_333, 13_333]);
}

#[test]
fn the_same_level_again_changes_nothing() {
    let mut pool = Pool::default();
    pool.deposit(10_000).unwrap();
    pool.apply(level(100)).unwrap();
    let before = pool.clone();
    assert_eq!(pool.apply(level(100)), Ok(Change::Moved(0)));
    assert_eq!(pool, before);
}

#[test]
fn what_an_account_earned_before_the_first_report_belongs_to_nobody_here() {
    let mut pool = Pool::default();
    pool.deposit(10_000).unwrap();
    let deposits = |profit| Level { profit, definition: Definition::Deposits };
    assert_eq!(pool.apply(deposits(77)), Ok(Change::Base));
    assert_eq!(pool.apply(deposits(80)), Ok(Change::Moved(3)));
    assert_eq!(pool.equity, 10_003);
}

#[test]
fn a_change_of_definition_moves_nobodys_money() {
    let mut pool = Pool::default();
    pool.deposit(10_000).unwrap();
    pool.apply(level(500)).unwrap();
    assert_eq!(pool.apply(Level { profit: -9_000, definition: Definition::Deposits }), Ok(Change::Base));
    assert_eq!(pool.equity, 10_500);
}

#[test]
fn profit_without_members_is_the_next_base() {
    let mut pool = Pool::default();
    assert_eq!(pool.apply(level(-37)), Ok(Change::Base));
    let units = pool.deposit(10_000).unwrap();
    assert_eq!(pool.value(units), 10_000);
    assert_eq!(pool.apply(level(-37)), Ok(Change::Moved(0)));
}

#[test]
fn a_wiped_out_pool_takes_no_deposit_until_its_deficit_is_made_good() {
    let mut pool = Pool::default();
    let units = pool.deposit(10_000).unwrap();
    pool.apply(level(-12_000)).unwrap();
    assert_eq!((pool.equity, pool.value(units)), (-2_000, 0));
    assert_eq!(pool.deposit(1), Err(PoolError::WipedOut));
    pool.apply(level(-9_000)).unwrap();
    assert_eq!(pool.value(units), 1_000);
    assert!(pool.deposit(5_000).is_ok());
}

#[test]
fn nothing_beyond_the_bounds_is_taken_and_a_refusal_changes_nothing() {
    let mut pool = Pool::default();
    pool.deposit(CENTS_MAX).unwrap();
    let before = pool.clone();
    assert_eq!(pool.deposit(1), Err(PoolError::TooLarge));
    assert_eq!(pool.deposit(0), Err(PoolError::TooSmall));
    assert_eq!(pool.deposit(-1), Err(PoolError::TooSmall));
    assert_eq!(pool.apply(level(1)), Err(PoolError::TooLarge));
    assert_eq!(pool.apply(level(CENTS_MAX + 1)), Err(PoolError::TooLarge));
    assert_eq!(pool, before);
    // A pool that lost nearly all: one cent is worth more units than rounding allows for.
    let mut poor = Pool::default();
    poor.deposit(1_000_000).unwrap();
    poor.apply(level(-999_999)).unwrap();
    assert_eq!(poor.deposit(100), Err(PoolError::OutOfRange));
    let mut rich = Pool::default();
    rich.deposit(1).unwrap();
    rich.apply(level(1_000_000)).unwrap();
    assert_eq!(rich.deposit(100), Err(PoolError::OutOfRange));
}

#[derive(Clone, Debug)]
enum Step {
    Deposit(i128),
    Level(i128),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..2_000_000_i64).prop_map(|amount| Step::Deposit(amount.into())),
        (-1_500_000..1_500_000_i64).prop_map(|profit| Step::Level(profit.into())),
    ]
}

proptest! {
    #[test]
    fn the_members_cents_are_the_pools_and_no_deposit_takes_from_anybody(steps in proptest::collection::vec(step(), 1..60)) {
        let mut pool = Pool::default();
        let mut members: Vec<i128> = Vec::new();
        let mut money = 0;
        let mut base = None;
        for step in steps {
            let before = (pool.clone(), members.clone());
            match step {
                Step::Deposit(amount) => if let Ok(units) = pool.deposit(amount) {
                    members.push(units);
                    money += amount;
                    // A unit is worth what it was, or a part of a cent more: nobody else has less.
                    prop_assert!(pool.equity * before.0.units >= before.0.equity * pool.units);
                    prop_assert!(pool.value(units) <= amount);
                } else {
                    prop_assert_eq!(&pool, &before.0);
                },
                Step::Level(profit) => {
                    let change = pool.apply(level(profit)).unwrap();
                    if members.is_empty() {
                        prop_assert_eq!(change, Change::Base);
                        base = Some(profit);
                    }
                }
            }
            prop_assert_eq!(pool.units, members.iter().sum::<i128>());
            // Conservation: what came in, and what the account's profit did since the members' first base.
            if !members.is_empty() {
                prop_assert_eq!(pool.equity, money + pool.profit - base.unwrap_or(0));
            }
            prop_assert_eq!(shares(&pool, &members).iter().sum::<i128>(), if members.is_empty() { 0 } else { pool.equity.max(0) });
        }
    }
}
