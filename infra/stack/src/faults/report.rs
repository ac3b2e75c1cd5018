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
mod tests;
