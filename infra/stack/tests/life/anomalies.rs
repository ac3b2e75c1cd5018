//! What contradicts is shown where an operator looks, until one has looked.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use time::Duration;

use super::steps::{id, of};
use crate::support::{Whole, eventually};

impl Whole {
    async fn anomalies(&self, query: &str) -> Vec<Value> {
        let answer = self.operator.get(&format!("/api/anomalies?{query}")).await.expect("a list");
        answer.as_array().expect("a list").clone()
    }

    /// Confirms, which must be this anomaly, and finds it in the list, on the signal's own page and with a way out.
    async fn contradicts(&self, report: Value, kind: &str, known: &str) -> Value {
        let answer = self.confirm(report.clone()).await;
        assert_eq!(answer["anomaly"], kind, "{report}: {answer}");
        let anomaly = self.anomalies("limit=1").await.remove(0);
        assert_eq!((&anomaly["kind"], &anomaly["acknowledged_at"]), (&json!(kind), &Value::Null));
        assert_eq!(anomaly["known"], known, "{kind}");
        assert_eq!((&anomaly["signal_id"], &anomaly["account"]), (&answer["signal_id"], &json!("main")));
        assert_eq!(anomaly["ticket"], report["ticket"]);
        assert_eq!((&anomaly["terminal"], &anomaly["reported"]["ticket"]), (&report["terminal"], &report["ticket"]));
        assert!(anomaly["advice"].as_str().unwrap().len() > 60, "{anomaly}");
        if answer["signal_id"].is_string() {
            assert_eq!(self.now(&answer).await["anomalies"][0], anomaly);
        }
        anomaly
    }
}

fn ticket(claimed: &Value, ticket: i64) -> Value {
    of(claimed, &json!({"ticket": ticket, "deal": ticket + 1_000, "volume": 0.1, "price": 1.1}))
}

/// Goal: a fill of a signal that had ended in any other way is shown with what was believed.
#[tokio::test]
async fn a_fill_after_every_other_end_is_shown() {
    let whole = Whole::start(&[]).await;
    let buy = |symbol: &str, volume: &str| json!({"symbol": symbol, "action": "BUY", "volume": volume});
    let rejected = whole.stored(buy("EURUSD", "10.01")).await;
    let expired = whole.stored(buy("EURUSD", "0.1")).await;
    whole.sandbox.clock.advance(Duration::seconds(61));
    whole.state(id(&expired), "expired").await;
    let cancelled = whole.stored(buy("EURUSD", "0.1")).await;
    whole.operator.post(&format!("/api/signals/{}/cancel", id(&cancelled)), &json!({})).await.unwrap();
    let failed = whole.claimed("EURUSD").await;
    whole.confirm(of(&failed, &json!({"status": "failed", "retcode": 10_019}))).await;
    let not_found = whole.lapsed("EURUSD").await;
    whole.confirm(of(&not_found, &json!({"status": "not_found"}))).await;
    let unclaimed = whole.buy("EURUSD").await;
    let unattempted = |signal: &Value, number: i64| ticket(&json!({"id": signal["id"]}), number);
    for (report, kind, known) in [
        (
            unattempted(&rejected, 1),
            "executed_after_rejected",
            "rejected (volume_above_max) at attempt 0, tickets: none",
        ),
        (unattempted(&expired, 2), "executed_after_expired", "expired (expired) at attempt 0, tickets: none"),
        (unattempted(&cancelled, 3), "executed_after_cancelled", "cancelled (cancelled) at attempt 0, tickets: none"),
        (ticket(&failed, 4), "executed_after_failed", "failed (refused) at attempt 1, tickets: none"),
        (ticket(&not_found, 5), "executed_after_failed", "failed (outcome_not_found) at attempt 1, tickets: none"),
        (unattempted(&unclaimed, 6), "executed_unclaimed", "pending at attempt 0, tickets: none"),
    ] {
        whole.contradicts(report, kind, known).await;
    }
    whole.finish().await;
}

