//! Idempotency keys of movements and of new members: a retry is the same one, and a key never stands for another.

use futures_util::future::join_all;
use reqwest::Method;
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

/// Goal: a member's adding that is repeated under its key is the same member with the same deposit, whatever became of him
/// meanwhile; under other content, and for anything else, the key is refused and nothing changes.
#[tokio::test]
async fn a_key_stands_for_one_new_member_and_his_deposit() {
    let whole = Whole::start(&["second"]).await;
    let users = "/api/users";
    let body = json!({"name": "Carla", "email": "c@example.org", "investment": 1_000});
    let (status, added) = whole.keyed("K", users, body.clone()).await;
    assert_eq!(status, 200, "{added}");
    let user = added["user_id"].as_str().expect("an id").to_owned();
    // Named by its caller, or without money: the answer that got lost is given again, not a conflict.
    for (key, other) in [("L", json!({"user_id": "D", "investment": 5})), ("M", json!({"name": "E"}))] {
        let (first, again) =
            (whole.keyed(key, users, other.clone()).await, whole.keyed(key, users, other.clone()).await);
        assert_eq!((first.0, &first), (200, &again), "{other}");
    }
    whole.keyed("N", "/api/users/D/invest", json!({"amount": 1})).await;
    let (status, _) = whole.ask(Method::PATCH, &format!("{users}/{user}"), json!({"name": "C", "email": ""})).await;
    assert_eq!(status, 200);
    let money = whole.money().await;
    for same in
        [body.clone(), json!({"email": " c@example.org", "name": "Carla ", "investment": "1e3", "account": "main"})]
    {
        assert_eq!(whole.keyed("K", users, same).await, (200, added.clone()));
    }
    let mut others = vec![("N", users.to_owned(), json!({"user_id": "F"})), ("N", users.to_owned(), body.clone())];
    for (field, value) in
        [("investment", json!(2_000)), ("account", json!("second")), ("user_id", json!("F")), ("name", json!("F"))]
    {
        let mut other = body.clone();
        other[field] = value;
        others.push(("K", users.to_owned(), other));
    }
    others.push(("K", format!("{users}/{user}/invest"), json!({"amount": 1_000})));
    others.push(("M", "/api/users/D/invest".to_owned(), json!({"amount": 1})));
    for (key, path, other) in others {
        let (status, problem) = whole.keyed(key, &path, other.clone()).await;
        assert_eq!((status, &problem["code"]), (422, &json!("idempotency_key_reused")), "{key} {path} {other}");
    }
    let (status, problem) = whole.keyed("O", users, json!({"user_id": "D", "investment": 5})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("user_exists")));
    assert_eq!(whole.money().await, money);
    // What was refused left its key free.
    assert_eq!(whole.keyed("O", users, json!({"user_id": "G"})).await.0, 200);
    whole.assert_parts(&[(&user, 100_000, 0), ("D", 600, 0)]).await;
    whole.finish_clean().await;
}

/// Goal: clients of the first API send no key; their members are added as ever, and two who are named alike are two.
#[tokio::test]
async fn without_a_key_every_new_member_is_another() {
    let whole = Whole::start(&[]).await;
    let body = json!({"email": "c@example.org", "investment": 10});
    let (first, second) = (
        whole.operator.post("/api/users", &body).await.unwrap(),
        whole.operator.post("/api/users", &body).await.unwrap(),
    );
    assert_ne!(first["user_id"], second["user_id"]);
    for user in [first, second] {
        whole.assert_parts(&[(user["user_id"].as_str().unwrap(), 1_000, 0)]).await;
    }
    whole.finish_clean().await;
}

/// Goal: one key from many at once adds one member, with one deposit, and all of them are told the same.
#[tokio::test(flavor = "multi_thread")]
async fn one_key_from_many_at_once_adds_one_member() {
    let whole = Whole::start(&[]).await;
    let body = json!({"name": "Carla", "investment": 5});
    let answers = join_all((0..20).map(|_| whole.keyed("K", "/api/users", body.clone()))).await;
    for answer in &answers {
        assert_eq!((answer.0, answer), (200, &answers[0]));
    }
    assert_eq!((whole.count("members").await, whole.count("capital_movements").await), (1, 1));
    whole.assert_parts(&[(answers[0].1["user_id"].as_str().unwrap(), 500, 0)]).await;
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
