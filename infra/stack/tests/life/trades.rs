//! What reports make of the account's trades: each deal counts once, in whichever report it comes.

use serde_json::{Value, json};

use super::steps::{id, ids, of};
use crate::support::Whole;

/// The fields that tell a trade's life.
fn life(trade: &Value) -> Value {
    json!([trade["ticket"], trade["status"], trade["volume"], trade["closed_volume"], trade["profit"]])
}

impl Whole {
    /// Opens a position through a signal; the claim.
    async fn opened(&self, symbol: &str, ticket: i64, volume: &str) -> Value {
        let claimed = self.claimed(symbol).await;
        let fill = json!({"ticket": ticket, "order": ticket, "deal": ticket + 1, "volume": volume, "price": 1.1});
        self.confirm(of(&claimed, &fill)).await;
        claimed
    }

    async fn lives(&self) -> Value {
        self.trades().await.iter().map(life).collect()
    }
}

/// Goal: a position closed in two parts, by a signal and by its stop, adds up; a deal that is reported again, in other
/// words or by somebody else, does not count again.
#[tokio::test]
async fn a_position_closed_in_parts_counts_each_deal_once() {
    let whole = Whole::start(&[]).await;
    let opened = whole.opened("EURUSD", 100, "0.3").await;
    assert_eq!(whole.lives().await, json!([[100, "open", 0.3, 0, 0]]));
    whole.stored(json!({"symbol": "EURUSD", "action": "CLOSE", "volume": 0.1})).await;
    let close = whole.poll("T").await.remove(0);
    assert_eq!((&close["action"], &close["volume"]), (&json!("CLOSE"), &json!(0.1)));
    let part = json!({"ticket": 100, "deal": 102, "volume": 0.1, "close_price": 1.2, "profit": "10.50"});
    whole.confirm(of(&close, &json!({"results": [part]}))).await;
    assert_eq!(whole.state(id(&close), "executed").await["state"], "executed");
    assert_eq!(whole.lives().await, json!([[100, "open", 0.3, 0.1, 10.5]]));
    let stop = json!({"id": opened["id"], "status": "closed", "position": 100, "deal": 103, "volume": 0.2,
        "close_price": 1.0, "profit": -2.25, "message": "stop loss"});
    for more in [json!({}), json!({}), json!({"message": "again"}), json!({"terminal": "U", "order": 105})] {
        let mut report = stop.clone();
        for (name, value) in more.as_object().unwrap() {
            report[name] = value.clone();
        }
        whole.confirm(report).await;
        assert_eq!(whole.lives().await, json!([[100, "closed", 0.3, 0.3, 8.25]]));
    }
    let trade = whole.trades().await.remove(0);
    assert_eq!((&trade["signal_id"], &trade["close_price"]), (&opened["signal_id"], &json!(1)));
    assert_eq!(whole.count("deals").await, 3);
    assert_eq!(whole.now(&opened).await["state"], "executed");
    whole.finish().await;
}

/// Goal: one closing of everything ends all its positions, with the results of each.
#[tokio::test]
async fn closing_all_ends_each_position_with_its_own_result() {
    let whole = Whole::start(&[]).await;
    whole.opened("EURUSD", 100, "0.1").await;
    whole.opened("GBPUSD", 200, "0.2").await;
    let close_all = whole.stored(json!({"action": "CLOSE_ALL"})).await;
    let claimed = whole.poll("T").await;
    assert_eq!(ids(&claimed), [id(&close_all)]);
    let results = json!([
        {"ticket": 100, "deal": 102, "symbol": "EURUSD", "volume": 0.1, "close_price": 1.2, "profit": 100, "retcode": 10_009},
        {"ticket": 200, "deal": 202, "symbol": "GBPUSD", "volume": 0.2, "close_price": 1.0, "profit": -30, "retcode": 10_009},
    ]);
    let report = of(&claimed[0], &json!({"results": results}));
    for _ in 0..2 {
        let answer = whole.confirm(report.clone()).await;
        assert_eq!((&answer["state"], &answer["anomaly"]), (&json!("executed"), &json!(null)));
        assert_eq!(whole.lives().await, json!([[100, "closed", 0.1, 0.1, 100], [200, "closed", 0.2, 0.2, -30]]));
    }
    whole.finish().await;
}