/// Goal: orders that are too many, or of nobody, are shown as what they are.
#[tokio::test]
async fn orders_too_many_or_of_nobody_are_shown() {
    let whole = Whole::start(&[]).await;
    let first = whole.claimed("EURUSD").await;
    whole.confirm(ticket(&first, 7)).await;
    let known = "executed (executed) at attempt 1, tickets: 7";
    whole.contradicts(ticket(&first, 8), "second_ticket", known).await;
    let second = whole.claimed("GBPUSD").await;
    let known = "processing at attempt 1, tickets: none";
    whole.contradicts(ticket(&second, 7), "ticket_of_another_signal", known).await;
    let nobody = json!({"id": 5, "attempt": 1, "terminal": "T"});
    whole.contradicts(ticket(&nobody, 9), "unknown_signal", "account main has no such signal").await;
    whole.finish().await;
}

/// Goal: the first order of a signal that was handed out again, being believed not sent, is shown; and so is an order that
/// is missing though an operator took it for executed.
#[tokio::test]
async fn words_that_turn_out_wrong_are_shown() {
    let whole = Whole::start(&[]).await;
    let first = whole.lapsed("EURUSD").await;
    whole.confirm(of(&first, &json!({"status": "not_sent"}))).await;
    whole.poll("T").await;
    let known = "processing at attempt 2, tickets: none";
    whole.contradicts(ticket(&first, 7), "executed_by_older_attempt", known).await;
    let missing = whole.lapsed("GBPUSD").await;
    let path = format!("/api/signals/{}/resolve", id(&missing));
    whole.operator.post(&path, &json!({"outcome": "executed"})).await.unwrap();
    let report = of(&missing, &json!({"status": "not_found"}));
    whole.contradicts(report, "denied_after_executed", "executed (resolved) at attempt 1, tickets: none").await;
    whole.finish().await;
}

/// Goal: an opening of unknown outcome whose order turns up after a closing has been executed is an orphan: the closing
/// did not close it. One that the closing did close, or that a closing of another symbol followed, is none.
#[tokio::test]
async fn an_order_that_turns_up_after_an_executed_closing_is_an_orphan() {
    let whole = Whole::start(&[]).await;
    for (number, symbol, close, closed, kind) in [
        (10, "EURUSD", json!({"symbol": "EURUSD", "action": "CLOSE"}), None, json!("orphan")),
        (20, "GBPUSD", json!({"action": "CLOSE_ALL"}), None, json!("orphan")),
        (30, "USDJPY", json!({"symbol": "USDJPY", "action": "CLOSE"}), Some(30), json!(null)),
        (40, "AUDUSD", json!({"symbol": "NZDUSD", "action": "CLOSE"}), None, json!(null)),
    ] {
        let opening = whole.lapsed(symbol).await;
        whole.stored(close).await;
        let closing = whole.poll("T").await.remove(0);
        let concerned = if symbol == "AUDUSD" { json!([]) } else { json!([opening["id"]]) };
        assert_eq!(closing["after"], concerned);
        let mut report = of(&closing, &json!({"status": "executed", "retcode": 10_025}));
        if let Some(position) = closed {
            report["results"] = json!([{"ticket": position, "deal": 5_000, "volume": 0.1, "close_price": 1.2}]);
        }
        assert_eq!(whole.confirm(report).await["state"], "executed");
        let answer = whole.confirm(ticket(&opening, number)).await;
        assert_eq!((&answer["state"], &answer["anomaly"]), (&json!("executed"), &kind), "{symbol}");
    }
    let known = "unknown (lease_expired) at attempt 1, tickets: none";
    let orphans = whole.anomalies("").await;
    assert_eq!(orphans.len(), 2);
    assert!(orphans.iter().all(|orphan| orphan["known"] == known), "{orphans:?}");
    whole.finish().await;
}

