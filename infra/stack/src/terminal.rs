//! A simulated trading terminal with its Expert Advisor: it takes signals over HTTP, trades them at a [`Market`], confirms.
//!
//! It behaves as the contract demands of the real one, which makes it the test of that contract; faults make it misbehave
//! on purpose. Its invariant: for one opening signal `OrderSend` is called in one attempt only, whatever crashes or is redelivered.

mod account;
mod api;
mod close;
mod config;
mod execute;
mod journal;
mod look_up;
mod old;
mod poll;
mod report;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rust_decimal::Decimal;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::market::{self, Market, MarketConfig, Request, Response, SymbolSpec, now};
use api::Api;
use journal::Journal;

pub use crate::market::SharedMarket;
pub use config::{Args, Config, Fault};
pub use wire::{Action, Mode, Status};

/// How often the terminal looks for deals that it did not make itself.
const WATCH_EVERY: Duration = Duration::from_millis(100);
/// Pause after an empty answer that came at once, so that a server which does not wait is not flooded.
const EMPTY_PAUSE: Duration = Duration::from_millis(50);
/// How long a stopping terminal goes on with the confirmation under way, and then with those behind it.
const FLUSH: Duration = Duration::from_secs(1);

/// Something that happened, for whoever watches.
#[derive(Debug, Clone)]
pub enum Event {
    /// A signal was claimed.
    Received {
        /// Its number.
        id: u64,
        /// What it asks for.
        action: Action,
        /// Its symbol, if it has one.
        symbol: Option<String>,
        /// How long the server held the poll.
        held_ms: u64,
        /// Life left; none: never expires.
        remaining_ms: Option<i64>,
    },
    /// `OrderSend` came back.
    Executed {
        /// The signal's number.
        id: u64,
        /// The order's symbol.
        symbol: String,
        /// Ticket of the order, 0 without one.
        ticket: u64,
        /// The fill price, 0 without a deal.
        price: Decimal,
        /// Filled lots.
        volume: Decimal,
        /// What the broker answered.
        retcode: u32,
    },
    /// The platform has a report.
    Acknowledged {
        /// The signal's number, where the report has one.
        id: Option<u64>,
        /// What was reported.
        status: Status,
        /// Ticket of the position or order.
        ticket: Option<u64>,
    },
    /// A price of a watched symbol.
    Price {
        /// The symbol's name.
        symbol: String,
        /// What a seller gets.
        bid: Decimal,
        /// What a buyer pays.
        ask: Decimal,
    },
    /// An account update was taken.
    Account {
        /// Sum of all deals.
        balance: Decimal,
        /// With floating profit and credit.
        equity: Decimal,
        /// Floating profit.
        profit: Decimal,
        /// Number of open positions.
        open_positions: usize,
    },
    /// Something failed; the terminal goes on.
    Error {
        /// What failed.
        message: String,
    },
}