/// Goal: a resting order is its signal's end; it becomes a position when it is filled and a closed trade at last, also
/// where the position has a number of its own.
#[tokio::test]
async fn a_resting_order_is_filled_and_closed() {
    let whole = Whole::start(&[]).await;
    for (order, position) in [(100, 100), (200, 210)] {
        let body = json!({"symbol": "EURUSD", "action": "BUY", "order_type": "limit", "entry": 1.05, "volume": 0.1});
        let stored = whole.stored(body).await;
        let claimed = whole.poll("T").await.remove(0);
        assert_eq!((&claimed["order_type"], &claimed["entry"]), (&json!("limit"), &json!(1.05)));
        let placed =
            of(&claimed, &json!({"status": "placed", "ticket": order, "order": order, "volume": 0.1, "price": 1.05}));
        whole.confirm(placed.clone()).await;
        whole.state(id(&stored), "executed").await;
        let trade = |status: &str, ticket: i64, closed: f64, profit: i64| json!([ticket, status, 0.1, closed, profit]);
        let last = async || life(whole.trades().await.last().unwrap());
        assert_eq!(last().await, json!([order, "placed", 0.1, 0, 0]));
        let filled =
            of(&claimed, &json!({"ticket": position, "order": order, "deal": order + 1, "volume": 0.1, "price": 1.05}));
        let late = of(&placed, &json!({"retcode": 10_008, "message": "found by a look-up"}));
        for report in [filled.clone(), filled, late] {
            let answer = whole.confirm(report).await;
            assert_eq!(answer["anomaly"], json!(null), "{answer}");
            assert_eq!(last().await, json!([position, "open", 0.1, 0, 0]));
        }
        let closed = json!({"id": claimed["id"], "status": "closed", "ticket": position, "deal": order + 2, "volume": 0.1,
            "close_price": 1.1, "profit": 5});
        whole.confirm(closed).await;
        assert_eq!(last().await, trade("closed", position, 0.1, 5));
    }
    assert_eq!(whole.trades().await.len(), 2);
    whole.finish().await;
}

/// Goal: a resting order that is deleted, by itself or by a closing, ends as cancelled and without profit.
#[tokio::test]
async fn a_deleted_resting_order_is_cancelled() {
    let whole = Whole::start(&[]).await;
    let place = async |symbol: &str, ticket: i64| {
        whole
            .stored(json!({"symbol": symbol, "action": "SELL", "order_type": "stop", "entry": 1.05, "volume": 0.1}))
            .await;
        let claimed = whole.poll("T").await.remove(0);
        whole.confirm(of(&claimed, &json!({"status": "placed", "order": ticket, "volume": 0.1, "price": 1.05}))).await;
        claimed
    };
    let first = place("EURUSD", 100).await;
    place("GBPUSD", 200).await;
    let deleted = json!({"id": first["id"], "status": "closed", "ticket": 100, "order": 100, "symbol": "EURUSD",
        "action": "CLOSE", "volume": 0, "message": "order deleted"});
    whole.confirm(deleted).await;
    whole.stored(json!({"symbol": "GBPUSD", "action": "CLOSE"})).await;
    let close = whole.poll("T").await.remove(0);
    let results =
        json!([{"ticket": 200, "symbol": "GBPUSD", "volume": 0.1, "retcode": 10_009, "message": "order deleted"}]);
    whole.confirm(of(&close, &json!({"results": results}))).await;
    assert_eq!(whole.lives().await, json!([[100, "cancelled", 0.1, 0, 0], [200, "cancelled", 0.1, 0, 0]]));
    whole.finish().await;
}

/// Goal: reports of one position may come in any order, after a crash for example: the closing before the opening too.
#[tokio::test]
async fn a_closing_that_is_reported_before_the_opening_counts_the_same() {
    let whole = Whole::start(&[]).await;
    let claimed = whole.claimed("EURUSD").await;
    let closed = json!({"id": claimed["id"], "status": "closed", "ticket": 100, "deal": 102, "symbol": "EURUSD",
        "volume": 0.1, "close_price": 1.2, "profit": 100});
    let answer = whole.confirm(closed).await;
    assert_eq!(answer["state"], "executed", "what was closed had been opened");
    let opened = of(&claimed, &json!({"ticket": 100, "order": 100, "deal": 101, "volume": 0.1, "price": 1.1}));
    let answer = whole.confirm(opened).await;
    assert_eq!(answer["anomaly"], json!(null));
    assert_eq!(whole.lives().await, json!([[100, "closed", 0.1, 0.1, 100]]));
    let trade = whole.trades().await.remove(0);
    assert_eq!((&trade["signal_id"], &trade["open_price"]), (&claimed["signal_id"], &json!(1.1)));
    whole.finish().await;
}

