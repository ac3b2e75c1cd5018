//! Each request has its answer.

use std::time::Duration;

use rust_decimal::Decimal;
use time::OffsetDateTime;

use super::faults::{Faults, Spoilt};
use super::{Market, NUMBER_MAX, Request, Response, state};

/// The longest pause that can be asked for: more would be a hanging process.
const PAUSE_MAX_MS: u64 = 3_600_000;

impl Market {
    /// An order sets out for the broker: how long it is under way. It arrives whether its sender still lives or not.
    pub(super) fn depart(&mut self, request: &Request) -> Duration {
        if matches!(request, Request::OrderSend(_)) {
            self.under_way += 1;
            self.faults.latency
        } else {
            Duration::ZERO
        }
    }

    /// Like [`Market::call`], of a request that departed; none where the connection is closed instead of an answer.
    pub(super) fn arrive(&mut self, request: Request, now: OffsetDateTime) -> Option<Response> {
        let sends = matches!(request, Request::OrderSend(_));
        let dropped = sends && self.faults.drops();
        self.under_way -= usize::from(sends);
        let response = self.call(request, now);
        (!dropped).then_some(response)
    }

    /// Orders that have been sent and did not arrive yet.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    pub(super) fn answer(&mut self, request: Request, now: OffsetDateTime) -> Response {
        match request {
            Request::Quote { symbol } => self.quote(&symbol).map_or_else(|| unknown(&symbol), Response::Quote),
            Request::Symbol { symbol } => {
                self.symbol(&symbol).cloned().map_or_else(|| unknown(&symbol), Response::Symbol)
            }
            Request::Tick { symbol } => self.tick(&symbol).map_or_else(|| unknown(&symbol), Response::Tick),
            Request::Symbols => Response::Symbols(self.state.symbols.keys().cloned().collect()),
            Request::Account => Response::Account(self.account()),
            Request::Positions => Response::Positions(self.shown_positions()),
            Request::Orders => Response::Orders(self.shown_orders()),
            Request::HistoryOrders { skip } => Response::Orders(self.shown_history(skip, now)),
            Request::Deals { after } => Response::Deals(self.shown_deals(after, now)),
            Request::Sync { deals_after, orders_skip } => {
                Response::State(Box::new(self.sync(deals_after, orders_skip, now)))
            }
            Request::CalcProfit { symbol, side, volume, open, close } => {
                self.calc_profit(&symbol, side, volume, open, close).map_or_else(|| unknown(&symbol), Response::Profit)
            }
            Request::CalcMargin { symbol, side: _, volume, price } => {
                self.calc_margin(&symbol, volume, price).map_or_else(|| unknown(&symbol), Response::Margin)
            }
            Request::OrderSend(request) => Response::Trade(self.order_send(&request, now)),
            Request::Deposit { amount } => self.cash(amount, amount, now),
            Request::Withdraw { amount } => self.cash(amount, -amount, now),
            Request::Advance { steps } => {
                self.advance(steps, now);
                Response::Done
            }
            Request::SetPrice { symbol, bid } => self.set_price(&symbol, bid, now),
            Request::SetConnected { connected } => self.set_connected(connected, now),
            Request::FailNext { count, retcode, executed } => self.inject(|faults| {
                faults.fail = Spoilt { count, executed };
                faults.fail_retcode = retcode;
            }),
            Request::DropNext { count, executed } => self.inject(|faults| faults.drop = Spoilt { count, executed }),
            Request::SetMaxFill { volume } => self.inject(|faults| faults.max_fill = volume),
            Request::SetOpen { open } => self.inject(|faults| faults.open = open),
            Request::SetTradeAllowed { allowed } => self.inject(|faults| faults.trade_allowed = allowed),
            Request::SetFreeze { frozen } => self.inject(|faults| faults.frozen = frozen),
            Request::SetDropComments { drop } => self.inject(|faults| faults.drop_comments = drop),
            Request::SetLatency { ms } => self.inject(|faults| faults.latency = pause(ms)),
            Request::SetHistoryDelay { ms } => self.inject(|faults| faults.history_delay = pause(ms)),
        }
    }

    fn inject(&mut self, change: impl FnOnce(&mut Faults)) -> Response {
        change(&mut self.faults);
        self.revision += 1;
        Response::Done
    }

    fn cash(&mut self, amount: Decimal, change: Decimal, now: OffsetDateTime) -> Response {
        if amount <= Decimal::ZERO || amount > NUMBER_MAX || amount != amount.round_dp(state::MONEY_DIGITS) {
            return Response::Error { message: "the amount must be above zero, in whole minor units".to_owned() };
        }
        if change < Decimal::ZERO && (amount > self.state.balance || amount > self.account().free_margin) {
            return Response::Error { message: "not enough free margin".to_owned() };
        }
        self.balance_deal(change, now);
        Response::Done
    }
}

fn pause(ms: u64) -> Duration {
    Duration::from_millis(ms.min(PAUSE_MAX_MS))
}

pub(super) fn unknown(symbol: &str) -> Response {
    Response::Error { message: format!("symbol {symbol:?} is unknown, or the figures are impossible") }
}
