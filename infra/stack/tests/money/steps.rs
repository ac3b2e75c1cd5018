//! What the tests of the members' money do again and again. Amounts are cents.

use distributor::books::{Noted, Verdict, verify};
use reqwest::Method;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use stack::client::{Client, cents};

use crate::support::{Whole, eventually};

/// A member's figures in one account, or in all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) value: i128,
    pub(super) profit_loss: i128,
    pub(super) investment: i128,
}

/// An amount as a request names it.
pub(super) fn amount(cents: i128) -> String {
    Decimal::from_i128_with_scale(cents, 2).to_string()
}

/// The figures of an account with nothing open, as the first design's five: `profit` is the level.
pub(super) fn five(balance: i128, level: i128) -> Value {
    let (balance, level) = (amount(balance), amount(level));
    json!({"balance": balance, "equity": balance, "margin": 0, "free_margin": balance, "profit": level})
}

/// The same of an account in which a position is open that has made this profit.
pub(super) fn open(balance: i128, profit: i128) -> Value {
    let mut body = five(balance, profit);
    body["equity"] = json!(amount(balance + profit));
    body
}

/// The figures of an account with nothing open, with its net deposits: the level is what is above them.
pub(super) fn full(balance: i128, net_deposits: i128) -> Value {
    let mut body = five(balance, 0);
    body["net_deposits"] = json!(amount(net_deposits));
    body["currency"] = json!("USD");
    body["login"] = json!(1);
    body
}

/// The movement's id of an answer.
pub(super) fn id(movement: &Value) -> &str {
    movement["movement_id"].as_str().expect("a movement's id")
}

/// What the books say.
pub(super) async fn verdict(db: &mut PgConnection, noted: &[Noted]) -> Verdict {
    verify(db, noted).await.expect("the books can be read")
}

/// Panics unless every balance can be derived from the rows behind it.
pub(super) async fn assert_clean(db: &mut PgConnection) {
    for check in verdict(db, &[]).await.checks {
        assert!(check.difference.is_none(), "{}: {:?}", check.name, check.difference);
    }
}

impl Whole {
    /// One request; whatever is answered.
    pub(super) async fn ask(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let body = Some(body).filter(|body| !body.is_null());
        let (status, answer) = self.operator.send(method, path, body.as_ref()).await.expect("an answer");
        (status.as_u16(), answer)
    }

