//! What a run showed: for each kind of fault what senders saw of it, and how soon all was normal again.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;

use super::load::PATIENCE;
use crate::check::Verdict;
use crate::check::history::Broken;
use crate::check::log::Post;

/// All is to be normal again so soon after the part is back.
pub(super) const GOAL: Duration = Duration::from_secs(2);
/// The part of the rounds that must find a claim under way, else the run shows little.
const BUSY_PERCENT_MIN: usize = 30;
/// An answer that took longer is slow.
const SLOW: Duration = Duration::from_millis(500);
/// The row of rounds with more than one fault, of which nobody can tell which did what.
const SEVERAL: &str = "two of these at once";

/// What one round was like.
#[derive(Debug, Serialize)]
pub(super) struct Round {
    pub(super) faults: Vec<String>,
    /// Those that happened, without instances and times.
    pub(super) kinds: Vec<String>,
    /// Places that were armed and that nobody came by.
    pub(super) unreached: Vec<String>,
    /// Signals that a terminal had taken and not yet answered for when it began.
    pub(super) claims_under_way: i64,
    /// Posts that waited for their answer when it began.
    pub(super) posts_in_flight: usize,
    /// From the end of the fault until every service was ready and a signal had gone the whole way.
    pub(super) normal_after_ms: u64,
    /// From just before the fault until all was normal again.
    #[serde(with = "time::serde::rfc3339")]
    pub(super) began_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub(super) ended_at: OffsetDateTime,
}

impl Round {
    /// The name of its row in the table; none where nothing happened, which shows nothing.
    fn row(&self) -> Option<&str> {
        match &*self.kinds {
            [] => None,
            [kind] => Some(kind),
            _ => Some(SEVERAL),
        }
    }

    fn has(&self, post: &Post) -> bool {
        let answered_at = post.answer.as_ref().map_or(self.ended_at, |answer| answer.at);
        post.sent_at <= self.ended_at && answered_at >= self.began_at
    }
}

/// What senders saw of one kind of fault, in all rounds in which nothing else went wrong.
#[derive(Debug, Default, Serialize)]
pub(super) struct Row {
    fault: String,
    rounds: usize,
    posts: usize,
    /// Answered 503, or another 5xx: the outcome is unknown.
    unavailable: usize,
    /// The connection was refused, or broke.
    broken: usize,
    /// No answer within [`PATIENCE`].
    unanswered: usize,
    /// Answered well, after [`SLOW`].
    slow: usize,
    /// The longest time in which no post of any sender succeeded.
    without_success_ms: u64,
    /// Posts whose signal was taken and is not there, or came to no end that is told.
    lost: usize,
    /// Posts whose signal traded more than once, or got another id.
    doubled: usize,
    normal_after_ms_median: u64,
    normal_after_ms_max: u64,
    /// Rounds that took longer than [`GOAL`].
    late: usize,
}

/// The whole run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Those in which something happened. Only `idle` counts the rest.
    pub(super) rounds: usize,
    /// Rounds in which nobody came by any place that was armed.
    pub(super) idle: usize,
    /// Signals that were in a terminal's hands when a fault began.
    pub(super) claims_under_way: i64,
    /// The part of the rounds that found such a signal.
    pub(super) busy_percent: usize,
    /// The part of the rounds that found a post without its answer.
    pub(super) posting_percent: usize,
    pub(super) crashes: usize,
    pub(super) unreached: usize,
    pub(super) normal_after_ms_median: u64,
    pub(super) normal_after_ms_max: u64,
    pub(super) late: usize,
    pub(super) kinds: Vec<Row>,
}

