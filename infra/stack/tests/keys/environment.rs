//! Keys of the environment: they come and go with it, and the table follows.

use common::auth::{ApiKey, Identity, Scope};
use reqwest::Method;
use serde_json::{Value, json};

use super::steps::{ask, refused, text};
use crate::support::Whole;

/// The id of a key's text.
fn id_of(key: &str) -> String {
    key.split('_').nth(1).expect("an id").to_owned()
}

/// Goal: a key that the environment has is not revoked from outside; one that it has no more is, and stays revoked even
/// when an old environment comes back.
#[tokio::test]
async fn a_key_of_the_environment_is_revoked_once_it_is_there_no_more() {
    let mut whole = Whole::start(&[]).await;
    let generator = whole.sandbox.keys.generator().to_owned();
    let key_id = id_of(&generator);
    assert_eq!(whole.listed(&key_id).await["source"], "environment");
    for what in ["revoke", "rotate"] {
        let (status, problem) = whole.ask(Method::POST, &format!("/api/keys/{key_id}/{what}"), json!({})).await;
        assert_eq!((status, &problem["code"]), (409, &json!("key_of_environment")), "{what}");
        assert!(problem["detail"].as_str().unwrap().contains("GENERATOR_KEY"), "{problem}");
    }
    let with_all = whole.sandbox.settings.keys.clone();
    whole.sandbox.settings.keys.retain(|key| key.identity.key_id != key_id);
    whole.restart().await;
    let client = whole.operator.with_key(&generator);
    whole.known(&client).await;
    let (status, problem) = whole.ask(Method::POST, &format!("/api/keys/{key_id}/rotate"), json!({})).await;
    assert_eq!(
        (status, &problem["code"]),
        (409, &json!("key_of_environment")),
        "an end that an old environment forgets"
    );
    let (status, revoked) = whole.ask(Method::POST, &format!("/api/keys/{key_id}/revoke"), Value::Null).await;
    assert_eq!(status, 200, "{revoked}");
    whole.ended(&client).await;
    whole.sandbox.settings.keys = with_all;
    whole.restart().await;
    whole.ended(&whole.operator.with_key(&generator)).await;
    whole.finish().await;
}

/// Goal: a key whose secret was changed in the environment is not left open by the table with the old one, nor with the
/// old scopes.
#[tokio::test]
async fn the_table_follows_the_environment() {
    let mut whole = Whole::start(&[]).await;
    let key = |end: &str, scopes: &[Scope]| {
        let identity = Identity {
            key_id: String::new(),
            principal: "owner".to_owned(),
            scopes: scopes.to_vec(),
            account: None,
            user: None,
        };
        let text = format!("mt5c_ours_a-secret-of-our-own-choice-0123456789-{end}");
        (ApiKey::new(&text, identity).unwrap(), text)
    };
    let ((old, old_text), (new, new_text)) =
        (key("old", &[Scope::Read, Scope::SignalsWrite]), key("new", &[Scope::Read]));
    let without = whole.sandbox.settings.keys.clone();
    for key in [old, new] {
        whole.sandbox.settings.keys = without.clone();
        whole.sandbox.settings.keys.push(key);
        whole.restart().await;
    }
    // A service that has none of it in its own environment goes by the table.
    whole.sandbox.settings.keys = without;
    whole.restart().await;
    let (old, new) = (whole.operator.with_key(&old_text), whole.operator.with_key(&new_text));
    whole.known(&new).await;
    whole.ended(&old).await;
    assert_eq!(refused(&new, "/api/signal", json!({"symbol": "X", "action": "BUY"})).await.1, "scope_missing");
    let events: Vec<Value> = whole.audited("ours").await.iter().map(|entry| entry["event"].clone()).collect();
    assert_eq!(events, ["key.created", "key.changed"]);
    whole.finish().await;
}

/// Goal: a key of the API may make keys as the environment's do, and its list says where each comes from.
#[tokio::test]
async fn the_list_says_where_a_key_comes_from() {
    let whole = Whole::start(&["second"]).await;
    let made = whole.make(json!({"principal": "desk", "scopes": ["keys:write"], "label": "desk"})).await;
    let client = whole.operator.with_key(text(&made));
    // At the service that made it a key counts at once.
    let (status, list) = ask(&client, Method::GET, "/api/keys", Value::Null).await;
    assert_eq!(status, 200, "{list}");
    let list = list.as_array().unwrap();
    let source = |source: &str| list.iter().filter(|key| key["source"] == source).count();
    assert_eq!((source("environment"), source("api"), list.len()), (4, 1, 5));
    let listed = list.iter().find(|key| key["key_id"] == made["key_id"]).unwrap();
    for (name, value) in [("label", json!("desk")), ("principal", json!("desk")), ("scopes", json!(["keys:write"]))] {
        assert_eq!(listed[name], value);
    }
    assert!(text(&made).starts_with(listed["prefix"].as_str().unwrap()));
    for name in ["account", "user_id", "expires_at", "revoked_at"] {
        assert!(listed[name].is_null(), "{name}");
    }
    assert!(listed["created_at"].is_string());
    whole.finish().await;
}

impl Whole {
    /// Ends the platform and starts another with the settings as they are now.
    async fn restart(&mut self) {
        let next = self.sandbox.start().await.unwrap();
        let last = std::mem::replace(&mut self.platform, next);
        assert!(last.stop().await, "a task of the platform failed");
        self.operator = self.sandbox.operator(&self.platform).unwrap();
    }
}
