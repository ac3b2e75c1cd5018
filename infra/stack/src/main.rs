//! The command line of the platform in one process.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use common::clock::Clock;
use common::config::Settings;
use common::http::Edge;
use common::service::Lifecycle;
use stack::{bench, books, check, faults, halt, market, platform, restored, servers, terminal, up};

/// A trading community's platform: signals in, orders at the broker, each member's profit to the cent.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Private servers, all services and the simulated terminal; runs the main job visibly
    Up(up::Args),
    /// All services in one process, with servers of your own: `DATABASE_URL`, `AMQP_URL`, `HTTP_ADDR`, keys
    Serve {
        /// Only this one of them
        #[arg(long, value_enum)]
        only: Option<platform::Service>,
    },
    /// How fast it all is on this machine, on private servers, against what it must reach
    Bench(bench::Args),
    /// The members' money, proved from the rows behind it
    Books(books::Args),
    /// Stops an account, or lets it go on, with nothing but the database: while services or RabbitMQ are down
    Halt(halt::Args),
    /// After a restore of a backup: halts every account and ends what waited, for it may have happened since
    Restored(restored::Args),
    /// Whether every promise was kept: senders' logs, the market's books and the tables, compared after a drain
    Check(check::Args),
    /// The platform as separate processes, disturbed under load in every way, then drained and checked
    Faults(faults::Args),
    /// The simulated terminal alone, over HTTP
    Terminal(terminal::Args),
    /// The simulated market alone, over a Unix socket, for a native Expert Advisor to trade at
    Market(market::Args),
    /// A private PostgreSQL and RabbitMQ, until stopped
    Servers {
        /// Where they keep their data
        #[arg(long)]
        data: PathBuf,
        /// Writes DIR/servers.env with `DATABASE_URL` and `AMQP_URL` once they are ready
        #[arg(long)]
        print_env: bool,
    },
    /// Brings the schema of `DATABASE_URL` up to date
    Migrate,
}

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // `up` has a view of its own; what the services log as usual would drown it.
    common::telemetry::start_logs(if matches!(cli.command, Command::Up(_) | Command::Bench(_) | Command::Faults(_)) {
        "error"
    } else {
        "info,sqlx=warn,lapin=warn"
    });
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let serves = matches!(cli.command, Command::Serve { .. });
    match runtime.block_on(run(cli.command)) {
        Ok(code) => code,
        // As a service says it in a process of its own: whoever reads its log reads lines of one kind.
        Err(error) if serves => {
            tracing::error!(%error, "can't start");
            ExitCode::FAILURE
        }
        Err(error) => fail(&error),
    }
}

fn fail(error: &Failure) -> ExitCode {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "stack: {error}");
    ExitCode::FAILURE
}

async fn run(command: Command) -> Result<ExitCode, Failure> {
    let lifecycle = Lifecycle::default();
    lifecycle.stop_on_signals()?;
    let stop = lifecycle.stop().clone();
    match command {
        Command::Up(args) => Ok(up::main(args, stop).await?),
        Command::Serve { only } => {
            let settings = Settings::from_env()?;
            let (api, metrics) = common::service::listen(&settings).await?;
            let clock = Clock::default();
            let parts = platform::parts(&settings, &clock, &lifecycle, only)?;
            lifecycle.serve(parts, Edge::new(&settings.limits, &clock), api, metrics);
            tracing::info!(http.address = %settings.http_addr, metrics.address = %settings.metrics_addr, "started");
            Ok(if lifecycle.finished().await { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Bench(args) => Ok(bench::main(args, stop).await?),
        Command::Books(args) => Ok(books::main(args).await?),
        Command::Halt(args) => Ok(halt::main(args).await?),
        Command::Restored(args) => Ok(restored::main(args).await?),
        Command::Faults(args) => Ok(faults::main(args, stop).await?),
        Command::Check(args) => Ok(check::main(args).await?),
        Command::Terminal(args) => {
            terminal::main(args, stop).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Market(args) => {
            market::main(args, stop).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Servers { data, print_env } => {
            let started = tokio::select! {
                started = servers::Servers::start(&data) => started?,
                () = stop.cancelled() => {
                    servers::stop_leftovers(&data).await?;
                    return Ok(ExitCode::SUCCESS);
                }
            };
            if print_env {
                let text = format!("DATABASE_URL='{}'\nAMQP_URL='{}'\n", started.database_url, started.amqp_url);
                platform::write_private(&data.join("servers.env"), &text)?;
            }
            tracing::info!("servers ready");
            stop.cancelled().await;
            started.stop().await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Migrate => {
            let url = common::config::required("DATABASE_URL", "the database to bring up to date")?;
            common::database::apply_schema(&common::database::pool(&url, "migrate")?).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
