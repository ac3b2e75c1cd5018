//! What a terminal is shown, and what is kept from it.

use super::*;

fn at_ms(ms: i64) -> OffsetDateTime {
    NOW + Duration::milliseconds(ms)
}

fn sync(market: &mut Market, now: OffsetDateTime) -> View {
    match market.call(Request::Sync { deals_after: 0, orders_skip: 0 }, now) {
        Response::State(view) => *view,
        other => panic!("{other:?}"),
    }
}

fn done(market: &mut Market, request: Request) {
    assert_eq!(market.call(request, NOW), Response::Done);
}

/// Goal: the exact words of the protocol, as a program in another language writes and reads them.
#[test]
fn the_protocol_is_written_as_agreed() {
    let mut market = market();
    let cases = [
        (r#""symbols""#, r#"{"symbols":["EURUSD","GBPUSD","USDJPY","XAUUSD"]}"#),
        (r#"{"tick":{"symbol":"EURUSD"}}"#, r#"{"tick":{"bid":1.08500,"ask":1.08512,"at_ms":0}}"#),
        (r#"{"calc_margin":{"symbol":"EURUSD","side":"buy","volume":1e-1,"price":1.085}}"#, r#"{"margin":108.50}"#),
        (r#"{"set_connected":{"connected":true}}"#, r#""done""#),
        (r#"{"set_latency":{"ms":0}}"#, r#""done""#),
        (r#"{"set_history_delay":{"ms":0}}"#, r#""done""#),
        (r#"{"set_drop_comments":{"drop":false}}"#, r#""done""#),
        (r#"{"drop_next":{"count":0,"executed":false}}"#, r#""done""#),
        (r#"{"set_freeze":{"frozen":false}}"#, r#""done""#),
    ];
    for (said, expected) in cases {
        let answer = market.call(serde_json::from_str(said).unwrap(), NOW);
        assert_eq!(serde_json::to_string(&answer).unwrap(), expected, "{said}");
    }
    let state: serde_json::Value = serde_json::to_value(
        market.call(serde_json::from_str(r#"{"sync":{"deals_after":0,"orders_skip":0}}"#).unwrap(), at_ms(1_234)),
    )
    .unwrap();
    let fields: Vec<&String> = state["state"].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["account", "at_ms", "connected", "deals", "history_orders", "orders", "positions", "revision"]);
    assert_eq!((state["state"]["at_ms"].as_i64(), state["state"]["connected"].as_bool()), (Some(1_234), Some(true)));
}

/// Goal: a cost of nothing is written as nothing, not as less than nothing.
#[test]
fn a_deal_without_costs_has_plain_zeros() {
    let mut market = market();
    send(&mut market, buy("0.10"));
    let deal = serde_json::to_value(market.deals().last().unwrap()).unwrap();
    let costs = ["commission", "swap", "fee", "profit"].map(|name| deal[name].to_string());
    assert!(costs.iter().all(|cost| !cost.starts_with('-')), "{costs:?}");
}

/// Goal: figures that no trade can have are refused, not reckoned with.
#[test]
fn margin_is_told_for_possible_trades_only() {
    let market = market();
    for (symbol, volume, price) in
        [("NOPE", "1", "1"), ("EURUSD", "0", "1"), ("EURUSD", "101", "1"), ("EURUSD", "1", "0")]
    {
        assert_eq!(market.calc_margin(symbol, number(volume), number(price)), None, "{symbol} {volume} {price}");
    }
    // A lot of gold is 100 ounces; a hundredth is bound.
    assert_eq!(market.calc_margin("XAUUSD", number("0.01"), number("2350.00")), Some(number("23.50")));
}

/// Goal: a terminal asks for what it lacks, and gets just that.
#[test]
fn a_sync_leaves_out_what_the_terminal_has() {
    let mut market = market();
    let first = send(&mut market, buy("0.10"));
    let second = send(&mut market, buy("0.20"));
    let request = Request::Sync { deals_after: first.deal, orders_skip: 1 };
    let Response::State(view) = market.call(request, NOW) else { panic!() };
    assert_eq!(view.deals.iter().map(|deal| deal.ticket).collect::<Vec<_>>(), [second.deal]);
    assert_eq!(view.history_orders.iter().map(|order| order.ticket).collect::<Vec<_>>(), [second.order]);
    assert_eq!(view.positions, market.positions());
    assert_eq!(view.account, market.account());
    assert_eq!(view.revision, market.revision());
}

/// Goal: an order is told when it was taken and when it ended, however it ended.
#[test]
fn orders_carry_the_times_of_their_life() {
    let mut market = market();
    let placed = send(&mut market, pending(OrderType::BuyLimit, "1.08"));
    assert_eq!(market.orders().next().map(|order| (order.placed_at, order.done_at)), Some((Some(NOW), None)));
    let removal = TradeRequest { action: TradeAction::Remove, order: placed.order, ..TradeRequest::default() };
    market.call(Request::OrderSend(removal), at_ms(5));
    market.call(Request::OrderSend(buy("0.10")), at_ms(7));
    let times: Vec<_> = market.history_orders().iter().map(|order| (order.placed_at, order.done_at)).collect();
    assert_eq!(times, [(Some(NOW), Some(at_ms(5))), (Some(at_ms(7)), Some(at_ms(7)))]);
}

/// Goal: without a connection the broker goes on, while its terminal can do nothing and knows only what it knew.
#[test]
fn a_lost_connection_leaves_the_terminal_with_what_it_knew() {
    let mut market = market();
    send(&mut market, TradeRequest { tp: number("1.09000"), ..buy("0.10") });
    let known = sync(&mut market, NOW);
    let tick = market.tick("EURUSD");
    done(&mut market, Request::SetConnected { connected: false });
    done(&mut market, Request::SetConnected { connected: false });
    done(&mut market, Request::FailNext { count: 1, retcode: retcode::REJECT, executed: true });
    assert_eq!(send(&mut market, buy("0.20")).retcode, retcode::CONNECTION);
    assert_eq!(market.positions().len(), 1);
    set(&mut market, "EURUSD", "1.09100");
    assert_eq!(market.positions().len(), 0, "the take profit is the broker's");
    let stale = sync(&mut market, at_ms(9));
    assert!(stale.revision > known.revision);
    assert_eq!(stale, View { connected: false, at_ms: 9, revision: stale.revision, ..known });
    let behind = Request::Sync { deals_after: stale.deals[0].ticket, orders_skip: 1 };
    let Response::State(rest) = market.call(behind, NOW) else { panic!() };
    assert_eq!((rest.deals.as_slice(), rest.history_orders.len()), (&stale.deals[1..], 0));
    assert_eq!(market.tick("EURUSD"), tick);
    done(&mut market, Request::SetConnected { connected: true });
    let view = sync(&mut market, NOW);
    assert!(view.connected && view.positions.is_empty());
    assert_eq!(view.deals, market.deals());
    assert_eq!(send(&mut market, buy("0.20")).retcode, retcode::REJECT, "what was to fail had not got there");
}

/// Goal: late history shows a position before its deal, as brokers do; the money is there at once, and the deal's
/// appearance is a change.
#[test]
fn late_history_shows_after_the_position() {
    let mut market = market();
    done(&mut market, Request::SetHistoryDelay { ms: 500 });
    market.call(Request::OrderSend(buy("0.10")), at_ms(1_000));
    let early = sync(&mut market, at_ms(1_499));
    assert_eq!((early.positions.len(), early.deals.len(), early.history_orders.len()), (1, 1, 0));
    assert_eq!(early.account, market.account());
    assert_eq!(sync(&mut market, at_ms(1_499)).revision, early.revision);
    assert_eq!(market.call(Request::HistoryOrders { skip: 0 }, at_ms(1_499)), Response::Orders(vec![]));
    let late = sync(&mut market, at_ms(1_500));
    assert_eq!((late.deals.as_slice(), late.history_orders.as_slice()), (market.deals(), market.history_orders()));
    assert!(late.revision > early.revision);
    assert_eq!(market.call(Request::Deals { after: 0 }, at_ms(1_500)), Response::Deals(late.deals));
}

/// Goal: a broker that drops comments drops them everywhere, and nothing else.
#[test]
fn dropped_comments_come_back_empty() {
    let mut market = market();
    send(&mut market, TradeRequest { comment: "ours".to_owned(), ..buy("0.10") });
    send(&mut market, TradeRequest { comment: "ours".to_owned(), ..pending(OrderType::BuyLimit, "1.08") });
    let comments = |view: &View| -> Vec<String> {
        let orders = view.orders.iter().chain(&view.history_orders).map(|order| &order.comment);
        let positions = view.positions.iter().map(|position| &position.comment);
        orders.chain(positions).chain(view.deals[1..].iter().map(|deal| &deal.comment)).cloned().collect()
    };
    assert_eq!(comments(&sync(&mut market, NOW)), ["ours"; 4]);
    done(&mut market, Request::SetDropComments { drop: true });
    let view = sync(&mut market, NOW);
    assert_eq!(comments(&view), [""; 4]);
    assert_eq!((view.positions[0].magic, view.deals[1].magic), (7, 7));
    assert_eq!(market.call(Request::Positions, NOW), Response::Positions(view.positions));
    assert_eq!(market.call(Request::Orders, NOW), Response::Orders(view.orders));
}

/// Goal: what is frozen can't be touched; new orders are none of it.
#[test]
fn frozen_positions_and_orders_can_not_be_changed() {
    let mut market = market();
    let position = send(&mut market, buy("0.10")).order;
    let order = send(&mut market, pending(OrderType::BuyLimit, "1.08")).order;
    done(&mut market, Request::SetFreeze { frozen: true });
    let touches = [
        TradeRequest { position, ..deal("EURUSD", OrderType::Sell, "0.10") },
        TradeRequest { action: TradeAction::Sltp, position, sl: number("1.07"), ..buy("0") },
        TradeRequest { action: TradeAction::Modify, order, ..pending(OrderType::BuyLimit, "1.07") },
        TradeRequest { action: TradeAction::Remove, order, ..TradeRequest::default() },
    ];
    for touch in touches.clone() {
        assert_eq!(send(&mut market, touch).retcode, retcode::FROZEN);
    }
    assert_eq!(send(&mut market, buy("0.10")).retcode, retcode::DONE);
    done(&mut market, Request::SetFreeze { frozen: false });
    assert_eq!(send(&mut market, touches[1].clone()).retcode, retcode::DONE);
}

/// Goal: on a weekend the last quote grows old, and prices stand still.
#[test]
fn a_closed_market_makes_no_quotes() {
    let mut market = market();
    market.call(Request::Advance { steps: 1 }, at_ms(10));
    let last = market.tick("EURUSD").unwrap();
    assert_eq!(last.at_ms, 10);
    done(&mut market, Request::SetOpen { open: false });
    market.call(Request::Advance { steps: 1 }, at_ms(20));
    assert_eq!(market.tick("EURUSD"), Some(last));
    done(&mut market, Request::SetOpen { open: true });
    market.call(Request::Advance { steps: 1 }, at_ms(30));
    assert_eq!(market.tick("EURUSD").unwrap().at_ms, 30);
}

/// Goal: whoever hosts a market sees an order send that nobody answers as one without a code.
#[test]
fn an_unanswered_order_send_has_no_code() {
    let mut market = market();
    done(&mut market, Request::DropNext { count: 1, executed: true });
    assert_eq!(send(&mut market, buy("0.10")), TradeResult::default());
    assert_eq!(market.positions().len(), 1);
    assert_eq!(send(&mut market, buy("0.10")).retcode, retcode::DONE);
}

/// Goal: an account says to be a netting one when it was opened as one, after a restart too.
#[test]
fn a_netting_account_says_so() {
    let folder = Folder::new();
    let config = MarketConfig { hedging: false, ..MarketConfig::default() };
    assert!(!Market::open(Some(&folder.0), config, NOW).unwrap().account().hedging);
    assert!(!folder.open().account().hedging);
}
