//! The command line: checks a source, shows its translation, or builds a program of it.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use ea_native::{Build, BuildError};

/// Runs an MQL5 Expert Advisor natively on Linux.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Sources {
    /// The Expert Advisor, an .mq5 file
    #[arg(long)]
    source: PathBuf,
    /// Where `#include <…>` is looked for
    #[arg(long)]
    include: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// What `MetaEditor` would refuse or read otherwise, and names that are not documented
    Lint(Sources),
    /// The C++ that is compiled, on the standard output
    Translate(Sources),
    /// Checks, translates and compiles; nothing is compiled again that has not changed
    Build {
        #[command(flatten)]
        sources: Sources,
        /// The program to make
        #[arg(long)]
        out: PathBuf,
        /// With the address and undefined behaviour sanitizers
        #[arg(long)]
        sanitize: bool,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(text) => {
            let _ = write!(std::io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<String, BuildError> {
    match command {
        Command::Lint(sources) => ea_native::check(&sources.source, &sources.include).map(|_| String::new()),
        Command::Translate(sources) => ea_native::check(&sources.source, &sources.include),
        Command::Build { sources, out, sanitize } => {
            let compiled =
                ea_native::build(&Build { source: sources.source, include: sources.include, out, sanitize })?;
            Ok(if compiled { String::new() } else { "nothing has changed\n".to_owned() })
        }
    }
}
