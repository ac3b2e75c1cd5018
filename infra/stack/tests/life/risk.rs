//! The risk gate through the API: what it denies, with which numbers, and when it lets openings through again.

use std::process::Stdio;
use std::time::Instant;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use time::{Duration, Time};

use super::steps::{id, ids, of};
use crate::support::{DEADLINE, Whole};

/// Longer than a position that we heard of can be missing in a report.
const BEYOND_THE_DELAY: Duration = Duration::seconds(11);

impl Whole {
    /// The account's figures, as our Expert Advisor on login 1 tells them; 1,000 were paid in.
    async fn state_of(&self, equity: u32, positions: u32) {
        self.figures(json!({"balance": equity, "equity": equity, "open_positions": positions, "login": 1})).await;
    }

    async fn figures(&self, changes: Value) {
        let mut body = json!({"margin": 0, "free_margin": 0, "profit": 0, "net_deposits": 1_000, "connected": true});
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        self.operator.post("/api/account/update", &body).await.expect("taken");
    }

    /// Sets the platform's clock to noon of tomorrow.
    pub(super) fn noon(&self) {
        let now = self.sandbox.clock.now();
        self.sandbox.clock.advance(now.replace_time(Time::MIDNIGHT) + Duration::hours(36) - now);
    }

    /// The code and the words with which a signal ended as rejected.
    async fn rejection(&self, signal: &Value) -> (String, String) {
        let rejected = self.state(id(signal), "rejected").await;
        let text = |field: &str| rejected[field].as_str().expect("a text").to_owned();
        (text("code"), text("message"))
    }

    async fn daily_loss(&self) -> Value {
        self.operator.get("/api/control").await.unwrap()["daily_loss"].clone()
    }
}

fn denied(code: &str, message: &str) -> (String, String) {
    (code.to_owned(), message.to_owned())
}

/// Goal: only symbols on the list are opened, when a signal comes and when it goes out; what is open is closed.
#[tokio::test]
async fn symbols_that_are_not_allowed_are_not_opened() {
    let whole = Whole::start(&[]).await;
    let queued = whole.buy("EURUSD").await;
    let allowed = whole.buy("GBPUSD").await;
    let answer = whole.limit(json!({"symbols_allowed": ["GBPUSD", "XAUUSD"]})).await;
    assert_eq!(answer["symbols_allowed"], json!(["GBPUSD", "XAUUSD"]));
    let fresh = whole.buy("USDJPY").await;
    let words = "USDJPY is none of the 2 symbols allowed";
    assert_eq!(whole.rejection(&fresh).await, denied("symbol_not_allowed", words));
    let close = whole.stored(json!({"symbol": "USDJPY", "action": "CLOSE"})).await;
    assert_eq!(ids(&whole.poll("T").await), [id(&allowed), id(&close)]);
    assert_eq!(whole.rejection(&queued).await.0, "symbol_not_allowed");
    whole.limit(json!({"symbols_allowed": null})).await;
    let again = whole.buy("AUDUSD").await;
    assert_eq!(ids(&whole.poll("T").await), [id(&again)]);
    whole.finish().await;
}

/// Goal: two terminals that ask at once can't both take the last place; who comes second is told how many there are.
#[tokio::test]
async fn two_terminals_do_not_share_the_last_place() {
    let whole = Whole::start(&[]).await;
    whole.state_of(1_000, 1).await;
    let resting = json!({"symbol": "USDJPY", "action": "BUY", "order_type": "limit", "entry": 100, "volume": 0.1});
    whole.stored(resting).await;
    let claimed = whole.poll("T").await.remove(0);
    whole.confirm(of(&claimed, &json!({"status": "placed", "ticket": 50, "order": 50}))).await;
    // It rests for long: still it becomes a position without a word.
    whole.sandbox.clock.advance(BEYOND_THE_DELAY);
    whole.state_of(1_000, 1).await;
    whole.limit(json!({"positions_max": 3})).await;
    for _ in 0..10 {
        whole.buy("EURUSD").await;
        whole.buy("GBPUSD").await;
        let (one, other) = tokio::join!(whole.poll("A"), whole.poll("B"));
        let taken: Vec<&Value> = one.iter().chain(&other).collect();
        assert_eq!(taken.len(), 1, "{taken:?}");
        let listed = whole.operator.get("/api/signals?limit=2").await.unwrap();
        let second = listed.as_array().unwrap().iter().find(|signal| signal["id"] != taken[0]["id"]).unwrap();
        let words = "1 positions open and 2 openings under way where 3 are allowed in all";
        assert_eq!(whole.rejection(second).await, denied("positions_at_max", words));
        whole.confirm(of(taken[0], &json!({"status": "failed", "retcode": 10_019}))).await;
    }
    whole.finish().await;
}

