//! Months that are older than is kept go, and every balance is proved without them.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Connection as _;
use stack::client::cents;
use time::format_description::well_known::Rfc3339;

use super::months::months_of_stories;
use super::plants::{
    AUDITED, CHAINS, CHECKPOINTS, HOLDINGS, LOGINS, MOVEMENTS, POOLS, PRICES, REPORTS, VALUATIONS, VERSIONS,
    assert_found_in, unguarded,
};
use super::steps::{assert_clean, five};
use crate::past::month;
use crate::private::{Program, Scratch, within};
use crate::support::{Whole, eventually};

fn text(at: time::OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap()
}

/// All that is told of the money, where months that go must change nothing.
async fn told(whole: &Whole, since: time::OffsetDateTime) -> Vec<Value> {
    let to = text(month(0));
    let mut told = Vec::new();
    for path in [
        "/api/users/A/stats".to_owned(),
        "/api/users/D/stats".to_owned(),
        "/api/account/stats".to_owned(),
        "/api/account/stats?account=second".to_owned(),
        "/api/users/B/movements".to_owned(),
        "/api/users/C/movements".to_owned(),
        format!("/api/users/A/statement?from={}&to={to}", text(since)),
        format!("/api/users/C/statement?from={}&to={to}", text(since + time::Duration::days(7))),
        format!("/api/account/history?from={}&to={to}&points=30", text(since)),
        format!("/api/account/history?account=second&from={}&to={to}&points=3", text(since)),
    ] {
        told.push(whole.operator.get(&path).await.unwrap());
    }
    // From the first day on: a statement of movements alone, whose prices before `since` are not told.
    let mut all = whole.operator.get(&format!("/api/users/A/statement?to={to}")).await.unwrap();
    for account in all["accounts"].as_array_mut().unwrap() {
        account["lines"][0]["unit_price"] = Value::Null;
    }
    told.push(all);
    told
}

/// Goal: when months are retired, one after another, no figure of a member, a pool or a statement of what is kept changes,
/// the movements of all time stay, and the books are proved from the checkpoint on.
#[tokio::test]
async fn retired_months_take_no_cent_with_them() {
    let mut whole = Whole::start_in_the_past().await;
    months_of_stories(&whole).await;
    let movements = "pool_history where kind <> 'update'";
    let all = whole.count("account_state").await;
    for (months, checkpoints) in [(2, 2), (1, 4)] {
        let (before, kept) = (told(&whole, month(months)).await, whole.count(movements).await);
        whole = whole.retired(months).await;
        for (after, before) in told(&whole, month(months)).await.iter().zip(&before) {
            assert_eq!(after, before, "with {months} months");
        }
        assert_eq!(whole.count("pool_checkpoints").await, checkpoints);
        assert_eq!(whole.count(movements).await, kept);
        assert_clean(&mut whole.sandbox.database().await.unwrap()).await;
        // It goes on.
        assert_eq!(whole.update(full_at_3(31_000 + i128::from(months))).await, "applied");
        whole.invest("D", 1_234).await;
        // Until then a cent that does not divide may still be somebody else's.
        whole.valued().await;
        assert_clean(&mut whole.sandbox.database().await.unwrap()).await;
        assert!(whole.count("account_state").await < all, "reports are gone");
        let old = format!("account_state where received_at < '{}'", month(months));
        assert_eq!(whole.count(&old).await, 0);
    }
    // What stays can only be added to, as before.
    let mut db = whole.sandbox.database().await.unwrap();
    for table in ["pool_history_default", "pool_valuations_default", "pool_checkpoints"] {
        for statement in
            [format!("update {table} set equity = 0"), format!("delete from {table}"), format!("truncate {table}")]
        {
            let refused =
                sqlx::query(sqlx::AssertSqlSafe(statement.clone())).execute(&mut db).await.expect_err(&statement);
            assert!(refused.to_string().contains("append-only"), "{statement}: {refused}");
        }
    }
    db.close().await.unwrap();
    whole.finish_clean().await;
}

fn full_at_3(balance: i128) -> Value {
    let mut body = super::steps::full(balance, 30_000);
    body["login"] = serde_json::json!(3);
    body
}

