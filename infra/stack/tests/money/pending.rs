//! Movements that wait for a price: seen while they wait, priced by what is received after them, or taken back.

use reqwest::Method;
use serde_json::{Value, json};
use stack::client::cents;
use time::Duration;

use super::broker::Broker;
use super::steps::{Part, five, id, open};
use crate::support::Whole;

/// `A` with 1,000.00 that an open position has made 1,100.00 of.
async fn with_open_position() -> Whole {
    let whole = Whole::start(&[]).await;
    whole.member("A", 100_000).await;
    assert_eq!(whole.update(open(100_000, 10_000)).await, "applied");
    whole.assert_parts(&[("A", 110_000, 10_000)]).await;
    whole
}

/// Goal: while a position is open a movement waits, visibly everywhere, and moves nothing; the next report's price is
/// its price.
#[tokio::test]
async fn movements_wait_visibly_and_are_priced_by_the_next_report() {
    let whole = with_open_position().await;
    whole.member("B", 0).await;
    let deposit = whole.invest("B", 50_000).await;
    let withdrawal = whole.withdraw("A", Some(30_000)).await;
    for movement in [&deposit, &withdrawal] {
        assert_eq!(
            (&movement["status"], &movement["ended_at"], &movement["units"]),
            (&json!("pending"), &Value::Null, &Value::Null),
            "{movement}"
        );
    }
    assert_eq!((cents(&deposit["total"]), cents(&withdrawal["total"])), (50_000, 100_000));
    whole.assert_parts(&[("A", 110_000, 10_000), ("B", 0, 0)]).await;
    let (a, b) = (whole.stats("A").await, whole.stats("B").await);
    let account = whole.account().await;
    for (stats, pending, withdrawals) in [(&a, 0, 30_000), (&b, 50_000, 0), (&account, 50_000, 30_000)] {
        assert_eq!((cents(&stats["pending"]), cents(&stats["pending_withdrawals"])), (pending, withdrawals), "{stats}");
    }
    assert_eq!(cents(&b["accounts"][0]["pending"]), 50_000);
    for (user, asked, kind) in [("A", &withdrawal, "withdrawal"), ("B", &deposit, "deposit")] {
        let listed = whole.movement(user, id(asked)).await;
        assert_eq!(
            (&listed["status"], &listed["kind"], &listed["amount"]),
            (&json!("pending"), &json!(kind), &asked["amount"])
        );
    }

    assert_eq!(whole.update(open(100_000, 20_000)).await, "applied");
    whole.assert_parts(&[("A", 90_000, 20_000), ("B", 50_000, 0)]).await;
    for (user, asked) in [("A", &withdrawal), ("B", &deposit)] {
        let listed = whole.movement(user, id(asked)).await;
        assert_eq!(
            (&listed["status"], &listed["amount"], &listed["reason"]),
            (&json!("applied"), &asked["amount"], &Value::Null)
        );
        assert!(listed["ended_at"].is_string() && listed["units"].is_number(), "{listed}");
        let stats = whole.stats(user).await;
        assert_eq!((cents(&stats["pending"]), cents(&stats["pending_withdrawals"])), (0, 0));
    }
    let account = whole.account().await;
    assert_eq!((cents(&account["pending"]), cents(&account["pending_withdrawals"])), (0, 0));
    assert_eq!(cents(&account["pool_equity"]), 140_000);
    // Of 280.00 more, as their parts are: 9 to 5.
    whole.update(open(100_000, 48_000)).await;
    whole.assert_parts(&[("A", 108_000, 38_000), ("B", 60_000, 10_000)]).await;
    whole.finish_clean().await;
}

/// Goal: who asks for all is paid what his part is worth when it is priced, not when he asked.
#[tokio::test]
async fn all_pays_the_value_found_at_pricing() {
    for (level, paid) in [(25_000, 125_000), (-25_000, 75_000)] {
        let whole = with_open_position().await;
        let asked = whole.withdraw("A", None).await;
        assert_eq!((&asked["status"], &asked["amount"]), (&json!("pending"), &Value::Null));
        assert_eq!(cents(&whole.stats("A").await["pending_withdrawals"]), 0, "no amount is known yet");
        whole.update(open(100_000, level)).await;
        let ended = whole.movement("A", id(&asked)).await;
        assert_eq!((&ended["status"], cents(&ended["amount"])), (&json!("applied"), paid));
        assert_eq!(whole.part("A").await, Part { value: 0, profit_loss: level, investment: 0 });
        whole.finish_clean().await;
    }
}

