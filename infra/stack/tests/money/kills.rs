//! The distributor's process killed again and again: every report counts once, in the end the last one, and every
//! movement that was answered is there.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use stack::client::{Client, cents};
use stack::sandbox::Sandbox;
use tokio_util::sync::CancellationToken;

use super::broker::{Broker, envelope};
use super::steps::{assert_clean, five, full};
use crate::private::{Program, Scratch};
use crate::support::port::free_port;
use crate::support::{DEADLINE, Whole, eventually};

/// A process with all services at this address, that has started: what one before it had under way is over by then.
async fn serve(scratch: &Scratch, sandbox: &Sandbox, address: SocketAddr) -> Program {
    let mut environment = sandbox.environment();
    environment.push(("HTTP_ADDR".to_owned(), address.to_string()));
    environment.push(("METRICS_ADDR".to_owned(), "127.0.0.1:0".to_owned()));
    let mut program = Program::spawn(scratch, &["serve"], &environment);
    program.wrote("started", DEADLINE).await;
    program
}

async fn count(sandbox: &Sandbox, what: &str) -> i64 {
    let mut db = sandbox.database().await.unwrap();
    let query = sqlx::AssertSqlSafe(format!("select count(*) from {what}"));
    sqlx::query_scalar(query).fetch_one(&mut db).await.unwrap()
}

/// Reports of two accounts with growing numbers, a few at a time, until told to stop; how many of each.
async fn reports(sandbox: &Sandbox, stop: CancellationToken) -> i64 {
    let broker = Broker::connect(sandbox).await;
    let mut seq = 0;
    while !stop.is_cancelled() {
        let mut messages = Vec::new();
        for _ in 0..5 {
            seq += 1;
            for (account, report) in
                [("main", full(100_000 + i128::from(seq), 100_000)), ("second", five(100_000, seq.into()))]
            {
                let mut figures = report;
                figures["session"] = json!("s");
                figures["seq"] = json!(seq);
                messages.push(envelope(account, sandbox.clock.now(), &figures).1);
            }
        }
        // Some come twice.
        messages.extend_from_within(..3);
        broker.publish(&messages).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    broker.close().await;
    seq
}

/// A member pays in, a cent at a time, and repeats what was not answered under the same key; how often he did.
async fn payer(url: &str, key: &str, stop: CancellationToken) -> i128 {
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().unwrap();
    let mut paid = 0;
    loop {
        let request = http.post(format!("{url}/api/users/A/invest")).header("X-API-Key", key);
        let request = request.header("Idempotency-Key", format!("cent {paid}")).json(&json!({"amount": 0.01}));
        match request.send().await.map(|answer| answer.status().as_u16()) {
            Ok(200) => {
                paid += 1;
                // Not before: what was asked for and not answered may count all the same.
                if stop.is_cancelled() {
                    return paid;
                }
            }
            Ok(status) => assert_eq!(status, 503, "not the caller's fault"),
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Goal: the distributor is killed again and again while reports and deposits come; when it is back for good every report
/// is recorded once, the level is the last one's, every deposit that was answered counts once, and the books are clean.
#[tokio::test(flavor = "multi_thread")]
async fn killing_the_distributor_again_and_again_loses_no_report_and_no_cent() {
    let scratch = Scratch::new();
    let whole = Whole::start(&["second"]).await;
    whole.member("A", 100_000).await;
    let body = json!({"user_id": "B", "investment": 1_000, "account": "second"});
    whole.operator.post("/api/users", &body).await.unwrap();
    let Whole { mut sandbox, platform, .. } = whole;
    assert!(platform.stop().await);
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    sandbox.settings.http_addr = address;
    let (url, key) = (format!("http://{address}"), sandbox.keys.operator().to_owned());
    let stop = CancellationToken::new();
    let kills = async {
        for more in [120, 37, 300, 1, 80, 1, 250, 2, 1, 160] {
            let mut process = serve(&scratch, &sandbox, address).await;
            let before = count(&sandbox, "account_state").await;
            eventually("reports are recorded", || async {
                (count(&sandbox, "account_state").await >= before + more).then_some(())
            })
            .await;
            assert!(process.runs());
            process.kill().await;
        }
        // Told to end, it does so in order; what it leaves is the next one's.
        let mut process = serve(&scratch, &sandbox, address).await;
        let before = count(&sandbox, "account_state").await;
        eventually("reports are recorded", || async {
            (count(&sandbox, "account_state").await > before).then_some(())
        })
        .await;
        process.stop(Signal::TERM, Duration::from_secs(6)).await;
        let platform = sandbox.start().await.unwrap();
        stop.cancel();
        platform
    };
    let (platform, seq, paid) = tokio::join!(kills, reports(&sandbox, stop.clone()), payer(&url, &key, stop.clone()));
    println!("{seq} reports of each account, {paid} deposits");
    let client: Client = sandbox.operator(&platform).unwrap();
    let last = json!(full(100_000 + i128::from(seq), 100_000));
    client.post("/api/account/update", &last).await.unwrap();
    eventually("every report is recorded", || async {
        (count(&sandbox, "account_state").await == 2 * seq + 1).then_some(())
    })
    .await;
    eventually("the pools are valued", || async {
        (count(&sandbox, "pools where valued_version < version").await == 0).then_some(())
    })
    .await;
    assert_eq!(count(&sandbox, "account_state where outcome = 'applied'").await, 2 * seq + 1);
    assert_eq!(count(&sandbox, "pending_movements").await, 0);
    // The first level of deposits is the base, the first of the original's counts from nothing.
    for (user, account, deposited, profit) in
        [("A", "main", 100_000 + paid, i128::from(seq) - 1), ("B", "second", 100_000, i128::from(seq))]
    {
        let (_, stats): (_, Value) = client.send(Method::GET, &format!("/api/users/{user}/stats"), None).await.unwrap();
        let share = &stats["accounts"][0];
        assert_eq!((share["account"].as_str(), cents(&share["deposited"])), (Some(account), deposited));
        assert_eq!(cents(&share["value"]), deposited + profit, "{share}");
    }
    assert!(platform.stop().await);
    assert_clean(&mut sandbox.database().await.unwrap()).await;
    sandbox.remove().await.unwrap();
}
