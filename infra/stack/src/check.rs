//! `stack check`: whether the platform kept its promises, judged from outside.
//!
//! Invariant: no code of a service takes part. Senders' logs, the market's own books and the tables are three witnesses;
//! a pure function compares them. It is for the time after a drain: what is still under way counts as broken.

mod books;
pub mod history;
mod life;
pub mod log;
mod posts;
mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use sqlx::{Connection as _, PgConnection};

use crate::market;
use history::{Found, History, Violation};

/// Arguments of `stack check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A sender's log; can be repeated
    #[arg(long = "log", value_name = "FILE", required = true)]
    logs: Vec<PathBuf>,
    /// Folder of the market's books
    #[arg(long, value_name = "DIR")]
    market: PathBuf,
    /// Whose account at the market it is
    #[arg(long, default_value = "main")]
    account: String,
    /// The database of the platform
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database: String,
    /// How much later than it was sent an order may reach the market, in milliseconds
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// One JSON object instead of lines
    #[arg(long)]
    json: bool,
}

/// Why nothing could be judged.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// A sender's log.
    #[error("{0}: {1}")]
    Log(PathBuf, std::io::Error),
    /// The market's books.
    #[error(transparent)]
    Market(#[from] market::Error),
    /// PostgreSQL.
    #[error("the tables can't be read: {0}")]
    Database(#[from] sqlx::Error),
    /// Standard output.
    #[error("{0}")]
    Output(#[from] std::io::Error),
}

/// What was compared, and what was found.
#[derive(Debug, Serialize)]
pub struct Verdict {
    /// Posts in the senders' logs.
    pub posts: usize,
    /// Signals stored.
    pub signals: usize,
    /// Orders at the market.
    pub orders: usize,
    /// Account reports that were applied.
    pub reports: usize,
    /// Changes of pools.
    pub versions: usize,
    /// Promises that were not kept.
    pub violations: Vec<Violation>,
}

/// Judges a history.
pub fn judge(history: &History) -> Verdict {
    Verdict {
        posts: history.posts.len(),
        signals: history.signals.len(),
        orders: history.orders.len(),
        reports: history.reports.len(),
        versions: history.versions.len(),
        violations: violations(history),
    }
}

/// Every promise that a history breaks; empty where all were kept.
pub fn violations(history: &History) -> Vec<Violation> {
    let mut found = Found::default();
    let openings = life::openings(history, &mut found);
    posts::judge(history, &openings, &mut found);
    life::judge(history, &openings, &mut found);
    books::judge(history, &mut found);
    books::audit(history, &mut found);
    posts::name(history, &mut found);
    found.0.sort_by_key(|violation| violation.promise);
    found.0
}

/// Reads what the three witnesses say.
pub async fn read(
    db: &mut PgConnection,
    logs: &[PathBuf],
    market: &Path,
    account: &str,
    latency: Duration,
) -> Result<History, CheckError> {
    let mut history = History { account: account.to_owned(), latency, ..History::default() };
    for path in logs {
        history.posts.extend(log::read(path).map_err(|error| CheckError::Log(path.clone(), error))?);
    }
    (history.orders, history.deals) = market::read_books(market)?;
    store::read(db, &mut history).await?;
    Ok(history)
}

/// Reads, judges and tells; fails where a promise was broken.
pub async fn main(args: Args) -> Result<ExitCode, CheckError> {
    let mut db = PgConnection::connect(&args.database).await?;
    let latency = Duration::from_millis(args.latency_ms);
    let history = read(&mut db, &args.logs, &args.market, &args.account, latency).await?;
    let verdict = judge(&history);
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&verdict).map_err(std::io::Error::from)?)?;
    } else {
        verdict.print(&mut out)?;
    }
    Ok(if verdict.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Verdict {
    /// A line for each violation with the ids behind it, and a sum.
    pub fn print(&self, out: &mut impl std::io::Write) -> std::io::Result<()> {
        for Violation { promise, what, ids } in &self.violations {
            let name = serde_json::to_value(promise).map_err(std::io::Error::from)?;
            writeln!(out, "BROKEN  {}: {what} [{}]", name.as_str().unwrap_or_default(), ids.join(", "))?;
        }
        let Self { posts, signals, orders, reports, versions, violations } = self;
        let kinds: BTreeSet<_> = violations.iter().map(|violation| violation.promise).collect();
        let word = match violations.len() {
            0 => "every promise was kept".to_owned(),
            count => format!("{count} violations of {} promises", kinds.len()),
        };
        writeln!(
            out,
            "{posts} posts, {signals} signals, {orders} orders, {reports} account reports, {versions} changes of pools: {word}"
        )
    }
}
