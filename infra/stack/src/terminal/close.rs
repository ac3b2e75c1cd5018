//! Closings and modifications: actions over all positions and resting orders that a signal is about, with one report.
//!
//! Without a ticket only what carries a magic number of this account is touched.

use std::time::{Duration, Instant};

use rust_decimal::Decimal;

use super::execute::{is_unknown, millis};
use super::wire::{Action, Confirm, Item, Signal, Status};
use super::{Error, Terminal};
use crate::market::{Order, OrderType, Position, Side, TradeAction, TradeRequest, TradeResult, retcode};

impl Terminal {
    pub(super) async fn close(&self, signal: &Signal) -> Result<(), Error> {
        let started_at = Instant::now();
        let (targets, orders) = self.closing_targets(signal);
        if targets.is_empty() && orders.is_empty() {
            return match signal.action {
                Action::CloseAll => {
                    let nothing = Confirm { retcode: Some(retcode::DONE), ..Confirm::new(Status::Executed).of(signal) };
                    self.report(nothing.message("nothing was open"))
                }
                _ => self.refuse(signal, retcode::POSITION_CLOSED, "nothing to close"),
            };
        }
        self.begin(signal)?;
        let (mut items, mut unknown) = (Vec::new(), false);
        for (position, volume) in targets {
            let request = closing(
                signal,
                &position,
                volume,
                self.market().quote(&position.symbol).map(|q| q.price(position.side.opposite())),
            );
            let result = self.send_with_tries(&request, signal.id, None).await?;
            let deal = self.closing_deal(&result, signal.magic, position.ticket);
            unknown |= deal.is_none() && is_unknown(result.retcode);
            items.push(deal.unwrap_or_else(|| item(position.ticket, &position.symbol, &result)));
        }
        for order in orders {
            let request = TradeRequest {
                action: TradeAction::Remove,
                order: order.ticket,
                symbol: order.symbol,
                ..TradeRequest::default()
            };
            let result = self.send_with_tries(&request, signal.id, None).await?;
            unknown |= is_unknown(result.retcode);
            if result.retcode == retcode::DONE {
                self.desk().journal.covered.insert(order.ticket);
            }
            items.push(item(order.ticket, &request.symbol, &result));
        }
        if unknown {
            return self.report_if_found(signal);
        }
        self.report(summary(signal, items, started_at.elapsed()))
    }

    /// What a closing signal is about: positions with the volume to close, and resting orders to delete.
    fn closing_targets(&self, signal: &Signal) -> (Vec<(Position, Decimal)>, Vec<Order>) {
        let market = self.market();
        let desk = self.desk();
        let meant = |ticket: u64, symbol: &str, magic: u64| match signal.ticket {
            Some(wanted) => ticket == wanted,
            None => desk.journal.is_ours(magic) && signal.symbol.as_deref().is_none_or(|wanted| wanted == symbol),
        };
        // A closing of one symbol that lost its symbol must not become a closing of everything.
        if signal.action == Action::Close && signal.symbol.is_none() && signal.ticket.is_none() {
            return (Vec::new(), Vec::new());
        }
        let mut left = signal.volume;
        let mut targets = Vec::new();
        for position in market.positions().into_iter().filter(|one| meant(one.ticket, &one.symbol, one.magic)) {
            let volume = left.map_or(position.volume, |left| left.min(position.volume));
            left = left.map(|left| left - volume);
            if volume > Decimal::ZERO {
                targets.push((position, volume));
            }
        }
        let delete = signal.volume.is_none() || signal.ticket.is_some();
        let orders =
            market.orders().filter(|one| delete && meant(one.ticket, &one.symbol, one.magic)).cloned().collect();
        (targets, orders)
    }

    pub(super) async fn modify(&self, signal: &Signal) -> Result<(), Error> {
        let started_at = Instant::now();
        let requests = self.modifications(signal);
        if requests.is_empty() {
            return self.refuse(signal, retcode::POSITION_CLOSED, "nothing to modify");
        }
        self.begin(signal)?;
        let mut items = Vec::new();
        for request in requests {
            let result = self.send_with_tries(&request, signal.id, None).await?;
            if is_unknown(result.retcode) {
                return self.report_if_found(signal);
            }
            items.push(item(request.position.max(request.order), &request.symbol, &result));
        }
        self.report(summary(signal, items, started_at.elapsed()))
    }