/// Goal: a withdrawal that the price found does not cover ends as refused, with the reason, and moves nothing.
#[tokio::test]
async fn a_withdrawal_above_the_value_found_is_refused() {
    for (level, reason) in [(-20_000, "above_value"), (-130_000, "pool_wiped_out")] {
        let whole = with_open_position().await;
        let asked = whole.withdraw("A", Some(105_000)).await;
        assert_eq!(asked["status"], "pending");
        whole.update(open(100_000, level)).await;
        let ended = whole.movement("A", id(&asked)).await;
        assert_eq!((&ended["status"], &ended["reason"]), (&json!("refused"), &json!(reason)));
        assert_eq!((cents(&ended["amount"]), &ended["units"]), (105_000, &Value::Null));
        let value = (100_000 + level).max(0);
        assert_eq!(whole.part("A").await, Part { value, profit_loss: value - 100_000, investment: 100_000 });
        assert_eq!(cents(&whole.stats("A").await["pending_withdrawals"]), 0);
        // It is over: a better price does not bring it back.
        whole.update(open(100_000, 50_000)).await;
        whole.assert_parts(&[("A", 150_000, 50_000)]).await;
        whole.finish_clean().await;
    }
}

/// Goal: what waits can be taken back, once, by its own id, and then never moves anything; what is priced can't.
#[tokio::test]
async fn a_movement_can_be_cancelled_while_it_waits() {
    let whole = with_open_position().await;
    whole.member("B", 0).await;
    let cancel = |user: &str, movement: &str| format!("/api/users/{user}/movements/{movement}/cancel");
    let (deposit, withdrawal) = (whole.invest("B", 50_000).await, whole.withdraw("A", None).await);
    let stays = whole.invest("B", 1_000).await;
    let money = whole.money().await;
    let nobodys = uuid::Uuid::now_v7().to_string();
    for (user, movement, refusal) in [
        ("A", nobodys.as_str(), (404, "not_found")),
        ("A", id(&deposit), (404, "not_found")),
        ("nobody", id(&deposit), (404, "not_found")),
        ("A", "1", (422, "invalid_path")),
    ] {
        let (status, code) = whole.refused(Method::POST, &cancel(user, movement), Value::Null).await;
        assert_eq!((status, code.as_str()), refusal, "{user} {movement}");
    }
    assert_eq!(whole.money().await, money);
    for (user, movement) in [("B", &deposit), ("A", &withdrawal)] {
        let (status, answer) = whole.ask(Method::POST, &cancel(user, id(movement)), Value::Null).await;
        assert_eq!((status, &answer["status"]), (200, &json!("cancelled")), "{answer}");
        assert!(answer["ended_at"].is_string());
        let refusal = whole.refused(Method::POST, &cancel(user, id(movement)), Value::Null).await;
        assert_eq!(refusal, (409, "not_pending".to_owned()));
    }
    assert_eq!(cents(&whole.account().await["pending"]), 1_000);
    whole.update(open(100_000, 10_000)).await;
    whole.assert_parts(&[("A", 110_000, 10_000), ("B", 1_000, 0)]).await;
    for (user, movement, status) in
        [("B", &deposit, "cancelled"), ("A", &withdrawal, "cancelled"), ("B", &stays, "applied")]
    {
        assert_eq!(whole.movement(user, id(movement)).await["status"], status);
        let refusal = whole.refused(Method::POST, &cancel(user, id(movement)), Value::Null).await;
        assert_eq!(refusal, (409, "not_pending".to_owned()));
    }
    let told = "audit_log where service = 'distributor' and entry::json ->> 'event' = 'movement.cancelled'";
    assert_eq!(whole.count(told).await, 2);
    whole.finish_clean().await;
}

