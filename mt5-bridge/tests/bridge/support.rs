//! A bridge in a folder of its own with a Wine prefix, and waiting for a condition.

#[path = "../../../infra/stack/tests/support/port.rs"]
pub(crate) mod port;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{HeaderMap, Method, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::prefix::{TERMINAL_FOLDER, copy_prefix, standin};
use crate::process::{Process, signal};

/// How long a condition may take to come true: making a Wine prefix and starting Wine anew, on a busy machine, are part of
/// most.
pub(crate) const DEADLINE: Duration = Duration::from_mins(3);
/// How long a stop may take, a terminal that hangs included.
const STOP_DEADLINE: Duration = Duration::from_secs(15);
pub(crate) const KEY: &str = "mt5c_terminal_secret-of-the-terminal";
pub(crate) const VNC_PASSWORD: &str = "8-Qwz.7k";

/// What a bridge is started with.
pub(crate) struct Options<'a> {
    pub(crate) dispatcher: String,
    /// Whether the prefix and the terminal are there already.
    pub(crate) installed: bool,
    /// How the stand-in misbehaves from its first start on; nothing: not at all.
    pub(crate) mode: &'a str,
    pub(crate) settings: &'a [(&'static str, &'a str)],
}

/// A bridge that runs.
pub(crate) struct Bridge {
    command: Command,
    process: Child,
    pub(crate) folder: PathBuf,
    pub(crate) vnc_port: u16,
    pub(crate) relay_port: u16,
    health_port: u16,
    metrics_port: u16,
}

