//! Messages that cannot be read, stored or delivered.

use reqwest::Method;
use serde_json::{Value, json};

use super::steps::{BACK, Broker, ask, signal};
use crate::private::within;
use crate::support::{self, Whole};

/// Goal: what can't be read, or can't be stored, is kept with its reason in its table, and what stands before and
/// behind it in the queue goes its way.
#[tokio::test(flavor = "multi_thread")]
async fn a_poison_message_stops_nobody() {
    let whole = Whole::start(&[]).await;
    let broker = Broker::connect(&whole.sandbox.settings.amqp_url).await;
    let envelope = |kind: &str, body: Value| {
        json!({"message_id": uuid::Uuid::new_v4(), "type": kind, "occurred_at": "2026-01-01T00:00:00Z",
            "request_id": "r", "traceparent": null, "body": body})
    };
    let rubbish = |kind: &str| -> Vec<Vec<u8>> {
        vec![
            b"not JSON".to_vec(),
            Vec::new(),
            vec![0, 255, 0, 254],
            b"{}".to_vec(),
            envelope("another.type.v9", json!({})).to_string().into_bytes(),
            envelope(kind, json!({"account": "main", "volume": -1})).to_string().into_bytes(),
            "[".repeat(100_000).into_bytes(),
        ]
    };
    // Readable, and nothing that the database can hold: no text of its has a zero character.
    let order = json!({"symbol": "EURUSD", "action": "BUY", "order_type": "market", "entry": null, "volume": 0.01,
        "risk_percent": null, "sl": null, "tp": null, "ticket": null, "max_slippage_points": null});
    let unstorable = ["comment", "idempotency_key"].map(|field| {
        let mut body = json!({"signal_id": uuid::Uuid::new_v4(), "account": "main", "principal": "p",
            "idempotency_key": null, "order": order, "received_at": "2026-01-01T00:00:00Z", "ttl_seconds": null,
            "expires_at": null, "order_expires_at": null, "comment": null, "metadata": {}});
        body[field] = json!("\0");
        envelope("signal.accepted.v1", body).to_string().into_bytes()
    });
    let (signals, updates) = (whole.sandbox.signals(), whole.sandbox.account_updates());
    let before = whole.post(signal("EURUSD")).await;
    whole.report("10000", "10000").await;
    let dead_signals = [rubbish("signal.accepted.v1"), unstorable.into()].concat();
    for body in &dead_signals {
        broker.publish(&signals.name, &signals.name, body).await;
    }
    let dead_updates = rubbish("account.updated.v1");
    for body in &dead_updates {
        broker.publish(&updates.name, &updates.name, body).await;
    }
    let behind = whole.post(signal("EURUSD")).await;
    whole.report("10100", "10000").await;
    whole.state(&before, "pending").await;
    whole.state(&behind, "pending").await;
    within(BACK, "the update behind the poison is applied", || async {
        let stats = whole.operator.get("/api/account/stats").await.unwrap();
        stack::client::cents(&stats["account"]["equity"]) == 1_010_000
    })
    .await;
    let mut db = whole.sandbox.database().await.unwrap();
    for (table, dead) in [("signal_dead_letters", dead_signals), ("account_update_dead_letters", dead_updates)] {
        let statement = format!("select reason, body from {table}");
        let kept: Vec<(String, Vec<u8>)> =
            sqlx::query_as(sqlx::AssertSqlSafe(statement)).fetch_all(&mut db).await.unwrap();
        assert_eq!(kept.len(), dead.len(), "{table}: {:?}", kept.iter().map(|(reason, _)| reason).collect::<Vec<_>>());
        for body in dead {
            let reason = kept.iter().find(|(_, kept)| *kept == body).map(|(reason, _)| reason.as_str());
            assert!(reason.is_some_and(|reason| !reason.is_empty()), "not kept as it came: {body:?}");
        }
    }
    drop(db);
    let Whole { sandbox, platform, .. } = whole;
    assert!(platform.stop().await);
    broker.assert_empty([signals, updates]).await;
    broker.close().await;
    sandbox.remove().await.unwrap();
}

/// Goal: whatever content is accepted over HTTP can be stored; what cannot be is refused there, not accepted and lost.
#[tokio::test]
async fn no_content_is_accepted_that_cannot_be_stored() {
    let whole = Whole::start(&[]).await;
    let base = r#"{"symbol": "EURUSD", "action": "BUY", "volume": 0.01"#;
    let mut accepted = Vec::new();
    for more in [
        r#""note": "\u0000""#,
        r#""\u0000": 1"#,
        r#""note": {"deep": ["\u0000"]}"#,
        r#""note": 1e200000"#,
        r#""note": 1e-200000"#,
        r#""note": 123456789012345678901234567890.123456789012345678901234567890"#,
        r#""note": "\ud83d\ude00""#,
        r#""comment": "\u0000""#,
        r#""comment": "größer""#,
        r#""signal_id": "\u0000""#,
        r#""signal_id": 1e200000"#,
        r#""account": "\u0000""#,
        r#""ttl_seconds": 86400"#,
        r#""expires_at": "9999-12-31T23:59:59Z""#,
        r#""expires_at": "0000-01-01T00:00:00Z""#,
        r#""order_expires_at": "9999-12-31T23:59:59Z""#,
        r#""order_expires_at": "0000-01-01T00:00:00Z""#,
        r#""order_expires_at": "-9999-01-01T00:00:00Z""#,
        r#""ticket": 9223372036854775807"#,
        r#""max_slippage_points": -2147483648"#,
        r#""entry": 0.0000000001"#,
        r#""entry": 99999999999999999999.9999999999"#,
        r#""sl": 0.00000000000000000001"#,
    ] {
        let body: Value = serde_json::from_str(&format!("{base}, {more}}}")).unwrap();
        let (status, answer, _) = ask(&whole.operator, Method::POST, "/api/signal", Some(body)).await;
        assert!([200, 400, 422].contains(&status), "{more}: {status} {answer}");
        println!("{status} {more}");
        if status == 200 {
            accepted.push((more, answer["signal_id"].as_str().unwrap().to_owned()));
        }
    }
    for (more, signal_id) in accepted {
        support::eventually(&format!("{more} is stored"), || async {
            whole.operator.signal(&signal_id).await.expect("an answer")
        })
        .await;
    }
    whole.finish().await;
}

/// Goal: a message that no queue is bound for is parked, not lost, and disturbs nobody.
#[tokio::test]
async fn a_message_with_a_wrong_routing_key_is_parked() {
    let whole = Whole::start(&[]).await;
    let broker = Broker::connect(&whole.sandbox.settings.amqp_url).await;
    for stream in [whole.sandbox.signals(), whole.sandbox.account_updates()] {
        broker.publish(&stream.name, "nowhere", b"lost?").await;
        within(BACK, "it is parked", || async { broker.ready_messages(&stream.parked).await == 1 }).await;
    }
    let signal_id = whole.post(signal("EURUSD")).await;
    whole.state(&signal_id, "pending").await;
    broker.close().await;
    whole.finish().await;
}
