//! The books on disk: a restart forgets nothing, and whatever happens, the balance is the sum of all deals.

use proptest::prelude::*;

use super::*;

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