/// Goal: nobody can ask for more than is left to him by what waits already; after "all" there is nothing left to ask for.
#[tokio::test]
async fn withdrawals_that_wait_limit_the_next_one() {
    let whole = with_open_position().await;
    let refused = async |body: Value, most: &str| {
        let (status, problem) = whole.ask(Method::POST, "/api/users/A/withdraw", body.clone()).await;
        assert_eq!((status, &problem["code"]), (409, &json!("above_value")), "{body}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(&format!("at most {most} ")), "{problem}");
    };
    whole.withdraw("A", Some(60_000)).await;
    refused(json!({"amount": "500.01"}), "500.00").await;
    whole.withdraw("A", Some(20_000)).await;
    refused(json!({"amount": 300.01}), "300.00").await;
    // A deposit that waits is nobody's to withdraw yet.
    assert_eq!(whole.invest("A", 100_000).await["status"], "pending");
    refused(json!({"amount": 300.01}), "300.00").await;
    let rest = whole.withdraw("A", None).await;
    for body in [json!({"amount": 0.01}), json!({"all": true})] {
        refused(body, "0.00").await;
    }
    whole.update(open(100_000, 20_000)).await;
    // 1,200.00 less 800.00, with the 1,000.00 that came before "all".
    assert_eq!(cents(&whole.movement("A", id(&rest)).await["amount"]), 140_000);
    assert_eq!(whole.part("A").await, Part { value: 0, profit_loss: 20_000, investment: 0 });
    whole.finish_clean().await;
}

/// Goal: what was received before a movement was recorded does not price it, though it arrives later; and who comes after
/// one that waits waits too, so that all are priced in the order they came.
#[tokio::test]
async fn only_what_is_received_afterwards_prices_a_movement() {
    let whole = with_open_position().await;
    let broker = Broker::connect(&whole.sandbox).await;
    let before = whole.sandbox.clock.now();
    whole.member("B", 0).await;
    let first = whole.invest("B", 50_000).await;
    // Nothing is open any more, but that was known before the deposit.
    assert_eq!(broker.report(&whole, before, &five(130_000, 30_000)).await, "applied");
    whole.assert_parts(&[("A", 130_000, 30_000), ("B", 0, 0)]).await;
    let second = whole.withdraw("A", Some(10_000)).await;
    for (user, movement) in [("B", &first), ("A", &second)] {
        assert_eq!(whole.movement(user, id(movement)).await["status"], "pending");
    }
    whole.update(five(130_000, 30_000)).await;
    whole.assert_parts(&[("A", 120_000, 30_000), ("B", 50_000, 0)]).await;
    assert_eq!(
        whole
            .text("select string_agg(kind, ' ' order by version) from pool_history where movement_id is not null")
            .await,
        "deposit deposit withdrawal"
    );
    broker.close().await;
    whole.finish_clean().await;
}

/// Goal: the same where the dispatcher's clock is ahead: a report that it had received before the movement was recorded, and
/// that arrives afterwards, looks later and does not price it all the same.
#[tokio::test]
async fn a_clock_that_is_ahead_prices_nothing_by_what_was_known_before() {
    let whole = with_open_position().await;
    let broker = Broker::connect(&whole.sandbox).await;
    whole.member("B", 0).await;
    let received_at = whole.sandbox.clock.now() + Duration::seconds(30);
    let mut db = whole.sandbox.database().await.unwrap();
    sqlx::query("update account_reports set received_at = $1").bind(received_at).execute(&mut db).await.unwrap();
    let movement = whole.invest("B", 50_000).await;
    assert_eq!(broker.report(&whole, received_at, &five(130_000, 30_000)).await, "applied");
    assert_eq!(whole.movement("B", id(&movement)).await["status"], "pending");
    let next = received_at + Duration::milliseconds(1);
    assert_eq!(broker.report(&whole, next, &five(130_000, 30_000)).await, "applied");
    assert_eq!(whole.movement("B", id(&movement)).await["status"], "applied");
    whole.assert_parts(&[("A", 130_000, 30_000), ("B", 50_000, 0)]).await;
    broker.close().await;
    whole.finish_clean().await;
}

/// Goal: a report that is too old gives no price, though it showed nothing open.
#[tokio::test]
async fn an_old_price_is_no_price() {
    let whole = Whole::start(&[]).await;
    whole.member("A", 100_000).await;
    whole.update(five(100_000, 0)).await;
    assert_eq!(whole.invest("A", 10_000).await["status"], "applied");
    whole.sandbox.clock.advance(Duration::seconds(61));
    assert_eq!(whole.invest("A", 20_000).await["status"], "pending");
    assert_eq!(whole.withdraw("A", Some(5_000)).await["status"], "pending");
    whole.update(five(100_000, 11_000)).await;
    whole.assert_parts(&[("A", 136_000, 11_000)]).await;
    assert_eq!(whole.invest("A", 1_000).await["status"], "applied", "fresh again");
    whole.finish_clean().await;
}
