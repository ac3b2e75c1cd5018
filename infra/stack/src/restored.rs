//! `stack restored`: makes a database that was restored from a backup safe, before any service works on it again.
//!
//! Invariant: it is all done, and in the audit log, or nothing is.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use common::clock::Clock;
use common::config::ConfigError;
use dispatcher::restored::{RestoredError, make_safe};

use crate::books::{BooksError, database_url};

/// Arguments of `stack restored`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The data folder of a `stack up`; by default `DATABASE_URL` names the database
    #[arg(long)]
    data: Option<PathBuf>,
}

/// Why nothing was made safe.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "their messages say it")]
pub enum Error {
    #[error(transparent)]
    Address(#[from] BooksError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("the schema can't be brought up to date: {0}")]
    Schema(#[from] sqlx::migrate::MigrateError),
    #[error(transparent)]
    Restored(#[from] RestoredError),
    #[error("nothing was made safe: {0}")]
    Database(#[from] sqlx::Error),
    #[error("{0}")]
    Output(#[from] std::io::Error),
}

/// Brings an old backup's schema up to date, makes it safe and tells what that meant.
pub async fn main(args: Args) -> Result<ExitCode, Error> {
    let pool = common::database::pool(&database_url(args.data)?, "stack restored")?;
    common::database::apply_schema(&pool).await?;
    let mut transaction = pool.begin().await?;
    let by = ("stack restored", "command line");
    let done = make_safe(&mut transaction, by, Clock::default().now()).await?;
    transaction.commit().await?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "halted     {}",
        if done.accounts.is_empty() { "no account".into() } else { done.accounts.join(" ") }
    )?;
    writeln!(out, "cancelled  {} signals that waited", done.cancelled)?;
    writeln!(out, "unknown    {} signals that a terminal had: it looks them up at the broker", done.unknown)?;
    Ok(ExitCode::SUCCESS)
}
