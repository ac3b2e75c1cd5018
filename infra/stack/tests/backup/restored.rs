//! A platform restored from a backup that was made while it worked.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};
use tokio_util::sync::CancellationToken;

use super::steps::{empty, number, rows, run, stack};
use crate::private::Scratch;
use crate::support::{Whole, eventually};

/// A signal in each state, by state; and members with movements in two accounts, one of which waits.
async fn story(whole: &Whole) -> BTreeMap<&'static str, String> {
    whole.report("1000.00", "1000.00").await;
    for (user, amount) in [("anna", 400), ("ben", 600)] {
        let body = json!({"user_id": user, "investment": amount});
        whole.operator.post("/api/users", &body).await.unwrap();
    }
    whole.operator.post("/api/users/anna/invest", &json!({"amount": 5, "account": "second"})).await.unwrap();
    whole.report("1010.01", "1000.00").await;
    whole.operator.post("/api/users/ben/withdraw", &json!({"amount": 33.33})).await.unwrap();
    let buy = |symbol: &str| json!({"symbol": symbol, "action": "BUY", "volume": 0.1, "ttl_seconds": 86_400});
    let mut states = BTreeMap::new();
    for (symbol, state) in [("A", "executed"), ("B", "failed"), ("C", "unknown"), ("D", "cancelled")] {
        let id = whole.post(buy(symbol)).await;
        whole.state(&id, "pending").await;
        states.insert(state, id);
    }
    whole.operator.post(&format!("/api/signals/{}/cancel", states["cancelled"]), &json!({})).await.unwrap();
    let claimed = whole.poll("T").await;
    assert_eq!(claimed.len(), 3);
    for signal in &claimed {
        let report = |more: Value| {
            let mut report = json!({"id": signal["id"], "attempt": signal["attempt"], "terminal": "T"});
            report.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            report
        };
        match signal["symbol"].as_str().unwrap() {
            "A" => whole.confirm(report(json!({"ticket": 1, "deal": 2, "volume": 0.1, "price": 1.1}))).await,
            "B" => whole.confirm(report(json!({"status": "failed", "retcode": 10_019}))).await,
            _ => Value::Null,
        };
    }
    whole.sandbox.clock.advance(time::Duration::seconds(31));
    whole.state(&states["unknown"], "unknown").await;
    states.insert("rejected", whole.post(json!({"symbol": "E", "action": "BUY", "volume": 11})).await);
    states.insert("expired", whole.post(json!({"symbol": "F", "action": "BUY", "ttl_seconds": 1})).await);
    let expired = &states["expired"];
    eventually("it is stored", || async { whole.operator.signal(expired).await.unwrap() }).await;
    whole.sandbox.clock.advance(time::Duration::seconds(2));
    states.insert("processing", whole.post(buy("G")).await);
    whole.state(&states["processing"], "pending").await;
    whole.report("1010.01", "1000.00").await;
    eventually("the report counts and the signal is handed out", || async {
        whole.poll("T").await.iter().any(|signal| signal["symbol"] == "G").then_some(())
    })
    .await;
    states.insert("pending", whole.post(buy("G")).await);
    states.insert("closing", whole.post(json!({"symbol": "G", "action": "CLOSE"})).await);
    for (state, id) in &states {
        whole.state(id, if *state == "closing" { "pending" } else { state }).await;
    }
    states
}

/// Money and signals without end, until told to stop.
async fn load(whole: &Whole, stop: &CancellationToken) {
    let mut turn: i64 = 0;
    while !stop.is_cancelled() {
        turn += 1;
        let balance = format!("{}.{:02}", 1_000 + turn % 50, turn % 100);
        whole.report(&balance, "1000.00").await;
        whole.post(json!({"symbol": "LOAD", "action": "BUY", "volume": 0.1, "ttl_seconds": 86_400})).await;
        let path = if turn % 3 == 0 { "/api/users/ben/withdraw" } else { "/api/users/anna/invest" };
        whole.operator.post(path, &json!({"amount": 1.07})).await.unwrap();
    }
}

/// A pool with its members' parts, derived from the history up to this version.
fn figures(version: i64) -> String {
    format!(
        "select (select json_build_array(equity, units, profit, paid_in) from pool_history
                 where account = 'main' and version = {version}) as pool,
                (select json_agg(json_build_array(user_id, units, deposited, withdrawn) order by user_id) from (
                     select user_id, sum(units_delta) as units, coalesce(sum(amount) filter (where amount > 0), 0) as deposited,
                            coalesce(-sum(amount) filter (where amount < 0), 0) as withdrawn
                     from pool_history where account = 'main' and version <= {version} and user_id is not null
                     group by user_id) as sums) as members"
    )
}

