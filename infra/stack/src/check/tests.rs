//! What the design allows is no violation, and what is only nearly that is one.

use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::history::{Broken, Event, History, MAGIC_SPAN, Signal};
use super::log::{Answer, Post, Recorder, read};
use super::violations;
use crate::market::{Deal, DealType, Entry, Order, OrderState, OrderType, Reason};

/// Seconds after the beginning.
fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(seconds)
}

/// A history that is told step by step.
#[derive(Default)]
struct Tale(History);

impl Tale {
    fn new() -> Self {
        Self(History { account: "main".to_owned(), ..History::default() })
    }

    /// A signal accepted under its number as a key, at the second of its number, with these states after `pending`.
    fn signal(mut self, id: i64, action: &str, states: &[(&str, i32)]) -> Self {
        let signal_id = Uuid::from_u128(id.unsigned_abs().into());
        let key = Some(id.to_string());
        let answer = Answer { at: at(id), status: Some(200), signal_id: Some(signal_id) };
        self.post(&id.to_string(), Some(answer));
        for (place, (state, attempt)) in [("pending", 0)].iter().chain(states).enumerate() {
            let at = at(id) + time::Duration::milliseconds(i64::try_from(place).unwrap());
            self.0.events.push(Event { signal_id, at, state: (*state).to_owned(), attempt: *attempt });
        }
        let (state, attempt) = *states.last().unwrap();
        self.0.signals.push(Signal {
            signal_id,
            id,
            account: "main".to_owned(),
            symbol: Some("EURUSD".to_owned()),
            action: action.to_owned(),
            state: state.to_owned(),
            attempt,
            claim_protocol: Some(2),
            idempotency_key: key,
            expires_at: (!action.starts_with("CLOSE")).then(|| at(id + 60)),
            magic_base: Some(1),
        });
        self
    }

    fn executed(self, id: i64, action: &str) -> Self {
        self.signal(id, action, &[("processing", 1), ("executed", 1)])
    }

    fn post(&mut self, key: &str, answer: Option<Answer>) {
        let body = json!({"symbol": "EURUSD", "action": "BUY", "ttl_seconds": 60});
        let name = format!("log#{}", self.0.posts.len() + 1);
        let sent_at = answer.as_ref().map_or(at(0), |answer| answer.at);
        self.0.posts.push(Post { name, sent_at, key: Some(key.to_owned()), body, answer });
    }

    /// An order with the number of this signal, of a position; 0: its own.
    fn order(mut self, ticket: u64, id: u64, position: u64, seconds: i64) -> Self {
        self.0.orders.push(Order {
            ticket,
            symbol: "EURUSD".to_owned(),
            order_type: OrderType::Buy,
            state: OrderState::Filled,
            volume: 1.into(),
            filled: 1.into(),
            price: 0.into(),
            sl: 0.into(),
            tp: 0.into(),
            magic: MAGIC_SPAN + id,
            position: if position == 0 { ticket } else { position },
            comment: String::new(),
            expiration: None,
            placed_at: Some(at(seconds)),
            done_at: Some(at(seconds)),
        });
        self
    }

    /// The deal of a closing order.
    fn closed(mut self, order: u64, reason: Reason) -> Self {
        self.0.deals.push(Deal {
            ticket: order + 1,
            order,
            position: 1,
            deal_type: DealType::Sell,
            entry: Entry::Out,
            reason,
            symbol: "EURUSD".to_owned(),
            volume: 1.into(),
            price: 1.into(),
            profit: 0.into(),
            commission: 0.into(),
            swap: 0.into(),
            fee: 0.into(),
            magic: 0,
            comment: String::new(),
            at: at(0),
        });
        self
    }

    fn broken(&self) -> Vec<Broken> {
        violations(&self.0).into_iter().map(|violation| violation.promise).collect()
    }
}

