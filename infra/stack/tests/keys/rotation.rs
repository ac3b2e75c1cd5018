//! The ends of keys: rotated, revoked, expired; and that a principal has at most two.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use time::Duration;

use super::steps::{ask, id, refused, text};
use crate::support::Whole;

fn path(key: &Value, what: &str) -> String {
    format!("/api/keys/{}/{what}", id(key))
}

/// Goal: a rotated key and the new one are both good until the overlap is over, then the new one alone; all of it is in
/// the log.
#[tokio::test]
async fn a_rotated_key_goes_on_until_the_overlap_is_over() {
    let whole = Whole::start(&[]).await;
    let body = json!({"account": "main", "label": "desk 1"});
    let (first, old) = whole.client_with("desk", &["terminal"], body).await;
    let rotated = whole.operator.post(&path(&old, "rotate"), &json!({"overlap_seconds": 60})).await.unwrap();
    let second = whole.operator.with_key(text(&rotated));
    whole.known(&second).await;
    whole.known(&first).await;
    for same in ["principal", "scopes", "account", "user_id", "label"] {
        assert_eq!(rotated[same], old[same], "{same}");
    }
    assert!(id(&rotated) != id(&old) && rotated["expires_at"].is_null() && rotated["replaces"]["key_id"] == id(&old));
    assert!(whole.listed(id(&old)).await["expires_at"].is_string());
    // One more would be a third.
    assert_eq!(refused(&whole.operator, &path(&rotated, "rotate"), json!({})).await, (409, "two_live_keys".to_owned()));
    whole.sandbox.clock.advance(Duration::seconds(61));
    whole.ended(&first).await;
    whole.known(&second).await;
    assert_eq!(refused(&whole.operator, &path(&old, "rotate"), json!({})).await, (409, "key_ended".to_owned()));
    let entries = whole.audited(id(&rotated)).await;
    assert_eq!((entries.len(), &entries[0]["event"]), (1, &json!("key.rotated")));
    assert_eq!(entries[0]["details"]["replaces"]["key_id"], id(&old));
    assert_eq!(entries[0]["principal"], "owner");
    whole.finish().await;
}

/// Goal: with no overlap the old key ends at once, also where the principal has a second one.
#[tokio::test]
async fn a_key_rotated_without_overlap_ends_at_once() {
    let whole = Whole::start(&[]).await;
    let (first, old) = whole.client_with("desk", &["terminal"], json!({"account": "main"})).await;
    let (other, _) = whole.client_with("desk", &["terminal"], json!({"account": "main"})).await;
    let rotated = whole.operator.post(&path(&old, "rotate"), &json!({"overlap_seconds": 0})).await.unwrap();
    whole.ended(&first).await;
    whole.known(&other).await;
    whole.known(&whole.operator.with_key(text(&rotated))).await;
    assert!(whole.listed(id(&old)).await["revoked_at"].is_string());
    whole.finish().await;
}

/// Goal: a principal has two live keys and no third, however many are asked for at once; one that ended makes room.
#[tokio::test(flavor = "multi_thread")]
async fn a_principal_has_at_most_two_live_keys() {
    let whole = Whole::start(&[]).await;
    let other = whole.sandbox.start().await.unwrap();
    let second = whole.sandbox.operator(&other).unwrap();
    let body = json!({"principal": "many", "scopes": ["read"], "ttl_seconds": 60});
    let clients = [&whole.operator, &second];
    let asks = (0..12).map(|turn| ask(clients[turn % 2], Method::POST, "/api/keys", body.clone()));
    let mut answers = join_all(asks).await;
    answers.sort_by_key(|(status, _)| *status);
    assert_eq!(answers.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [&[200; 2][..], &[409; 10]].concat());
    let problem = &answers[11].1;
    assert_eq!(problem["code"], "two_live_keys");
    assert!(problem["detail"].as_str().unwrap().contains(id(&answers[0].1)), "{problem}");
    assert_eq!(whole.value::<i64>("select count(*) from api_keys where principal = 'many'").await, 2);
    // One revoked makes room for one, both expired for two; another principal is not concerned.
    whole.operator.post(&path(&answers[0].1, "revoke"), &json!({})).await.unwrap();
    whole.make(body.clone()).await;
    assert_eq!(refused(&whole.operator, "/api/keys", body.clone()).await.0, 409);
    whole.make(json!({"principal": "few", "scopes": ["read"]})).await;
    whole.sandbox.clock.advance(Duration::seconds(61));
    whole.make(body.clone()).await;
    whole.make(body.clone()).await;
    assert_eq!(refused(&whole.operator, "/api/keys", body).await.0, 409);
    assert!(other.stop().await);
    whole.finish().await;
}

/// Goal: a revoked key is refused everywhere, and revoking it again changes nothing and is told the same.
#[tokio::test]
async fn revoking_is_safe_to_repeat() {
    let whole = Whole::start(&[]).await;
    let (client, key) = whole.client_with("desk", &["read", "keys:write"], json!({})).await;
    // Its own hand may do it.
    let (status, first) = ask(&client, Method::POST, &path(&key, "revoke"), Value::Null).await;
    assert_eq!(status, 200, "{first}");
    assert!(first["revoked_at"].is_string());
    whole.ended(&client).await;
    let (status, again) = whole.ask(Method::POST, &path(&key, "revoke"), Value::Null).await;
    assert_eq!((status, &again), (200, &first));
    let events = whole.audited(id(&key)).await;
    let told: Vec<_> = events.iter().map(|entry| (&entry["event"], &entry["principal"])).collect();
    assert_eq!(told, [(&json!("key.created"), &json!("owner")), (&json!("key.revoked"), &json!("desk"))]);
    assert_eq!(refused(&whole.operator, &path(&key, "rotate"), json!({})).await, (409, "key_ended".to_owned()));
    whole.finish().await;
}

/// Goal: a key ends when it was said to, by either way of saying it, at every service.
#[tokio::test]
async fn a_key_ends_when_it_was_said_to() {
    let whole = Whole::start(&[]).await;
    let in_a_minute = whole.sandbox.clock.now() + Duration::minutes(1);
    let in_a_minute = in_a_minute.format(&time::format_description::well_known::Rfc3339).unwrap();
    let (by_ttl, _) = whole.client_with("a", &["read"], json!({"ttl_seconds": 60})).await;
    let more = json!({"ttl_seconds": 600, "expires_at": in_a_minute});
    let (by_time, _) = whole.client_with("b", &["read"], more).await;
    let (longer, _) = whole.client_with("c", &["read"], json!({"ttl_seconds": 600})).await;
    whole.sandbox.clock.advance(Duration::seconds(61));
    // No service needs to read the table for this.
    for client in [&by_ttl, &by_time] {
        let (status, answer) = ask(client, Method::GET, "/api/account/stats", Value::Null).await;
        assert_eq!((status, &answer["code"]), (403, &json!("key_wrong")));
        whole.ended(client).await;
    }
    assert_eq!(ask(&longer, Method::GET, "/api/account/stats", Value::Null).await.0, 200);
    whole.finish().await;
}
