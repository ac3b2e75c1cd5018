//! Tables of what the gate refuses, what a report makes of the day, and properties of both.

use common::domain::{Action, SignalState};
use common::message::AccountUpdated;
use proptest::prelude::*;
use rust_decimal::Decimal;

use super::super::tests::{NOW, account, signal, volume};
use super::super::{Choice, Open, PROTOCOL, choose};
use super::*;

use Action::{Buy, Close, Modify, Sell};
use SignalState::{Executed, Pending, Processing, Unknown};

fn active() -> Account {
    account(Mode::Active)
}

/// A report at this second, of an account without credit into which 1,000 were paid.
fn report(second: i64, equity: i64) -> AccountUpdated {
    let equity = Decimal::from(equity);
    AccountUpdated {
        account: common::domain::AccountName::main(),
        received_at: NOW + Duration::seconds(second),
        terminal: None,
        balance: equity,
        equity,
        margin: Decimal::ZERO,
        free_margin: equity,
        profit: Decimal::ZERO,
        login: Some(1),
        currency: None,
        credit: None,
        net_deposits: Some(Decimal::from(1_000)),
        session: None,
        seq: None,
        age_ms: None,
        open_positions: Some(3),
        connected: Some(true),
        trade_allowed: None,
        tick_age_ms: None,
    }
}

/// The account after these reports, each of which must count.
fn after(mut account: Account, reports: &[AccountUpdated]) -> Account {
    for update in reports {
        account.state = Some(observe(&account, update).expect("it counts"));
    }
    account
}

/// Goal: whatever a signal calls an instrument that the account knows, it is one symbol; where a name may be two, or none
/// that is known, it is left as it is.
#[test]
fn a_symbol_has_one_name() {
    let symbol = |name: &str| name.parse::<Symbol>().unwrap();
    let mut rules = active().rules;
    for name in ["EURUSD", "eurusd", "EURUSD.a"] {
        assert_eq!(rules.platform_symbol(&symbol(name)).as_str(), name, "nothing is known");
    }
    rules.symbol_map = [("EURUSD", "EURUSD.a"), ("GOLD", "XAUUSDm")].map(|(p, b)| (symbol(p), symbol(b))).into();
    rules.symbols_allowed = Some(["EURUSD", "GBPUSD", "Cash", "CASH", "GOLD"].map(symbol).into());
    for (name, platform) in [
        ("EURUSD", "EURUSD"),
        ("eurusd", "EURUSD"),
        ("EURUSD.a", "EURUSD"),
        ("EURUSD.A", "EURUSD"),
        ("xauusdM", "GOLD"),
        ("gbpusd", "GBPUSD"),
        ("GBPUSD.a", "GBPUSD.a"),
        ("Cash", "Cash"),
        ("CASH", "CASH"),
        ("cash", "cash"),
    ] {
        assert_eq!(rules.platform_symbol(&symbol(name)).as_str(), platform, "{name}");
    }
}

fn loss(account: &Account) -> Option<i64> {
    account.state.as_ref().unwrap().day.loss
}

const DAY: i64 = 86_400;

fn rejected(choice: &Choice) -> Vec<(i64, &'static str)> {
    choice.reject.iter().map(|(id, reason)| (*id, reason.code)).collect()
}

fn openings(count: usize) -> Vec<Open> {
    let symbol = |n| format!("S{n}");
    (0..count).map(|n| signal(i64::try_from(n).unwrap() + 1, Buy, Some(&symbol(n)), Pending)).collect()
}

fn claims(choice: &Choice) -> Vec<i64> {
    choice.claim.iter().map(|(id, _)| *id).collect()
}

