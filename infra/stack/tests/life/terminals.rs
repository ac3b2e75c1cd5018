//! The simulated terminal against the real platform, while it crashes, falls silent and loses answers: whatever happens,
//! one opening signal is at most one order at the broker.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use stack::market::{DealType, Entry, Market, MarketConfig, Request};
use stack::terminal::{self, Config, Error, Fault, SharedMarket};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::steps::{BEYOND_THE_LEASE, id};
use crate::support::{Whole, eventually};

/// A market with terminals that come and go.
struct Broker {
    market: SharedMarket,
    folder: PathBuf,
}

/// A terminal that runs.
struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), Error>>,
}

impl Running {
    async fn stopped(self) {
        self.stop.cancel();
        self.task.await.unwrap().expect("it stopped in order");
    }

    /// Waits until it died of its fault.
    async fn crashed(self) {
        let outcome = self.task.await.unwrap();
        assert!(matches!(outcome, Err(Error::Crashed(_))), "{outcome:?}");
    }
}

impl Broker {
    fn open(whole: &Whole) -> Self {
        let market = Market::open(None, MarketConfig::default(), whole.sandbox.clock.now()).unwrap();
        let folder = std::env::temp_dir().join(format!("terminals-{}", uuid::Uuid::new_v4()));
        Self { market: Arc::new(Mutex::new(market)), folder }
    }

    /// Starts a terminal with the journal of this name.
    fn start(&self, whole: &Whole, journal: &str, faults: &[Fault]) -> Running {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let config = Config {
            faults: faults.to_vec(),
            journal: Some(self.folder.join(journal)),
            wait: Duration::from_millis(500),
            unresolved_interval: Duration::from_millis(50),
            grace: Duration::from_millis(300),
            tick_interval: None,
            late: Duration::from_secs(2),
            ..Config::new(&whole.platform.url, whole.sandbox.keys.terminal(), client)
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(terminal::run(config, Arc::clone(&self.market), None, stop.clone()));
        Running { stop, task }
    }

    /// Opening deals at the broker.
    fn fills(&self) -> usize {
        let market = self.market.lock().unwrap();
        market.deals().iter().filter(|deal| deal.deal_type != DealType::Balance && deal.entry == Entry::In).count()
    }

    async fn closed(self, whole: Whole) {
        let _ = std::fs::remove_dir_all(&self.folder);
        whole.finish().await;
    }
}

impl Whole {
    /// Waits until a signal is with a terminal.
    async fn with_a_terminal(&self, signal: &Value) {
        self.state(id(signal), "processing").await;
    }

