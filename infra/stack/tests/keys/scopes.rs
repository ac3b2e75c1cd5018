//! Which scope opens which endpoint, for every endpoint there is.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use super::steps::ask;
use crate::support::Whole;

/// Every endpoint of the API, with the scopes each of which opens it.
const ENDPOINTS: [(&str, &str, &[&str]); 35] = [
    ("post", "/api/signal", &["signals:write"]),
    ("get", "/api/signals/pending", &["terminal"]),
    ("get", "/api/signals/unresolved", &["terminal"]),
    ("post", "/api/trades/confirm", &["terminal"]),
    ("post", "/api/account/update", &["terminal"]),
    ("get", "/api/signals", &["read"]),
    ("get", "/api/signals/{id}", &["read"]),
    ("get", "/api/trades", &["read"]),
    ("get", "/api/trades/history", &["read"]),
    ("post", "/api/signals/{id}/cancel", &["operate"]),
    ("post", "/api/signals/{id}/resolve", &["operate"]),
    ("get", "/api/control", &["operate"]),
    ("post", "/api/control", &["operate"]),
    ("get", "/api/accounts/{account}/risk", &["operate"]),
    ("put", "/api/accounts/{account}/risk", &["operate"]),
    ("get", "/api/anomalies", &["read"]),
    ("post", "/api/anomalies/{id}/acknowledge", &["operate"]),
    ("get", "/api/keys", &["keys:write"]),
    ("post", "/api/keys", &["keys:write"]),
    ("post", "/api/keys/{id}/rotate", &["keys:write"]),
    ("post", "/api/keys/{id}/revoke", &["keys:write"]),
    ("get", "/api/users", &["read"]),
    ("post", "/api/users", &["members:write"]),
    ("patch", "/api/users/{id}", &["members:write"]),
    ("post", "/api/users/{id}/close", &["members:write"]),
    ("post", "/api/users/{id}/invest", &["members:write"]),
    ("post", "/api/users/{id}/withdraw", &["members:write"]),
    ("get", "/api/users/{id}/movements", &["read", "member"]),
    ("post", "/api/users/{id}/movements/{movement_id}/cancel", &["members:write"]),
    ("get", "/api/users/{id}/stats", &["read", "member"]),
    ("get", "/api/users/{id}/statement", &["read", "member"]),
    ("get", "/api/account/stats", &["read"]),
    ("get", "/api/account/history", &["read"]),
    ("post", "/api/accounts/{account}/pool/close", &["operate"]),
    ("post", "/api/accounts/{account}/pool/login", &["operate"]),
];
const SCOPES: [&str; 7] = ["signals:write", "terminal", "read", "operate", "members:write", "keys:write", "member"];

/// A body that every endpoint can read, so that it is the key that decides.
fn body(path: &str) -> Value {
    if path.ends_with("/risk") {
        return json!({"symbols_allowed": null, "volume_max": 1, "positions_max": 1, "openings_per_day_max": 1,
            "daily_loss_percent_max": 1, "signal_ttl_seconds": 1, "default_volume": 1, "symbol_map": {}, "login": null});
    }
    json!({"symbol": "X", "action": "BUY", "amount": 1, "mode": "active", "outcome": "failed", "balance": 1, "equity": 1,
        "margin": 0, "free_margin": 1, "profit": 0, "user_id": "2", "principal": "p", "scopes": ["keys:write"],
        "note": "seen", "login": 1})
}

/// Goal: every endpoint of the document, those to come too, is opened by its scopes and by no other, and by no key that is
/// missing or wrong.
#[tokio::test]
async fn every_endpoint_is_opened_by_its_scopes_alone() {
    let whole = Whole::start(&[]).await;
    let document = whole.operator.get("/openapi.json").await.unwrap();
    let documented: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| methods.as_object().unwrap().keys().map(|method| (method.clone(), path.clone())))
        .collect();
    let listed = ENDPOINTS.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(documented, listed, "an endpoint is not in this table, or is no more");

    whole.operator.post("/api/users", &json!({"user_id": "1"})).await.unwrap();
    let mut clients = Vec::new();
    for scope in SCOPES {
        let binding = match scope {
            "terminal" => json!({"account": "main"}),
            "member" => json!({"user_id": "1"}),
            _ => json!({}),
        };
        clients.push((scope, whole.client_with(&format!("only-{}", clients.len()), &[scope], binding).await.0));
    }
    let wrong = whole.operator.with_key("mt5c_0_0");
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for (method, template, scopes) in ENDPOINTS {
        let movement = "01890a5d-ac96-774b-bcce-b302099a8057";
        let path = template.replace("{id}", "1").replace("{account}", "main").replace("{movement_id}", movement);
        let send: Method = method.to_uppercase().parse().unwrap();
        let keyless = http.request(send.clone(), format!("{}{path}", whole.platform.url)).json(&body(template));
        assert_eq!(keyless.send().await.unwrap().status(), 401, "{method} {path} without a key");
        let (status, answer) = ask(&wrong, send.clone(), &path, body(template)).await;
        assert_eq!((status, &answer["code"]), (403, &json!("key_wrong")), "{method} {path}");
        for (scope, client) in &clients {
            let (status, answer) = ask(client, send.clone(), &path, body(template)).await;
            let code = answer["code"].as_str().unwrap_or_default();
            if scopes.contains(scope) {
                assert!(![401, 403].contains(&status), "{scope} does not open {method} {path}: {answer}");
            } else {
                assert_eq!((status, code), (403, "scope_missing"), "{scope} at {method} {path}: {answer}");
            }
        }
    }
    whole.finish().await;
}
