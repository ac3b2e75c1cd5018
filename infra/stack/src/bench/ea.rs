//! How long a signal takes from the answer to its sender until the Expert Advisor's order reaches the broker: positions are
//! opened and closed in turn, so that no more than one of each symbol is open.
//!
//! Invariant: every signal that was answered has exactly one order at the market and ends executed, or the run fails.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::clock::Clock;
use hdrhistogram::Histogram;
use serde::Deserialize;
use sqlx::PgConnection;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::accept::counted;
use super::http::{Connection, post};
use super::report::{Report, Target, latencies, note, quantile};
use super::service::Service;
use super::{Bench, BenchError};
use crate::market::{self, DealType, Market, MarketConfig, SharedMarket, SymbolSpec};
use crate::platform::write_private;
use crate::sandbox::{Sandbox, lift_limits};

/// Signals posted per second.
const PER_SECOND: u32 = 50;
/// Symbols in turn: signals of one symbol wait for each other.
const SYMBOLS: usize = 25;
/// Longest wait for what is still on its way at the end.
const END_DEADLINE: Duration = Duration::from_secs(15);
/// How often the end is looked for.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Deserialize)]
struct Accepted {
    signal_id: Uuid,
}

/// What was measured.
struct Ordered {
    latencies: Histogram<u64>,
    lasted: Duration,
    /// How long after the last answer the last order came.
    behind: Duration,
}

fn symbol(n: usize) -> String {
    let letter = |n: usize| char::from(b'A' + u8::try_from(n % 26).unwrap_or_default());
    format!("B{}{}USD", letter(n / 26), letter(n))
}

impl Bench {
    /// From the answer to a signal's sender to the order at the broker, both ways.
    pub(super) async fn expert_advisor(&mut self, program: &Path) -> Result<(), BenchError> {
        let key = |sandbox: &Sandbox| format!("InpKey={}\nInpWaitMs=1000\n", sandbox.keys.terminal());
        Report::begin()?;
        self.in_sandbox(&[], async |bench, sandbox| {
            let (service, _) = Service::ready(sandbox, &bench.folder).await?;
            let url = format!("http://{}", service.address);
            let inputs = key(sandbox);
            let ordered = measure((program, &inputs), &url, (&service, sandbox), &bench.folder, bench.lasts).await?;
            bench.ordered(
                &ordered,
                ["answer to order, long poll, p50", "answer to order, long poll, p99"],
                [5.0, 15.0],
            )?;
            service.stop().await
        })
        .await?;
        self.in_sandbox(&[], async |bench, sandbox| {
            let (service, _) = Service::ready(sandbox, &bench.folder).await?;
            let (stop, listener) = (CancellationToken::new(), TcpListener::bind("127.0.0.1:0").await?);
            let url = format!("http://{}", listener.local_addr()?);
            let (dispatcher, key) = (format!("http://{}", service.address), sandbox.keys.terminal().to_owned());
            let ending = stop.clone();
            let relay = tokio::spawn(async move { mt5_bridge::relay_alone(listener, &dispatcher, &key, ending).await });
            let inputs = "InpWaitMs=0\nInpTimerMs=25\n";
            let ordered = measure((program, inputs), &url, (&service, sandbox), &bench.folder, bench.lasts).await?;
            stop.cancel();
            relay.await?.map_err(BenchError::Refused)?;
            bench.ordered(
                &ordered,
                ["answer to order, relay and 25 ms polls, p50", "answer to order, relay and 25 ms polls, p99"],
                [25.0, 40.0],
            )?;
            service.stop().await
        })
        .await
    }

    fn ordered(&mut self, ordered: &Ordered, names: [&'static str; 2], most: [f64; 2]) -> Result<(), BenchError> {
        let conditions = self.conditions(1, 1, ordered.lasted)?;
        for ((name, part), most) in names.into_iter().zip([0.5, 0.99]).zip(most) {
            self.add(name, quantile(&ordered.latencies, part), "ms", Target::AtMost(most), conditions)?;
        }
        self.add("  behind at the end", ordered.behind.as_secs_f64() * 1_000.0, "ms", Target::AtMost(100.0), conditions)
    }
}

/// Posts signals at a constant rate to the services while the Expert Advisor trades them, through `url`.
async fn measure(
    (program, inputs): (&Path, &str),
    url: &str,
    (service, sandbox): (&Service, &Sandbox),
    folder: &Path,
    lasts: Duration,
) -> Result<Ordered, BenchError> {
    let symbols = (0..SYMBOLS).map(|n| SymbolSpec::named(&symbol(n))).collect();
    let config = MarketConfig { symbols, deposit: 100_000_000.into(), ..MarketConfig::default() };
    let opened =
        Market::open(None, config, Clock::default().now()).map_err(|error| BenchError::Lost(error.to_string()))?;
    let market: SharedMarket = Arc::new(Mutex::new(opened));
    let folder = folder.join("ea");
    std::fs::create_dir_all(folder.join("files"))?;
    let listener = market::listen(&folder.join("market")).await.map_err(|error| BenchError::Lost(error.to_string()))?;
    let stop = CancellationToken::new();
    let serving = tokio::spawn(market::serve(listener, Arc::clone(&market), stop.clone(), None));
    let mut child = start(program, &folder, url, inputs)?;
    let mut db = sandbox.database().await?;
    lift_limits(&mut db).await?;
    let outcome = trade(service, sandbox.keys.generator(), &market, lasts, &mut db).await;
    child.kill().await?;
    stop.cancel();
    serving.await?;
    std::fs::remove_dir_all(&folder)?;
    outcome
}

fn start(program: &Path, folder: &Path, url: &str, inputs: &str) -> Result<Child, BenchError> {
    let set = folder.join("inputs.set");
    write_private(&set, &format!("InpUrl={url}\n{inputs}"))?;
    let log = std::fs::File::create(folder.join("log"))?;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).arg(program).arg("--market").arg(folder.join("market"));
    command.arg("--files").arg(folder.join("files")).arg("--inputs").arg(&set);
    command.args(["--symbol", &symbol(0), "--allow", url]).stdin(Stdio::null()).stdout(log);
    Ok(command.kill_on_drop(true).spawn()?)
}

