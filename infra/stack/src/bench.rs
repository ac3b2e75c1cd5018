//! `stack bench`: how fast the platform is on this machine, against what it must reach.
//!
//! Invariant: a figure counts only if everything that was accepted for it is accounted for in PostgreSQL; a lost or
//! doubled signal ends the run with an error, a missed target is only told. Nothing it started goes on running.

mod accept;
mod delivery;
mod ea;
mod error;
mod history;
mod http;
mod money;
mod report;
mod service;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use common::config::optional;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio_util::sync::CancellationToken;

use crate::sandbox::Sandbox;
use crate::servers::{self, Servers};
pub use error::BenchError;
use report::{Conditions, Figure, Report, Target, quantile, rate, sync_time};
use service::Service;

/// Messages of the backlog.
const BACKLOG: usize = 100_000;
/// Terminals that wait at once.
const TERMINALS: usize = 1_000;
/// Longest run of one load.
const SECONDS_MAX: u64 = 60;
/// How long an idle process rests before its memory is read.
const IDLE: Duration = Duration::from_secs(2);
const BARE: &str = "bare confirms of one program";

/// Arguments of `stack bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// The last line is one JSON object with the figures
    #[arg(long, global = true)]
    json: bool,
    /// Where the private servers keep their data; by default a new folder that is removed at the end
    #[arg(long, global = true)]
    data: Option<PathBuf>,
    /// How long each load lasts
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=SECONDS_MAX))]
    seconds: u64,
    /// Only these parts
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum What {
    /// The members' money instead of the signals: what updates, valuations and questions cost with a million members
    Money,
    /// A year of an account's reports: whether what is asked and done now feels it, and what its end takes
    History {
        /// Reports, one a second until now
        #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(i64).range(1..=100_000_000))]
        rows: i64,
    },
    /// The Expert Advisor: how long until its order is at the broker, with a long poll and through the relay
    Ea {
        /// Its program; `./infra/up --terminal native` builds it
        #[arg(long, env = "EA_NATIVE")]
        ea: PathBuf,
    },
}

/// What is measured, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Confirms of one bare program.
    Bare,
    /// Starts, memory at rest, signals over HTTP.
    Accept,
    /// A full queue into PostgreSQL.
    Backlog,
    /// One terminal that waits.
    Terminal,
    /// A thousand of them.
    Terminals,
}

/// Measures everything, then ends all that it started.
pub async fn main(args: Args, stop: CancellationToken) -> Result<ExitCode, BenchError> {
    let named = match (optional("DATABASE_URL")?, optional("AMQP_URL")?) {
        (Some(database_url), Some(amqp_url)) => Some((database_url, amqp_url)),
        (None, None) => None,
        _ => {
            return Err(BenchError::Usage(
                "name both servers, DATABASE_URL and AMQP_URL, or neither to have private ones",
            ));
        }
    };
    // A thousand terminals are two thousand sockets; the services' process inherits the limit.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).map_err(std::io::Error::from)?;
    let fresh = args.data.is_none();
    let data = args.data.clone().unwrap_or_else(|| {
        PathBuf::from("/var/tmp").join(format!("mt5-community-bench-{}", uuid::Uuid::new_v4().simple()))
    });
    let data = std::path::absolute(data)?;
    let outcome = on_servers(&args, &data, named, &stop).await;
    if fresh && data.exists() {
        servers::stop_leftovers(&data).await?;
        std::fs::remove_dir_all(&data)?;
    }
    outcome.map(|()| ExitCode::SUCCESS)
}

