//! Account updates, and obedience to the mode that comes back with them.
//!
//! An update is never sent again: the next one says the same, or better. Numbers only grow within a session.

use std::time::{Duration, Instant};

use rust_decimal::Decimal;

use super::api::Pause;
use super::execute::millis;
use super::wire::{Mode, Update, UpdateAnswer};
use super::{Error, Event, Terminal};
use crate::market::{DealType, Order, Request, TradeAction, TradeRequest};

/// The deals added up so far, as the terminal sees them.
#[derive(Default)]
struct Sums {
    seen: u64,
    deposits: Decimal,
    all: Decimal,
}

impl Terminal {
    /// Sends the account's figures when they change, not too often, and every few seconds.
    pub(super) async fn update(&self) -> Result<(), Error> {
        let (mut sums, mut pause) = (Sums::default(), Pause::new());
        let (mut seq, mut sent): (u64, Option<(u64, Instant)>) = (0, None);
        loop {
            let revision = self.market().revision();
            let due = sent.is_none_or(|(last, at)| last != revision || at.elapsed() >= self.config.update_interval);
            let mut rest = self.config.update_gap.max(Duration::from_millis(1));
            if due {
                seq += 1;
                let update = self.figures(seq, &mut sums);
                let at = Instant::now();
                let Some(answer) = self.or_stop(self.api.post("/api/account/update", &update)).await else {
                    return Ok(());
                };
                match answer.and_then(|answer| answer.json::<UpdateAnswer>()) {
                    Ok(answer) => {
                        (sent, pause) = (Some((revision, at)), Pause::new());
                        self.obey(answer.mode);
                        let Update { balance, equity, profit, open_positions, .. } = update;
                        self.tell(|| Event::Account { balance, equity, profit, open_positions });
                    }
                    Err(failure) => {
                        self.error(format!("account update failed: {failure}"));
                        rest = rest.max(pause.next());
                    }
                }
            }
            if self.or_stop(tokio::time::sleep(rest)).await.is_none() {
                return Ok(());
            }
        }
    }

    fn figures(&self, seq: u64, sums: &mut Sums) -> Update {
        let market = self.market();
        for deal in market.deals_after(sums.seen) {
            sums.seen = deal.ticket;
            sums.all += deal.net();
            if deal.deal_type == DealType::Balance {
                sums.deposits += deal.profit;
            }
        }
        let account = market.account();
        let tick_age =
            if self.config.tick_interval.is_some() { self.desk().ticked_at.elapsed() } else { Duration::ZERO };
        Update {
            balance: account.balance,
            equity: account.equity,
            margin: account.margin,
            free_margin: account.free_margin,
            profit: account.profit,
            login: account.login,
            currency: account.currency,
            credit: account.credit,
            net_deposits: Some(sums.deposits).filter(|_| sums.all == account.balance),
            session: self.session.clone(),
            seq,
            age_ms: 0,
            open_positions: market.positions().len(),
            connected: true,
            trade_allowed: account.trade_allowed,
            tick_age_ms: millis(tick_age),
            terminal: self.id.clone(),
        }
    }

    /// Unless everything is handed out, no order of ours that would open may rest at the broker.
    pub(super) fn obey(&self, mode: Option<Mode>) {
        if !matches!(mode, Some(Mode::Reducing | Mode::Halted)) {
            return;
        }
        let resting: Vec<Order> = {
            let market = self.market();
            let desk = self.desk();
            market.orders().filter(|order| desk.journal.is_ours(order.magic)).cloned().collect()
        };
        for order in resting {
            let request = TradeRequest {
                action: TradeAction::Remove,
                order: order.ticket,
                symbol: order.symbol,
                ..TradeRequest::default()
            };
            self.call(Request::OrderSend(request));
            self.traded.notify_one();
        }
    }
}