const FIGURES_NOW: &str = "select json_build_array(equity, units, profit, deposited - withdrawn) as pool,
    (select json_agg(json_build_array(user_id, units, deposited, withdrawn) order by user_id) from holdings
     where account = 'main') as members from pools where account = 'main'";

async fn version(db: &mut PgConnection) -> i64 {
    number(db, "select version from pools where account = 'main'").await
}

/// Goal: a backup that is made while signals, reports and movements go on is one moment of the platform, and restores to
/// books that prove every balance, the same to the cent as at that moment.
#[tokio::test]
async fn a_backup_beside_a_platform_at_work_is_one_moment_of_it() {
    let whole = Whole::start(&["second"]).await;
    story(&whole).await;
    let target = empty(&whole.sandbox).await;
    let scratch = Scratch::new();
    let (file, stop) = (scratch.root.join("backup"), CancellationToken::new());
    let mut db = whole.sandbox.database().await.unwrap();
    let before = version(&mut db).await;
    let saved = async {
        eventually("there is load", || async {
            (version(&mut whole.sandbox.database().await.unwrap()).await > before + 20).then_some(())
        })
        .await;
        let saved = run("backup", &file, &whole.sandbox.settings.database_url).await;
        let after = version(&mut whole.sandbox.database().await.unwrap()).await;
        eventually("the load goes on", || async {
            (version(&mut whole.sandbox.database().await.unwrap()).await > after).then_some(())
        })
        .await;
        stop.cancel();
        (saved, after)
    };
    let (((code, told), after), ()) = tokio::join!(saved, load(&whole, &stop));
    assert_eq!(code, 0, "{told}");

    let (code, told) = run("restore", &file, &target.settings.database_url).await;
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("the books add up") && told.contains("halted     main second"), "{told}");
    let mut restored = target.database().await.unwrap();
    let moment = version(&mut restored).await;
    assert!(before + 20 < moment && moment <= after, "{before} {moment} {after}");
    let expected = rows(&mut db, &figures(moment)).await;
    assert_eq!(rows(&mut restored, FIGURES_NOW).await, expected, "as at the backup's moment");
    assert_eq!(rows(&mut restored, &figures(moment)).await, expected);

    // What guards the books is restored with them.
    for statement in ["delete from pool_history", "update account_state set profit = 0", "truncate audit_log"] {
        let refused = sqlx::query(AssertSqlSafe(statement)).execute(&mut restored).await.unwrap_err();
        assert!(refused.to_string().contains("append-only"), "{statement}: {refused}");
    }
    let partitions = "select inhparent::regclass, inhrelid::regclass, pg_get_expr(relpartbound, inhrelid)
        from pg_inherits join pg_class c on c.oid = inhrelid where c.relkind = 'r' order by inhrelid::regclass::text";
    assert_eq!(rows(&mut restored, partitions).await, rows(&mut db, partitions).await);
    drop((db, restored));
    target.remove().await.unwrap();
    whole.finish().await;
}

/// Goal: a backup that is older than the months that were made ahead is made safe, and the services start on it: what is written
/// of its signals lies in this month's partition.
#[tokio::test]
async fn a_backup_without_a_partition_for_this_month_is_made_safe_and_starts() {
    let whole = Whole::start(&[]).await;
    let waits = whole.post(json!({"symbol": "A", "action": "CLOSE"})).await;
    whole.state(&waits, "pending").await;
    let Whole { sandbox, platform, .. } = whole;
    assert!(platform.stop().await);
    let mut db = sandbox.database().await.unwrap();
    let months = "select string_agg(month, ', ') from month_partitions('signal_events')";
    let months: String = sqlx::query_scalar(months).fetch_one(&mut db).await.unwrap();
    sqlx::query(AssertSqlSafe(format!("drop table {months}"))).execute(&mut db).await.unwrap();
    let (code, told) = stack(&["restored"], &sandbox.settings.database_url).await;
    assert_eq!(code, 0, "{told}");
    assert_eq!(number(&mut db, "select count(*) from signal_events").await, 1);
    assert_eq!(number(&mut db, "select count(*) from signal_events_default").await, 0);
    drop(db);
    let platform = sandbox.start().await.unwrap();
    let restored = Whole { operator: sandbox.operator(&platform).unwrap(), sandbox, platform };
    assert_eq!(restored.state(&waits, "cancelled").await["code"], "restored");
    restored.finish().await;
}

