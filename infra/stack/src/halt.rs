//! `stack halt`: the operator's switch for when nothing else works. It needs the database alone: no service, no RabbitMQ.
//!
//! Invariant: it is the same switch as the API's, with the same entry in the audit log.

use std::path::PathBuf;
use std::process::ExitCode;

use common::clock::Clock;
use common::domain::{AccountName, Invalid, Mode};
use dispatcher::control::{Switch, switch};
use sqlx::{Connection as _, PgConnection};

use crate::books::{BooksError, database_url};

/// Longer than a service's transaction can be stuck when its host is gone without a word.
const LOCK_TIMEOUT: &str = "30s";

/// Arguments of `stack halt`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which account
    #[arg(long, default_value = "main")]
    account: String,
    /// `halted` hands out nothing, `reducing` closings only; `active` everything, also after a day's loss
    #[arg(long, default_value = "halted")]
    mode: String,
    /// Why, for whoever asks later
    #[arg(long)]
    reason: Option<String>,
    /// The data folder of a `stack up`; by default `DATABASE_URL` names the database
    #[arg(long)]
    data: Option<PathBuf>,
}

/// Why nothing was switched.
#[derive(Debug, thiserror::Error)]
pub enum HaltError {
    /// The mode or the account.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// No database is named.
    #[error(transparent)]
    Address(#[from] BooksError),
    /// PostgreSQL.
    #[error("nothing was switched: {0}")]
    Database(sqlx::Error),
    /// It waited in vain for whoever holds what is to be changed.
    #[error(
        "nothing was switched: for {LOCK_TIMEOUT} somebody has held the account's row or the audit log, and it is no service of \
         the platform, whose transactions end by themselves. The oldest of `select pid, application_name, client_addr, \
         xact_start, state, query from pg_stat_activity where xact_start is not null order by xact_start` is in the way: end \
         it by `select pg_terminate_backend(PID)`, and halt again"
    )]
    Held,
    /// There is none of this name.
    #[error("no account {0}; it exists once a terminal's key is bound to it")]
    UnknownAccount(AccountName),
}

impl From<sqlx::Error> for HaltError {
    fn from(error: sqlx::Error) -> Self {
        // SQLSTATE: lock not available.
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        let held = code.is_some_and(|code| code == "55P03");
        if held { Self::Held } else { Self::Database(error) }
    }
}

/// Switches; waiting polls notice within a quarter of a second.
pub async fn main(args: Args) -> Result<ExitCode, HaltError> {
    let (mode, account): (Mode, AccountName) = (args.mode.parse()?, args.account.parse()?);
    let session = common::database::session(&database_url(args.data)?, "stack halt").map_err(BooksError::from)?;
    let session = session.options([("lock_timeout", LOCK_TIMEOUT), ("statement_timeout", "0")]);
    let mut db = PgConnection::connect_with(&session).await?;
    let mut transaction = db.begin().await?;
    let how = Switch {
        account: account.as_str(),
        mode,
        reason: args.reason.as_deref(),
        principal: "stack halt",
        request_id: "command line",
    };
    let now = Clock::default().now();
    let Some(switched) = switch(&mut transaction, &how, now).await? else {
        return Err(HaltError::UnknownAccount(account));
    };
    transaction.commit().await?;
    switched.tell(&how, now);
    tracing::info!(%account, mode = mode.as_str(), rejected = switched.rejected(), "mode changed; openings that waited are rejected");
    Ok(ExitCode::SUCCESS)
}
