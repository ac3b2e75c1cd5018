//! Three accounts of the main job, compared: the market's own fills, an own sum of the shares, and the API's answers.

use std::time::{Duration, Instant};

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::UpError;
use super::job::{DEADLINE, Executed, Job, MEMBERS, unverified};
use crate::client::{cents, decimal};
use crate::market::{Deal, DealType, Entry};

/// A magic number is the account's base times this, plus the signal's number.
const MAGIC_IDS: u64 = 1_000_000_000_000;

/// The account's profit in cents, by the market's own books.
pub(super) struct Books {
    pub(super) equity: i128,
    pub(super) profit: i128,
}

impl Job {
    pub(super) fn books(&self) -> Books {
        let whole = |amount: Decimal| (amount * Decimal::ONE_HUNDRED).trunc().mantissa();
        self.with_market(|market| {
            let deposits: Decimal =
                market.deals().iter().filter(|deal| deal.deal_type == DealType::Balance).map(Deal::net).sum();
            let account = market.account();
            Books { equity: whole(account.equity), profit: whole(account.equity - account.credit - deposits) }
        })
    }

    /// One fill in the market, and the same ticket, price and volume in the API's trade.
    pub(super) async fn compare_opening(&self, signal: &Executed) -> Result<(), UpError> {
        let fills: Vec<Deal> = self.fills(signal.id, Entry::In);
        let [fill] = fills.as_slice() else {
            return Err(unverified(format!("signal #{} has {} fills in the market", signal.id, fills.len())));
        };
        let trades = self.operator.get("/api/trades?limit=1000").await?;
        let same = |trade: &&Value| {
            trade["signal_id"] == signal.signal_id.as_str()
                && trade["ticket"].as_u64() == Some(fill.position)
                && decimal(&trade["open_price"]) == fill.price
                && decimal(&trade["volume"]) == fill.volume
        };
        match trades.as_array().map(|trades| trades.iter().filter(same).count()) {
            Some(1) => Ok(()),
            _ => Err(unverified(format!("the trade of signal #{} differs from the market's fill {fill:?}", signal.id))),
        }
    }

    fn fills(&self, id: u64, entry: Entry) -> Vec<Deal> {
        let ours =
            |deal: &&Deal| deal.deal_type != DealType::Balance && deal.entry == entry && deal.magic % MAGIC_IDS == id;
        self.with_market(|market| market.deals().iter().filter(ours).cloned().collect())
    }

    /// Every signal of the job has its fills, and no opening more than one; returns the number of orders.
    pub(super) fn compare_orders(&self, executed: &[Executed]) -> Result<usize, UpError> {
        let mut orders = 0;
        for signal in executed {
            let (opened, closed) = (self.fills(signal.id, Entry::In).len(), self.fills(signal.id, Entry::Out).len());
            if opened > 1 || opened + closed == 0 {
                return Err(unverified(format!("signal #{} opened {opened} and closed {closed} times", signal.id)));
            }
            orders += opened + closed;
        }
        Ok(orders)
    }

    /// The members' figures of the API against an own sum from the market's books.
    pub(super) async fn compare_money(
        &self,
        before: &Value,
        books: &Books,
        after: &Value,
    ) -> Result<Vec<Value>, UpError> {
        let now = self.books();
        let expected = cents(&before["pool_equity"]) + now.profit - books.profit;
        if cents(&after["pool_equity"]) != expected {
            let says = &after["pool_equity"];
            return Err(unverified(format!("the pool holds {says}, the market's books say {expected} cents")));
        }
        let units = decimal(&after["units"]).trunc().mantissa();
        let (mut sum, mut counted, mut members) = (0, 0, Vec::new());
        for (name, _) in MEMBERS {
            let stats = self.operator.get(&format!("/api/users/{name}/stats")).await?;
            let own = decimal(&stats["accounts"][0]["units"]).trunc().mantissa();
            let (value, share) = (cents(&stats["value"]), own * expected.max(0) / units.max(1));
            if !(share..=share + 1).contains(&value) {
                return Err(unverified(format!("{name} has {} where {share} cents are his share", stats["value"])));
            }
            sum += value;
            counted += own;
            members.push(json!({
                "user_id": name,
                "investment": stats["investment"],
                "value": stats["value"],
                "profit_loss": stats["profit_loss"],
            }));
        }
        // Other members may have joined this data folder; alone, these two have every cent.
        if counted == units && sum != expected.max(0) {
            return Err(unverified(format!("the members have {sum} cents, the pool {expected}")));
        }
        Ok(members)
    }

    /// Waits until the API shows the account as the market has it, and the members' values with it.
    pub(super) async fn settled(&self) -> Result<Value, UpError> {
        let started = Instant::now();
        loop {
            let stats = self.operator.get("/api/account/stats").await?;
            let books = self.books();
            let same = !stats["account"].is_null() && cents(&stats["account"]["equity"]) == books.equity;
            if same && decimal(&stats["pending"]).is_zero() && self.valued(&stats).await? {
                return Ok(stats);
            }
            if started.elapsed() > DEADLINE {
                return Err(unverified(format!("the account did not settle at {} cents: {stats}", books.equity)));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whether the two members' values belong to the pool's equity of these stats.
    async fn valued(&self, stats: &Value) -> Result<bool, UpError> {
        let (equity, units) = (cents(&stats["pool_equity"]).max(0), decimal(&stats["units"]).trunc().mantissa());
        for (name, _) in MEMBERS {
            let path = format!("/api/users/{name}/stats");
            let (status, member) = self.operator.send(reqwest::Method::GET, &path, None).await?;
            let own = decimal(&member["accounts"][0]["units"]).trunc().mantissa();
            let share = if units == 0 { 0 } else { own * equity / units };
            if status.is_success() && !(share..=share + 1).contains(&cents(&member["value"])) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
