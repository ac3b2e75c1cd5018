//! Tables of what may happen, and properties of every choice.

use common::domain::{Action, Mode, Order, OrderType, Percent, Volume};
use proptest::prelude::*;
use rust_decimal::Decimal;

use super::anomaly::Doubt;
use super::gate::{Day, State};
use super::*;

pub(super) const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
const FOR_EVER: Life = Life { stored_at: NOW, expires_at: None };

pub(super) fn volume(text: &str) -> Volume {
    Volume::try_from(text.parse::<Decimal>().unwrap()).unwrap()
}

/// An account with the limits of a new one, and no report yet.
pub(super) fn account(mode: Mode) -> Account {
    let rules = Rules {
        mode,
        symbols_allowed: None,
        volume_max: volume("10"),
        positions_max: 200,
        openings_per_day_max: 1_000,
        daily_loss_percent_max: Percent::try_from(Decimal::from(20)).unwrap(),
        signal_ttl_seconds: 60,
        default_volume: volume("0.01"),
        symbol_map: std::collections::BTreeMap::new(),
        login: None,
    };
    Account { rules, openings: None, state: None }
}

pub(super) fn signal(id: i64, action: Action, symbol: Option<&str>, state: SignalState) -> Open {
    let order = Order {
        symbol: symbol.map(|symbol| symbol.parse().unwrap()),
        action,
        order_type: OrderType::Market,
        entry: None,
        volume: None,
        risk_percent: None,
        sl: None,
        tp: None,
        ticket: None,
        max_slippage_points: None,
    };
    Open { id, order, state, life: FOR_EVER, attempt: 0, claim_protocol: Some(PROTOCOL) }
}

fn claimed(open: &[Open], mode: Mode) -> Vec<i64> {
    choose(open, &account(mode), 0, PROTOCOL, 10, NOW).claim.into_iter().map(|(id, _)| id).collect()
}

use Action::{Buy, Close, CloseAll, Modify, Ping, Sell};
use SignalState::{Pending, Processing, Unknown};

#[test]
fn a_life_that_would_outlast_the_calendar_ends_with_it() {
    let signal = SignalAccepted {
        signal_id: uuid::Uuid::nil(),
        account: common::domain::AccountName::main(),
        principal: "p".to_owned(),
        idempotency_key: None,
        order: signal(1, Buy, Some("EURUSD"), Pending).order,
        received_at: time::macros::datetime!(9999-12-31 23:59:59 UTC),
        ttl_seconds: Some(i32::MAX),
        expires_at: None,
        order_expires_at: None,
        comment: None,
        metadata: serde_json::Map::new(),
    };
    assert!(expiry(&signal, None, signal.received_at) >= Some(signal.received_at));
}

#[test]
fn each_symbol_goes_in_its_own_order() {
    let open = [
        signal(1, Buy, Some("EURUSD"), Pending),
        signal(2, Close, Some("EURUSD"), Pending),
        signal(3, Sell, Some("GBPUSD"), Pending),
        signal(4, Ping, None, Pending),
    ];
    assert_eq!(claimed(&open, Mode::Active), [1, 3, 4]);
    let open = [signal(1, Buy, Some("EURUSD"), Processing), signal(2, Close, Some("EURUSD"), Pending)];
    assert!(claimed(&open, Mode::Active).is_empty());
}

#[test]
fn closing_the_account_waits_for_every_symbol_and_every_symbol_for_it() {
    let open = [
        signal(1, Buy, Some("EURUSD"), Processing),
        signal(2, CloseAll, None, Pending),
        signal(3, Buy, Some("GBPUSD"), Pending),
    ];
    assert!(claimed(&open, Mode::Active).is_empty());
    assert_eq!(claimed(&open[1..], Mode::Active), [2]);
}

#[test]
fn an_unknown_outcome_holds_back_openings_and_tells_closings_to_look_it_up() {
    let open = [
        signal(1, Buy, Some("EURUSD"), Unknown),
        signal(2, Sell, Some("EURUSD"), Pending),
        signal(3, Close, Some("EURUSD"), Pending),
        signal(4, Buy, Some("GBPUSD"), Pending),
    ];
    assert_eq!(claimed(&open[..2], Mode::Active), Vec::<i64>::new());
    let choice = choose(&open, &account(Mode::Active), 0, PROTOCOL, 10, NOW);
    assert_eq!(choice.claim, [(3, vec![1]), (4, vec![])]);
    assert_eq!(choice.supersede, [2]);
    // A change of stops waits like an opening, so a closing does not wait for it either.
    let open = [open[0].clone(), signal(2, Modify, Some("EURUSD"), Pending), open[2].clone()];
    let choice = choose(&open, &account(Mode::Active), 0, PROTOCOL, 10, NOW);
    assert_eq!((choice.claim, choice.supersede), (vec![(3, vec![1])], vec![2]));
}

