//! A pool whose members' money is lost: what it refuses, how it recovers, and how it is closed.

use reqwest::Method;
use serde_json::{Value, json};
use stack::client::cents;

use super::steps::{Part, five, full, id, open};
use crate::support::Whole;

const CLOSE: &str = "/api/accounts/main/pool/close";

/// `A` with 600.00 and `B` with 400.00, and this level of profit.
async fn at_level(level: i128) -> Whole {
    let whole = Whole::start(&[]).await;
    whole.member("A", 60_000).await;
    whole.member("B", 40_000).await;
    assert_eq!(whole.update(five(100_000, level)).await, "applied");
    whole
}

/// Goal: without equity, and below none, all values are nothing and nothing goes in or out; what comes back makes the
/// deficit good first, and then is theirs as before.
#[tokio::test]
async fn a_wiped_out_pool_refuses_and_recovers() {
    for level in [-100_000, -130_000] {
        let whole = at_level(level).await;
        whole.assert_parts(&[("A", 0, -60_000), ("B", 0, -40_000)]).await;
        let account = whole.account().await;
        assert_eq!((cents(&account["pool_equity"]), cents(&account["profit_loss"])), (100_000 + level, level));
        let money = whole.money().await;
        for (path, body) in [
            ("/api/users/A/invest", json!({"amount": 10})),
            ("/api/users", json!({"user_id": "C", "investment": 10})),
            ("/api/users/A/withdraw", json!({"amount": 0.01})),
            ("/api/users/A/withdraw", json!({"all": true})),
        ] {
            let refusal = whole.refused(Method::POST, path, body.clone()).await;
            assert_eq!(refusal, (409, "pool_wiped_out".to_owned()), "{path} {body}");
            assert_eq!(whole.money().await, money, "{path} {body}");
        }
        assert_eq!(whole.count("members").await, 2, "C is nowhere");
        whole.update(five(100_000, -99_999)).await;
        whole.assert_parts(&[("A", 1, -59_999), ("B", 0, -40_000)]).await;
        whole.update(five(100_000, -50_000)).await;
        whole.assert_parts(&[("A", 30_000, -30_000), ("B", 20_000, -20_000)]).await;
        whole.finish_clean().await;
    }
}

/// Goal: only a pool that is wiped out can be closed; then what was paid in is lost for good, and who pays in next has
/// all that he brought, and what it earns.
#[tokio::test]
async fn a_closed_pool_begins_afresh() {
    let whole = at_level(-90_000).await;
    whole.withdraw("A", Some(1_000)).await;
    for level in [-90_000, -98_999] {
        whole.update(five(100_000, level)).await;
        assert_eq!(whole.refused(Method::POST, CLOSE, Value::Null).await, (409, "not_wiped_out".to_owned()));
    }
    let nowhere = whole.refused(Method::POST, "/api/accounts/elsewhere/pool/close", Value::Null).await;
    assert_eq!(nowhere, (404, "not_found".to_owned()));
    whole.update(five(100_000, -120_000)).await;
    let (status, closed) = whole.ask(Method::POST, CLOSE, Value::Null).await;
    assert_eq!((status, cents(&closed["deficit"]), &closed["account"]), (200, 21_000, &json!("main")), "{closed}");
    assert_eq!(whole.refused(Method::POST, CLOSE, Value::Null).await, (409, "not_wiped_out".to_owned()), "once");

    assert_eq!(whole.part("A").await, Part { value: 0, profit_loss: -59_000, investment: 0 });
    assert_eq!(whole.part("B").await, Part { value: 0, profit_loss: -40_000, investment: 0 });
    let account = whole.account().await;
    assert_eq!((cents(&account["pool_equity"]), cents(&account["profit_loss"])), (0, -99_000));
    assert_eq!(
        (cents(&account["total_investment"]), &account["members"], &account["units"]),
        (0, &json!(0), &json!(0))
    );
    assert_eq!(account["unit_price"], Value::Null);
    let nothing = whole.refused(Method::POST, "/api/users/A/withdraw", json!({"all": true})).await;
    assert_eq!(nothing, (409, "above_value".to_owned()));

    whole.member("C", 10_000).await;
    whole.invest("A", 5_000).await;
    whole.assert_parts(&[("A", 5_000, -59_000), ("B", 0, -40_000), ("C", 10_000, 0)]).await;
    assert_eq!(whole.account().await["unit_price"], 1);
    whole.update(five(100_000, -120_000)).await;
    whole.assert_parts(&[("A", 5_000, -59_000), ("C", 10_000, 0)]).await;
    whole.update(five(100_000, -105_000)).await;
    whole.assert_parts(&[("A", 10_000, -54_000), ("B", 0, -40_000), ("C", 20_000, 10_000)]).await;
    assert_eq!(whole.part("A").await.investment, 5_000);
    whole.finish_clean().await;
}

/// Goal: what is exactly lost can be closed too, without a deficit; and the level while the pool is empty is nobody's.
#[tokio::test]
async fn a_pool_of_exactly_nothing_can_be_closed() {
    let whole = Whole::start(&[]).await;
    whole.update(full(100_000, 100_000)).await;
    whole.member("A", 10_000).await;
    whole.update(full(90_000, 100_000)).await;
    let (status, closed) = whole.ask(Method::POST, CLOSE, Value::Null).await;
    assert_eq!((status, cents(&closed["deficit"])), (200, 0));
    whole.update(full(95_000, 100_000)).await;
    whole.assert_parts(&[("A", 0, -10_000)]).await;
    whole.member("B", 10_000).await;
    whole.update(full(95_001, 100_000)).await;
    whole.assert_parts(&[("A", 0, -10_000), ("B", 10_001, 1)]).await;
    whole.finish_clean().await;
}

/// Goal: movements that wait over the closing: a withdrawal of what is lost is refused, a deposit counts in the new pool.
#[tokio::test]
async fn what_waits_over_a_closing_ends_as_it_must() {
    let whole = Whole::start(&[]).await;
    whole.member("A", 10_000).await;
    whole.member("B", 0).await;
    whole.update(open(10_000, 1_000)).await;
    let withdrawals = [whole.withdraw("A", Some(5_000)).await, whole.withdraw("A", None).await];
    let deposit = whole.invest("B", 2_000).await;
    // Prices the withdrawals as refused; the deposit can't go in, and waits on.
    whole.update(open(10_000, -15_000)).await;
    for withdrawal in &withdrawals {
        let ended = whole.movement("A", id(withdrawal)).await;
        assert_eq!((&ended["status"], &ended["reason"]), (&json!("refused"), &json!("pool_wiped_out")), "{ended}");
    }
    assert_eq!(whole.movement("B", id(&deposit)).await["status"], "pending");
    assert_eq!(cents(&whole.stats("B").await["pending"]), 2_000);
    let (status, closed) = whole.ask(Method::POST, CLOSE, Value::Null).await;
    assert_eq!((status, cents(&closed["deficit"])), (200, 5_000));
    assert_eq!(whole.movement("B", id(&deposit)).await["status"], "pending", "there is no new price yet");
    whole.update(open(10_000, -15_000)).await;
    whole.assert_parts(&[("A", 0, -10_000), ("B", 2_000, 0)]).await;
    whole.finish_clean().await;
}