/// Goal: months of which rows came before their partition did, this one too, keep no service from starting and nothing else from
/// going: every figure stays, and the books are proved with the rows that stay in the default partition.
#[tokio::test]
async fn a_month_without_a_partition_is_no_outage_and_loses_no_cent() {
    let whole = Whole::start_in_the_past().await;
    whole.without_the_months(&[month(2), month(0)]).await;
    months_of_stories(&whole).await;
    whole.post(json!({"symbol": "EURUSD", "action": "CLOSE"})).await;
    let stored = "signal_events_default";
    eventually("the signal is stored", || async { (whole.count(stored).await > 0).then_some(()) }).await;
    let before = told(&whole, month(1)).await;
    let whole = whole.retired(1).await;
    for (after, before) in told(&whole, month(1)).await.iter().zip(&before) {
        assert_eq!(after, before);
    }
    for table in ["pool_history", "account_state", "signal_events"] {
        let months = format!("month_partitions('{table}')");
        assert_eq!(whole.count(&format!("{months} where ends_at > now()")).await, 3, "the months to come are made");
        assert!(whole.count(&format!("{table}_default")).await > 0);
    }
    let old = format!("account_state_default where received_at < '{}'", month(1));
    assert!(whole.count(&old).await > 0, "what has no month of its own stays");
    assert_eq!(whole.update(full_at_3(31_500)).await, "applied");
    whole.finish_clean().await;
}

/// Goal: what reaches back before what is kept is answered as far as it can be told, or refused with the time from which
/// on it can: never with a figure that was not so.
#[tokio::test]
async fn what_was_retired_is_refused_and_never_made_up() {
    let whole = Whole::start_in_the_past().await;
    months_of_stories(&whole).await;
    let points = whole.operator.get("/api/account/history?points=2").await.unwrap();
    assert!(points[0]["at"].as_str().unwrap() < &*text(month(2)), "it began before: {points}");
    let whole = whole.retired(1).await;
    let (since, early) = (text(month(1)), text(month(2)));
    let points = whole.operator.get("/api/account/history?points=2").await.unwrap();
    assert_eq!(points[0]["at"], since);
    for path in [
        format!("/api/users/A/statement?from={early}"),
        format!("/api/users/A/statement?to={early}"),
        format!("/api/users/A/statement?from={early}&account=main"),
        format!("/api/account/history?to={early}"),
    ] {
        let (status, answer) = whole.ask(Method::GET, &path, Value::Null).await;
        assert_eq!((status, answer["code"].as_str()), (410, Some("retired")), "{path}: {answer}");
        assert!(answer["detail"].as_str().unwrap().contains(&since), "{answer}");
    }
    // Who held nothing then has nothing that is not known.
    let of_d = whole.operator.get(&format!("/api/users/D/statement?from={early}")).await.unwrap();
    assert_eq!(cents(&of_d["accounts"][0]["lines"][0]["value"]), 0);
    whole.finish_clean().await;
}

