//! `stack up` as a user meets it: what it leaves in its folder, what it refuses, how it ends, and how it starts again.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod private;
mod support;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use common::clock::Clock;
use private::{Program, Scratch, fills, mode, within};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use stack::client::Client;
use stack::market::{Market, MarketConfig};
use stack::sandbox::Sandbox;

/// A first start makes two servers, on a machine that does other things too.
const READY: Duration = Duration::from_mins(1);
/// The main job after that.
const DONE: Duration = Duration::from_mins(1);
/// Told to end, it ends its servers too; one that does not end in order is killed after 30 s.
const ENDED: Duration = Duration::from_secs(45);

/// `stack up` on this test's folder and a free port, with these arguments more.
fn up(scratch: &Scratch, more: &[&str]) -> Program {
    up_with(scratch, more, &[])
}

fn up_with(scratch: &Scratch, more: &[&str], environment: &[(String, String)]) -> Program {
    let data = scratch.data_text();
    let mut arguments = vec!["up", "--port", "0", "--data", &data];
    arguments.extend_from_slice(more);
    Program::spawn(scratch, &arguments, environment)
}

/// A file of the data folder, trimmed.
fn file(scratch: &Scratch, name: &str) -> String {
    std::fs::read_to_string(scratch.data().join(name)).unwrap_or_default().trim().to_owned()
}

fn exists(scratch: &Scratch, name: &str) -> bool {
    scratch.data().join(name).exists()
}

fn keys(scratch: &Scratch) -> BTreeMap<String, String> {
    let text = file(scratch, "keys.env");
    text.lines().filter_map(|line| line.split_once('=')).map(|(name, key)| (name.to_owned(), key.to_owned())).collect()
}

fn client(scratch: &Scratch, key: &str) -> Client {
    Client::new(&file(scratch, "url"), &keys(scratch)[key]).unwrap()
}

/// What is true after every end but a kill.
async fn assert_ended(scratch: &Scratch) {
    scratch.assert_nothing_runs().await;
    assert!(!exists(scratch, "url") && !exists(scratch, "metrics"), "addresses of what does not run");
}

/// The figures on the last line of a job that was verified.
async fn figures(mut program: Program) -> Value {
    let status = program.ended(READY + DONE).await;
    let output = program.output();
    assert!(status.success(), "{status}:\n{output}");
    let figures: Value = serde_json::from_str(output.lines().last().unwrap()).expect("the last line is JSON");
    assert_eq!(figures["verified"], true, "{output}");
    assert!(!output.contains('\u{1b}'), "colours where nobody sees them");
    figures
}

/// Goal: the job is verified, on new data, on the same again, and on fresh data; keys stay unless fresh ones are wanted.
#[tokio::test]
async fn the_job_is_verified_and_can_be_run_again() {
    let scratch = Scratch::new();
    let first = figures(up(&scratch, &["--once", "--json"])).await;
    assert_ended(&scratch).await;
    let first_keys = keys(&scratch);
    assert_eq!(first_keys.keys().collect::<Vec<_>>(), ["GENERATOR_KEY", "OPERATOR_KEY", "TERMINAL_KEY"]);
    assert_eq!(mode(&scratch.data().join("keys.env")), 0o600);
    assert_eq!(first["members"].as_array().unwrap().len(), 2);

    let started = Instant::now();
    figures(up(&scratch, &["--once", "--json"])).await;
    println!("the job on data that was there took {:?} in all", started.elapsed());
    assert_ended(&scratch).await;
    assert_eq!(keys(&scratch), first_keys);

    let mut fresh = up(&scratch, &["--fresh", "--terminal", "none"]);
    fresh.wrote("ready", READY).await;
    let signals = client(&scratch, "OPERATOR_KEY").get("/api/signals").await.unwrap();
    assert_eq!(signals, json!([]), "data of before --fresh");
    fresh.stop(Signal::TERM, ENDED).await;
    assert_ended(&scratch).await;
    let fresh_keys = keys(&scratch);
    assert!(first_keys.iter().all(|(name, key)| fresh_keys[name] != *key), "old keys after --fresh");
}

/// Runs it where it must refuse; what it said.
async fn refused(scratch: &Scratch, arguments: &[&str], environment: &[(String, String)]) -> String {
    let mut program = Program::spawn(scratch, arguments, environment);
    let status = program.ended(ENDED).await;
    assert_eq!(status.code(), Some(1), "{arguments:?}: {}", program.output());
    scratch.assert_nothing_runs().await;
    program.output()
}

