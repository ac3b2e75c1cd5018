//! One private RabbitMQ: made, started or adopted, stopped, killed, asked.
//!
//! Invariant: it, its distribution and its name server (epmd) listen on loopback only, under a cookie of their own, and
//! never meet the machine's. Data of a first start that was cut short is put aside: nobody was told of it yet.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use super::account::Account;
use super::folder::{Folder, random_hex};
use super::ports::Ports;
use super::process::{self, Process, until};
use super::{START_DEADLINE, STOP_DEADLINE, ServersError};

/// The real programs; the wrappers in `/usr/sbin` would drop the environment.
const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";
/// Node name; part of the name of the data.
const NODE: &str = "mt5@localhost";
/// Name of the process that is the server; the others around it are shells.
const MACHINE: &str = "beam.smp";
/// Longest wait for one answer while it is being watched.
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);
/// Longest wait for the name server, which needs milliseconds.
const EPMD_DEADLINE: Duration = Duration::from_secs(10);
/// Keeps distribution off other interfaces.
const LOOPBACK: &str = "-kernel inet_dist_use_interface {127,0,0,1}";

#[derive(Debug)]
pub(super) struct Rabbit {
    folder: Folder,
    account: Account,
    version: String,
    ports: Ports,
    password: String,
}

impl Rabbit {
    pub(super) fn new(folder: &Folder, account: Account, version: String, ports: Ports) -> Result<Self, ServersError> {
        let password = folder.password("rabbitmq")?;
        Ok(Self { folder: folder.clone(), account, version, ports, password })
    }

    pub(super) fn url(&self) -> String {
        format!("amqp://app:{}@127.0.0.1:{}/%2f", self.password, self.ports.amqp)
    }

    pub(super) fn pid(&self) -> Option<u32> {
        find(&self.folder).iter().find(|process| process.name == MACHINE).map(|process| process.id)
    }

    /// Adopts a running server that answers, replaces one that does not, starts one where there is none.
    pub(super) async fn start(&self) -> Result<(), ServersError> {
        self.start_epmd().await?;
        let running = find(&self.folder);
        if !running.is_empty() {
            if self.ready(&running).await.is_ok() {
                return self.note_version();
            }
            end(&self.folder).await?;
        }
        if !self.folder.has("rabbitmq.version")? || !self.folder.has("rabbitmq")? {
            self.create()?;
        }
        self.configure()?;
        let mut command = self.command("rabbitmq-server");
        // Ends up on the command line of the server and of the shells before it, where `find` looks for it.
        command.arg("-mt5_community").arg(self.folder.path("rabbitmq"));
        let server = process::spawn(command, &self.folder.path("rabbitmq.out"))?;
        self.ready(server.as_slice()).await?;
        self.note_version()
    }

    /// Says which version the data is of, and that the first start came to its end.
    fn note_version(&self) -> Result<(), ServersError> {
        if self.folder.read("rabbitmq.version").as_ref() == Some(&self.version) {
            return Ok(());
        }
        self.folder.write("rabbitmq.version", &self.version)
    }

    fn create(&self) -> Result<(), ServersError> {
        if self.folder.has("rabbitmq")? {
            self.folder.remove("rabbitmq.unfinished")?;
            self.folder.rename("rabbitmq", "rabbitmq.unfinished")?;
        }
        self.folder.create_for("rabbitmq.new", &self.account)?;
        for inner in ["home", "mnesia", "log", "generated", "schema"] {
            self.folder.create_for(&format!("rabbitmq.new/{inner}"), &self.account)?;
        }
        self.folder.write_for("rabbitmq.new/home/.erlang.cookie", &random_hex()?, Some(&self.account))?;
        self.folder.rename("rabbitmq.new", "rabbitmq")
    }

    /// The configuration is written at each start, so that it is always this version's.
    fn configure(&self) -> Result<(), ServersError> {
        // The small write-ahead log of quorum queues and the high watermark keep a burst from raising the memory alarm.
        let configuration = format!(
            "default_user = app\n\
             default_pass = {}\n\
             loopback_users = none\n\
             vm_memory_high_watermark.absolute = 2GB\n\
             disk_free_limit.absolute = 100MB\n\
             raft.wal_max_size_bytes = 64000000\n\
             log.file.level = info\n\
             log.file.rotation.size = 10485760\n\
             log.file.rotation.count = 3\n",
            self.password
        );
        self.folder.write_for("rabbitmq.conf", &configuration, Some(&self.account))?;
        self.folder.write_for("rabbitmq.plugins", "[].\n", Some(&self.account))
    }

