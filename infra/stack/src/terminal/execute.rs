//! Turns a signal into order sends and says exactly what came of them.
//!
//! Nothing is sent before the journal says so, no opening after its time, and an answer that leaves the outcome open is
//! looked up at the broker before a word is said about it.

use std::time::{Duration, Instant};

use common::crash;
use rust_decimal::Decimal;

use super::wire::{Action, Confirm, MAGIC_SPAN, OrderKind, Signal, Status};
use super::{Error, Event, Fault, Terminal};
use crate::market::{
    Filling, OrderType, Request, Response, Side, SymbolSpec, TradeAction, TradeRequest, TradeResult, retcode,
};

/// Order sends per order, where the broker asks for a new price.
const TRIES: u32 = 3;
/// Times further away than this are treated as this far; it keeps the arithmetic of clocks within bounds.
const FAR_MS: i64 = 1_000_000_000;

/// A claimed signal with its two limits on this machine's own clock.
pub(super) struct Offer {
    pub(super) signal: Signal,
    lease_until: Instant,
    expires_at: Option<Instant>,
}

impl Offer {
    /// The limits count from the sending of the poll, later only by the time for which the server says it held it.
    pub(super) fn new(signal: Signal, asked_at: Instant, received_at: Instant) -> Self {
        let held =
            Duration::from_millis(signal.held_ms.unwrap_or(0)).min(received_at.saturating_duration_since(asked_at));
        let after = |ms: i64| asked_at + held + Duration::from_millis(ms.clamp(0, FAR_MS).unsigned_abs());
        Self { lease_until: after(signal.lease_ms.unwrap_or(0)), expires_at: signal.remaining_ms.map(after), signal }
    }

    /// Why it must not be sent any more.
    pub(super) fn overdue(&self, now: Instant) -> Option<&'static str> {
        if self.expires_at.is_some_and(|at| at <= now) {
            Some("expired before it was sent")
        } else if self.lease_until <= now {
            Some("the lease ran out before it was sent")
        } else {
            None
        }
    }
}

