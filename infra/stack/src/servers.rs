//! A private PostgreSQL and a private RabbitMQ: their own data folder, ports, passwords and processes.
//!
//! Invariant: nothing outside the data folder is touched. A process is taken for ours only if its command line names
//! our folder, so a server of the machine, or of another data folder, is never stopped, adopted or written to.
//!
//! What the folder holds: `postgres/` and `rabbitmq/` (owned by the user the servers run as), and beside them, owned by
//! whoever started them, the passwords, the ports, the configuration, the output of each server's start and a lock. Where
//! a platform is observed, [`observers`] keep theirs there, too.
//! The servers outlive a `stack` that is killed; the next [`Servers::start`] on the folder finds and keeps them.

mod account;
mod folder;
pub mod observers;
mod ports;
mod postgres;
mod process;
mod rabbit;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use account::Account;
use folder::Folder;
use ports::Ports;
use postgres::Postgres;
use rabbit::Rabbit;

/// Longest wait for a server to accept connections.
const START_DEADLINE: Duration = Duration::from_mins(1);
/// Longest wait for an ordered shutdown, after which a server is killed.
const STOP_DEADLINE: Duration = Duration::from_secs(30);
/// A free port can be taken between looking and binding; so often another one is chosen.
const PORT_ATTEMPTS: u32 = 3;

/// Why the private servers could not be started, stopped or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServersError {
    /// A server's package is missing.
    #[error("missing packages: {packages}; install them with: apt-get install --no-install-recommends {packages}")]
    NotInstalled {
        /// Names of Debian packages, separated by spaces.
        packages: String,
    },
    /// The user a server runs as cannot enter a folder on the way to the data folder.
    #[error(
        "the data folder {data} cannot be reached by the user {user}, which the server runs as: \
         {ancestor} is closed to it; open that folder (chmod o+x) or choose another with --data"
    )]
    Closed {
        /// The data folder asked for.
        data: PathBuf,
        /// The first folder on the way that is closed.
        ancestor: PathBuf,
        /// Who cannot enter.
        user: String,
    },
    /// The path has a character that RabbitMQ's scripts stumble over.
    #[error(
        "the data folder {data} has a character in its path that RabbitMQ cannot work with; \
         choose another with --data: letters, digits and /._-+@=, are safe"
    )]
    UnsafePath {
        /// The data folder asked for.
        data: PathBuf,
    },
    /// Another process works on the same data folder.
    #[error("the data folder {data} is in use by another stack (pid {holder}); stop it or choose another with --data")]
    InUse {
        /// The data folder asked for.
        data: PathBuf,
        /// Process id of the holder, as it noted it.
        holder: String,
    },
    /// The data was written by a version that the installed one cannot read.
    #[error(
        "the data folder {data} was made by {what} {found}, and {wanted} is installed; \
         install {what} {found}, choose another folder with --data, or start anew with --fresh, which deletes the data"
    )]
    OtherVersion {
        /// The data folder asked for.
        data: PathBuf,
        /// What has the version: a server or the layout of the folder.
        what: &'static str,
        /// The version found in the folder.
        found: String,
        /// The version, or versions, that could be used.
        wanted: String,
    },
    /// A server ended before it accepted connections, or did not accept them in time.
    #[error("{server} did not start: {reason}; the end of its log:\n{log}")]
    NotStarted {
        /// Which server.
        server: &'static str,
        /// What was seen.
        reason: &'static str,
        /// The last lines of its output and log.
        log: String,
    },
    /// A program that a server came with failed.
    #[error("{program} failed ({status}): {output}")]
    Command {
        /// The program's name.
        program: String,
        /// Its exit status.
        status: String,
        /// What it wrote on its error output.
        output: String,
    },
    /// No free port was found.
    #[error("no free port on 127.0.0.1 between {first} and {last}")]
    NoPort {
        /// Lowest port tried.
        first: u16,
        /// Highest port tried.
        last: u16,
    },
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted, with the path.
        what: String,
        /// The system's error.
        source: std::io::Error,
    },
}

impl ServersError {
    fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// Both servers of one data folder, started or adopted, and the lock on it.
#[derive(Debug)]
pub struct Servers {
    /// How to reach the database `app` as its owner, the role `app`, which may create databases.
    pub database_url: String,
    /// How to reach the virtual host `/` as the user `app`, an administrator.
    pub amqp_url: String,
    postgres: Postgres,
    rabbit: Rabbit,
    /// Held for the life of this value.
    _lock: File,
}

impl Servers {
    /// Starts both servers on the data folder, or adopts those that still run there, and waits until they answer.
    /// What was started is stopped again when one of them fails.
    ///
    /// Cancelling leaves the servers running; [`stop_leftovers`] ends them.
    pub async fn start(data: &Path) -> Result<Self, ServersError> {
        check_installed()?;
        let folder = Folder::locate(data)?;
        folder.check_path()?;
        let postgres_account = Account::of(&folder.path("postgres"), "postgres")?;
        let rabbit_account = Account::of(&folder.path("rabbitmq"), "rabbitmq")?;
        folder.check_reach(&postgres_account).await?;
        folder.check_reach(&rabbit_account).await?;
        folder.check_version()?;
        let postgres_binaries = postgres::choose_binaries(&folder)?;
        let rabbit_version = rabbit::check_version(&folder)?;
        let lock = folder.lock()?;
        let mut attempt = 1;
        loop {
            let ports = Ports::choose(&folder).await?;
            let servers = Self {
                database_url: String::new(),
                amqp_url: String::new(),
                postgres: Postgres::new(&folder, postgres_account.clone(), postgres_binaries.clone(), ports.postgres)?,
                rabbit: Rabbit::new(&folder, rabbit_account.clone(), rabbit_version.clone(), ports)?,
                _lock: lock.try_clone().map_err(ServersError::io("duplicate the lock"))?,
            };
            let failure = match servers.start_both().await {
                Ok(()) => return Ok(servers.with_urls()),
                Err(failure) => failure,
            };
            if let Err(error) = servers.stop().await {
                tracing::warn!(%error, "what was started could not be stopped");
            }
            if attempt == PORT_ATTEMPTS || ports.all_free() {
                return Err(failure);
            }
            attempt += 1;
            tracing::warn!(error = %failure, "a port was taken meanwhile; trying others");
        }
    }

