//! Money that makes no sense: refused with its reason, and everything is as it was.

use reqwest::Method;
use serde_json::{Value, json};
use stack::client::cents;

use super::broker::Broker;
use super::steps::{five, full};
use crate::support::Whole;

/// Amounts that nobody can pay.
fn impossible() -> Vec<Value> {
    vec![
        json!(0),
        json!(-1),
        json!("-0.01"),
        json!("0.001"),
        serde_json::from_str("1.001").unwrap(),
        serde_json::from_str("100000000000.01").unwrap(),
        json!("1e15"),
        json!("1e400"),
        json!("NaN"),
        json!("Infinity"),
        json!(""),
        json!("1,5"),
        json!(true),
        json!([]),
        json!({}),
    ]
}

/// Goal: an amount that makes no sense is refused alike wherever one can be named, and nothing is recorded.
#[tokio::test]
async fn an_impossible_amount_changes_nothing() {
    let whole = Whole::start(&[]).await;
    whole.member("A", 100_000).await;
    whole.valued().await;
    let money = whole.money().await;
    let invalid = (422, "invalid_request".to_owned());
    for bad in impossible() {
        for path in ["/api/users/A/invest", "/api/users/A/withdraw"] {
            assert_eq!(whole.refused(Method::POST, path, json!({"amount": bad})).await, invalid, "{path} {bad}");
        }
        if bad != json!(0) {
            let body = json!({"user_id": "new", "investment": bad});
            assert_eq!(whole.refused(Method::POST, "/api/users", body).await, invalid, "{bad}");
        }
    }
    for (path, body) in [
        ("invest", json!({})),
        ("invest", json!({"amount": null})),
        ("invest", json!({"amount": 1, "user_id": "B"})),
        ("invest", json!({"amount": 1, "account": "a b"})),
        ("withdraw", json!({})),
        ("withdraw", json!({"all": false})),
        ("withdraw", json!({"all": "yes"})),
        ("withdraw", json!({"amount": 1, "all": true})),
        ("withdraw", json!({"all": true, "user_id": "B"})),
        ("withdraw", json!([])),
    ] {
        assert_eq!(
            whole.refused(Method::POST, &format!("/api/users/A/{path}"), body.clone()).await,
            invalid,
            "{path} {body}"
        );
    }
    assert_eq!(whole.money().await, money);
    whole.finish_clean().await;
}

/// Goal: what makes sense by itself and not here (nobody's, twice, elsewhere, too much) is refused, whole.
#[tokio::test]
async fn a_refusal_leaves_nothing_half_done() {
    let whole = Whole::start(&[]).await;
    whole.member("A", 100_000).await;
    whole.member("B", 50_000).await;
    whole.valued().await;
    let money = whole.money().await;
    let cases = [
        ("/api/users/nobody/invest", json!({"amount": 1}), 404, "not_found"),
        ("/api/users/nobody/withdraw", json!({"all": true}), 404, "not_found"),
        ("/api/users/A/invest", json!({"amount": 1, "account": "elsewhere"}), 404, "not_found"),
        ("/api/users/A/withdraw", json!({"amount": 1, "account": "elsewhere"}), 404, "not_found"),
        ("/api/users", json!({"user_id": "new", "investment": 5, "account": "elsewhere"}), 404, "not_found"),
        ("/api/users", json!({"user_id": "A"}), 409, "user_exists"),
        ("/api/users", json!({"user_id": "A", "investment": 5}), 409, "user_exists"),
        ("/api/users", json!({"user_id": "new", "investment": "99999999999.99"}), 409, "amount_too_large"),
        ("/api/users/A/invest", json!({"amount": "100000000000"}), 409, "amount_too_large"),
        ("/api/users/A/withdraw", json!({"amount": "1000.01"}), 409, "above_value"),
        ("/api/users/A/withdraw", json!({"amount": "100000000000"}), 409, "above_value"),
    ];
    for (path, body, status, code) in cases {
        assert_eq!(whole.refused(Method::POST, path, body.clone()).await, (status, code.to_owned()), "{path} {body}");
        assert_eq!(whole.money().await, money, "{path} {body}");
    }
    whole.assert_parts(&[("A", 100_000, 0), ("B", 50_000, 0)]).await;
    // Who has nothing has nothing to withdraw, be it all.
    whole.member("C", 0).await;
    for body in [json!({"amount": 0.01}), json!({"all": true})] {
        assert_eq!(whole.refused(Method::POST, "/api/users/C/withdraw", body).await, (409, "above_value".to_owned()));
    }
    whole.withdraw("A", None).await;
    for body in [json!({"amount": 0.01}), json!({"all": true})] {
        assert_eq!(whole.refused(Method::POST, "/api/users/A/withdraw", body).await, (409, "above_value".to_owned()));
    }
    whole.finish_clean().await;
}