async fn trade(
    service: &Service,
    key: &str,
    market: &SharedMarket,
    lasts: Duration,
    db: &mut PgConnection,
) -> Result<Ordered, BenchError> {
    let began = Instant::now();
    while counted(db, "select count(*) from terminals").await? == 0 {
        if began.elapsed() > END_DEADLINE {
            return Err(BenchError::Refused("the Expert Advisor does not poll".to_owned()));
        }
        tokio::time::sleep(LOOK).await;
    }
    let (mut connection, clock) = (Connection::open(service.address).await?, Clock::default());
    let mut answered: Vec<(Uuid, OffsetDateTime)> = Vec::new();
    let (started, pause) = (Instant::now(), Duration::from_secs(1) / PER_SECOND);
    for slot in 0.. {
        let at = pause * slot;
        if at >= lasts {
            break;
        }
        tokio::time::sleep_until((started + at).into()).await;
        let n = usize::try_from(slot).unwrap_or_default();
        let action = if (n / SYMBOLS).is_multiple_of(2) { "BUY" } else { "CLOSE" };
        let body = format!(r#"{{"symbol":"{}","action":"{action}","volume":0.01}}"#, symbol(n % SYMBOLS));
        let answer = connection.exchange(&post("/api/signal", key, Some(&format!("ea-{slot}")), &body)).await?;
        let answered_at = clock.now();
        if answer.status != 200 {
            return Err(BenchError::Refused(format!("a signal: {}", answer.status)));
        }
        answered.push((serde_json::from_slice::<Accepted>(answer.body)?.signal_id, answered_at));
    }
    let lasted = started.elapsed();
    let all = u64::try_from(answered.len()).unwrap_or(u64::MAX);
    let ended = Instant::now();
    while counted(db, "select count(*) from signals where state = 'executed'").await? < all {
        if ended.elapsed() > END_DEADLINE {
            return Err(BenchError::Lost("not every signal is executed".to_owned()));
        }
        tokio::time::sleep(LOOK).await;
    }
    let numbers: HashMap<Uuid, i64> =
        sqlx::query_as("select signal_id, id from signals").fetch_all(db).await?.into_iter().collect();
    compare(&answered, &numbers, market, lasted)
}

/// Each signal has one order; how long after its answer that came.
fn compare(
    answered: &[(Uuid, OffsetDateTime)],
    numbers: &HashMap<Uuid, i64>,
    market: &SharedMarket,
    lasted: Duration,
) -> Result<Ordered, BenchError> {
    let mut orders: HashMap<i64, OffsetDateTime> = HashMap::new();
    {
        let market = market.lock().unwrap_or_else(PoisonError::into_inner);
        for deal in market.deals().iter().filter(|deal| deal.deal_type != DealType::Balance) {
            let id = i64::try_from(deal.magic % 1_000_000_000_000).unwrap_or_default();
            if orders.insert(id, deal.at).is_some() {
                return Err(BenchError::Lost(format!("signal #{id} has two orders")));
            }
        }
    }
    let (mut latencies, mut last) = (latencies()?, OffsetDateTime::UNIX_EPOCH);
    for (signal_id, answered_at) in answered {
        let ordered_at = numbers.get(signal_id).and_then(|id| orders.remove(id));
        let ordered_at = ordered_at.ok_or_else(|| BenchError::Lost(format!("signal {signal_id} has no order")))?;
        note(&mut latencies, (ordered_at - *answered_at).try_into().unwrap_or_default());
        last = last.max(ordered_at);
    }
    if !orders.is_empty() {
        return Err(BenchError::Lost("orders of no signal".to_owned()));
    }
    let behind = answered.last().map_or(Duration::ZERO, |(_, at)| (last - *at).try_into().unwrap_or_default());
    Ok(Ordered { latencies, lasted, behind })
}
