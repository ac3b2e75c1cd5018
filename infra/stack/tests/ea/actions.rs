//! Each action, from the signal to the broker's books and back into the platform's.

use rust_decimal::Decimal;
use serde_json::{Value, json};
use stack::client::decimal;
use stack::market::{OrderType, Request, Side};

use super::desk::Desk;
use crate::support::{Whole, eventually};

fn lots(text: &str) -> Decimal {
    text.parse().unwrap()
}

/// Goal: BUY and SELL open one position each, with the signal's magic number, stops and volume, and are confirmed with
/// the broker's own figures.
#[tokio::test]
async fn market_orders_are_executed_and_confirmed_with_the_brokers_figures() {
    let whole = Whole::start(&[]).await;
    let desk = Desk::open().await;
    let ea = desk.trade(&whole);
    let body = json!({"symbol": "EURUSD", "action": "BUY", "volume": 0.3, "sl": 1.05, "tp": 1.2, "comment": "f\u{fc}r \"alle\""});
    let bought = whole.executed(body).await;
    let sold = whole.executed(json!({"symbol": "XAUUSD", "action": "SELL", "volume": 0.2})).await;
    let positions = desk.market.lock().unwrap().positions();
    let trades = whole.trades().await;
    for (signal, position, trade, side, volume) in
        [(&bought, &positions[0], &trades[0], Side::Buy, "0.3"), (&sold, &positions[1], &trades[1], Side::Sell, "0.2")]
    {
        assert_eq!((position.side, position.volume), (side, lots(volume)));
        assert_eq!(json!(position.magic % 1_000_000_000_000), signal["id"]);
        assert_eq!((&trade["signal_id"], &trade["ticket"]), (&signal["signal_id"], &json!(position.ticket)));
        assert_eq!((decimal(&trade["open_price"]), decimal(&trade["volume"])), (position.price, position.volume));
        assert_eq!((&trade["status"], &signal["attempt"]), (&json!("open"), &json!(1)));
    }
    assert_eq!((positions[0].sl, positions[0].tp), (lots("1.05"), lots("1.2")));
    ea.stopped().await;
    desk.closed(whole).await;
}

/// Goal: limit and stop orders rest at the broker with their expiry; a later fill becomes the trade's, under the same signal.
#[tokio::test]
async fn resting_orders_are_placed_and_their_fills_told() {
    let whole = Whole::start(&[]).await;
    let desk = Desk::open().await;
    let ea = desk.trade(&whole);
    let at = Desk::now() + time::Duration::hours(5);
    let expiry = at.replace_nanosecond(0).unwrap().format(&time::format_description::well_known::Rfc3339).unwrap();
    let limit = json!({"symbol": "EURUSD", "action": "BUY", "order_type": "limit", "entry": 1.08, "volume": 0.1,
        "sl": 1.07, "order_expires_at": expiry});
    let limit = whole.executed(limit).await;
    let stop = json!({"symbol": "EURUSD", "action": "SELL", "order_type": "stop", "entry": 1.075, "volume": 0.2});
    whole.executed(stop).await;
    {
        let market = desk.market.lock().unwrap();
        let orders: Vec<_> = market.orders().cloned().collect();
        assert_eq!((orders[0].order_type, orders[0].price), (OrderType::BuyLimit, lots("1.08")));
        assert_eq!(orders[0].expiration, Some(at.replace_nanosecond(0).unwrap()));
        assert_eq!(
            (orders[1].order_type, orders[1].price, orders[1].expiration),
            (OrderType::SellStop, lots("1.075"), None)
        );
    }
    assert_eq!(whole.trades().await[0]["status"], "placed");
    desk.price("EURUSD", "1.07980");
    let trade = eventually("the fill is told", || async {
        whole.trades().await.into_iter().find(|trade| trade["status"] == "open")
    })
    .await;
    assert_eq!((&trade["signal_id"], desk.resting(), desk.volumes()), (&limit["signal_id"], 1, vec![lots("0.1")]));
    ea.stopped().await;
    desk.closed(whole).await;
}