/// Goal: a closing may overtake what is unknown, and only that.
#[test]
fn a_closing_overtakes_what_is_unknown_and_nothing_else() {
    let late = [("processing", 1), ("unknown", 1), ("executed", 1)];
    let overtaken = |states: &[(&str, i32)], second: &str| {
        let tale = Tale::new().signal(1, "BUY", states).executed(2, second);
        let position = if second == "CLOSE" { 5 } else { 0 };
        tale.order(10, 2, position, 3).closed(10, Reason::Expert).order(20, 1, 0, 4).broken()
    };
    assert_eq!(overtaken(&late, "CLOSE"), []);
    assert_eq!(overtaken(&late, "BUY"), [Broken::SymbolOutOfOrder]);
    assert_eq!(overtaken(&[("processing", 1), ("executed", 1)], "CLOSE"), [Broken::SymbolOutOfOrder]);
}

/// Goal: what was overtaken by a closing of its symbol is not handed out again after it.
#[test]
fn what_a_closing_overtook_is_not_handed_out_again() {
    let again = [("processing", 1), ("unknown", 1), ("pending", 1), ("processing", 2), ("executed", 2)];
    let claimed_again = |second: i64, symbol: &str| {
        let mut tale = Tale::new().signal(1, "BUY", &again).executed(2, "CLOSE");
        tale.0.signals[1].symbol = Some(symbol.to_owned());
        let (first, claim) = (tale.0.signals[0].signal_id, ("processing", 2));
        let mut events = tale.0.events.iter_mut();
        let event = events.find(|event| event.signal_id == first && (&*event.state, event.attempt) == claim);
        event.unwrap().at = at(second);
        tale.order(10, 2, 5, 3).closed(10, Reason::Expert).order(20, 1, 0, 4).broken()
    };
    assert_eq!(claimed_again(1, "EURUSD"), []);
    assert_eq!(claimed_again(3, "EURUSD"), [Broken::SymbolOutOfOrder]);
    assert_eq!(claimed_again(3, "GBPUSD"), [], "a closing that said nothing of it");
}

/// Goal: a stop loss carries the number of the signal that opened, and is not its doing.
#[test]
fn what_the_broker_closes_has_no_place_in_the_order() {
    let tale = || Tale::new().executed(1, "BUY").executed(2, "BUY").order(10, 1, 0, 2).order(20, 2, 0, 3);
    assert_eq!(tale().order(30, 1, 10, 9).closed(30, Reason::StopLoss).broken(), []);
    assert_eq!(tale().order(30, 1, 10, 9).closed(30, Reason::Expert).broken(), [Broken::SymbolOutOfOrder]);
}

/// Goal: a claim that was given back is a new attempt, also where the next claim waited for a lock meanwhile.
#[test]
fn an_attempt_that_is_given_back_makes_the_next_one_larger() {
    let told = |states: &[(&str, i32)]| Tale::new().signal(1, "BUY", states).order(10, 1, 0, 2).broken();
    assert_eq!(told(&[("processing", 1), ("pending", 1), ("processing", 2), ("executed", 2)]), []);
    assert_eq!(told(&[("processing", 1), ("processing", 2), ("pending", 1), ("executed", 2)]), []);
    assert!(
        told(&[("processing", 1), ("pending", 1), ("processing", 1), ("executed", 1)]).contains(&Broken::AttemptShrank)
    );
    assert!(
        told(&[("processing", 2), ("pending", 2), ("processing", 1), ("executed", 2)]).contains(&Broken::AttemptShrank)
    );
}

/// Goal: an order may be as late as orders can be, and not later.
#[test]
fn an_order_is_late_beyond_its_way_to_the_market() {
    let late = |seconds: i64, way: u64| {
        let mut tale = Tale::new().executed(1, "BUY").order(10, 1, 0, seconds);
        tale.0.latency = std::time::Duration::from_secs(way);
        tale.broken().contains(&Broken::OpenedLate)
    };
    assert_eq!([late(61, 0), late(62, 0), late(62, 1), late(63, 1)], [false, true, false, true]);
}

