//! A clean history with one thing changed: every kind of change is found, under the promise that it breaks.

use rust_decimal::Decimal;
use stack::check::history::{Broken, Event, History, MAGIC_SPAN, Signal};
use stack::check::log::Post;
use stack::check::violations;
use stack::market::Order;
use time::Duration;
use uuid::Uuid;

use crate::story::{HUNG_UP, Story};

/// The place of the signal under this key.
fn signal(history: &History, key: &str) -> usize {
    let found = history.signals.iter().position(|signal| signal.idempotency_key.as_deref() == Some(key));
    found.expect("a signal")
}

/// The place of the signal's order at the market.
fn order(history: &History, key: &str) -> usize {
    let id = history.signals[signal(history, key)].id.unsigned_abs();
    history.orders.iter().position(|order| order.magic % MAGIC_SPAN == id).expect("an order")
}

fn post<'a>(history: &'a mut History, key: &str) -> &'a mut Post {
    history.posts.iter_mut().rfind(|post| post.key.as_deref() == Some(key)).expect("a post")
}

fn end<'a>(history: &'a mut History, key: &str) -> &'a mut Event {
    let signal_id = history.signals[signal(history, key)].signal_id;
    history.events.iter_mut().rfind(|event| event.signal_id == signal_id).expect("an end")
}

/// The order of this signal once more, under another ticket.
fn again(history: &mut History, key: &str) {
    let ticket = history.orders.iter().map(|order| order.ticket).max().expect("orders") + 1;
    let once = &history.orders[order(history, key)];
    let position = if once.position == 0 { 0 } else { ticket };
    history.orders.push(Order { ticket, position, ..once.clone() });
}

fn swap_magic(history: &mut History, one: &str, other: &str) {
    let (one, other) = (order(history, one), order(history, other));
    let magic = history.orders[one].magic;
    history.orders[one].magic = history.orders[other].magic;
    history.orders[other].magic = magic;
}

fn swap_answers(history: &mut History, one: &str, other: &str) {
    let id = |post: &mut Post| post.answer.as_ref().and_then(|answer| answer.signal_id);
    let (first, second) = (id(post(history, one)), id(post(history, other)));
    post(history, one).answer.as_mut().expect("an answer").signal_id = second;
    post(history, other).answer.as_mut().expect("an answer").signal_id = first;
}