/// Goal: CLOSE by ticket and by symbol, whole and in part, closes exactly that, and touches no position that is not ours
/// unless its ticket names it.
#[tokio::test]
async fn closings_close_what_they_name_and_nothing_else() {
    let whole = Whole::start(&[]).await;
    let desk = Desk::open().await;
    let foreign = stack::market::TradeRequest {
        symbol: "EURUSD".to_owned(),
        volume: lots("0.7"),
        filling: stack::market::Filling::Ioc,
        ..Default::default()
    };
    desk.call(Request::OrderSend(foreign));
    let ea = desk.trade(&whole);
    for volume in ["0.1", "0.2", "0.3"] {
        whole.executed(json!({"symbol": "EURUSD", "action": "BUY", "volume": volume})).await;
    }
    whole.executed(json!({"symbol": "GBPUSD", "action": "SELL", "volume": 0.4})).await;
    // 0.1 whole and 0.1 of 0.2, oldest first.
    let part = whole.executed(json!({"symbol": "EURUSD", "action": "CLOSE", "volume": 0.2})).await;
    assert_eq!(desk.volumes(), ["0.7", "0.1", "0.3", "0.4"].map(lots));
    let ticket = desk.market.lock().unwrap().positions()[2].ticket;
    whole.executed(json!({"ticket": ticket, "symbol": "EURUSD", "action": "CLOSE"})).await;
    assert_eq!(desk.volumes(), ["0.7", "0.1", "0.4"].map(lots));
    whole.executed(json!({"symbol": "EURUSD", "action": "CLOSE"})).await;
    assert_eq!(desk.volumes(), ["0.7", "0.4"].map(lots));
    let nothing = whole.failed(json!({"symbol": "EURUSD", "action": "CLOSE"})).await;
    assert!(nothing["message"].as_str().unwrap().contains("nothing to close"), "{nothing}");
    let trades = whole.trades().await;
    let lives: Vec<Value> =
        trades.iter().map(|one| json!([one["status"], one["volume"], one["closed_volume"]])).collect();
    let expected = json!([["closed", 0.1, 0.1], ["closed", 0.2, 0.2], ["closed", 0.3, 0.3], ["open", 0.4, 0]]);
    assert_eq!(json!(lives), expected);
    let profit: Decimal = trades.iter().map(|trade| decimal(&trade["profit"])).sum();
    assert_eq!(profit, desk.market.lock().unwrap().account().balance - Decimal::from(10_000));
    assert_eq!(part["state"], "executed");
    let ticket = desk.market.lock().unwrap().positions()[0].ticket;
    whole.executed(json!({"ticket": ticket, "symbol": "EURUSD", "action": "CLOSE"})).await;
    assert_eq!(desk.volumes(), ["0.4"].map(lots));
    ea.stopped().await;
    desk.closed(whole).await;
}

/// Goal: `CLOSE_ALL` ends every position and every resting order of ours, with one report that accounts for each.
#[tokio::test]
async fn closing_everything_leaves_nothing_of_ours() {
    let whole = Whole::start(&[]).await;
    let desk = Desk::open().await;
    let ea = desk.trade(&whole);
    for symbol in ["EURUSD", "GBPUSD", "USDJPY"] {
        whole.executed(json!({"symbol": symbol, "action": "BUY", "volume": 0.1})).await;
    }
    let resting = json!({"symbol": "EURUSD", "action": "BUY", "order_type": "limit", "entry": 1.05, "volume": 0.1});
    whole.executed(resting).await;
    whole.executed(json!({"action": "CLOSE_ALL"})).await;
    assert_eq!((desk.volumes().len(), desk.resting()), (0, 0));
    let ended = eventually("every trade is told to have ended", || async {
        let trades = whole.trades().await;
        let ended = trades.iter().all(|trade| ["closed", "cancelled"].contains(&trade["status"].as_str().unwrap()));
        ended.then_some(trades)
    })
    .await;
    assert_eq!(ended.len(), 4);
    let again = whole.executed(json!({"action": "CLOSE_ALL"})).await;
    assert_eq!(again["state"], "executed");
    ea.stopped().await;
    desk.closed(whole).await;
}

/// Goal: MODIFY changes the stop that it names and leaves the other as it was, at positions and resting orders.
#[tokio::test]
async fn a_modification_changes_what_it_names_and_leaves_the_rest() {
    let whole = Whole::start(&[]).await;
    let desk = Desk::open().await;
    let ea = desk.trade(&whole);
    whole.executed(json!({"symbol": "EURUSD", "action": "BUY", "volume": 0.1, "sl": 1.05, "tp": 1.2})).await;
    let resting = json!({"symbol": "EURUSD", "action": "BUY", "order_type": "limit", "entry": 1.08, "volume": 0.1,
        "sl": 1.04});
    whole.executed(resting).await;
    whole.executed(json!({"symbol": "EURUSD", "action": "MODIFY", "sl": 1.06})).await;
    let (position, order) = {
        let market = desk.market.lock().unwrap();
        let order = market.orders().next().unwrap().clone();
        (market.positions()[0].clone(), order)
    };
    assert_eq!((position.sl, position.tp), (lots("1.06"), lots("1.2")));
    assert_eq!((order.sl, order.tp, order.price), (lots("1.06"), Decimal::ZERO, lots("1.08")));
    let wrong =
        whole.failed(json!({"symbol": "EURUSD", "action": "MODIFY", "ticket": position.ticket, "sl": 1.3})).await;
    assert!(wrong["message"].as_str().unwrap().contains("10016"), "{wrong}");
    assert_eq!(desk.market.lock().unwrap().positions()[0].sl, lots("1.06"));
    ea.stopped().await;
    desk.closed(whole).await;
}