/// Goal: every deal of a position counts although its opening was never reported, as after a crash; the signal that opened
/// it is known from the report, and the opening that is found later completes the record.
#[tokio::test]
async fn closings_of_a_position_whose_opening_was_not_reported_add_up() {
    let whole = Whole::start(&[]).await;
    let claimed = whole.claimed("EURUSD").await;
    let closed = |deal: i64, volume: f64, profit: i64| {
        json!({"id": claimed["id"], "status": "closed", "ticket": 100, "deal": deal, "symbol": "EURUSD",
            "volume": volume, "close_price": 1.2, "profit": profit})
    };
    whole.confirm(closed(102, 0.02, 10)).await;
    whole.confirm(closed(103, 0.05, 20)).await;
    assert_eq!(whole.lives().await, json!([[100, "closed", 0.07, 0.07, 30]]));
    let trade = whole.trades().await.remove(0);
    assert_eq!((&trade["signal_id"], &trade["action"]), (&claimed["signal_id"], &json!("BUY")));
    let opened = of(&claimed, &json!({"ticket": 100, "deal": 101, "volume": 0.1, "price": 1.1}));
    whole.confirm(opened).await;
    assert_eq!(whole.lives().await, json!([[100, "open", 0.1, 0.07, 30]]));
    whole.confirm(closed(104, 0.03, -5)).await;
    assert_eq!(whole.lives().await, json!([[100, "closed", 0.1, 0.1, 25]]));
    whole.finish().await;
}

/// Goal: a resting order that was filled and closed before anything was said of the fill is a closed trade with its
/// profit, not a deleted order.
#[tokio::test]
async fn a_resting_order_whose_fill_was_not_reported_is_closed_with_its_profit() {
    let whole = Whole::start(&[]).await;
    let body = json!({"symbol": "EURUSD", "action": "BUY", "order_type": "limit", "entry": 1.05, "volume": 0.1});
    whole.stored(body).await;
    let claimed = whole.poll("T").await.remove(0);
    let placed = json!({"status": "placed", "ticket": 100, "order": 100, "volume": 0.1, "price": 1.05});
    whole.confirm(of(&claimed, &placed)).await;
    let closed = json!({"id": claimed["id"], "status": "closed", "ticket": 100, "deal": 102, "volume": 0.1,
        "close_price": 1.1, "profit": 50});
    whole.confirm(closed).await;
    assert_eq!(whole.lives().await, json!([[100, "closed", 0.1, 0.1, 50]]));
    let filled = of(&claimed, &json!({"ticket": 100, "order": 100, "deal": 101, "volume": 0.1, "price": 1.05}));
    let answer = whole.confirm(filled).await;
    assert_eq!(answer["anomaly"], json!(null));
    assert_eq!(whole.lives().await, json!([[100, "closed", 0.1, 0.1, 50]]));
    whole.finish().await;
}

/// Goal: the same where the position has a number of its own, so that its closing could not be told to be the order's: the
/// fill makes one trade of both, and the terminal's report is taken.
#[tokio::test]
async fn a_position_that_closed_before_its_orders_fill_was_reported_is_one_trade() {
    let whole = Whole::start(&[]).await;
    let body = json!({"symbol": "EURUSD", "action": "BUY", "order_type": "limit", "entry": 1.05, "volume": 0.3});
    whole.stored(body).await;
    let claimed = whole.poll("T").await.remove(0);
    let placed =
        json!({"status": "placed", "ticket": 100, "order": 100, "volume": 0.3, "price": 1.05, "execution_ms": 7});
    whole.confirm(of(&claimed, &placed)).await;
    let closed = json!({"id": claimed["id"], "status": "closed", "ticket": 110, "deal": 112, "volume": 0.1,
        "close_price": 1.1, "profit": 50});
    whole.confirm(closed).await;
    assert_eq!(whole.lives().await, json!([[100, "placed", 0.3, 0, 0], [110, "closed", 0.1, 0.1, 50]]));
    let filled =
        of(&claimed, &json!({"ticket": 110, "order": 100, "deal": 101, "volume": 0.3, "price": 1.05, "profit": -2}));
    for _ in 0..2 {
        assert_eq!(whole.confirm(filled.clone()).await["anomaly"], json!(null));
        assert_eq!(whole.lives().await, json!([[110, "open", 0.3, 0.1, 48]]));
    }
    let trade = whole.trades().await.remove(0);
    assert_eq!((&trade["signal_id"], &trade["execution_ms"]), (&claimed["signal_id"], &json!(7)));
    let closed = json!({"id": claimed["id"], "status": "closed", "ticket": 110, "deal": 113, "volume": 0.2,
        "close_price": 1.0, "profit": -20});
    whole.confirm(closed).await;
    assert_eq!(whole.lives().await, json!([[110, "closed", 0.3, 0.3, 28]]));
    whole.finish().await;
}

