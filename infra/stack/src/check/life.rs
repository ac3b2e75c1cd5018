//! Each signal's life by its events, and its orders at the market.

use std::collections::{BTreeMap, HashMap, HashSet};

use time::OffsetDateTime;
use uuid::Uuid;

use super::history::{Broken, Event, Found, History, MAGIC_SPAN, Signal, is_end};
use crate::market::{Order, Reason};

/// The market's orders that open, by the signal whose magic number they carry.
pub(super) struct Openings<'a> {
    orders: HashMap<i64, Vec<&'a Order>>,
    latency: std::time::Duration,
}

impl<'a> Openings<'a> {
    pub(super) fn of(&self, id: i64) -> &[&'a Order] {
        self.orders.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Those that reached the market later than an order can that was sent before `expiry`.
    pub(super) fn late(&self, id: i64, expiry: OffsetDateTime) -> impl Iterator<Item = &&'a Order> {
        let latest = expiry + self.latency;
        self.of(id).iter().filter(move |order| order.placed_at.is_none_or(|at| at > latest))
    }
}

/// Whether an order opened a position, or rests to do so: its position is its own.
fn opens(order: &Order) -> bool {
    order.position == 0 || order.position == order.ticket
}

fn signal_number(order: &Order) -> i64 {
    i64::try_from(order.magic % MAGIC_SPAN).unwrap_or_default()
}

/// Finds the opening orders of each signal; what no signal of the account can have sent is told.
pub(super) fn openings<'a>(history: &'a History, found: &mut Found) -> Openings<'a> {
    let known: HashMap<i64, &Signal> = history.signals.iter().map(|signal| (signal.id, signal)).collect();
    let mut orders: HashMap<i64, Vec<&Order>> = HashMap::new();
    for order in history.orders.iter().filter(|order| order.magic != 0) {
        let id = signal_number(order);
        let base = i64::try_from(order.magic / MAGIC_SPAN).ok();
        let signal = known.get(&id).filter(|signal| signal.account == history.account && signal.magic_base == base);
        match signal {
            Some(_) if opens(order) => orders.entry(id).or_default().push(order),
            Some(_) => {}
            None => {
                let what = format!("order {} of {} carries magic {}", order.ticket, order.symbol, order.magic);
                found.add(Broken::OrderOfNobody, what, [order.ticket]);
            }
        }
    }
    Openings { orders, latency: history.latency }
}

pub(super) fn judge(history: &History, openings: &Openings<'_>, found: &mut Found) {
    let mut events: HashMap<Uuid, Vec<&Event>> = HashMap::new();
    for event in &history.events {
        events.entry(event.signal_id).or_default().push(event);
    }
    for signal in &history.signals {
        let events = events.remove(&signal.signal_id).unwrap_or_default();
        end(signal, &events, found);
        attempts(signal, &events, found);
        if signal.account == history.account {
            opening(signal, openings, found);
        }
    }
    for signal_id in events.into_keys() {
        found.add(Broken::SignalLost, "it has events and no row", [signal_id]);
    }
    order(history, found);
}

/// Exactly one end, the row's.
fn end(signal: &Signal, events: &[&Event], found: &mut Found) {
    let ids = [signal.signal_id];
    let told: Vec<&str> = events.iter().map(|event| event.state.as_str()).filter(|state| is_end(state)).collect();
    if told.len() > 1 {
        found.add(Broken::EndedTwice, format!("signal {} ended as {}", signal.id, told.join(", then ")), ids);
    }
    if !is_end(&signal.state) {
        found.add(Broken::NotEnded, format!("signal {} is still {}", signal.id, signal.state), ids);
    } else if told.last().is_none_or(|last| *last != signal.state) {
        let last = told.last().map_or("in no end", |last| last);
        let what = format!("signal {} is {}, its events leave it {last}", signal.id, signal.state);
        found.add(Broken::EndUntold, what, ids);
    }
}

/// Every claim has a higher number than all before it, and everything else that happens has the number of the claim it
/// belongs to. What gives a claim back may be of a later moment than the next claim, which waited for a lock.
fn attempts(signal: &Signal, events: &[&Event], found: &mut Found) {
    let mut current = 0;
    for event in events {
        let grows = match event.state.as_str() {
            "processing" => event.attempt > current,
            "pending" => event.attempt == current || event.attempt + 1 == current,
            _ => event.attempt == current,
        };
        if !grows {
            let what = format!("signal {} is {} in attempt {} after {current}", signal.id, event.state, event.attempt);
            found.add(Broken::AttemptShrank, what, [signal.signal_id]);
        }
        current = current.max(event.attempt);
    }
    if signal.attempt != current {
        let what = format!("signal {} is in attempt {}, its events in {current}", signal.id, signal.attempt);
        found.add(Broken::AttemptShrank, what, [signal.signal_id]);
    }
}