/// Goal: after a retirement planted differences are found as before: after the checkpoint, at it, in the movements before
/// it, and in the checkpoint itself.
#[tokio::test]
async fn planted_differences_are_found_beside_a_checkpoint() {
    let whole = Whole::start_in_the_past().await;
    months_of_stories(&whole).await;
    let whole = whole.retired(1).await;
    whole.valued().await;
    let Whole { sandbox, platform, .. } = whole;
    assert!(platform.stop().await);
    let cut = "(select version from last_checkpoints where account = 'main')";
    let first = format!("where account = 'main' and version = {cut} + 1");
    let old = format!(
        "where account = 'main' and kind = 'withdrawal' and version = (select min(version) from pool_history
        where account = 'main' and kind = 'withdrawal' and version < {cut})"
    );
    let paid = format!("where account = 'main' and kind = 'withdrawal' and version > {cut}");
    let last = "where account = 'main' and cut = (select max(cut) from pool_checkpoints)";
    let report = "where account = 'main' and place = (select min(place) from account_state
        where account = 'main' and version is not null)";
    let checkpoint = "checkpoint of account main at ";
    let consistent = format!(
        "do $$ declare who text; begin
            select user_id into who from pool_history {old};
            update pool_history set units_delta = units_delta - 1 {old};
            update holdings set units = units - 1 where account = 'main' and user_id = who;
        end $$"
    );
    let earlier = "do $$ begin
            update pools set units = units - 1 where account = 'main';
            update pool_history set units = units - 1 where account = 'main'
                and version >= (select version from last_checkpoints where account = 'main');
            update pool_checkpoints set units = units - 1 where account = 'main';
            update pool_valuations set units = units - 1 where account = 'main';
        end $$";
    let plants = [
        (format!("update pool_history set equity = equity + 1 {first}"), VERSIONS, "account main version "),
        (format!("update pool_history set amount = amount + 1 {first}"), VERSIONS, "account main version "),
        (format!("delete from pool_history {first}"), VERSIONS, "account main version "),
        (format!("update pool_history set units_delta = units_delta - 1, units = units - 1 {paid}"), PRICES, "account main"),
        (format!("update account_state set equity = equity + 0.01 {report}"), REPORTS, "report "),
        (format!("delete from account_state {report}"), REPORTS, "account main version "),
        // Login 2 was asked for once, and was gone over to before the checkpoint.
        (
            "update account_state set login = 2 where place = (select max(place) from account_state
                 where version is not null and account = 'main')"
                .to_owned(),
            LOGINS,
            "report ",
        ),
        (format!("update pool_history set amount = amount - 1 {old}"), MOVEMENTS, "movement "),
        (format!("update pool_history set units_delta = units_delta - 1 {old}"), HOLDINGS, "member "),
        (format!("update pool_history set equity = equity - 1 {old}"), CHECKPOINTS, "movements of account main until"),
        (format!("delete from pool_history {old}"), CHECKPOINTS, "movements of account main until"),
        (consistent, CHECKPOINTS, "movements of account main until"),
        (format!("update capital_movements set amount = amount + 1 where movement_id = (select movement_id
            from pool_history {old})"), AUDITED, "movement "),
        (format!("update pool_checkpoints set equity = equity + 1 {last}"), CHECKPOINTS, checkpoint),
        (format!("update pool_checkpoints set equity = equity + 1 {last}"), VERSIONS, "account main version "),
        (format!("update pool_checkpoints set digest = sha256(digest) {last}"), CHECKPOINTS, checkpoint),
        (format!("update pool_checkpoints set login_changes = '{{}}' {last}"), CHECKPOINTS, checkpoint),
        (format!("delete from pool_checkpoints {last}"), CHECKPOINTS, checkpoint),
        (format!("insert into pool_checkpoints select (jsonb_populate_record(c, jsonb_build_object('cut', now()))).*
            from pool_checkpoints c {last}"), CHECKPOINTS, checkpoint),
        (earlier.to_owned(), CHECKPOINTS, checkpoint),
        ("update pools set equity = equity + 1 where account = 'second'".to_owned(), POOLS, "pool of account second"),
        ("update pool_valuations set equity = equity + 1 where account = 'second'".to_owned(), VALUATIONS,
            "valuation of account second"),
        ("update audit_log set entry = replace(entry, 'books.checkpoint', 'books.checkpoints') where seq = (select max(seq)
            from audit_log where entry like '%books.checkpoint%')".to_owned(), CHAINS, "entry "),
    ];
    let plants: Vec<(&str, &str, &str)> =
        plants.iter().map(|(plant, check, place)| (&**plant, *check, *place)).collect();
    assert_found_in(unguarded(sandbox).await, &plants).await;
}

/// Goal: where the books do not add up nothing is retired, and the log says why; put right, two distributors that look at
/// once retire each month once. The setting is read from the environment.
#[tokio::test]
async fn nothing_is_retired_of_books_that_do_not_add_up() {
    const SECONDS: Duration = Duration::from_secs(20);
    let whole = Whole::start_in_the_past().await;
    months_of_stories(&whole).await;
    let Whole { sandbox, platform, .. } = whole;
    assert!(platform.stop().await);
    let mut environment = sandbox.environment();
    for (name, value) in [("RETENTION_MONTHS", "1"), ("HTTP_ADDR", "127.0.0.1:0"), ("METRICS_ADDR", "127.0.0.1:0")] {
        environment.push((name.to_owned(), value.to_owned()));
    }
    let scratch = Scratch::new();
    let serve = || Program::spawn(&scratch, &["serve", "--only", "distributor"], &environment);
    let mut db = sandbox.database().await.unwrap();
    sqlx::query("update holdings set deposited = deposited + 1 where user_id = 'A'").execute(&mut db).await.unwrap();
    let months = "select count(*) from month_partitions('account_state')";
    let before: i64 = sqlx::query_scalar(months).fetch_one(&mut db).await.unwrap();
    let mut one = serve();
    one.wrote("nothing is retired: the books do not add up", SECONDS).await;
    assert!(one.output().contains("member A in account main"), "{}", one.output());
    let works = "select count(*) from pg_locks where locktype = 'advisory'
        and database = (select oid from pg_database where datname = current_database())";
    within(SECONDS, "it leaves it at that", || async {
        let mut db = sandbox.database().await.unwrap();
        sqlx::query_scalar::<_, i64>(works).fetch_one(&mut db).await.unwrap() == 0
    })
    .await;
    assert_eq!(sqlx::query_scalar::<_, i64>(months).fetch_one(&mut db).await.unwrap(), before);
    one.kill().await;
    sqlx::query("update holdings set deposited = deposited - 1 where user_id = 'A'").execute(&mut db).await.unwrap();
    let (one, other) = (serve(), serve());
    within(SECONDS, "two months are gone", || async {
        let mut db = sandbox.database().await.unwrap();
        sqlx::query_scalar::<_, i64>(months).fetch_one(&mut db).await.unwrap() == before - 2
    })
    .await;
    let retired = format!("{}{}", one.output(), other.output());
    assert!(!retired.contains("nothing is retired"), "{retired}");
    let entries = "select count(*) from audit_log where entry like '%books.checkpoint%'";
    assert_eq!(sqlx::query_scalar::<_, i64>(entries).fetch_one(&mut db).await.unwrap(), 2, "one of each account");
    assert_clean(&mut db).await;
    one.kill().await;
    other.kill().await;
    db.close().await.unwrap();
    sandbox.remove().await.unwrap();
}

/// Goal: somebody who reads a table for long, as a backup does, is not waited for: reports count meanwhile, and the month
/// goes when he is done.
#[tokio::test]
async fn a_table_that_is_read_is_not_waited_for() {
    let whole = Whole::start_in_the_past().await;
    months_of_stories(&whole).await;
    let mut reader = whole.sandbox.database().await.unwrap();
    let mut reading = reader.begin().await.unwrap();
    sqlx::query("select count(*) from pool_history").execute(&mut *reading).await.unwrap();
    let whole = whole.restarted(1).await;
    eventually("the books are proved", || async { (whole.count("pool_checkpoints").await == 2).then_some(()) }).await;
    let (applied, started) = ("account_state where outcome = 'applied'", Instant::now());
    let before = whole.count(applied).await;
    for turn in 1..=5 {
        whole.operator.post("/api/account/update", &full_at_3(31_000 + i128::from(turn))).await.unwrap();
        eventually("the report counts", || async { (whole.count(applied).await == before + turn).then_some(()) }).await;
    }
    assert!(started.elapsed() < Duration::from_secs(6), "reports waited {:?}", started.elapsed());
    whole.valued().await;
    assert!(whole.months_before(month(1)).await > 0);
    reading.commit().await.unwrap();
    let second = whole.operator.with_key(&whole.sandbox.terminals["second"]);
    assert_eq!(whole.update_by(&second, five(5_000, 17)).await, "applied");
    drop(reader);
    whole.retired(1).await.finish_clean().await;
}

/// Goal: a statement that is asked for while a month is being taken off waits, and is the one of before: its movements are
/// seen where they were, or where they are.
#[tokio::test]
async fn a_statement_that_meets_a_month_going_loses_no_movement() {
    let whole = Whole::start_in_the_past().await;
    months_of_stories(&whole).await;
    let path = format!("/api/users/A/statement?from={}&to={}", text(month(1)), text(month(0)));
    let before = whole.operator.get(&path).await.unwrap();
    let mut db = whole.sandbox.database().await.unwrap();
    let oldest: String =
        sqlx::query_scalar("select month from month_partitions('pool_history') order by ends_at limit 1")
            .fetch_one(&mut db)
            .await
            .unwrap();
    let mut going = db.begin().await.unwrap();
    for step in [
        format!(
            "create temporary table kept on commit drop as select * from {oldest} where kind <> 'update'
             or (account, version) in (select account, max(version) from {oldest} group by account)"
        ),
        format!("alter table pool_history detach partition {oldest}"),
        "insert into pool_history select * from kept".to_owned(),
        format!("drop table {oldest}"),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(step)).execute(&mut *going).await.unwrap();
    }
    let gone = async {
        eventually("the statement waits", || async {
            let waiting = "pg_stat_activity where datname = current_database() and application_name = 'distributor'
                and wait_event_type = 'Lock' and query like 'lock table%'";
            (whole.count(waiting).await > 0).then_some(())
        })
        .await;
        going.commit().await.unwrap();
    };
    let (after, ()) = tokio::join!(whole.operator.get(&path), gone);
    assert_eq!(after.unwrap(), before);
    whole.finish().await;
}

/// Goal: no month goes that is not over, nor one with rows that were not proved, whoever asks for it.
#[tokio::test]
async fn no_month_goes_before_its_time_or_without_its_proof() {
    let whole = Whole::start_in_the_past().await;
    months_of_stories(&whole).await;
    let mut db = whole.sandbox.database().await.unwrap();
    for (table, which, why) in [
        ("pool_history", "ends_at desc", "is no month of"),
        ("pool_history", "ends_at", "that no checkpoint covers"),
        ("account_state", "ends_at", "that no checkpoint covers"),
    ] {
        let retire = format!(
            "select retire_month('{table}', (select month from month_partitions('{table}') order by {which} limit 1))"
        );
        let refused = sqlx::query(sqlx::AssertSqlSafe(retire)).execute(&mut db).await.unwrap_err().to_string();
        assert!(refused.contains(why), "{refused}");
    }
    assert_clean(&mut db).await;
    whole.finish().await;
}
