//! `stack faults`: the platform as separate processes, disturbed in every way that a seed chooses, under load; then all is
//! drained, and `stack check` judges what happened.
//!
//! Invariant: it ends by itself, in a time that the number of rounds bounds, and nothing it started goes on running.

pub mod choices;
mod crash;
mod fault;
mod load;
mod program;
pub mod proxy;
mod report;
mod stage;
mod store;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use tokio_util::sync::CancellationToken;

use crate::check::{self, CheckError, Verdict};
use crate::client::{Client, ClientError};
use crate::market::now;
use crate::sandbox::lift_limits;
use crate::servers::ServersError;
use choices::Choices;
use fault::{Deck, Fault};
use load::{Load, Sender};
use report::{Report, Round};
use stage::{Link, Stage};

/// Longest run.
const ROUNDS_MAX: i64 = 1_000;
/// A longer run is under as much less load, so that the history which it leaves, and which terminals read at their start,
/// is as long as that of so many rounds.
const LOUD_ROUNDS: u32 = 150;
/// Between two signals of a sender.
const PACE: Duration = Duration::from_millis(80);
/// Load between two rounds.
const CALM: (u64, u64) = (750, 1_750);
/// Load before the first one: RabbitMQ 3.10 does not recover a queue that is younger than 2 s.
const WARM_UP: Duration = Duration::from_secs(3);
/// How long a fault waits for claims that are under way, and how long of that for posts in flight as well.
const BUSY: Duration = Duration::from_secs(1);
const POSTING: Duration = Duration::from_millis(300);
/// From the end of a fault until a signal goes the whole way again.
const NORMAL_DEADLINE: Duration = Duration::from_mins(1);
/// How long a signal may take before another one is sent to see whether all is normal.
const PROBE: Duration = Duration::from_secs(2);
/// A claim whose terminal died is judged after its lease of 30 s and a look-up; what waited behind it then has its turn.
const DRAIN_DEADLINE: Duration = Duration::from_mins(2);
/// After the last signal has ended, the last report and valuation follow within seconds; what is wrong then stays wrong.
const SETTLED: Duration = Duration::from_secs(15);

/// Arguments of `stack faults`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How often something goes wrong
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=ROUNDS_MAX))]
    rounds: u32,
    /// Repeats the choices of an earlier run
    #[arg(long)]
    seed: Option<u64>,
    /// The last line is one JSON object
    #[arg(long)]
    json: bool,
    /// A new folder for everything; by default a temporary one, which is removed unless a promise was broken
    #[arg(long)]
    data: Option<PathBuf>,
    /// The Expert Advisor's own program in the simulated terminal's place; `./infra/up --terminal native` builds it
    #[arg(long, env = "EA_NATIVE")]
    ea: Option<PathBuf>,
}