    /// A program of RabbitMQ's with all that keeps it to our node and folder.
    fn command(&self, program: &str) -> Command {
        let folder = self.folder.path("rabbitmq");
        let mut command = self.account.command(Path::new(PROGRAMS).join(program));
        command.current_dir(&folder).env("HOME", folder.join("home"));
        command.env("ERL_EPMD_ADDRESS", "127.0.0.1").env("ERL_EPMD_PORT", self.ports.epmd.to_string());
        // Not the machine's /etc/rabbitmq/rabbitmq-env.conf.
        command.env("RABBITMQ_CONF_ENV_FILE", "/dev/null");
        command.env("RABBITMQ_NODENAME", NODE).env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1");
        command.env("RABBITMQ_NODE_PORT", self.ports.amqp.to_string());
        command.env("RABBITMQ_DIST_PORT", self.ports.distribution.to_string());
        command.env("RABBITMQ_MNESIA_BASE", folder.join("mnesia")).env("RABBITMQ_LOG_BASE", folder.join("log"));
        command.env("RABBITMQ_PID_FILE", folder.join("pid"));
        command.env("RABBITMQ_CONFIG_FILE", self.folder.path("rabbitmq.conf"));
        command.env("RABBITMQ_ADVANCED_CONFIG_FILE", folder.join("advanced.config"));
        command.env("RABBITMQ_GENERATED_CONFIG_DIR", folder.join("generated"));
        command.env("RABBITMQ_SCHEMA_DIR", folder.join("schema"));
        command.env("RABBITMQ_ENABLED_PLUGINS_FILE", self.folder.path("rabbitmq.plugins"));
        // Idle schedulers sleep instead of spinning: the machine's cores are shared with the services.
        let schedulers = format!("{LOOPBACK} +sbwt none +sbwtdcpu none +sbwtdio none");
        command.env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", schedulers).env("RABBITMQ_CTL_ERL_ARGS", LOOPBACK);
        command
    }

    async fn ready(&self, server: &[Process]) -> Result<(), ServersError> {
        let alive = || server.iter().any(Process::alive);
        let settled = until(START_DEADLINE, async || !alive() || accepts(self.ports.amqp).await).await;
        let reason = match (alive(), settled) {
            (true, true) => return Ok(()),
            (true, false) => "no connection accepted in time",
            (false, _) => "it ended",
        };
        let log = self.folder.tail(&["rabbitmq.out", &format!("rabbitmq/log/{NODE}.log")]);
        Err(ServersError::NotStarted { server: "RabbitMQ", reason, log })
    }

    /// Our own name server; without it Erlang would start one for the whole machine.
    async fn start_epmd(&self) -> Result<(), ServersError> {
        if epmd_nodes(self.ports.epmd).await.is_some() {
            return Ok(());
        }
        let mut command = self.account.command("epmd");
        let port = self.ports.epmd.to_string();
        command.args(["-address", "127.0.0.1", "-port", &port, "-daemon"]);
        process::run("epmd", command, "").await?;
        if until(EPMD_DEADLINE, async || epmd_nodes(self.ports.epmd).await.is_some()).await {
            return Ok(());
        }
        let log = String::new();
        Err(ServersError::NotStarted { server: "epmd", reason: "no connection accepted in time", log })
    }

    pub(super) async fn control(&self, arguments: &[&str]) -> Result<String, ServersError> {
        let mut command = self.command("rabbitmqctl");
        command.args(arguments);
        process::run("rabbitmqctl", command, "").await
    }

    pub(super) async fn stop(&self) -> Result<(), ServersError> {
        end(&self.folder).await
    }

    pub(super) async fn kill(&self) -> Result<(), ServersError> {
        // Twice where a shell had yet to start the server.
        loop {
            let found = find(&self.folder);
            if found.is_empty() {
                return Ok(());
            }
            process::end(&found, Signal::KILL, STOP_DEADLINE).await?;
        }
    }