/// Goal: a signal of so many percent of risk is sized so that the stop costs that much of the equity, and never above the caps.
#[tokio::test]
async fn risk_is_turned_into_lots() {
    let whole = Whole::start(&[]).await;
    let desk = Desk::open().await;
    desk.price("EURUSD", "1.09988");
    let ea = desk.trade(&whole);
    // 1 % of 10,000 is 100; the stop is 100 points of 1 USD per lot away, that is 100 USD per lot.
    whole.executed(json!({"symbol": "EURUSD", "action": "BUY", "risk_percent": 1, "sl": 1.09900})).await;
    assert_eq!(desk.volumes(), [lots("1.00")]);
    let stopless = json!({"symbol": "EURUSD", "action": "BUY", "risk_percent": 1});
    let refused = whole.operator.send(reqwest::Method::POST, "/api/signal", Some(&stopless)).await.unwrap();
    assert_eq!(refused.0, 422);
    ea.stopped().await;
    let capped = desk.start(&whole.platform.url, whole.sandbox.keys.terminal(), &[("InpVolumeMax", "0.05")]);
    whole.executed(json!({"symbol": "EURUSD", "action": "BUY", "risk_percent": 1, "sl": 1.09900})).await;
    assert_eq!(desk.volumes(), [lots("1.00"), lots("0.05")]);
    capped.stopped().await;
    desk.closed(whole).await;
}

