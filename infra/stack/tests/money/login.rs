//! A pool goes over to another account at the broker: at an operator's word, and without a cent moving.

use reqwest::Method;
use serde_json::{Value, json};

use super::broker::Broker;
use super::steps::{full, verdict};
use crate::support::Whole;

const PATH: &str = "/api/accounts/main/pool/login";

/// The figures of an account at the broker with nothing open.
fn at(login: i64, balance: i128, net_deposits: i128) -> Value {
    let mut body = full(balance, net_deposits);
    body["login"] = json!(login);
    body
}

impl Whole {
    /// Publishes these figures as the dispatcher would; what became of them.
    async fn published(&self, broker: &Broker, figures: &Value) -> String {
        broker.report(self, self.sandbox.clock.now(), figures).await
    }
}

/// Goal: the first report of the login that an operator named becomes the base, with members in the pool: nobody gains or
/// loses by the change, only by what is earned after it, and the books prove it.
#[tokio::test]
async fn another_login_is_taken_over_without_a_cent_moving() {
    let whole = Whole::start(&[]).await;
    let broker = Broker::connect(&whole.sandbox).await;
    assert_eq!(whole.published(&broker, &at(1, 10_000, 10_000)).await, "applied");
    whole.member("A", 3_000).await;
    whole.member("B", 7_000).await;
    assert_eq!(whole.published(&broker, &at(1, 10_500, 10_000)).await, "applied");
    whole.assert_parts(&[("A", 3_150, 150), ("B", 7_350, 350)]).await;
    assert_eq!(whole.published(&broker, &at(2, 77_700, 10)).await, "another_account");
    let answer = whole.operator.post(PATH, &json!({"login": 2})).await.unwrap();
    assert_eq!((&answer["login"], &answer["next_login"]), (&json!(1), &json!(2)));
    assert_eq!(whole.account().await["next_login"], 2);
    for (login, other) in [(1, 99_900), (3, 99_900)] {
        assert_eq!(whole.published(&broker, &at(login, other, 10_000)).await, "another_account");
    }
    whole.assert_parts(&[("A", 3_150, 150), ("B", 7_350, 350)]).await;
    assert_eq!(whole.published(&broker, &at(2, 60_000, 50_000)).await, "applied");
    whole.assert_parts(&[("A", 3_150, 150), ("B", 7_350, 350)]).await;
    let account = whole.account().await;
    assert_eq!((&account["account"]["login"], &account["next_login"]), (&json!(2), &Value::Null));
    assert_eq!(whole.text("select kind from pool_history order by version desc limit 1").await, "base");
    assert_eq!(whole.published(&broker, &at(2, 61_050, 50_000)).await, "applied");
    whole.assert_parts(&[("A", 3_465, 465), ("B", 8_085, 1_085)]).await;
    assert_eq!(whole.published(&broker, &at(1, 99_900, 10_000)).await, "another_account");
    assert_eq!(whole.count("audit_log where entry like '%\"pool.login\"%'").await, 1);
    broker.close().await;
    whole.finish_clean().await;
}

/// Goal: an operator's word is refused where it could cost anybody, and can be taken back.
#[tokio::test]
async fn a_change_of_login_that_could_cost_members_is_refused() {
    let whole = Whole::start(&[]).await;
    let broker = Broker::connect(&whole.sandbox).await;
    let refused = async |body: Value| whole.refused(Method::POST, PATH, body).await;
    assert_eq!(refused(json!({"login": 2})).await.0, 404);
    whole.member("A", 10_000).await;
    assert_eq!(refused(json!({"login": 2})).await, (409, "no_login_yet".to_owned()));
    let mut open = at(1, 10_000, 10_000);
    open["equity"] = json!("110.00");
    assert_eq!(whole.published(&broker, &at(1, 10_000, 10_000)).await, "applied");
    assert_eq!(whole.published(&broker, &open).await, "applied");
    assert_eq!(refused(json!({"login": 2})).await, (409, "positions_open".to_owned()));
    assert_eq!(refused(json!({"login": 1})).await, (409, "present_login".to_owned()));
    assert_eq!(refused(json!({"login": 0})).await.0, 422);
    assert_eq!(refused(json!({})).await.0, 422);
    assert_eq!(whole.count("audit_log where entry like '%\"pool.login\"%'").await, 0);
    assert_eq!(whole.published(&broker, &at(1, 11_000, 10_000)).await, "applied");
    whole.operator.post(PATH, &json!({"login": 2})).await.unwrap();
    let answer = whole.operator.post(PATH, &json!({"login": 1})).await.unwrap();
    assert_eq!(answer["next_login"], Value::Null);
    assert_eq!(whole.published(&broker, &at(2, 1, 1)).await, "another_account");
    assert_eq!(whole.published(&broker, &at(1, 11_500, 10_000)).await, "applied");
    whole.assert_parts(&[("A", 11_500, 1_500)]).await;
    broker.close().await;
    whole.finish_clean().await;
}

/// Goal: a change of the login that nobody asked for is found by the proof of the books.
#[tokio::test]
async fn the_books_find_a_change_of_login_that_nobody_asked_for() {
    let whole = Whole::start(&[]).await;
    let broker = Broker::connect(&whole.sandbox).await;
    assert_eq!(whole.published(&broker, &at(1, 10_000, 10_000)).await, "applied");
    whole.member("A", 10_000).await;
    let mut db = whole.sandbox.database().await.unwrap();
    sqlx::query("update pools set next_login = 2").execute(&mut db).await.unwrap();
    assert_eq!(whole.published(&broker, &at(2, 50_000, 40_000)).await, "applied");
    let found: Vec<_> =
        verdict(&mut db, &[]).await.checks.into_iter().filter(|check| check.difference.is_some()).collect();
    assert_eq!(found.iter().map(|check| check.name).collect::<Vec<_>>(), ["each change of the login was asked for"]);
    assert_eq!(found[0].difference.as_ref().unwrap().found, "login 2");
    broker.close().await;
    whole.finish().await;
}
