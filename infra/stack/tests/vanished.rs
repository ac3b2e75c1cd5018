//! Hosts that vanish without a word, the database's and a service's: what they held is let go of within seconds, and who
//! waited for them goes on.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod private;
mod support;

use std::process::Stdio;
use std::str::FromStr as _;
use std::time::{Duration, Instant};

use private::within;
use reqwest::Method;
use serde_json::json;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, Executor as _, PgConnection};
use stack::faults::proxy::Proxy;
use stack::sandbox::Sandbox;
use support::{Whole, eventually, servers};

/// The connections on which dispatchers listen.
const LISTENERS: &str =
    "pg_stat_activity where datname = current_database() and application_name = 'dispatcher listener'";

/// A statement is answered within 20 s, a transaction rests for 20 s, and who waits for an answer gives up after 25 s.
const LET_GO: Duration = Duration::from_secs(45);

/// A line to the server of this database, and the database's URL over it.
async fn line(url: &str) -> (Proxy, String) {
    let options = PgConnectOptions::from_str(url).unwrap();
    let server = tokio::net::lookup_host((options.get_host(), options.get_port())).await.unwrap().collect();
    let proxy = Proxy::start(server).await.unwrap();
    let (before, after) = url.split_once(&format!("{}:{}", options.get_host(), options.get_port())).unwrap();
    let url = format!("{before}{}{after}", proxy.address);
    (proxy, url)
}

/// Runs `stack halt`: whether it succeeded, and what it said.
async fn halt(sandbox: &Sandbox, account: &str) -> (bool, String) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_stack"));
    command.env_clear().env("DATABASE_URL", &sandbox.settings.database_url).args(["halt", "--account", account]);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

async fn count(db: &mut PgConnection, of: &str) -> i64 {
    let statement = sqlx::AssertSqlSafe(format!("select count(*) from {of}"));
    sqlx::query_scalar(statement).fetch_one(db).await.unwrap()
}

/// Goal: a dispatcher whose host vanishes in mid-transaction keeps the rows that it locked for seconds, and no others: the look
/// passes by them, the platform stays ready, and an operator's switch counts soon, by the API and by `stack halt`.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_vanishes_in_mid_transaction_lets_go_of_its_account() {
    let whole = Whole::start(&[]).await;
    let buy = |symbol: &str| json!({"symbol": symbol, "action": "BUY", "volume": 0.01, "ttl_seconds": 3});
    let (held, free) = (whole.post(buy("EURUSD")).await, whole.post(buy("GBPUSD")).await);
    for id in [&held, &free] {
        whole.state(id, "pending").await;
    }
    let (proxy, url) = line(&whole.sandbox.settings.database_url).await;
    let vanishing = common::database::pool(&url, "dispatcher").unwrap();
    let mut transaction = vanishing.begin().await.unwrap();
    transaction.execute("select from accounts where account = 'main' for update").await.unwrap();
    let locked = sqlx::query("select from signals where signal_id::text = $1 for update").bind(&held);
    locked.fetch_one(&mut *transaction).await.unwrap();
    proxy.lose_connections();
    let vanished = Instant::now();

    whole.state(&free, "expired").await;
    assert!(vanished.elapsed() < Duration::from_secs(10), "the other signal waited for {:?}", vanished.elapsed());
    let ready = whole.operator.send(Method::GET, "/readyz", None).await.unwrap();
    assert_eq!(
        (ready.0.as_u16(), &whole.operator.signal(&held).await.unwrap().unwrap()["state"]),
        (200, &json!("pending"))
    );
    let switched = within(LET_GO, "an operator's switch counts", || async {
        let body = json!({"mode": "reducing", "reason": "a host is gone"});
        whole.operator.send(Method::POST, "/api/control", Some(&body)).await.unwrap().0.is_success()
    });
    let ((halted, told), _) = tokio::join!(halt(&whole.sandbox, "main"), switched);
    assert!(halted, "{told}");
    println!("let go of after {:?}", vanished.elapsed());
    eventually("the held signal ended", || async {
        let signal = whole.operator.signal(&held).await.unwrap()?;
        (signal["state"] != "pending").then_some(())
    })
    .await;
    whole.finish().await;
}

/// Goal: `stack halt` that waits for somebody who does not end by himself says so in time, and what to do.
#[tokio::test]
async fn halting_an_account_that_somebody_holds_says_what_to_do() {
    let whole = Whole::start(&[]).await;
    let mut somebody = whole.sandbox.database().await.unwrap();
    let mut transaction = somebody.begin().await.unwrap();
    transaction.execute("select from accounts where account = 'main' for update").await.unwrap();
    let (halted, told) = halt(&whole.sandbox, "main").await;
    assert!(!halted && told.contains("pg_terminate_backend(PID)"), "{told}");
    transaction.rollback().await.unwrap();
    let (halted, told) = halt(&whole.sandbox, "main").await;
    assert!(halted, "{told}");
    whole.finish().await;
}