type Doctored = (&'static str, Broken, fn(&mut History));

const SIGNALS: &[Doctored] = &[
    ("a signal that was accepted is missing", Broken::SignalLost, |history| {
        let place = signal(history, "2");
        let Signal { signal_id, .. } = history.signals.remove(place);
        history.events.retain(|event| event.signal_id != signal_id);
    }),
    ("a signal is still with a terminal", Broken::NotEnded, |history| {
        let place = signal(history, "2");
        history.signals[place].state = String::from("processing");
    }),
    ("no event tells of an end", Broken::EndUntold, |history| {
        let told = end(history, "2").at;
        history.events.retain(|event| event.at != told);
    }),
    ("the events tell of another end", Broken::EndUntold, |history| end(history, "2").state = String::from("failed")),
    ("a signal ends twice", Broken::EndedTwice, |history| {
        let twice = end(history, "2").clone();
        history.events.push(twice);
    }),
    ("an attempt shrinks", Broken::AttemptShrank, |history| end(history, "2").attempt -= 1),
    ("a row forgets its attempt", Broken::AttemptShrank, |history| {
        let place = signal(history, "2");
        history.signals[place].attempt -= 1;
    }),
    ("an attempt is handed out twice", Broken::AttemptShrank, |history| {
        let claim = Event { state: "processing".to_owned(), ..end(history, "2").clone() };
        let last = history.events.iter().rposition(|event| event.signal_id == claim.signal_id).expect("an end");
        history.events.insert(last, claim);
    }),
    ("a signal nobody posted", Broken::SignalOfNobody, |history| {
        let place = signal(history, "7");
        let one = history.signals[place].clone();
        history.signals.push(Signal { idempotency_key: Some("x".to_owned()), signal_id: Uuid::new_v4(), ..one });
    }),
    ("a repetition is another signal", Broken::AnotherId, |history| {
        post(history, "3").answer.as_mut().expect("an answer").signal_id = Some(Uuid::new_v4());
    }),
    ("an answer came in the other order", Broken::NumberedOutOfOrder, |history| swap_answers(history, "1", "2")),
];

const ORDERS: &[Doctored] = &[
    ("a second order", Broken::OpenedTwice, |history| again(history, "2")),
    ("a second resting order", Broken::OpenedTwice, |history| again(history, "8")),
    ("two orders for a post without an answer", Broken::UnansweredTwice, |history| again(history, HUNG_UP)),
    ("two signals for a post without an answer", Broken::UnansweredTwice, |history| {
        let (place, other) = (signal(history, HUNG_UP), signal(history, "3"));
        history.signals[other].idempotency_key = history.signals[place].idempotency_key.clone();
    }),
    ("an order after the signal's expiry", Broken::OpenedLate, |history| {
        let (order, signal) = (order(history, "2"), signal(history, "2"));
        let expiry = history.signals[signal].expires_at.expect("an expiry");
        history.orders[order].placed_at = Some(expiry + Duration::MILLISECOND);
    }),
    ("an order after its sender's expiry, which the table forgot", Broken::OpenedLate, |history| {
        let (order, signal) = (order(history, "2"), signal(history, "2"));
        let expiry = history.signals[signal].expires_at.take().expect("an expiry");
        history.orders[order].placed_at = Some(expiry + Duration::MINUTE);
    }),
    ("a refused post that traded", Broken::RefusedTraded, |history| {
        let answer = post(history, "2").answer.as_mut().expect("an answer");
        (answer.status, answer.signal_id) = (Some(422), None);
    }),
    ("executed without an order", Broken::EndUntrue, |history| {
        let place = order(history, "2");
        history.orders.remove(place);
    }),
    ("failed with an order", Broken::EndUntrue, |history| {
        let (order, signal) = (order(history, "2"), signal(history, "2"));
        let failed = history.signals.iter().find(|signal| signal.state == "failed").expect("one that failed");
        let change = failed.id.unsigned_abs() - history.signals[signal].id.unsigned_abs();
        history.orders[order].magic += change;
    }),
    ("an order of no signal", Broken::OrderOfNobody, |history| {
        let place = order(history, "2");
        history.orders[place].magic += 1_000;
    }),
    ("an order with another account's number", Broken::OrderOfNobody, |history| {
        let place = order(history, "2");
        history.orders[place].magic += MAGIC_SPAN;
    }),
    ("two orders of a symbol swapped", Broken::SymbolOutOfOrder, |history| swap_magic(history, "1", "2")),
    ("a closing before what it closes", Broken::SymbolOutOfOrder, |history| {
        let place = order(history, "4");
        history.orders[place].ticket = 1;
    }),
];

const MONEY: &[Doctored] = &[
    ("a cent moved to another member", Broken::CentsAstray, |history| {
        history.shares[0].value += 1;
        history.shares[1].value -= 1;
    }),
    ("an update of another equity", Broken::CentsAstray, |history| {
        history.reports.last_mut().expect("reports").equity += Decimal::new(1, 2);
    }),
    ("a balance that the market never had", Broken::CentsAstray, |history| {
        history.reports.last_mut().expect("reports").balance += Decimal::new(1, 2);
    }),
    ("the last balance was not told", Broken::CentsAstray, |history| {
        let last = history.deals.last().expect("deals").clone();
        history.deals.push(last);
    }),
    ("units from nowhere", Broken::CentsAstray, |history| {
        let deposit = history.versions.iter_mut().find(|step| step.kind == "deposit").expect("a deposit");
        deposit.units_delta += 1;
    }),
    ("a valuation that is behind", Broken::CentsAstray, |history| history.pools[0].valued_version -= 1),
    ("a version of another equity", Broken::BooksDiffer, |history| {
        history.versions.last_mut().expect("versions").equity += 1;
    }),
    ("an amount that was rewritten", Broken::BooksDiffer, |history| {
        history.versions.iter_mut().rfind(|step| step.kind == "withdrawal").expect("a withdrawal").amount -= 1;
    }),
    ("a version that is missing", Broken::BooksDiffer, |history| {
        let place = history.versions.iter().position(|step| step.kind == "update").expect("an update");
        history.versions.remove(place);
    }),
    ("a movement nobody made", Broken::BooksDiffer, |history| _ = history.movements.pop()),
    ("a movement that counts and waits", Broken::BooksDiffer, |history| history.movements[0].waiting = true),
    ("a pool of other units", Broken::BooksDiffer, |history| history.pools[0].units += 1),
    ("a member of other units", Broken::BooksDiffer, |history| history.shares[0].units += 1),
    ("a member without a row", Broken::BooksDiffer, |history| _ = history.shares.remove(0)),
    ("an audit entry that was changed", Broken::AuditBroken, |history| history.audit[1].entry.push(' ')),
    ("an audit entry that is missing", Broken::AuditBroken, |history| _ = history.audit.remove(1)),
    ("a movement that no audit entry tells", Broken::AuditBroken, |history| {
        history.audit.retain(|entry| !entry.entry.contains("movement.recorded"));
    }),
];

/// Goal: whatever is changed is found, and called by its name.
#[tokio::test(flavor = "multi_thread")]
async fn every_doctored_history_is_found_out() {
    let story = Story::told().await;
    let clean = story.history().await;
    assert_eq!(violations(&clean), []);
    let mut missed = Vec::new();
    for (what, promise, doctor) in SIGNALS.iter().chain(ORDERS).chain(MONEY) {
        let mut history = clean.clone();
        doctor(&mut history);
        let found = violations(&history);
        if !found.iter().any(|violation| violation.promise == *promise && !violation.ids.is_empty()) {
            missed.push(format!("{what}: not found as {promise:?}, but {found:?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    story.removed().await;
}
