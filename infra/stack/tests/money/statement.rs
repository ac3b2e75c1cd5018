//! Looking back: statements that add up line by line and meet where they touch, and the pool's chart.

use reqwest::Method;
use serde_json::{Value, json};
use stack::client::{cents, decimal};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::steps::{five, full, open};
use crate::support::Whole;

fn at(line: &Value) -> OffsetDateTime {
    OffsetDateTime::parse(line["at"].as_str().unwrap(), &Rfc3339).unwrap()
}

fn text(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap()
}

async fn statement(whole: &Whole, user: &str, query: &str) -> Value {
    whole.operator.get(&format!("/api/users/{user}/statement?{query}")).await.expect("a statement")
}

/// The kinds of its lines; panics unless they add up one by one.
fn add_up(account: &Value) -> Vec<String> {
    let lines = account["lines"].as_array().unwrap();
    let (mut value, mut deposits, mut withdrawals, mut profit) = (cents(&account["opening_value"]), 0, 0, 0);
    let mut units = decimal(&lines[0]["units"]);
    for line in lines {
        let moved = cents(&line["amount"]);
        value += moved + cents(&line["profit"]);
        assert_eq!(cents(&line["value"]), value, "{line} of {account}");
        deposits += moved.max(0);
        withdrawals -= moved.min(0);
        profit += cents(&line["profit"]);
        let more = decimal(&line["units"]) - units;
        units += more;
        match line["kind"].as_str().unwrap() {
            "deposit" => assert!(moved > 0 && more > 0.into() && line["movement_id"].is_string(), "{line}"),
            "withdrawal" => assert!(moved < 0 && more < 0.into() && line["movement_id"].is_string(), "{line}"),
            "pool_closed" => assert!(moved == 0 && units.is_zero() && value == 0, "{line}"),
            kind => assert!(["opening", "closing"].contains(&kind) && moved == 0 && more.is_zero(), "{line}"),
        }
    }
    let sums = [("deposits", deposits), ("withdrawals", withdrawals), ("profit", profit), ("closing_value", value)];
    for (field, sum) in sums {
        assert_eq!(cents(&account[field]), sum, "{field} of {account}");
    }
    assert_eq!(decimal(&account["units"]), units);
    assert!(lines.windows(2).all(|pair| at(&pair[0]) <= at(&pair[1])));
    lines.iter().map(|line| line["kind"].as_str().unwrap().to_owned()).collect()
}

/// What a member had at some time.
struct Moment {
    at: OffsetDateTime,
    value: i128,
    profit_loss: i128,
}

async fn moment(whole: &Whole) -> Moment {
    let part = whole.part("A").await;
    let at = whole.sandbox.clock.now();
    // What comes next is later, be it by a microsecond.
    while whole.sandbox.clock.now() == at {
        tokio::task::yield_now().await;
    }
    Moment { at, value: part.value, profit_loss: part.profit_loss }
}

/// A story with everything that a statement tells, and moments between its parts.
async fn story(whole: &Whole) -> Vec<Moment> {
    let mut moments = Vec::new();
    whole.member("A", 100_000).await;
    whole.member("B", 200_000).await;
    moments.push(moment(whole).await);
    whole.update(five(300_000, 10_001)).await;
    moments.push(moment(whole).await);
    whole.invest("A", 50_000).await;
    whole.update(open(300_000, -20_002)).await;
    let cancelled = whole.withdraw("A", Some(1)).await;
    let path = format!("/api/users/A/movements/{}/cancel", super::steps::id(&cancelled));
    assert_eq!(whole.ask(Method::POST, &path, Value::Null).await.0, 200);
    let withdrawn = whole.withdraw("A", Some(20_000)).await;
    moments.push(moment(whole).await);
    whole.update(five(300_000, 3_333)).await;
    assert_eq!(whole.movement("A", super::steps::id(&withdrawn)).await["status"], "applied");
    moments.push(moment(whole).await);
    whole.update(five(300_000, -400_000)).await;
    moments.push(moment(whole).await);
    assert_eq!(whole.ask(Method::POST, "/api/accounts/main/pool/close", Value::Null).await.0, 200);
    moments.push(moment(whole).await);
    whole.invest("A", 10_000).await;
    whole.invest("B", 20_000).await;
    whole.update(five(300_000, -399_993)).await;
    moments.push(moment(whole).await);
    whole.withdraw("B", None).await;
    moments.push(moment(whole).await);
    moments
}

