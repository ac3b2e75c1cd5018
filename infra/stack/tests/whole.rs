//! The thin whole: one signal from its POST to the members' shares.

mod support;

use serde_json::json;
use stack::client::cents;
use support::{Whole, eventually};

/// Goal: what is accepted reaches the terminal once, its confirmation ends the signal, and the account's profit
/// reaches the members to the cent.
#[tokio::test]
async fn a_signal_goes_from_its_post_to_a_members_share() {
    let whole = Whole::start(&[]).await;
    whole.report("10000", "10000").await;
    for (user, amount) in [("anna", 3_000), ("ben", 7_000)] {
        let body = json!({"user_id": user, "email": "a@example.org", "investment": amount});
        let created = whole.operator.post("/api/users", &body).await.unwrap();
        assert_eq!(created["user_id"], user);
    }
    let signal_id = whole.post(json!({"symbol": "EURUSD", "action": "BUY", "volume": 0.1})).await;
    whole.state(&signal_id, "pending").await;
    let handed_out = whole.poll("T").await;
    assert_eq!(handed_out.len(), 1);
    assert_eq!(handed_out[0]["signal_id"], signal_id.as_str());
    assert!(whole.poll("T").await.is_empty(), "handed out once");
    let id = &handed_out[0]["id"];
    whole.confirm(json!({"id": id, "attempt": 1, "ticket": 77, "volume": 0.1, "price": 1.1, "terminal": "T"})).await;
    let signal = whole.state(&signal_id, "executed").await;
    assert_eq!(signal["events"].as_array().unwrap().len(), 3);
    let trades = whole.operator.get("/api/trades").await.unwrap();
    assert_eq!(trades[0]["ticket"], 77);
    whole.report("10500", "10000").await;
    for (user, profit) in [("anna", 15_000), ("ben", 35_000)] {
        eventually("the profit reaches the member", || async {
            let stats = whole.operator.get(&format!("/api/users/{user}/stats")).await.unwrap();
            (cents(&stats["profit_loss"]) == profit).then_some(())
        })
        .await;
    }
    whole.finish().await;
}
