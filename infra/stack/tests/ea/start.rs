//! What it says, and does not do, where it can't start or may not trade.

use reqwest::Method;
use serde_json::{Value, json};
use stack::market::{MarketConfig, Request};

use super::desk::{Desk, program};
use super::gateway::{Gateway, Mood};
use crate::support::{Whole, eventually};
use axum::http::StatusCode;

/// Goal: a netting account is refused at start in plain words, and nothing is asked or sent.
#[tokio::test]
async fn a_netting_account_is_refused() {
    let whole = Whole::start(&[]).await;
    let gateway = Gateway::open(&whole.platform.url).await;
    let desk = Desk::with(MarketConfig { hedging: false, ..MarketConfig::default() }, program().await);
    let mut ea = desk.start(&gateway.url, whole.sandbox.keys.terminal(), &[]);
    assert_eq!(ea.ended().await, Some(0));
    assert!(ea.log().contains("this is a netting account"), "{}", ea.log());
    assert_eq!(gateway.seen("/api"), 0);
    desk.closed(whole).await;
}

/// Goal: inputs that make no sense are refused at start, by name.
#[tokio::test]
async fn inputs_that_make_no_sense_are_refused() {
    let desk = Desk::open().await;
    let cases = [
        ("http://127.0.0.1:9", ("InpWaitMs", "99999"), "InpWaitMs"),
        ("http://127.0.0.1:9", ("InpVolumeMax", "0"), "InpVolumeMax"),
        ("http://127.0.0.1:9", ("InpSymbolMap", "XAUUSD"), "InpSymbolMap"),
        ("127.0.0.1:9", ("InpTimerMs", "16"), "InpUrl"),
    ];
    for (url, input, words) in cases {
        let mut ea = desk.start(url, "", &[input]);
        assert_eq!(ea.ended().await, Some(1), "{input:?}");
        assert!(ea.log().contains(words), "{}", ea.log());
    }
}

/// Goal: a second one on the same account of the same terminal does not start.
#[tokio::test]
async fn a_second_one_on_the_account_does_not_start() {
    let whole = Whole::start(&[]).await;
    let desk = Desk::open().await;
    let first = desk.trade(&whole);
    first.says("Started").await;
    let mut second = desk.trade(&whole);
    assert_eq!(second.ended().await, Some(0));
    second.says("it runs on another chart of this account already").await;
    whole.executed(json!({"symbol": "EURUSD", "action": "BUY", "volume": 0.1})).await;
    first.stopped().await;
    desk.closed(whole).await;
}

/// Goal: an address that is not on the terminal's list is told with the way to add it; a wrong key is told without the key.
#[tokio::test]
async fn what_a_person_must_mend_is_told_in_plain_words() {
    let whole = Whole::start(&[]).await;
    let desk = Desk::open().await;
    let other = desk.start("http://127.0.0.1:1", "mt5c_wrong_0123456789012345678901234567890123456789", &[]);
    other.says("No connection to http://127.0.0.1:1").await;
    other.stopped().await;
    let unlisted = desk.start_unlisted(&whole.platform.url);
    unlisted.says("Tools > Options > Expert Advisors > Allow WebRequest").await;
    unlisted.stopped().await;
    let wrong = desk.start(&whole.platform.url, "mt5c_wrong_0123456789012345678901234567890123456789", &[]);
    wrong.says("The platform refuses the key").await;
    assert!(!wrong.log().contains("0123456789012345"), "the key is in the log");
    wrong.stopped().await;
    let none = desk.start(&whole.platform.url, "", &[]);
    none.says("The platform wants a key").await;
    none.stopped().await;
    desk.closed(whole).await;
}

