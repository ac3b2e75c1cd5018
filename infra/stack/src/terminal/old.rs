//! The Expert Advisor of the original design, for the compatibility that was promised to it.
//!
//! It knows neither claims nor ids nor retries: what it could not confirm is lost, as it always was.

use std::time::Duration;

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::json;

use super::{EMPTY_PAUSE, Error, Event, Terminal};
use crate::market::{Filling, OrderType, Request, Response, TradeRequest, TradeResult, retcode};

/// The one magic number it gave to all of its orders.
const MAGIC: u64 = 123_456;
/// Pause between two polls.
const POLL_EVERY: Duration = Duration::from_millis(200);

/// All that it read of a signal.
#[derive(Deserialize)]
struct Signal {
    symbol: String,
    action: String,
    volume: Decimal,
    sl: Option<Decimal>,
    tp: Option<Decimal>,
}

impl Terminal {
    pub(super) async fn run_old(&self) -> Result<(), Error> {
        let mut updated_at: Option<tokio::time::Instant> = None;
        loop {
            if self.or_stop(self.poll_old()).await.is_none() {
                return Ok(());
            }
            self.call(Request::Advance { steps: 1 });
            if updated_at.is_none_or(|at| at.elapsed() >= self.config.update_interval) {
                let account = self.market().account();
                let update = json!({
                    "balance": account.balance, "equity": account.equity, "margin": account.margin,
                    "free_margin": account.free_margin, "profit": account.profit,
                });
                match self.or_stop(self.api.post("/api/account/update", &update)).await {
                    None => return Ok(()),
                    Some(Ok(_)) => updated_at = Some(tokio::time::Instant::now()),
                    Some(Err(failure)) => self.error(format!("account update failed: {failure}")),
                }
            }
            if self.or_stop(tokio::time::sleep(POLL_EVERY.max(EMPTY_PAUSE))).await.is_none() {
                return Ok(());
            }
        }
    }

    async fn poll_old(&self) {
        let answer = self.api.get("/api/signals/pending", &[], Duration::ZERO).await;
        match answer.and_then(|answer| answer.json::<Vec<Signal>>()) {
            Ok(signals) => {
                for signal in &signals {
                    self.execute_old(signal).await;
                }
            }
            Err(failure) => self.error(format!("poll failed: {failure}")),
        }
    }

    async fn execute_old(&self, signal: &Signal) {
        let order_type = match signal.action.as_str() {
            "BUY" => OrderType::Buy,
            "SELL" => OrderType::Sell,
            other => return self.error(format!("action {other} is not known to this terminal")),
        };
        tokio::time::sleep(self.config.latency).await;
        let request = TradeRequest {
            magic: MAGIC,
            symbol: signal.symbol.clone(),
            volume: signal.volume,
            order_type,
            sl: signal.sl.unwrap_or_default(),
            tp: signal.tp.unwrap_or_default(),
            filling: Filling::Ioc,
            ..TradeRequest::default()
        };
        let Response::Trade(TradeResult { retcode, order, price, volume, .. }) = self.call(Request::OrderSend(request))
        else {
            return;
        };
        self.tell(|| Event::Executed { id: 0, symbol: signal.symbol.clone(), ticket: order, price, volume, retcode });
        if ![retcode::DONE, retcode::DONE_PARTIAL].contains(&retcode) {
            return;
        }
        let confirm = json!({
            "ticket": order, "symbol": signal.symbol, "action": signal.action, "volume": volume, "price": price, "status": "executed",
        });
        if let Err(failure) = self.api.post("/api/trades/confirm", &confirm).await {
            self.error(format!("confirmation of {order} failed: {failure}"));
        }
    }
}