/// Goal: who had no answer may have been heard; who was refused may not, and a server that gave up may have done it.
#[test]
fn only_a_refusal_promises_that_nothing_happens() {
    let told = |status: Option<u16>| {
        let mut tale = Tale::new().executed(1, "BUY").order(10, 1, 0, 2);
        tale.0.posts[0].answer = Some(Answer { at: at(1), status, signal_id: None });
        tale.broken()
    };
    for unknown in [None, Some(503), Some(500), Some(408)] {
        assert_eq!(told(unknown), [], "{unknown:?}");
    }
    for refusal in [400, 403, 422, 429] {
        assert_eq!(told(Some(refusal)), [Broken::RefusedTraded], "{refusal}");
    }
    // Refused at first, and accepted when it was sent again.
    let mut tale = Tale::new().executed(1, "BUY").order(10, 1, 0, 2);
    tale.post("1", Some(Answer { at: at(1), status: Some(429), signal_id: None }));
    assert_eq!(tale.broken(), []);
}

/// Goal: of a signal whose id nobody was told, each violation names the posts that may be it, and no others.
#[test]
fn a_violation_names_the_posts_of_a_signal_that_nobody_was_told_of() {
    let mut tale = Tale::new().signal(1, "BUY", &[("processing", 1)]).order(10, 1, 0, 2).order(20, 1, 0, 3);
    tale = tale.executed(2, "BUY").order(30, 2, 0, 4);
    tale.0.posts[0].answer = None;
    tale.post("1", Some(Answer { at: at(1), status: Some(422), signal_id: None }));
    tale.post("1", Some(Answer { at: at(1), status: Some(503), signal_id: None }));
    for promise in [Broken::NotEnded, Broken::OpenedTwice, Broken::UnansweredTwice] {
        let all = violations(&tale.0);
        let found = all.iter().find(|violation| violation.promise == promise).unwrap();
        let named: Vec<_> = found.ids.iter().filter(|id| id.starts_with("log#")).collect();
        assert_eq!(named, ["log#1", "log#4"], "{promise:?}");
    }
}

/// Goal: a post without an answer may have waited in a socket: its life does not count from when its sender gave up.
#[test]
fn who_had_no_answer_does_not_know_when_his_signal_expires() {
    let mut tale = Tale::new().executed(1, "BUY").order(10, 1, 0, 100);
    tale.0.signals[0].expires_at = None;
    assert_eq!(tale.broken(), [Broken::OpenedLate]);
    tale.post("1", Some(Answer { at: at(1), status: None, signal_id: None }));
    assert_eq!(tale.broken(), []);
}

/// Goal: without a key each signal needs a post that may have caused it.
#[test]
fn a_signal_without_a_key_needs_a_post_without_an_answer() {
    let mut tale = Tale::new().executed(1, "BUY").order(10, 1, 0, 2);
    tale.0.signals[0].idempotency_key = None;
    tale.0.posts[0].key = None;
    assert_eq!(tale.broken(), [], "its id was answered");
    tale.0.posts[0].answer = None;
    assert_eq!(tale.broken(), [], "its sender had no answer");
    tale.0.posts.clear();
    assert_eq!(tale.broken(), [Broken::SignalOfNobody]);
}

/// Goal: what is written is read again; a torn last line was not sent, and an answer without its post is no log.
#[test]
fn a_log_is_read_as_it_was_written() {
    let path = std::env::temp_dir().join(format!("log-{}.jsonl", Uuid::new_v4().simple()));
    let recorder = Recorder::create(&path).unwrap();
    let body: Value = serde_json::from_str(r#"{"volume":0.10}"#).unwrap();
    let first = recorder.sent(at(1), Some("key"), &body).unwrap();
    let second = recorder.sent(at(2), None, &body).unwrap();
    recorder.answered(second, at(3), Some(200), Some(Uuid::nil())).unwrap();
    assert!(Recorder::create(&path).is_err(), "another sender's log");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, [&whole[..], &br#"{"sent":{"post":3,"#[..]].concat()).unwrap();
    let posts = read(&path).unwrap();
    assert_eq!(posts.len(), 2);
    assert_eq!((posts[0].key.as_deref(), posts[0].sent_at, posts[0].answer.is_none()), (Some("key"), at(1), true));
    assert_eq!(posts[1].body.to_string(), r#"{"volume":0.10}"#);
    assert_eq!((posts[1].accepted(), first), (Some(Uuid::nil()), 1));
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    std::fs::write(&path, lines[2]).unwrap();
    assert!(read(&path).unwrap_err().to_string().contains("never sent"));
    std::fs::remove_file(&path).unwrap();
}
