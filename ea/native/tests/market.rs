//! Trading at the simulated market, which lives in this process and is looked into at the same time.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::future::Future;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stack::market::{self, Market, MarketConfig, Request, SharedMarket};
use support::{Run, Sandbox, program};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(30);

/// A market at a socket in the sandbox of its program; its prices stand still.
struct Trading {
    sandbox: Sandbox,
    runtime: Runtime,
    market: SharedMarket,
    stop: CancellationToken,
}

impl Trading {
    fn new(name: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let market = Market::open(None, MarketConfig::default(), market::now()).unwrap();
        let trading = Self {
            sandbox: Sandbox::new(name),
            runtime,
            market: Arc::new(Mutex::new(market)),
            stop: CancellationToken::new(),
        };
        let listener = trading.wait(market::listen(&trading.sandbox.path().join("market"))).unwrap();
        trading.runtime.spawn(market::serve(listener, trading.market.clone(), trading.stop.clone(), None));
        trading
    }

    fn wait<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime.block_on(async { tokio::time::timeout(DEADLINE, what).await.unwrap() })
    }

    fn call(&self, request: Request) {
        self.market.lock().unwrap().call(request, market::now());
    }

    fn arguments(&self) -> [String; 2] {
        ["--market".to_owned(), self.sandbox.path().join("market").display().to_string()]
    }

    fn run(&self, case: &str, more: &[&str]) -> Run {
        let arguments = self.arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
        self.sandbox.run(&program("Trades", false), &format!("InpCase={case}\n"), &arguments)
    }
}

/// Goal: an order's whole life, as `OrderSend` tells it and as positions, orders and the history show it.
#[test]
fn an_order_lives_as_in_a_terminal() {
    let trading = Trading::new("life");
    let run = trading.run("life", &[]);
    for line in [
        "start 1 true true USD 10000",
        "send open true 10009 0",
        "tick true true true",
        "calculated true 100.00 1100.00 1.00",
        "positions 1 true 77 0.1 by test true",
        "send odd volume false 10014 4756",
        "send rest true 10008 0",
        "resting 1 true true 0.2 true true",
        "send remove true 10009 0",
        "send close true 10009 0",
        "selected true 3 3",
        "balance true",
        "by position true 2 true",
        "one true 1 EURUSD",
        "ended true true true",
        "unknown false 4301",
        "transaction TRADE_TRANSACTION_ORDER_ADD EURUSD",
        "transaction TRADE_TRANSACTION_DEAL_ADD EURUSD",
        "transaction TRADE_TRANSACTION_ORDER_DELETE EURUSD",
        "transaction TRADE_TRANSACTION_HISTORY_ADD EURUSD",
    ] {
        run.must_say(line);
    }
    assert_eq!(run.code(), Some(0));
    assert_eq!(trading.market.lock().unwrap().deals().len(), 3);
}

/// Goal: the broker's clock may be hours away from UTC; what it takes and tells is then in its own time.
#[test]
fn the_brokers_clock_may_be_hours_away() {
    let run = Trading::new("hours").run("life", &["--server-hours", "3"]);
    for line in ["tick true true true", "resting 1 true true 0.2 true true", "selected true 3 3"] {
        run.must_say(line);
    }
}

/// Goal: an order whose answer is lost is told as unknown, and is not sent a second time by the terminal.
#[test]
fn a_lost_answer_is_unknown_and_nothing_is_sent_again() {
    for (name, executed, positions) in [("executed", true, 1), ("lost", false, 0)] {
        let trading = Trading::new(name);
        trading.call(Request::DropNext { count: 1, executed });
        let run = trading.run("faults", &[]);
        run.must_say("send unanswered false 0 4756");
        run.must_say(&format!("after {positions} 1"));
        run.must_say("send again true 10009 0");
        run.must_say("send filling false 10030 4756");
        run.must_say("send close by false 10013 4756");
        assert_eq!(trading.market.lock().unwrap().positions().len(), positions + 1);
    }
}

/// Goal: a terminal that may not trade refuses by itself, and the market hears nothing.
#[test]
fn without_permission_nothing_leaves_the_terminal() {
    let trading = Trading::new("forbidden");
    trading.run("faults", &["--no-trading"]).must_say("send again false 10027 4756");
    assert_eq!(trading.market.lock().unwrap().deals().len(), 1);
}

/// Goal: when the market is gone the terminal shows that, keeps its last view, and an order is refused as never sent.
#[test]
fn a_market_that_goes_away_leaves_a_stale_view() {
    let trading = Trading::new("gone");
    let set = trading.sandbox.path().join("inputs.set");
    std::fs::write(&set, "InpCase=broken\n").unwrap();
    let mut command = trading.sandbox.command(&program("Trades", false));
    let mut child = command.arg("--inputs").arg(&set).args(trading.arguments()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.ends_with("\tconnected")));
    trading.stop.cancel();
    let _ = std::fs::remove_file(trading.sandbox.path().join("market"));
    let rest: Vec<String> = lines.collect();
    assert!(rest.iter().any(|line| line.ends_with("\tsend gone false 10031 4756")), "{rest:?}");
    assert!(rest.iter().any(|line| line.ends_with("\tstale 10000 true")), "{rest:?}");
    assert!(child.wait().unwrap().success());
}
