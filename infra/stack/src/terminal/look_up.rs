//! Finds out at the broker what became of a signal whose outcome nobody knows.
//!
//! What is found is reported whoever asks. "Never sent" is said only of a claim in this very journal without an order send,
//! and of a claim of this very run that never arrived; "not found" only after a whole history was searched for as long as the grace lasts; all else is silence.

use std::time::{Duration, Instant};

use rust_decimal::Decimal;
use tracing::debug;

use super::api::Pause;
use super::close::summary;
use super::wire::{Action, Confirm, Item, MAGIC_SPAN, Mode, Signal, Status};
use super::{Error, Terminal};
use crate::market::{Deal, DealType, Entry, Market, Reason, TradeResult, retcode};

impl Terminal {
    /// Asks for unresolved signals, at start until there is an answer, then every few seconds.
    pub(super) async fn reconcile(&self) -> Result<(), Error> {
        self.resolve_own()?;
        let mut pause = Pause::new();
        loop {
            let Some(answer) =
                self.or_stop(self.api.get("/api/signals/unresolved", &self.asker(), Duration::ZERO)).await
            else {
                return Ok(());
            };
            let parsed = answer.and_then(|answer| Ok((answer.json::<Vec<Signal>>()?, answer.mode)));
            let rest = match parsed {
                Ok((signals, mode)) => {
                    pause = Pause::new();
                    self.resolve(&signals)?;
                    self.obey(mode.as_deref().and_then(Mode::parse));
                    self.reconciled.cancel();
                    self.config.unresolved_interval
                }
                Err(failure) => {
                    self.error(format!("question for unresolved signals failed: {failure}"));
                    pause.next()
                }
            };
            if self.or_stop(tokio::time::sleep(rest)).await.is_none() {
                return Ok(());
            }
        }
    }

    /// Tells at once what a run before this one took and did not answer for, as far as that is sure: else the platform would
    /// ask for it only once the lease is over. The journal is believed only where the broker does not know better.
    fn resolve_own(&self) -> Result<(), Error> {
        let untold = self.desk().journal.untold();
        for (magic, intent) in untold {
            let unsent = Confirm::new(Status::NotSent).message("the terminal ended before the order was sent");
            if let Some(confirm) = self.look_up(magic).or_else(|| (!intent.sent).then_some(unsent)) {
                self.report(Confirm { id: Some(magic % MAGIC_SPAN), attempt: Some(intent.attempt), ..confirm })?;
            }
        }
        Ok(())
    }

    fn resolve(&self, signals: &[Signal]) -> Result<(), Error> {
        let listed = |key: &(u64, u64)| signals.iter().any(|signal| *key == (signal.id, signal.attempt));
        self.desk().first_seen.retain(|key, _| listed(key));
        for signal in signals {
            self.desk().journal.base.get_or_insert(signal.magic / MAGIC_SPAN);
            let busy = {
                let desk = self.desk();
                desk.in_hand.contains(&signal.id)
                    || desk.journal.waiting.values().any(|report| report.id == Some(signal.id))
            };
            if busy {
                continue; // its own report is on the way
            }
            let found = self.look_up_signal(signal);
            if found.is_none() && signal.session.as_ref() == Some(&self.session) {
                self.forgo(signal)?;
            }
            if let Some(confirm) = found.or_else(|| self.absence(signal)) {
                self.report(confirm)?;
            } else {
                debug!(signal.number = signal.id, attempt = signal.attempt, "outcome unknown, looking on");
            }
        }
        Ok(())
    }

    /// Writes a claim of this run that never arrived down as one without an order send, which it stays: should the answer
    /// arrive after all, it is known.
    fn forgo(&self, signal: &Signal) -> Result<(), Error> {
        let mut desk = self.desk();
        if desk.journal.intent(signal.id).is_none_or(|intent| !intent.sent && intent.attempt < signal.attempt) {
            desk.journal.claim([(signal.magic, signal.attempt)].into_iter())?;
        }
        Ok(())
    }

    /// What can be said of a signal that left no trace at the broker.
    fn absence(&self, signal: &Signal) -> Option<Confirm> {
        let complete = {
            let market = self.market();
            market.deals().iter().map(Deal::net).sum::<Decimal>() == market.account().balance
        };
        let mut desk = self.desk();
        let intent = desk.journal.intent(signal.id);
        if intent.is_some_and(|intent| intent.attempt == signal.attempt && !intent.sent) {
            return Some(Confirm::new(Status::NotSent).of(signal).message("the order send was never called"));
        }
        let first_seen = *desk.first_seen.entry((signal.id, signal.attempt)).or_insert_with(Instant::now);
        let searched = complete && first_seen.elapsed() >= self.config.grace;
        searched
            .then(|| Confirm::new(Status::NotFound).of(signal).message("not found in positions, orders and history"))
    }

