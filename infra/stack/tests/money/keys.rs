//! Idempotency keys of movements: a retry is the same movement, and a key never stands for another.

use futures_util::future::join_all;
use serde_json::json;
use stack::client::cents;

use super::steps::{five, id, open};
use crate::support::Whole;

/// Goal: the same key with the same movement counts once, whatever became of it meanwhile; with another it is refused.
#[tokio::test]
async fn a_key_stands_for_one_movement() {
    let whole = Whole::start(&["second"]).await;
    whole.member("A", 0).await;
    whole.member("B", 100_000).await;
    let (invest, withdraw) = ("/api/users/A/invest", "/api/users/A/withdraw");
    let (status, first) = whole.keyed("K", invest, json!({"amount": 100})).await;
    assert_eq!((status, &first["status"]), (200, &json!("applied")));
    let money = whole.money().await;
    for body in [json!({"amount": 100}), json!({"amount": "100.00"}), json!({"amount": "1e2", "account": "main"})] {
        let (status, again) = whole.keyed("K", invest, body).await;
        assert_eq!((status, id(&again), cents(&again["total"])), (200, id(&first), 10_000), "{again}");
    }
    for (path, body) in [
        (invest, json!({"amount": 200})),
        (invest, json!({"amount": 100, "account": "second"})),
        (withdraw, json!({"amount": 100})),
        (withdraw, json!({"all": true})),
        ("/api/users/B/invest", json!({"amount": 100})),
    ] {
        let (status, problem) = whole.keyed("K", path, body.clone()).await;
        assert_eq!((status, &problem["code"]), (422, &json!("idempotency_key_reused")), "{path} {body}");
    }
    assert_eq!(whole.money().await, money);
    // What was refused left its key free.
    let (status, problem) = whole.keyed("L", withdraw, json!({"amount": 150})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("above_value")));
    let (status, all) = whole.keyed("L", withdraw, json!({"all": true})).await;
    assert_eq!((status, cents(&all["amount"])), (200, 10_000));
    // Nothing is left to withdraw, and the retry is still the same withdrawal.
    let (status, again) = whole.keyed("L", withdraw, json!({"amount": "all"})).await;
    assert_eq!((status, id(&again), cents(&again["amount"])), (200, id(&all), 10_000));
    whole.assert_parts(&[("A", 0, 0), ("B", 100_000, 0)]).await;
    whole.finish_clean().await;
}

/// Goal: the retry of a movement that waited tells what became of it.
#[tokio::test]
async fn a_retry_tells_what_became_of_a_movement_that_waited() {
    let whole = Whole::start(&[]).await;
    whole.member("A", 10_000).await;
    whole.update(open(10_000, 5_000)).await;
    let (path, body) = ("/api/users/A/withdraw", json!({"amount": 150}));
    let (_, waits) = whole.keyed("K", path, body.clone()).await;
    assert_eq!(waits["status"], "pending");
    assert_eq!(whole.keyed("K", path, body.clone()).await.1["status"], "pending");
    assert_eq!(whole.count("pending_movements").await, 1);
    whole.update(five(10_000, -1)).await;
    let (status, ended) = whole.keyed("K", path, body).await;
    assert_eq!(
        (status, id(&ended), &ended["status"], &ended["reason"]),
        (200, id(&waits), &json!("refused"), &json!("above_value"))
    );
    whole.assert_parts(&[("A", 9_999, -1)]).await;
    whole.finish_clean().await;
}

/// Goal: one key from many senders at once is one movement, and all of them are told the same.
#[tokio::test(flavor = "multi_thread")]
async fn one_key_from_many_at_once_is_one_movement() {
    let whole = Whole::start(&["second"]).await;
    let other = whole.sandbox.start().await.unwrap();
    whole.member("A", 0).await;
    let answers = join_all((0..20).map(|_| whole.keyed("K", "/api/users/A/invest", json!({"amount": 5})))).await;
    for (status, answer) in &answers {
        assert_eq!((*status, id(answer), cents(&answer["total"])), (200, id(&answers[0].1), 500), "{answer}");
    }
    assert_eq!(whole.count("capital_movements").await, 1);
    whole.assert_parts(&[("A", 500, 0)]).await;
    // In two accounts at once it is one of the two; the other is told so, and that it is no outage.
    for round in 0..20 {
        let key = format!("round {round}");
        let mut answers = join_all(
            ["main", "second"]
                .map(|account| whole.keyed(&key, "/api/users/A/invest", json!({"amount": 1, "account": account}))),
        )
        .await;
        answers.sort_by_key(|(status, _)| *status);
        let told: Vec<_> = answers.iter().map(|(status, answer)| (*status, answer["code"].as_str())).collect();
        assert_eq!(told, [(200, None), (422, Some("idempotency_key_reused"))], "{answers:?}");
    }
    assert_eq!(whole.count("capital_movements").await, 21);
    assert!(other.stop().await);
    whole.finish_clean().await;
}