    /// A POST with an idempotency key.
    pub(super) async fn keyed(&self, key: &str, path: &str, body: Value) -> (u16, Value) {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = http.post(format!("{}{path}", self.platform.url)).header("Idempotency-Key", key);
        let answer = request.header("X-API-Key", self.sandbox.keys.operator()).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Sends what must be refused; the status and the code.
    pub(super) async fn refused(&self, method: Method, path: &str, body: Value) -> (u16, String) {
        let (status, answer) = self.ask(method, path, body.clone()).await;
        assert!(status >= 400, "{path} took {body}: {answer}");
        assert_eq!(answer["status"], status, "{answer}");
        (status, answer["code"].as_str().expect("a code").to_owned())
    }

    /// Adds a member, with a first deposit unless it is nothing.
    pub(super) async fn member(&self, user: &str, investment: i128) {
        let body = json!({"user_id": user, "investment": amount(investment)});
        self.operator.post("/api/users", &body).await.expect("a member");
    }

    /// A deposit that must be taken.
    pub(super) async fn invest(&self, user: &str, cents: i128) -> Value {
        let path = format!("/api/users/{user}/invest");
        self.operator.post(&path, &json!({"amount": amount(cents)})).await.expect("taken")
    }

    /// A withdrawal that must be taken; none: all there is.
    pub(super) async fn withdraw(&self, user: &str, cents: Option<i128>) -> Value {
        let body = cents.map_or(json!({"all": true}), |cents| json!({"amount": amount(cents)}));
        self.operator.post(&format!("/api/users/{user}/withdraw"), &body).await.expect("taken")
    }

    /// Sends an account's figures for `main`, and waits until they are taken over and valued. What became of them.
    pub(super) async fn update(&self, body: Value) -> String {
        self.update_by(&self.operator, body).await
    }

    /// The same with the key of another account's terminal.
    pub(super) async fn update_by(&self, terminal: &Client, body: Value) -> String {
        let before = self.count("account_state").await;
        terminal.post("/api/account/update", &body).await.expect("taken");
        eventually("the report is recorded", || async { (self.count("account_state").await > before).then_some(()) })
            .await;
        self.valued().await;
        self.text("select outcome from account_state order by message_id desc limit 1").await
    }

    /// Waits until the members' values are those of their pools.
    pub(super) async fn valued(&self) {
        eventually("the pools are valued", || async {
            (self.count("pools where valued_version < version").await == 0).then_some(())
        })
        .await;
    }

    /// A member's figures, once valued.
    pub(super) async fn part(&self, user: &str) -> Part {
        self.valued().await;
        let stats = self.stats(user).await;
        Part {
            value: cents(&stats["value"]),
            profit_loss: cents(&stats["profit_loss"]),
            investment: cents(&stats["investment"]),
        }
    }

    /// Each of these members has this value and this profit or loss.
    pub(super) async fn assert_parts(&self, expected: &[(&str, i128, i128)]) {
        for (user, value, profit_loss) in expected {
            let part = self.part(user).await;
            assert_eq!((part.value, part.profit_loss), (*value, *profit_loss), "value, profit_loss of {user}");
        }
    }

    /// A member's figures as they are answered.
    pub(super) async fn stats(&self, user: &str) -> Value {
        self.operator.get(&format!("/api/users/{user}/stats")).await.expect("a member")
    }

    /// The account's figures as they are answered.
    pub(super) async fn account(&self) -> Value {
        self.operator.get("/api/account/stats").await.expect("an account")
    }

    /// A member's movements, the newest first.
    pub(super) async fn movements(&self, user: &str) -> Vec<Value> {
        let answer = self.operator.get(&format!("/api/users/{user}/movements")).await.expect("a member");
        answer.as_array().expect("a list").clone()
    }

    /// A member's movement as it is now.
    pub(super) async fn movement(&self, user: &str, movement_id: &str) -> Value {
        let found = self.movements(user).await.into_iter().find(|movement| id(movement) == movement_id);
        found.expect("the movement is listed")
    }

    /// A number of rows.
    pub(super) async fn count(&self, what: &str) -> i64 {
        let mut db = self.sandbox.database().await.expect("a connection");
        let query = sqlx::query(AssertSqlSafe(format!("select count(*) from {what}")));
        let count = query.fetch_one(&mut db).await.expect("a number").get(0);
        db.close().await.expect("it closes");
        count
    }

    /// A text from the database.
    pub(super) async fn text(&self, query: &str) -> String {
        let mut db = self.sandbox.database().await.expect("a connection");
        let text = sqlx::query(AssertSqlSafe(query.to_owned())).fetch_one(&mut db).await.expect("a row").get(0);
        db.close().await.expect("it closes");
        text
    }

    /// All that a refusal must leave as it was: how many rows there are, and every pool and holding.
    pub(super) async fn money(&self) -> String {
        self.text(
            "select json_build_array((select count(*) from members), (select count(*) from capital_movements),
                 (select count(*) from pending_movements), (select count(*) from pool_history),
                 (select count(*) from audit_log),
                 (select json_agg(json_build_array(account, equity, units, profit, version, members, deposited,
                      withdrawn, investment, state_at, balance, net_deposits, login, currency, session, seq)
                      order by account) from pools),
                 (select json_agg(json_build_array(account, user_id, units, deposited, withdrawn, investment)
                      order by account, user_id) from holdings))::text",
        )
        .await
    }

    /// Proves the books, and that the members' values add up to each pool, and ends.
    pub(super) async fn finish_clean(self) {
        self.valued().await;
        let mut db = self.sandbox.database().await.expect("a connection");
        assert_clean(&mut db).await;
        let off = "select count(*) from pools p where greatest(equity, 0) <>
            coalesce((select sum(value) from shares s where s.account = p.account), 0)";
        let off: i64 = sqlx::query(off).fetch_one(&mut db).await.expect("a number").get(0);
        assert_eq!(off, 0, "pools whose members' values do not add up");
        db.close().await.expect("it closes");
        self.finish().await;
    }
}
