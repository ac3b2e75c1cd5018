//! The account's money at the broker: margin and leverage, the stop-out, nights, commission and fee, as the platform is
//! told of them.

use rust_decimal::Decimal;
use serde_json::{Value, json};
use stack::client::decimal;
use stack::market::{MarketConfig, Reason};
use time::Duration;

use super::desk::{Desk, program};
use crate::support::{Whole, eventually};

/// Balance, equity, margin, free margin, profit, credit; login and currency.
type Figures = (Decimal, Decimal, Decimal, Decimal, Decimal, Decimal, i64, String);

fn money(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn order(action: &str, symbol: &str, volume: f64) -> Value {
    json!({"symbol": symbol, "action": action, "volume": volume})
}

/// Goal: an order that the free margin does not cover ends failed with the broker's code and plain words, after one send;
/// once there is room, the same order is executed.
#[tokio::test]
async fn an_order_that_the_free_margin_does_not_cover_is_refused() {
    let whole = Whole::start(&[]).await;
    let desk = Desk::with(MarketConfig { leverage: 30, ..MarketConfig::default() }, program().await);
    desk.price("EURUSD", "1.10000");
    let ea = desk.trade(&whole);
    // At 1.10012 a lot binds 3,667.07 of the 10,000: two do, a third does not go.
    whole.executed(order("BUY", "EURUSD", 2.0)).await;
    assert_eq!(desk.market.lock().unwrap().account().margin, money("7334.14"));
    let failed = whole.failed(order("BUY", "EURUSD", 1.0)).await;
    assert_eq!((&failed["message"], &failed["attempt"]), (&json!("retcode 10019: not enough free margin"), &json!(1)));
    assert_eq!(desk.fills().len(), 1);
    whole.executed(json!({"symbol": "EURUSD", "action": "CLOSE"})).await;
    whole.executed(order("BUY", "EURUSD", 1.0)).await;
    assert_eq!(desk.volumes(), [money("1")]);
    ea.stopped().await;
    desk.closed(whole).await;
}

/// Goal: a resting order for which there is no margin when its price is reached is told to have been rejected then.
#[tokio::test]
async fn a_resting_order_without_margin_is_told_to_be_rejected() {
    let whole = Whole::start(&[]).await;
    let desk = Desk::with(MarketConfig { leverage: 30, ..MarketConfig::default() }, program().await);
    desk.price("EURUSD", "1.10000");
    let ea = desk.trade(&whole);
    whole.executed(order("BUY", "EURUSD", 2.0)).await;
    let limit = json!({"symbol": "EURUSD", "action": "BUY", "order_type": "limit", "entry": 1.09, "volume": 1});
    whole.executed(limit).await;
    let ticket = desk.market.lock().unwrap().orders().next().unwrap().ticket;
    desk.price("EURUSD", "1.08980");
    eventually("the order's end is told", || async {
        let mut trades = whole.trades().await.into_iter();
        trades.find(|trade| trade["ticket"] == json!(ticket) && trade["status"] == "cancelled")
    })
    .await;
    assert_eq!(whole.ends(ticket).await, ["order rejected when its price was reached"]);
    assert_eq!((desk.volumes(), desk.resting()), (vec![money("2")], 0));
    ea.stopped().await;
    desk.closed(whole).await;
}

/// Goal: with leverage, credit, a position in another currency and a night behind them, all figures of the account are
/// told as the market has them.
#[tokio::test]
async fn all_figures_of_the_account_are_the_markets() {
    let whole = Whole::start(&[]).await;
    let config = MarketConfig {
        leverage: 200,
        credit: 750.into(),
        commission_per_lot: money("3.50"),
        ..MarketConfig::default()
    };
    let desk = Desk::with(config, program().await);
    let ea = desk.trade(&whole);
    whole.executed(order("BUY", "EURUSD", 0.7)).await;
    whole.executed(order("SELL", "USDJPY", 0.3)).await;
    desk.days_pass(Desk::now() + Duration::days(1));
    desk.price("EURUSD", "1.08250");
    let market = desk.market.lock().unwrap().account();
    assert!(market.margin > Decimal::ZERO && market.equity == market.balance + market.credit + market.profit);
    let wanted: Figures = (
        market.balance,
        market.equity,
        market.margin,
        market.free_margin,
        market.profit,
        market.credit,
        market.login.try_into().unwrap(),
        market.currency,
    );
    let query = "select balance, equity, margin, free_margin, profit, credit, login, currency from account_state
                 where account = 'main' order by received_at desc limit 1";
    eventually(&format!("the figures are {wanted:?}"), || async {
        let mut db = whole.sandbox.database().await.unwrap();
        let told: Option<Figures> = sqlx::query_as(query).fetch_optional(&mut db).await.unwrap();
        (told.as_ref() == Some(&wanted)).then_some(())
    })
    .await;
    ea.stopped().await;
    desk.closed(whole).await;
}

/// Goal: a position that the broker closes for lack of margin is told with that cause, under its signal, and with all
/// that it cost, to the cent; the other positions stay.
#[tokio::test]
async fn a_stop_out_is_told_with_its_cause_and_its_costs() {
    let whole = Whole::start(&[]).await;
    let config =
        MarketConfig { commission_per_lot: money("3.50"), fee_per_lot: money("0.25"), ..MarketConfig::default() };
    let desk = Desk::with(config, program().await);
    // Ahead of the real clock, so that a midnight during the test is none here.
    let evening = Desk::now() + Duration::days(1);
    desk.days_pass(evening);
    desk.price("EURUSD", "1.10000");
    let ea = desk.trade(&whole);
    let lost = whole.executed(order("BUY", "EURUSD", 5.0)).await;
    whole.executed(order("BUY", "GBPUSD", 0.1)).await;
    let ticket = desk.market.lock().unwrap().positions()[0].ticket;
    desk.days_pass(evening + Duration::days(1));
    desk.price("EURUSD", "1.08500");
    let trade = whole.closed_trade(ticket).await;
    // 1,512 points of 5 USD, 6.5 of them a night for 5 lots, and twice commission and fee.
    let costs = money("-17.50") + money("-1.25");
    let profit = money("-7560.00") + money("-32.50") + costs + costs;
    assert_eq!((&trade["signal_id"], decimal(&trade["profit"])), (&lost["signal_id"], profit));
    assert_eq!((decimal(&trade["close_price"]), decimal(&trade["closed_volume"])), (money("1.085"), money("5")));
    assert_eq!(whole.ends(ticket).await, ["stop out"]);
    {
        let market = desk.market.lock().unwrap();
        let deal = market.deals().last().unwrap();
        assert_eq!((deal.reason, deal.position, deal.net()), (Reason::StopOut, ticket, profit - costs));
    }
    assert_eq!(desk.volumes(), [money("0.1")]);
    ea.stopped().await;
    desk.closed(whole).await;
}

/// Goal: what the nights cost or brought is part of the profit told at closing: of a part its share, of the rest the rest.
#[tokio::test]
async fn nights_are_part_of_the_profit_told_at_closing() {
    let whole = Whole::start(&[]).await;
    let desk = Desk::open().await;
    // Ahead of the real clock, so that a midnight during the test is none here.
    let evening = Desk::now() + Duration::days(1);
    desk.days_pass(evening);
    desk.price("EURUSD", "1.10000");
    let ea = desk.trade(&whole);
    whole.executed(order("BUY", "EURUSD", 0.3)).await;
    whole.executed(order("SELL", "EURUSD", 1.0)).await;
    let tickets: Vec<u64> = desk.market.lock().unwrap().positions().iter().map(|one| one.ticket).collect();
    let told = async |ticket: u64| {
        let trades = whole.trades().await;
        let trade = trades.iter().find(|trade| trade["ticket"] == json!(ticket)).unwrap();
        (trade["status"].as_str().unwrap().to_owned(), decimal(&trade["profit"]))
    };
    let part = json!({"symbol": "EURUSD", "action": "CLOSE", "ticket": tickets[0], "volume": 0.1});
    desk.days_pass(evening + Duration::days(1));
    whole.executed(part).await;
    // Twelve points of spread, and 0.65 a night for a tenth of a lot.
    assert_eq!(told(tickets[0]).await, ("open".to_owned(), money("-1.20") + money("-0.65")));
    desk.days_pass(evening + Duration::days(2));
    whole.executed(json!({"action": "CLOSE_ALL"})).await;
    let long = money("-3.60") + money("-0.65") + money("-1.30") * Decimal::TWO;
    let short = money("-12.00") + money("2.10") * Decimal::TWO;
    assert_eq!(told(tickets[0]).await, ("closed".to_owned(), long));
    assert_eq!(told(tickets[1]).await, ("closed".to_owned(), short));
    assert_eq!(long + short, desk.market.lock().unwrap().account().balance - Decimal::from(10_000));
    ea.stopped().await;
    desk.closed(whole).await;
}

/// Goal: the profits of the closed trades add up to what they did to the balance, the costs of their openings included.
#[tokio::test]
async fn the_costs_of_an_opening_are_in_the_trades_profit() {
    let whole = Whole::start(&[]).await;
    let config =
        MarketConfig { commission_per_lot: money("3.50"), fee_per_lot: money("0.25"), ..MarketConfig::default() };
    let desk = Desk::with(config, program().await);
    let ea = desk.trade(&whole);
    whole.executed(order("BUY", "EURUSD", 1.0)).await;
    whole.executed(json!({"symbol": "EURUSD", "action": "CLOSE"})).await;
    let profits: Decimal = whole.trades().await.iter().map(|trade| decimal(&trade["profit"])).sum();
    assert_eq!(profits, desk.market.lock().unwrap().account().balance - Decimal::from(10_000));
    ea.stopped().await;
    desk.closed(whole).await;
}
