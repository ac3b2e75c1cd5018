use serde_json::Value;
use uuid::Uuid;

use super::*;
use crate::check::history::Violation;
use crate::check::log::Answer;

fn at(ms: i64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + time::Duration::milliseconds(ms)
}

fn round(kinds: &[&str], began: i64, ended: i64, claims_under_way: i64) -> Round {
    Round {
        faults: Vec::new(),
        kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
        unreached: Vec::new(),
        claims_under_way,
        posts_in_flight: 0,
        normal_after_ms: u64::try_from(ended - began).unwrap(),
        began_at: at(began),
        ended_at: at(ended),
    }
}

fn post(number: i64, sent: i64, answered: i64, status: Option<u16>) -> Post {
    Post {
        name: format!("s#{number}"),
        sent_at: at(sent),
        key: None,
        body: Value::Null,
        answer: Some(Answer {
            at: at(answered),
            status,
            signal_id: Some(Uuid::from_u128(number.unsigned_abs().into())),
        }),
    }
}

fn verdict(violations: Vec<Violation>) -> Verdict {
    Verdict { posts: 0, signals: 0, orders: 0, reports: 0, versions: 0, violations }
}

/// Goal: a row counts what happened in its own rounds, each post as its sender saw it, and knows whose was lost.
#[test]
fn a_row_is_what_senders_saw_of_its_fault() {
    let rounds =
        [round(&["a"], 1_000, 4_500, 1), round(&["a", "b"], 10_000, 11_000, 0), round(&["b"], 20_000, 20_010, 2)];
    let posts = [
        post(1, 0, 900, Some(200)),
        post(2, 950, 1_100, Some(200)),
        post(3, 1_100, 1_200, Some(503)),
        post(4, 1_100, 1_150, None),
        post(5, 1_100, 4_100, None),
        post(6, 3_000, 3_900, Some(200)),
        post(7, 10_500, 10_600, Some(500)),
        post(8, 20_000, 20_100, Some(422)),
    ];
    let lost = Violation { promise: Broken::SignalLost, what: String::new(), ids: vec!["s#6".to_owned()] };
    let id = Uuid::from_u128(2).to_string();
    let doubled = Violation { promise: Broken::OpenedTwice, what: String::new(), ids: vec![id, "order 7".to_owned()] };
    let report = report(&rounds, &posts, &verdict(vec![lost, doubled]));
    let [a, b, several] = &*report.kinds else { panic!("{report:?}") };
    assert_eq!((&*a.fault, &*b.fault, &*several.fault), ("a", "b", SEVERAL));
    assert_eq!((a.posts, a.unavailable, a.broken, a.unanswered, a.slow, a.lost, a.doubled), (5, 1, 1, 1, 1, 1, 1));
    assert_eq!(a.without_success_ms, 16_200, "the next success is in another round");
    assert_eq!((a.normal_after_ms_max, a.late), (3_500, 1));
    assert_eq!((b.posts, b.unavailable, b.slow, b.without_success_ms, b.late), (1, 0, 0, 100, 0));
    assert_eq!((several.posts, several.unavailable), (1, 1));
    assert_eq!((report.busy_percent, report.claims_under_way, report.late), (66, 3, 1));
    assert_eq!(report.normal_after_ms_median, 1_000);
}

/// Goal: where nobody came by the place, nothing happened: such a round flatters no figure; and where one of two
/// things happened, it is the one that is judged.
#[test]
fn a_place_that_nobody_came_by_counts_as_nothing_else() {
    let unreached = |kinds: &[&str], began: i64| {
        let unreached = vec!["ingest dies after a publish".to_owned()];
        Round { unreached, ..round(kinds, began, began + 10, 5) }
    };
    let rounds = [
        unreached(&[], 0),
        unreached(&[], 100),
        round(&["ingest dies after a publish"], 1_000, 4_000, 0),
        unreached(&["a"], 10_000),
    ];
    let posts = [post(1, 0, 5, None), post(2, 1_500, 1_600, Some(503))];
    let report = report(&rounds, &posts, &verdict(Vec::new()));
    let [crash, a] = &*report.kinds else { panic!("{report:?}") };
    assert_eq!((&*crash.fault, crash.rounds, crash.posts), ("ingest dies after a publish", 1, 1));
    assert_eq!((crash.normal_after_ms_median, &*a.fault, a.rounds), (3_000, "a", 1));
    assert_eq!((report.rounds, report.idle, report.crashes, report.unreached), (2, 2, 1, 3));
    assert_eq!((report.busy_percent, report.claims_under_way), (50, 5));
    assert_eq!((report.normal_after_ms_median, report.normal_after_ms_max), (3_000, 3_000));
}

/// Goal: what came to no end, or to none that is told, is lost to its sender; every promise of once counts as doubled.
#[test]
fn a_row_counts_all_that_was_lost_or_doubled() {
    let count = |promise: Broken| {
        let broken = Violation { promise, what: String::new(), ids: vec!["s#1".to_owned()] };
        let report = report(&[round(&["a"], 0, 10, 1)], &[post(1, 1, 2, None)], &verdict(vec![broken]));
        (report.kinds[0].lost, report.kinds[0].doubled)
    };
    for lost in [Broken::SignalLost, Broken::NotEnded, Broken::EndUntold] {
        assert_eq!(count(lost), (1, 0), "{lost:?}");
    }
    for doubled in [Broken::OpenedTwice, Broken::UnansweredTwice, Broken::AnotherId] {
        assert_eq!(count(doubled), (0, 1), "{doubled:?}");
    }
    assert_eq!(count(Broken::OpenedLate), (0, 0));
}

/// Goal: a run whose faults met an idle platform is worth nothing.
#[test]
fn faults_must_find_the_platform_at_work() {
    let rounds = |busy: i64| (0..10).map(|number| round(&["a"], 0, 1, i64::from(number < busy))).collect::<Vec<_>>();
    let worth = |busy| report(&rounds(busy), &[], &verdict(Vec::new())).is_worth_something();
    assert!(worth(3));
    assert!(!worth(2));
}