    /// The requests that give the positions and orders a signal is about the stops it wants.
    pub(super) fn modifications(&self, signal: &Signal) -> Vec<TradeRequest> {
        let market = self.market();
        let desk = self.desk();
        let meant = |ticket: u64, symbol: &str, magic: u64| match signal.ticket {
            Some(wanted) => ticket == wanted,
            None => desk.journal.is_ours(magic) && signal.symbol.as_deref() == Some(symbol),
        };
        let wanted = |symbol: &str, stop: Option<Decimal>, now: Decimal| {
            stop.map_or(now, |stop| stop.round_dp(market.symbol(symbol).map_or(0, |spec| spec.digits)))
        };
        let positions =
            market.positions().into_iter().filter(|one| meant(one.ticket, &one.symbol, one.magic)).map(|one| {
                TradeRequest {
                    action: TradeAction::Sltp,
                    magic: signal.magic,
                    position: one.ticket,
                    sl: wanted(&one.symbol, signal.sl, one.sl),
                    tp: wanted(&one.symbol, signal.tp, one.tp),
                    symbol: one.symbol,
                    ..TradeRequest::default()
                }
            });
        let orders = market.orders().filter(|one| meant(one.ticket, &one.symbol, one.magic)).map(|one| TradeRequest {
            action: TradeAction::Modify,
            magic: signal.magic,
            order: one.ticket,
            price: one.price,
            sl: wanted(&one.symbol, signal.sl, one.sl),
            tp: wanted(&one.symbol, signal.tp, one.tp),
            symbol: one.symbol.clone(),
            expiration: one.expiration,
            ..TradeRequest::default()
        });
        positions.chain(orders).collect()
    }
}

fn closing(signal: &Signal, position: &Position, volume: Decimal, price: Option<Decimal>) -> TradeRequest {
    TradeRequest {
        magic: signal.magic,
        position: position.ticket,
        symbol: position.symbol.clone(),
        volume,
        order_type: if position.side == Side::Buy { OrderType::Sell } else { OrderType::Buy },
        price: signal.max_slippage_points.and(price).unwrap_or_default(),
        deviation: signal.max_slippage_points.unwrap_or(0),
        comment: signal.comment.clone().unwrap_or_default(),
        ..TradeRequest::default()
    }
}

/// One report over several positions. Of a single one the figures stand at the top too.
pub(super) fn summary(signal: &Signal, items: Vec<Item>, took: Duration) -> Confirm {
    let good = |item: &&Item| is_done(item.retcode);
    let done = items.iter().filter(good).count();
    let status = if done > 0 { Status::Executed } else { Status::Failed };
    let code = match items.iter().find(|item| !is_done(item.retcode)) {
        Some(failed) if done == 0 => failed.retcode,
        Some(_) => retcode::DONE_PARTIAL,
        None => items.first().map_or(retcode::DONE, |item| item.retcode),
    };
    let message = match items.as_slice() {
        [only] => only.message.clone(),
        _ => format!("{done} of {} done", items.len()),
    };
    let closed = items.iter().any(|item| item.deal.is_some());
    let mut confirm = Confirm {
        volume: closed.then(|| items.iter().filter(|item| item.deal.is_some()).map(|item| item.volume).sum()),
        profit: closed.then(|| items.iter().filter_map(|item| item.profit).sum()),
        retcode: Some(code),
        execution_ms: Some(millis(took)),
        ..Confirm::new(status).of(signal)
    }
    .message(message);
    if let [only] = items.as_slice() {
        confirm.ticket = Some(only.ticket).filter(|_| done == 1);
        confirm.position = only.deal.and(confirm.ticket);
        confirm.deal = only.deal;
        confirm.symbol = Some(only.symbol.clone());
        confirm.price = only.price;
        confirm.close_price = only.close_price;
    }
    confirm.results = items;
    confirm
}

fn item(ticket: u64, symbol: &str, result: &TradeResult) -> Item {
    Item {
        ticket,
        deal: None,
        symbol: symbol.to_owned(),
        volume: Decimal::ZERO,
        price: None,
        close_price: None,
        profit: None,
        retcode: result.retcode,
        message: result.comment.clone(),
    }
}

fn is_done(code: u32) -> bool {
    matches!(code, retcode::DONE | retcode::DONE_PARTIAL | retcode::NO_CHANGES)
}
