//! Killed in the middle, with its journal whole, lost, damaged or torn: what it may say afterwards, and what it may not.
//!
//! Each story is told of any program, so that a mutant's ending can be compared with the real one's.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::Connection as _;
use stack::market::{MarketConfig, Request, retcode};

use super::desk::{Desk, Ea, program};
use super::gateway::{Gateway, Mood};
use crate::support::{Whole, eventually};

/// How long an order is under way to the broker where something is to happen meanwhile.
const SLOW_MS: u64 = 5_000;

/// How a story ended.
#[derive(Debug, PartialEq)]
pub(super) struct Ending {
    /// Opening deals.
    pub(super) fills: usize,
    /// The signals' states.
    pub(super) states: Vec<String>,
    /// Reports that said `not_sent`.
    pub(super) not_sent: i64,
}

fn buy(symbol: &str) -> Value {
    json!({"symbol": symbol, "action": "BUY", "volume": 0.1})
}

/// What happens to the journal between the kill and the next start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Journal {
    Whole,
    Lost,
    Damaged,
    Torn,
    /// Its last line never reached the disk, since the machine went down.
    MachineDown,
}

/// FNV-1a, by which the journal knows its own lines.
fn sum(text: &str) -> String {
    format!(
        "{:08x}",
        text.bytes().fold(2_166_136_261_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619))
    )
}

fn harm(desk: &Desk, journal: Journal) {
    let path = desk.journal();
    let text = std::fs::read_to_string(&path).unwrap();
    match journal {
        Journal::Whole => {}
        Journal::Lost => std::fs::remove_file(&path).unwrap(),
        Journal::Damaged => std::fs::write(&path, text.replacen("claimed", "clbimed", 1)).unwrap(),
        Journal::Torn => std::fs::write(&path, text + "deadbeef sendi").unwrap(),
        Journal::MachineDown => {
            let kept =
                text.lines().filter(|line| !line.contains(" sending ")).map(|line| match line.split_once(" boot ") {
                    Some(_) => format!("{} boot 1000000", sum("boot 1000000")),
                    None => line.to_owned(),
                });
            std::fs::write(&path, kept.collect::<Vec<_>>().join("\r\n") + "\r\n").unwrap();
        }
    }
}

/// Reports that said `not_sent`.
async fn not_sent(whole: &Whole) -> i64 {
    let mut db = whole.sandbox.database().await.unwrap();
    let count = "select count(*) from trade_reports where status = 'not_sent'";
    let not_sent = sqlx::query_scalar(count).fetch_one(&mut db).await.unwrap();
    db.close().await.unwrap();
    not_sent
}

async fn ending(whole: &Whole, desk: &Desk, signals: &[String]) -> Ending {
    let mut states = Vec::new();
    for signal in signals {
        let state = eventually("the signal ends", || async {
            let signal = whole.operator.signal(signal).await.unwrap()?;
            let state = signal["state"].as_str().unwrap().to_owned();
            ["executed", "failed", "expired"].contains(&&*state).then_some(state)
        });
        states.push(state.await);
    }
    desk.under_way(0).await;
    Ending { fills: desk.fills().len(), states, not_sent: not_sent(whole).await }
}

/// Two signals are taken with one poll; it is killed while the order of the first is under way to the broker, and starts
/// again before that order arrives there.
async fn begin_killed_while_sending(program: PathBuf, journal: Journal) -> (Whole, Desk, Ea, [String; 2]) {
    let whole = Whole::start(&[]).await;
    let desk = Desk::with(MarketConfig::default(), program);
    let signals = [whole.signal(buy("EURUSD")).await, whole.signal(buy("GBPUSD")).await];
    for signal in &signals {
        whole.state(signal, "pending").await;
    }
    desk.call(Request::SetLatency { ms: SLOW_MS });
    let ea = desk.trade(&whole);
    desk.under_way(1).await;
    ea.killed().await;
    desk.call(Request::SetLatency { ms: 0 });
    harm(&desk, journal);
    let again = desk.start(&whole.platform.url, whole.sandbox.keys.terminal(), &[("InpGraceSeconds", "8")]);
    eventually("it starts again", || async { (again.log().matches("Started").count() == 2).then_some(()) }).await;
    assert_eq!(desk.fills().len(), 0, "the order arrived too early for this story");
    if journal != Journal::Whole && journal != Journal::Torn {
        whole.sandbox.clock.advance(time::Duration::seconds(31));
    }
    (whole, desk, again, signals)
}