async fn on_servers(
    args: &Args,
    data: &Path,
    named: Option<(String, String)>,
    stop: &CancellationToken,
) -> Result<(), BenchError> {
    let private = match &named {
        Some(_) => None,
        None => Some(tokio::select! {
            started = Servers::start(data) => started?,
            () = stop.cancelled() => {
                servers::stop_leftovers(data).await?;
                return Err(BenchError::Stopped);
            }
        }),
    };
    let folder = data.join("bench");
    std::fs::create_dir_all(&folder)?;
    let (database_url, amqp_url) = match (&private, named) {
        (Some(servers), _) => (servers.database_url.clone(), servers.amqp_url.clone()),
        (None, Some(named)) => named,
        (None, None) => return Err(BenchError::Usage("no servers")),
    };
    let lasts = Duration::from_secs(args.seconds);
    let mut bench = Bench { database_url, amqp_url, folder, lasts, stop: stop.clone(), report: Report::default() };
    let outcome = match &args.what {
        None => bench.run(&args.only).await.map(|()| "every accepted signal is accounted for"),
        Some(What::Money) => bench.money().await.map(|()| "every update was applied and the books prove every balance"),
        Some(What::History { rows }) => {
            bench.history(*rows).await.map(|()| "the books prove every balance with the whole past and without it")
        }
        Some(What::Ea { ea }) => bench.expert_advisor(ea).await.map(|()| "every signal has one order and is executed"),
    };
    let outcome = outcome.and_then(|accounted| Ok(bench.report.end(accounted, args.json)?));
    std::fs::remove_dir_all(&bench.folder)?;
    if let Some(servers) = private {
        servers.stop().await?;
    }
    outcome
}

struct Bench {
    database_url: String,
    amqp_url: String,
    /// For the log of the services and the look at the disk.
    folder: PathBuf,
    lasts: Duration,
    stop: CancellationToken,
    report: Report,
}

impl Bench {
    async fn run(&mut self, only: &[Part]) -> Result<(), BenchError> {
        let wanted = |part| only.is_empty() || only.contains(&part);
        let accounts: Vec<String> = (0..TERMINALS).map(|number| format!("bench-{number:04}")).collect();
        let mut memory: f64 = 0.0;
        Report::begin()?;
        if wanted(Part::Bare) {
            self.in_sandbox(&[], Self::bare).await?;
        }
        if wanted(Part::Accept) {
            memory = memory.max(self.in_sandbox(&[], Self::accepting).await?);
        }
        if wanted(Part::Backlog) {
            memory = memory.max(self.in_sandbox(&[], Self::backlog).await?);
        }
        if wanted(Part::Terminal) {
            memory = memory.max(self.in_sandbox(&[], Self::one_terminal).await?);
        }
        if wanted(Part::Terminals) {
            memory = memory.max(self.in_sandbox(&accounts, Self::many_terminals).await?);
        }
        let conditions = Conditions { sync: sync_time(&self.folder)?, ..Conditions::default() };
        self.add("resident after the runs, the most", memory, "MB", Target::AtMost(150.0), conditions)
    }

    /// Measures with a database and queues of its own, which are removed whatever comes of it.
    async fn in_sandbox<T>(
        &mut self,
        accounts: &[String],
        measure: impl AsyncFnOnce(&mut Self, &Sandbox) -> Result<T, BenchError>,
    ) -> Result<T, BenchError> {
        let sandbox = Sandbox::create(&self.database_url, &self.amqp_url, accounts).await?;
        let stop = self.stop.clone();
        let outcome = tokio::select! {
            outcome = measure(self, &sandbox) => outcome,
            () = stop.cancelled() => Err(BenchError::Stopped),
        };
        sandbox.remove().await?;
        outcome
    }

    fn add(
        &mut self,
        name: &'static str,
        value: f64,
        unit: &'static str,
        target: Target,
        conditions: Conditions,
    ) -> Result<(), BenchError> {
        Ok(self.report.add(Figure { name, value, unit, target, conditions })?)
    }

    fn conditions(&self, clients: usize, in_flight: usize, lasted: Duration) -> Result<Conditions, BenchError> {
        Ok(Conditions { clients, in_flight, lasted, sync: sync_time(&self.folder)? })
    }

    async fn bare(&mut self, sandbox: &Sandbox) -> Result<(), BenchError> {
        let load = accept::bare(sandbox, self.lasts).await?;
        let conditions = self.conditions(1, accept::CLIENTS, load.lasted)?;
        self.add(BARE, rate(load.counted, load.lasted), "/s", Target::None, conditions)
    }

