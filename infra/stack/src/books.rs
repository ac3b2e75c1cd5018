//! `stack books verify`: proves the members' balances from the rows behind them, beside a platform that works or not.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use common::config::{ConfigError, required};
use distributor::books::{Difference, Noted, Verdict, verify};
use sqlx::{Connection as _, PgConnection};

/// Where `stack up` writes the address of its database.
pub const DATABASE: &str = "database";

/// Arguments of `stack books`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Derives every balance again, prints the differences, and fails where there is one
    Verify {
        /// The data folder of a `stack up` that is running; by default `DATABASE_URL` names the database
        #[arg(long)]
        data: Option<PathBuf>,
        /// An end of an audit chain as an earlier check printed it, SERVICE:ENTRY:HASH; it must still be there
        #[arg(long, value_name = "SERVICE:ENTRY:HASH")]
        noted: Vec<Chain>,
    },
}

/// An entry of a chain, as it is written on a command line.
#[derive(Clone, Debug)]
struct Chain(Noted);

impl FromStr for Chain {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "not of the form SERVICE:ENTRY:HASH, as in distributor:42:9f86d081884c7d65";
        let mut parts = text.split(':');
        let (Some(service), Some(seq), Some(hash), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(FORM);
        };
        let seq = seq.parse().map_err(|_| FORM)?;
        if hash.len() < 8 || !hash.chars().all(|digit| digit.is_ascii_hexdigit()) {
            return Err("the hash has at least 8 hexadecimal digits");
        }
        Ok(Self(Noted { service: service.to_owned(), seq, hash: hash.to_lowercase() }))
    }
}

/// Why nothing could be said of the books.
#[derive(Debug, thiserror::Error)]
pub enum BooksError {
    /// No database is named.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data folder names none.
    #[error("{0}: {1}; is its stack up running?")]
    Data(PathBuf, std::io::Error),
    /// PostgreSQL.
    #[error("the books can't be read: {0}")]
    Database(#[from] sqlx::Error),
    /// Standard output.
    #[error("{0}")]
    Output(#[from] std::io::Error),
}

/// The database of a `stack up` that keeps its data here, or the one that `DATABASE_URL` names.
pub(crate) fn database_url(data: Option<PathBuf>) -> Result<String, BooksError> {
    let Some(data) = data else {
        return Ok(required("DATABASE_URL", "the platform's database; or name a data folder with --data")?);
    };
    let path = data.join(DATABASE);
    let url = std::fs::read_to_string(&path).map_err(|error| BooksError::Data(path, error))?;
    Ok(url.trim().to_owned())
}

/// Checks and tells.
pub async fn main(args: Args) -> Result<ExitCode, BooksError> {
    let Command::Verify { data, noted } = args.command;
    let mut db = PgConnection::connect(&database_url(data)?).await?;
    let noted: Vec<Noted> = noted.into_iter().map(|chain| chain.0).collect();
    let verdict = verify(&mut db, &noted).await?;
    print(&verdict)?;
    Ok(if verdict.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(verdict: &Verdict) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for check in &verdict.checks {
        match &check.difference {
            None => writeln!(out, "ok         {}", check.name)?,
            Some(Difference { place, expected, found }) => {
                writeln!(out, "DIFFERENT  {}", check.name)?;
                writeln!(out, "           {place}")?;
                writeln!(out, "           expected {expected}")?;
                writeln!(out, "           found    {found}")?;
            }
        }
    }
    for head in &verdict.heads {
        writeln!(out, "chain      {}:{}:{}", head.service, head.seq, head.hash)?;
    }
    writeln!(out, "{}", if verdict.is_clean() { "the books add up" } else { "the books do not add up" })
}