/// That story to its end.
pub(super) async fn killed_while_sending(program: PathBuf, journal: Journal) -> Ending {
    let (whole, desk, again, signals) = begin_killed_while_sending(program, journal).await;
    let ending = ending(&whole, &desk, &signals).await;
    again.killed().await;
    desk.closed(whole).await;
    ending
}

/// That story until it says `not_sent`.
pub(super) async fn says_not_sent(program: PathBuf, journal: Journal) {
    let (whole, desk, again, _) = begin_killed_while_sending(program, journal).await;
    eventually("it says not_sent", || async { (not_sent(&whole).await > 0).then_some(()) }).await;
    again.killed().await;
    desk.closed(whole).await;
}

/// The broker executes and its answer is a time-out; comments are dropped.
pub(super) async fn answer_lost_and_comment_dropped(program: PathBuf) -> Ending {
    let whole = Whole::start(&[]).await;
    let desk = Desk::with(MarketConfig::default(), program);
    desk.call(Request::SetDropComments { drop: true });
    let ea = desk.trade(&whole);
    desk.fail(1, retcode::TIMEOUT, true);
    let signal = whole.signal(buy("EURUSD")).await;
    eventually("the order is filled", || async { (!desk.fills().is_empty()).then_some(()) }).await;
    whole.sandbox.clock.advance(time::Duration::seconds(31));
    let ending = ending(&whole, &desk, &[signal]).await;
    ea.killed().await;
    desk.closed(whole).await;
    ending
}

/// A signal for two seconds arrives half a second after its end.
pub(super) async fn late_arrival(program: PathBuf) -> Ending {
    let whole = Whole::start(&[]).await;
    let gateway = Gateway::open(&whole.platform.url).await;
    let desk = Desk::with(MarketConfig::default(), program);
    // The poll that is held up waits for the signal, however long that takes to be stored.
    let inputs = [("InpTimeoutMs", "10000"), ("InpWaitMs", "5000")];
    let ea = desk.start(&gateway.url, whole.sandbox.keys.terminal(), &inputs);
    ea.says("Started").await;
    gateway.set("/pending", Mood::Delays(Duration::from_millis(2_500)));
    let body = json!({"symbol": "EURUSD", "action": "BUY", "volume": 0.1, "ttl_seconds": 2});
    let signal = whole.signal(body).await;
    let ending = ending(&whole, &desk, &[signal]).await;
    ea.killed().await;
    desk.closed(whole).await;
    ending
}

fn executed(count: usize) -> Vec<String> {
    vec!["executed".to_owned(); count]
}

/// Goal: with its journal it finds what was executed without waiting for the lease, and gives back what was never sent.
#[tokio::test]
async fn a_kill_while_sending_doubles_nothing_and_loses_nothing() {
    for journal in [Journal::Whole, Journal::Torn] {
        let ending = killed_while_sending(program().await, journal).await;
        assert_eq!(ending, Ending { fills: 2, states: executed(2), not_sent: 1 }, "{journal:?}");
    }
}

/// Goal: a journal that is lost, damaged, or whose machine went down proves nothing: what was executed is found, and the
/// rest is never called unsent, although it was.
#[tokio::test]
async fn a_lost_journal_proves_nothing() {
    for journal in [Journal::Lost, Journal::Damaged, Journal::MachineDown] {
        let ending = killed_while_sending(program().await, journal).await;
        let states = vec!["executed".to_owned(), "failed".to_owned()];
        assert_eq!(ending, Ending { fills: 1, states, not_sent: 0 }, "{journal:?}");
    }
}

/// Goal: orders are recognised by their magic number, whatever the broker does to comments.
#[tokio::test]
async fn a_dropped_comment_hides_nothing() {
    let ending = answer_lost_and_comment_dropped(program().await).await;
    assert_eq!(ending, Ending { fills: 1, states: executed(1), not_sent: 0 });
}

/// Goal: what arrives after its life is not sent.
#[tokio::test]
async fn a_late_arrival_is_not_sent() {
    let ending = late_arrival(program().await).await;
    assert_eq!((ending.fills, ending.states), (0, vec!["expired".to_owned()]));
}

