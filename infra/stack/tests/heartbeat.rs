//! The heartbeat: a signal that trades nothing goes the whole way, tells that it works, and disturbs nothing else.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod private;
mod support;

use std::time::Duration;

use private::{Program, Scratch, within};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use stack::client::Client;
use stack::sandbox::Sandbox;
use support::port::free_port;
use support::{Whole, eventually, servers};

const CONFIRMED_AT: &str = r#"pipeline_heartbeat_timestamp_seconds{account="main"}"#;
/// How often accounts are sent one, as rarely as it can be set: a test moves the clock for the next.
const MINUTE: time::Duration = time::Duration::minutes(1);

/// Moves the clock to where another heartbeat is due, and none after it for a while.
fn next_minute(sandbox: &Sandbox) {
    let second = i64::from(sandbox.clock.now().second());
    sandbox.clock.advance(time::Duration::seconds(62 - second));
}

/// A platform that sends one every minute, soon after the beginning of one.
async fn beating() -> Whole {
    let (database_url, amqp_url) = servers();
    let mut sandbox = Sandbox::create(&database_url, &amqp_url, &[]).await.expect("a sandbox");
    sandbox.settings.heartbeat = MINUTE;
    next_minute(&sandbox);
    let platform = sandbox.start().await.expect("a platform");
    let operator = sandbox.operator(&platform).expect("a client");
    Whole { sandbox, platform, operator }
}

/// All metrics of a process.
async fn metrics(url: &str) -> String {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    client.get(url).send().await.unwrap().text().await.unwrap()
}

/// A series of these metrics; one that is not there has counted nothing.
fn series(metrics: &str, name: &str) -> f64 {
    let find = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
    metrics.lines().find_map(find).unwrap_or(0.0)
}

impl Whole {
    /// Waits for the heartbeat of the present slot, and claims it.
    async fn beat(&self) -> Value {
        eventually("a heartbeat", || async {
            self.poll_with("limit=10&protocol=2&terminal=T&wait_ms=1000").await.first().cloned()
        })
        .await
    }

    /// The next heartbeat, lost.
    async fn next_lost(&self) -> Value {
        next_minute(&self.sandbox);
        self.lost().await
    }

    /// The heartbeat of the present slot, claimed and not confirmed until it has failed.
    async fn lost(&self) -> Value {
        let beat = self.beat().await;
        self.sandbox.clock.advance(time::Duration::seconds(31));
        self.state(beat["signal_id"].as_str().unwrap(), "failed").await;
        beat
    }

    async fn answer(&self, beat: &Value) -> Value {
        self.confirm(json!({"signal_id": beat["signal_id"], "attempt": beat["attempt"], "terminal": "T"})).await
    }

    /// Waits until a series has this value.
    async fn tells(&self, name: &str, is: impl Fn(f64) -> bool) -> f64 {
        eventually(name, || async {
            let value = series(&metrics(&self.platform.metrics).await, name);
            is(value).then_some(value)
        })
        .await
    }

