//! The market's promises: the balance is the sum of all deals, refusals change nothing, a restart forgets nothing.

mod nights;
mod replay;
mod view;

use std::path::PathBuf;

use proptest::prelude::*;
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

#[test]
fn a_restart_finds_everything_that_was_answered() {
    let folder = Folder::new();
    let mut market = folder.open();
    let opened = send(&mut market, buy("0.30"));
    send(&mut market, TradeRequest { position: opened.order, ..deal("EURUSD", OrderType::Sell, "0.10") });
    send(&mut market, pending(OrderType::BuyLimit, "1.08"));
    set(&mut market, "EURUSD", "1.08600");
    let (positions, account, deals) = (market.positions(), market.account(), market.deals().to_vec());
    drop(market);
    let mut market = folder.open();
    assert_eq!((market.positions(), market.account(), market.deals()), (positions, account, deals.as_slice()));
    assert_eq!(market.orders().count(), 1);
    let next = send(&mut market, buy("0.10"));
    assert!(next.order > deals.last().unwrap().ticket + 1, "tickets are never used twice");
}

#[test]
fn a_torn_last_line_is_as_if_it_was_never_written() {
    let folder = Folder::new();
    let mut market = folder.open();
    send(&mut market, buy("0.10"));
    let log = folder.0.join("market.log");
    let whole = std::fs::read(&log).unwrap();
    send(&mut market, buy("0.20"));
    drop(market);
    let torn = std::fs::read(&log).unwrap();
    std::fs::write(&log, &torn[..torn.len() - 5]).unwrap();
    let market = folder.open();
    assert_eq!(market.positions().len(), 1);
    assert_eq!(std::fs::read(&log).unwrap(), whole);
}

#[test]
fn two_processes_do_not_share_a_market() {
    let folder = Folder::new();
    let _market = folder.open();
    let second = Market::open(Some(&folder.0), MarketConfig::default(), NOW);
    assert!(matches!(second, Err(Error::InUse(_))));
}

#[test]
fn a_log_that_is_already_in_the_snapshot_is_not_applied_twice() {
    let folder = Folder::new();
    let mut market = folder.open();
    send(&mut market, buy("0.10"));
    let log = std::fs::read(folder.0.join("market.log")).unwrap();
    let state = market.state.clone();
    market.store.as_mut().unwrap().compact(&state).unwrap();
    drop(market);
    std::fs::write(folder.0.join("market.log"), log).unwrap();
    assert_eq!(folder.open().deals().len(), 2);
}

#[test]
fn a_long_log_becomes_a_snapshot() {
    let folder = Folder::new();
    let mut market = folder.open();
    for _ in 0..1_100 {
        market.call(Request::Deposit { amount: Decimal::ONE }, NOW);
    }
    let lines = std::fs::read_to_string(folder.0.join("market.log")).unwrap().lines().count();
    assert!(lines < 1_100, "{lines}");
    drop(market);
    assert_eq!(folder.open().account().balance, number("11100"));
}

/// What all nights so far came to, realised or not.
fn all_swap(market: &Market) -> Decimal {
    let realised: Decimal = market.deals().iter().map(|deal| deal.swap).sum();
    realised + market.positions().iter().map(|position| position.swap).sum::<Decimal>()
}

/// One random thing that can happen to a market; tickets are indices into what exists.
fn any_request() -> impl Strategy<Value = (u8, usize, i64, i64)> {
    (0..12_u8, 0..8_usize, 1..60_i64, -300..300_i64)
}

fn do_something(market: &mut Market, (kind, index, hundredths, offset): (u8, usize, i64, i64), now: OffsetDateTime) {
    let symbol = ["EURUSD", "GBPUSD", "USDJPY", "XAUUSD"][index % 4].to_owned();
    let spec = market.symbol(&symbol).unwrap().clone();
    let quote = market.quote(&symbol).unwrap();
    let near = quote.bid + spec.point * Decimal::from(offset);
    let volume = Decimal::new(hundredths, 2);
    let order_type = [
        OrderType::Buy,
        OrderType::Sell,
        OrderType::BuyLimit,
        OrderType::SellLimit,
        OrderType::BuyStop,
        OrderType::SellStop,
    ];
    let base = TradeRequest { symbol: symbol.clone(), volume, filling: Filling::Ioc, ..TradeRequest::default() };
    let positions = market.positions();
    let request = match kind {
        0..=2 => Request::OrderSend(TradeRequest { order_type: order_type[index % 2], sl: near, magic: 7, ..base }),
        3 | 4 => Request::OrderSend(TradeRequest {
            action: TradeAction::Pending,
            order_type: order_type[2 + index % 4],
            price: near,
            expiration: (offset > 0).then_some(now + Duration::DAY),
            ..base
        }),
        5 | 6 => match positions.get(index) {
            Some(position) => Request::OrderSend(TradeRequest {
                position: position.ticket,
                symbol: position.symbol.clone(),
                volume: volume.min(position.volume),
                order_type: if position.side == Side::Buy { OrderType::Sell } else { OrderType::Buy },
                ..base
            }),
            None => Request::Account,
        },
        7 => Request::Deposit { amount: volume },
        8 => Request::Withdraw { amount: volume },
        9 => Request::SetPrice { symbol, bid: near },
        10 => Request::SetMaxFill { volume: (offset > 0).then_some(volume) },
        _ => Request::Advance { steps: hundredths.unsigned_abs().try_into().unwrap() },
    };
    assert!(!matches!(market.call(request, now), Response::Error { message } if message.contains("store")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Goal: no sequence of requests makes the balance differ from the deals, or a restart differ from what was there.
    #[test]
    fn the_books_balance_after_any_sequence_of_requests(steps in proptest::collection::vec(any_request(), 1..60)) {
        let folder = Folder::new();
        let mut market = Market::open(
            Some(&folder.0),
            MarketConfig {
                commission_per_lot: number("3.5"),
                fee_per_lot: number("0.15"),
                ..MarketConfig::default()
            },
            NOW,
        ).unwrap();
        for (step, hours) in steps.into_iter().zip((0..).step_by(7)) {
            let now = NOW + Duration::hours(hours);
            market.call(Request::Account, now);
            let swap = all_swap(&market);
            do_something(&mut market, step, now);
            assert_books_balance(&market);
            prop_assert_eq!(all_swap(&market), swap, "trading makes and loses none");
        }
        let (deals, orders, balance) = (market.deals().to_vec(), market.history_orders().to_vec(), market.account().balance);
        let shown = |market: &Market| -> Vec<(u64, Decimal, Decimal)> {
            market.positions().iter().map(|one| (one.ticket, one.volume, one.swap)).collect()
        };
        let open = shown(&market);
        drop(market);
        let market = folder.open();
        prop_assert_eq!(market.deals(), deals);
        prop_assert_eq!(market.history_orders(), orders);
        prop_assert_eq!(market.account().balance, balance);
        prop_assert_eq!(shown(&market), open);
    }
}