/// Reckons it from the rounds, the senders' logs and what the checker found.
pub(super) fn report(rounds: &[Round], posts: &[Post], verdict: &Verdict) -> Report {
    let unreached = rounds.iter().map(|round| round.unreached.len()).sum();
    let all = rounds.len();
    let rounds: Vec<&Round> = rounds.iter().filter(|round| round.row().is_some()).collect();
    let mut kinds: BTreeMap<&str, Vec<&Round>> = BTreeMap::new();
    for (row, round) in rounds.iter().filter_map(|round| Some((round.row()?, *round))) {
        kinds.entry(row).or_default().push(round);
    }
    let mut successes: Vec<OffsetDateTime> = posts.iter().filter_map(succeeded_at).collect();
    successes.sort_unstable();
    let named = |promises: &[Broken]| -> BTreeSet<&str> {
        let broken = verdict.violations.iter().filter(|violation| promises.contains(&violation.promise));
        broken.flat_map(|violation| violation.ids.iter().map(String::as_str)).collect()
    };
    let lost = named(&[Broken::SignalLost, Broken::NotEnded, Broken::EndUntold]);
    let doubled = named(&[Broken::OpenedTwice, Broken::UnansweredTwice, Broken::AnotherId]);
    let mut rows: Vec<Row> = Vec::new();
    for (kind, rounds) in kinds {
        let mut row = Row { fault: kind.to_owned(), rounds: rounds.len(), ..Row::default() };
        for round in &rounds {
            row.without_success_ms = row.without_success_ms.max(longest_without(&successes, round));
            for post in posts.iter().filter(|post| round.has(post)) {
                row.count(post);
                row.lost += usize::from(is_named(post, &lost));
                row.doubled += usize::from(is_named(post, &doubled));
            }
        }
        (row.normal_after_ms_median, row.normal_after_ms_max, row.late) = recovery(rounds.iter().copied());
        rows.push(row);
    }
    // The worst first, and last what is not of one kind.
    rows.sort_by_key(|row| (row.fault == SEVERAL, std::cmp::Reverse(row.normal_after_ms_max)));
    let (normal_after_ms_median, normal_after_ms_max, late) = recovery(rounds.iter().copied());
    Report {
        rounds: rounds.len(),
        idle: all - rounds.len(),
        claims_under_way: rounds.iter().map(|round| round.claims_under_way).sum(),
        busy_percent: percent(rounds.iter().filter(|round| round.claims_under_way > 0).count(), rounds.len()),
        posting_percent: percent(rounds.iter().filter(|round| round.posts_in_flight > 0).count(), rounds.len()),
        crashes: rounds.iter().flat_map(|round| &round.kinds).filter(|kind| kind.contains(" dies ")).count(),
        unreached,
        normal_after_ms_median,
        normal_after_ms_max,
        late,
        kinds: rows,
    }
}

fn percent(part: usize, whole: usize) -> usize {
    (part * 100).checked_div(whole).unwrap_or(0)
}

/// When a post was answered with what its sender can rely on.
fn succeeded_at(post: &Post) -> Option<OffsetDateTime> {
    post.answer.as_ref().filter(|answer| answer.status.is_some_and(|status| status < 500)).map(|answer| answer.at)
}

fn is_named(post: &Post, ids: &BTreeSet<&str>) -> bool {
    let given = post.answer.as_ref().and_then(|answer| answer.signal_id).map(|id| id.to_string());
    ids.contains(post.name.as_str()) || given.is_some_and(|id| ids.contains(id.as_str()))
}

/// The longest time without a success that began in the round, in milliseconds.
fn longest_without(successes: &[OffsetDateTime], round: &Round) -> u64 {
    let first = successes.partition_point(|at| *at < round.began_at);
    let mut last = round.began_at;
    let mut longest = time::Duration::ZERO;
    for at in &successes[first..] {
        longest = longest.max(*at - last);
        last = *at;
        if last > round.ended_at {
            break;
        }
    }
    milliseconds(longest)
}

fn milliseconds(duration: time::Duration) -> u64 {
    u64::try_from(duration.whole_milliseconds()).unwrap_or(0)
}

