//! What happens at the broker without a signal, and the account's figures.

use rust_decimal::Decimal;
use serde_json::{Value, json};
use stack::client::decimal;
use stack::market::{Filling, MarketConfig, OrderType, Request, SymbolSpec, TradeRequest, read_bars};
use time::Duration;

use super::desk::{Desk, program};
use crate::support::{Whole, eventually};

/// Goal: a position that its stop loss, its take profit or a person closed is told with its profit under the signal that
/// opened it, also where nobody was there to see it.
#[tokio::test]
async fn closings_without_a_signal_are_told_with_their_profit() {
    let whole = Whole::start(&[]).await;
    let desk = Desk::open().await;
    // No night costs anything meanwhile.
    desk.days_pass(Desk::now() + Duration::days(1));
    desk.price("EURUSD", "1.10000");
    let ea = desk.trade(&whole);
    let order = |stops: Value| {
        let mut body = json!({"symbol": "EURUSD", "action": "BUY", "volume": 0.1});
        body.as_object_mut().unwrap().extend(stops.as_object().unwrap().clone());
        body
    };
    let stopped = whole.executed(order(json!({"sl": 1.09}))).await;
    whole.executed(order(json!({"tp": 1.12}))).await;
    whole.executed(order(json!({}))).await;
    let tickets: Vec<u64> = desk.market.lock().unwrap().positions().iter().map(|one| one.ticket).collect();
    desk.price("EURUSD", "1.08900");
    let loss = whole.closed_trade(tickets[0]).await;
    assert_eq!((&loss["signal_id"], decimal(&loss["profit"])), (&stopped["signal_id"], "-111.20".parse().unwrap()));
    ea.killed().await;
    desk.price("EURUSD", "1.12000");
    let by_hand = TradeRequest {
        position: tickets[2],
        symbol: "EURUSD".to_owned(),
        volume: "0.1".parse().unwrap(),
        order_type: OrderType::Sell,
        filling: Filling::Ioc,
        ..Default::default()
    };
    desk.call(Request::OrderSend(by_hand));
    let again = desk.trade(&whole);
    let won = whole.closed_trade(tickets[1]).await;
    let hand = whole.closed_trade(tickets[2]).await;
    assert_eq!(
        (decimal(&won["profit"]), decimal(&hand["profit"])),
        ("198.80".parse().unwrap(), "198.80".parse().unwrap())
    );
    again.says("closed by hand").await;
    let profits: Decimal = whole.trades().await.iter().map(|trade| decimal(&trade["profit"])).sum();
    assert_eq!(profits, desk.market.lock().unwrap().account().balance - Decimal::from(10_000));
    again.stopped().await;
    desk.closed(whole).await;
}

/// Goal: the account's figures are the market's, with deposits apart from profit, and a history that does not add up yet
/// tells no deposits.
#[tokio::test]
async fn the_accounts_figures_are_the_markets() {
    let whole = Whole::start(&[]).await;
    let desk = Desk::open().await;
    let ea = desk.trade(&whole);
    whole.executed(json!({"symbol": "EURUSD", "action": "BUY", "volume": 0.1})).await;
    desk.call(Request::Deposit { amount: "2500.50".parse().unwrap() });
    whole.executed(json!({"symbol": "EURUSD", "action": "CLOSE"})).await;
    let market = desk.market.lock().unwrap().account();
    let told = eventually("the figures are told", || async {
        let stats = whole.operator.get("/api/account/stats").await.unwrap();
        (decimal(&stats["account"]["balance"]) == market.balance).then_some(stats)
    })
    .await;
    assert_eq!(
        (decimal(&told["account"]["equity"]), decimal(&told["account"]["margin"])),
        (market.equity, market.margin)
    );
    let mut db = whole.sandbox.database().await.unwrap();
    let net: Option<Decimal> = sqlx::query_scalar(
        "select net_deposits from account_state where account = 'main' order by received_at desc limit 1",
    )
    .fetch_one(&mut db)
    .await
    .unwrap();
    assert_eq!(net, Some("12500.50".parse().unwrap()));
    desk.call(Request::SetHistoryDelay { ms: 60_000 });
    desk.call(Request::Deposit { amount: "1.00".parse().unwrap() });
    eventually("a report without deposits", || async {
        let last: Option<Decimal> = sqlx::query_scalar(
            "select net_deposits from account_state where account = 'main' order by received_at desc limit 1",
        )
        .fetch_one(&mut whole.sandbox.database().await.unwrap())
        .await
        .unwrap();
        last.is_none().then_some(())
    })
    .await;
    ea.stopped().await;
    desk.closed(whole).await;
}

/// Goal: prices of the past, from a bar file as MetaTrader 5 exports it, hit stops like any others, with each bar's own
/// spread; what a gap costs is told.
#[tokio::test]
async fn replayed_bars_hit_stops_and_the_closings_are_told() {
    let bars = "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\r\n\
        2026.11.20\t14:30:00\t1.10000\t1.10050\t1.09990\t1.10020\t100\t0\t10\r\n\
        2026.11.20\t14:31:00\t1.10020\t1.10030\t1.09500\t1.09600\t80\t0\t20\r\n";
    let file = std::env::temp_dir().join(format!("bars-{}", uuid::Uuid::new_v4().simple()));
    std::fs::write(&file, bars).unwrap();
    let bars = read_bars(&file, &SymbolSpec::named("EURUSD")).unwrap();
    std::fs::remove_file(file).unwrap();
    let whole = Whole::start(&[]).await;
    let config = MarketConfig { bars: [("EURUSD".to_owned(), bars)].into(), ..MarketConfig::default() };
    let desk = Desk::with(config, program().await);
    // No night costs anything meanwhile.
    desk.days_pass(Desk::now() + Duration::days(1));
    let ea = desk.trade(&whole);
    let mut opened = Vec::new();
    for (action, stop, price) in [("BUY", "tp", 1.1004), ("BUY", "sl", 1.097), ("SELL", "tp", 1.0952)] {
        opened.push(whole.executed(json!({"symbol": "EURUSD", "action": action, "volume": 0.1, stop: price})).await);
    }
    let tickets: Vec<u64> = desk.market.lock().unwrap().positions().iter().map(|one| one.ticket).collect();
    // Bought at 1.10010; the second bar's low is passed by a price that jumps, and its ask is 20 points above it.
    let closings = [
        (2, 0, "take profit", "1.10050", "4.00"),
        (4, 1, "stop loss", "1.09500", "-51.00"),
        (0, 2, "take profit", "1.09520", "48.00"),
    ];
    for (steps, which, cause, price, profit) in closings {
        desk.call(Request::Advance { steps });
        let trade = whole.closed_trade(tickets[which]).await;
        assert_eq!(trade["signal_id"], opened[which]["signal_id"]);
        let price: Decimal = price.parse().unwrap();
        assert_eq!((decimal(&trade["close_price"]), decimal(&trade["profit"])), (price, profit.parse().unwrap()));
        assert_eq!(whole.ends(tickets[which]).await, [cause]);
    }
    assert_eq!(desk.volumes().len(), 0);
    ea.stopped().await;
    desk.closed(whole).await;
}