    async fn start_both(&self) -> Result<(), ServersError> {
        let (postgres, rabbit) = tokio::join!(self.postgres.start(), self.rabbit.start());
        postgres.and(rabbit)
    }

    fn with_urls(mut self) -> Self {
        self.database_url = self.postgres.url();
        self.amqp_url = self.rabbit.url();
        self
    }

    /// Shuts both servers down in order, adopted ones too, then the name server that RabbitMQ needed, and unlocks.
    /// One that has not ended after 30 s is killed.
    pub async fn stop(self) -> Result<(), ServersError> {
        let (postgres, rabbit) = tokio::join!(self.postgres.stop(), self.rabbit.stop());
        let epmd = self.rabbit.stop_epmd().await;
        postgres.and(rabbit).and(epmd)
    }

    /// Starts PostgreSQL again on the same port, or does nothing when it runs.
    pub async fn start_postgres(&self) -> Result<(), ServersError> {
        self.postgres.start().await
    }

    /// Ends PostgreSQL in order: connections are closed, everything is written.
    pub async fn stop_postgres(&self) -> Result<(), ServersError> {
        self.postgres.stop().await
    }

    /// Ends PostgreSQL as a crash would.
    pub async fn kill_postgres(&self) -> Result<(), ServersError> {
        self.postgres.kill().await
    }

    /// Freezes PostgreSQL with all of its sessions.
    pub async fn freeze_postgres(&self) -> Result<(), ServersError> {
        self.postgres.freeze().await
    }

    /// Lets a frozen PostgreSQL go on.
    pub fn thaw_postgres(&self) -> Result<(), ServersError> {
        self.postgres.thaw()
    }

    /// Starts RabbitMQ again on the same port, or does nothing when it runs.
    pub async fn start_rabbit(&self) -> Result<(), ServersError> {
        self.rabbit.start().await
    }

    /// Ends RabbitMQ in order.
    pub async fn stop_rabbit(&self) -> Result<(), ServersError> {
        self.rabbit.stop().await
    }

    /// Ends RabbitMQ as a crash would.
    pub async fn kill_rabbit(&self) -> Result<(), ServersError> {
        self.rabbit.kill().await
    }

    /// Runs `rabbitmqctl` against this RabbitMQ and returns what it wrote, for instance
    /// `["set_vm_memory_high_watermark", "absolute", "1"]` to raise the memory alarm.
    pub async fn rabbitmqctl(&self, arguments: &[&str]) -> Result<String, ServersError> {
        self.rabbit.control(arguments).await
    }

    /// Process id of PostgreSQL's parent process, if it runs.
    pub fn postgres_pid(&self) -> Option<u32> {
        self.postgres.pid()
    }

    /// Process id of RabbitMQ's virtual machine, if it runs.
    pub fn rabbit_pid(&self) -> Option<u32> {
        self.rabbit.pid()
    }
}

/// So many ports that nobody listens on, and that no outgoing connection takes meanwhile.
pub fn free_ports(count: usize) -> Result<Vec<u16>, ServersError> {
    let mut ports = Vec::new();
    while ports.len() < count {
        ports.push(ports::free_port(&ports)?);
    }
    Ok(ports)
}

/// Refuses a data folder on which another `stack` works; changes nothing.
pub fn check_free(data: &Path) -> Result<(), ServersError> {
    Folder::locate(data)?.check_free()
}

/// Ends what still runs of a data folder that no `stack` holds: after a start that was cancelled, or before a removal.
pub async fn stop_leftovers(data: &Path) -> Result<(), ServersError> {
    let folder = Folder::locate(data)?;
    if folder.exists() {
        let _lock = folder.lock()?;
        end_processes(&folder).await?;
    }
    Ok(())
}

/// Removes the servers' data, passwords and ports from a data folder, and ends them first if they still run.
/// Whatever else is in the folder stays.
pub async fn remove(data: &Path) -> Result<(), ServersError> {
    let folder = Folder::locate(data)?;
    if folder.exists() {
        let _lock = folder.lock()?;
        end_processes(&folder).await?;
        folder.clear()?;
    }
    Ok(())
}

async fn end_processes(folder: &Folder) -> Result<(), ServersError> {
    let (postgres, rabbit) = tokio::join!(postgres::end(folder), rabbit::end(folder));
    let epmd = match Ports::remembered(folder) {
        Some(ports) => rabbit::end_epmd(ports.epmd).await,
        None => Ok(()),
    };
    postgres.and(rabbit).and(epmd)
}

/// Where the data is kept when nobody says: the system's state folder for root, the user's own otherwise.
pub fn default_data() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/mt5-community");
    }
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .unwrap_or_else(std::env::temp_dir)
        .join("mt5-community")
}

/// Looks for both servers' programs; the error names the Debian packages that bring the missing ones.
pub fn check_installed() -> Result<(), ServersError> {
    let mut missing = Vec::new();
    if postgres::installed().is_empty() {
        missing.push("postgresql");
    }
    if !rabbit::installed() {
        missing.push("rabbitmq-server");
    }
    if missing.is_empty() { Ok(()) } else { Err(ServersError::NotInstalled { packages: missing.join(" ") }) }
}