#[test]
fn an_unknown_claim_of_the_first_protocol_holds_back_nothing() {
    let mut first = signal(1, Buy, Some("EURUSD"), Unknown);
    first.claim_protocol = Some(1);
    let open = [first, signal(2, Sell, Some("EURUSD"), Pending)];
    assert_eq!(claimed(&open, Mode::Active), [2]);
}

#[test]
fn modes_let_out_what_they_name() {
    let open = [
        signal(1, Buy, Some("EURUSD"), Pending),
        signal(2, Modify, Some("GBPUSD"), Pending),
        signal(3, Close, Some("USDJPY"), Pending),
        signal(4, Ping, None, Pending),
    ];
    assert_eq!(claimed(&open, Mode::Active), [1, 2, 3, 4]);
    assert_eq!(claimed(&open, Mode::Reducing), [2, 3, 4]);
    assert_eq!(claimed(&open, Mode::Halted), [4]);
    let choice = choose(&open, &account(Mode::Halted), 0, PROTOCOL, 10, NOW);
    assert_eq!(
        choice.reject.iter().map(|(id, reason)| (*id, reason.code)).collect::<Vec<_>>(),
        [(1, "account_halted")]
    );
}

#[test]
fn a_terminal_of_the_first_protocol_is_handed_market_orders_only() {
    let mut limit = signal(1, Buy, Some("EURUSD"), Pending);
    limit.order.order_type = OrderType::Limit;
    let open = [limit, signal(2, Close, Some("GBPUSD"), Pending), signal(3, Buy, Some("USDJPY"), Pending)];
    let choice = choose(&open, &account(Mode::Active), 0, 1, 10, NOW);
    assert_eq!(choice.claim, [(3, vec![])]);
}

#[test]
fn what_has_expired_is_neither_handed_out_nor_waited_for() {
    let mut old = signal(1, Buy, Some("EURUSD"), Pending);
    old.life.expires_at = Some(NOW);
    let open = [old, signal(2, Buy, Some("EURUSD"), Pending)];
    assert_eq!(claimed(&open, Mode::Active), [2]);
}

/// Goal: nothing is handed out whose age nobody knows, since the clock was put back after it was stored.
#[test]
fn what_was_stored_in_the_future_has_no_life_left_and_a_closing_lives() {
    let stored = |action: Action, after: Duration| {
        let stored_at = NOW + after;
        let expires_at = (!action.closes()).then(|| stored_at + Duration::minutes(1));
        Open { life: Life { stored_at, expires_at }, ..signal(1, action, Some("EURUSD"), Pending) }
    };
    for action in [Buy, Sell, Modify, Ping] {
        assert_eq!(claimed(&[stored(action, BACK_MAX)], Mode::Active), [1], "clocks differ a little");
        let ahead = stored(action, BACK_MAX + Duration::microseconds(1));
        assert!(claimed(std::slice::from_ref(&ahead), Mode::Active).is_empty());
        assert_eq!(unsent(ahead.life, false, NOW), Some((SignalState::Expired, expired())));
    }
    for action in [Close, CloseAll] {
        assert_eq!(claimed(&[stored(action, Duration::days(1))], Mode::Active), [1]);
    }
}

/// Goal: ingest's clock, where it is ahead, makes no life longer; and what may have been in the queue for any time is not
/// taken for new.
#[test]
fn a_life_begins_when_the_signal_is_stored_at_the_latest() {
    let ahead = |by| SignalAccepted { received_at: NOW + by, ..accepted(Buy, None) };
    let life = |signal: &SignalAccepted| expiry(signal, None, NOW).unwrap() - NOW;
    assert_eq!(life(&ahead(AHEAD_MAX)), Duration::minutes(1));
    assert_eq!(life(&ahead(-Duration::seconds(20))), Duration::seconds(40));
    let admitted = |signal: &SignalAccepted| admit(signal, Some(&account(Mode::Active)), false, NOW);
    assert_eq!(admitted(&ahead(AHEAD_MAX)), Admission::Pending);
    let unknown = AHEAD_MAX + Duration::microseconds(1);
    assert!(matches!(admitted(&ahead(unknown)), Admission::Ended(SignalState::Expired, _)));
    let closing = SignalAccepted { received_at: NOW + Duration::days(1), ..accepted(Close, None) };
    assert_eq!(admitted(&closing), Admission::Pending);
}