/// Median and maximum of the time until all was normal, and how many rounds took longer than the goal.
fn recovery<'a>(rounds: impl Iterator<Item = &'a Round>) -> (u64, u64, usize) {
    let mut times: Vec<u64> = rounds.map(|round| round.normal_after_ms).collect();
    times.sort_unstable();
    let late = times.iter().filter(|time| u128::from(**time) > GOAL.as_millis()).count();
    (times.get(times.len() / 2).copied().unwrap_or(0), times.last().copied().unwrap_or(0), late)
}

impl Row {
    fn count(&mut self, post: &Post) {
        self.posts += 1;
        let Some(answer) = &post.answer else { return };
        let took = answer.at - post.sent_at;
        match answer.status {
            Some(500..) => self.unavailable += 1,
            Some(_) => self.slow += usize::from(took > SLOW),
            None if took >= PATIENCE => self.unanswered += 1,
            None => self.broken += 1,
        }
    }

    fn seen(&self) -> String {
        let what = [
            (self.unavailable, "× 503"),
            (self.broken, "× refused or broken"),
            (self.unanswered, "× no answer in 3 s"),
            (self.slow, "× slower than 0.5 s"),
        ];
        let what: Vec<String> =
            what.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}")).collect();
        let seen = if what.is_empty() { "nothing".to_owned() } else { what.join(", ") };
        format!("{seen} (of {})", self.posts)
    }
}

impl Report {
    /// Whether enough of the faults found the platform at work.
    pub(super) fn is_worth_something(&self) -> bool {
        self.busy_percent >= BUSY_PERCENT_MIN
    }

    /// A table in Markdown, and a few lines.
    pub(super) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(
            out,
            "\n| fault | rounds | what senders saw | longest without a success | lost | doubled | normal again after, median and longest |"
        )?;
        writeln!(out, "|---|---|---|---|---|---|---|")?;
        for row in &self.kinds {
            writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} | {}, {} |",
                row.fault,
                row.rounds,
                row.seen(),
                seconds(row.without_success_ms),
                row.lost,
                row.doubled,
                seconds(row.normal_after_ms_median),
                seconds(row.normal_after_ms_max),
            )?;
        }
        writeln!(
            out,
            "\n{} rounds met {} claims under way; {} % of them met one, {} % a post in flight",
            self.rounds, self.claims_under_way, self.busy_percent, self.posting_percent
        )?;
        writeln!(
            out,
            "normal again after {} (median), {} at most; above {}: {} rounds",
            seconds(self.normal_after_ms_median),
            seconds(self.normal_after_ms_max),
            seconds(u64::try_from(GOAL.as_millis()).unwrap_or(u64::MAX)),
            self.late
        )?;
        if cfg!(debug_assertions) {
            writeln!(
                out,
                "{} processes died at a named place; {} places that nobody came by in time, so that nothing happened in {} \
                 more rounds: they are in no figure above",
                self.crashes, self.unreached, self.idle
            )?;
        } else {
            writeln!(out, "a release build has no named places at which a process dies: run the debug build for them")?;
        }
        if !self.is_worth_something() {
            writeln!(
                out,
                "fewer than {BUSY_PERCENT_MIN} % of the faults found a claim under way: this shows too little"
            )?;
        }
        Ok(())
    }
}

/// Milliseconds as seconds with two digits.
fn seconds(milliseconds: u64) -> String {
    format!("{}.{:02} s", milliseconds / 1_000, milliseconds % 1_000 / 10)
}

#[cfg(test)]
mod tests {
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
        let doubled =
            Violation { promise: Broken::OpenedTwice, what: String::new(), ids: vec![id, "order 7".to_owned()] };
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
        let rounds =
            |busy: i64| (0..10).map(|number| round(&["a"], 0, 1, i64::from(number < busy))).collect::<Vec<_>>();
        let worth = |busy| report(&rounds(busy), &[], &verdict(Vec::new())).is_worth_something();
        assert!(worth(3));
        assert!(!worth(2));
    }
}