/// Goal: a fill reported without its deal and found again with it is one fill.
#[tokio::test]
async fn a_fill_that_is_found_again_with_its_deal_counts_once() {
    let whole = Whole::start(&[]).await;
    let claimed = whole.claimed("EURUSD").await;
    whole.confirm(of(&claimed, &json!({"ticket": 100, "volume": 0.1, "price": 1.1}))).await;
    whole.confirm(of(&claimed, &json!({"ticket": 100, "deal": 101, "volume": 0.1, "price": 1.1}))).await;
    assert_eq!(whole.lives().await, json!([[100, "open", 0.1, 0, 0]]));
    whole.finish().await;
}

/// Goal: an order filled in two deals is one trade of both volumes; a partial fill is one of what was filled.
#[tokio::test]
async fn an_order_filled_in_two_deals_is_one_trade() {
    let whole = Whole::start(&[]).await;
    let claimed = whole.claimed("EURUSD").await;
    for deal in [101, 102, 102] {
        let report = of(&claimed, &json!({"ticket": 100, "deal": deal, "volume": 0.04, "price": 1.1}));
        let answer = whole.confirm(report).await;
        assert_eq!(answer["anomaly"], json!(null));
    }
    assert_eq!(whole.lives().await, json!([[100, "open", 0.08, 0, 0]]));
    whole.finish().await;
}

/// Goal: the same deal number in another account is another deal.
#[tokio::test]
async fn two_accounts_may_have_the_same_numbers() {
    let whole = Whole::start(&["second"]).await;
    let second = whole.operator.with_key(&whole.sandbox.terminals["second"]);
    whole.opened("EURUSD", 100, "0.1").await;
    let by_hand = json!({"ticket": 100, "deal": 101, "symbol": "EURUSD", "action": "BUY", "volume": 0.5, "price": 1.1});
    second.post("/api/trades/confirm", &by_hand).await.unwrap();
    assert_eq!(whole.lives().await, json!([[100, "open", 0.1, 0, 0], [100, "open", 0.5, 0, 0]]));
    whole.finish().await;
}

/// Goal: a deletion that the broker refused ends nothing, and an order that was believed deleted and is filled after all is
/// an open position: a report with a ticket is never refused.
#[tokio::test]
async fn a_resting_order_ends_only_where_the_broker_says_so() {
    let whole = Whole::start(&[]).await;
    let limit = json!({"symbol": "EURUSD", "action": "BUY", "order_type": "limit", "entry": 1.05, "volume": 0.1});
    whole.stored(limit).await;
    let placed = whole.poll("T").await.remove(0);
    let resting = json!({"status": "placed", "ticket": 300, "order": 300, "volume": 0.1, "price": 1.05});
    whole.confirm(of(&placed, &resting)).await;
    for (code, status) in [(10018, "placed"), (10009, "cancelled")] {
        whole.stored(json!({"action": "CLOSE_ALL"})).await;
        let close = whole.poll("T").await.remove(0);
        let part = json!({"ticket": 300, "volume": 0, "retcode": code, "message": "as the broker said"});
        whole.confirm(of(&close, &json!({"retcode": code, "results": [part]}))).await;
        assert_eq!(whole.trades().await[0]["status"], status);
    }
    let fill = json!({"id": placed["id"], "ticket": 300, "order": 300, "deal": 301, "volume": 0.1, "price": 1.05});
    whole.confirm(fill).await;
    assert_eq!(whole.lives().await, json!([[300, "open", 0.1, 0, 0]]));
    whole.finish().await;
}