/// Why the run came to no end.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum FaultsError {
    #[error(transparent)]
    Servers(#[from] ServersError),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Database(#[from] sqlx::Error),
    #[error("{0}")]
    Client(#[from] ClientError),
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    #[error("no randomness: {0}")]
    Random(#[from] getrandom::Error),
    #[error("a part of the load stumbled: {0}")]
    Load(#[from] tokio::task::JoinError),
    #[error("{0} names no address")]
    Address(String),
    #[error("{0} was told to end, and did not in order")]
    Stopped(&'static str),
    #[error("somebody took the file of {0}, and no {1} ended")]
    Undead(&'static str, &'static str),
    #[error("not back to normal {1:?} after {0}; the logs are in {2}")]
    NotNormal(&'static str, Duration, PathBuf),
    #[error("stopped before the end")]
    Interrupted,
}

/// Runs it; fails where a promise was broken.
pub async fn main(args: Args, stop: CancellationToken) -> Result<ExitCode, FaultsError> {
    let seed = args.seed.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0 % 1_000_000);
    let folder = match &args.data {
        Some(data) => data.clone(),
        None => std::env::temp_dir().join(format!("stack-faults-{}", uuid::Uuid::new_v4().simple())),
    };
    make_folder(&folder)?;
    leave_no_cores()?;
    writeln!(std::io::stdout(), "seed {seed}   logs, books and data in {}", folder.display())?;
    let outcome = tokio::select! {
        outcome = run(&args, seed, &folder) => outcome,
        () = stop.cancelled() => Err(FaultsError::Interrupted),
    };
    // Whatever was cut short: the programs ended with the stage, the servers outlive it.
    crate::servers::stop_leftovers(&folder.join("servers")).await?;
    let Outcome { rounds, report, verdict, astray } = outcome?;
    let kept = verdict.violations.is_empty() && astray.is_empty();
    let mut out = std::io::stdout().lock();
    report.print(&mut out)?;
    verdict.print(&mut out)?;
    if !astray.is_empty() {
        writeln!(out, "ended by itself, or not in order: {}", astray.join(", "))?;
    }
    if args.json {
        let all = json!({"seed": seed, "rounds": rounds, "report": report, "verdict": verdict, "astray": astray});
        writeln!(out, "{all}")?;
    }
    if kept && args.data.is_none() {
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(if kept && report.is_worth_something() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What dies at a named place is no failure to look into.
fn leave_no_cores() -> std::io::Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    Ok(setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?)
}

/// One that the servers' users can pass through.
fn make_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().mode(0o711).create(folder)
}

/// What a run came to.
struct Outcome {
    rounds: Vec<Round>,
    report: Report,
    verdict: Verdict,
    /// What ended by itself, or not in order.
    astray: Vec<&'static str>,
}

async fn run(args: &Args, seed: u64, folder: &Path) -> Result<Outcome, FaultsError> {
    let mut choices = Choices::new(seed);
    let mut stage = Stage::start(folder, args.ea.as_deref()).await?;
    let operator = stage.keys.operator().to_owned();
    let senders = stage.url(Link::Senders);
    let members = Client::new(&stage.url(Link::Members), &operator)?;
    let pace = PACE * args.rounds.max(LOUD_ROUNDS) / LOUD_ROUNDS;
    let mut load = Load::start(folder, stage.keys.generator(), &senders, pace, members, &mut choices)?;
    let log = folder.join("probe.jsonl");
    let mut probe = Sender::new("probe", &senders, &operator, &log, Arc::new(AtomicUsize::new(0)))?;
    let posting = load.logs.clone();
    load.logs.push(log);
    normal(&mut stage, &mut probe, folder).await?;
    // The gate would soon let nothing through, and there would be little to judge.
    lift_limits(&mut PgConnection::connect(&stage.servers.database_url).await?).await?;
    tokio::time::sleep(WARM_UP).await;
    let mut deck = Deck::new(&stage.names());
    let mut rounds = Vec::new();
    for number in 1..=args.rounds {
        tokio::time::sleep(choices.millis(CALM.0, CALM.1)).await;
        let faults = deck.deal(&mut choices);
        let round = play(&mut stage, &load, &mut probe, faults, folder).await?;
        writeln!(
            std::io::stdout(),
            "round {number}  {}: {} claims under way, {} posts in flight; normal {} ms after",
            round.faults.join(" and "),
            round.claims_under_way,
            round.posts_in_flight,
            round.normal_after_ms
        )?;
        rounds.push(round);
    }
    let logs = load.finish().await?;
    let verdict = drain(&stage, &logs).await?;
    let mut posts = Vec::new();
    for log in posting {
        posts.extend(check::log::read(&log)?);
    }
    let report = report::report(&rounds, &posts, &verdict);
    Ok(Outcome { rounds, report, verdict, astray: stage.stop().await? })
}

/// One round: lets these things go wrong, mends them, and waits until all is normal.
async fn play(
    stage: &mut Stage,
    load: &Load,
    probe: &mut Sender,
    mut faults: Vec<Fault>,
    folder: &Path,
) -> Result<Round, FaultsError> {
    let (claims_under_way, posts_in_flight) = busy(stage, load).await?;
    let began_at = now();
    let (mut kinds, mut unreached) = (Vec::new(), Vec::new());
    for fault in &faults {
        let happened = stage.inject(fault).await?;
        if happened { &mut kinds } else { &mut unreached }.push(fault.what.kind());
    }
    let began = Instant::now();
    faults.sort_by_key(|fault| fault.lasts);
    for fault in &faults {
        tokio::time::sleep(fault.lasts.saturating_sub(began.elapsed())).await;
        stage.lift(fault).await?;
    }
    let normal_after = normal(stage, probe, folder).await?;
    let told = |fault: &Fault| {
        let nobody = unreached.contains(&fault.what.kind());
        format!("{fault}{}", if nobody { " (nobody came by)" } else { "" })
    };
    Ok(Round {
        faults: faults.iter().map(told).collect(),
        kinds,
        unreached,
        claims_under_way,
        posts_in_flight,
        normal_after_ms: u64::try_from(normal_after.as_millis()).unwrap_or(u64::MAX),
        began_at,
        ended_at: now(),
    })
}

/// Waits for a moment at which a terminal has signals in its hands and senders wait for answers, for a while: a fault that
/// finds nobody at work shows little. How many of both there are.
async fn busy(stage: &Stage, load: &Load) -> Result<(i64, usize), FaultsError> {
    let began = Instant::now();
    loop {
        let (claims, _) = store::under_way(&stage.servers.database_url).await?;
        let posts = load.in_flight();
        let at_work = claims > 0 && (posts > 0 || began.elapsed() > POSTING);
        if at_work || began.elapsed() > BUSY {
            return Ok((claims, posts));
        }
    }
}

/// Waits until every service is ready and a signal goes the whole way, from its sender to the terminal and back.
async fn normal(stage: &mut Stage, probe: &mut Sender, folder: &Path) -> Result<Duration, FaultsError> {
    let began = Instant::now();
    while began.elapsed() < NORMAL_DEADLINE {
        let asked = Instant::now();
        let key = probe.next_key();
        let (_, signal_id) = probe.post(&key, &json!({"action": "PING"})).await?;
        while let Some(signal_id) = signal_id
            && asked.elapsed() < PROBE
        {
            let executed = store::is_executed(&stage.servers.database_url, signal_id).await.unwrap_or(false);
            if stage.is_ready().await? && executed {
                return Ok(began.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(FaultsError::NotNormal("a fault", NORMAL_DEADLINE, folder.to_owned()))
}

/// Waits until nothing is under way, and judges. What is wrong each time that it looks, until a while after the last signal
/// ended, stays wrong: accounts go on being reported, and each report is ahead of the shares for a moment.
async fn drain(stage: &Stage, logs: &[PathBuf]) -> Result<Verdict, FaultsError> {
    let began = Instant::now();
    let mut settled: Option<Instant> = None;
    let mut best: Option<Verdict> = None;
    loop {
        let (_, open) = store::under_way(&stage.servers.database_url).await?;
        settled = if open == 0 { settled.or_else(|| Some(Instant::now())) } else { None };
        let waited = settled.is_some_and(|at| at.elapsed() > SETTLED) || began.elapsed() > DRAIN_DEADLINE;
        // All that ever happened is read for it: only where it can be the last time.
        if open == 0 || waited {
            let mut db = PgConnection::connect(&stage.servers.database_url).await?;
            let verdict = check::judge(&check::read(&mut db, logs, &stage.market(), "main", Duration::ZERO).await?);
            db.close().await?;
            if best.as_ref().is_none_or(|best| verdict.violations.len() < best.violations.len()) {
                best = Some(verdict);
            }
        }
        if let Some(verdict) = best.take_if(|best| best.violations.is_empty() || waited) {
            return Ok(verdict);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