/// An answer of the bridge.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Bridge {
    /// Starts one whose terminal works.
    pub(crate) async fn start(options: Options<'_>) -> Self {
        let folder = own_folder();
        let ports = [(); 4].map(|()| port::free_port());
        if options.installed {
            copy_prefix(&folder.join("data/wine")).await;
            let mode = folder.join("data/wine").join(TERMINAL_FOLDER).join("standin-mode.txt");
            std::fs::write(mode, options.mode).expect("a mode");
            std::fs::write(folder.join("data/terminal-installed"), "").expect("a mark");
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_mt5-bridge"));
        command.env_clear().env("PATH", std::env::var_os("PATH").expect("a path"));
        for (name, value) in environment(&folder, &ports, &options).await {
            command.env(name, value);
        }
        for (name, value) in options.settings {
            command.env(name, value);
        }
        let log = std::fs::File::create(folder.join("log")).expect("a log");
        let process = command.stdin(Stdio::null()).stderr(log).spawn().expect("the bridge starts");
        let [relay_port, health_port, metrics_port, vnc_port] = ports;
        let bridge = Self { command, process, folder, vnc_port, relay_port, health_port, metrics_port };
        bridge.until_it_answers().await;
        bridge
    }

    /// Stops it and starts it again, as a container is restarted.
    pub(crate) async fn restart(&mut self) {
        let status = self.stop().await;
        assert!(status.success(), "{status}");
        self.process = self.command.spawn().expect("the bridge starts");
        self.until_it_answers().await;
    }

    async fn until_it_answers(&self) {
        eventually("the bridge answers", || async { self.try_get("/livez").await }).await;
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id().expect("it runs")
    }

    /// What the terminal's folder holds.
    pub(crate) fn terminal(&self, file: &str) -> PathBuf {
        self.folder.join("data/wine").join(TERMINAL_FOLDER).join(file)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).expect("a log")
    }

    async fn try_get(&self, path: &str) -> Option<Answer> {
        ask(self.health_port, Method::GET, path, &[], "").await
    }

    pub(crate) async fn health(&self) -> Value {
        let answer = self.try_get("/health").await.expect("an answer");
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    pub(crate) async fn ready(&self) -> bool {
        self.try_get("/readyz").await.is_some_and(|answer| answer.status == StatusCode::OK)
    }

    /// What a container's health check says: whether it is ready, and else why not.
    pub(crate) async fn check(&self) -> (bool, String) {
        let mut check = Command::new(env!("CARGO_BIN_EXE_mt5-bridge"));
        check.arg("check").env_clear().env("HTTP_ADDR", format!("0.0.0.0:{}", self.health_port));
        let output = check.output().await.expect("it runs");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until the terminal can trade.
    pub(crate) async fn until_ready(&self) {
        eventually("ready", || async { self.ready().await.then_some(()) }).await;
    }

    /// Asks the relay as the EA does.
    pub(crate) async fn relay(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        ask(self.relay_port, method, path, headers, body).await.expect("the relay answers")
    }

    /// What `/metrics` answers.
    pub(crate) async fn metrics(&self) -> String {
        let answer = ask(self.metrics_port, Method::GET, "/metrics", &[], "").await.expect("metrics");
        String::from_utf8(answer.body.to_vec()).expect("text")
    }

    /// Where Prometheus finds it.
    pub(crate) fn metrics_address(&self) -> String {
        format!("127.0.0.1:{}", self.metrics_port)
    }

    /// The value of a metric whose line begins so; 0 where it is not there yet.
    pub(crate) async fn metric(&self, begins: &str) -> f64 {
        let text = self.metrics().await;
        let line = text.lines().find(|line| line.starts_with(begins));
        line.and_then(|line| line.rsplit_once(' ')).map_or(0.0, |(_, value)| value.parse().expect("a number"))
    }

    /// Stops it as a container's runtime does.
    async fn stop(&mut self) -> ExitStatus {
        signal(self.id(), "TERM").await;
        let end = tokio::time::timeout(DEADLINE, self.process.wait()).await;
        end.expect("it ends").expect("its status")
    }

    /// Stops it, as every test ends: within the deadlines, and nothing is left of it. Returns what it said.
    pub(crate) async fn finish(mut self) -> String {
        let started = Instant::now();
        let status = self.stop().await;
        assert!(status.success(), "{status}");
        assert!(started.elapsed() < STOP_DEADLINE, "stopped after {:?}", started.elapsed());
        assert!(self.processes().is_empty(), "left: {:?}", self.processes());
        self.log()
    }

    /// Processes in its Wine prefix, or below it, whatever their state: id, parent, state, command.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let prefix = format!("WINEPREFIX={}", self.folder.join("data/wine").display());
        let home = format!("HOME={}", self.folder.join("data").display());
        let parent = self.process.id();
        let ours = |process: &Process| {
            Some(process.parent) == parent
                || process.environment.iter().any(|variable| *variable == prefix || *variable == home)
        };
        Process::all().filter(ours).collect()
    }

    /// The one whose command line has this word, but for those that are to end it.
    pub(crate) fn process(&self, word: &str) -> Option<u32> {
        let ends = |command: &str| command.contains("wineserver -k") || command.contains("taskkill");
        let is_it = |process: &&Process| process.command.contains(word) && process.state != 'Z';
        self.processes().iter().filter(is_it).find(|process| !ends(&process.command)).map(|process| process.id)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.process.start_kill();
        for process in self.processes() {
            let _ = std::process::Command::new("kill").args(["-KILL", &process.id.to_string()]).status();
        }
        if std::thread::panicking() {
            eprintln!("the bridge said:\n{}", self.log());
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Waits for a condition; panics with `what` when it does not come true within [`DEADLINE`].
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = look().await {
            return value;
        }
        assert!(started.elapsed() < DEADLINE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn ask(port: u16, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Option<Answer> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let mut request = hyper::Request::builder().method(method).uri(format!("http://127.0.0.1:{port}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).expect("a request");
    let response = client.request(request).await.ok()?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.ok()?.to_bytes();
    Some(Answer { status: parts.status, headers: parts.headers, body })
}

async fn environment(folder: &Path, ports: &[u16; 4], options: &Options<'_>) -> Vec<(&'static str, OsString)> {
    let sources = folder.join("ea/Experts");
    std::fs::create_dir_all(&sources).expect("a folder");
    std::fs::write(sources.join("Standin.mq5"), "int OnInit() { return INIT_SUCCEEDED; }\n").expect("a source");
    let setup = folder.join("mt5setup.exe");
    std::fs::copy(standin().await, &setup).expect("the installer");
    std::fs::write(folder.join("key"), format!("{KEY}\n")).expect("a key");
    let address = |port: u16| OsString::from(format!("127.0.0.1:{port}"));
    vec![
        ("DISPATCHER_URL", options.dispatcher.clone().into()),
        ("TERMINAL_KEY_FILE", folder.join("key").into()),
        ("RELAY_ADDR", address(ports[0])),
        ("HTTP_ADDR", address(ports[1])),
        ("METRICS_ADDR", address(ports[2])),
        ("VNC_ADDR", address(ports[3])),
        ("VNC_PASSWORD", VNC_PASSWORD.into()),
        ("DATA_DIR", folder.join("data").into()),
        ("RUN_DIR", folder.join("run").into()),
        ("EA_DIR", folder.join("ea").into()),
        ("MT5_INSTALLER", setup.into()),
        ("MT5_EXPERT", "Standin".into()),
        ("EA_INPUTS", format!("Relay={}", ports[0]).into()),
    ]
}

fn own_folder() -> PathBuf {
    let taken = std::time::Instant::now();
    let name = format!("mt5-bridge-{}-{taken:?}", std::process::id());
    let name: String =
        name.chars().filter(|character| character.is_ascii_alphanumeric() || *character == '-').collect();
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}