fn accepted(action: Action, lots: Option<&str>) -> SignalAccepted {
    SignalAccepted {
        signal_id: uuid::Uuid::nil(),
        account: common::domain::AccountName::main(),
        principal: "p".into(),
        idempotency_key: None,
        order: Order { volume: lots.map(volume), ..signal(1, action, Some("EURUSD"), Pending).order },
        received_at: NOW,
        ttl_seconds: None,
        expires_at: None,
        order_expires_at: None,
        comment: None,
        metadata: serde_json::Map::new(),
    }
}

#[test]
fn the_gate_names_its_reason() {
    let code =
        |signal: &SignalAccepted, account: Option<&Account>, reused, now| match admit(signal, account, reused, now) {
            Admission::Pending => "pending",
            Admission::Ended(_, reason) => reason.code,
        };
    let active = account(Mode::Active);
    let buy = accepted(Buy, Some("10"));
    assert_eq!(code(&buy, Some(&active), false, NOW), "pending");
    assert_eq!(code(&accepted(Buy, Some("10.01")), Some(&active), false, NOW), "volume_above_max");
    assert_eq!(code(&accepted(Close, Some("10.01")), Some(&active), false, NOW), "pending");
    assert_eq!(code(&buy, None, false, NOW), "unknown_account");
    assert_eq!(code(&buy, Some(&active), true, NOW), "key_reused");
    assert_eq!(code(&buy, Some(&active), false, NOW + Duration::seconds(60)), "expired");
    assert_eq!(code(&accepted(CloseAll, None), Some(&active), false, NOW + Duration::days(9)), "pending");
    assert_eq!(code(&buy, Some(&account(Mode::Halted)), false, NOW), "account_halted");
    assert_eq!(code(&accepted(Modify, None), Some(&account(Mode::Halted)), false, NOW), "pending");
}

fn report(status: Status, attempt: Option<i32>, ticket: Option<i64>) -> Report<'static> {
    Report { status, attempt, ticket, terminal: Some("T"), message: None, retcode: None }
}

fn known(state: SignalState) -> Known<'static> {
    Known {
        state,
        action: Buy,
        attempt: 2,
        claim_protocol: Some(PROTOCOL),
        claimed_by: Some("T"),
        life: FOR_EVER,
        tickets: &[7],
        doubt: None,
        is_superseded: false,
    }
}

#[test]
fn a_report_with_a_ticket_wins_over_whatever_was_believed() {
    use SignalState::{Cancelled, Executed, Expired, Failed, Rejected};
    for state in [Pending, Processing, Unknown, Failed, Expired, Cancelled, Rejected] {
        let (effect, _) = confirm(&known(state), &report(Status::Executed, Some(1), Some(7)), NOW);
        assert!(matches!(effect, Effect::End(Executed, _)), "{state:?}");
    }
    let odd = |state| confirm(&known(state), &report(Status::Executed, None, Some(7)), NOW).1;
    assert_eq!(odd(Processing), None);
    assert_eq!(odd(Unknown), None);
    assert_eq!(odd(Executed), None);
    assert_eq!(odd(Failed), Some("executed_after_failed"));
    let second = confirm(&known(Executed), &report(Status::Executed, None, Some(8)), NOW);
    assert_eq!(second, (Effect::Nothing("executed already"), Some("second_ticket")));
}

#[test]
fn what_an_openings_ticket_contradicts_beside_its_signal_comes_first() {
    let odd = |known: &Known<'_>, status| confirm(known, &report(status, None, Some(7)), NOW).1;
    for (doubt, kind) in [(Doubt::BeforeAClosing, "orphan"), (Doubt::OfAnotherSignal, "ticket_of_another_signal")] {
        for state in [Unknown, SignalState::Failed] {
            let opening = Known { doubt: Some(doubt), ..known(state) };
            assert_eq!(odd(&opening, Status::Executed), Some(kind));
            assert_eq!(odd(&opening, Status::Placed), Some(kind));
            assert_ne!(odd(&opening, Status::Closed), Some(kind), "one that has ended is nobody's orphan");
            assert_ne!(odd(&Known { action: Close, ..opening }, Status::Executed), Some(kind));
        }
    }
}

