//! Members: found, renamed, with money in several accounts, and gone.

use reqwest::Method;
use serde_json::{Value, json};
use stack::client::cents;

use super::steps::{amount, five, full, open};
use crate::support::Whole;

/// The ids that a listing answers.
async fn listed(whole: &Whole, query: &str) -> Vec<String> {
    let answer = whole.operator.get(&format!("/api/users?{query}")).await.expect("a list");
    let ids = answer.as_array().unwrap().iter().map(|member| member["user_id"].as_str().unwrap().to_owned());
    ids.collect()
}

/// Goal: members are listed by id, page by page without a gap, and found by how id, name or address begin, in any case,
/// with nothing that means "anything".
#[tokio::test]
async fn members_are_listed_by_pages_and_found() {
    let whole = Whole::start(&[]).await;
    for (user, name, email) in [
        ("m1", Some("Anna Berg"), "anna@example.org"),
        ("m2", Some("Ben 100% Carl"), "carl_1@example.org"),
        ("m3", None, "carlx1@example.org"),
        ("m4", Some("Özil"), "oe@example.org"),
        ("z_9", Some("m\\x"), "z@example.org"),
    ] {
        let body = json!({"user_id": user, "name": name, "email": email, "investment": 10});
        whole.operator.post("/api/users", &body).await.unwrap();
    }
    for (query, expected) in [
        ("", vec!["m1", "m2", "m3", "m4", "z_9"]),
        ("limit=2", vec!["m1", "m2"]),
        ("limit=2&after=m2", vec!["m3", "m4"]),
        ("limit=2&after=m4", vec!["z_9"]),
        ("after=z_9", vec![]),
        ("after=m21", vec!["m3", "m4", "z_9"]),
        ("search=M", vec!["m1", "m2", "m3", "m4", "z_9"]),
        ("search=anna", vec!["m1"]),
        ("search=ANNA%20b", vec!["m1"]),
        ("search=berg", vec![]),
        ("search=carl", vec!["m2", "m3"]),
        ("search=carl_", vec!["m2"]),
        ("search=ben%20100%25", vec!["m2"]),
        ("search=%25", vec![]),
        ("search=_", vec![]),
        ("search=m%5C", vec!["z_9"]),
        ("search=m&limit=1&after=m1", vec!["m2"]),
        ("search=%20anna%20", vec!["m1"]),
    ] {
        assert_eq!(listed(&whole, query).await, expected, "{query}");
    }
    for query in ["limit=0", "limit=1001", "limit=-1"] {
        let refusal = whole.refused(Method::GET, &format!("/api/users?{query}"), Value::Null).await;
        assert_eq!(refusal, (422, "invalid_request".to_owned()), "{query}");
    }
    whole.update(five(5_000, 100)).await;
    let all = whole.operator.get("/api/users").await.unwrap();
    for member in all.as_array().unwrap() {
        let stats = whole.stats(member["user_id"].as_str().unwrap()).await;
        for field in ["name", "email", "investment", "value", "profit_loss", "created_at", "closed_at", "as_of"] {
            assert_eq!(member[field], stats[field], "{field} of {member}");
        }
        assert_eq!(cents(&member["value"]), 1_020);
    }
    whole.finish_clean().await;
}

/// Goal: case does not matter in any letter, not only in those of English.
#[tokio::test]
async fn a_name_is_found_whatever_its_letters() {
    let whole = Whole::start(&[]).await;
    for (user, name) in [("m1", "Özil"), ("m2", "Łukasz"), ("m3", "émile"), ("m4", "Юлия")] {
        whole.operator.post("/api/users", &json!({"user_id": user, "name": name})).await.unwrap();
    }
    for (search, user) in [
        ("%C3%96zil", "m1"),
        ("%C3%B6z", "m1"),
        ("%C5%81uk", "m2"),
        ("%C5%82uk", "m2"),
        ("%C3%89mile", "m3"),
        ("%D0%AE", "m4"),
        ("%D1%8E", "m4"),
    ] {
        assert_eq!(listed(&whole, &format!("search={search}")).await, [user], "{search}");
    }
    whole.finish_clean().await;
}