    pub(super) async fn stop_epmd(&self) -> Result<(), ServersError> {
        end_epmd(self.ports.epmd).await
    }
}

/// Ends the server of a folder in order, then the shell around it; a shell that has yet to start it, at once.
pub(super) async fn end(folder: &Folder) -> Result<(), ServersError> {
    loop {
        let found = find(folder);
        if found.is_empty() {
            return Ok(());
        }
        let machines: Vec<Process> = found.iter().filter(|process| process.name == MACHINE).cloned().collect();
        let next = if machines.is_empty() { &found } else { &machines };
        process::end(next, Signal::TERM, STOP_DEADLINE).await?;
    }
}

/// Ends the name server that a folder noted the port of, also one that has yet to listen; unless a node stays
/// registered with it, which then is not ours.
pub(super) async fn end_epmd(port: u16) -> Result<(), ServersError> {
    let mut found = Process::with_argument(Path::new(&port.to_string()));
    found.retain(|process| process.name == "epmd");
    if found.is_empty() || epmd_nodes(port).await.is_some() && !epmd_is_idle(port).await {
        return Ok(());
    }
    process::end(&found, Signal::TERM, EPMD_DEADLINE).await
}

/// Whether a name server answers that knows no node, or forgets it soon: one of ours whose RabbitMQ is gone.
pub(super) async fn epmd_is_idle(port: u16) -> bool {
    let nodes = || epmd_nodes(port);
    until(ANSWER_DEADLINE, async || nodes().await.is_none_or(|nodes| nodes.is_empty())).await && nodes().await.is_some()
}

/// The nodes registered with the name server on a port, one a line; none when no name server answers there.
async fn epmd_nodes(port: u16) -> Option<String> {
    let ask = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        // Request: length, NAMES_REQ. Answer: its own port in four bytes, then text.
        stream.write_all(b"\0\x01n").await?;
        let own_port = stream.read_u32().await?;
        let mut nodes = String::new();
        stream.read_to_string(&mut nodes).await?;
        Ok::<_, std::io::Error>((own_port == u32::from(port)).then_some(nodes))
    };
    timeout(ANSWER_DEADLINE, ask).await.ok()?.ok()?
}

/// Whether the server of a folder runs.
pub(super) fn runs(folder: &Folder) -> bool {
    !find(folder).is_empty()
}

fn find(folder: &Folder) -> Vec<Process> {
    Process::with_argument(&folder.path("rabbitmq"))
}

/// Sends the protocol's header and looks for `connection.start`: a listener alone proves nothing.
async fn accepts(port: u16) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.write_all(b"AMQP\0\0\x09\x01").await?;
        let mut start = [0; 11];
        stream.read_exact(&mut start).await?;
        Ok::<_, std::io::Error>(start)
    };
    // A method frame (1) on channel 0, four bytes of length, class 10, method 10.
    matches!(timeout(ANSWER_DEADLINE, ask).await, Ok(Ok([1, 0, 0, _, _, _, _, 0, 10, 0, 10])))
}

pub(super) fn installed() -> bool {
    Path::new(PROGRAMS).join("rabbitmq-server").exists()
}

/// The installed version, refused if the data is of another major version or of a newer one.
pub(super) fn check_version(folder: &Folder) -> Result<String, ServersError> {
    let installed = installed_version().unwrap_or_else(|| "unknown".to_owned());
    let Some(made_by) = folder.read("rabbitmq.version") else { return Ok(installed) };
    match (release(&made_by), release(&installed)) {
        (Some(old), Some(new)) if old.0 != new.0 || old > new => {
            Err(folder.other_version("RabbitMQ", made_by, format!("RabbitMQ {installed}")))
        }
        _ => Ok(installed),
    }
}

/// The version in the name of the folder that the programs are links into: `rabbitmq_server-3.10.8`.
fn installed_version() -> Option<String> {
    let program = Path::new(PROGRAMS).join("rabbitmq-server").canonicalize().ok()?;
    let parts = program.components().filter_map(|part| part.as_os_str().to_str());
    parts.filter_map(|part| part.strip_prefix("rabbitmq_server-")).map(str::to_owned).next()
}

/// Major and minor version.
fn release(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}
