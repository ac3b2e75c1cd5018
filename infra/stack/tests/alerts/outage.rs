//! Alerts of an outage: people are told of the cause, and not of all that follows from it.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use stack::sandbox::Sandbox;
use stack::servers::Servers;

use super::watch::Watch;
use crate::private::Scratch;

/// What follows from the loss of RabbitMQ, and is seen here.
const CONSEQUENCES: [&str; 2] = ["ApiErrors", "NotConsuming"];

/// Goal: RabbitMQ goes away and comes back: people hear of that, twice, and of nothing else, though what follows fires,
/// and goes on to fire for a while after it is back.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_lost_broker_people_are_told_and_not_of_what_follows() {
    let scratch = Scratch::new();
    let servers = Servers::start(&scratch.data()).await.unwrap();
    let sandbox = Sandbox::create(&servers.database_url, &servers.amqp_url, &[]).await.unwrap();
    let platform = sandbox.start().await.unwrap();
    let watch = Watch::start(
        &scratch.root,
        &platform.metrics,
        &[
            ("BrokerDown", "for: 30s", "for: 2s", 1),
            ("NotConsuming", "for: 1m", "for: 4s", 1),
            ("ApiErrors", "for: 1m", "for: 4s", 1),
            ("ApiErrors", "[5m]", "[10s]", 2),
            ("Outage", "[6m]", "[15s]", 1),
        ],
    )
    .await;
    let generator = sandbox.operator(&platform).unwrap();
    let posts = async {
        loop {
            // Of an account that there is not: none waits for a terminal, and alerts by that.
            let signal = json!({"symbol": "EURUSD", "action": "BUY", "volume": 0.01, "account": "nobody"});
            generator.send(Method::POST, "/api/signal", Some(&signal)).await.expect("an answer");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let story = async {
        let lost = Instant::now();
        servers.stop_rabbit().await.unwrap();
        let message = watch.arrives("BrokerDown", "firing", lost).await;
        assert_eq!(message["groupLabels"], json!({"alertname": "BrokerDown"}), "one message for all parts");
        watch.holds_back(&CONSEQUENCES).await;
        let back = Instant::now();
        servers.start_rabbit().await.unwrap();
        watch.arrives("BrokerDown", "resolved", back).await;
        watch.ends(&CONSEQUENCES).await;
        watch.beats_twice().await;
    };
    tokio::select! {
        () = posts => unreachable!("it posts for ever"),
        () = story => {}
    }
    assert_eq!(watch.told().into_iter().collect::<Vec<_>>(), ["BrokerDown"]);
    watch.stop().await;
    assert!(platform.stop().await, "a task failed");
    servers.stop().await.unwrap();
}