#[test]
fn a_ticket_of_an_attempt_that_was_believed_not_sent_is_odd() {
    let odd = |state, attempt| confirm(&known(state), &report(Status::Executed, attempt, Some(7)), NOW).1;
    for state in [Processing, Unknown] {
        assert_eq!(odd(state, Some(1)), Some("executed_by_older_attempt"));
        assert_eq!(odd(state, Some(2)), None);
        assert_eq!(odd(state, None), None);
    }
}

#[test]
fn no_order_where_one_is_believed_in_is_odd_unless_a_ticket_proved_it() {
    let believed = Known { tickets: &[], ..known(SignalState::Executed) };
    let odd = |known: &Known<'_>, status| confirm(known, &report(status, Some(2), None), NOW).1;
    for status in [Status::Failed, Status::NotSent, Status::NotFound] {
        assert_eq!(odd(&believed, status), Some("denied_after_executed"));
        assert_eq!(odd(&known(SignalState::Executed), status), None);
        assert_eq!(odd(&Known { state: SignalState::Failed, ..believed.clone() }, status), None);
        assert_eq!(odd(&Known { action: Close, ..believed.clone() }, status), None);
    }
    assert_eq!(odd(&believed, Status::Executed), None);
}

#[test]
fn a_report_without_a_ticket_counts_for_the_current_attempt_only() {
    for status in [Status::Executed, Status::Failed, Status::NotSent, Status::NotFound] {
        let (effect, _) = confirm(&known(Unknown), &report(status, Some(1), None), NOW);
        assert_eq!(effect, Effect::Nothing("of another attempt"));
        let (effect, _) = confirm(&known(Unknown), &report(status, None, None), NOW);
        assert_eq!(effect, Effect::Nothing("without its attempt"));
        assert!(!matches!(confirm(&known(Unknown), &report(status, Some(2), None), NOW).0, Effect::Nothing(_)));
        assert!(matches!(
            confirm(&known(SignalState::Failed), &report(status, Some(2), None), NOW).0,
            Effect::Nothing(_)
        ));
    }
}

#[test]
fn not_sent_is_believed_only_from_the_installation_that_took_it() {
    let taken = known(Unknown);
    let said = report(Status::NotSent, Some(2), None);
    assert_eq!(confirm(&taken, &said, NOW).0, Effect::Again);
    let other = Report { terminal: Some("U"), ..said.clone() };
    assert!(matches!(confirm(&taken, &other, NOW).0, Effect::Nothing(_)));
    let nameless = Known { claimed_by: None, ..taken.clone() };
    assert!(matches!(confirm(&nameless, &Report { terminal: None, ..said.clone() }, NOW).0, Effect::Nothing(_)));
    let late = Known { life: Life { expires_at: Some(NOW), ..FOR_EVER }, ..taken };
    assert!(matches!(confirm(&late, &said, NOW).0, Effect::End(SignalState::Expired, _)));
}

#[test]
fn what_was_not_sent_goes_out_again_unless_a_closing_came_after_it() {
    let said = report(Status::NotSent, Some(2), None);
    let taken = Known { is_superseded: true, ..known(Unknown) };
    assert_eq!(confirm(&taken, &said, NOW).0, Effect::End(SignalState::Cancelled, superseded()));
    let late = Known { life: Life { expires_at: Some(NOW), ..FOR_EVER }, ..taken.clone() };
    assert!(matches!(confirm(&late, &said, NOW).0, Effect::End(SignalState::Expired, _)));
    let other = Report { terminal: Some("U"), ..said };
    assert!(matches!(confirm(&taken, &other, NOW).0, Effect::Nothing(_)), "its word ends nothing either");
}

