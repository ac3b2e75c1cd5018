//! One private PostgreSQL: made, started or adopted, stopped, killed.
//!
//! Invariant: it listens on loopback only, without a Unix socket, and lets nobody in but the role `app` with its
//! password; every acknowledged commit is on disk. Its folder appears whole, after everything in it was made.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::account::Account;
use super::folder::Folder;
use super::process::{self, Process, until};
use super::{START_DEADLINE, STOP_DEADLINE, ServersError};

/// Where Debian keeps each major version.
const INSTALLED: &str = "/usr/lib/postgresql";
/// Longest wait for one answer while it is being watched.
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);
/// Longest wait until the server is seen to be frozen.
const FREEZE_DEADLINE: Duration = Duration::from_secs(1);
/// Longest wait for the children of a killed server, which hold its shared memory.
const ORPHANS_DEADLINE: Duration = Duration::from_secs(10);

/// Settings beyond the defaults; on the command line, so that they hold for a folder made by an earlier version too.
const SETTINGS: [&str; 16] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "fsync=on",
    "synchronous_commit=on",
    "full_page_writes=on",
    "max_connections=200",
    "shared_buffers=128MB",
    "jit=off",
    "timezone=UTC",
    "log_timezone=UTC",
    // One log a weekday, each overwritten a week later.
    "logging_collector=on",
    "log_directory=log",
    "log_filename=postgresql-%a.log",
    "log_truncate_on_rotation=on",
    "log_rotation_age=1d",
    "log_rotation_size=0",
];

#[derive(Debug)]
pub(super) struct Postgres {
    folder: Folder,
    account: Account,
    binaries: PathBuf,
    port: u16,
    password: String,
}

impl Postgres {
    pub(super) fn new(folder: &Folder, account: Account, binaries: PathBuf, port: u16) -> Result<Self, ServersError> {
        let password = folder.password("postgres")?;
        Ok(Self { folder: folder.clone(), account, binaries, port, password })
    }

    pub(super) fn url(&self) -> String {
        format!("postgres://app:{}@127.0.0.1:{}/app", self.password, self.port)
    }

    pub(super) fn pid(&self) -> Option<u32> {
        Process::first_parent(&find(&self.folder)).map(|process| process.id)
    }

    /// Adopts a running server that answers, replaces one that does not, starts one where there is none.
    pub(super) async fn start(&self) -> Result<(), ServersError> {
        let running = find(&self.folder);
        if !running.is_empty() {
            if self.ready(&running).await.is_ok() {
                return Ok(());
            }
            process::end(&running, Signal::INT, STOP_DEADLINE).await?;
        }
        if !self.folder.has("postgres")? {
            self.create().await?;
        }
        self.wait_for_orphans().await;
        // Only this role, only from this machine; also the superuser cannot come in.
        let entry = format!("host all app {}/32 scram-sha-256\n", Ipv4Addr::LOCALHOST);
        self.folder.write_for("postgres.hba", &entry, Some(&self.account))?;
        let mut command = self.account.command(self.binaries.join("postgres"));
        command.arg("-D").arg(self.folder.path("postgres")).args(SETTINGS.iter().flat_map(|setting| ["-c", *setting]));
        command.args(["-c", &format!("port={}", self.port)]);
        command.args(["-c", &format!("hba_file={}", self.folder.path("postgres.hba").display())]);
        let server = process::spawn(command, &self.folder.path("postgres.out"))?;
        self.ready(server.as_slice()).await
    }

    /// Makes the database system and the role and database `app`, then puts it in its place.
    async fn create(&self) -> Result<(), ServersError> {
        let unfinished = Process::with_argument(&self.folder.path("postgres.new"));
        process::end(&unfinished, Signal::KILL, STOP_DEADLINE).await?;
        let new = self.folder.create_for("postgres.new", &self.account)?;
        let mut command = self.account.command(self.binaries.join("initdb"));
        command.arg("-D").arg(&new).args(["--username=postgres", "--auth=reject", "--encoding=UTF8", "--locale=C"]);
        command.arg("--data-checksums");
        process::run("initdb", command, "").await?;
        let mut command = self.account.command(self.binaries.join("postgres"));
        command.arg("--single").arg("-D").arg(&new).args(["-c", "password_encryption=scram-sha-256", "postgres"]);
        let role = format!("CREATE ROLE app LOGIN CREATEDB PASSWORD '{}'\n", self.password);
        process::run("postgres --single", command, &format!("{role}CREATE DATABASE app OWNER app\n")).await?;
        self.folder.rename("postgres.new", "postgres")
    }