/// Goal: what a backup takes for waiting or under way may have happened since. So after a restore every account is halted
/// with a reason, what waited is cancelled, closings too, what a terminal had is looked up at the broker, and numbers go
/// on above all that were given out; nothing goes out before an operator says so, and then what is new does.
#[tokio::test]
async fn nothing_goes_out_of_a_restored_platform_before_an_operator_says_so() {
    let whole = Whole::start(&["second"]).await;
    let states = story(&whole).await;
    let scratch = Scratch::new();
    let file = scratch.root.join("backup");
    let (code, told) = run("backup", &file, &whole.sandbox.settings.database_url).await;
    assert_eq!(code, 0, "{told}");
    // What the backup does not know: numbers that were given out, and a movement.
    let lost = whole.post(json!({"symbol": "LOST", "action": "BUY", "volume": 0.1})).await;
    let given_out = whole.state(&lost, "pending").await["id"].as_i64().unwrap();
    whole.operator.post("/api/users/anna/invest", &json!({"amount": 77})).await.unwrap();

    let target = empty(&whole.sandbox).await;
    target.clock.advance(time::Duration::seconds(40));
    let (code, told) = run("restore", &file, &target.settings.database_url).await;
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("cancelled  2 signals") && told.contains("unknown    1 signals"), "{told}");
    let mut db = target.database().await.unwrap();
    let entries = rows(
        &mut db,
        "select entry::json ->> 'event' as event from audit_log where service = 'dispatcher'
        order by seq desc limit 3",
    )
    .await;
    let events = ["platform.restored", "control.mode", "control.mode"].map(|event| json!({"event": event}).to_string());
    assert_eq!(entries, events);
    drop(db);

    let platform = target.start().await.unwrap();
    let restored = Whole { operator: target.operator(&platform).unwrap(), sandbox: target, platform };
    for account in ["main", "second"] {
        let control = restored.operator.get(&format!("/api/control?account={account}")).await.unwrap();
        assert_eq!(control["mode"], "halted");
        assert!(control["reason"].as_str().unwrap().contains("restored from a backup"), "{control}");
    }
    for (was, id) in &states {
        let (state, code) = match *was {
            "pending" | "closing" => ("cancelled", Some("restored")),
            "processing" => ("unknown", Some("restored")),
            state => (state, None),
        };
        let signal = restored.state(id, state).await;
        assert!(code.is_none_or(|code| signal["code"] == code), "{was}: {signal}");
        if let Some(code) = code {
            let told = |event: &Value| event["code"] == code;
            assert!(signal["events"].as_array().unwrap().iter().any(told), "{was}: {signal}");
        }
    }
    let unresolved = restored.operator.get("/api/signals/unresolved").await.unwrap();
    let asked: Vec<&Value> = unresolved.as_array().unwrap().iter().map(|signal| &signal["signal_id"]).collect();
    assert_eq!(asked, [&states["unknown"], &states["processing"]]);
    restored.report("1010.01", "1000.00").await;
    assert!(restored.poll("T").await.is_empty());
    let refused = restored.post(json!({"symbol": "NEW", "action": "BUY", "volume": 0.1})).await;
    assert_eq!(restored.state(&refused, "rejected").await["code"], "account_halted");
    assert!(restored.poll("T").await.is_empty());

    // Looked up at the broker, and allowed again, what is new goes out, and what was cancelled does not.
    for (id, status) in [("unknown", "not_found"), ("processing", "not_found")] {
        let signal = unresolved.as_array().unwrap().iter().find(|signal| signal["signal_id"] == states[id]).unwrap();
        let report = json!({"id": signal["id"], "attempt": signal["attempt"], "terminal": "T", "status": status});
        restored.confirm(report).await;
    }
    restored.operator.post("/api/control", &json!({"mode": "active", "reason": "compared"})).await.unwrap();
    let new = restored.post(json!({"symbol": "G", "action": "BUY", "volume": 0.1})).await;
    restored.state(&new, "pending").await;
    let out = restored.poll("T").await;
    assert_eq!(out.iter().map(|signal| &signal["signal_id"]).collect::<Vec<_>>(), [&json!(new)]);
    assert!(out[0]["id"].as_i64().unwrap() > given_out + 1_000_000_000, "{} after {given_out}", out[0]["id"]);
    // The members' money follows the account's level from where the backup was.
    restored.report("1020.01", "1000.00").await;
    eventually("the report counts", || async {
        let account = restored.operator.get("/api/account/stats").await.unwrap();
        (account["account"]["equity"] == json!(1020.01)).then_some(())
    })
    .await;
    assert!(restored.platform.stop().await);
    let (code, told) = stack(&["books", "verify"], &restored.sandbox.settings.database_url).await;
    assert_eq!(code, 0, "{told}");
    restored.sandbox.remove().await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), whole.finish()).await.unwrap();
}
