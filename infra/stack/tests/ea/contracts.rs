//! What a broker's contract of a symbol allows, which is not the same everywhere.

use rust_decimal::Decimal;
use serde_json::{Value, json};
use stack::client::decimal;
use stack::market::{Execution, MarketConfig, Request, SymbolSpec, TradeMode, retcode};

use super::desk::{Desk, program};
use crate::support::Whole;

fn number(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn order(action: &str) -> Value {
    json!({"symbol": "EURUSD", "action": action, "volume": 0.5})
}

/// A market where EURUSD has such a contract.
async fn desk(spec: SymbolSpec) -> Desk {
    Desk::with(MarketConfig { symbols: vec![spec], ..MarketConfig::default() }, program().await)
}

/// Goal: prices of orders and stops are on the symbol's own grid, where that is coarser than its digits.
#[tokio::test]
async fn prices_are_put_on_the_symbols_grid() {
    let whole = Whole::start(&[]).await;
    let spec = SymbolSpec { tick_size: Some(number("0.00025")), spread: 25, ..SymbolSpec::named("EURUSD") };
    let desk = desk(spec).await;
    desk.price("EURUSD", "1.10000");
    let ea = desk.trade(&whole);
    let mut body = order("BUY");
    (body["sl"], body["tp"]) = (json!(1.0912), json!(1.2001));
    whole.executed(body).await;
    let mut body = order("BUY");
    (body["order_type"], body["entry"]) = (json!("limit"), json!(1.0801));
    whole.executed(body).await;
    {
        let market = desk.market.lock().unwrap();
        let position = market.positions().remove(0);
        assert_eq!((position.sl, position.tp), (number("1.09125"), number("1.2")));
        assert_eq!(market.orders().next().unwrap().price, number("1.08"));
    }
    ea.stopped().await;
    desk.closed(whole).await;
}

/// Goal: a symbol in which only one direction, or nothing, may be opened is refused in plain words before it is sent.
#[tokio::test]
async fn what_the_broker_takes_no_orders_of_is_refused() {
    for (trade_mode, takes) in [
        (TradeMode::LongOnly, &["BUY"][..]),
        (TradeMode::ShortOnly, &["SELL"][..]),
        (TradeMode::CloseOnly, &[][..]),
        (TradeMode::Disabled, &[][..]),
    ] {
        let whole = Whole::start(&[]).await;
        let desk = desk(SymbolSpec { trade_mode, ..SymbolSpec::named("EURUSD") }).await;
        let ea = desk.trade(&whole);
        for action in ["BUY", "SELL"] {
            if takes.contains(&action) {
                whole.executed(order(action)).await;
                whole.executed(json!({"symbol": "EURUSD", "action": "CLOSE"})).await;
                continue;
            }
            let signal = whole.signal(order(action)).await;
            let failed = whole.state(&signal, "failed").await;
            let message = failed["message"].as_str().unwrap();
            assert!(message.contains(&format!("the broker takes no {action} of EURUSD")), "{trade_mode:?}: {message}");
        }
        assert_eq!(desk.fills().len(), takes.len());
        ea.stopped().await;
        desk.closed(whole).await;
    }
}

/// Goal: where the broker answers with the price that was asked, an order is filled whole or not at all.
#[tokio::test]
async fn an_order_at_the_price_that_was_asked_is_filled_whole_or_not() {
    let whole = Whole::start(&[]).await;
    let desk = desk(SymbolSpec { execution: Execution::Instant, ..SymbolSpec::named("EURUSD") }).await;
    let ea = desk.trade(&whole);
    desk.call(Request::SetMaxFill { volume: Some(number("0.2")) });
    let signal = whole.signal(order("BUY")).await;
    let failed = whole.state(&signal, "failed").await;
    assert!(failed["message"].as_str().unwrap().contains(&retcode::REJECT.to_string()), "{failed}");
    desk.call(Request::SetMaxFill { volume: None });
    whole.executed(order("BUY")).await;
    assert_eq!(desk.volumes(), [number("0.5")]);
    ea.stopped().await;
    desk.closed(whole).await;
}

/// Goal: a resting order with an end, where the broker knows none, is refused rather than left without it.
#[tokio::test]
async fn an_order_with_an_end_is_refused_where_the_broker_knows_none() {
    let whole = Whole::start(&[]).await;
    let desk = desk(SymbolSpec { expiration: false, ..SymbolSpec::named("EURUSD") }).await;
    desk.price("EURUSD", "1.10000");
    let ea = desk.trade(&whole);
    let mut body = order("BUY");
    (body["order_type"], body["entry"]) = (json!("limit"), json!(1.08));
    let without = whole.executed(body.clone()).await;
    assert_eq!(decimal(&without["entry"]), number("1.08"));
    let end = (Desk::now() + time::Duration::hours(5)).replace_nanosecond(0).unwrap();
    body["order_expires_at"] = json!(end.format(&time::format_description::well_known::Rfc3339).unwrap());
    let signal = whole.signal(body).await;
    let failed = whole.state(&signal, "failed").await;
    assert!(failed["message"].as_str().unwrap().contains("takes no time of expiry"), "{failed}");
    assert_eq!(desk.market.lock().unwrap().orders().count(), 1);
    ea.stopped().await;
    desk.closed(whole).await;
}