#[test]
fn each_refusal_has_its_code_and_its_numbers() {
    let reason = |account: &Account, action, lots: Option<&str>| {
        let mut order = signal(1, action, Some("EURUSD"), Pending).order;
        order.volume = lots.map(volume);
        gate(&order, account, NOW).map(|reason| (reason.code, reason.message))
    };
    let mut limited = active();
    limited.rules.symbols_allowed = Some(["GOLD", "SILVER"].map(|name| name.parse().unwrap()).into());
    let lost = after(active(), &[report(0, 1_000), report(1, 800)]);
    for (account, code, words) in [
        (&limited, "symbol_not_allowed", "EURUSD is none of the 2 symbols allowed"),
        (&active(), "volume_above_max", "11 lots where 10 are allowed"),
        (&lost, "daily_loss_above_max", "200.00 lost today, of 1000.00, where 20 % are allowed"),
    ] {
        let (found, message) = reason(account, Buy, Some("11").filter(|_| code == "volume_above_max")).unwrap();
        assert_eq!(found, code);
        assert!(message.starts_with(words), "{message}");
        for action in [Close, Modify] {
            assert_eq!(reason(account, action, Some("11")), None, "{code} stops no {action:?}");
        }
    }
    // By the platform's name, or by the broker's.
    limited.rules.symbol_map = [("EURUSD".parse().unwrap(), "EURUSD.a".parse().unwrap())].into();
    for name in ["EURUSD", "EURUSD.a"] {
        limited.rules.symbols_allowed = Some([name.parse().unwrap()].into());
        assert_eq!(reason(&limited, Sell, Some("10")), None, "{name}");
    }
}

#[test]
fn positions_and_what_is_under_way_share_the_room() {
    let mut account = after(active(), &[report(0, 1_000)]);
    account.rules.positions_max = 6;
    // Three are open; one rests or was executed of late, one is with a terminal, one place is left.
    let mut open = openings(3);
    open[0].state = Processing;
    let choice = choose(&open, &account, 1, PROTOCOL, 10, NOW);
    assert_eq!((claims(&choice), rejected(&choice)), (vec![2], vec![(3, "positions_at_max")]));
    let words = "3 positions open and 3 openings under way where 6 are allowed in all";
    assert_eq!(choice.reject[0].1.message, words);
    // An unknown one takes its place too, of whatever protocol.
    open[1].state = Unknown;
    open[1].claim_protocol = Some(1);
    let choice = choose(&open, &account, 1, PROTOCOL, 10, NOW);
    assert_eq!((claims(&choice), rejected(&choice)), (vec![], vec![(3, "positions_at_max")]));
    // What has ended, and what closes, takes none.
    open[1].state = Executed;
    open[0] = signal(1, Close, Some("S0"), Processing);
    assert_eq!(claims(&choose(&open, &account, 2, PROTOCOL, 10, NOW)), [3]);
    // What waits for its turn is not judged before.
    let open = [signal(1, Buy, Some("EURUSD"), Processing), signal(2, Buy, Some("EURUSD"), Pending)];
    assert_eq!(choose(&open, &account, 9, PROTOCOL, 10, NOW), Choice::default());
}

#[test]
fn openings_of_a_day_are_counted_once_each_and_by_the_day() {
    let mut account = active();
    account.rules.openings_per_day_max = 10;
    account.openings = Some((day(NOW), 9));
    let mut open = openings(3);
    open[1].attempt = 1;
    let choice = choose(&open, &account, 0, PROTOCOL, 10, NOW);
    assert_eq!((claims(&choice), rejected(&choice)), (vec![1, 2], vec![(3, "openings_at_max")]));
    assert_eq!(choice.reject[0].1.message, "10 openings handed out since 00:00 UTC where 10 a day are allowed");
    account.openings = Some((day(NOW).previous_day().unwrap(), 10));
    assert_eq!(claims(&choose(&open, &account, 0, PROTOCOL, 10, NOW)), [1, 2, 3]);
}

#[test]
fn openings_wait_for_a_silent_account_and_closings_supersede_them() {
    let account = after(active(), &[report(0, 1_000)]);
    let open = [
        signal(1, Buy, Some("EURUSD"), Pending),
        signal(2, Modify, Some("EURUSD"), Pending),
        signal(3, Modify, Some("GBPUSD"), Pending),
        signal(4, Sell, Some("USDJPY"), Pending),
        signal(5, Close, Some("EURUSD"), Pending),
    ];
    let silent = NOW + STATE_FRESH + Duration::milliseconds(1);
    let choice = choose(&open, &account, 0, PROTOCOL, 10, silent);
    assert_eq!((claims(&choice), &choice.supersede, rejected(&choice)), (vec![3, 5], &vec![1, 2], vec![]));
    assert_eq!(claims(&choose(&open, &account, 0, PROTOCOL, 10, NOW + STATE_FRESH)), [1, 3, 4]);
    assert_eq!(claims(&choose(&open, &active(), 0, PROTOCOL, 10, silent)), [1, 3, 4], "it never reported");
    let put_back = NOW - FIGURES_DELAY_MAX;
    assert_eq!(claims(&choose(&open, &account, 0, PROTOCOL, 10, put_back)), [1, 3, 4], "clocks differ a little");
    let put_back = put_back - Duration::milliseconds(1);
    assert_eq!(claims(&choose(&open, &account, 0, PROTOCOL, 10, put_back)), [3, 5], "nobody knows how old it is");
    let mut another = account;
    another.rules.login = Some(2);
    assert_eq!(claims(&choose(&open, &another, 0, PROTOCOL, 10, NOW)), [3, 5], "it is of another login");
}

