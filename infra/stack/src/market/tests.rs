//! The market's promises: the balance is the sum of all deals, refusals change nothing, a restart forgets nothing.

mod books;
mod nights;
mod replay;
mod view;

use std::path::PathBuf;

use rust_decimal::Decimal;
use time::{Duration, OffsetDateTime};

use super::*;

const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

fn number(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn market() -> Market {
    Market::open(None, MarketConfig::default(), NOW).unwrap()
}

fn deal(symbol: &str, order_type: OrderType, volume: &str) -> TradeRequest {
    TradeRequest {
        symbol: symbol.to_owned(),
        order_type,
        volume: number(volume),
        magic: 7,
        filling: Filling::Ioc,
        ..TradeRequest::default()
    }
}

fn buy(volume: &str) -> TradeRequest {
    deal("EURUSD", OrderType::Buy, volume)
}

fn pending(order_type: OrderType, price: &str) -> TradeRequest {
    TradeRequest { action: TradeAction::Pending, price: number(price), ..deal("EURUSD", order_type, "0.10") }
}

fn send(market: &mut Market, request: TradeRequest) -> TradeResult {
    match market.call(Request::OrderSend(request), NOW) {
        Response::Trade(result) => result,
        other => panic!("{other:?}"),
    }
}

fn set(market: &mut Market, symbol: &str, bid: &str) {
    assert_eq!(market.call(Request::SetPrice { symbol: symbol.to_owned(), bid: number(bid) }, NOW), Response::Done);
}

fn assert_books_balance(market: &Market) {
    assert_eq!(market.state.fault(), None);
    let booked = |deal: &Deal| deal.profit + deal.swap + deal.commission + deal.fee;
    assert_eq!(market.account().balance, market.deals().iter().map(booked).sum::<Decimal>());
    let account = market.account();
    let floating: Decimal = market.positions().iter().map(|position| position.profit + position.swap).sum();
    assert_eq!(account.profit, floating);
    assert_eq!(account.equity, account.balance + account.credit + floating);
    assert_eq!(account.free_margin, account.equity - account.margin);
}

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("market-{}", uuid::Uuid::new_v4())))
    }

    fn open(&self) -> Market {
        Market::open(Some(&self.0), MarketConfig::default(), NOW).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_round_trip_realises_the_difference_of_the_two_fills() {
    let mut market = market();
    let opened = send(&mut market, buy("0.10"));
    assert_eq!((opened.retcode, opened.price), (retcode::DONE, number("1.08512")));
    set(&mut market, "EURUSD", "1.08612");
    assert_eq!(market.positions()[0].profit, number("10.00"));
    let closing = TradeRequest { position: opened.order, ..deal("EURUSD", OrderType::Sell, "0.10") };
    let closed = send(&mut market, closing.clone());
    assert_eq!((closed.retcode, closed.price), (retcode::DONE, number("1.08612")));
    assert_eq!(market.account().balance, number("10010.00"));
    assert_eq!(market.deals().last().unwrap().profit, number("10.00"));
    assert_eq!(send(&mut market, closing).retcode, retcode::POSITION_CLOSED);
    assert_books_balance(&market);
}

#[test]
fn profit_in_yen_is_converted_at_the_price_of_the_dollar() {
    let mut market = market();
    let opened = send(&mut market, deal("USDJPY", OrderType::Sell, "1"));
    set(&mut market, "USDJPY", "150.000");
    // Sold at 151.000, bought back at 150.014: 98,600 yen at 150.000 for a dollar.
    assert_eq!(
        send(&mut market, TradeRequest { position: opened.order, ..deal("USDJPY", OrderType::Buy, "1") }).retcode,
        retcode::DONE
    );
    assert_eq!(market.account().balance, number("10657.33"));
}

#[test]
fn part_of_a_position_can_be_closed() {
    let mut market = market();
    let opened = send(&mut market, buy("0.30"));
    send(&mut market, TradeRequest { position: opened.order, ..deal("EURUSD", OrderType::Sell, "0.10") });
    assert_eq!(market.positions()[0].volume, number("0.20"));
    let more = TradeRequest { position: opened.order, ..deal("EURUSD", OrderType::Sell, "0.21") };
    assert_eq!(send(&mut market, more).retcode, retcode::INVALID_CLOSE_VOLUME);
    assert_books_balance(&market);
}

#[test]
fn each_refusal_has_its_code_and_changes_nothing() {
    let stops = |sl: &str, tp: &str| TradeRequest { sl: number(sl), tp: number(tp), ..buy("0.10") };
    let cases = [
        (deal("NOPE", OrderType::Buy, "0.10"), retcode::INVALID),
        (buy("0.001"), retcode::INVALID_VOLUME),
        (buy("0.015"), retcode::INVALID_VOLUME),
        (buy("101"), retcode::INVALID_VOLUME),
        (buy("79228162514264337593543950335"), retcode::INVALID_VOLUME),
        (buy("-0.10"), retcode::INVALID_VOLUME),
        (buy("0.30000000000000004"), retcode::INVALID_VOLUME),
        (stops("1.09", "0"), retcode::INVALID_STOPS),
        (stops("0", "1.08"), retcode::INVALID_STOPS),
        (stops("1.084995", "0"), retcode::INVALID_STOPS),
        (stops("0", "79228162514264337593543950335"), retcode::INVALID_STOPS),
        (stops("-79228162514264337593543950335", "0"), retcode::INVALID_STOPS),
        (TradeRequest { price: number("1.08500"), deviation: 11, ..buy("0.10") }, retcode::REQUOTE),
        (TradeRequest { price: number("1.085001"), ..buy("0.10") }, retcode::INVALID_PRICE),
        (TradeRequest { filling: Filling::Return, ..buy("0.10") }, retcode::INVALID_FILL),
        (TradeRequest { filling: Filling::Fok, ..deal("XAUUSD", OrderType::Buy, "0.01") }, retcode::INVALID_FILL),
        (TradeRequest { order_type: OrderType::BuyLimit, ..buy("0.10") }, retcode::INVALID),
        (buy("50"), retcode::NO_MONEY),
        (pending(OrderType::BuyLimit, "1.09"), retcode::INVALID_PRICE),
        (pending(OrderType::BuyStop, "1.08"), retcode::INVALID_PRICE),
        (TradeRequest { expiration: Some(NOW), ..pending(OrderType::BuyLimit, "1.08") }, retcode::INVALID_EXPIRATION),
        (TradeRequest { action: TradeAction::Remove, order: 5, ..TradeRequest::default() }, retcode::INVALID),
        (TradeRequest { action: TradeAction::Sltp, position: 5, ..TradeRequest::default() }, retcode::INVALID),
    ];
    let mut market = market();
    for (request, expected) in cases {
        let label = format!("{request:?}");
        assert_eq!(send(&mut market, request).retcode, expected, "{label}");
    }
    assert_eq!((market.deals().len(), market.positions().len(), market.orders().count()), (1, 0, 0));
}

#[test]
fn a_price_within_the_deviation_is_filled_at_the_market() {
    let mut market = market();
    let result = send(&mut market, TradeRequest { price: number("1.08500"), deviation: 12, ..buy("0.10") });
    assert_eq!((result.retcode, result.price), (retcode::DONE, number("1.08512")));
}

#[test]
fn resting_orders_wait_for_their_price() {
    let cases = [
        (OrderType::BuyLimit, "1.08000", "1.07989", "1.07988"),
        (OrderType::SellLimit, "1.09000", "1.08999", "1.09000"),
        (OrderType::BuyStop, "1.09000", "1.08987", "1.08988"),
        (OrderType::SellStop, "1.08000", "1.08001", "1.08000"),
    ];
    for (kind, price, not_yet, reached) in cases {
        let mut market = market();
        let placed = send(&mut market, pending(kind, price));
        assert_eq!(placed.retcode, retcode::PLACED);
        set(&mut market, "EURUSD", not_yet);
        assert_eq!(market.positions().len(), 0, "{kind:?}");
        set(&mut market, "EURUSD", reached);
        assert_eq!(market.positions()[0].ticket, placed.order, "{kind:?}");
        assert_eq!(market.history_orders()[0].state, OrderState::Filled);
        assert_eq!(market.deals().last().unwrap().magic, 7);
    }
}

#[test]
fn an_order_past_its_expiration_is_gone() {
    let mut market = market();
    let request = TradeRequest { expiration: Some(NOW + Duration::MINUTE), ..pending(OrderType::BuyLimit, "1.08") };
    send(&mut market, request);
    market.call(Request::Account, NOW + Duration::MINUTE);
    assert_eq!(market.orders().count(), 0);
    assert_eq!(market.history_orders()[0].state, OrderState::Expired);
}

#[test]
fn stops_close_at_the_price_that_triggered_them() {
    for (bid, reason, balance) in
        [("1.08100", Reason::StopLoss, "9958.80"), ("1.09100", Reason::TakeProfit, "10058.80")]
    {
        let mut market = market();
        send(&mut market, TradeRequest { sl: number("1.08200"), tp: number("1.09000"), ..buy("0.10") });
        set(&mut market, "EURUSD", bid);
        let deal = market.deals().last().unwrap();
        assert_eq!((deal.reason, deal.magic, deal.price), (reason, 7, number(bid)));
        assert_eq!(market.account().balance, number(balance));
    }
}

#[test]
fn without_margin_the_broker_closes_the_worst_position() {
    let mut market = market();
    send(&mut market, buy("5"));
    set(&mut market, "EURUSD", "1.06900");
    assert_eq!(market.positions().len(), 0);
    assert_eq!(market.deals().last().unwrap().reason, Reason::StopOut);
    assert_books_balance(&market);
}

#[test]
fn a_largest_fill_leaves_the_rest_unfilled() {
    let mut market = market();
    market.call(Request::SetMaxFill { volume: Some(number("0.04")) }, NOW);
    let partial = send(&mut market, buy("0.10"));
    assert_eq!((partial.retcode, partial.volume), (retcode::DONE_PARTIAL, number("0.04")));
    assert_eq!(send(&mut market, TradeRequest { filling: Filling::Fok, ..buy("0.10") }).retcode, retcode::REJECT);
}

#[test]
fn an_injected_failure_can_hide_an_execution() {
    let mut market = market();
    market.call(Request::FailNext { count: 1, retcode: retcode::TIMEOUT, executed: true }, NOW);
    assert_eq!(send(&mut market, buy("0.10")).retcode, retcode::TIMEOUT);
    assert_eq!(market.positions().len(), 1);
    market.call(Request::FailNext { count: 1, retcode: retcode::REJECT, executed: false }, NOW);
    assert_eq!(send(&mut market, buy("0.10")).retcode, retcode::REJECT);
    assert_eq!(market.positions().len(), 1);
    assert_eq!(send(&mut market, buy("0.10")).retcode, retcode::DONE);
}

#[test]
fn a_closed_market_and_a_disabled_account_refuse() {
    let mut market = market();
    market.call(Request::SetOpen { open: false }, NOW);
    assert_eq!(send(&mut market, buy("0.10")).retcode, retcode::MARKET_CLOSED);
    market.call(Request::SetTradeAllowed { allowed: false }, NOW);
    assert_eq!(send(&mut market, buy("0.10")).retcode, retcode::TRADE_DISABLED);
}

#[test]
fn the_same_seed_gives_the_same_prices() {
    let walk = |seed| {
        let mut market = Market::open(None, MarketConfig { seed, ..MarketConfig::default() }, NOW).unwrap();
        market.call(Request::Advance { steps: 1_000 }, NOW);
        market.quote("EURUSD").unwrap()
    };
    assert_eq!(walk(3), walk(3));
    assert_ne!(walk(3), walk(4));
}

#[test]
fn requests_and_answers_survive_json_with_every_digit() {
    let request = Request::OrderSend(TradeRequest {
        price: number("1.08512"),
        expiration: Some(NOW),
        magic: 9_007_199_254_740_993,
        ..buy("0.10")
    });
    let text = serde_json::to_string(&request).unwrap();
    assert!(text.contains(r#""price":1.08512"#), "{text}");
    assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), request);
    let mut market = market();
    let short = r#"{"order_send":{"symbol":"EURUSD","volume":0.1,"filling":"ioc"}}"#;
    let answer = market.call(serde_json::from_str(short).unwrap(), NOW);
    let text = serde_json::to_string(&answer).unwrap();
    assert_eq!(serde_json::from_str::<Response>(&text).unwrap(), answer);
    assert_eq!(market.positions()[0].volume, number("0.1"));
}
