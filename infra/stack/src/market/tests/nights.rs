//! What a night costs, and where it ends up: in the equity at once, in the balance with the closing deal.

use serde_json::Value;

use super::*;

fn at(days: i64) -> OffsetDateTime {
    NOW + Duration::days(days)
}

fn swap(market: &mut Market, now: OffsetDateTime) -> Decimal {
    market.call(Request::Account, now);
    assert_books_balance(market);
    market.positions()[0].swap
}

/// Goal: a position is charged at each midnight that passes while it is open, by its side, size and symbol.
#[test]
fn each_midnight_charges_an_open_position_its_swap() {
    let cases = [
        // 6.5 points of 0.00001 for 100,000 euros.
        (deal("EURUSD", OrderType::Buy, "1"), "-6.50"),
        (deal("EURUSD", OrderType::Sell, "0.10"), "0.21"),
        // 20.4 points of 0.001 for 100,000 dollars are 2,040 yen, at 151.000 for a dollar.
        (deal("USDJPY", OrderType::Sell, "1"), "-13.51"),
    ];
    for (request, night) in cases {
        let mut market = market();
        assert_eq!(send(&mut market, request).retcode, retcode::DONE);
        let night = number(night);
        assert_eq!(swap(&mut market, at(1) - Duration::SECOND), Decimal::ZERO);
        assert_eq!(swap(&mut market, at(1)), night);
        assert_eq!(swap(&mut market, at(2) - Duration::SECOND), night);
        assert_eq!(swap(&mut market, at(4)), night * Decimal::from(4));
        // A clock that was set back takes nothing again.
        assert_eq!(swap(&mut market, at(2)), night * Decimal::from(4));
        assert_eq!(swap(&mut market, at(4)), night * Decimal::from(4));
    }
}

/// Goal: swap moves the equity as it accrues, and the balance with the deals that close, share by share.
#[test]
fn a_closing_deal_realises_its_share_of_the_swap() {
    let mut market = market();
    let opened = send(&mut market, buy("0.30"));
    let before = market.account();
    market.call(Request::Account, at(1));
    let after = market.account();
    assert_eq!((after.balance, after.equity), (before.balance, before.equity - number("1.95")));
    for (volume, share, rest) in [("0.10", "-0.65", Some("-1.30")), ("0.20", "-1.30", None)] {
        let closing = TradeRequest { position: opened.order, ..deal("EURUSD", OrderType::Sell, volume) };
        market.call(Request::OrderSend(closing), at(1));
        let deal = market.deals().last().unwrap();
        assert_eq!((deal.entry, deal.swap), (Entry::Out, number(share)));
        assert_eq!(deal.net(), deal.profit + number(share));
        assert_eq!(market.positions().first().map(|position| position.swap), rest.map(number));
        assert_books_balance(&market);
    }
}

/// Goal: commission and fee are taken from the balance at opening and at closing, each under its own name.
#[test]
fn commission_and_fee_are_part_of_a_deals_net() {
    let config =
        MarketConfig { commission_per_lot: number("3"), fee_per_lot: number("0.5"), ..MarketConfig::default() };
    let mut market = Market::open(None, config, NOW).unwrap();
    send(&mut market, buy("0.10"));
    let deal = market.deals().last().unwrap();
    assert_eq!((deal.commission, deal.fee, deal.net()), (number("-0.30"), number("-0.05"), number("-0.35")));
    assert_eq!(market.account().balance, number("9999.65"));
}

/// Goal: swap alone can use up the margin; the broker closes then, without waiting for a price.
#[test]
fn swap_can_lead_to_the_stop_out() {
    let mut market = market();
    send(&mut market, buy("9"));
    market.call(Request::Account, at(84));
    assert_eq!(market.positions().len(), 1);
    market.call(Request::Account, at(86));
    assert_eq!(market.positions().len(), 0);
    let deal = market.deals().last().unwrap();
    assert_eq!((deal.reason, deal.swap), (Reason::StopOut, number("-58.50") * Decimal::from(86)));
    assert_books_balance(&market);
}

/// Goal: the position that the broker closes first is the one that costs most, its nights included.
#[test]
fn the_stop_out_counts_a_positions_nights_to_its_loss() {
    let mut market = market();
    let long = send(&mut market, buy("4"));
    let short = send(&mut market, deal("EURUSD", OrderType::Sell, "4"));
    set(&mut market, "EURUSD", "1.08510");
    let profits: Vec<Decimal> = market.positions().iter().map(|position| position.profit).collect();
    assert!(profits[1] < profits[0], "by its price alone the short one is worse: {profits:?}");
    market.call(Request::Account, at(400));
    assert_eq!(market.positions().iter().map(|position| position.ticket).collect::<Vec<_>>(), [short.order]);
    assert_eq!(market.deals().last().unwrap().position, long.order);
}

/// Goal: nights that passed while the market was down are charged when it comes back, once.
#[test]
fn nights_without_the_market_are_made_up_for_once() {
    let folder = Folder::new();
    let mut market = folder.open();
    send(&mut market, buy("1"));
    drop(market);
    for _ in 0..2 {
        let mut market = Market::open(Some(&folder.0), MarketConfig::default(), at(3)).unwrap();
        assert_eq!(swap(&mut market, at(3)), number("-19.50"));
    }
}

/// Takes away what older versions did not write.
fn grow_old(value: &mut Value) {
    const NEW: [&str; 12] = [
        "swap",
        "fee",
        "placed_at",
        "done_at",
        "fee_per_lot",
        "hedging",
        "day",
        "moved_at",
        "replayed",
        "spreads",
        "swap_long",
        "swap_short",
    ];
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !NEW.contains(&name.as_str()));
            fields.values_mut().for_each(grow_old);
        }
        Value::Array(values) => values.iter_mut().for_each(grow_old),
        _ => {}
    }
}

/// Goal: the books of an older version open, and nights count from then on.
#[test]
fn books_from_before_swaps_still_open() {
    let folder = Folder::new();
    let mut market = folder.open();
    send(&mut market, buy("0.10"));
    send(&mut market, pending(OrderType::BuyLimit, "1.08"));
    let (balance, equity) = (market.account().balance, market.account().equity);
    drop(market);
    for file in ["market.json", "market.log"] {
        let text = std::fs::read_to_string(folder.0.join(file)).unwrap();
        let mut old = String::new();
        for line in text.lines() {
            let mut value: Value = serde_json::from_str(line).unwrap();
            grow_old(&mut value);
            old += &value.to_string();
            old += if file == "market.log" { "\n" } else { "" };
        }
        assert!(old.len() < text.len());
        std::fs::write(folder.0.join(file), old).unwrap();
    }
    let mut market = Market::open(Some(&folder.0), MarketConfig::default(), at(5)).unwrap();
    assert_eq!((market.account().balance, market.account().equity), (balance, equity));
    assert!(market.account().hedging);
    assert_eq!(market.orders().next().unwrap().placed_at, None);
    assert_eq!(swap(&mut market, at(5)), Decimal::ZERO);
    assert_eq!(market.state.day, Some(super::super::night::day(at(5))));
}