/// Goal: a place is taken from the claim on until the position is known to be closed: through an unknown outcome, and
/// while the account's report may be of before the execution.
#[tokio::test]
async fn a_place_is_taken_until_its_position_is_closed() {
    let whole = Whole::start(&[]).await;
    whole.limit(json!({"positions_max": 1})).await;
    let full = async |words: &str| {
        let denied_one = whole.buy("USDJPY").await;
        assert_eq!(whole.poll("T").await, Vec::<Value>::new());
        let words = format!("{words} where 1 are allowed in all");
        assert_eq!(whole.rejection(&denied_one).await, denied("positions_at_max", &words));
    };
    whole.state_of(1_000, 0).await;
    let claimed = whole.claimed("EURUSD").await;
    full("0 positions open and 1 openings under way").await;
    whole.confirm(of(&claimed, &json!({"ticket": 70, "deal": 71, "volume": 0.1, "price": 1.1}))).await;
    full("0 positions open and 1 openings under way").await;
    whole.sandbox.clock.advance(BEYOND_THE_DELAY);
    whole.state_of(1_000, 1).await;
    full("1 positions open and 0 openings under way").await;
    let closed =
        json!({"id": claimed["id"], "status": "closed", "position": 70, "deal": 72, "volume": 0.1, "close_price": 1.2});
    whole.confirm(closed).await;
    full("1 positions open and 0 openings under way").await;
    whole.state_of(1_000, 0).await;
    whole.lapsed("GBPUSD").await;
    whole.state_of(1_000, 0).await;
    full("0 positions open and 1 openings under way").await;
    whole.finish().await;
}

/// Goal: a resting order that was filled takes a place until a report can know its position.
#[tokio::test]
async fn a_filled_order_keeps_its_place() {
    let whole = Whole::start(&[]).await;
    whole.limit(json!({"positions_max": 1})).await;
    let resting = json!({"symbol": "EURUSD", "action": "BUY", "order_type": "limit", "entry": 1, "volume": 0.1});
    whole.stored(resting).await;
    let claimed = whole.poll("T").await.remove(0);
    whole.confirm(of(&claimed, &json!({"status": "placed", "ticket": 50, "order": 50, "volume": 0.1}))).await;
    whole.sandbox.clock.advance(BEYOND_THE_DELAY);
    whole.state_of(1_000, 0).await;
    let filled =
        json!({"id": claimed["id"], "status": "executed", "ticket": 60, "order": 50, "deal": 61, "volume": 0.1});
    whole.confirm(filled).await;
    let denied_one = whole.buy("USDJPY").await;
    whole.poll("T").await;
    let words = "0 positions open and 1 openings under way where 1 are allowed in all";
    assert_eq!(whole.rejection(&denied_one).await, denied("positions_at_max", words));
    whole.sandbox.clock.advance(BEYOND_THE_DELAY);
    whole.state_of(1_000, 0).await;
    assert_eq!(whole.claimed("USDJPY").await["symbol"], "USDJPY", "the report knows better");
    whole.finish().await;
}

/// Goal: an account that never reports has as many positions as were opened and not closed.
#[tokio::test]
async fn without_reports_the_trades_are_counted() {
    let whole = Whole::start(&[]).await;
    whole.limit(json!({"positions_max": 1})).await;
    let claimed = whole.claimed("EURUSD").await;
    whole.confirm(of(&claimed, &json!({"ticket": 70, "deal": 71, "volume": 0.1, "price": 1.1}))).await;
    whole.sandbox.clock.advance(Duration::days(3));
    let denied_one = whole.buy("USDJPY").await;
    whole.poll("T").await;
    assert_eq!(whole.rejection(&denied_one).await.0, "positions_at_max");
    let closed =
        json!({"id": claimed["id"], "status": "closed", "position": 70, "deal": 72, "volume": 0.1, "close_price": 1.2});
    whole.confirm(closed).await;
    whole.claimed("USDJPY").await;
    whole.finish().await;
}