/// Goal: a statement adds up line by line, over deposits, withdrawals and a closed pool; each period begins where the one
/// before ended, to the cent, with what was shown at that time.
#[tokio::test]
async fn statements_add_up_and_meet_where_they_touch() {
    let whole = Whole::start(&[]).await;
    let moments = story(&whole).await;
    let last = moments.last().unwrap();
    let all = statement(&whole, "A", "").await;
    let account = &all["accounts"][0];
    let kinds = ["opening", "deposit", "deposit", "withdrawal", "pool_closed", "deposit", "closing"];
    assert_eq!(add_up(account), kinds);
    assert_eq!((cents(&account["opening_value"]), cents(&account["closing_value"])), (0, last.value));
    assert_eq!(cents(&account["profit"]), last.profit_loss);
    assert_eq!((cents(&account["deposits"]), cents(&account["withdrawals"])), (160_000, 20_000));
    let stats = whole.stats("A").await;
    assert_eq!(cents(&stats["value"]), last.value);
    assert_eq!(account["units"], stats["accounts"][0]["units"]);

    // All moments in a row, and every second one.
    for step in [1, 2] {
        let mut sums = [0; 3];
        let mut opening: Option<Value> = None;
        for pair in moments.iter().step_by(step).collect::<Vec<_>>().windows(2) {
            let query = format!("from={}&to={}", text(pair[0].at), text(pair[1].at));
            let part = statement(&whole, "A", &query).await["accounts"][0].clone();
            add_up(&part);
            assert_eq!(cents(&part["opening_value"]), pair[0].value, "{query}: {part}");
            assert_eq!(cents(&part["closing_value"]), pair[1].value, "{query}: {part}");
            if let Some(before) = opening.replace(part.clone()) {
                assert_eq!(before["closing_value"], part["opening_value"]);
                assert_eq!(before["lines"].as_array().unwrap().last().unwrap()["units"], part["lines"][0]["units"]);
            }
            for (sum, field) in sums.iter_mut().zip(["deposits", "withdrawals", "profit"]) {
                *sum += cents(&part[field]);
            }
        }
        // The first moment is after A's first deposit; with two steps the last is B's leaving, which is not A's.
        let [deposits, withdrawals, profit] = sums;
        if step == 1 {
            assert_eq!((deposits, withdrawals, profit), (60_000, 20_000, last.profit_loss));
        }
    }
    let none = statement(&whole, "A", &format!("from={0}&to={0}", text(moments[1].at))).await;
    assert_eq!(add_up(&none["accounts"][0]), ["opening", "closing"]);
    assert_eq!(cents(&none["accounts"][0]["closing_value"]), moments[1].value);
    let to = format!("to={}", text(moments[2].at));
    assert_eq!(cents(&statement(&whole, "A", &to).await["accounts"][0]["closing_value"]), moments[2].value);
    whole.finish_clean().await;
}

/// Goal: a period that makes no sense, or of nobody, is refused.
#[tokio::test]
async fn a_period_that_makes_no_sense_is_refused() {
    let whole = Whole::start(&[]).await;
    whole.member("A", 10_000).await;
    let now = whole.sandbox.clock.now();
    let hour = time::Duration::hours(1);
    let (early, late) = (text(now - hour), text(now + hour));
    for (path, refusal) in [
        (format!("A/statement?from={}&to={early}", text(now)), (422, "invalid_request")),
        (format!("A/statement?from={late}"), (422, "invalid_request")),
        (format!("A/statement?to={early}"), (422, "invalid_request")),
        ("A/statement?from=yesterday".to_owned(), (422, "invalid_query")),
        ("A/statement?account=a%20b".to_owned(), (422, "invalid_request")),
        ("nobody/statement".to_owned(), (404, "not_found")),
    ] {
        let (status, code) = whole.refused(Method::GET, &format!("/api/users/{path}"), Value::Null).await;
        assert_eq!((status, code.as_str()), refusal, "{path}");
    }
    // The end may be yet to come: it is now then.
    let until = statement(&whole, "A", &format!("from={early}&to={late}")).await;
    assert!(at(until["accounts"][0]["lines"].as_array().unwrap().last().unwrap()) < now + hour);
    assert_eq!(add_up(&until["accounts"][0]), ["opening", "deposit", "closing"]);
    whole.finish_clean().await;
}

/// Goal: asked for CSV, a statement has the same lines with the same figures; and of several accounts each has its own.
#[tokio::test]
async fn a_statement_as_csv_has_the_same_figures() {
    let whole = Whole::start(&["second"]).await;
    story(&whole).await;
    let second = whole.operator.with_key(&whole.sandbox.terminals["second"]);
    whole.operator.post("/api/users/A/invest", &json!({"amount": 33, "account": "second"})).await.unwrap();
    whole.update_by(&second, full(1_000, 1_000)).await;
    whole.update_by(&second, full(1_111, 1_000)).await;
    let to = text(moment(&whole).await.at);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for (query, accounts) in
        [("", vec!["main", "second"]), ("&account=second", vec!["second"]), ("&account=third", vec![])]
    {
        let path = format!("/api/users/A/statement?to={to}{query}");
        let json = whole.operator.get(&path).await.unwrap();
        let found: Vec<&str> =
            json["accounts"].as_array().unwrap().iter().map(|account| account["account"].as_str().unwrap()).collect();
        assert_eq!(found, accounts);
        for account in json["accounts"].as_array().unwrap() {
            add_up(account);
        }
        for accept in ["text/csv", "text/html;q=0.5, text/csv;q=0.9"] {
            let request = http.get(format!("{}{path}", whole.platform.url)).header("Accept", accept);
            let answer = request.header("X-API-Key", whole.sandbox.keys.operator()).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 200);
            assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/csv"));
            compare(&answer.text().await.unwrap(), &json);
        }
    }
    whole.finish_clean().await;
}

