//! Reports: written into the journal first, delivered until they are taken; and what happened without a signal.
//!
//! Each deal and each ended order is in exactly one report, over restarts too: a report in the journal covers its tickets.

use std::time::Instant;

use super::api::Pause;
use super::wire::{Action, Confirm, MAGIC_SPAN, Status};
use super::{Error, Event, FLUSH, Fault, Terminal, WATCH_EVERY};
use crate::market::{Deal, DealType, Entry, Order, OrderState, Reason, Request};

impl Terminal {
    /// Takes a report into the journal; from then on it is delivered, whatever happens.
    pub(super) fn report(&self, confirm: Confirm) -> Result<(), Error> {
        if self.has(Fault::NeverConfirm) {
            return Ok(());
        }
        let confirm = Confirm { terminal: self.id.clone(), ..confirm };
        let mut desk = self.desk();
        let number = desk.journal.report(confirm)?;
        if self.has(Fault::ConfirmLate) {
            desk.delayed.insert(number, Instant::now() + self.config.late);
        }
        self.report_waits.notify_one();
        Ok(())
    }

    /// Delivers reports in their order until the terminal stops.
    pub(super) async fn deliver(&self) -> Result<(), Error> {
        let mut pause = Pause::new();
        loop {
            let Some((number, confirm)) = self.next_report() else {
                // A delayed report becomes due without anybody saying so.
                let news = tokio::time::timeout(WATCH_EVERY * 10, self.report_waits.notified());
                if self.or_stop(news).await.is_none() {
                    return Ok(());
                }
                continue;
            };
            // Cut off in the middle it would have to be delivered twice: a stop leaves it some time.
            let patience = async {
                self.stop.cancelled().await;
                tokio::time::sleep(FLUSH).await;
            };
            let done = tokio::select! {
                result = self.deliver_one(number, &confirm) => result?,
                () = patience => return Ok(()),
            };
            if done {
                pause = Pause::new();
            } else if self.or_stop(tokio::time::sleep(pause.next())).await.is_none() {
                return Ok(());
            }
            if self.stop.is_cancelled() {
                return Ok(());
            }
        }
    }

    /// What a stopping terminal can still get rid of; the rest waits in the journal.
    pub(super) async fn flush(&self) -> Result<(), Error> {
        let delivery = async {
            while let Some((number, confirm)) = self.next_report() {
                if !self.deliver_one(number, &confirm).await? {
                    break;
                }
            }
            Ok(())
        };
        tokio::time::timeout(FLUSH, delivery).await.unwrap_or(Ok(()))
    }

    fn next_report(&self) -> Option<(u64, Confirm)> {
        let desk = self.desk();
        let due = |number: &u64| desk.delayed.get(number).is_none_or(|at| *at <= Instant::now());
        desk.journal.waiting.iter().find(|(number, _)| due(number)).map(|(number, confirm)| (*number, confirm.clone()))
    }

    /// Whether the report is done with: taken, or refused for good.
    async fn deliver_one(&self, number: u64, confirm: &Confirm) -> Result<bool, Error> {
        let times = if self.has(Fault::ConfirmTwice) { 2 } else { 1 };
        let mut taken = true;
        for _ in 0..times {
            if let Err(failure) = self.api.post("/api/trades/confirm", confirm).await {
                self.error(format!(
                    "report {number} ({:?}, signal {:?}) failed: {failure}",
                    confirm.status, confirm.id
                ));
                if !failure.is_final() {
                    return Ok(false);
                }
                taken = false;
            }
        }
        let mut desk = self.desk();
        desk.journal.answered(number)?;
        desk.delayed.remove(&number);
        if taken {
            self.tell(|| Event::Acknowledged { id: confirm.id, status: confirm.status, ticket: confirm.ticket });
        }
        Ok(true)
    }