    /// What the broker knows of this signal.
    pub(super) fn look_up_signal(&self, signal: &Signal) -> Option<Confirm> {
        match signal.action {
            Action::Ping => Some(Confirm::new(Status::Executed).of(signal)),
            Action::Modify => self.is_modified(signal).then(|| Confirm::new(Status::Executed).of(signal)),
            Action::Close | Action::CloseAll => {
                let items = closings(&self.market(), signal.magic);
                (!items.is_empty()).then(|| Confirm { execution_ms: None, ..summary(signal, items, Duration::ZERO) })
            }
            Action::Buy | Action::Sell => self.look_up(signal.magic).map(|found| found.of(signal)),
        }
    }

    /// A modification leaves no deal: it happened if everything it is about looks as it wanted.
    fn is_modified(&self, signal: &Signal) -> bool {
        let wanted = self.modifications(signal);
        let market = self.market();
        let stands = |sl: Decimal, tp: Decimal, ticket: u64| {
            market.positions().iter().any(|one| one.ticket == ticket && (one.sl, one.tp) == (sl, tp))
                || market.orders().any(|one| one.ticket == ticket && (one.sl, one.tp) == (sl, tp))
        };
        !wanted.is_empty() && wanted.iter().all(|one| stands(one.sl, one.tp, one.position.max(one.order)))
    }

    /// What the broker knows of an order with this magic number: in deals, positions, orders and the history of orders.
    pub(super) fn look_up(&self, magic: u64) -> Option<Confirm> {
        let market = self.market();
        let found = Confirm { id: Some(magic % MAGIC_SPAN), ..Confirm::new(Status::Executed) };
        let opening = market.deals().iter().find(|deal| deal.magic == magic && deal.entry == Entry::In);
        if let Some(deal) = opening {
            return Some(Confirm { retcode: Some(retcode::DONE), ..found.opened(deal) });
        }
        if let Some(position) = market.positions().into_iter().find(|one| one.magic == magic) {
            return Some(Confirm {
                ticket: Some(position.ticket),
                position: Some(position.ticket),
                symbol: Some(position.symbol),
                volume: Some(position.volume),
                price: Some(position.price),
                retcode: Some(retcode::DONE),
                ..found
            });
        }
        // An order that rested and is gone was placed all the same; its end is a report of its own.
        let order = market
            .orders()
            .chain(market.history_orders())
            .find(|one| one.magic == magic && one.order_type.is_pending())?;
        Some(Confirm {
            status: Status::Placed,
            ticket: Some(order.ticket),
            order: Some(order.ticket),
            symbol: Some(order.symbol.clone()),
            volume: Some(order.volume),
            price: Some(order.price),
            retcode: Some(retcode::PLACED),
            ..found
        })
    }

    /// The deal that a closing order made, also where its answer was lost.
    pub(super) fn closing_deal(&self, result: &TradeResult, magic: u64, position: u64) -> Option<Item> {
        let market = self.market();
        let made = |deal: &&Deal| deal.entry == Entry::Out && deal.position == position && deal.magic == magic;
        let deal = market.deals().iter().rev().take_while(|deal| deal.ticket > position).find(made)?;
        let known = [retcode::DONE, retcode::DONE_PARTIAL].contains(&result.retcode);
        Some(closing_item(deal, if known { result.retcode } else { retcode::DONE }))
    }
}

impl Confirm {
    /// The report of an opening deal.
    pub(super) fn opened(self, deal: &Deal) -> Self {
        Self {
            ticket: Some(deal.position),
            order: Some(deal.order),
            position: Some(deal.position),
            deal: Some(deal.ticket),
            symbol: Some(deal.symbol.clone()),
            action: Some(if deal.deal_type == DealType::Buy { Action::Buy } else { Action::Sell }),
            volume: Some(deal.volume),
            price: Some(deal.price),
            profit: Some(deal.net()),
            ..self
        }
    }
}

fn closings(market: &Market, magic: u64) -> Vec<Item> {
    let made = |deal: &&Deal| deal.entry == Entry::Out && deal.reason == Reason::Expert && deal.magic == magic;
    market.deals().iter().filter(made).map(|deal| closing_item(deal, retcode::DONE)).collect()
}

fn closing_item(deal: &Deal, code: u32) -> Item {
    Item {
        ticket: deal.position,
        deal: Some(deal.ticket),
        symbol: deal.symbol.clone(),
        volume: deal.volume,
        price: Some(deal.price),
        close_price: Some(deal.price),
        profit: Some(deal.net()),
        retcode: code,
        message: deal.comment.clone(),
    }
}