/// Goal: what the inputs, the symbol or the price do not allow is refused in words that name the numbers, without an
/// order send; volumes and prices are brought onto the symbol's grid.
#[tokio::test]
async fn what_cannot_be_is_refused_with_the_numbers_and_never_sent() {
    let whole = Whole::start(&[]).await;
    let desk = Desk::open().await;
    desk.price("EURUSD", "1.10000");
    let inputs = [("InpSymbolsAllowed", "EURUSD,GBPUSD,NOTHERE"), ("InpPositionsMax", "2"), ("InpVolumeMax", "0.5")];
    let ea = desk.start(&whole.platform.url, whole.sandbox.keys.terminal(), &inputs);
    let order = |more: Value| {
        let mut body = json!({"symbol": "EURUSD", "action": "BUY", "volume": 0.1});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let cases = [
        (order(json!({"symbol": "XAUUSD"})), "InpSymbolsAllowed does not hold XAUUSD"),
        (order(json!({"symbol": "NOTHERE"})), "the broker has no symbol NOTHERE"),
        (order(json!({"volume": 0.6})), "0.6 lots where 0.5 are allowed"),
        (order(json!({"volume": 0.001})), "0.001 lots where the broker takes at least 0.01"),
        (order(json!({"sl": 1.09999})), "a stop loss at 1.09999 is not possible"),
        (order(json!({"sl": 1.2})), "a stop loss at 1.2 is not possible"),
        (order(json!({"tp": 1.1})), "a take profit at 1.1 is not possible"),
        (order(json!({"order_type": "limit", "entry": 1.2})), "a limit order to BUY can't rest at 1.2"),
        (order(json!({"order_type": "stop", "entry": 1.0})), "a stop order to BUY can't rest at 1"),
        (order(json!({"entry": 1.09, "max_slippage_points": 50})), "points worse than 1.09, 50 are allowed"),
    ];
    for (body, words) in cases {
        let failed = whole.failed(body.clone()).await;
        assert!(failed["message"].as_str().unwrap().contains(words), "{body}: {}", failed["message"]);
    }
    assert_eq!(desk.fills().len() + desk.resting(), 0);
    whole.executed(order(json!({"volume": 0.129, "sl": 1.054_321, "entry": 1.1, "max_slippage_points": 50}))).await;
    let position = desk.market.lock().unwrap().positions()[0].clone();
    assert_eq!((position.volume, position.sl), (lots("0.12"), lots("1.05432")));
    whole.executed(order(json!({}))).await;
    let third = whole.failed(order(json!({}))).await;
    assert!(third["message"].as_str().unwrap().contains("InpPositionsMax allows 2"), "{third}");
    ea.stopped().await;
    desk.closed(whole).await;
}

/// Goal: the broker's names of symbols stay with the broker: the platform keeps its own, both ways, whether the Expert
/// Advisor's inputs map them or the account does.
#[tokio::test]
async fn symbols_have_other_names_at_the_broker() {
    let inputs = [("InpSymbolSuffix", ".r"), ("InpSymbolMap", "XAUUSD=GOLD")];
    for (inputs, map) in [(&inputs[..], json!({})), (&[][..], json!({"EURUSD": "EURUSD.r", "XAUUSD": "GOLD"}))] {
        let whole = Whole::start(&[]).await;
        whole.limit(json!({"symbol_map": map})).await;
        let symbols = ["EURUSD.r", "GOLD"].map(stack::market::SymbolSpec::named).to_vec();
        let config = stack::market::MarketConfig { symbols, ..Default::default() };
        let desk = Desk::with(config, super::desk::program().await);
        let ea = desk.start(&whole.platform.url, whole.sandbox.keys.terminal(), inputs);
        whole.executed(json!({"symbol": "EURUSD", "action": "BUY", "volume": 0.1})).await;
        whole.executed(json!({"symbol": "XAUUSD", "action": "BUY", "volume": 0.1})).await;
        let names: Vec<String> = desk.fills().into_iter().map(|deal| deal.symbol).collect();
        assert_eq!(names, ["EURUSD.r", "GOLD"]);
        whole.executed(json!({"symbol": "XAUUSD", "action": "CLOSE"})).await;
        let trades = whole.trades().await;
        assert_eq!((&trades[0]["symbol"], &trades[1]["symbol"]), (&json!("EURUSD"), &json!("XAUUSD")));
        assert_eq!((&trades[0]["status"], &trades[1]["status"]), (&json!("open"), &json!("closed")));
        ea.stopped().await;
        desk.closed(whole).await;
    }
}

/// Goal: PING goes the whole way and is confirmed, and nothing is traded.
#[tokio::test]
async fn a_ping_is_answered_without_a_trade() {
    let whole = Whole::start(&[]).await;
    let desk = Desk::open().await;
    let ea = desk.trade(&whole);
    whole.executed(json!({"action": "PING"})).await;
    assert_eq!((desk.fills().len(), whole.trades().await.len()), (0, 0));
    ea.stopped().await;
    desk.closed(whole).await;
}

/// Goal: a partial fill is told as such, with the lots that were filled.
#[tokio::test]
async fn a_partial_fill_is_told_as_what_it_is() {
    let whole = Whole::start(&[]).await;
    let desk = Desk::open().await;
    desk.call(Request::SetMaxFill { volume: Some(lots("0.2")) });
    let ea = desk.trade(&whole);
    whole.executed(json!({"symbol": "EURUSD", "action": "BUY", "volume": 0.5})).await;
    assert_eq!(desk.volumes(), [lots("0.2")]);
    let trade = whole.trades().await.remove(0);
    assert_eq!((&trade["volume"], &trade["retcode"]), (&json!(0.2), &json!(10010)));
    ea.says("0.2 of 0.5 lots filled").await;
    ea.stopped().await;
    desk.closed(whole).await;
}

/// Goal: a closing that the broker fills in part is sent again for the rest, and says what is left where it stays so.
#[tokio::test]
async fn the_rest_of_a_partial_closing_is_closed_too() {
    let whole = Whole::start(&[]).await;
    let desk = Desk::open().await;
    let ea = desk.trade(&whole);
    for _ in 0..2 {
        whole.executed(json!({"symbol": "EURUSD", "action": "BUY", "volume": 1.0})).await;
        desk.call(Request::SetMaxFill { volume: Some(lots("0.4")) });
        whole.executed(json!({"symbol": "EURUSD", "action": "CLOSE"})).await;
        assert_eq!(desk.volumes(), [], "0.4, 0.4 and 0.2");
        desk.call(Request::SetMaxFill { volume: None });
    }
    whole.executed(json!({"symbol": "EURUSD", "action": "BUY", "volume": 1.0})).await;
    desk.call(Request::SetMaxFill { volume: Some(lots("0.1")) });
    let part = whole.executed(json!({"symbol": "EURUSD", "action": "CLOSE"})).await;
    assert_eq!(desk.volumes(), [lots("0.7")]);
    ea.says("0.3 of 1 lots closed").await;
    let trades = whole.trades().await;
    let states: Vec<&str> = trades.iter().map(|trade| trade["status"].as_str().unwrap()).collect();
    assert_eq!((states, &part["attempt"]), (vec!["closed", "closed", "open"], &json!(1)));
    ea.stopped().await;
    desk.closed(whole).await;
}