    /// Moves the prices, and reports what happened at the broker without a signal.
    pub(super) async fn watch(&self) -> Result<(), Error> {
        let mut ticked_at = Instant::now();
        loop {
            if let Some(every) = self.config.tick_interval.filter(|every| ticked_at.elapsed() >= *every) {
                ticked_at += every;
                self.tick();
            }
            self.report_news()?;
            let rest = self.config.tick_interval.map_or(WATCH_EVERY, |every| every.min(WATCH_EVERY));
            if self.or_stop(tokio::time::timeout(rest, self.traded.notified())).await.is_none() {
                return Ok(());
            }
        }
    }

    fn tick(&self) {
        self.call(Request::Advance { steps: 1 });
        self.desk().ticked_at = Instant::now();
        for symbol in &self.config.symbols {
            if let Some(quote) = self.market().quote(symbol) {
                self.tell(|| Event::Price { symbol: symbol.clone(), bid: quote.bid, ask: quote.ask });
            }
        }
    }

    /// Fills of resting orders, closings that no signal asked for, and resting orders that ended unfilled.
    fn report_news(&self) -> Result<(), Error> {
        for confirm in self.news() {
            self.report(confirm)?;
        }
        Ok(())
    }

    fn news(&self) -> Vec<Confirm> {
        let market = self.market();
        let mut desk = self.desk();
        if desk.journal.base.is_none() {
            return Vec::new(); // no signal was seen yet: nothing can be ours
        }
        let mut news = Vec::new();
        for deal in market.deals_after(desk.deals_seen) {
            desk.deals_seen = deal.ticket;
            if deal.deal_type == DealType::Balance {
                continue;
            }
            if deal.entry == Entry::In {
                desk.openings.insert(deal.position, deal.magic);
            }
            let opened_by = desk.openings.get(&deal.position).copied().unwrap_or(0);
            if !desk.journal.is_ours(opened_by) || desk.journal.covered.contains(&deal.ticket) {
                continue;
            }
            let rested = || {
                market
                    .history_orders()
                    .iter()
                    .rfind(|order| order.ticket == deal.order)
                    .is_some_and(|order| order.order_type.is_pending())
            };
            let by_signal = deal.reason == Reason::Expert && desk.journal.is_ours(deal.magic);
            let id = Some(opened_by % MAGIC_SPAN);
            match deal.entry {
                Entry::In if rested() => news.push(Confirm { id, ..Confirm::new(Status::Executed).opened(deal) }),
                Entry::Out if !by_signal => news.push(Confirm { id, ..closed(deal) }),
                Entry::In | Entry::Out => {} // its signal's own report says it
            }
        }
        let seen = std::mem::replace(&mut desk.orders_seen, market.history_orders().len());
        let ended = market.history_orders().iter().skip(seen).filter(|order| {
            order.filled.is_zero() && desk.journal.is_ours(order.magic) && !desk.journal.covered.contains(&order.ticket)
        });
        news.extend(ended.map(ended_unfilled));
        news
    }
}

fn closed(deal: &Deal) -> Confirm {
    let cause = match deal.reason {
        Reason::StopLoss => "stop loss",
        Reason::TakeProfit => "take profit",
        Reason::StopOut => "stop out",
        Reason::Client => "closed by hand",
        Reason::Expert => "closed by another program",
    };
    Confirm {
        ticket: Some(deal.position),
        order: Some(deal.order),
        position: Some(deal.position),
        deal: Some(deal.ticket),
        symbol: Some(deal.symbol.clone()),
        action: Some(Action::Close),
        volume: Some(deal.volume),
        price: Some(deal.price),
        close_price: Some(deal.price),
        profit: Some(deal.net()),
        ..Confirm::new(Status::Closed)
    }
    .message(cause)
}

fn ended_unfilled(order: &Order) -> Confirm {
    let cause = match order.state {
        OrderState::Expired => "order expired",
        OrderState::Rejected => "order rejected when its price was reached",
        _ => "order deleted",
    };
    Confirm {
        id: Some(order.magic % MAGIC_SPAN),
        ticket: Some(order.ticket),
        order: Some(order.ticket),
        symbol: Some(order.symbol.clone()),
        action: Some(Action::Close),
        volume: Some(order.filled),
        ..Confirm::new(Status::Closed)
    }
    .message(cause)
}