/// A refusal that is known without asking the broker.
type Refusal = (u32, &'static str);

impl Terminal {
    pub(super) async fn execute(&self, offer: &Offer) -> Result<(), Error> {
        let signal = &offer.signal;
        for id in signal.after.iter().flatten() {
            let magic = signal.magic / MAGIC_SPAN * MAGIC_SPAN + id;
            if let Some(found) = self.look_up(magic) {
                self.report(found)?;
            }
        }
        if let Some(reason) = offer.overdue(Instant::now()) {
            return self.report(Confirm::new(Status::NotSent).of(signal).message(reason));
        }
        match signal.action {
            Action::Ping => self.report(Confirm::new(Status::Executed).of(signal)),
            Action::Buy | Action::Sell => self.open(offer).await,
            Action::Close | Action::CloseAll => self.close(signal).await,
            Action::Modify => self.modify(signal).await,
        }
    }

    async fn open(&self, offer: &Offer) -> Result<(), Error> {
        let signal = &offer.signal;
        let request = match self.opening(signal) {
            Ok(request) => request,
            Err((code, message)) => return self.refuse(signal, code, message),
        };
        self.begin(signal)?;
        let started_at = Instant::now();
        let result = self.send_with_tries(&request, signal.id, Some(offer)).await?;
        let pending = request.action == TradeAction::Pending;
        let status = match result.retcode {
            retcode::DONE | retcode::PLACED if pending => Status::Placed,
            retcode::DONE | retcode::DONE_PARTIAL => Status::Executed,
            code if is_unknown(code) => return self.report_if_found(signal),
            _ => Status::Failed,
        };
        let done = status != Status::Failed;
        let ticket = (done && result.order != 0).then_some(result.order);
        let deal = (done && result.deal != 0).then_some(result.deal);
        self.report(Confirm {
            ticket,
            order: ticket,
            position: ticket.filter(|_| !pending),
            deal,
            volume: done.then_some(result.volume),
            price: if pending { Some(request.price) } else { deal.map(|_| result.price) },
            retcode: Some(result.retcode),
            message: Some(result.comment),
            execution_ms: Some(millis(started_at.elapsed())),
            ..Confirm::new(status).of(signal)
        })
    }

    /// The order that an opening signal asks for, sized and rounded to what the symbol allows.
    fn opening(&self, signal: &Signal) -> Result<TradeRequest, Refusal> {
        let market = self.market();
        let symbol = signal.symbol.as_deref().unwrap_or_default();
        let unknown = (retcode::INVALID, "the broker does not have this symbol");
        let (spec, quote) = market.symbol(symbol).zip(market.quote(symbol)).ok_or(unknown)?;
        let side = if signal.action == Action::Buy { Side::Buy } else { Side::Sell };
        let kind = signal.order_type.unwrap_or(OrderKind::Market);
        let round = |price: Option<Decimal>| price.unwrap_or_default().round_dp(spec.digits);
        let (price, order_type) = match (kind, side) {
            (OrderKind::Market, Side::Buy) => (quote.ask, OrderType::Buy),
            (OrderKind::Market, Side::Sell) => (quote.bid, OrderType::Sell),
            (OrderKind::Limit, Side::Buy) => (round(signal.entry), OrderType::BuyLimit),
            (OrderKind::Limit, Side::Sell) => (round(signal.entry), OrderType::SellLimit),
            (OrderKind::Stop, Side::Buy) => (round(signal.entry), OrderType::BuyStop),
            (OrderKind::Stop, Side::Sell) => (round(signal.entry), OrderType::SellStop),
        };
        if kind == OrderKind::Market
            && let (Some(entry), Some(points)) = (signal.entry, signal.max_slippage_points)
        {
            let worse = if side == Side::Buy { price - entry } else { entry - price };
            if worse > spec.point * Decimal::from(points) {
                return Err((
                    retcode::PRICE_CHANGED,
                    "the price is further from the signal's reference than it allows",
                ));
            }
        }
        let volume = match (signal.volume, signal.risk_percent) {
            (Some(volume), _) if signal.max_volume.is_some_and(|most| volume > most) => {
                return Err((retcode::INVALID_VOLUME, "the volume is above the largest allowed"));
            }
            (Some(volume), _) => volume,
            (None, Some(percent)) => {
                let no_loss = (retcode::INVALID_STOPS, "there is no stop loss to size by");
                let loss = market.calc_profit(symbol, side, Decimal::ONE, price, round(signal.sl)).ok_or(no_loss)?;
                if loss >= Decimal::ZERO {
                    return Err(no_loss);
                }
                let equity = market.account().equity.max(Decimal::ZERO);
                let risk = equity.checked_mul(percent).unwrap_or_default() / Decimal::ONE_HUNDRED;
                let volume = risk.checked_div(-loss).unwrap_or_default();
                signal.max_volume.map_or(volume, |most| volume.min(most)).min(spec.volume_max)
            }
            (None, None) => return Err((retcode::INVALID_VOLUME, "there is no volume")),
        };
        let volume = whole_steps(volume, spec);
        if volume < spec.volume_min {
            return Err((retcode::INVALID_VOLUME, "the volume is below the smallest possible"));
        }
        let pending = order_type.is_pending();
        Ok(TradeRequest {
            action: if pending { TradeAction::Pending } else { TradeAction::Deal },
            magic: signal.magic,
            symbol: symbol.to_owned(),
            volume,
            order_type,
            price: if pending || signal.max_slippage_points.is_some() { price } else { Decimal::ZERO },
            sl: round(signal.sl),
            tp: round(signal.tp),
            deviation: signal.max_slippage_points.unwrap_or(0),
            expiration: signal.order_expires_at.filter(|_| pending),
            comment: signal.comment.clone().unwrap_or_default(),
            ..TradeRequest::default()
        })
    }

    /// The last line before the first order send of a signal.
    pub(super) fn begin(&self, signal: &Signal) -> Result<(), Error> {
        self.crash_once(Fault::CrashBeforeSend)?;
        self.desk().journal.sending(signal.magic, signal.attempt)?;
        crash::point("sending");
        self.crash_once(Fault::CrashWhileSending)
    }

    /// Sends, and again with a fresh price where the broker asks for it; an opening only while it has time.
    pub(super) async fn send_with_tries(
        &self,
        request: &TradeRequest,
        id: u64,
        timed: Option<&Offer>,
    ) -> Result<TradeResult, Error> {
        let mut request = request.clone();
        let mut result = TradeResult::default();
        for attempt in 0..TRIES {
            if attempt > 0 {
                if timed.is_some_and(|offer| offer.overdue(Instant::now()).is_some()) {
                    break;
                }
                if let Some(quote) = self
                    .market()
                    .quote(&request.symbol)
                    .filter(|_| request.action == TradeAction::Deal && !request.price.is_zero())
                {
                    request.price = quote.price(request.order_type.side());
                }
            }
            result = self.send(&request, id, attempt).await?;
            if ![retcode::REQUOTE, retcode::PRICE_CHANGED, retcode::PRICE_OFF].contains(&result.retcode) {
                break;
            }
        }
        Ok(result)
    }

    /// `OrderSend`, with the broker's latency and the faults asked for.
    async fn send(&self, request: &TradeRequest, id: u64, attempt: u32) -> Result<TradeResult, Error> {
        if !self.config.latency.is_zero() {
            tokio::time::sleep(self.config.latency).await;
        }
        let result = if self.has(Fault::Reject) {
            TradeResult { retcode: retcode::REJECT, ..TradeResult::default() }
        } else if self.has(Fault::Requote) && attempt == 0 {
            TradeResult { retcode: retcode::REQUOTE, ..TradeResult::default() }
        } else {
            self.order_send(request)
        };
        self.traded.notify_one();
        if result.deal != 0 {
            crash::point("filled");
            self.crash_once(Fault::CrashAfterFill)?;
        }
        let lost = self.has(Fault::LoseAnswer);
        let result = if lost { TradeResult { retcode: retcode::TIMEOUT, ..TradeResult::default() } } else { result };
        self.tell(|| Event::Executed {
            id,
            symbol: request.symbol.clone(),
            ticket: result.order,
            price: result.price,
            volume: result.volume,
            retcode: result.retcode,
        });
        Ok(result)
    }

    fn order_send(&self, request: &TradeRequest) -> TradeResult {
        let at = super::now();
        let mut market = self.market();
        let half = market
            .symbol(&request.symbol)
            .filter(|_| self.has(Fault::PartialFill))
            .map(|spec| whole_steps(request.volume / Decimal::TWO, spec).max(spec.volume_min));
        if half.is_some() {
            market.call(Request::SetMaxFill { volume: half }, at);
        }
        let allowed = market.symbol(&request.symbol).and_then(|spec| spec.filling.first().copied());
        let filling = allowed.filter(|_| request.action == TradeAction::Deal).unwrap_or(Filling::Return);
        let response = market.call(Request::OrderSend(TradeRequest { filling, ..request.clone() }), at);
        if half.is_some() {
            market.call(Request::SetMaxFill { volume: None }, at);
        }
        match response {
            Response::Trade(result) => result,
            _ => TradeResult { retcode: retcode::CONNECTION, ..TradeResult::default() },
        }
    }

    pub(super) fn report_if_found(&self, signal: &Signal) -> Result<(), Error> {
        match self.look_up_signal(signal) {
            Some(found) => self.report(found),
            None => Ok(()), // the server asks for it once the lease is over
        }
    }

    pub(super) fn refuse(&self, signal: &Signal, code: u32, message: &str) -> Result<(), Error> {
        self.report(Confirm { retcode: Some(code), ..Confirm::new(Status::Failed).of(signal) }.message(message))
    }
}

/// Nobody knows whether the order reached the broker.
pub(super) fn is_unknown(code: u32) -> bool {
    matches!(code, 0 | retcode::PLACED | retcode::ERROR | retcode::TIMEOUT | retcode::LOCKED | retcode::CONNECTION)
}

fn whole_steps(volume: Decimal, spec: &SymbolSpec) -> Decimal {
    volume.checked_div(spec.volume_step).map_or(volume, |steps| steps.floor() * spec.volume_step)
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