/// Goal: the connection to the market breaks in the middle of an order send, executed or not: nothing is sent twice.
#[tokio::test]
async fn a_broken_connection_to_the_broker_leaves_the_outcome_unknown() {
    let whole = Whole::start(&[]).await;
    let desk = Desk::open().await;
    let ea = desk.trade(&whole);
    ea.says("Started").await;
    desk.call(Request::DropNext { count: 1, executed: true });
    let done = whole.executed(buy("EURUSD")).await;
    assert_eq!((&done["attempt"], desk.fills().len()), (&json!(1), 1));
    desk.call(Request::DropNext { count: 1, executed: false });
    let lost = whole.signal(buy("GBPUSD")).await;
    ea.says("OrderSend brought no answer to rely on").await;
    whole.state(&lost, "processing").await;
    whole.sandbox.clock.advance(time::Duration::seconds(31));
    let failed = whole.state(&lost, "failed").await;
    assert_eq!((&failed["code"], desk.fills().len()), (&json!("outcome_not_found"), 1));
    ea.stopped().await;
    desk.closed(whole).await;
}

/// Goal: a history that comes late is waited for: an executed order is never called not found.
#[tokio::test]
async fn a_late_history_is_waited_for() {
    let whole = Whole::start(&[]).await;
    let desk = Desk::open().await;
    let ea = desk.trade(&whole);
    ea.says("Started").await;
    desk.call(Request::SetHistoryDelay { ms: 4_000 });
    desk.fail(1, retcode::TIMEOUT, true);
    // Opened and closed by its take profit before the history shows either.
    let mut body = buy("EURUSD");
    body["tp"] = json!(1.2);
    let signal = whole.signal(body).await;
    eventually("the order is filled", || async { (!desk.fills().is_empty()).then_some(()) }).await;
    desk.price("EURUSD", "1.21000");
    whole.sandbox.clock.advance(time::Duration::seconds(31));
    whole.state(&signal, "executed").await;
    let trade = eventually("the trade is closed", || async {
        whole.trades().await.into_iter().find(|trade| trade["status"] == "closed")
    })
    .await;
    assert_eq!(trade["signal_id"], json!(signal));
    ea.stopped().await;
    desk.closed(whole).await;
}

/// Goal: a closing that had only resting orders to delete leaves no deal to find it by: killed meanwhile, it is done where
/// nothing of it is left.
#[tokio::test]
async fn a_closing_of_which_nothing_is_left_is_done() {
    let whole = Whole::start(&[]).await;
    let desk = Desk::open().await;
    let ea = desk.trade(&whole);
    let resting = json!({"symbol": "EURUSD", "action": "BUY", "order_type": "limit", "entry": 1.05, "volume": 0.1});
    whole.executed(resting).await;
    desk.call(Request::SetLatency { ms: SLOW_MS });
    let closing = whole.signal(json!({"action": "CLOSE_ALL"})).await;
    desk.under_way(1).await;
    ea.killed().await;
    desk.call(Request::SetLatency { ms: 0 });
    let again = desk.start(&whole.platform.url, whole.sandbox.keys.terminal(), &[("InpGraceSeconds", "8")]);
    whole.sandbox.clock.advance(time::Duration::seconds(31));
    whole.state(&closing, "executed").await;
    again.says("nothing of it is left").await;
    let trade = whole.trades().await.remove(0);
    assert_eq!(trade["status"], "cancelled");
    again.stopped().await;
    desk.closed(whole).await;
}

/// Goal: a MODIFY whose outcome is unknown is told as done only where the stops are as it wanted.
#[tokio::test]
async fn an_unknown_modification_is_judged_by_its_stops() {
    let whole = Whole::start(&[]).await;
    let desk = Desk::open().await;
    let ea = desk.trade(&whole);
    whole.executed(buy("EURUSD")).await;
    for (done, state) in [(true, "executed"), (false, "failed")] {
        desk.fail(1, retcode::TIMEOUT, done);
        let stop = if done { 1.05 } else { 1.06 };
        let signal = whole.signal(json!({"symbol": "EURUSD", "action": "MODIFY", "sl": stop})).await;
        whole.state(&signal, "processing").await;
        whole.sandbox.clock.advance(time::Duration::seconds(31));
        whole.state(&signal, state).await;
        assert_eq!(desk.market.lock().unwrap().positions()[0].sl, "1.05".parse().unwrap());
    }
    ea.stopped().await;
    desk.closed(whole).await;
}