    /// Starts, memory at rest, and signals over HTTP. Returns the memory after them.
    async fn accepting(&mut self, sandbox: &Sandbox) -> Result<f64, BenchError> {
        let at_rest = self.conditions(0, 0, Duration::ZERO)?;
        let (service, took) = Service::ready(sandbox, &self.folder).await?;
        self.add("ready after start, empty database", took.as_secs_f64(), "s", Target::None, at_rest)?;
        service.stop().await?;
        let (service, took) = Service::ready(sandbox, &self.folder).await?;
        self.add("ready after start", took.as_secs_f64(), "s", Target::AtMost(0.5), at_rest)?;
        tokio::time::sleep(IDLE).await;
        self.add("resident, idle", service.resident_megabytes()?, "MB", Target::AtMost(40.0), at_rest)?;

        let load = accept::over_http(service.address, sandbox.keys.generator(), self.lasts).await?;
        let answered = Instant::now();
        accept::stored(&mut sandbox.database().await?, load.accepted, load.unknown).await?;
        let behind = answered.elapsed();
        let conditions = self.conditions(accept::CLIENTS, accept::CLIENTS, load.lasted)?;
        let per_second = rate(load.counted, load.lasted);
        self.add("signals accepted over HTTP", per_second, "/s", Target::AtLeast(10_000.0), conditions)?;
        if let Some(bare) = self.report.value(BARE) {
            self.add("  part of the bare confirms", per_second / bare, "", Target::AtLeast(0.4), conditions)?;
        }
        self.add("  POST to answer, p50", quantile(&load.latencies, 0.5), "ms", Target::None, conditions)?;
        self.add("  POST to answer, p99", quantile(&load.latencies, 0.99), "ms", Target::AtMost(20.0), conditions)?;
        self.add("  until all are in PostgreSQL", behind.as_secs_f64(), "s", Target::None, conditions)?;
        let memory = service.resident_megabytes()?;
        service.stop().await?;
        Ok(memory)
    }

    async fn backlog(&mut self, sandbox: &Sandbox) -> Result<f64, BenchError> {
        // One start before, so that the schema is there, as it is after an outage.
        Service::ready(sandbox, &self.folder).await?.0.stop().await?;
        accept::fill(sandbox, BACKLOG).await?;
        let mut db = sandbox.database().await?;
        let service = Service::start(sandbox, &self.folder)?;
        let count = u64::try_from(BACKLOG).unwrap_or(u64::MAX);
        accept::stored(&mut db, count, 0).await?;
        let lasted = service.started.elapsed();
        let conditions = self.conditions(1, BACKLOG, lasted)?;
        self.add(
            "backlog into PostgreSQL, with the start",
            rate(count, lasted),
            "/s",
            Target::AtLeast(20_000.0),
            conditions,
        )?;
        let memory = service.resident_megabytes()?;
        service.stop().await?;
        Ok(memory)
    }

    async fn one_terminal(&mut self, sandbox: &Sandbox) -> Result<f64, BenchError> {
        let (service, _) = Service::ready(sandbox, &self.folder).await?;
        let accounts = vec![("main".to_owned(), sandbox.keys.terminal().to_owned())];
        let mut db = sandbox.database().await?;
        let delivered =
            delivery::measure(service.address, sandbox.keys.generator(), accounts, self.lasts, &mut db).await?;
        let conditions = self.conditions(1, 1, delivered.lasted)?;
        let value = |part| quantile(&delivered.latencies, part);
        self.add("answer to terminal at 200 signals/s, p50", value(0.5), "ms", Target::AtMost(3.0), conditions)?;
        self.add("answer to terminal at 200 signals/s, p99", value(0.99), "ms", Target::AtMost(10.0), conditions)?;
        let memory = service.resident_megabytes()?;
        service.stop().await?;
        Ok(memory)
    }

    async fn many_terminals(&mut self, sandbox: &Sandbox) -> Result<f64, BenchError> {
        let (service, _) = Service::ready(sandbox, &self.folder).await?;
        let mut db = sandbox.database().await?;
        delivery::register(sandbox, &mut db).await?;
        let accounts = sandbox.terminals.clone().into_iter().collect();
        let delivered =
            delivery::measure(service.address, sandbox.keys.generator(), accounts, self.lasts, &mut db).await?;
        let conditions = self.conditions(TERMINALS, TERMINALS, delivered.lasted)?;
        let value = |part| quantile(&delivered.latencies, part);
        self.add("answer to one of 1,000 terminals, p50", value(0.5), "ms", Target::None, conditions)?;
        self.add("answer to one of 1,000 terminals, p99", value(0.99), "ms", Target::AtMost(50.0), conditions)?;
        let memory = service.resident_megabytes()?;
        service.stop().await?;
        Ok(memory)
    }
}
