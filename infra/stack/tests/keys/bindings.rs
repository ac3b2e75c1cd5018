//! What keys are bound to: a terminal's to its account, a member's to itself, and all to what their maker may do.

use reqwest::Method;
use serde_json::{Value, json};

use super::steps::{ask, id, refused, text};
use crate::support::Whole;

/// Goal: the operator, whose own key is bound to `main`, makes a terminal's key for an account that was not there; the
/// account is there then, and the key sees nothing of another.
#[tokio::test]
async fn a_terminals_key_opens_its_own_account_alone() {
    let whole = Whole::start(&[]).await;
    let unknown = whole.post(json!({"symbol": "EURUSD", "action": "BUY", "account": "second"})).await;
    assert_eq!(whole.state(&unknown, "rejected").await["code"], "unknown_account");
    let (terminal, _) = whole.client_with("second-terminal", &["terminal"], json!({"account": "second"})).await;
    let main = whole.post(json!({"symbol": "EURUSD", "action": "BUY", "ttl_seconds": 600})).await;
    let second =
        whole.post(json!({"symbol": "EURUSD", "action": "BUY", "account": "second", "ttl_seconds": 600})).await;
    whole.state(&main, "pending").await;
    whole.state(&second, "pending").await;
    let poll = "/api/signals/pending?limit=10&protocol=2&terminal=S";
    let claimed = terminal.get(poll).await.unwrap();
    let claimed: Vec<&Value> = claimed.as_array().unwrap().iter().map(|signal| &signal["signal_id"]).collect();
    assert_eq!(claimed, [&json!(second)]);
    // Nor does it report for another account's signal.
    let report = json!({"signal_id": main, "attempt": 1, "status": "failed"});
    assert_eq!(refused(&terminal, "/api/trades/confirm", report).await, (404, "not_found".to_owned()));
    assert_eq!(whole.state(&main, "pending").await["attempt"], 0);
    whole.finish().await;
}

/// Goal: a member's key reads its own member and nobody else.
#[tokio::test]
async fn a_members_key_reads_its_own_member_alone() {
    let whole = Whole::start(&[]).await;
    for user in ["anna", "ben"] {
        whole.operator.post("/api/users", &json!({"user_id": user})).await.unwrap();
    }
    let (anna, _) = whole.client_with("anna", &["member"], json!({"user_id": "anna"})).await;
    for what in ["stats", "statement", "movements"] {
        let own = ask(&anna, Method::GET, &format!("/api/users/anna/{what}"), Value::Null).await;
        assert_eq!(own.0, 200, "{what}: {}", own.1);
        for other in ["ben", "nobody", "ANNA", "anna%20"] {
            let (status, answer) = ask(&anna, Method::GET, &format!("/api/users/{other}/{what}"), Value::Null).await;
            assert_eq!((status, &answer["code"]), (403, &json!("scope_missing")), "{other}/{what}");
        }
    }
    whole.finish().await;
}

/// Goal: whatever way a key takes, it ends with none that may more than itself: by scope, by binding, by lifetime, by
/// rotating another's key, or in another's name; and what is refused leaves no trace.
#[tokio::test]
async fn no_key_makes_its_way_to_more_than_it_may() {
    let whole = Whole::start(&["second"]).await;
    whole.operator.post("/api/users", &json!({"user_id": "anna"})).await.unwrap();
    let (_, big) = whole.client_with("big", &["read", "operate", "keys:write"], json!({})).await;
    let (small, _) = whole.client_with("small", &["signals:write", "keys:write"], json!({})).await;
    let (desk, _) = whole.client_with("desk", &["terminal", "keys:write"], json!({"account": "second"})).await;
    let (member, _) = whole.client_with("anna", &["member", "keys:write"], json!({"user_id": "anna"})).await;
    let (brief, _) = whole.client_with("brief", &["read", "keys:write"], json!({"ttl_seconds": 600})).await;
    let rows = "select (select count(*) from api_keys) * 1000 + (select count(*) from audit_log)";
    let before: i64 = whole.value(rows).await;
    let make = |principal: &str, scopes: &[&str]| json!({"principal": principal, "scopes": scopes});
    let for_account = |account: &str| json!({"principal": "x", "scopes": ["terminal"], "account": account});
    let for_user = |user: &str| json!({"principal": "x", "scopes": ["member"], "user_id": user});
    let big_path = |what: &str| format!("/api/keys/{}/{what}", id(&big));
    for (client, path, body) in [
        (&small, "/api/keys".to_owned(), make("x", &["read"])),
        (&small, "/api/keys".to_owned(), make("x", &["signals:write", "operate"])),
        (&small, "/api/keys".to_owned(), for_account("main")),
        (&small, "/api/keys".to_owned(), for_user("anna")),
        // In the name of who may more.
        (&small, "/api/keys".to_owned(), make("big", &["signals:write"])),
        (&small, "/api/keys".to_owned(), make("owner", &["signals:write"])),
        (&small, big_path("rotate"), json!({})),
        (&small, big_path("rotate"), json!({"overlap_seconds": 0})),
        (&small, big_path("revoke"), Value::Null),
        (&desk, "/api/keys".to_owned(), for_account("main")),
        (&desk, "/api/keys".to_owned(), for_account("another")),
        (&member, "/api/keys".to_owned(), for_user("ben")),
        (&member, "/api/keys".to_owned(), make("x", &["read"])),
        (&brief, "/api/keys".to_owned(), make("x", &["read"])),
        (&brief, "/api/keys".to_owned(), json!({"principal": "x", "scopes": ["read"], "ttl_seconds": 601})),
    ] {
        assert_eq!(refused(client, &path, body.clone()).await, (403, "beyond_own_key".to_owned()), "{path} {body}");
    }
    assert_eq!(whole.value::<i64>(rows).await, before);
    assert_eq!(whole.value::<i64>("select count(*) from accounts").await, 2);
    whole.known(&whole.operator.with_key(text(&big))).await;
    // What is within their reach they get.
    for (client, body) in [
        (&small, make("y1", &["signals:write"])),
        (&small, make("y2", &["keys:write"])),
        (&desk, json!({"principal": "y3", "scopes": ["terminal"], "account": "second"})),
        (&member, json!({"principal": "y4", "scopes": ["member"], "user_id": "anna"})),
        (&brief, json!({"principal": "y5", "scopes": ["member"], "user_id": "anna", "ttl_seconds": 500})),
    ] {
        let (status, answer) = ask(client, Method::POST, "/api/keys", body.clone()).await;
        assert_eq!(status, 200, "{body}: {answer}");
    }
    whole.finish().await;
}
