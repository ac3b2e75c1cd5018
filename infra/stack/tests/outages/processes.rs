//! Processes that are killed, or told to end, under load.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::clock::Clock;
use reqwest::Method;
use rust_decimal::Decimal;
use rustix::process::Signal;
use stack::client::Client;
use stack::faults::choices::Choices;
use stack::market::{Market, MarketConfig, SymbolSpec};
use stack::sandbox::{Sandbox, lift_limits};
use stack::terminal;
use tokio_util::sync::CancellationToken;

use super::steps::{BACK, ENDED};
use crate::load::{Load, SYMBOLS, account_for};
use crate::private::{Program, Scratch, fills, within};
use crate::support;
use crate::support::port::free_port;

/// A process with all services, on a port that stays the same over its lives.
fn serve(scratch: &Scratch, sandbox: &Sandbox, address: SocketAddr) -> Program {
    let mut environment = sandbox.environment();
    environment.push(("HTTP_ADDR".to_owned(), address.to_string()));
    environment.push(("METRICS_ADDR".to_owned(), "127.0.0.1:0".to_owned()));
    Program::spawn(scratch, &["serve"], &environment)
}

async fn shared_sandbox() -> Sandbox {
    let (database_url, amqp_url) = support::servers();
    Sandbox::create(&database_url, &amqp_url, &[]).await.unwrap()
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

async fn stored(sandbox: &Sandbox) -> i64 {
    let mut db = sandbox.database().await.unwrap();
    sqlx::query_scalar("select count(*) from signals").fetch_one(&mut db).await.unwrap()
}

/// Goal: of two processes with all services the one that consumes is killed under load, and the other takes over:
/// signals are stored without it, each once and in order.
#[tokio::test(flavor = "multi_thread")]
async fn the_second_of_two_dispatchers_takes_over_when_the_first_is_killed() {
    let scratch = Scratch::new();
    let sandbox = shared_sandbox().await;
    let (first_at, second_at) = (loopback(), loopback());
    let (first_url, second_url) = (format!("http://{first_at}"), format!("http://{second_at}"));
    let first = serve(&scratch, &sandbox, first_at);
    let up = async |url: &str| {
        let client = Client::new(url, sandbox.keys.operator()).unwrap();
        within(BACK, "the platform is ready", || async {
            client.send(Method::GET, "/readyz", None).await.is_ok_and(|(status, _)| status.is_success())
        })
        .await;
    };
    up(&first_url).await;
    let mut second = serve(&scratch, &sandbox, second_at);
    up(&second_url).await;
    let load = Load::start(&[&first_url, &second_url], sandbox.keys.generator(), Duration::from_millis(10));
    load.accepts(300).await;
    first.kill().await;
    let before = stored(&sandbox).await;
    let taken = within(BACK, "the other one stores", || async { stored(&sandbox).await > before + 50 }).await;
    println!("the other dispatcher stored another 50 signals {taken:?} after the kill");
    load.accepts(300).await;
    assert!(load.broken() > 0, "nobody noticed the kill");
    let (logs, _) = load.finish().await;
    account_for(&sandbox, &logs).await;
    second.stop(Signal::TERM, ENDED).await;
    sandbox.remove().await.unwrap();
}

/// Goal: all services are killed again and again under load, while a terminal trades: every accepted signal is there
/// once and reaches its end, and no signal is filled twice.
#[tokio::test(flavor = "multi_thread")]
async fn killing_the_platform_again_and_again_loses_nothing_and_trades_nothing_twice() {
    const KILLS: usize = 5;
    let scratch = Scratch::new();
    let mut sandbox = shared_sandbox().await;
    let address = loopback();
    sandbox.settings.http_addr = address;
    let url = format!("http://{address}");
    let market_config = MarketConfig {
        deposit: Decimal::from(10_000_000),
        symbols: SYMBOLS.map(SymbolSpec::named).to_vec(),
        ..MarketConfig::default()
    };
    let market = Arc::new(Market::open(None, market_config, Clock::default().now()).unwrap().into());
    let stop_terminal = CancellationToken::new();
    let config = terminal::Config {
        unresolved_interval: Duration::from_millis(200),
        grace: Duration::from_millis(500),
        tick_interval: None,
        ..terminal::Config::new(&url, sandbox.keys.terminal(), reqwest::Client::builder().no_proxy().build().unwrap())
    };
    let trading = tokio::spawn(terminal::run(config, Arc::clone(&market), None, stop_terminal.clone()));
    let load = Load::start(&[&url], sandbox.keys.generator(), Duration::from_millis(40));
    let mut choices = Choices::new(2_026);
    for _ in 0..KILLS {
        let platform = serve(&scratch, &sandbox, address);
        load.accepts(30 + choices.below(60)).await;
        // More positions than usual are going to be open. No kill before there is an account: else the last life alone
        // makes it, and rejects most of what waited.
        within(BACK, "the limits are lifted", || async {
            lift_limits(&mut sandbox.database().await.unwrap()).await.is_ok_and(|accounts| accounts > 0)
        })
        .await;
        platform.kill().await;
    }
    // The last life is in this process, so that its clock can be moved.
    let platform = sandbox.start().await.unwrap();
    load.accepts(50).await;
    assert!(load.broken() > 0, "nobody noticed the kills");
    let (logs, _) = load.finish().await;
    account_for(&sandbox, &logs).await;
    // Claims whose answer was lost in a kill: their leases run out, and the terminal looks them up.
    let mut db = sandbox.database().await.unwrap();
    let started = Instant::now();
    let mut progress = (i64::MAX, Instant::now());
    loop {
        let statement = "select count(*) from signals where state in ('pending', 'processing', 'unknown')";
        let open: i64 = sqlx::query_scalar(statement).fetch_one(&mut db).await.unwrap();
        if open == 0 {
            break;
        }
        assert!(started.elapsed() < Duration::from_mins(1), "{open} signals do not end");
        if open < progress.0 {
            progress = (open, Instant::now());
        } else if progress.1.elapsed() > Duration::from_secs(1) {
            sandbox.clock.advance(time::Duration::seconds(31));
            progress.1 = Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("all ended {:?} after the last kill's backlog was stored", started.elapsed());
    stop_terminal.cancel();
    trading.await.unwrap().unwrap();
    let states = account_for(&sandbox, &logs).await;
    println!("{states:?}");
    let fills = fills(&market.lock().unwrap());
    compare_fills(&sandbox, fills).await;
    assert!(platform.stop().await);
    drop(db);
    sandbox.remove().await.unwrap();
}

/// Every executed signal has one fill at the broker, every other one none.
async fn compare_fills(sandbox: &Sandbox, mut fills: BTreeMap<u64, usize>) {
    let mut db = sandbox.database().await.unwrap();
    let statement = "select id, state, coalesce(code, '') from signals";
    let signals: Vec<(i64, String, String)> = sqlx::query_as(statement).fetch_all(&mut db).await.unwrap();
    for (id, state, code) in signals {
        let found = fills.remove(&u64::try_from(id).unwrap()).unwrap_or(0);
        assert_eq!(found, usize::from(state == "executed"), "signal {id} is {state} {code} and has {found} fills");
    }
    assert!(fills.is_empty(), "fills of signals that nobody sent: {fills:?}");
}

/// Goal: told to stop under load and with a terminal waiting, the process finishes what it holds and ends in time, and
/// what it had accepted is stored by it or by the next one.
#[tokio::test(flavor = "multi_thread")]
async fn an_ordered_stop_under_load_ends_in_time_and_loses_nothing() {
    let scratch = Scratch::new();
    let mut sandbox = shared_sandbox().await;
    let address = loopback();
    sandbox.settings.http_addr = address;
    let url = format!("http://{address}");
    let load = Load::start(&[&url], sandbox.keys.generator(), Duration::from_millis(5));
    for signal in [Signal::TERM, Signal::INT, Signal::TERM] {
        let mut process = serve(&scratch, &sandbox, address);
        load.accepts(200).await;
        let client = Client::new(&url, sandbox.keys.terminal()).unwrap();
        // Holds a request and then an idle connection: neither may hold up the end.
        let waiting = tokio::spawn(async move {
            client.get("/api/signals/pending?limit=0&wait_ms=25000&protocol=2&terminal=T").await.is_ok()
        });
        load.accepts(20).await;
        println!("ended {:?} after it was told to", process.stop(signal, ENDED).await);
        waiting.await.unwrap();
    }
    let platform = sandbox.start().await.unwrap();
    load.accepts(50).await;
    let (logs, _) = load.finish().await;
    account_for(&sandbox, &logs).await;
    assert!(platform.stop().await);
    sandbox.remove().await.unwrap();
}
