//! How a terminal behaves, and how it misbehaves when asked to.
//!
//! The defaults are those of the contract; only tests and fault runs need others.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// One way to misbehave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Trades, and never says so.
    NeverConfirm,
    /// Says everything twice.
    ConfirmTwice,
    /// Says it only after the lease.
    ConfirmLate,
    /// Claims signals, then does nothing any more.
    HangWithClaim,
    /// Dies after a fill, before it is written down or reported; once.
    CrashAfterFill,
    /// Dies after the claim, before the order send; once.
    CrashBeforeSend,
    /// Dies after writing down that it sends, before it does; once.
    CrashWhileSending,
    /// Orders are executed, the answers never arrive.
    LoseAnswer,
    /// Every order is refused (10006).
    Reject,
    /// The first try of every order is requoted (10004).
    Requote,
    /// Market orders are filled in part.
    PartialFill,
    /// Behaves like the Expert Advisor of the original design: no claims, no ids, five figures.
    OldProtocol,
}

/// How a terminal behaves.
#[derive(Debug, Clone)]
pub struct Config {
    /// Base address of the platform.
    pub url: String,
    /// The terminal's key; it decides the account.
    pub key: String,
    /// Name of the account, for logs only.
    pub account: Option<String>,
    /// Name of this installation; none: made once and kept in the journal.
    pub terminal_id: Option<String>,
    /// Symbols whose prices are told to the watcher.
    pub symbols: Vec<String>,
    /// How long the broker takes for an order.
    pub latency: Duration,
    /// How it misbehaves.
    pub faults: Vec<Fault>,
    /// Where it remembers; none: in memory.
    pub journal: Option<PathBuf>,
    /// One client serves any number of terminals.
    pub client: reqwest::Client,
    /// Signals per poll.
    pub limit: u32,
    /// How long the server may hold a poll.
    pub wait: Duration,
    /// Pause between questions for unresolved signals.
    pub unresolved_interval: Duration,
    /// How long a look-up goes on before anything is called not found.
    pub grace: Duration,
    /// Longest pause between account updates.
    pub update_interval: Duration,
    /// Shortest pause between account updates.
    pub update_gap: Duration,
    /// How often prices move; none: somebody else moves them.
    pub tick_interval: Option<Duration>,
    /// By how much [`Fault::ConfirmLate`] delays; the default is beyond a lease of 30 s.
    pub late: Duration,
}

impl Config {
    /// The usual behaviour against the platform at `url`.
    #[must_use]
    pub fn new(url: impl Into<String>, key: impl Into<String>, client: reqwest::Client) -> Self {
        Self {
            url: url.into(),
            key: key.into(),
            account: None,
            terminal_id: None,
            symbols: Vec::new(),
            latency: Duration::ZERO,
            faults: Vec::new(),
            journal: None,
            client,
            limit: 10,
            wait: Duration::from_secs(25),
            unresolved_interval: Duration::from_secs(3),
            grace: Duration::from_secs(5),
            update_interval: Duration::from_secs(5),
            update_gap: Duration::from_millis(200),
            tick_interval: Some(Duration::from_secs(1)),
            late: Duration::from_secs(35),
        }
    }
}

/// Arguments of a terminal on the command line.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Base address of the platform
    #[arg(long, default_value = "http://127.0.0.1:8000")]
    pub url: String,
    /// The terminal's key
    #[arg(long, env = "TERMINAL_KEY", hide_env_values = true)]
    pub key: String,
    /// Name of the account, for the log; the key decides it
    #[arg(long)]
    pub account: Option<String>,
    /// Symbols that can be traded
    #[arg(long, value_delimiter = ',', default_value = "EURUSD,GBPUSD,USDJPY,XAUUSD")]
    pub symbols: Vec<String>,
    /// Seed of the prices
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How long the broker takes for an order, in milliseconds
    #[arg(long, default_value_t = 0)]
    pub latency_ms: u64,
    /// How to misbehave; can be repeated
    #[arg(long = "fault", value_enum)]
    pub faults: Vec<Fault>,
    /// Folder of the market and of the journal; without it nothing outlives the process
    #[arg(long)]
    pub data: Option<PathBuf>,
}