/// At most one opening order, in time, and the end that the market shows.
fn opening(signal: &Signal, openings: &Openings<'_>, found: &mut Found) {
    let orders = openings.of(signal.id);
    let ids = |orders: &[&Order]| {
        let tickets = orders.iter().map(|order| format!("order {}", order.ticket));
        std::iter::once(signal.signal_id.to_string()).chain(tickets).collect::<Vec<_>>()
    };
    if orders.len() > 1 {
        let what = format!("signal {} has {} opening orders", signal.id, orders.len());
        found.add(Broken::OpenedTwice, what, ids(orders));
    }
    if let Some(expiry) = signal.expires_at {
        for order in openings.late(signal.id, expiry) {
            let at = order.placed_at.map_or("an unknown time".to_owned(), |at| at.to_string());
            let what = format!("signal {} expired at {expiry} and was opened at {at}", signal.id);
            found.add(Broken::OpenedLate, what, ids(&[order]));
        }
    }
    // Terminals of the first protocol put no number on their orders, and what never ended says nothing yet.
    let can_tell =
        signal.opens() && is_end(&signal.state) && signal.claim_protocol.is_none_or(|protocol| protocol >= 2);
    if (can_tell && orders.is_empty() == (signal.state == "executed")) || (!signal.opens() && !orders.is_empty()) {
        let what =
            format!("{} {} is {} and has {} opening orders", signal.action, signal.id, signal.state, orders.len());
        found.add(Broken::EndUntrue, what, ids(orders));
    }
}

/// Openings and closings of one symbol reach the market in the order of their signals. The design names one exception: a
/// closing does not wait for what is unknown, and no opening is handed out again after it; and unknown claims of the first
/// protocol hold nothing back.
fn order(history: &History, found: &mut Found) {
    let signals: HashMap<i64, &Signal> = history.signals.iter().map(|signal| (signal.id, signal)).collect();
    let unknown: HashSet<Uuid> =
        history.events.iter().filter(|event| event.state == "unknown").map(|event| event.signal_id).collect();
    let claims = history.events.iter().filter(|event| event.state == "processing");
    let last_claim: HashMap<Uuid, OffsetDateTime> = claims.map(|event| (event.signal_id, event.at)).collect();
    let claimed_after = |signal: &Signal, closing: &Signal| {
        signal.opens()
            && signal.symbol == closing.symbol
            && last_claim.get(&signal.signal_id) > last_claim.get(&closing.signal_id)
    };
    // A position that the broker closed carries its opener's number on the closing order.
    let by_broker: HashSet<u64> =
        history.deals.iter().filter(|deal| deal.reason != Reason::Expert).map(|deal| deal.order).collect();
    let mut symbols: BTreeMap<&str, Vec<(u64, &Signal)>> = BTreeMap::new();
    for order in history.orders.iter().filter(|order| opens(order) || !by_broker.contains(&order.ticket)) {
        let signal = signals.get(&signal_number(order)).filter(|signal| signal.account == history.account);
        if let Some(signal) = signal.filter(|_| order.magic != 0) {
            symbols.entry(&order.symbol).or_default().push((order.ticket, signal));
        }
    }
    for (symbol, mut acts) in symbols {
        acts.sort_unstable_by_key(|(ticket, _)| *ticket);
        for (place, (ticket, signal)) in acts.iter().enumerate() {
            let overtook = acts[..place].iter().find(|(_, before)| {
                let exempt = unknown.contains(&signal.signal_id)
                    && ((before.closes() && !claimed_after(signal, before))
                        || signal.claim_protocol.is_some_and(|protocol| protocol < 2));
                before.id > signal.id && !exempt
            });
            if let Some((first, before)) = overtook {
                let what = format!("signal {} reached {symbol} before signal {}", before.id, signal.id);
                found.add(Broken::SymbolOutOfOrder, what, [format!("order {first}"), format!("order {ticket}")]);
            }
        }
    }
}