#[test]
fn a_loss_stops_the_day_until_the_next_or_an_operator() {
    let began = after(active(), &[report(0, 1_000), report(1, 1_200), report(2, 801)]);
    assert_eq!(loss(&began), None, "from its start, not from its top");
    let stopped = after(began, &[report(3, 800), report(4, 2_000)]);
    assert_eq!(loss(&stopped), Some(20_000), "also when all is won back");
    assert_eq!(stopped.loss_today(NOW + Duration::seconds(DAY - 1)), Some(20_000));
    assert_eq!(stopped.loss_today(NOW + Duration::seconds(DAY)), None);
    // The next day begins with what the last one ended with.
    let next = after(stopped.clone(), &[report(DAY, 1_601)]);
    assert_eq!((loss(&next), next.state.as_ref().unwrap().day.equity), (None, 200_000));
    assert_eq!(loss(&after(next, &[report(DAY + 1, 1_600)])), Some(40_000));
    let mut lifted = stopped;
    let state = lifted.state.clone().unwrap();
    lifted.state = Some(State { day: lift(&state).unwrap(), ..state });
    let lifted = after(lifted, &[report(5, 1_601)]);
    assert_eq!(loss(&lifted), None);
    assert_eq!(lift(lifted.state.as_ref().unwrap()), None, "nothing to lift, nothing begins anew");
    assert_eq!(loss(&after(lifted, &[report(6, 1_600)])), Some(40_000));
}

#[test]
fn deposits_are_no_profit_and_withdrawals_no_loss() {
    let mut withdrawn = report(1, 500);
    withdrawn.net_deposits = Some(Decimal::from(500));
    assert_eq!(loss(&after(active(), &[report(0, 1_000), withdrawn])), None);
    let mut credited = report(1, 1_300);
    credited.credit = Some(Decimal::from(500));
    assert_eq!(loss(&after(active(), &[report(0, 1_000), credited])), Some(20_000), "a credit covers no loss");
    // An account that is opened empty: its day begins with its first money.
    let mut empty = report(0, 0);
    (empty.net_deposits, empty.balance) = (Some(Decimal::ZERO), Decimal::ZERO);
    let funded = after(active(), &[empty, report(1, 1_000), report(2, 801)]);
    assert_eq!(loss(&funded), None);
    assert_eq!(loss(&after(funded, &[report(3, 800)])), Some(20_000));
}

#[test]
fn without_deposits_the_reported_profit_is_the_level() {
    let plain = |second, profit: i64| AccountUpdated {
        profit: Decimal::from(profit),
        net_deposits: None,
        ..report(second, 1_000 + profit)
    };
    assert_eq!(loss(&after(active(), &[plain(0, 0), plain(1, -199)])), None);
    let stopped = after(active(), &[plain(0, 0), plain(1, -200)]);
    assert_eq!(loss(&stopped), Some(20_000));
    // Profit means something else from now on: the count begins anew, what stopped the day stays.
    let state = after(stopped, &[report(2, 900)]).state.unwrap();
    assert_eq!((state.day.loss, state.day.equity, state.day.profit), (Some(20_000), 90_000, -10_000));
    // While the history is being read nothing is known of the profit, but of positions.
    let reading = AccountUpdated { open_positions: Some(7), net_deposits: None, ..report(2, 100) };
    let state = after(active(), &[report(0, 1_000), reading]).state.unwrap();
    assert_eq!((state.day.loss, state.equity, state.positions), (None, 100_000, Some(7)));
}

