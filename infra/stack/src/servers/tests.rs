//! The private servers, run for real: each test has a data folder of its own and must leave no process behind.

use std::fs::{DirBuilder, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use super::folder::{Folder, random_hex};
use super::process::Process;
use super::{Servers, ServersError, postgres, remove, stop_leftovers};

/// A data folder below one that every user can reach; removed at the end, with what still runs of it.
struct Scratch {
    root: PathBuf,
    data: PathBuf,
}

impl Scratch {
    fn new() -> Self {
        let root = std::env::temp_dir().join(format!("servers-test-{}", random_hex().unwrap()));
        DirBuilder::new().mode(0o755).create(&root).unwrap();
        Self { data: root.join("data"), root }
    }

    /// Processes that have anything of this folder on their command line, or the port of its name server.
    fn left_over(&self) -> Vec<Process> {
        let ports = std::fs::read_to_string(self.data.join("ports")).unwrap_or_default();
        let epmd = ports.split_whitespace().nth(3).map(PathBuf::from);
        let folders = ["postgres", "postgres.new", "rabbitmq"].map(|name| self.data.join(name));
        folders.into_iter().chain(epmd).flat_map(|argument| Process::with_argument(&argument)).collect()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.data.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for process in self.left_over() {
            let id = rustix::process::Pid::from_raw(i32::try_from(process.id).unwrap()).unwrap();
            let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
        }
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

/// What a statement returns, asked as the services would: over TCP, with the password.
async fn sql(servers: &Servers, statement: &str) -> String {
    let (_, programs) = postgres::installed().remove(0);
    let mut psql = Command::new(programs.join("psql"));
    psql.args(["--no-psqlrc", "--tuples-only", "--no-align", "-c", statement, &servers.database_url]);
    let output = psql.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Leaves something in both servers that only they can remember.
async fn leave_witness(servers: &Servers) {
    sql(servers, "CREATE TABLE witness (word text); INSERT INTO witness VALUES ('kept')").await;
    servers.rabbitmqctl(&["add_user", "witness", "secret"]).await.unwrap();
}

async fn assert_witness(servers: &Servers) {
    assert_eq!(sql(servers, "SELECT word FROM witness").await, "kept");
    assert!(servers.rabbitmqctl(&["list_users"]).await.unwrap().contains("witness"));
}

fn pids(servers: &Servers) -> (u32, u32) {
    (servers.postgres_pid().unwrap(), servers.rabbit_pid().unwrap())
}

fn session(pid: u32) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(3).unwrap().to_owned()
}

/// Goal: what was stored is there after a stop and a start, on other ports where somebody took them, and nothing runs
/// between.
#[tokio::test]
async fn data_survives_a_stop_and_ports_that_were_taken_are_replaced() {
    let scratch = Scratch::new();
    let servers = Servers::start(&scratch.data).await.unwrap();
    leave_witness(&servers).await;
    let (postgres, rabbit) = pids(&servers);
    let own = session(std::process::id());
    assert!(session(postgres) != own && session(rabbit) != own, "a Ctrl-C of ours must not reach the servers");
    let (database_url, amqp_url) = (servers.database_url.clone(), servers.amqp_url.clone());
    servers.stop().await.unwrap();
    assert_eq!(scratch.left_over(), []);

    let port = |url: &str| url.rsplit_once(':').unwrap().1.split_once('/').unwrap().0.parse::<u16>().unwrap();
    let taken = TcpListener::bind(("127.0.0.1", port(&database_url))).unwrap();
    let also_taken = TcpListener::bind(("127.0.0.1", port(&amqp_url))).unwrap();
    let servers = Servers::start(&scratch.data).await.unwrap();
    assert_ne!(servers.database_url, database_url);
    assert_ne!(servers.amqp_url, amqp_url);
    assert_witness(&servers).await;
    drop((taken, also_taken));
    servers.stop().await.unwrap();
    assert_eq!(scratch.left_over(), []);
}

/// Goal: after the owner died, its servers are adopted if they run and started if they do not; a second owner at the
/// same time is refused.
#[tokio::test]
async fn servers_that_outlived_their_owner_are_adopted_and_dead_ones_started() {
    let scratch = Scratch::new();
    let servers = Servers::start(&scratch.data).await.unwrap();
    leave_witness(&servers).await;
    let refused = Servers::start(&scratch.data).await.unwrap_err();
    assert!(matches!(&refused, ServersError::InUse { holder, .. } if *holder == std::process::id().to_string()));
    let first = pids(&servers);
    drop(servers);

    let servers = Servers::start(&scratch.data).await.unwrap();
    assert_eq!(pids(&servers), first);
    servers.kill_postgres().await.unwrap();
    servers.kill_rabbit().await.unwrap();
    drop(servers);

    let servers = Servers::start(&scratch.data).await.unwrap();
    let (postgres, rabbit) = pids(&servers);
    assert!(postgres != first.0 && rabbit != first.1);
    assert_witness(&servers).await;
    drop(servers);

    let servers = Servers::start(&scratch.data).await.unwrap();
    assert_eq!(pids(&servers), (postgres, rabbit));
    servers.stop().await.unwrap();
    assert_eq!(scratch.left_over(), [], "a stop ends adopted servers too");
}

/// Goal: the faults that other tests inject take hold, and pass, one server at a time, at the same address.
#[tokio::test]
async fn each_server_can_be_killed_stopped_and_blocked_alone() {
    let scratch = Scratch::new();
    let servers = Servers::start(&scratch.data).await.unwrap();
    leave_witness(&servers).await;
    let (postgres, rabbit) = pids(&servers);

    servers.kill_postgres().await.unwrap();
    assert_eq!((servers.postgres_pid(), servers.rabbit_pid()), (None, Some(rabbit)));
    servers.start_postgres().await.unwrap();
    assert_ne!(servers.postgres_pid(), Some(postgres));
    servers.stop_postgres().await.unwrap();
    assert_eq!(servers.postgres_pid(), None);
    servers.start_postgres().await.unwrap();

    servers.freeze_postgres().await.unwrap();
    let asked = tokio::time::timeout(Duration::from_millis(300), sql(&servers, "SELECT 1"));
    assert!(asked.await.is_err(), "nobody answers");
    servers.thaw_postgres().unwrap();
    assert_eq!(sql(&servers, "SELECT 1").await, "1");

    servers.kill_rabbit().await.unwrap();
    assert_eq!(servers.rabbit_pid(), None);
    servers.start_rabbit().await.unwrap();
    servers.rabbitmqctl(&["set_vm_memory_high_watermark", "absolute", "1"]).await.unwrap();
    assert!(servers.rabbitmqctl(&["status"]).await.unwrap().contains("memory"));
    servers.stop_rabbit().await.unwrap();
    servers.start_rabbit().await.unwrap();
    assert_witness(&servers).await;
    servers.freeze_postgres().await.unwrap();
    servers.stop().await.unwrap();
    assert_eq!(scratch.left_over(), [], "a frozen one ends too");
}

/// Goal: wherever a start is cut off, what it left can be ended, the next start works, and a removal takes it all.
#[tokio::test]
async fn a_start_that_was_cut_off_leaves_nothing_that_cannot_be_ended() {
    let scratch = Scratch::new();
    for cut_off_ms in [50, 400, 1_500, 3_000] {
        let cut_off = Duration::from_millis(cut_off_ms);
        // On a quick machine the last one is not cut off any more: servers whose owner is gone, then.
        if let Ok(started) = tokio::time::timeout(cut_off, Servers::start(&scratch.data)).await {
            assert!(cut_off_ms > 1_000, "started within {cut_off_ms} ms");
            drop(started.unwrap());
        }
        stop_leftovers(&scratch.data).await.unwrap();
        assert_eq!(scratch.left_over(), [], "cut off after {cut_off_ms} ms");
    }
    let cut_off = Duration::from_millis(900);
    assert!(tokio::time::timeout(cut_off, Servers::start(&scratch.data)).await.is_err());
    let servers = Servers::start(&scratch.data).await.unwrap();
    leave_witness(&servers).await;
    drop(servers);
    std::fs::write(scratch.data.join("keys.env"), "not the servers'").unwrap();
    remove(&scratch.data).await.unwrap();
    assert_eq!(scratch.left_over(), []);
    let mut left: Vec<_> = std::fs::read_dir(&scratch.data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["keys.env", "lock"]);
}

/// Goal: a folder on the way that the servers' user cannot enter is named, and nothing is created.
#[tokio::test]
async fn a_closed_ancestor_is_named_before_anything_is_created() {
    let scratch = Scratch::new();
    let closed = scratch.root.join("closed");
    DirBuilder::new().mode(0o755).create(&closed).unwrap();
    std::fs::create_dir(closed.join("inner")).unwrap();
    std::fs::set_permissions(&closed, Permissions::from_mode(0o600)).unwrap();
    let refused = Servers::start(&closed.join("inner/data")).await.unwrap_err();
    std::fs::set_permissions(&closed, Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(&refused, ServersError::Closed { ancestor, .. } if *ancestor == closed.canonicalize().unwrap()));
    assert!(refused.to_string().contains("--data"));
    assert_eq!(std::fs::read_dir(closed.join("inner")).unwrap().count(), 0);
}

/// Goal: only a folder that is empty or made by us is opened to other users.
#[tokio::test]
async fn a_folder_of_somebody_else_is_not_opened() {
    let scratch = Scratch::new();
    scratch.write("letters.txt", "private");
    std::fs::set_permissions(&scratch.data, Permissions::from_mode(0o600)).unwrap();
    let refused = Servers::start(&scratch.data).await.unwrap_err();
    assert!(
        matches!(&refused, ServersError::Closed { ancestor, .. } if *ancestor == scratch.data.canonicalize().unwrap())
    );
    assert_eq!(std::fs::metadata(&scratch.data).unwrap().permissions().mode() & 0o777, 0o600);
    // So that the end of the test can remove it.
    std::fs::set_permissions(&scratch.data, Permissions::from_mode(0o700)).unwrap();
}

/// Goal: data of a version that cannot be read is refused with what to do, and not touched.
#[tokio::test]
async fn data_of_another_version_is_refused() {
    // A password that got lost is no other version, and no reason to make new data either.
    let scratch = Scratch::new();
    scratch.write("postgres/PG_VERSION", &postgres::installed().remove(0).0.to_string());
    let refused = Servers::start(&scratch.data).await.unwrap_err();
    assert!(refused.to_string().contains("postgres.password"), "{refused}");

    for (name, text, what) in [
        ("postgres/PG_VERSION", "9\n", "PostgreSQL 9"),
        ("rabbitmq.version", "2.8.7", "RabbitMQ 2.8.7"),
        ("rabbitmq.version", "99.0.1", "RabbitMQ 99.0.1"),
        ("version", "0", "layout 0"),
    ] {
        let scratch = Scratch::new();
        scratch.write("version", "1");
        scratch.write(name, text);
        let refused = Servers::start(&scratch.data).await.unwrap_err();
        assert!(matches!(&refused, ServersError::OtherVersion { .. }), "{refused}");
        assert!(refused.to_string().contains(what) && refused.to_string().contains("--fresh"), "{refused}");
        assert!(!scratch.data.join("ports").exists());
    }
}

/// Goal: a path that RabbitMQ would hang on is refused at once.
#[tokio::test]
async fn a_path_that_rabbitmq_cannot_work_with_is_refused() {
    let scratch = Scratch::new();
    for name in ["with space", "quote's", "größe"] {
        let refused = Servers::start(&scratch.root.join(name)).await.unwrap_err();
        assert!(matches!(refused, ServersError::UnsafePath { .. }));
    }
}

/// Goal: one data folder has one path, however it was written, since processes are told apart by it.
#[test]
fn a_data_folder_has_one_path() {
    let scratch = Scratch::new();
    std::fs::create_dir(&scratch.data).unwrap();
    let real = scratch.data.canonicalize().unwrap();
    std::os::unix::fs::symlink(&scratch.data, scratch.root.join("link")).unwrap();
    for written in ["data", "data/", "./data", "link"] {
        assert_eq!(Folder::locate(&scratch.root.join(written)).unwrap().path("x"), real.join("x"));
    }
    assert_eq!(Folder::locate(&scratch.root.join("link/new/er")).unwrap().path("x"), Path::new(&real).join("new/er/x"));
}
