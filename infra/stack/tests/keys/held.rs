//! A poll that is held while its key ends is handed nothing after that.

use std::time::Instant;

use reqwest::Method;
use serde_json::{Value, json};
use stack::client::Client;
use time::Duration;
use tokio::task::JoinHandle;

use super::steps::{ask, id, text};
use crate::support::{Whole, eventually};

/// Starts a poll that is held, and waits until it is.
async fn hold(whole: &Whole, terminal: &Client, name: &str) -> JoinHandle<(u16, Value)> {
    let path = format!("/api/signals/pending?limit=10&protocol=2&wait_ms=20000&terminal={name}");
    let terminal = terminal.clone();
    let held = tokio::spawn(async move { ask(&terminal, Method::GET, &path, Value::Null).await });
    let seen = format!("select exists (select from terminals where terminal = '{name}')");
    eventually("the poll is held", || async { whole.value::<bool>(&seen).await.then_some(()) }).await;
    held
}

async fn buy(whole: &Whole) -> String {
    whole.post(json!({"symbol": "EURUSD", "action": "BUY", "ttl_seconds": 3600})).await
}

/// Goal: where the key is revoked, the poll is told so at once, and the signal waits for another terminal.
#[tokio::test(flavor = "multi_thread")]
async fn a_held_poll_is_refused_once_its_key_is_revoked() {
    let whole = Whole::start(&[]).await;
    let (terminal, key) = whole.client_with("desk", &["terminal"], json!({"account": "main"})).await;
    let held = hold(&whole, &terminal, "A").await;
    let revoked = Instant::now();
    whole.operator.post(&format!("/api/keys/{}/revoke", id(&key)), &json!({})).await.unwrap();
    let (status, answer) = held.await.unwrap();
    assert_eq!((status, &answer["code"]), (403, &json!("key_wrong")));
    assert!(revoked.elapsed().as_secs() < 5, "the poll was held for another {:?}", revoked.elapsed());
    let signal = buy(&whole).await;
    assert_eq!(whole.state(&signal, "pending").await["attempt"], 0);
    assert_eq!(whole.poll("B").await.len(), 1);
    whole.finish().await;
}

/// Goal: nor is it handed anything by another dispatcher, which has not read of the end yet: the claim looks at the table.
#[tokio::test(flavor = "multi_thread")]
async fn a_poll_held_at_another_dispatcher_is_handed_nothing_once_its_key_is_revoked() {
    let whole = Whole::start(&[]).await;
    let other = whole.sandbox.start().await.unwrap();
    let elsewhere = whole.sandbox.operator(&other).unwrap();
    for round in 0..5 {
        let key =
            whole.make(json!({"principal": format!("desk{round}"), "scopes": ["terminal"], "account": "main"})).await;
        let terminal = elsewhere.with_key(text(&key));
        let lets_in = || async { ask(&terminal, Method::GET, "/api/signals/unresolved", Value::Null).await.0 == 200 };
        eventually("the key is known there", || async { lets_in().await.then_some(()) }).await;
        let held = hold(&whole, &terminal, &format!("T{round}")).await;
        whole.operator.post(&format!("/api/keys/{}/revoke", id(&key)), &json!({})).await.unwrap();
        let signal = buy(&whole).await;
        whole.state(&signal, "pending").await;
        // It goes on being woken by the signal that waits, until its dispatcher has read the table.
        let (status, answer) = held.await.unwrap();
        assert_eq!((status, &answer["code"]), (403, &json!("key_wrong")), "{answer}");
        assert_eq!(whole.state(&signal, "pending").await["attempt"], 0, "handed out after the end of the key");
        whole.operator.post(&format!("/api/signals/{signal}/cancel"), &json!({})).await.unwrap();
    }
    assert!(other.stop().await);
    whole.finish().await;
}

/// Goal: the same where the key expires while the poll is held.
#[tokio::test(flavor = "multi_thread")]
async fn a_held_poll_is_handed_nothing_once_its_key_has_expired() {
    let whole = Whole::start(&[]).await;
    let more = json!({"account": "main", "ttl_seconds": 600});
    let (terminal, _) = whole.client_with("desk", &["terminal"], more).await;
    let held = hold(&whole, &terminal, "A").await;
    whole.sandbox.clock.advance(Duration::seconds(601));
    let signal = buy(&whole).await;
    let (status, answer) = held.await.unwrap();
    assert_eq!((status, &answer["code"]), (403, &json!("key_wrong")));
    assert_eq!(whole.state(&signal, "pending").await["attempt"], 0);
    whole.finish().await;
}
