//! The stated vectors, every bound from both sides, and what holds for every sequence of movements and levels.

use proptest::prelude::*;

use super::*;

fn level(profit: i128) -> Level {
    Level { profit, definition: Definition::Profit }
}

/// A pool whose one member deposited so much, which became so much; and his units.
fn pool_of(deposited: i128, equity: i128) -> (Pool, i128) {
    let mut pool = Pool::default();
    let units = pool.deposit(deposited).unwrap();
    pool.apply(level(equity - deposited)).unwrap();
    (pool, units)
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
fn a_refusal_changes_nothing() {
    let mut pool = Pool::default();
    let units = pool.deposit(CENTS_MAX).unwrap();
    let before = pool.clone();
    assert_eq!(pool.deposit(1), Err(PoolError::TooLarge));
    assert_eq!(pool.deposit(0), Err(PoolError::TooSmall));
    assert_eq!(pool.deposit(-1), Err(PoolError::TooSmall));
    assert_eq!(pool.apply(level(1)), Err(PoolError::TooLarge));
    assert_eq!(pool.apply(level(CENTS_MAX + 1)), Err(PoolError::TooLarge));
    assert_eq!(pool.withdraw(units, Ask::Amount(0)), Err(PoolError::TooSmall));
    assert_eq!(pool.withdraw(units, Ask::Amount(CENTS_MAX + 1)), Err(PoolError::AboveValue));
    assert_eq!(pool.close(), Err(PoolError::NotWipedOut));
    assert_eq!(pool, before);
}

#[test]
fn an_amount_beyond_the_bound_is_too_large_also_where_a_deficit_would_make_room() {
    assert_eq!(Pool::default().deposit(CENTS_MAX + 1), Err(PoolError::TooLarge));
    let (mut pool, _) = pool_of(100, -200);
    assert_eq!(pool.deposit(CENTS_MAX + 1), Err(PoolError::TooLarge));
    assert_eq!(pool.deposit(CENTS_MAX), Err(PoolError::WipedOut));
}

#[test]
fn equity_reaches_its_bounds_and_no_further() {
    let (mut pool, _) = pool_of(100, CENTS_MAX);
    assert_eq!(pool.equity, CENTS_MAX);
    assert_eq!(pool.apply(level(CENTS_MAX - 99)), Err(PoolError::TooLarge));
    assert_eq!(pool.apply(level(-CENTS_MAX)), Ok(Change::Moved(-2 * CENTS_MAX + 100)));
    assert_eq!(pool.apply(level(-CENTS_MAX - 1)), Err(PoolError::TooLarge));
    assert_eq!(pool.equity, 100 - CENTS_MAX);
    // Without members there is nothing to move: only the level itself is bounded.
    let mut empty = Pool::default();
    assert_eq!(empty.apply(level(CENTS_MAX)), Ok(Change::Base));
    assert_eq!(empty.apply(level(CENTS_MAX + 1)), Err(PoolError::TooLarge));
    assert_eq!(empty.apply(level(-CENTS_MAX)), Ok(Change::Base));
}

#[test]
fn deposits_are_taken_while_a_cent_is_worth_a_thousand_to_a_hundred_thousand_million_units() {
    // One cent buys 10^8 units: 10^3 and just fewer for each of the cents that it became.
    assert_eq!(pool_of(1, 100_000).0.deposit(7), Ok(7_000));
    assert_eq!(pool_of(1, 100_001).0.deposit(7), Err(PoolError::OutOfRange));
    // A thousand cents buy 10^11 units, and one cent is left of them; then just more than that.
    assert_eq!(pool_of(1_000, 1).0.deposit(7), Ok(700_000_000_000));
    assert_eq!(pool_of(1_001, 1).0.deposit(7), Err(PoolError::OutOfRange));
}

#[test]
fn a_deposit_mints_whole_units_rounded_against_the_depositor() {
    let (mut pool, _) = pool_of(2, 3);
    // 10 · 200,000,000 / 3 is 666,666,666.7.
    assert_eq!(pool.deposit(10), Ok(666_666_666));
    assert_eq!((pool.equity, pool.units), (13, 866_666_666));
}

#[test]
fn who_leaves_takes_his_value_and_the_others_keep_theirs() {
    let mut pool = Pool::default();
    let [a, b] = [300_000, 700_000].map(|amount| pool.deposit(amount).unwrap());
    pool.apply(level(50_000)).unwrap();
    let c = pool.deposit(1_000_000).unwrap();
    pool.apply(level(152_500)).unwrap();
    assert_eq!(pool.withdraw(b, Ask::All), Ok(Withdrawal { paid: 771_750, burned: b }));
    assert_eq!((pool.equity, pool.units), (1_380_750, a + c));
    assert_eq!(shares(&pool, &[a, c]), [330_750, 1_050_000]);
}

#[test]
fn a_part_burns_units_rounded_against_him_who_takes_it() {
    let (mut pool, units) = pool_of(2, 3);
    // 1 · 200,000,000 / 3 is 66,666,666.7.
    assert_eq!(pool.withdraw(units, Ask::Amount(1)), Ok(Withdrawal { paid: 1, burned: 66_666_667 }));
    assert_eq!((pool.equity, pool.units), (2, 133_333_333));
    // Where it divides, not one more.
    let (mut even, units) = pool_of(2, 2);
    assert_eq!(even.withdraw(units, Ask::Amount(1)), Ok(Withdrawal { paid: 1, burned: 100_000_000 }));
}

#[test]
fn who_takes_all_whole_cents_leaves_the_rest_of_a_cent_to_the_others() {
    let mut pool = Pool::default();
    let [a, b] = [1, 1].map(|amount| pool.deposit(amount).unwrap());
    pool.apply(level(3)).unwrap();
    // Two and a half cents each.
    assert_eq!(pool.clone().withdraw(a, Ask::Amount(2)), Ok(Withdrawal { paid: 2, burned: a }));
    assert_eq!(pool.withdraw(a, Ask::Amount(3)), Err(PoolError::AboveValue));
    assert_eq!(pool.withdraw(a, Ask::All), Ok(Withdrawal { paid: 2, burned: a }));
    assert_eq!((pool.equity, pool.value(b)), (3, 3));
}

#[test]
fn less_than_a_cent_can_only_be_given_up() {
    let mut pool = Pool::default();
    let [a, b] = [1, 2].map(|amount| pool.deposit(amount).unwrap());
    pool.apply(level(-2)).unwrap();
    assert_eq!(pool.withdraw(a, Ask::Amount(1)), Err(PoolError::AboveValue));
    assert_eq!(pool.withdraw(a, Ask::All), Ok(Withdrawal { paid: 0, burned: a }));
    assert_eq!((pool.equity, pool.units), (1, b));
}

#[test]
fn the_last_unit_stays_with_the_last_cents_however_much_it_is_worth() {
    let (mut pool, units) = pool_of(1, CENTS_MAX);
    let most = CENTS_MAX - 1;
    assert_eq!(pool.withdraw(units, Ask::Amount(most)), Ok(Withdrawal { paid: most, burned: units - 1 }));
    assert_eq!((pool.equity, pool.units), (1, 1));
    assert_eq!(pool.withdraw(1, Ask::All), Ok(Withdrawal { paid: 1, burned: 1 }));
    assert_eq!((pool.equity, pool.units), (0, 0));
}

#[test]
fn who_holds_nothing_can_take_nothing() {
    let mut empty = Pool::default();
    assert_eq!(empty.withdraw(0, Ask::All), Err(PoolError::AboveValue));
    assert_eq!(empty.withdraw(0, Ask::Amount(1)), Err(PoolError::AboveValue));
    assert_eq!(empty.withdraw(0, Ask::Amount(0)), Err(PoolError::TooSmall));
    assert_eq!(empty.withdraw(0, Ask::Amount(-1)), Err(PoolError::TooSmall));
    let (mut pool, _) = pool_of(100, 100);
    assert_eq!(pool.withdraw(0, Ask::All), Err(PoolError::AboveValue));
}

#[test]
fn a_wiped_out_pool_pays_nothing_and_can_be_closed() {
    for equity in [0, -2_000] {
        let (mut pool, units) = pool_of(10_000, equity);
        assert_eq!(pool.withdraw(units, Ask::All), Err(PoolError::WipedOut));
        assert_eq!(pool.withdraw(units, Ask::Amount(1)), Err(PoolError::WipedOut));
        assert_eq!(pool.deposit(1), Err(PoolError::WipedOut));
        assert_eq!(pool.close(), Ok(-equity));
        assert_eq!((pool.equity, pool.units, pool.profit), (0, 0, equity - 10_000));
        assert_eq!(pool.deposit(100), Ok(100 * UNITS_PER_CENT));
    }
}

#[test]
fn a_pool_with_equity_or_without_members_is_not_closed() {
    assert_eq!(pool_of(100, 1).0.close(), Err(PoolError::NotWipedOut));
    assert_eq!(Pool::default().close(), Err(PoolError::NotWipedOut));
}

#[test]
fn an_investment_falls_with_the_units_that_were_burned() {
    assert_eq!(remaining_investment(1_000, 300, 100), 667);
    assert_eq!(remaining_investment(1_000, 300, 200), 333);
    assert_eq!(remaining_investment(3, 2, 1), 2);
    assert_eq!(remaining_investment(1_000, 300, 300), 0);
    assert_eq!(remaining_investment(1_000, 300, 0), 1_000);
    assert_eq!(remaining_investment(0, 0, 0), 0);
}

#[derive(Clone, Debug)]
enum Step {
    Deposit(i128),
    /// By the member of this place; none: all there is.
    Withdraw(usize, Option<i128>),
    Close,
    Level(i128),
}

fn step() -> impl Strategy<Value = Step> {
    let asked = || prop_oneof![Just(None), (1..500_000_i64).prop_map(|amount| Some(amount.into()))];
    prop_oneof![
        6 => (1..2_000_000_i64).prop_map(|amount| Step::Deposit(amount.into())),
        3 => (0..20_usize, asked()).prop_map(|(place, asked)| Step::Withdraw(place, asked)),
        1 => Just(Step::Close),
        6 => (-1_500_000..1_500_000_i64).prop_map(|profit| Step::Level(profit.into())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_members_cents_are_the_pools_and_no_movement_takes_from_anybody(steps in proptest::collection::vec(step(), 1..60)) {
        let mut pool = Pool::default();
        let mut members: Vec<i128> = Vec::new();
        // Of the members of now: what they paid in and did not take out, and the level when the first of them came.
        let (mut money, mut base) = (0, 0);
        for step in steps {
            let before = pool.clone();
            let done = match step {
                Step::Deposit(amount) => pool.deposit(amount).map(|units| {
                    members.push(units);
                    money += amount;
                    assert!(pool.value(units) <= amount);
                }),
                Step::Withdraw(place, asked) => {
                    let held = members.get(place).copied().unwrap_or(0);
                    pool.withdraw(held, asked.map_or(Ask::All, Ask::Amount)).map(|withdrawal| {
                        members[place] -= withdrawal.burned;
                        money -= withdrawal.paid;
                        assert!(withdrawal.paid <= before.value(held));
                    })
                }
                Step::Close => pool.close().map(|deficit| {
                    members.clear();
                    assert_eq!(deficit, -before.equity);
                }),
                Step::Level(profit) => pool.apply(level(profit)).map(|change| {
                    assert_eq!(change == Change::Base, before.units == 0);
                }),
            };
            prop_assert!(done.is_ok() || pool == before);
            // By a movement a unit is worth what it was, or a part of a cent more: nobody else has less.
            if pool.units > 0 && pool.profit == before.profit {
                prop_assert!(pool.equity * before.units >= before.equity * pool.units);
            }
            // Conservation: what came in less what went out, and what the account's profit did since.
            if pool.units == 0 {
                (money, base) = (0, pool.profit);
            }
            prop_assert_eq!(pool.equity, money + pool.profit - base);
            prop_assert_eq!(pool.units, members.iter().sum::<i128>());
            prop_assert_eq!(shares(&pool, &members).iter().sum::<i128>(), pool.equity.max(0));
        }
    }
}