/// Goal: name and address can be changed and cleared, each by itself; what makes no sense changes nothing.
#[tokio::test]
async fn a_member_can_be_renamed() {
    let whole = Whole::start(&[]).await;
    whole.member("A", 10_000).await;
    for (body, name, email) in [
        (json!({"name": " Anna "}), json!("Anna"), Value::Null),
        (json!({"email": "a@example.org"}), json!("Anna"), json!("a@example.org")),
        (json!({}), json!("Anna"), json!("a@example.org")),
        (json!({"name": null, "email": null}), json!("Anna"), json!("a@example.org")),
        (json!({"name": ""}), Value::Null, json!("a@example.org")),
        (json!({"name": "B", "email": " "}), json!("B"), Value::Null),
    ] {
        let (status, member) = whole.ask(Method::PATCH, "/api/users/A", body.clone()).await;
        assert_eq!((status, &member["name"], &member["email"]), (200, &name, &email), "{body}");
        let stats = whole.stats("A").await;
        assert_eq!((&stats["name"], &stats["email"]), (&name, &email), "{body}");
    }
    for body in [
        json!({"name": "x".repeat(201)}),
        json!({"name": "a\nb"}),
        json!({"name": "C", "email": "nowhere"}),
        json!({"name": 5}),
    ] {
        let refusal = whole.refused(Method::PATCH, "/api/users/A", body.clone()).await;
        assert_eq!(refusal, (422, "invalid_request".to_owned()), "{body}");
    }
    let nobody = whole.refused(Method::PATCH, "/api/users/nobody", json!({"name": "x"})).await;
    assert_eq!(nobody, (404, "not_found".to_owned()));
    assert_eq!(whole.stats("A").await["name"], "B");
    whole.assert_parts(&[("A", 10_000, 0)]).await;
    whole.finish_clean().await;
}

/// Goal: a member leaves only with nothing in any account and nothing on its way; then he takes no more money, and what
/// was stays to be read.
#[tokio::test]
async fn a_member_closes_at_zero_and_stays_in_the_books() {
    let whole = Whole::start(&["second"]).await;
    let close = "/api/users/A/close";
    let has_money = (409, "has_money".to_owned());
    whole.member("A", 0).await;
    let (status, _) = whole.keyed("K", "/api/users/A/invest", json!({"amount": 100})).await;
    assert_eq!(status, 200);
    assert_eq!(whole.refused(Method::POST, close, Value::Null).await, has_money);
    whole.withdraw("A", Some(9_999)).await;
    assert_eq!(whole.refused(Method::POST, close, Value::Null).await, has_money, "a cent");
    whole.withdraw("A", None).await;
    let elsewhere = json!({"amount": 1, "account": "second"});
    whole.operator.post("/api/users/A/invest", &elsewhere).await.unwrap();
    assert_eq!(whole.refused(Method::POST, close, Value::Null).await, has_money, "in another account");
    whole.operator.post("/api/users/A/withdraw", &json!({"all": true, "account": "second"})).await.unwrap();
    whole.update(open(10_000, 1)).await;
    let waits = whole.invest("A", 100).await;
    assert_eq!(whole.refused(Method::POST, close, Value::Null).await, has_money, "on its way");
    let cancel = format!("/api/users/A/movements/{}/cancel", super::steps::id(&waits));
    assert_eq!(whole.ask(Method::POST, &cancel, Value::Null).await.0, 200);

    let (status, closed) = whole.ask(Method::POST, close, Value::Null).await;
    assert_eq!((status, closed["closed_at"].is_string()), (200, true), "{closed}");
    assert_eq!(whole.ask(Method::POST, close, Value::Null).await, (200, closed.clone()), "again is the same");
    let money = whole.money().await;
    for (path, body) in
        [("invest", json!({"amount": 1})), ("withdraw", json!({"all": true})), ("withdraw", json!({"amount": 1}))]
    {
        let refusal = whole.refused(Method::POST, &format!("/api/users/A/{path}"), body).await;
        assert_eq!(refusal, (409, "user_closed".to_owned()), "{path}");
    }
    let (status, known) = whole.keyed("K", "/api/users/A/invest", json!({"amount": 100})).await;
    assert_eq!((status, &known["status"]), (200, &json!("applied")), "a retry is told what became of it");
    assert_eq!(whole.money().await, money);
    assert_eq!(whole.stats("A").await["closed_at"], closed["closed_at"]);
    assert_eq!(whole.operator.get("/api/users").await.unwrap()[0]["closed_at"], closed["closed_at"]);
    assert_eq!(whole.movements("A").await.len(), 6);
    assert_eq!(
        whole.refused(Method::POST, "/api/users", json!({"user_id": "A"})).await,
        (409, "user_exists".to_owned())
    );
    let nobody = whole.refused(Method::POST, "/api/users/nobody/close", Value::Null).await;
    assert_eq!(nobody, (404, "not_found".to_owned()));
    whole.finish_clean().await;
}