/// Goal: what nobody has looked at is listed by account, newest first and page by page; an operator's word, once and
/// audited, ends it in the list and in the gauge.
#[tokio::test]
async fn an_anomaly_is_open_until_an_operator_has_looked_at_it() {
    let whole = Whole::start(&["second"]).await;
    let nobody = |ticket: i64| json!({"id": 1, "ticket": ticket, "symbol": "EURUSD", "action": "BUY", "volume": 0.1});
    for number in 1..=3 {
        whole.confirm(nobody(number)).await;
    }
    let second = whole.operator.with_key(&whole.sandbox.terminals["second"]);
    second.post("/api/trades/confirm", &nobody(4)).await.unwrap();
    let tickets = |list: Vec<Value>| list.iter().map(|row| row["ticket"].as_i64().unwrap()).collect::<Vec<_>>();
    assert_eq!(tickets(whole.anomalies("").await), [4, 3, 2, 1]);
    let own = whole.anomalies("account=main&limit=2").await;
    let last = own[1]["anomaly_id"].clone();
    assert_eq!(tickets(own), [3, 2]);
    assert_eq!(tickets(whole.anomalies(&format!("account=main&before={last}")).await), [1]);
    open_in_the_gauge(&whole, "main", 3).await;
    let path = format!("/api/anomalies/{last}/acknowledge");
    let note = json!({"note": "  closed at the broker  "});
    assert_eq!(second.send(Method::POST, &path, Some(&note)).await.unwrap().0, StatusCode::FORBIDDEN);
    for bad in [json!({"note": " "}), json!({"note": "x".repeat(1_001)}), json!({"note": "\u{0}"})] {
        assert_eq!(whole.refused(Method::POST, &path, bad).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let nowhere = "/api/anomalies/999999/acknowledge";
    assert_eq!(whole.refused(Method::POST, nowhere, note.clone()).await.0, StatusCode::NOT_FOUND);
    let done = whole.operator.post(&path, &note).await.unwrap();
    assert_eq!((&done["note"], &done["acknowledged_by"]), (&json!("closed at the broker"), &json!("owner")));
    assert!(done["acknowledged_at"].is_string());
    let refusal = whole.refused(Method::POST, &path, note).await;
    assert_eq!(refusal, (StatusCode::CONFLICT, "acknowledged_before".to_owned()));
    assert_eq!(tickets(whole.anomalies("account=main&acknowledged=false").await), [3, 1]);
    assert_eq!(tickets(whole.anomalies("acknowledged=true").await), [2]);
    assert_eq!(whole.count("audit_log where entry like '%anomaly.acknowledged%closed at the broker%'").await, 1);
    open_in_the_gauge(&whole, "main", 2).await;
    for row in whole.anomalies("account=main&acknowledged=false").await {
        let path = format!("/api/anomalies/{}/acknowledge", row["anomaly_id"]);
        whole.operator.post(&path, &json!({"note": "mine"})).await.unwrap();
    }
    open_in_the_gauge(&whole, "main", 0).await;
    open_in_the_gauge(&whole, "second", 1).await;
    whole.finish().await;
}

/// Goal: a zero character anywhere in a report's words hides no anomaly: it is kept without, listed, shown with its signal and
/// acknowledged; and so is one that was kept with it.
#[tokio::test]
async fn a_zero_character_hides_no_anomaly() {
    let whole = Whole::start(&[]).await;
    let first = whole.claimed("EURUSD").await;
    whole.confirm(ticket(&first, 7)).await;
    let (zero, part) = ("a\u{0}b", json!({"ticket": 8, "symbol": "a\u{0}b", "message": "a\u{0}b"}));
    let mut report = ticket(&first, 8);
    for (field, value) in [
        ("signal_id", json!(format!("{}\u{0}", id(&first)))),
        ("status", json!("executed\u{0}")),
        ("action", json!("BUY\u{0}")),
        ("symbol", json!(zero)),
        ("message", json!(zero)),
        ("terminal", json!(zero)),
        ("results", json!([part])),
    ] {
        report[field] = value;
    }
    assert_eq!(whole.confirm(report).await["anomaly"], "second_ticket");
    let shown = async || {
        let anomaly = whole.anomalies("").await.remove(0);
        assert_eq!(whole.now(&first).await["anomalies"][0], anomaly);
        anomaly
    };
    let anomaly = shown().await;
    assert_eq!((&anomaly["terminal"], &anomaly["reported"]["message"]), (&json!("ab"), &json!("ab")));
    assert_eq!(anomaly["reported"]["results"], json!([{"ticket": 8, "symbol": "ab", "message": "ab"}]));
    assert!(!anomaly.to_string().contains("\\u0000"), "{anomaly}");
    let kept = r#"update trade_reports set body = '{"ticket":8,"retcode":null,"results":[{"ticket":8,"deal":null,"message":"a\u0000b"}]}'
        where anomaly is not null"#;
    let mut database = whole.sandbox.database().await.unwrap();
    assert_eq!(sqlx::query(kept).execute(&mut database).await.unwrap().rows_affected(), 1);
    let anomaly = shown().await;
    assert_eq!(anomaly["reported"], json!({"ticket": 8, "results": [{"ticket": 8, "message": zero}]}));
    let path = format!("/api/anomalies/{}/acknowledge", anomaly["anomaly_id"]);
    assert_eq!(whole.operator.post(&path, &json!({"note": "seen"})).await.unwrap()["note"], "seen");
    whole.finish().await;
}

async fn open_in_the_gauge(whole: &Whole, account: &str, open: i64) {
    let line = format!("pipeline_anomalies_open{{account=\"{account}\",kind=\"unknown_signal\"}} {open}");
    whole.told(&line).await;
}

impl Whole {
    /// Waits until this is a line of the metrics.
    pub(super) async fn told(&self, line: &str) {
        eventually(line, || async {
            let text = reqwest::get(&self.platform.metrics).await.ok()?.text().await.ok()?;
            text.lines().any(|told| told == line).then_some(())
        })
        .await;
    }
}

/// Goal: a day's loss that stopped openings, the mode, and how the terminal stands are gauges, each by account, and go back.
#[tokio::test]
async fn how_an_account_stands_is_a_gauge() {
    let whole = Whole::start(&[]).await;
    // The day of a loss is not over meanwhile.
    whole.noon();
    let told = async |name: &str, value: u8| whole.told(&format!("{name}{{account=\"main\"}} {value}")).await;
    let figures = |equity: i64, connected: bool| {
        json!({"balance": 1_000, "equity": equity, "margin": 0, "free_margin": 1_000, "profit": 0, "net_deposits": 1_000,
            "currency": "USD", "login": 1, "connected": connected, "trade_allowed": true})
    };
    told("pipeline_account_daily_loss_latched", 0).await;
    for (equity, connected) in [(1_000, true), (700, true), (700, false)] {
        whole.operator.post("/api/account/update", &figures(equity, connected)).await.unwrap();
        told("pipeline_terminal_connected", connected.into()).await;
    }
    told("pipeline_account_daily_loss_latched", 1).await;
    told("pipeline_terminal_trade_allowed", 1).await;
    whole.told("pipeline_account_mode{account=\"main\",mode=\"halted\"} 0").await;
    whole.switch("halted").await;
    whole.told("pipeline_account_mode{account=\"main\",mode=\"halted\"} 1").await;
    whole.told("pipeline_account_mode{account=\"main\",mode=\"active\"} 0").await;
    whole.switch("active").await;
    told("pipeline_account_daily_loss_latched", 0).await;
    whole.told("pipeline_account_mode{account=\"main\",mode=\"active\"} 1").await;
    whole.finish().await;
}

/// Goal: of an account whose terminal was retired nothing is said of how it stands: a gauge that kept its last value would
/// alert for ever.
#[tokio::test]
async fn a_retired_terminal_leaves_no_gauge_behind() {
    let whole = Whole::start(&[]).await;
    let facts = ["last_poll_timestamp_seconds", "last_update_timestamp_seconds", "connected", "trade_allowed"];
    let all = async |is: fn(f64) -> bool| {
        eventually("it is told", || async {
            let text = reqwest::get(&whole.platform.metrics).await.ok()?.text().await.ok()?;
            let told = |fact| {
                let name = format!("pipeline_terminal_{fact}{{account=\"main\"}} ");
                text.lines().find_map(|line| line.strip_prefix(&name))?.parse().ok()
            };
            facts.iter().all(|fact| told(*fact).is_some_and(is)).then_some(())
        })
        .await;
    };
    whole.poll("T").await;
    let figures = json!({"balance": 1_000, "equity": 1_000, "margin": 0, "free_margin": 1_000, "profit": 0,
        "net_deposits": 1_000, "currency": "USD", "login": 1, "connected": false, "trade_allowed": false});
    whole.operator.post("/api/account/update", &figures).await.unwrap();
    all(|value| value >= 0.0).await;
    let mut database = whole.sandbox.database().await.unwrap();
    for table in ["terminals", "account_reports"] {
        let delete = AssertSqlSafe(format!("delete from {table} where account = 'main'"));
        sqlx::query(delete).execute(&mut database).await.unwrap();
    }
    all(f64::is_nan).await;
    whole.finish().await;
}

/// Goal: the age of what waits and of what is unknown is told, and is nothing once there is none; what a halted account
/// holds on purpose does not count.
#[tokio::test]
async fn the_age_of_what_is_open_is_a_gauge() {
    let whole = Whole::start(&[]).await;
    let age = async |state: &str| {
        let name = format!("pipeline_oldest_signal_age_seconds{{state=\"{state}\"}} ");
        let text = reqwest::get(&whole.platform.metrics).await.unwrap().text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&name));
        line.map(|age| age.parse::<f64>().unwrap())
    };
    let older = async |state: &'static str, seconds: f64| {
        eventually("it is told", || async { age(state).await.filter(|age| *age >= seconds) }).await
    };
    let claimed = whole.lapsed("EURUSD").await;
    assert!(older("unknown", 31.0).await < 600.0);
    whole.stored(json!({"symbol": "GBPUSD", "action": "CLOSE"})).await;
    whole.sandbox.clock.advance(Duration::seconds(600));
    older("pending", 600.0).await;
    older("unknown", 630.0).await;
    whole.switch("halted").await;
    whole.told("pipeline_oldest_signal_age_seconds{state=\"pending\"} 0").await;
    whole.told("pipeline_signals{state=\"pending\"} 1").await;
    whole.confirm(ticket(&claimed, 7)).await;
    whole.told("pipeline_signals{state=\"unknown\"} 0").await;
    whole.told("pipeline_oldest_signal_age_seconds{state=\"unknown\"} 0").await;
    whole.finish().await;
}