/// Goal: the largest amount there is is taken, to the cent, in and out; and not a cent more.
#[tokio::test]
async fn the_largest_amount_goes_in_and_out_to_the_cent() {
    const MOST: i128 = 10_000_000_000_000;
    let whole = Whole::start(&[]).await;
    whole.member("A", MOST - 1).await;
    whole.member("B", 1).await;
    whole.assert_parts(&[("A", MOST - 1, 0), ("B", 1, 0)]).await;
    let refusal = whole.refused(Method::POST, "/api/users/A/invest", json!({"amount": 0.01})).await;
    assert_eq!(refusal, (409, "amount_too_large".to_owned()));
    // One cent more or a tenth of the greatest loss: recorded both, and only what fits is applied.
    assert_eq!(whole.update(five(MOST, 1)).await, "out_of_bounds");
    whole.assert_parts(&[("A", MOST - 1, 0), ("B", 1, 0)]).await;
    assert_eq!(whole.update(five(MOST, -MOST / 2)).await, "applied");
    let (a, b) = (whole.part("A").await.value, whole.part("B").await.value);
    assert_eq!((a + b, b == 0 || b == 1), (MOST / 2, true));
    assert_eq!(whole.update(five(MOST, 0)).await, "applied");
    whole.assert_parts(&[("A", MOST - 1, 0), ("B", 1, 0)]).await;
    assert_eq!(cents(&whole.withdraw("A", None).await["amount"]), MOST - 1);
    assert_eq!(cents(&whole.withdraw("B", None).await["amount"]), 1);
    whole.assert_parts(&[("A", 0, 0), ("B", 0, 0)]).await;
    whole.finish_clean().await;
}

/// Goal: figures that no account can have are refused at the door; such as came through it are recorded and not applied;
/// and a jump by a factor of a million is applied exactly.
#[tokio::test]
async fn figures_out_of_bounds_move_nothing_and_a_great_jump_moves_exactly() {
    let whole = Whole::start(&[]).await;
    let broker = Broker::connect(&whole.sandbox).await;
    whole.member("A", 3_333).await;
    whole.member("B", 6_667).await;
    assert_eq!(whole.update(full(10_000, 10_000)).await, "applied");
    let money = whole.money().await;
    let with = |field: &str, figure: Value| {
        let mut body = full(10_000, 10_000);
        body[field] = figure;
        body
    };
    for field in ["balance", "equity", "margin", "free_margin", "profit"] {
        for figure in [json!("NaN"), json!(1e15), json!("-1e15"), json!("1e400"), Value::Null, json!(true)] {
            let refusal = whole.refused(Method::POST, "/api/account/update", with(field, figure.clone())).await;
            assert_eq!(refusal, (422, "invalid_request".to_owned()), "{field} {figure}");
        }
        let mut body = full(10_000, 10_000);
        body.as_object_mut().unwrap().remove(field);
        let refusal = whole.refused(Method::POST, "/api/account/update", body).await;
        assert_eq!(refusal, (422, "invalid_request".to_owned()), "{field}");
    }
    for field in ["credit", "net_deposits"] {
        let refusal = whole.refused(Method::POST, "/api/account/update", with(field, json!("1e15"))).await;
        assert_eq!(refusal, (422, "invalid_request".to_owned()), "{field}");
    }
    assert_eq!(whole.count("account_state").await, 1, "refused at the door");
    for (field, figure) in [("equity", json!(1e15)), ("balance", json!(-1e15)), ("net_deposits", json!(-1e15))] {
        let now = whole.sandbox.clock.now();
        assert_eq!(broker.report(&whole, now, &with(field, figure)).await, "out_of_bounds", "{field}");
    }
    // Each within bounds, and not together.
    let mut beyond = full(10_000_000_000_000, -10_000_000_000_000);
    assert_eq!(whole.update(beyond.clone()).await, "out_of_bounds");
    beyond["net_deposits"] = json!(0);
    assert_eq!(whole.update(beyond).await, "out_of_bounds", "with the members' own it is too much");
    assert_eq!(whole.money().await, money);
    assert_eq!(whole.update(full(10_000_000_000, 10_000)).await, "applied");
    whole.assert_parts(&[("A", 3_333_000_000, 3_332_996_667), ("B", 6_667_000_000, 6_666_993_333)]).await;
    assert_eq!(whole.update(full(10_000, 10_000)).await, "applied");
    whole.assert_parts(&[("A", 3_333, 0), ("B", 6_667, 0)]).await;
    broker.close().await;
    whole.finish_clean().await;
}

/// Goal: a unit that is worth almost nothing, or a fortune, is sold to nobody; who is in has his part and can leave.
#[tokio::test]
async fn a_unit_out_of_range_is_sold_to_nobody() {
    // Down to 10^15 units a cent, and up to 500: ten units of a cent's worth each are 2,000,000 cents then.
    for (deposit, level) in [(10_000_000, 1 - 10_000_000), (10, 2_000_000)] {
        let whole = Whole::start(&[]).await;
        whole.member("A", deposit).await;
        whole.member("B", 0).await;
        whole.update(five(deposit, level)).await;
        let refusal = whole.refused(Method::POST, "/api/users/B/invest", json!({"amount": 5})).await;
        assert_eq!(refusal, (409, "pool_out_of_range".to_owned()));
        whole.assert_parts(&[("A", deposit + level, level), ("B", 0, 0)]).await;
        assert_eq!(cents(&whole.withdraw("A", None).await["amount"]), deposit + level);
        // A pool that is empty begins afresh.
        assert_eq!(whole.invest("B", 500).await["status"], "applied");
        whole.assert_parts(&[("A", 0, level), ("B", 500, 0)]).await;
        whole.finish_clean().await;
    }
}

/// Goal: where a unit is worth more than a cent, who leaves a cent in still has it: it does not become nobody's.
#[tokio::test]
async fn the_last_cent_stays_its_owners() {
    let whole = Whole::start(&[]).await;
    whole.member("A", 1).await;
    whole.update(five(1, 200_000_000)).await;
    whole.assert_parts(&[("A", 200_000_001, 200_000_000)]).await;
    whole.withdraw("A", Some(200_000_000)).await;
    whole.assert_parts(&[("A", 1, 200_000_000)]).await;
    assert_eq!(cents(&whole.withdraw("A", None).await["amount"]), 1);
    whole.assert_parts(&[("A", 0, 200_000_000)]).await;
    whole.finish_clean().await;
}