/// Goal: openings are counted when they are handed out, each once however often it is, and anew on the next day; closings
/// are not counted.
#[tokio::test]
async fn openings_of_a_day_are_limited() {
    let whole = Whole::start(&[]).await;
    whole.noon();
    whole.limit(json!({"openings_per_day_max": 2})).await;
    let claimed = whole.claimed("EURUSD").await;
    whole.confirm(of(&claimed, &json!({"status": "not_sent"}))).await;
    let again = whole.poll("T").await;
    assert_eq!((ids(&again), &again[0]["attempt"]), (vec![id(&claimed)], &json!(2)));
    whole.claimed("GBPUSD").await;
    let third = whole.buy("USDJPY").await;
    let close = whole.stored(json!({"symbol": "AUDUSD", "action": "CLOSE"})).await;
    assert_eq!(ids(&whole.poll("T").await), [id(&close)]);
    let words = "2 openings handed out since 00:00 UTC where 2 a day are allowed";
    assert_eq!(whole.rejection(&third).await, denied("openings_at_max", words));
    whole.sandbox.clock.advance(Duration::hours(12));
    whole.claimed("USDJPY").await;
    whole.finish().await;
}

/// Goal: a day's loss stops openings, queued and new, for the rest of the day, also when it is won back; closings pass; the
/// next day begins with what this one ended with.
#[tokio::test]
async fn a_daily_loss_stops_openings_until_the_next_day() {
    let whole = Whole::start(&[]).await;
    whole.noon();
    whole.state_of(1_000, 0).await;
    whole.state_of(801, 0).await;
    let queued = whole.buy("EURUSD").await;
    assert_eq!(whole.daily_loss().await, Value::Null);
    whole.state_of(800, 0).await;
    assert_eq!(whole.daily_loss().await.to_string(), "200.00");
    let fresh = whole.buy("GBPUSD").await;
    let close = whole.stored(json!({"symbol": "USDJPY", "action": "CLOSE"})).await;
    let change = whole.stored(json!({"symbol": "AUDUSD", "action": "MODIFY", "tp": 2})).await;
    assert_eq!(ids(&whole.poll("T").await), [id(&close), id(&change)]);
    for signal in [&queued, &fresh] {
        let (code, message) = whole.rejection(signal).await;
        assert_eq!(code, "daily_loss_above_max");
        assert!(message.starts_with("200.00 lost today, of 1000.00, where 20 % are allowed"), "{message}");
    }
    whole.state_of(2_000, 0).await;
    let late = whole.buy("EURUSD").await;
    assert_eq!(whole.rejection(&late).await.0, "daily_loss_above_max", "also when all is won back");
    whole.sandbox.clock.advance(Duration::hours(12));
    assert_eq!(whole.daily_loss().await, Value::Null);
    whole.state_of(1_601, 0).await;
    whole.claimed("EURUSD").await;
    whole.state_of(1_600, 0).await;
    let next = whole.buy("GBPUSD").await;
    let (_, message) = whole.rejection(&next).await;
    assert!(message.starts_with("400.00 lost today, of 2000.00,"), "{message}");
    whole.finish().await;
}

/// Goal: an operator lifts what a loss has stopped; the count begins anew, and the lifting is in the audit log. A change of
/// limits lifts nothing.
#[tokio::test]
async fn an_operator_lifts_a_daily_loss() {
    let whole = Whole::start(&[]).await;
    whole.noon();
    whole.state_of(1_000, 0).await;
    whole.state_of(700, 0).await;
    whole.limit(json!({"daily_loss_percent_max": 50})).await;
    whole.switch("reducing").await;
    assert_eq!(whole.daily_loss().await.to_string(), "300.00");
    whole.limit(json!({"daily_loss_percent_max": 20})).await;
    whole.switch("active").await;
    assert_eq!(whole.daily_loss().await, Value::Null);
    assert_eq!(whole.count("audit_log where entry like '%\"loss_lifted\":true%'").await, 1);
    whole.state_of(561, 0).await;
    whole.claimed("EURUSD").await;
    whole.state_of(560, 0).await;
    assert_eq!(whole.daily_loss().await.to_string(), "140.00");
    whole.finish().await;
}