fn assert_says(output: &str, words: &[&str]) {
    for word in words {
        assert!(output.contains(word), "{word:?} is not said in: {output}");
    }
}

/// Goal: what cannot work is refused at once, with what to do, and nothing is started, created or changed.
#[tokio::test]
async fn what_cannot_work_is_refused_before_anything_is_started() {
    let scratch = Scratch::new();
    let data = scratch.data_text();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = refused(&scratch, &["up", "--data", &data, "--port", &port, "--fresh"], &[]).await;
    assert_says(&output, &["--port", &port]);
    let base = ["up", "--data", &data, "--port", "0"];
    let with = |more: &[&'static str]| [&base[..], more].concat();
    assert_says(&refused(&scratch, &with(&["--json"]), &[]).await, &["--json", "--once"]);
    assert_says(&refused(&scratch, &with(&["--once", "--terminal", "none"]), &[]).await, &["--once", "--terminal"]);
    let set = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    for (name, url) in [("DATABASE_URL", "postgres://a@127.0.0.1:1/a"), ("AMQP_URL", "amqp://127.0.0.1:1")] {
        let output = refused(&scratch, &base, &set(name, url)).await;
        assert_says(&output, &["DATABASE_URL", "AMQP_URL"]);
    }
    let both = [set("DATABASE_URL", "postgres://a@127.0.0.1:1/a"), set("AMQP_URL", "amqp://127.0.0.1:1")].concat();
    assert_says(&refused(&scratch, &with(&["--fresh"]), &both).await, &["--fresh"]);
    assert_says(&refused(&scratch, &base, &set("METRICS_ADDR", "nonsense")).await, &["METRICS_ADDR", "nonsense"]);
    assert!(!scratch.data().exists(), "created for nothing");
}

/// Goal: a data folder that cannot be used is refused with its reason, whatever it is: closed, of another version, with
/// keys that nobody can read; and it is left as it was.
#[tokio::test]
async fn a_data_folder_that_cannot_be_used_is_refused() {
    let scratch = Scratch::new();
    // Root's servers run as somebody else, who cannot enter; for an ordinary user nothing of his own is closed.
    if rustix::process::geteuid().is_root() {
        let closed = scratch.root.join("closed");
        std::fs::create_dir(&closed).unwrap();
        std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
        let data = closed.join("data");
        let output = refused(&scratch, &["up", "--port", "0", "--data", data.to_str().unwrap()], &[]).await;
        assert_says(&output, &[closed.to_str().unwrap(), "--data"]);
        assert!(!data.exists(), "created for nothing");
    }
    let data = scratch.data_text();
    let base = ["up", "--port", "0", "--data", &data];
    let write = |name: &str, text: &str| {
        let path = scratch.data().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    for (name, text, what) in [
        ("version", "0", "layout 0"),
        ("postgres/PG_VERSION", "9\n", "PostgreSQL 9"),
        ("rabbitmq.version", "2.8.7", "RabbitMQ"),
    ] {
        write("version", "1");
        write(name, text);
        let output = refused(&scratch, &base, &[]).await;
        assert_says(&output, &[what, "--data", "--fresh"]);
        assert_eq!(std::fs::read_to_string(scratch.data().join(name)).unwrap(), text, "changed");
        std::fs::remove_dir_all(scratch.data()).unwrap();
    }
}

/// Goal: without a terminal nothing is posted and nobody is made a member; a second start on the folder names the
/// first; and a signal posted by hand waits until a terminal of one's own is there.
#[tokio::test]
async fn without_a_terminal_a_signal_waits_for_one_of_your_own() {
    let scratch = Scratch::new();
    let mut platform = up(&scratch, &["--terminal", "none"]);
    platform.wrote("ready", READY).await;
    let (url, metrics) = (file(&scratch, "url"), file(&scratch, "metrics"));
    assert_eq!(reqwest::get(format!("{url}/readyz")).await.unwrap().status(), 200);
    assert!(reqwest::get(&metrics).await.unwrap().text().await.unwrap().contains("pipeline_"));
    assert_eq!(mode(&scratch.data().join("keys.env")), 0o600);

    let output = {
        let mut second = up(&scratch, &[]);
        assert_eq!(second.ended(ENDED).await.code(), Some(1));
        second.output()
    };
    assert_says(&output, &[&scratch.data_text(), "in use by another stack", "--data"]);
    assert_eq!((file(&scratch, "url"), file(&scratch, "metrics")), (url.clone(), metrics), "of the one that runs");
    let second_fresh = up(&scratch, &["--fresh"]).ended(ENDED).await;
    assert_eq!(second_fresh.code(), Some(1));
    assert!(exists(&scratch, "keys.env"), "removed under the one that runs");
    assert!(exists(&scratch, "url"), "removed under the one that runs");

    let operator = client(&scratch, "OPERATOR_KEY");
    assert_eq!(operator.get("/api/signals").await.unwrap(), json!([]), "posted by itself");
    let stats = operator.get("/api/account/stats").await.unwrap();
    assert!(stats["account"].is_null(), "reported by itself: {stats}");
    let (status, _) = operator.send(reqwest::Method::GET, "/api/users/anna/stats", None).await.unwrap();
    assert_eq!(status, 404, "a member who never joined");
    let generator = client(&scratch, "GENERATOR_KEY");
    let posted = generator.post("/api/signal", &json!({"symbol": "EURUSD", "action": "BUY"})).await.unwrap();
    let signal_id = posted["signal_id"].as_str().unwrap();
    let state = async || operator.signal(signal_id).await.unwrap().map(|signal| signal["state"].clone());
    within(READY, "it is stored", || async { state().await == Some(json!("pending")) }).await;

    let terminal_key = keys(&scratch)["TERMINAL_KEY"].clone();
    let mut terminal = Program::spawn(&scratch, &["terminal", "--url", &url, "--key", &terminal_key], &[]);
    within(DONE, "it is executed", || async { state().await == Some(json!("executed")) }).await;
    terminal.stop(Signal::TERM, ENDED).await;
    println!("ended {:?} after it was told to", platform.stop(Signal::TERM, ENDED).await);
    assert_ended(&scratch).await;
}

/// Ends it in the given phase, or so many milliseconds after it began to look after signals; it must end in time, in order,
/// and leave nothing that runs.
async fn interrupt(scratch: &Scratch, phase: &str, signal: Signal) {
    let mut program = up(scratch, &[]);
    match phase.parse() {
        // The delay is what is tested, nothing is waited for.
        Ok(milliseconds) => {
            let looks = || async { program.catches(Signal::INT) && program.catches(Signal::TERM) };
            within(READY, "it looks after signals", looks).await;
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        }
        Err(_) => program.wrote(phase, READY + DONE).await,
    }
    let started = Instant::now();
    program.signal(signal);
    let status = program.ended(ENDED).await;
    println!("{phase:>14} {signal:?}: ended {:?} later, {status}", started.elapsed());
    assert!(status.success(), "{phase}: {status}:\n{}", program.output());
    assert!(!program.output().contains("panicked"), "{}", program.output());
    assert_ended(scratch).await;
}

/// Goal: Ctrl-C and SIGTERM end it in every phase of a first start and of the job, in order and in time.
#[tokio::test]
async fn it_can_be_interrupted_in_every_phase() {
    let scratch = Scratch::new();
    for (phase, signal) in
        [("50", Signal::INT), ("300", Signal::TERM), ("ready", Signal::INT), ("in hand", Signal::TERM)]
    {
        interrupt(&scratch, phase, signal).await;
    }
    figures(up(&scratch, &["--once", "--json"])).await;
    assert_ended(&scratch).await;
}

/// Goal: the same at many more moments.
#[tokio::test]
#[ignore = "long: two dozen starts"]
async fn it_can_be_interrupted_at_any_moment() {
    let scratch = Scratch::new();
    for (index, delay) in
        [0, 5, 20, 100, 200, 500, 700, 1_000, 1_500, 2_500, 3_000, 4_000, 5_000].into_iter().enumerate()
    {
        let signals = if index % 2 == 0 { [Signal::INT, Signal::TERM] } else { [Signal::TERM, Signal::INT] };
        for signal in signals {
            interrupt(&scratch, &delay.to_string(), signal).await;
        }
    }
    for phase in ["ready", "members", "in hand", "prices move", "positions are closed", "verified", "going on"] {
        interrupt(&scratch, phase, Signal::INT).await;
        interrupt(&scratch, phase, Signal::TERM).await;
    }
    figures(up(&scratch, &["--once", "--json"])).await;
}

/// The process id in a server's file.
fn postgres_pid(scratch: &Scratch) -> String {
    file(scratch, "postgres/postmaster.pid").lines().next().unwrap_or_default().to_owned()
}

/// Posts until this many were accepted, whatever the platform does in between.
async fn post(generator: &Client, count: usize) -> Vec<String> {
    let mut accepted = Vec::new();
    for number in 0..count {
        let symbol = ["EURUSD", "GBPUSD", "USDJPY"][number % 3];
        let answer = generator.post("/api/signal", &json!({"symbol": symbol, "action": "BUY", "volume": 0.01})).await;
        accepted.push(answer.unwrap()["signal_id"].as_str().unwrap().to_owned());
    }
    accepted
}

/// Waits until all of these have reached an end; their numbers, and whether they were executed.
async fn ends(operator: &Client, signals: &[String]) -> BTreeMap<u64, bool> {
    let mut ends = BTreeMap::new();
    for signal_id in signals {
        let state = Mutex::new(Value::Null);
        within(Duration::from_secs(90), &format!("signal {signal_id} ends"), || async {
            *state.lock().unwrap() = operator.signal(signal_id).await.unwrap().unwrap_or_default();
            let open = ["pending", "processing", "unknown"].map(Value::from);
            let state = &state.lock().unwrap()["state"];
            !state.is_null() && !open.contains(state)
        })
        .await;
        let signal = state.into_inner().unwrap();
        ends.insert(signal["id"].as_u64().unwrap(), signal["state"] == "executed");
    }
    ends
}

/// Goal: killed in mid-run, it takes over the servers that still run, or starts those that were killed with it; every
/// accepted signal comes to its end, and none is filled twice.
#[tokio::test]
async fn after_a_kill_the_next_start_takes_over_and_accounts_for_every_signal() {
    let scratch = Scratch::new();
    let mut program = up(&scratch, &[]);
    // RabbitMQ has the directory of its queues on disk a second or two after it made one, and never recovers one that
    // it was killed before. Hence not before the first signal of the run that goes on, three seconds after the job.
    program.wrote("EURUSD 0.05 at", READY + DONE).await;
    let mut accepted = post(&client(&scratch, "GENERATOR_KEY"), 12).await;
    program.kill().await;
    let (postgres, first_keys) = (postgres_pid(&scratch), keys(&scratch));
    assert!(!postgres.is_empty());

    let started = Instant::now();
    let mut program = up(&scratch, &[]);
    program.wrote("in hand", READY).await;
    println!("signals in hand again {:?} after the start that adopted the servers", started.elapsed());
    assert_eq!(postgres_pid(&scratch), postgres, "the server that ran was not adopted");
    assert_eq!(keys(&scratch), first_keys);
    accepted.extend(post(&client(&scratch, "GENERATOR_KEY"), 12).await);
    program.kill().await;
    for (id, _) in scratch.left_over() {
        let _ = kill_process(Pid::from_raw(id).unwrap(), Signal::KILL);
    }

    let started = Instant::now();
    let mut program = up(&scratch, &[]);
    program.wrote("in hand", READY).await;
    println!("signals in hand again {:?} after the start that found its servers dead", started.elapsed());
    assert_ne!(postgres_pid(&scratch), postgres);
    accepted.extend(post(&client(&scratch, "GENERATOR_KEY"), 12).await);
    let operator = client(&scratch, "OPERATOR_KEY");
    let ended = ends(&operator, &accepted).await;
    println!("all ended {:?} after the start", started.elapsed());
    program.stop(Signal::INT, ENDED).await;
    assert_ended(&scratch).await;

    let folder = scratch.data().join("terminal/market");
    let fills = fills(&Market::open(Some(&folder), MarketConfig::default(), Clock::default().now()).unwrap());
    assert!(fills.values().all(|count| *count == 1), "a signal was filled twice: {fills:?}");
    println!("{} of {} signals executed", ended.values().filter(|executed| **executed).count(), ended.len());
    for (id, executed) in ended {
        assert_eq!(fills.contains_key(&id), executed, "signal {id}");
    }
}

/// Goal: servers that the environment names are used, and run on when it ends.
#[tokio::test]
async fn named_servers_are_used_and_left_running() {
    let scratch = Scratch::new();
    let (database_url, amqp_url) = support::servers();
    let sandbox = Sandbox::create(&database_url, &amqp_url, &[]).await.unwrap();
    let named = ["DATABASE_URL", "AMQP_URL", "AMQP_PREFIX"];
    let mut environment = sandbox.environment();
    environment.retain(|(name, _)| named.contains(&name.as_str()));
    let mut program = up_with(&scratch, &["--once", "--json"], &environment);
    let status = program.ended(READY + DONE).await;
    assert!(status.success(), "{}", program.output());
    assert_ended(&scratch).await;
    assert!(!exists(&scratch, "postgres") && !exists(&scratch, "rabbitmq"), "private servers beside named ones");
    let mut db = sandbox.database().await.unwrap();
    let signals: i64 = sqlx::query_scalar("select count(*) from signals").fetch_one(&mut db).await.unwrap();
    assert!(signals > 0);
    sandbox.remove().await.unwrap();
}
