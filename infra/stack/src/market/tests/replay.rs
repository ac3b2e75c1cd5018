//! Bars replayed at the market: their prices, their spreads, their end, and what a restart goes on with.

use super::*;

fn config() -> MarketConfig {
    let bar = |open, high, low, close, spread| Bar { open, high, low, close, spread };
    let bars = vec![bar(110_000, 110_300, 109_900, 110_200, 7), bar(110_200, 110_250, 110_050, 110_100, 9)];
    MarketConfig { bars: [("EURUSD".to_owned(), bars)].into(), ..MarketConfig::default() }
}

fn step(market: &mut Market, seconds: i64) -> Tick {
    market.call(Request::Advance { steps: 1 }, NOW + Duration::seconds(seconds));
    market.tick("EURUSD").unwrap()
}

fn tick(bid: &str, ask: &str, seconds: i64) -> Tick {
    Tick { bid: number(bid), ask: number(ask), at_ms: seconds * 1_000 }
}

/// Goal: a price a step, each bar with its spread, and after the last one the price and its time stand still.
#[test]
fn bars_are_replayed_a_price_a_step_and_then_stand_still() {
    let mut market = Market::open(None, config(), NOW).unwrap();
    assert_eq!(market.tick("EURUSD"), Some(tick("1.10000", "1.10007", 0)));
    let prices = ["1.09900", "1.10300", "1.10200", "1.10200", "1.10250", "1.10050", "1.10100"];
    for (bid, seconds) in prices.into_iter().zip(1..) {
        let spread = if seconds < 4 { "0.00007" } else { "0.00009" };
        let ask = (number(bid) + number(spread)).to_string();
        assert_eq!(step(&mut market, seconds), tick(bid, &ask, seconds));
    }
    assert_eq!(step(&mut market, 8), tick("1.10100", "1.10109", 7));
    let other = market.tick("GBPUSD").unwrap();
    assert_eq!(other.at_ms, 8_000, "the others walk on");
}

/// Goal: what rests at the broker reacts to replayed prices as to any other.
#[test]
fn a_resting_order_is_filled_by_a_replayed_price() {
    let mut market = Market::open(None, config(), NOW).unwrap();
    assert_eq!(send(&mut market, pending(OrderType::BuyLimit, "1.09910")).retcode, retcode::PLACED);
    step(&mut market, 1);
    assert_eq!(market.positions()[0].price, number("1.09907"));
}

/// Goal: a restart goes on with the next price; without its bars a symbol has its own spread again.
#[test]
fn a_restart_goes_on_where_the_replay_was() {
    let folder = Folder::new();
    let mut market = Market::open(Some(&folder.0), config(), NOW).unwrap();
    step(&mut market, 1);
    market.call(Request::Deposit { amount: Decimal::ONE }, NOW + Duration::SECOND);
    drop(market);
    let mut market = Market::open(Some(&folder.0), config(), NOW).unwrap();
    assert_eq!(market.tick("EURUSD"), Some(tick("1.09900", "1.09907", 1)));
    assert_eq!(step(&mut market, 2), tick("1.10300", "1.10307", 2));
    drop(market);
    let market = folder.open();
    let quote = market.quote("EURUSD").unwrap();
    assert_eq!(quote.ask - quote.bid, number("0.00012"));
}

/// Goal: bars of a symbol that is not traded are a mistake to be told.
#[test]
fn bars_of_an_unknown_symbol_are_refused() {
    let symbols = vec![SymbolSpec::named("GBPUSD")];
    let opened = Market::open(None, MarketConfig { symbols, ..config() }, NOW);
    assert!(matches!(opened, Err(Error::BarsOfUnknown(name)) if name == "EURUSD"));
}