/// Goal: while the account's state is not known openings wait, closings don't; the next report lets them out at once to a
/// terminal that waits, and another login's report does not.
#[tokio::test]
async fn openings_wait_for_the_accounts_state() {
    let whole = Whole::start(&[]).await;
    whole.operator.get("/api/signals/unresolved?login=1").await.unwrap();
    whole.state_of(1_000, 0).await;
    whole.sandbox.clock.advance(Duration::seconds(61));
    let waits = whole.buy("EURUSD").await;
    let short = whole.stored(json!({"symbol": "GBPUSD", "action": "BUY", "ttl_seconds": 30})).await;
    let close = whole.stored(json!({"symbol": "USDJPY", "action": "CLOSE"})).await;
    assert_eq!(ids(&whole.poll("T").await), [id(&close)]);
    let other = json!({"balance": 1_000, "equity": 1_000, "margin": 0, "free_margin": 0, "profit": 0, "login": 2});
    let refusal = whole.refused(Method::POST, "/api/account/update", other).await;
    assert_eq!(refusal, (StatusCode::CONFLICT, "another_login".to_owned()));
    whole.figures(json!({"balance": 1_000, "equity": 1_000, "login": 1, "connected": false})).await;
    whole.figures(json!({"balance": 1_000, "equity": 1_000, "login": 1, "age_ms": 61_000})).await;
    assert_eq!(whole.poll("T").await, Vec::<Value>::new());
    whole.sandbox.clock.advance(Duration::seconds(31));
    assert_eq!(whole.state(id(&short), "expired").await["code"], "expired");
    let poll = whole.poll_with("limit=10&protocol=2&terminal=T&wait_ms=25000");
    let (claimed, ()) = tokio::join!(poll, whole.state_of(1_000, 0));
    assert_eq!(ids(&claimed), [id(&waits)]);
    // One that a closing comes after does not wait in its way.
    whole.sandbox.clock.advance(Duration::seconds(61));
    let superseded = whole.buy("AUDUSD").await;
    let close = whole.stored(json!({"symbol": "AUDUSD", "action": "CLOSE"})).await;
    assert_eq!(ids(&whole.poll("T").await), [id(&close)]);
    assert_eq!(whole.state(id(&superseded), "cancelled").await["code"], "superseded");
    whole.finish().await;
}

/// Goal: who waits without claiming is told that there is something to end, too: else it would expire with the wrong reason.
#[tokio::test]
async fn a_denial_is_found_by_who_waits_without_claiming() {
    let whole = Whole::start(&[]).await;
    whole.limit(json!({"positions_max": 1})).await;
    whole.claimed("EURUSD").await;
    let second = whole.buy("GBPUSD").await;
    let asked = Instant::now();
    assert_eq!(whole.poll_with("limit=0&wait_ms=25000&protocol=2&terminal=T").await, Vec::<Value>::new());
    assert!(asked.elapsed() < DEADLINE, "it waited in vain");
    assert_eq!(whole.now(&second).await["state"], "pending", "nothing is decided without a claim");
    whole.poll("T").await;
    assert_eq!(whole.now(&second).await["code"], "positions_at_max");
    whole.finish().await;
}

/// Goal: a mapped symbol goes out by the broker's name, to be executed and to be looked up; reports come back by either
/// name and are about the platform's.
#[tokio::test]
async fn a_mapped_symbol_goes_out_by_one_name_and_comes_back_by_either() {
    let whole = Whole::start(&[]).await;
    let map = json!({"GOLD": "XAUUSD.r", "EURUSD": "EURUSD.r"});
    assert_eq!(whole.limit(json!({"symbol_map": map})).await["symbol_map"], map);
    let mut ticket = 100;
    // The first clients name no signal: the symbol has to say which one is meant.
    for back in ["XAUUSD.r", "GOLD"] {
        let signal = whole.buy("GOLD").await;
        let claimed = whole.poll_with("").await;
        assert_eq!((ids(&claimed), &claimed[0]["symbol"]), (vec![id(&signal)], &json!("XAUUSD.r")));
        ticket += 1;
        whole.confirm(json!({"ticket": ticket, "symbol": back, "action": "BUY", "volume": 0.1, "price": 2_000})).await;
        whole.state(id(&signal), "executed").await;
    }
    let by_id = whole.lapsed("EURUSD").await;
    assert_eq!((&by_id["symbol"], &whole.unresolved().await[0]["symbol"]), (&json!("EURUSD.r"), &json!("EURUSD.r")));
    whole.confirm(of(&by_id, &json!({"ticket": 103, "symbol": "EURUSD.r"}))).await;
    // Positions that nobody told us of: opened by hand, closed already.
    whole.confirm(json!({"ticket": 104, "symbol": "XAUUSD.r", "action": "SELL", "volume": 0.1})).await;
    whole.confirm(json!({"status": "closed", "ticket": 105, "deal": 106, "symbol": "EURUSD.r", "volume": 0.1})).await;
    whole.confirm(json!({"ticket": 107, "symbol": "US30.cash", "action": "SELL", "volume": 0.1})).await;
    let trades = whole.trades().await;
    let symbols: Vec<&Value> = trades.iter().map(|trade| &trade["symbol"]).collect();
    assert_eq!(symbols, ["GOLD", "GOLD", "EURUSD", "GOLD", "EURUSD", "US30.cash"]);
    let plain = whole.claimed("USDJPY").await;
    assert_eq!(plain["symbol"], "USDJPY");
    assert_eq!(whole.now(&by_id).await["symbol"], "EURUSD", "the signal stays as it was sent");
    whole.finish().await;
}