    /// Switches the account and waits until the gauges, which are set every 5 s, tell of it, and so of all before it.
    async fn gauges_tell_of(&self, mode: &str) {
        self.operator.post("/api/control", &json!({"mode": mode})).await.unwrap();
        self.tells(&format!(r#"pipeline_account_mode{{account="main",mode="{mode}"}}"#), |is| is > 0.0).await;
    }

    fn now(&self) -> f64 {
        (self.sandbox.clock.now() - time::OffsetDateTime::UNIX_EPOCH).as_seconds_f64()
    }

    async fn counted(&self, from: &str) -> i64 {
        let mut db = self.sandbox.database().await.unwrap();
        sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {from}"))).fetch_one(&mut db).await.unwrap()
    }
}

/// What is told of signals, all of which must be nothing.
fn assert_no_signals(metrics: &str) {
    let of_signals = |line: &&str| {
        ["pipeline_signals", "pipeline_accept_to_", "pipeline_oldest_signal"].iter().any(|name| line.starts_with(name))
    };
    for line in metrics.lines().filter(of_signals) {
        assert!(line.ends_with(" 0"), "{line}");
    }
}

/// Goal: a heartbeat reaches the terminal also while the account is halted, and its confirmation is told with its time;
/// no figure and no list of signals has it, while it is under way and afterwards.
#[tokio::test]
async fn a_heartbeat_goes_to_the_terminal_and_back_and_disturbs_no_figure() {
    let whole = beating().await;
    whole.operator.post("/api/control", &json!({"mode": "halted"})).await.unwrap();
    let beat = whole.beat().await;
    assert_eq!((&beat["action"], &beat["symbol"]), (&json!("PING"), &Value::Null));
    assert!(beat["remaining_ms"].as_i64().unwrap() <= 60_000);
    // It is in the terminal's hands.
    whole.gauges_tell_of("reducing").await;
    let under_way = metrics(&whole.platform.metrics).await;
    assert!(series(&under_way, CONFIRMED_AT).is_nan(), "none was confirmed yet");
    assert_no_signals(&under_way);
    assert_eq!(whole.answer(&beat).await["state"], "executed");
    let at = whole.tells(CONFIRMED_AT, |at| at > 0.0).await;
    assert!((-1.0..60.0).contains(&(whole.now() - at)), "{at}");
    let after = metrics(&whole.platform.metrics).await;
    assert_no_signals(&after);
    for name in [
        "pipeline_heartbeats_accepted_total",
        r#"pipeline_heartbeats_ended_total{state="executed"}"#,
        "pipeline_heartbeat_seconds_count",
    ] {
        assert_eq!(series(&after, name).to_string(), "1", "{name}");
    }
    assert_eq!(whole.operator.get("/api/signals").await.unwrap(), json!([]));
    assert_eq!(whole.operator.get("/api/signals?account=main&state=executed").await.unwrap(), json!([]));
    let story = whole.operator.signal(beat["signal_id"].as_str().unwrap()).await.unwrap().unwrap();
    assert_eq!((&story["principal"], &story["state"]), (&json!(":heartbeat"), &json!("executed")));
    whole.finish().await;
}

/// Goal: where a terminal takes heartbeats and does not confirm them, what is told grows old; they end by themselves and
/// leave nothing to look up, and what is said of them later counts no more.
#[tokio::test]
async fn a_terminal_that_never_confirms_lets_the_heartbeat_grow_old() {
    let whole = beating().await;
    whole.answer(&whole.beat().await).await;
    let at = whole.tells(CONFIRMED_AT, |at| at > 0.0).await;
    for lost in [1.0, 2.0, 3.0] {
        let beat = whole.next_lost().await;
        // It is counted after it was written.
        let failed = whole.tells(r#"pipeline_heartbeats_ended_total{state="failed"}"#, |failed| failed >= lost).await;
        assert_eq!(failed.to_string(), lost.to_string());
        assert_eq!(whole.answer(&beat).await["state"], "failed");
    }
    assert_eq!(whole.operator.get("/api/signals/unresolved").await.unwrap(), json!([]));
    let told = metrics(&whole.platform.metrics).await;
    assert!(whole.now() - series(&told, CONFIRMED_AT) > 120.0 && (series(&told, CONFIRMED_AT) - at).abs() < 0.001);
    assert_no_signals(&told);
    whole.finish().await;
}

/// Goal: where a terminal asks and has never confirmed one, that is told too, by when the first one ended: what never worked
/// alerts like what has ceased to.
#[tokio::test]
async fn an_account_that_never_confirmed_one_is_told_by_the_first_that_ended_without() {
    let whole = beating().await;
    whole.lost().await;
    let ended = whole.now();
    let at = whole.tells(CONFIRMED_AT, |at| at > 0.0).await;
    assert!((ended - at).abs() < 20.0, "{at} for {ended}");
    whole.next_lost().await;
    whole.gauges_tell_of("halted").await;
    let told = series(&metrics(&whole.platform.metrics).await, CONFIRMED_AT);
    assert!((told - at).abs() < 0.001, "still the first: {told} for {at}");
    whole.finish().await;
}

/// Goal: a day after they ended, nothing is left of heartbeats in any table but the last one that was confirmed, which is
/// what is told; a signal of the same age stays, and so does a heartbeat that an operator has to look at.
#[tokio::test]
async fn heartbeats_are_forgotten_after_a_day() {
    let mut whole = beating().await;
    let ping = whole.post(json!({"action": "PING"})).await;
    whole.state(&ping, "pending").await;
    let mut claimed = Vec::new();
    while claimed.len() < 2 {
        claimed.extend(whole.poll_with("limit=10&protocol=2&terminal=T&wait_ms=1000").await);
    }
    for beat in &claimed {
        whole.answer(beat).await;
    }
    let odd = whole.next_lost().await;
    let report = json!({"signal_id": odd["signal_id"], "attempt": 1, "terminal": "T", "ticket": 5});
    assert_eq!(whole.confirm(report).await["anomaly"], "executed_after_failed");
    next_minute(&whole.sandbox);
    let last = whole.beat().await;
    whole.answer(&last).await;
    whole.next_lost().await;
    assert_eq!(whole.counted("signals where principal = ':heartbeat' and finished_at is not null").await, 4);

    // A start looks at once for what is old.
    assert!(whole.platform.stop().await);
    whole.sandbox.settings.heartbeat = time::Duration::ZERO;
    whole.sandbox.clock.advance(time::Duration::hours(24) + MINUTE);
    whole.platform = whole.sandbox.start().await.unwrap();
    whole.operator = whole.sandbox.operator(&whole.platform).unwrap();
    eventually("the old ones are gone", || async {
        (whole.counted("signals where principal = ':heartbeat'").await <= 2).then_some(())
    })
    .await;
    for kept in [&odd, &last] {
        let signal = whole.operator.signal(kept["signal_id"].as_str().unwrap()).await.unwrap();
        assert!(signal.is_some(), "{kept}");
    }
    for table in ["signal_events", "trade_reports"] {
        let of_none = "x where not exists (select from signals s where s.signal_id = x.signal_id)";
        assert_eq!(whole.counted(&format!("{table} {of_none}")).await, 0, "{table}");
    }
    assert_eq!(whole.state(&ping, "executed").await["events"].as_array().unwrap().len(), 3);
    whole.finish().await;
}

/// Goal: a heartbeat that was confirmed by a clock that was ahead does not stand for those that are missing since, and figures
/// that were reported by it do not stand for those since.
#[tokio::test]
async fn what_was_told_by_a_clock_that_was_ahead_hides_nothing_later() {
    let reported_at = r#"pipeline_terminal_last_update_timestamp_seconds{account="main"}"#;
    let whole = beating().await;
    whole.answer(&whole.beat().await).await;
    let before = whole.tells(CONFIRMED_AT, |at| at > 0.0).await;
    whole.sandbox.clock.advance(time::Duration::hours(1));
    next_minute(&whole.sandbox);
    whole.answer(&whole.beat().await).await;
    whole.report("1000", "1000").await;
    for name in [CONFIRMED_AT, reported_at] {
        whole.tells(name, |at| at > before + 3_000.0).await;
    }
    whole.sandbox.clock.advance(-time::Duration::hours(1));
    whole.tells(CONFIRMED_AT, |at| at.to_bits() == before.to_bits()).await;
    whole.report("1001", "1000").await;
    whole.tells(reported_at, |at| (at - whole.now()).abs() < 60.0).await;
    whole.tells(r#"pipeline_account_balance{account="main"}"#, |balance| balance > 1_000.5).await;
    whole.finish().await;
}

/// Goal: an account whose terminals are all of the first protocol, which can't take heartbeats, has none that is missing:
/// they end quietly, and no alert has a figure to go by.
#[tokio::test]
async fn terminals_of_the_first_protocol_miss_no_heartbeat() {
    let whole = beating().await;
    // One that took them was there before.
    whole.answer(&whole.beat().await).await;
    whole.tells(CONFIRMED_AT, |at| at > 0.0).await;
    whole.sandbox.clock.advance(2 * MINUTE);
    eventually("they are ended", || async {
        assert!(whole.poll_with("limit=10").await.is_empty());
        let told = metrics(&whole.platform.metrics).await;
        (series(&told, r#"pipeline_heartbeats_ended_total{state="rejected"}"#) > 0.0).then_some(())
    })
    .await;
    whole.tells(CONFIRMED_AT, f64::is_nan).await;
    assert_no_signals(&metrics(&whole.platform.metrics).await);
    whole.finish().await;
}

/// Goal: switched off, no heartbeat is sent, and what was told before is told no more, so that nothing alerts.
#[tokio::test]
async fn no_heartbeat_is_sent_where_they_are_off() {
    let mut whole = beating().await;
    whole.answer(&whole.beat().await).await;
    whole.tells(CONFIRMED_AT, |at| at > 0.0).await;
    assert!(whole.platform.stop().await);
    whole.sandbox.settings.heartbeat = time::Duration::ZERO;
    whole.sandbox.clock.advance(5 * MINUTE);
    whole.platform = whole.sandbox.start().await.unwrap();
    whole.operator = whole.sandbox.operator(&whole.platform).unwrap();
    // The second time they are set, seconds after the start: by now one would have been sent, and the queue keeps its
    // order.
    for mode in ["reducing", "halted"] {
        whole.gauges_tell_of(mode).await;
    }
    whole.tells(CONFIRMED_AT, f64::is_nan).await;
    let signal = whole.post(json!({"action": "PING"})).await;
    whole.state(&signal, "pending").await;
    assert_eq!(whole.counted("signals where principal = ':heartbeat'").await, 1);
    whole.finish().await;
}

/// A service as a process of its own that sends a heartbeat every second, and the address of its metrics.
fn spawn(scratch: &Scratch, sandbox: &Sandbox, name: &str) -> (Program, String, String) {
    let [api, metrics] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    let mut environment = sandbox.environment();
    for (variable, value) in [("HTTP_ADDR", &*api), ("METRICS_ADDR", &*metrics), ("HEARTBEAT_SECONDS", "1")] {
        environment.push((variable.to_owned(), value.to_owned()));
    }
    let program = Program::spawn(scratch, &["serve", "--only", name], &environment);
    (program, format!("http://{api}"), format!("http://{metrics}/metrics"))
}

/// Goal: two ingests that both send every heartbeat make one signal of it.
#[tokio::test(flavor = "multi_thread")]
async fn two_ingests_make_one_heartbeat_of_a_slot() {
    let (scratch, (database_url, amqp_url)) = (Scratch::new(), servers());
    let sandbox = Sandbox::create(&database_url, &amqp_url, &[]).await.unwrap();
    let mut services = ["dispatcher", "ingest", "ingest"].map(|name| spawn(&scratch, &sandbox, name));
    for (_, url, _) in &services {
        let client = Client::new(url, "").unwrap();
        within(Duration::from_secs(30), "ready", || async {
            client.send(Method::GET, "/readyz", None).await.is_ok_and(|(status, _)| status == 200)
        })
        .await;
    }
    for (_, _, url) in &services[1..] {
        within(Duration::from_secs(20), "five heartbeats of each", || async {
            series(&metrics(url).await, "pipeline_heartbeats_accepted_total") >= 5.0
        })
        .await;
    }
    for (program, _, _) in services.iter_mut().rev() {
        program.stop(Signal::TERM, Duration::from_secs(10)).await;
    }
    let mut db = sandbox.database().await.unwrap();
    let statement = "select count(*), count(distinct date_trunc('second', received_at)) from signals
                     where principal = ':heartbeat' and account = 'main'";
    let (signals, slots): (i64, i64) = sqlx::query_as(statement).fetch_one(&mut db).await.unwrap();
    assert!(signals >= 5 && signals == slots, "{signals} signals of {slots} slots");
    sandbox.remove().await.unwrap();
}