/// Why a terminal ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The market can't be opened.
    #[error(transparent)]
    Market(#[from] market::Error),
    /// The journal can't be read or written: without it nothing may be sent.
    #[error("the journal can't be used: {0}")]
    Journal(#[from] std::io::Error),
    /// The HTTP client can't be made.
    #[error("the HTTP client can't be made: {0}")]
    Client(#[from] reqwest::Error),
    /// An injected crash.
    #[error("crashed as asked: {0:?}")]
    Crashed(Fault),
}

/// Runs one terminal with a market of its own until `stop`.
pub async fn main(args: Args, stop: CancellationToken) -> Result<(), Error> {
    let folder = args.data.as_deref();
    let specs = args.symbols.iter().map(|name| SymbolSpec::named(name)).collect();
    let market_config = MarketConfig { seed: args.seed, symbols: specs, ..MarketConfig::default() };
    let market = Market::open(folder.map(|data| data.join("market")).as_deref(), market_config, now())?;
    let config = Config {
        account: args.account,
        symbols: args.symbols,
        latency: Duration::from_millis(args.latency_ms),
        faults: args.faults,
        journal: folder.map(|data| data.join("journal.jsonl")),
        ..Config::new(args.url, args.key, reqwest::Client::builder().no_proxy().build()?)
    };
    let (events, mut seen) = mpsc::unbounded_channel();
    let log = async {
        while let Some(event) = seen.recv().await {
            match event {
                Event::Error { .. } => {} // the terminal logged it
                Event::Price { .. } => tracing::debug!(?event),
                _ => info!(?event),
            }
        }
    };
    let (result, ()) = tokio::join!(run(config, Arc::new(Mutex::new(market)), Some(events), stop), log);
    result
}

/// Runs one terminal until `stop`, or until it can't go on.
pub async fn run(
    config: Config,
    market: SharedMarket,
    events: Option<mpsc::UnboundedSender<Event>>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let mut journal = Journal::open(config.journal.as_deref())?;
    let kept = journal.terminal.clone();
    let id = config.terminal_id.clone().or_else(|| kept.clone()).unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    if kept.as_ref() != Some(&id) {
        journal.name_terminal(&id)?;
    }
    info!(terminal = id, account = config.account, "terminal started");
    let terminal = Terminal {
        api: Api { client: config.client.clone(), url: config.url.clone(), key: config.key.clone() },
        id,
        session: uuid::Uuid::new_v4().to_string(),
        market,
        events,
        stop,
        hung: CancellationToken::new(),
        reconciled: CancellationToken::new(),
        report_waits: Notify::new(),
        traded: Notify::new(),
        desk: Mutex::new(Desk::new(journal)),
        config,
    };
    if terminal.has(Fault::OldProtocol) {
        return terminal.run_old().await;
    }
    let work = async {
        tokio::try_join!(
            terminal.poll(),
            terminal.reconcile(),
            terminal.deliver(),
            terminal.watch(),
            terminal.update()
        )?;
        terminal.flush().await
    };
    tokio::select! {
        result = work => result,
        () = terminal.hung.cancelled() => {
            terminal.stop.cancelled().await;
            Ok(())
        }
    }
}

/// One terminal at work. All of its parts run in one task, so what happens between two awaits is seen by none of them.
struct Terminal {
    config: Config,
    id: String,
    /// This run of it.
    session: String,
    market: SharedMarket,
    api: Api,
    events: Option<mpsc::UnboundedSender<Event>>,
    stop: CancellationToken,
    /// The fault that makes it do nothing any more.
    hung: CancellationToken,
    /// The first question for unresolved signals was answered.
    reconciled: CancellationToken,
    report_waits: Notify,
    traded: Notify,
    desk: Mutex<Desk>,
}

/// What it knows; never locked across an await.
struct Desk {
    journal: Journal,
    /// Signals claimed in this run that are still to be dealt with.
    in_hand: HashSet<u64>,
    /// When an unresolved attempt was first looked up.
    first_seen: HashMap<(u64, u64), Instant>,
    /// Reports that a fault delays.
    delayed: HashMap<u64, Instant>,
    /// Magic numbers of the positions seen so far.
    openings: HashMap<u64, u64>,
    deals_seen: u64,
    orders_seen: usize,
    ticked_at: Instant,
}

impl Desk {
    fn new(journal: Journal) -> Self {
        Self {
            journal,
            in_hand: HashSet::new(),
            first_seen: HashMap::new(),
            delayed: HashMap::new(),
            openings: HashMap::new(),
            deals_seen: 0,
            orders_seen: 0,
            ticked_at: Instant::now(),
        }
    }
}

impl Terminal {
    /// Who asks: this installation, this run of it, this account.
    fn asker(&self) -> Vec<(&'static str, String)> {
        let login = self.market().account().login.to_string();
        vec![
            ("protocol", "2".to_owned()),
            ("terminal", self.id.clone()),
            ("session", self.session.clone()),
            ("login", login),
        ]
    }

    fn has(&self, fault: Fault) -> bool {
        self.config.faults.contains(&fault)
    }

    /// Dies of a fault that happens once, if it is due.
    fn crash_once(&self, fault: Fault) -> Result<(), Error> {
        if self.has(fault) && !self.desk().journal.crashed.contains(&fault) {
            self.desk().journal.crashed(fault)?;
            return Err(Error::Crashed(fault));
        }
        Ok(())
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn market(&self) -> MutexGuard<'_, Market> {
        self.market.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, request: Request) -> Response {
        self.market().call(request, now())
    }

    /// None once the terminal is to stop.
    async fn or_stop<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            value = future => Some(value),
        }
    }

    fn tell(&self, event: impl FnOnce() -> Event) {
        if let Some(events) = &self.events {
            // Nobody listening any more is no reason to stop trading.
            let _ = events.send(event());
        }
    }

    fn error(&self, message: String) {
        warn!(terminal = self.id, "{message}");
        self.tell(|| Event::Error { message });
    }
}