/// Goal: `stack halt` stops an account while every service is down, knowing the database alone, with the audit's entry; what
/// was queued ends when they come back. It lets the account go on in the same way.
#[tokio::test]
async fn an_account_is_halted_while_everything_is_down() {
    let whole = Whole::start(&[]).await;
    let queued = whole.buy("EURUSD").await;
    let close = whole.stored(json!({"symbol": "GBPUSD", "action": "CLOSE"})).await;
    let Whole { sandbox, platform, .. } = whole;
    assert!(platform.stop().await);
    let halt = async |arguments: &[&str]| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_stack"));
        command.env_clear().env("DATABASE_URL", &sandbox.settings.database_url).arg("halt").args(arguments);
        let output = command.stdin(Stdio::null()).output().await.unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (arguments, words) in [(["--mode", "off"], "mode is one of"), (["--account", "nobody"], "no account nobody")] {
        let (code, told) = halt(&arguments).await;
        assert!(code == Some(1) && told.contains(words), "{told}");
    }
    let (code, told) = halt(&["--reason", "the broker acts up"]).await;
    assert_eq!(code, Some(0), "{told}");
    let platform = sandbox.start().await.unwrap();
    let operator = sandbox.operator(&platform).unwrap();
    let whole = Whole { sandbox, platform, operator };
    let control = whole.operator.get("/api/control").await.unwrap();
    assert_eq!((&control["mode"], &control["reason"]), (&json!("halted"), &json!("the broker acts up")));
    assert_eq!(whole.now(&queued).await["code"], "account_halted");
    assert_eq!(whole.now(&close).await["held"], true);
    assert_eq!(whole.poll("T").await, Vec::<Value>::new());
    assert_eq!(whole.count("audit_log where entry like '%\"principal\":\"stack halt\"%the broker acts up%'").await, 1);
    // Beside a platform that runs, too: a terminal that waits notices by itself.
    let waiting = whole.poll_with("limit=10&protocol=2&terminal=T&wait_ms=25000");
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_stack"));
    command.env_clear().env("DATABASE_URL", &whole.sandbox.settings.database_url).args(["halt", "--mode", "active"]);
    let (claimed, output) = tokio::join!(waiting, command.stdin(Stdio::null()).output());
    assert!(output.unwrap().status.success());
    assert_eq!(ids(&claimed), [id(&close)]);
    whole.finish().await;
}

/// Goal: a limit counts for its account alone.
#[tokio::test]
async fn one_accounts_limits_are_nobody_elses() {
    let whole = Whole::start(&["second"]).await;
    whole.limit(json!({"symbols_allowed": ["GBPUSD"], "openings_per_day_max": 1, "symbol_map": {"EURUSD": "X"}})).await;
    let second = whole.operator.with_key(&whole.sandbox.terminals["second"]);
    for symbol in ["EURUSD", "USDJPY"] {
        let signal = whole.stored(json!({"symbol": symbol, "action": "BUY", "account": "second"})).await;
        let claimed = second.get("/api/signals/pending?protocol=2&terminal=T").await.unwrap();
        assert_eq!((id(&claimed[0]), &claimed[0]["symbol"]), (id(&signal), &json!(symbol)));
    }
    let (status, _) =
        second.send(Method::PUT, "/api/accounts/second/risk", Some(&whole.limit(json!({})).await)).await.unwrap();
    assert_eq!(status, StatusCode::FORBIDDEN, "a terminal's key changes no limits");
    whole.finish().await;
}