/// Goal: figures of another account at the broker are refused, stored and published nowhere, and told; the first login
/// that an update names is kept as the account's.
#[tokio::test]
async fn figures_of_another_login_are_not_this_accounts() {
    let whole = Whole::start(&[]).await;
    whole.report("1000", "1000").await;
    assert_eq!(whole.operator.get("/api/accounts/main/risk").await.unwrap()["login"], 1);
    eventually("it is recorded", || async { (whole.count("account_state").await == 1).then_some(()) }).await;
    let body = json!({"balance": 5, "equity": 5, "margin": 0, "free_margin": 5, "profit": 0, "net_deposits": 0,
        "currency": "USD", "login": 2});
    let refusal = whole.refused(Method::POST, "/api/account/update", body).await;
    assert_eq!(refusal, (StatusCode::CONFLICT, "another_login".to_owned()));
    assert_eq!(whole.count("account_reports where balance = 1000").await, 1);
    whole.report("1001", "1000").await;
    eventually("the next one is recorded", || async {
        (whole.count("account_state where balance = 1001").await == 1).then_some(())
    })
    .await;
    assert_eq!(whole.count("account_state").await, 2, "the refused one was not published");
    let text = reqwest::get(&whole.platform.metrics).await.unwrap().text().await.unwrap();
    assert!(text.contains("pipeline_terminal_other_login_timestamp_seconds{account=\"main\"}"));
    whole.finish().await;
}