/// Goal: money in two accounts is two parts, each with its own account's profit, and one sum.
#[tokio::test]
async fn a_member_with_money_in_two_accounts_has_both_and_their_sum() {
    let whole = Whole::start(&["second"]).await;
    let second = whole.operator.with_key(&whole.sandbox.terminals["second"]);
    whole.update(full(100_000, 100_000)).await;
    whole.update_by(&second, full(50_000, 50_000)).await;
    whole.member("A", 10_000).await;
    whole.member("B", 30_000).await;
    let there = |cents: i128| json!({"amount": amount(cents), "account": "second"});
    whole.operator.post("/api/users/A/invest", &there(20_000)).await.unwrap();
    whole.update(full(100_400, 100_000)).await;
    whole.update_by(&second, full(49_000, 50_000)).await;
    whole.assert_parts(&[("A", 10_100 + 19_000, 100 - 1_000), ("B", 30_300, 300)]).await;
    let stats = whole.stats("A").await;
    let accounts = stats["accounts"].as_array().unwrap();
    assert_eq!(accounts.len(), 2);
    for (share, account, value, profit_loss) in
        [(&accounts[0], "main", 10_100, 100), (&accounts[1], "second", 19_000, -1_000)]
    {
        assert_eq!((&share["account"], &share["currency"]), (&json!(account), &json!("USD")));
        assert_eq!((cents(&share["value"]), cents(&share["profit_loss"])), (value, profit_loss));
    }
    for field in ["investment", "value", "profit_loss"] {
        let sum: i128 = accounts.iter().map(|share| cents(&share[field])).sum();
        assert_eq!(cents(&stats[field]), sum, "{field}");
    }
    assert_eq!(whole.operator.get("/api/users").await.unwrap()[0]["value"], stats["value"]);
    // Out of one of them; the other does not notice.
    whole.operator.post("/api/users/A/withdraw", &there(19_000)).await.unwrap();
    let too_much = whole.refused(Method::POST, "/api/users/A/withdraw", there(1)).await;
    assert_eq!(too_much, (409, "above_value".to_owned()));
    whole.assert_parts(&[("A", 10_100, -900), ("B", 30_300, 300)]).await;
    let stats = whole.operator.get("/api/account/stats?account=second").await.unwrap();
    assert_eq!((cents(&stats["pool_equity"]), &stats["members"]), (0, &json!(0)));
    whole.finish_clean().await;
}

/// Goal: a listing and a member's own figures are the same sums, also while money waits in an account of another currency.
#[tokio::test]
async fn a_listing_agrees_with_the_figures_while_money_waits_elsewhere() {
    let whole = Whole::start(&["first"]).await;
    let first = whole.operator.with_key(&whole.sandbox.terminals["first"]);
    whole.update(full(100_000, 100_000)).await;
    whole.member("A", 10_000).await;
    let mut euros = open(50_000, 1_000);
    euros["currency"] = json!("EUR");
    whole.update_by(&first, euros).await;
    let waits = json!({"amount": 5, "account": "first"});
    let waits = whole.operator.post("/api/users/A/invest", &waits).await.unwrap();
    assert_eq!(waits["status"], "pending");
    let (listed, stats) = (whole.operator.get("/api/users").await.unwrap()[0].clone(), whole.stats("A").await);
    for field in ["investment", "value", "profit_loss", "as_of"] {
        assert_eq!(listed[field], stats[field], "{field}");
    }
    whole.finish_clean().await;
}

/// Goal: a member's movements are listed the newest first, page by page without a gap.
#[tokio::test]
async fn movements_are_listed_by_pages() {
    let whole = Whole::start(&[]).await;
    whole.member("A", 0).await;
    whole.member("B", 100).await;
    let mut expected = Vec::new();
    for amount in 1..=5 {
        expected.insert(0, super::steps::id(&whole.invest("A", amount).await).to_owned());
    }
    let page = async |query: &str| -> Vec<String> {
        let answer = whole.operator.get(&format!("/api/users/A/movements?{query}")).await.expect("a list");
        answer.as_array().unwrap().iter().map(|movement| super::steps::id(movement).to_owned()).collect()
    };
    assert_eq!(page("").await, expected);
    let mut found = page("limit=2").await;
    while let Some(last) = found.last().cloned() {
        let next = page(&format!("limit=2&before={last}")).await;
        if next.is_empty() {
            break;
        }
        found.extend(next);
    }
    assert_eq!(found, expected);
    for (query, code) in
        [("limit=0", "invalid_request"), ("limit=1001", "invalid_request"), ("before=x", "invalid_query")]
    {
        let refusal = whole.refused(Method::GET, &format!("/api/users/A/movements?{query}"), Value::Null).await;
        assert_eq!(refusal, (422, code.to_owned()), "{query}");
    }
    assert_eq!(
        whole.refused(Method::GET, "/api/users/nobody/movements", Value::Null).await,
        (404, "not_found".to_owned())
    );
    whole.finish_clean().await;
}
