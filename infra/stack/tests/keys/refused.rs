//! Requests about keys that make no sense.

use serde_json::json;

use super::steps::{id, refused};
use crate::support::Whole;

/// Goal: each has its status and code, and makes no key, no account and no entry.
#[tokio::test]
async fn what_makes_no_sense_is_refused_and_leaves_nothing() {
    let whole = Whole::start(&[]).await;
    let temporary = whole.make(json!({"principal": "t", "scopes": ["read"], "ttl_seconds": 60})).await;
    let rotate = format!("/api/keys/{}/rotate", id(&temporary));
    let revoke = "/api/keys/none/revoke";
    let all = "select (select count(*) from api_keys) * 10000 + (select count(*) from audit_log) * 100
                      + (select count(*) from accounts)";
    let before: i64 = whole.value(all).await;
    let long = "x".repeat(65);
    let make = "/api/keys";
    for (path, body, status, code) in [
        (make, json!({}), 422, "invalid_request"),
        (make, json!([]), 422, "invalid_request"),
        (make, json!({"principal": "p"}), 422, "invalid_request"),
        (make, json!({"principal": "p", "scopes": []}), 422, "invalid_request"),
        (make, json!({"principal": "p", "scopes": ["root"]}), 422, "invalid_request"),
        (make, json!({"principal": "p", "scopes": "read"}), 422, "invalid_request"),
        (make, json!({"principal": "", "scopes": ["read"]}), 422, "invalid_request"),
        (make, json!({"principal": "a b", "scopes": ["read"]}), 422, "invalid_request"),
        (make, json!({"principal": long, "scopes": ["read"]}), 422, "invalid_request"),
        (make, json!({"principal": "p\u{0}", "scopes": ["read"]}), 422, "invalid_request"),
        (make, json!({"principal": "p", "scopes": ["terminal"]}), 422, "invalid_request"),
        (make, json!({"principal": "p", "scopes": ["terminal"], "account": "a b"}), 422, "invalid_request"),
        (make, json!({"principal": "p", "scopes": ["read"], "account": "main"}), 422, "invalid_request"),
        (make, json!({"principal": "p", "scopes": ["member"]}), 422, "invalid_request"),
        (make, json!({"principal": "p", "scopes": ["read"], "user_id": "anna"}), 422, "invalid_request"),
        (make, json!({"principal": "p", "scopes": ["read"], "label": ""}), 422, "invalid_request"),
        (make, json!({"principal": "p", "scopes": ["read"], "label": "a\nb"}), 422, "invalid_request"),
        (make, json!({"principal": "p", "scopes": ["read"], "label": "x".repeat(129)}), 422, "invalid_request"),
        (make, json!({"principal": "p", "scopes": ["read"], "ttl_seconds": 0}), 422, "invalid_request"),
        (make, json!({"principal": "p", "scopes": ["read"], "ttl_seconds": i64::MAX}), 422, "invalid_request"),
        (make, json!({"principal": "p", "scopes": ["read"], "ttl_seconds": 1.5}), 422, "invalid_request"),
        (
            make,
            json!({"principal": "p", "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"}),
            422,
            "invalid_request",
        ),
        (
            make,
            json!({"principal": "p", "scopes": ["read"], "expires_at": "9999-01-01T00:00:00Z"}),
            422,
            "invalid_request",
        ),
        (make, json!({"principal": "p", "scopes": ["read"], "expires_at": "soon"}), 422, "invalid_request"),
        (make, json!({"principal": "p", "scopes": ["read"], "label": "x".repeat(40_000)}), 413, "body_too_large"),
        (make, json!({"principal": "p", "scopes": ["member"], "user_id": "nobody"}), 404, "not_found"),
        (&rotate, json!({"overlap_seconds": -1, "ttl_seconds": 60}), 422, "invalid_request"),
        (&rotate, json!({"overlap_seconds": 2_592_001, "ttl_seconds": 60}), 422, "invalid_request"),
        // A key with an end does not become one without.
        (&rotate, json!({}), 422, "invalid_request"),
        ("/api/keys/none/rotate", json!({}), 404, "not_found"),
        (revoke, json!(null), 404, "not_found"),
        ("/api/keys/a%00b/revoke", json!(null), 422, "invalid_request"),
    ] {
        assert_eq!(refused(&whole.operator, path, body.clone()).await, (status, code.to_owned()), "{path} {body}");
    }
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let torn = http.post(format!("{}{make}", whole.platform.url)).header("X-API-Key", whole.sandbox.keys.operator());
    assert_eq!(torn.body("{").send().await.unwrap().status(), 400);
    assert_eq!(whole.value::<i64>(all).await, before);
    whole.finish().await;
}