/// Goal: when the database's host vanishes while both consumers and the listener wait for it, and another has its address, all
/// three go on with that one.
#[tokio::test(flavor = "multi_thread")]
async fn consumers_and_the_listener_go_on_when_the_databases_host_vanishes() {
    let (database_url, amqp_url) = servers();
    let mut sandbox = Sandbox::create(&database_url, &amqp_url, &[]).await.unwrap();
    let direct = sandbox.settings.database_url.clone();
    let proxy;
    (proxy, sandbox.settings.database_url) = line(&direct).await;
    let platform = sandbox.start().await.unwrap();
    let operator = sandbox.operator(&platform).unwrap();
    let whole = Whole { sandbox, platform, operator };
    let (mut db, mut look) =
        (PgConnection::connect(&direct).await.unwrap(), PgConnection::connect(&direct).await.unwrap());
    assert_eq!(count(&mut look, LISTENERS).await, 1);

    let mut stuck = db.begin().await.unwrap();
    stuck.execute("lock table signals, account_state in share mode").await.unwrap();
    let ping = json!({"action": "PING"});
    whole.post(ping.clone()).await;
    whole.report("10000", "10000").await;
    let waiting = "pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
                   and (query like 'with batch as%' or application_name = 'distributor')";
    within(support::DEADLINE, "both consumers wait for the database", || async {
        let mut look = PgConnection::connect(&direct).await.unwrap();
        count(&mut look, waiting).await >= 2
    })
    .await;
    proxy.lose_connections();
    let vanished = Instant::now();
    stuck.rollback().await.unwrap();

    whole.post(ping).await;
    within(LET_GO, "the next signal is stored", || async {
        let mut look = PgConnection::connect(&direct).await.unwrap();
        count(&mut look, "signals").await == 2
    })
    .await;
    println!("signals go on after {:?}", vanished.elapsed());
    within(LET_GO, "the report is applied", || async {
        let mut look = PgConnection::connect(&direct).await.unwrap();
        count(&mut look, "account_state where outcome = 'applied'").await == 1
    })
    .await;
    println!("reports go on after {:?}", vanished.elapsed());
    // The old one's server does not know that nobody is there any more.
    within(LET_GO, "another connection listens", || async {
        let mut look = PgConnection::connect(&direct).await.unwrap();
        count(&mut look, LISTENERS).await == 2
    })
    .await;
    within(LET_GO, "the platform is ready", || async {
        whole.operator.send(Method::GET, "/readyz", None).await.unwrap().0.is_success()
    })
    .await;
    whole.finish().await;
}

/// Goal: a connection that was left in the middle of a statement, and whose server is gone, does not hold its place in the pool
/// for as long as TCP tries.
#[tokio::test]
async fn a_connection_whose_server_is_gone_leaves_its_pool() {
    let (proxy, url) = line(&servers().0).await;
    let pool = common::database::pool(&url, "a test").unwrap();
    let mut connection = pool.acquire().await.unwrap();
    let asked = sqlx::query("select pg_sleep(10)").execute(&mut *connection);
    assert!(tokio::time::timeout(Duration::from_millis(100), asked).await.is_err(), "left in the middle");
    proxy.lose_connections();
    drop(connection);
    let one: i32 = sqlx::query_scalar("select 1").fetch_one(&pool).await.unwrap();
    assert_eq!((one, pool.size()), (1, 2));
    within(LET_GO, "only the one that is well is left", || async { pool.size() == 1 }).await;
    pool.close().await;
}

/// Goal: work may take longer than a statement as long as the server answers; where it does not, nothing else that goes on in
/// the same task counts as an answer.
#[tokio::test]
async fn work_is_given_up_when_nothing_comes_of_it_and_not_before() {
    let limit = Duration::from_secs(1);
    let pool = common::database::pool(&servers().0, "a test").unwrap();
    let mut connection = pool.acquire().await.unwrap();
    let answered = common::database::answered_within(limit, async {
        for _ in 0..4 {
            connection.execute("select pg_sleep(0.4)").await?;
        }
        Ok(())
    });
    answered.await.unwrap();
    let silent =
        common::database::answered_within(limit, async { connection.execute("select pg_sleep(15)").await.map(drop) });
    let ticking = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        loop {
            ticks.tick().await;
        }
    };
    let began = Instant::now();
    let outcome = tokio::select! {
        outcome = silent => outcome,
        () = ticking => unreachable!("it ticks for ever"),
    };
    let late = matches!(outcome, Err(sqlx::Error::Io(error)) if error.kind() == std::io::ErrorKind::TimedOut);
    assert!(late && began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    connection.detach();
    pool.close().await;
}

/// Goal: the server looks after a session's client itself, as the session asked when it connected.
#[tokio::test]
async fn a_session_has_the_server_look_whether_its_client_is_there() {
    let pool = common::database::pool(&servers().0, "a test").unwrap();
    let settings = [
        ("idle_in_transaction_session_timeout", "20s"),
        ("tcp_keepalives_idle", "10"),
        ("tcp_keepalives_interval", "5"),
        ("tcp_keepalives_count", "4"),
        ("tcp_user_timeout", "30000"),
    ];
    for (name, expected) in settings {
        let found: String = sqlx::query_scalar("select current_setting($1)").bind(name).fetch_one(&pool).await.unwrap();
        assert_eq!(found, expected, "{name}");
    }
    pool.close().await;
}
