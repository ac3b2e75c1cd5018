//! Months of a pool's life, and their end.

use common::clock::Clock;
use serde_json::{Value, json};
use time::Duration;

use super::books::mixed_story;
use super::broker::Broker;
use super::steps::full;
use crate::past::month;
use crate::support::{Whole, eventually};

/// The tables of the books that lose their old months.
const TABLES: [&str; 3] = ["pool_history", "pool_valuations", "account_state"];

impl Whole {
    /// The same once nothing is left of the months before.
    pub(super) async fn retired(self, retention_months: u32) -> Self {
        let whole = self.restarted(retention_months).await;
        eventually("the old months are gone", || async {
            (whole.months_before(month(retention_months)).await == 0).then_some(())
        })
        .await;
        whole
    }

    /// How many of the tables' partitions ended before this.
    pub(super) async fn months_before(&self, cut: time::OffsetDateTime) -> i64 {
        let tables = TABLES.map(|table| format!("'{table}'")).join(", ");
        self.count(&format!("unnest(array[{tables}]) as t, month_partitions(t) as m where m.ends_at <= '{cut}'")).await
    }
}

fn at_login(login: i64, balance: i128) -> Value {
    let mut body = full(balance, 30_000);
    body["login"] = json!(login);
    body
}

/// Lets another account at the broker take the place of the one before.
async fn go_over_to(whole: &Whole, login: i64) {
    whole.operator.post("/api/accounts/main/pool/login", &json!({"login": login})).await.unwrap();
    whole.limit(json!({"login": login})).await;
}

/// Three months of everything that can happen to money: account `second` is silent after the first; the account at the
/// broker is changed in each of the others; a report arrives in one month and counts in the next.
pub(super) async fn months_of_stories(whole: &Whole) {
    let broker = Broker::connect(&whole.sandbox).await;
    mixed_story(whole).await;
    whole.wait_until(month(2) + Duration::days(5));
    assert_eq!(whole.update(at_login(1, 31_400)).await, "applied");
    whole.invest("A", 1_000).await;
    go_over_to(whole, 2).await;
    assert_eq!(whole.update(at_login(2, 31_444)).await, "applied");
    assert_eq!(whole.update(at_login(2, 31_555)).await, "applied");
    assert_eq!(whole.update(at_login(2, 31_555)).await, "applied");
    whole.wait_until(month(1) + Duration::seconds(2));
    assert_eq!(broker.report(whole, month(1) - Duration::seconds(1), &at_login(2, 31_666)).await, "applied");
    whole.wait_until(month(1) + Duration::days(5));
    whole.member("D", 5_000).await;
    assert_eq!(whole.update(at_login(2, 31_777)).await, "applied");
    whole.withdraw("C", Some(3_210)).await;
    go_over_to(whole, 3).await;
    assert_eq!(whole.update(at_login(3, 31_700)).await, "applied");
    assert_eq!(whole.update(at_login(3, 31_888)).await, "applied");
    whole.wait_until(Clock::default().now());
    assert_eq!(whole.update(at_login(3, 31_999)).await, "applied");
    whole.invest("A", 77).await;
    assert_eq!(whole.update(at_login(3, 31_234)).await, "applied");
    whole.valued().await;
    broker.close().await;
}