#[test]
fn a_closing_supersedes_what_it_concerns_and_no_closing() {
    let of_ticket = |mut signal: Open, ticket| {
        signal.order.ticket = Some(ticket);
        signal
    };
    let euro = |action| signal(1, action, Some("EURUSD"), Unknown);
    let later = |action, symbol| signal(2, action, symbol, SignalState::Failed);
    let modify = of_ticket(signal(1, Modify, None, Unknown), 7);
    let superseding = [later(Close, Some("EURUSD")), later(CloseAll, Some("EURUSD")), later(CloseAll, None)];
    for closing in superseding {
        for opening in [Buy, Sell, Modify] {
            assert!(is_superseded(&euro(opening), &[later(Close, Some("GBPUSD")), closing.clone()]));
        }
        assert!(!is_superseded(&euro(Close), std::slice::from_ref(&closing)));
        assert!(!is_superseded(&signal(1, Ping, None, Unknown), &[closing]));
    }
    assert!(is_superseded(&modify, &[of_ticket(later(Close, None), 7)]));
    assert!(!is_superseded(&modify, &[of_ticket(later(Close, None), 8)]));
    assert!(!is_superseded(&euro(Buy), &[later(Close, Some("GBPUSD")), later(CloseAll, Some("GBPUSD"))]));
    assert!(!is_superseded(&euro(Buy), &[of_ticket(later(Close, None), 7)]));
    assert!(!is_superseded(&euro(Buy), &[]));
}

/// Whether the order of two signals matters, said independently of how the choice finds out.
fn concern(one: &Open, other: &Open) -> bool {
    let everything = |signal: &Open| signal.order.action == CloseAll && signal.order.symbol.is_none();
    let pings = one.order.action == Ping || other.order.action == Ping;
    !pings
        && (everything(one)
            || everything(other)
            || (one.order.symbol.is_some() && one.order.symbol == other.order.symbol))
}

fn any_open() -> impl Strategy<Value = Vec<Open>> {
    let one = (0..6_usize, 0..3_usize, 0..3_usize, any::<bool>());
    proptest::collection::vec(one, 0..12).prop_map(|list| {
        list.into_iter()
            .enumerate()
            .map(|(index, (action, symbol, state, fresh))| {
                let action = [Buy, Sell, Close, CloseAll, Modify, Ping][action];
                let symbol = [Some("EURUSD"), Some("GBPUSD"), None][symbol];
                let mut open =
                    signal(i64::try_from(index).unwrap() + 1, action, symbol, [Pending, Processing, Unknown][state]);
                open.life.expires_at = (!action.closes()).then(|| if fresh { NOW + Duration::seconds(1) } else { NOW });
                open
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn no_choice_breaks_order_freshness_or_mode(
        open in any_open(), limit in 0..5_usize, mode in 0..3_usize, silent in any::<bool>()
    ) {
        let mut account = account([Mode::Active, Mode::Reducing, Mode::Halted][mode]);
        let day = Day { date: gate::day(NOW), equity: 1, profit: 0, loss: None };
        let at = NOW - if silent { gate::STATE_FRESH * 2 } else { Duration::ZERO };
        account.state =
            Some(State { at, login: None, positions: None, equity: 1, profit: 0, by_deposits: true, day });
        let choice = choose(&open, &account, 0, PROTOCOL, limit, NOW);
        prop_assert!(choice.claim.len() <= limit);
        let find = |id: i64| open.iter().find(|signal| signal.id == id).unwrap();
        let dropped = |id: i64| choice.supersede.contains(&id) || choice.reject.iter().any(|(other, _)| *other == id);
        for (id, after) in &choice.claim {
            let chosen = find(*id);
            prop_assert!(chosen.state == Pending && !dropped(*id));
            prop_assert!(chosen.life.expires_at.is_none_or(|expiry| expiry > NOW));
            prop_assert!(account.rules.mode.hands_out(chosen.order.action));
            prop_assert!(!silent || !chosen.order.action.opens(), "the account's state is not known");
            for other in open.iter().filter(|other| other.id < *id && concern(other, chosen)) {
                let expired = other.state == Pending && other.life.expires_at.is_some_and(|expiry| expiry <= NOW);
                match other.state {
                    Processing => prop_assert!(false, "an earlier one is with a terminal"),
                    Unknown => prop_assert!(chosen.order.action.closes() && after.contains(&other.id)),
                    _ => prop_assert!(dropped(other.id) || expired, "an earlier one waits"),
                }
            }
        }
        // A closing supersedes no closing, and only what waits behind an unknown outcome or an opening of a silent account.
        for id in &choice.supersede {
            let held = find(*id);
            prop_assert!(!held.order.action.closes());
            let holds = |first: &Open| match first.state {
                Unknown => first.id < *id,
                Pending => silent && first.order.action.opens(),
                _ => false,
            };
            let mut before = open.iter().filter(|first| first.id < *id && concern(first, held));
            prop_assert!(holds(held) || before.any(holds));
        }
    }
}