/// Every line of the CSV is one of the JSON, field by field.
fn compare(csv: &str, json: &Value) {
    let mut rows = csv.lines().map(|row| row.split(',').collect::<Vec<_>>());
    let lines: Vec<&Value> =
        json["accounts"].as_array().unwrap().iter().flat_map(|account| account["lines"].as_array().unwrap()).collect();
    let Some(header) = rows.next() else {
        assert!(lines.is_empty(), "no header, though there are lines");
        return;
    };
    assert_eq!(
        header,
        ["account", "currency", "at", "kind", "movement_id", "amount", "profit", "value", "units", "unit_price"]
    );
    let rows: Vec<Vec<&str>> = rows.collect();
    assert_eq!(rows.len(), lines.len());
    for (row, line) in rows.iter().zip(lines) {
        assert_eq!(row.len(), header.len(), "{row:?}");
        for (name, text) in header.iter().zip(row) {
            let expected = match &line[name] {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                figure => figure.to_string(),
            };
            assert_eq!(*text, expected, "{name} of {line}");
        }
    }
}

/// Goal: the chart has at most as many points as asked for, begins at a price of 1 and ends with the pool as it is.
#[tokio::test]
async fn the_chart_begins_at_one_and_ends_with_the_pool() {
    let whole = Whole::start(&["second"]).await;
    let moments = story(&whole).await;
    let chart = async |query: &str| {
        let answer = whole.operator.get(&format!("/api/account/history?{query}")).await.expect("a chart");
        answer.as_array().unwrap().clone()
    };
    let account = whole.account().await;
    for count in [2, 3, 17, 200, 1_000] {
        let points = chart(&format!("points={count}")).await;
        assert!((2..=count).contains(&points.len()), "{} of {count}", points.len());
        assert!(points.windows(2).all(|pair| at(&pair[0]) < at(&pair[1])));
        assert_eq!((&points[0]["unit_price"], cents(&points[0]["equity"])), (&json!(1), 100_000));
        let last = points.last().unwrap();
        assert_eq!(last["equity"], account["pool_equity"]);
        assert_eq!(last["profit"], account["profit_loss"]);
        assert_eq!(last["unit_price"], account["unit_price"]);
    }
    assert!(chart("").await.len() <= 200);
    // Up to a moment: the pool as it was then, wiped out with units that are worth nothing, and closed.
    let until = |moment: &Moment| format!("points=2&to={}", text(moment.at));
    let wiped = chart(&until(&moments[4])).await.pop().unwrap();
    assert!(cents(&wiped["equity"]) < 0, "{wiped}");
    assert_eq!(wiped["unit_price"], json!(0));
    let closed = chart(&until(&moments[5])).await.pop().unwrap();
    assert_eq!((cents(&closed["equity"]), &closed["unit_price"]), (0, &Value::Null));
    let from = chart(&format!("points=5&from={}", text(moments[5].at))).await;
    assert_eq!(cents(&from[0]["equity"]), 0);
    assert!(chart("account=second").await.is_empty(), "nothing happened there");
    for (query, refusal) in [
        ("points=1", (422, "invalid_request")),
        ("points=1001", (422, "invalid_request")),
        ("points=many", (422, "invalid_query")),
        ("account=elsewhere", (404, "not_found")),
    ] {
        let (status, code) = whole.refused(Method::GET, &format!("/api/account/history?{query}"), Value::Null).await;
        assert_eq!((status, code.as_str()), refusal, "{query}");
    }
    whole.finish_clean().await;
}

/// Goal: the chart goes by the platform's clock, as the books do, not by the database's.
#[tokio::test]
async fn the_chart_ends_now_by_the_platforms_clock() {
    let whole = Whole::start(&[]).await;
    whole.sandbox.clock.advance(time::Duration::minutes(1));
    whole.member("A", 10_000).await;
    whole.update(five(10_000, 500)).await;
    let points = whole.operator.get("/api/account/history").await.unwrap();
    let last = points.as_array().unwrap().last().map(|point| cents(&point["equity"]));
    assert_eq!(last, Some(10_500));
    whole.finish_clean().await;
}
