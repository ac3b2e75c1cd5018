//! Reports that are recorded and not applied: nothing moves, and the record tells why.

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use stack::client::cents;

use super::broker::{Broker, envelope, outcome};
use super::steps::{full, id, open};
use crate::support::Whole;

/// When the last report that counted was received.
async fn state_at(whole: &Whole) -> OffsetDateTime {
    let micros = whole.text("select (extract(epoch from state_at) * 1000000)::bigint::text from pools").await;
    OffsetDateTime::UNIX_EPOCH + Duration::microseconds(micros.parse().unwrap())
}

/// The figures with these fields besides.
fn with(figures: &Value, more: &Value) -> Value {
    let mut body = figures.clone();
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

/// What must not count after a report of session `s` with number 5, each in another way: fields, how many milliseconds
/// later (a late one: how many before that report, or none) it was received, and the reason.
fn cases() -> Vec<(Value, i64, &'static str)> {
    let s = |seq: i64| json!({"session": "s", "seq": seq});
    vec![
        (s(5), 1, "seq_not_newer"),
        (s(4), 2, "seq_not_newer"),
        (json!({"session": "r", "seq": 99}), 3, "superseded_session"),
        (json!({"session": "t", "seq": 1}), -1, "older_than_last"),
        (json!({}), 0, "older_than_last"),
        (json!({}), -1_000, "older_than_last"),
        (with(&s(6), &json!({"connected": false})), 4, "not_connected"),
        (with(&s(6), &json!({"balance": 0, "equity": 0, "net_deposits": 0})), 5, "logged_out"),
        (with(&s(6), &json!({"net_deposits": null})), 6, "history_incomplete"),
        (with(&s(6), &json!({"login": 2})), 7, "another_account"),
        (with(&s(6), &json!({"currency": "EUR"})), 8, "another_account"),
        (with(&s(6), &json!({"equity": 1e15})), 9, "out_of_bounds"),
        (s(6), 3_600_000, "in_the_future"),
    ]
}

/// `A` with 100.00 of which 120.00 became, by session `s` after `r`, with a deposit of 5.00 that waits.
async fn with_sessions() -> (Whole, Broker, String) {
    let whole = Whole::start(&[]).await;
    let broker = Broker::connect(&whole.sandbox).await;
    whole.update(full(10_000, 10_000)).await;
    whole.member("A", 10_000).await;
    for (session, seq) in [("r", 7), ("s", 4)] {
        let body = with(&full(10_000, 10_000), &json!({"session": session, "seq": seq}));
        assert_eq!(whole.update(body).await, "applied");
    }
    let last = json!({"session": "s", "seq": 5, "equity": "120.00"});
    assert_eq!(whole.update(with(&full(10_000, 10_000), &last)).await, "applied");
    let waits = whole.invest("A", 500).await;
    assert_eq!(waits["status"], "pending");
    (whole, broker, id(&waits).to_owned())
}

/// Goal: every report that must not count is recorded with its reason and moves nothing, nor prices what waits; and the
/// next good one is applied as if they had not been.
#[tokio::test]
async fn a_report_that_does_not_count_moves_nothing_and_says_why() {
    let (whole, broker, waits) = with_sessions().await;
    let money = whole.money().await;
    let at = whole.sandbox.clock.now();
    let state_at = state_at(&whole).await;
    for (more, later, reason) in cases() {
        // Received after the deposit, but for those that are late.
        let received_at =
            if later > 0 { at + Duration::milliseconds(later) } else { state_at + Duration::milliseconds(later) };
        let figures = with(&full(99_900, 10_000), &more);
        assert_eq!(broker.report(&whole, received_at, &figures).await, reason, "{more}");
        assert_eq!(whole.money().await, money, "{more}");
    }
    assert_eq!(whole.movement("A", &waits).await["status"], "pending");
    whole.assert_parts(&[("A", 12_000, 2_000)]).await;
    let good = with(&full(13_000, 10_000), &json!({"session": "s", "seq": 6}));
    assert_eq!(whole.update(good).await, "applied");
    whole.assert_parts(&[("A", 13_500, 3_000)]).await;
    broker.close().await;
    whole.finish_clean().await;
}

/// Goal: the same when all of them come at once, with a good one among them that comes twice: one batch is as good as
/// many.
#[tokio::test]
async fn reports_that_do_not_count_spoil_no_batch() {
    let (whole, broker, waits) = with_sessions().await;
    let (at, state_at) = (whole.sandbox.clock.now(), state_at(&whole).await);
    let good = with(&full(13_000, 10_000), &json!({"session": "s", "seq": 6}));
    let (good_id, good) = envelope("main", at, &good);
    let (mut messages, mut expected) = (Vec::new(), Vec::new());
    for (more, later, reason) in cases() {
        let received_at = if later > 0 { at } else { state_at + Duration::milliseconds(later) };
        let (message_id, message) = envelope("main", received_at, &with(&full(99_900, 10_000), &more));
        messages.push(message);
        expected.push((message_id, reason, more));
    }
    let middle = messages.len() / 2;
    messages.insert(middle, good.clone());
    messages.push(good.clone());
    let again: Vec<Value> = messages.iter().rev().cloned().collect();
    broker.publish(&messages).await;
    broker.publish(&again).await;
    assert_eq!(outcome(&whole, good_id).await, "applied");
    for (message_id, reason, more) in expected {
        let found = outcome(&whole, message_id).await;
        // What came after the good one has an older number, or is older.
        let later = ["seq_not_newer", "older_than_last"];
        assert!(found == reason || later.contains(&found.as_str()), "{more}: {found}");
    }
    let rows = i64::try_from(messages.len()).unwrap() - 1;
    assert_eq!(whole.count("account_state").await, 4 + rows, "each once");
    assert_eq!(whole.movement("A", &waits).await["status"], "applied");
    whole.assert_parts(&[("A", 13_500, 3_000)]).await;
    broker.close().await;
    whole.finish_clean().await;
}

/// Goal: of two terminals on one account the one that goes on counts again a minute after the newer one fell silent, what
/// it said before that does not, and the newer one comes back in the same way: the pool never stands still for good.
#[tokio::test]
async fn the_terminal_that_goes_on_counts_again_when_the_newer_one_is_silent() {
    let whole = Whole::start(&[]).await;
    let broker = Broker::connect(&whole.sandbox).await;
    let report = |session, seq: i64, balance| with(&full(balance, 10_000), &json!({"session": session, "seq": seq}));
    assert_eq!(whole.update(report("a", 1, 10_000)).await, "applied");
    whole.member("A", 10_000).await;
    assert_eq!(whole.update(report("b", 1, 11_000)).await, "applied");
    assert_eq!(whole.update(report("a", 2, 99_900)).await, "superseded_session", "both are alive");
    let state_at = state_at(&whole).await;
    whole.sandbox.clock.advance(Duration::seconds(61));
    let delayed = report("a", 3, 99_900);
    let queued = broker.report(&whole, state_at + Duration::seconds(60), &delayed).await;
    assert_eq!(queued, "superseded_session", "received when the newer one may still have been alive");
    let aged = with(&delayed, &json!({"age_ms": 60_000}));
    assert_eq!(whole.update(aged).await, "superseded_session", "so old were its figures");
    assert_eq!(whole.update(report("a", 1, 99_900)).await, "seq_not_newer", "sent once more");
    whole.assert_parts(&[("A", 11_000, 1_000)]).await;
    assert_eq!(whole.update(report("a", 4, 12_000)).await, "applied");
    whole.assert_parts(&[("A", 12_000, 2_000)]).await;
    assert_eq!(whole.update(report("b", 2, 99_900)).await, "superseded_session");
    assert_eq!(whole.update(report("a", 4, 99_900)).await, "seq_not_newer");
    assert_eq!(whole.update(report("a", 5, 12_500)).await, "applied");
    whole.assert_parts(&[("A", 12_500, 2_500)]).await;
    whole.sandbox.clock.advance(Duration::seconds(61));
    assert_eq!(whole.update(report("b", 1, 99_900)).await, "seq_not_newer");
    assert_eq!(whole.update(report("b", 3, 13_000)).await, "applied");
    whole.assert_parts(&[("A", 13_000, 3_000)]).await;
    broker.close().await;
    whole.finish_clean().await;
}

/// Goal: a clock that was ahead for a while leaves no pool behind that stands still until its time has come, and no price that
/// nobody can date: what is reported after it was put right counts, by the five fields and by another run.
#[tokio::test]
async fn a_clock_that_was_ahead_does_not_make_the_pool_stand_still() {
    let whole = Whole::start(&[]).await;
    let applied = || async {
        whole.valued().await;
        whole.text("select outcome from account_state order by place desc limit 1").await
    };
    whole.sandbox.clock.advance(Duration::hours(1));
    whole.update(full(10_000, 10_000)).await;
    whole.member("A", 10_000).await;
    whole.sandbox.clock.advance(Duration::minutes(2));
    assert_eq!(whole.invest("A", 700).await["status"], "pending", "the last report is old");
    whole.sandbox.clock.advance(-Duration::minutes(62));
    assert_eq!(whole.invest("A", 500).await["status"], "pending", "how old the last report is nobody knows");
    whole.update(full(11_000, 10_000)).await;
    assert_eq!(applied().await, "applied");
    assert_eq!(cents(&whole.stats("A").await["pending"]), 0, "both have their price");
    whole.sandbox.clock.advance(Duration::hours(1));
    whole.update(full(12_000, 10_000)).await;
    whole.sandbox.clock.advance(-Duration::hours(1));
    whole.update(with(&full(13_000, 10_000), &json!({"session": "new", "seq": 1}))).await;
    assert_eq!(applied().await, "applied");
    assert_eq!(cents(&whole.stats("A").await["profit_loss"]), 3_000);
    whole.finish_clean().await;
}

/// Goal: an account that is empty, or lost all but never was logged out, is no terminal that is not logged in.
#[tokio::test]
async fn an_account_that_was_always_empty_counts() {
    let whole = Whole::start(&[]).await;
    assert_eq!(whole.update(full(0, 0)).await, "applied");
    whole.member("A", 10_000).await;
    assert_eq!(whole.update(full(0, 0)).await, "applied");
    assert_eq!(whole.update(full(1, 0)).await, "applied");
    assert_eq!(whole.update(full(0, 0)).await, "logged_out");
    whole.assert_parts(&[("A", 10_001, 1)]).await;
    whole.finish_clean().await;
}

/// Goal: when the terminal comes to know its deposits, that level is the base: nobody gains or loses by the change.
#[tokio::test]
async fn a_change_of_definition_moves_nobodys_money() {
    let whole = Whole::start(&[]).await;
    whole.member("A", 10_000).await;
    whole.update(open(50_000, 1_000)).await;
    whole.assert_parts(&[("A", 11_000, 1_000)]).await;
    let mut both = open(50_000, 1_000);
    both["net_deposits"] = json!("123.45");
    assert_eq!(whole.update(both.clone()).await, "applied");
    whole.assert_parts(&[("A", 11_000, 1_000)]).await;
    both["equity"] = json!("510.50");
    assert_eq!(whole.update(both).await, "applied");
    whole.assert_parts(&[("A", 11_050, 1_050)]).await;
    assert_eq!(whole.update(open(50_000, 9_000)).await, "history_incomplete");
    whole.assert_parts(&[("A", 11_050, 1_050)]).await;
    whole.finish_clean().await;
}

/// Goal: a broker's credit is nobody's profit, when it comes and when it goes; and it is nothing that is open.
#[tokio::test]
async fn credit_is_nobodys_profit() {
    let whole = Whole::start(&[]).await;
    whole.update(full(10_000, 10_000)).await;
    whole.member("A", 10_000).await;
    let credited = with(&full(10_000, 10_000), &json!({"credit": "50.00", "equity": "150.00"}));
    assert_eq!(whole.update(credited).await, "applied");
    whole.assert_parts(&[("A", 10_000, 0)]).await;
    assert_eq!(whole.invest("A", 500).await["status"], "applied");
    assert_eq!(whole.update(full(10_000, 10_000)).await, "applied");
    whole.assert_parts(&[("A", 10_500, 0)]).await;
    whole.finish_clean().await;
}

/// Goal: a terminal that names another run with each report fills no table: of an account's runs that ended the latest
/// thousand are known, and still superseded.
#[tokio::test]
async fn runs_that_ended_long_ago_are_forgotten() {
    let whole = Whole::start(&["second"]).await;
    let mut db = whole.sandbox.database().await.unwrap();
    for account in ["main", "second"] {
        sqlx::query(
            "insert into ended_sessions (account, session, ended_at)
             select $1, 'made up ' || n, timestamptz '2026-01-01' + n * interval '1 second' from generate_series(1, 1200) n",
        )
        .bind(account)
        .execute(&mut db)
        .await
        .unwrap();
    }
    for session in ["first", "second", "third"] {
        let figures = with(&full(10_000, 10_000), &json!({"session": session, "seq": 1}));
        assert_eq!(whole.update(figures).await, "applied");
    }
    assert_eq!(whole.count("ended_sessions where account = 'main'").await, 1_000);
    assert_eq!(whole.count("ended_sessions where account = 'second'").await, 1_200);
    for known in ["first", "second", "made up 203", "made up 1200"] {
        let figures = with(&full(10_000, 10_000), &json!({"session": known, "seq": 2}));
        assert_eq!(whole.update(figures).await, "superseded_session", "{known}");
    }
    whole.finish_clean().await;
}