/// Goal: a terminal that is logged in to another account than the platform's signals are for trades nothing, and says which
/// account is wanted; an operator may decide for this one.
#[tokio::test]
async fn another_account_at_the_broker_is_not_traded_on() {
    let whole = Whole::start(&[]).await;
    let desk = Desk::open().await;
    let risk = "/api/accounts/main/risk";
    let mut limits = whole.operator.get(risk).await.unwrap();
    limits["login"] = json!(77);
    whole.operator.send(Method::PUT, risk, Some(&limits)).await.unwrap();
    let ea = desk.trade(&whole);
    let signal = whole.signal(json!({"symbol": "EURUSD", "action": "BUY", "volume": 0.1})).await;
    ea.says("trades on login 77, and this terminal is logged in to 10000001").await;
    whole.state(&signal, "pending").await;
    assert_eq!(desk.fills().len(), 0);
    limits["login"] = Value::Null;
    whole.operator.send(Method::PUT, risk, Some(&limits)).await.unwrap();
    whole.state(&signal, "executed").await;
    assert_eq!(whole.operator.get(risk).await.unwrap()["login"], 10_000_001);
    ea.stopped().await;
    desk.closed(whole).await;
}

/// Goal: unresolved outcomes are asked for before the first signal is, and as long as that is not answered nothing is claimed.
#[tokio::test]
async fn unknown_outcomes_come_before_new_signals() {
    let whole = Whole::start(&[]).await;
    let gateway = Gateway::open(&whole.platform.url).await;
    gateway.set("/unresolved", Mood::Answers(StatusCode::SERVICE_UNAVAILABLE, "not now"));
    let desk = Desk::open().await;
    let signal = whole.signal(json!({"symbol": "EURUSD", "action": "BUY", "volume": 0.1})).await;
    let ea = desk.start(&gateway.url, whole.sandbox.keys.terminal(), &[]);
    eventually("it asks again and again", || async { (gateway.seen("/unresolved") > 3).then_some(()) }).await;
    assert_eq!((gateway.seen("/pending"), desk.fills().len()), (0, 0));
    gateway.set("", Mood::Passes);
    whole.state(&signal, "executed").await;
    assert!(gateway.first(1)[0].starts_with("GET /api/signals/unresolved"), "{:?}", gateway.first(1));
    ea.stopped().await;
    desk.closed(whole).await;
}

/// Goal: without a connection to the broker, or the permission to trade, nothing is claimed and both are told; signals
/// are traded once that is mended.
#[tokio::test]
async fn without_permission_nothing_is_claimed_and_everybody_is_told() {
    let whole = Whole::start(&[]).await;
    let desk = Desk::open().await;
    let ea = desk.trade(&whole);
    whole.executed(json!({"symbol": "GBPUSD", "action": "BUY", "volume": 0.1})).await;
    desk.call(Request::SetTradeAllowed { allowed: false });
    ea.says("This account may not trade").await;
    let signal = whole.signal(json!({"symbol": "EURUSD", "action": "BUY", "volume": 0.1})).await;
    let told = |field: &'static str, value: bool| {
        let whole = &whole;
        async move {
            let mut db = whole.sandbox.database().await.unwrap();
            let query = format!("select {field} from account_reports where account = 'main'");
            let known: Option<bool> = sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(&mut db).await.unwrap();
            (known == Some(value)).then_some(())
        }
    };
    eventually("the platform is told", || told("trade_allowed", false)).await;
    whole.state(&signal, "pending").await;
    desk.call(Request::SetTradeAllowed { allowed: true });
    whole.state(&signal, "executed").await;
    desk.call(Request::SetConnected { connected: false });
    ea.says("No connection to the broker").await;
    let later = whole.signal(json!({"symbol": "USDJPY", "action": "BUY", "volume": 0.1})).await;
    eventually("the platform is told", || told("connected", false)).await;
    whole.state(&later, "pending").await;
    desk.call(Request::SetConnected { connected: true });
    whole.state(&later, "executed").await;
    assert_eq!(desk.fills().len(), 3);
    ea.stopped().await;
    desk.closed(whole).await;
}

/// Goal: one that is started before its terminal knows the broker waits, and begins by itself.
#[tokio::test]
async fn it_waits_for_the_connection_and_begins_by_itself() {
    let whole = Whole::start(&[]).await;
    let desk = Desk::open().await;
    desk.call(Request::SetConnected { connected: false });
    let ea = desk.trade(&whole);
    ea.says("Waiting for the connection to the broker").await;
    let signal = whole.signal(json!({"symbol": "EURUSD", "action": "BUY", "volume": 0.1})).await;
    desk.call(Request::SetConnected { connected: true });
    whole.state(&signal, "executed").await;
    ea.stopped().await;
    desk.closed(whole).await;
}