    async fn ready(&self, server: &[Process]) -> Result<(), ServersError> {
        let alive = || server.iter().any(Process::alive);
        let settled = until(START_DEADLINE, async || !alive() || accepts(self.port).await).await;
        let reason = match (alive(), settled) {
            (true, true) => return Ok(()),
            (true, false) => "no connection accepted in time",
            (false, _) => "it ended",
        };
        let log = self.folder.tail(&["postgres.out", &self.newest_log()]);
        Err(ServersError::NotStarted { server: "PostgreSQL", reason, log })
    }

    fn newest_log(&self) -> String {
        let entries = std::fs::read_dir(self.folder.path("postgres/log")).into_iter().flatten().flatten();
        let newest = entries.max_by_key(|entry| entry.metadata().and_then(|metadata| metadata.modified()).ok());
        newest.map_or_else(String::new, |entry| format!("postgres/log/{}", entry.file_name().to_string_lossy()))
    }

    /// A killed server's children end by themselves, but a new one cannot start before they did, nor while the dead
    /// one's id is still taken.
    async fn wait_for_orphans(&self) {
        let noted = self.folder.read("postgres/postmaster.pid");
        if let Some(leader) = noted.and_then(|text| text.lines().next()?.parse().ok()) {
            let gone = async || !Process::any_in_session(leader, "postgres") && !Process::is_zombie(leader);
            until(ORPHANS_DEADLINE, gone).await;
        }
    }

    /// Freezes the server with its sessions: itself first, so that nothing is forked meanwhile.
    pub(super) async fn freeze(&self) -> Result<(), ServersError> {
        for server in find(&self.folder) {
            server.signal(Signal::STOP)?;
            until(FREEZE_DEADLINE, async || server.is_stopped()).await;
            server.children().iter().try_for_each(|child| child.signal(Signal::STOP))?;
        }
        Ok(())
    }

    /// Lets a frozen server go on.
    pub(super) fn thaw(&self) -> Result<(), ServersError> {
        thaw(&self.folder)
    }

    pub(super) async fn stop(&self) -> Result<(), ServersError> {
        end(&self.folder).await
    }

    pub(super) async fn kill(&self) -> Result<(), ServersError> {
        process::end(&find(&self.folder), Signal::KILL, STOP_DEADLINE).await
    }
}

/// Ends the server of a folder in order ("fast": sessions are ended, everything is written).
pub(super) async fn end(folder: &Folder) -> Result<(), ServersError> {
    thaw(folder)?;
    process::end(&find(folder), Signal::INT, STOP_DEADLINE).await
}

fn thaw(folder: &Folder) -> Result<(), ServersError> {
    for server in find(folder) {
        server.children().iter().try_for_each(|child| child.signal(Signal::CONT))?;
        server.signal(Signal::CONT)?;
    }
    Ok(())
}

/// Whether the server of a folder runs.
pub(super) fn runs(folder: &Folder) -> bool {
    !find(folder).is_empty()
}

fn find(folder: &Folder) -> Vec<Process> {
    Process::with_argument(&folder.path("postgres"))
}

/// Asks for a session as far as the request for a password, which a server gives only when it accepts connections.
async fn accepts(port: u16) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        // Length, protocol 3.0, parameters as pairs of strings, an empty one at the end.
        stream.write_all(b"\0\0\0\x1f\0\x03\0\0user\0app\0database\0app\0\0").await?;
        stream.read_u8().await
    };
    matches!(timeout(ANSWER_DEADLINE, ask).await, Ok(Ok(b'R')))
}

/// The installed major versions with their folders of programs, newest first.
pub(super) fn installed() -> Vec<(u32, PathBuf)> {
    let entries = std::fs::read_dir(INSTALLED).into_iter().flatten().flatten();
    let programs = |folder: &Path| ["postgres", "initdb"].iter().all(|program| folder.join(program).exists());
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, folder)| programs(folder))
        .collect();
    found.sort_unstable_by(|one, other| other.cmp(one));
    found
}

/// The programs of the version that made the data, or the newest for a new folder.
pub(super) fn choose_binaries(folder: &Folder) -> Result<PathBuf, ServersError> {
    let installed = installed();
    let made_by = folder.read("postgres/PG_VERSION");
    let suits = |major: u32| made_by.as_ref().is_none_or(|made_by| *made_by == major.to_string());
    if let Some((_, programs)) = installed.iter().find(|(major, _)| suits(*major)) {
        return Ok(programs.clone());
    }
    let majors: Vec<String> = installed.iter().map(|(major, _)| major.to_string()).collect();
    Err(folder.other_version("PostgreSQL", made_by.unwrap_or_default(), format!("PostgreSQL {}", majors.join(", "))))
}