    /// Lets the lease run out and waits until the outcome is unknown, or known again already.
    async fn lapse(&self, signal: &Value) {
        self.sandbox.clock.advance(BEYOND_THE_LEASE);
        eventually("the lease ran out", || async {
            let now = self.now(signal).await;
            let events = now["events"].as_array().unwrap();
            events.iter().any(|event| event["state"] == "unknown").then_some(())
        })
        .await;
    }
}

/// Goal: a terminal that trades and never says so does it once: the signal stays unknown, an operator's retry does not
/// make it trade again, and another terminal finds the order and says so.
#[tokio::test]
async fn a_terminal_that_never_confirms_trades_once() {
    let whole = Whole::start(&[]).await;
    let broker = Broker::open(&whole);
    let silent = broker.start(&whole, "silent", &[Fault::NeverConfirm]);
    let signal = whole.buy("EURUSD").await;
    eventually("the order is filled", || async { (broker.fills() == 1).then_some(()) }).await;
    whole.lapse(&signal).await;
    assert_eq!(whole.now(&signal).await["state"], "unknown");
    let retry = format!("/api/signals/{}/resolve", id(&signal));
    whole.operator.post(&retry, &json!({"outcome": "retry"})).await.unwrap();
    eventually("it is claimed again", || async { (whole.now(&signal).await["attempt"] == 2).then_some(()) }).await;
    whole.lapse(&signal).await;
    whole.state(id(&signal), "unknown").await;
    silent.stopped().await;
    let other = broker.start(&whole, "other", &[]);
    let executed = whole.state(id(&signal), "executed").await;
    assert_eq!(executed["attempt"], 2);
    let trades = whole.trades().await;
    assert_eq!((trades.len(), &trades[0]["signal_id"]), (1, &signal["signal_id"]));
    assert_eq!(broker.fills(), 1);
    other.stopped().await;
    broker.closed(whole).await;
}

/// Goal: the broker executed and its answer was lost: the look-up finds the order, and nothing is sent again.
#[tokio::test]
async fn a_lost_answer_of_the_broker_is_looked_up() {
    let whole = Whole::start(&[]).await;
    let broker = Broker::open(&whole);
    let terminal = broker.start(&whole, "one", &[Fault::LoseAnswer]);
    let signal = whole.buy("EURUSD").await;
    let executed = whole.state(id(&signal), "executed").await;
    assert_eq!((&executed["attempt"], broker.fills()), (&json!(1), 1));
    terminal.stopped().await;
    broker.closed(whole).await;
}

/// Goal: a crash before the order was sent is proven by the journal: the signal is handed out again and traded once, and
/// nobody waits for the end of the lease.
#[tokio::test]
async fn a_crash_before_the_order_is_made_good_once() {
    let whole = Whole::start(&[]).await;
    let broker = Broker::open(&whole);
    let first = broker.start(&whole, "one", &[Fault::CrashBeforeSend]);
    let signal = whole.buy("EURUSD").await;
    first.crashed().await;
    assert_eq!(broker.fills(), 0);
    whole.with_a_terminal(&signal).await;
    let second = broker.start(&whole, "one", &[Fault::CrashBeforeSend]);
    let executed = whole.state(id(&signal), "executed").await;
    assert_eq!((&executed["attempt"], broker.fills()), (&json!(2), 1));
    second.stopped().await;
    broker.closed(whole).await;
}

/// Goal: the same, but the signal's life is over by then: it ends and nothing is sent late.
#[tokio::test]
async fn a_crash_before_the_order_is_not_made_good_too_late() {
    let whole = Whole::start(&[]).await;
    let broker = Broker::open(&whole);
    let first = broker.start(&whole, "one", &[Fault::CrashBeforeSend]);
    let signal = whole.stored(json!({"symbol": "EURUSD", "action": "BUY", "ttl_seconds": 30})).await;
    first.crashed().await;
    whole.lapse(&signal).await;
    let second = broker.start(&whole, "one", &[Fault::CrashBeforeSend]);
    whole.state(id(&signal), "expired").await;
    assert_eq!(broker.fills(), 0);
    second.stopped().await;
    broker.closed(whole).await;
}

/// Goal: a crash after the fill, before a word was said of it: the order is found, and not sent again.
#[tokio::test]
async fn a_crash_after_the_fill_is_found_at_the_broker() {
    let whole = Whole::start(&[]).await;
    let broker = Broker::open(&whole);
    let first = broker.start(&whole, "one", &[Fault::CrashAfterFill]);
    let signal = whole.buy("EURUSD").await;
    first.crashed().await;
    assert_eq!(broker.fills(), 1);
    whole.lapse(&signal).await;
    let second = broker.start(&whole, "one", &[Fault::CrashAfterFill]);
    let executed = whole.state(id(&signal), "executed").await;
    assert_eq!((&executed["attempt"], broker.fills()), (&json!(1), 1));
    second.stopped().await;
    broker.closed(whole).await;
}

/// Goal: a position that was opened, never told of, and stopped out meanwhile is reported with its profit, under the
/// signal that opened it, and not opened again.
#[tokio::test]
async fn a_position_stopped_out_during_a_crash_is_told_with_its_profit() {
    let whole = Whole::start(&[]).await;
    let broker = Broker::open(&whole);
    let first = broker.start(&whole, "one", &[Fault::CrashAfterFill]);
    let body = json!({"symbol": "EURUSD", "action": "BUY", "volume": 0.1, "sl": 1.05, "ttl_seconds": 3600});
    let signal = whole.stored(body).await;
    first.crashed().await;
    let fall = Request::SetPrice { symbol: "EURUSD".to_owned(), bid: "1.04".parse().unwrap() };
    broker.market.lock().unwrap().call(fall, whole.sandbox.clock.now());
    let second = broker.start(&whole, "one", &[Fault::CrashAfterFill]);
    whole.sandbox.clock.advance(BEYOND_THE_LEASE);
    whole.state(id(&signal), "executed").await;
    let trade = eventually("the trade is closed", || async {
        whole.trades().await.into_iter().find(|trade| trade["status"] == "closed")
    })
    .await;
    assert_eq!((&trade["signal_id"], &trade["volume"]), (&signal["signal_id"], &json!(0.1)));
    assert_eq!((&trade["closed_volume"], &trade["action"]), (&json!(0.1), &json!("BUY")));
    let balance = broker.market.lock().unwrap().account().balance;
    assert_eq!(stack::client::decimal(&trade["profit"]), balance - rust_decimal::Decimal::from(10_000));
    assert_eq!((whole.trades().await.len(), broker.fills()), (1, 1));
    second.stopped().await;
    broker.closed(whole).await;
}

/// Goal: a terminal hangs with a claim; its neighbour trades on, and ends what the hanging one never sent as not found.
#[tokio::test]
async fn a_hanging_terminal_is_worked_around_by_its_neighbour() {
    let whole = Whole::start(&[]).await;
    let broker = Broker::open(&whole);
    let hanging = broker.start(&whole, "hanging", &[Fault::HangWithClaim]);
    let stuck = whole.buy("EURUSD").await;
    whole.with_a_terminal(&stuck).await;
    let neighbour = broker.start(&whole, "neighbour", &[]);
    let other = whole.buy("GBPUSD").await;
    whole.state(id(&other), "executed").await;
    whole.lapse(&stuck).await;
    let failed = whole.state(id(&stuck), "failed").await;
    assert_eq!((&failed["code"], broker.fills()), (&json!("outcome_not_found"), 1));
    neighbour.stopped().await;
    hanging.stopped().await;
    broker.closed(whole).await;
}

/// Goal: a confirmation that comes only after the lease still ends its signal, with one order and one trade.
#[tokio::test]
async fn a_late_confirmation_ends_its_signal() {
    let whole = Whole::start(&[]).await;
    let broker = Broker::open(&whole);
    let terminal = broker.start(&whole, "one", &[Fault::ConfirmLate]);
    let signal = whole.buy("EURUSD").await;
    eventually("the order is filled", || async { (broker.fills() == 1).then_some(()) }).await;
    whole.sandbox.clock.advance(BEYOND_THE_LEASE);
    let executed = whole.state(id(&signal), "executed").await;
    assert_eq!((&executed["attempt"], broker.fills()), (&json!(1), 1));
    assert_eq!(whole.trades().await.len(), 1);
    terminal.stopped().await;
    broker.closed(whole).await;
}

/// Goal: a crash in the moment of sending leaves no proof either way: what is not at the broker ends as failed and is
/// not sent again.
#[tokio::test]
async fn a_crash_while_sending_is_never_repeated() {
    let whole = Whole::start(&[]).await;
    let broker = Broker::open(&whole);
    let first = broker.start(&whole, "one", &[Fault::CrashWhileSending]);
    let signal = whole.buy("EURUSD").await;
    first.crashed().await;
    let second = broker.start(&whole, "one", &[Fault::CrashWhileSending]);
    whole.lapse(&signal).await;
    let failed = whole.state(id(&signal), "failed").await;
    assert_eq!((&failed["code"], &failed["attempt"]), (&json!("outcome_not_found"), &json!(1)));
    assert_eq!(broker.fills(), 0);
    second.stopped().await;
    broker.closed(whole).await;
}

/// Goal: a journal lost with its machine proves nothing: the new installation may not say that nothing was sent.
#[tokio::test]
async fn a_lost_journal_never_leads_to_a_second_order() {
    let whole = Whole::start(&[]).await;
    let broker = Broker::open(&whole);
    let first = broker.start(&whole, "lost", &[Fault::CrashAfterFill]);
    let filled = whole.buy("EURUSD").await;
    first.crashed().await;
    let second = broker.start(&whole, "lost too", &[Fault::CrashBeforeSend]);
    let unsent = whole.buy("GBPUSD").await;
    second.crashed().await;
    let third = broker.start(&whole, "new", &[]);
    whole.lapse(&filled).await;
    whole.state(id(&filled), "executed").await;
    let failed = whole.state(id(&unsent), "failed").await;
    assert_eq!((&failed["code"], broker.fills()), (&json!("outcome_not_found"), 1));
    third.stopped().await;
    broker.closed(whole).await;
}

/// Goal: a terminal that says everything twice, and one whose orders are requoted or refused, leave the right ends.
#[tokio::test]
async fn repeated_and_refused_orders_end_as_they_should() {
    for (fault, state, fills) in
        [(Fault::ConfirmTwice, "executed", 1), (Fault::Requote, "executed", 1), (Fault::Reject, "failed", 0)]
    {
        let whole = Whole::start(&[]).await;
        let broker = Broker::open(&whole);
        let terminal = broker.start(&whole, "one", &[fault]);
        let signal = whole.buy("EURUSD").await;
        whole.state(id(&signal), state).await;
        assert_eq!(broker.fills(), fills, "{fault:?}");
        terminal.stopped().await;
        assert_eq!(whole.trades().await.len(), fills, "{fault:?}");
        broker.closed(whole).await;
    }
}

/// Goal: a position's whole life at the broker, by signals only, is told right: opened, closed in part, closed.
#[tokio::test]
async fn a_position_is_opened_and_closed_in_parts_by_signals() {
    let whole = Whole::start(&[]).await;
    let broker = Broker::open(&whole);
    let terminal = broker.start(&whole, "one", &[]);
    let buy = json!({"symbol": "EURUSD", "action": "BUY", "volume": 0.3});
    let part = json!({"symbol": "EURUSD", "action": "CLOSE", "volume": 0.1});
    let limit = json!({"symbol": "EURUSD", "action": "BUY", "order_type": "limit", "entry": 0.5, "volume": 0.2});
    for body in [buy, part, limit] {
        let signal = whole.stored(body).await;
        whole.state(id(&signal), "executed").await;
    }
    let statuses = async || {
        let trades = whole.trades().await;
        trades.iter().map(|trade| json!([trade["status"], trade["volume"], trade["closed_volume"]])).collect::<Value>()
    };
    assert_eq!(statuses().await, json!([["open", 0.3, 0.1], ["placed", 0.2, 0]]));
    let close_all = whole.stored(json!({"action": "CLOSE_ALL"})).await;
    whole.state(id(&close_all), "executed").await;
    assert_eq!(statuses().await, json!([["closed", 0.3, 0.3], ["cancelled", 0.2, 0]]));
    let profit: rust_decimal::Decimal =
        whole.trades().await.iter().map(|trade| stack::client::decimal(&trade["profit"])).sum();
    let market = broker.market.lock().unwrap().account();
    assert_eq!(profit + rust_decimal::Decimal::from(10_000), market.balance, "the trades add up to the balance");
    terminal.stopped().await;
    broker.closed(whole).await;
}

/// Goal: the Expert Advisor of the original design trades a signal from the original generator, and its confirmation
/// without an id ends the signal.
#[tokio::test]
async fn the_first_expert_advisor_still_works() {
    let whole = Whole::start(&[]).await;
    let broker = Broker::open(&whole);
    let old = broker.start(&whole, "old", &[Fault::OldProtocol]);
    let body = json!({"signal_id": "S-1", "symbol": "EURUSD", "action": "buy", "entry": 1.085, "sl": 1.05, "tp": 1.2,
        "confidence": 0.85, "timeframe": "H1", "reasoning": "trend", "limit_orders": false, "volume": null});
    let signal = whole.stored(body).await;
    let executed = whole.state(id(&signal), "executed").await;
    assert_eq!((&executed["metadata"]["timeframe"], broker.fills()), (&json!("H1"), 1));
    let trades = whole.trades().await;
    assert_eq!((trades.len(), &trades[0]["signal_id"]), (1, &signal["signal_id"]));
    assert_eq!(trades[0]["volume"], json!(0.01));
    old.stopped().await;
    broker.closed(whole).await;
}