#[test]
fn reports_that_say_nothing_of_this_account_do_not_count() {
    let mut bound = active();
    bound.rules.login = Some(1);
    let known = after(bound.clone(), &[report(10, 1_000)]);
    let other = AccountUpdated { login: Some(2), ..report(11, 1) };
    let apart = AccountUpdated { connected: Some(false), ..report(11, 1) };
    let late = report(9, 1);
    let older = AccountUpdated { age_ms: Some(2_000), ..report(11, 1) };
    let logged_out = report(11, 0);
    for update in [&other, &apart, &late, &older, &logged_out] {
        assert_eq!(observe(&known, update), None, "{update:?}");
    }
    assert_eq!(observe(&bound, &other), None);
    // The operator goes over to another login: its first report is a beginning.
    let mut moved = known.clone();
    moved.rules.login = Some(2);
    let state = observe(&moved, &other).unwrap();
    assert_eq!((state.day.equity, state.day.loss, state.login), (100, None, Some(2)));
    // First-protocol terminals name no login.
    let nameless = observe(&known, &AccountUpdated { login: None, ..report(11, 900) }).unwrap();
    assert_eq!((nameless.equity, nameless.login), (90_000, Some(1)));
    // A clock that was put back: what is newest by it counts again.
    let ahead = after(bound, &[report(1_000, 1_000)]);
    assert_eq!(observe(&ahead, &report(20, 900)).unwrap().equity, 90_000);
}

#[test]
fn a_symbol_is_handed_out_by_the_brokers_name_where_there_is_one() {
    let mut rules = active().rules;
    rules.symbol_map.insert("GOLD".parse().unwrap(), "XAUUSD.r".parse().unwrap());
    assert_eq!((rules.broker_symbol("GOLD"), rules.broker_symbol("XAUUSD.r")), ("XAUUSD.r", "XAUUSD.r"));
    assert_eq!(rules.broker_symbol("EURUSD"), "EURUSD");
}

proptest! {
    /// Whatever is queued and under way: never more in all than allowed, unless it was so before; and no order of claims
    /// gets round it, since each is judged by what the one before left.
    #[test]
    fn no_sequence_of_claims_takes_more_than_the_limits(
        most in 1..12_i32,
        a_day in 1..12_i32,
        positions in 0..8_i32,
        recent in 0..4_i64,
        limits in proptest::collection::vec(1..5_usize, 1..6),
        queued in 0..16_usize,
    ) {
        let mut account = after(active(), &[AccountUpdated { open_positions: Some(positions), ..report(0, 1_000) }]);
        (account.rules.positions_max, account.rules.openings_per_day_max) = (most, a_day);
        let mut open = openings(queued);
        let mut taken = 0;
        for limit in limits {
            account.openings = Some((day(NOW), taken));
            let choice = choose(&open, &account, recent, PROTOCOL, limit, NOW);
            for id in claims(&choice) {
                let one = open.iter_mut().find(|one| one.id == id).unwrap();
                (one.state, one.attempt) = (Processing, 1);
                taken += 1;
            }
            open.retain(|one| choice.reject.iter().all(|(id, _)| one.id != *id));
            let all = i64::from(positions) + recent + i64::from(taken);
            prop_assert!(taken == 0 || all <= i64::from(most), "{all} of {most}");
            prop_assert!(taken <= a_day);
            // What is refused is refused for want of room, never for nothing.
            prop_assert!(choice.reject.is_empty() || all >= i64::from(most) || taken >= a_day);
        }
    }

    /// The latch against a second opinion: the first report of the day that is low enough, and from then on till midnight.
    #[test]
    fn a_day_is_stopped_by_its_first_loss_that_is_large_enough(
        equities in proptest::collection::vec((1..1_500_i64, 0..3_i64), 1..20),
    ) {
        let mut account = active();
        let (mut second, mut began, mut stopped) = (0, None, false);
        let mut last = None;
        for (equity, days) in equities {
            second += days * DAY / 2 + 1;
            let today = second / DAY;
            if began.is_none_or(|(date, _)| date != today) {
                began = Some((today, last.unwrap_or(equity)));
                stopped = false;
            }
            last = Some(equity);
            let start = began.unwrap().1;
            stopped |= start > equity && (start - equity) * 100 >= start * 20;
            account = after(account, &[report(second, equity)]);
            prop_assert_eq!(loss(&account).is_some(), stopped);
        }
    }
}
