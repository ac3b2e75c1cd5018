//! From what a sender wrote to a signal that makes sense. Pure; every fault of a request is told at once.

use common::domain::signal::{COMMENT_CHARACTERS_MAX, KEY_CHARACTERS_MAX};
use common::domain::{AccountName, Action, Invalid, Level, Order, OrderType, Percent, Symbol, Volume, decimal};
use common::error::FieldError;
use common::message::SignalAccepted;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime};
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};
use uuid::Uuid;

/// How deep lists and objects in other fields may be nested: a reader of the message gives up at 128 levels, of which it
/// has some of its own, and then the signal would be lost.
const NESTED_MAX: usize = 32;
/// The longest life a sender may ask for: a day.
const TTL_SECONDS_MAX: i32 = 86_400;

/// A trading signal. Decimals are numbers or strings; every optional field may be null.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct SignalRequest {
    /// Instrument, by the platform's name or the broker's. Names in the account's `symbol_map` and `symbols_allowed` are found
    /// in any case; any other is taken as it is written, since brokers have names that differ in case alone.
    #[schema(value_type = Option<Symbol>)]
    symbol: Option<String>,
    /// `BUY`, `SELL`, `CLOSE`, `CLOSE_ALL`, `MODIFY`, `PING`, in any case.
    action: String,
    /// `market` (default), `limit`, `stop`.
    order_type: Option<String>,
    /// The same as `order_type: "limit"`.
    limit_orders: Option<bool>,
    /// Price of a pending order; a reference for a market order.
    #[serde(default, deserialize_with = "decimal::option")]
    #[schema(value_type = Option<Level>)]
    entry: Option<Decimal>,
    /// Lots; none: the account's default.
    #[serde(default, deserialize_with = "decimal::option")]
    #[schema(value_type = Option<Volume>)]
    volume: Option<Decimal>,
    /// Size by the part of the equity lost at `sl`.
    #[serde(default, deserialize_with = "decimal::option")]
    #[schema(value_type = Option<Percent>)]
    risk_percent: Option<Decimal>,
    /// Stop loss price.
    #[serde(default, deserialize_with = "decimal::option")]
    #[schema(value_type = Option<Level>)]
    sl: Option<Decimal>,
    /// Take profit price.
    #[serde(default, deserialize_with = "decimal::option")]
    #[schema(value_type = Option<Level>)]
    tp: Option<Decimal>,
    /// Position or order to close or modify.
    #[schema(minimum = 1)]
    ticket: Option<i64>,
    /// How far the price may have moved.
    #[schema(minimum = 0)]
    max_slippage_points: Option<i32>,
    /// Life in seconds.
    #[schema(minimum = 1, maximum = 86_400)]
    ttl_seconds: Option<i32>,
    /// End of life; the earlier of both counts.
    #[serde(default, with = "time::serde::rfc3339::option")]
    expires_at: Option<OffsetDateTime>,
    /// When a resting order leaves the broker's book.
    #[serde(default, with = "time::serde::rfc3339::option")]
    order_expires_at: Option<OffsetDateTime>,
    /// Comment of the order.
    #[schema(max_length = 256)]
    comment: Option<String>,
    /// Trading account, `main` by default.
    #[schema(value_type = Option<AccountName>)]
    account: Option<String>,
    /// Idempotency key, as the header `Idempotency-Key`.
    #[schema(schema_with = key_schema)]
    signal_id: Option<Value>,
    /// Everything else, kept with the signal.
    #[serde(flatten)]
    #[schema(value_type = std::collections::HashMap<String, Value>)]
    metadata: Map<String, Value>,
}

/// A key is text; a number is taken for its text.
fn key_schema() -> Object {
    let types = [Type::String, Type::Number, Type::Null];
    ObjectBuilder::new().schema_type(SchemaType::from_iter(types)).max_length(Some(KEY_CHARACTERS_MAX)).build()
}

/// How many lists and objects are around the innermost value.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Collects what is wrong, field by field.
#[derive(Default)]
struct Faults(Vec<FieldError>);

impl Faults {
    fn add(&mut self, field: &str, message: impl Into<String>) {
        self.0.push(FieldError::new(field, message));
    }

    /// The value, or none and a fault.
    fn take<T>(&mut self, field: &str, outcome: Result<T, Invalid>) -> Option<T> {
        outcome.map_err(|error| self.add(field, error.to_string())).ok()
    }

    fn bounded<T: TryFrom<Decimal, Error = Invalid>>(&mut self, field: &str, value: Option<Decimal>) -> Option<T> {
        value.and_then(|value| self.take(field, T::try_from(value)))
    }
}

impl SignalRequest {
    /// The signal as it is published, or everything that is wrong with it.
    pub(crate) fn accept(
        self,
        principal: &str,
        header_key: Option<&str>,
        now: OffsetDateTime,
    ) -> Result<SignalAccepted, Vec<FieldError>> {
        let mut faults = Faults::default();
        let account = self.account.as_deref().map_or(Ok(AccountName::main()), str::parse);
        let account = faults.take("account", account);
        let idempotency_key = self.idempotency_key(header_key, &mut faults);
        self.check_times(idempotency_key.is_some(), now, &mut faults);
        let too_long = |text: &String| text.chars().count() > COMMENT_CHARACTERS_MAX;
        if self.comment.as_ref().is_some_and(|text| too_long(text) || text.chars().any(char::is_control)) {
            faults.add("comment", format!("has at most {COMMENT_CHARACTERS_MAX} printable characters"));
        }
        for (field, _) in self.metadata.iter().filter(|(_, value)| depth(value) > NESTED_MAX) {
            faults.add(field, format!("is nested more than {NESTED_MAX} deep"));
        }
        let order = self.order(&mut faults);
        let (Some(account), Some(order), true) = (account, order, faults.0.is_empty()) else { return Err(faults.0) };
        let signal_id = match &idempotency_key {
            Some(key) => order.keyed_id(principal, key, &account),
            None => Uuid::now_v7(),
        };
        Ok(SignalAccepted {
            signal_id,
            account,
            principal: principal.to_owned(),
            idempotency_key,
            order,
            received_at: now,
            ttl_seconds: self.ttl_seconds,
            expires_at: self.expires_at,
            order_expires_at: self.order_expires_at,
            comment: self.comment,
            metadata: self.metadata,
        })
    }

    fn order(&self, faults: &mut Faults) -> Option<Order> {
        let before = faults.0.len();
        let symbol = self.symbol.as_deref().and_then(|text| faults.take("symbol", text.parse()));
        let action = faults.take("action", self.action.trim().parse::<Action>());
        let order_type = self.order_type(faults);
        // Terminals write 0 for "no stop"; only MODIFY gives it a meaning of its own.
        let zero_is_none = action.is_some_and(|action| action != Action::Modify);
        let mut level = |field, value: Option<Decimal>| -> Option<Level> {
            faults.bounded(field, value.filter(|value| !(zero_is_none && value.is_zero())))
        };
        let (sl, tp) = (level("sl", self.sl), level("tp", self.tp));
        let order = Order {
            symbol,
            action: action?,
            order_type,
            entry: faults.bounded("entry", self.entry.filter(|value| !value.is_zero())),
            volume: faults.bounded("volume", self.volume),
            risk_percent: faults.bounded("risk_percent", self.risk_percent),
            sl,
            tp,
            ticket: self.ticket,
            max_slippage_points: self.max_slippage_points,
        };
        if self.ticket.is_some_and(|ticket| ticket <= 0) {
            faults.add("ticket", "is a positive number");
        }
        if self.max_slippage_points.is_some_and(|points| points < 0) {
            faults.add("max_slippage_points", "is 0 or more");
        }
        if faults.0.len() == before {
            for (field, message) in order.faults() {
                faults.add(field, message);
            }
        }
        Some(order)
    }

    fn order_type(&self, faults: &mut Faults) -> OrderType {
        let named = self.order_type.as_deref().and_then(|text| faults.take("order_type", text.trim().parse()));
        match (named, self.limit_orders) {
            (Some(OrderType::Stop | OrderType::Market), Some(true)) => {
                faults.add("limit_orders", "contradicts order_type");
                OrderType::Limit
            }
            (Some(order_type), _) => order_type,
            (None, Some(true)) => OrderType::Limit,
            (None, _) => OrderType::Market,
        }
    }

    fn idempotency_key(&self, header_key: Option<&str>, faults: &mut Faults) -> Option<String> {
        let body_key = match &self.signal_id {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(_) => {
                faults.add("signal_id", "is text");
                None
            }
        };
        // The header is meant for this; the body's field is what the first clients had.
        let key = header_key.map(str::to_owned).or(body_key).filter(|key| !key.is_empty())?;
        if key.chars().count() > KEY_CHARACTERS_MAX || key.chars().any(char::is_control) {
            faults.add("signal_id", format!("a key has at most {KEY_CHARACTERS_MAX} printable characters"));
        }
        Some(key)
    }

    /// With a key it may be a repetition, whose first sending was accepted in time: its sender is told so, and what is late
    /// indeed ends as expired.
    fn check_times(&self, keyed: bool, now: OffsetDateTime, faults: &mut Faults) {
        if self.ttl_seconds.is_some_and(|seconds| !(1..=TTL_SECONDS_MAX).contains(&seconds)) {
            faults.add("ttl_seconds", format!("is from 1 to {TTL_SECONDS_MAX}"));
        }
        let latest = now + Duration::days(366);
        for (field, time) in [("expires_at", self.expires_at), ("order_expires_at", self.order_expires_at)] {
            match time {
                Some(time) if time <= now && !keyed => faults.add(field, format!("is past: it is {now} here")),
                Some(time) if time > latest => faults.add(field, "is more than a year away"),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(body: &str) -> Result<SignalAccepted, Vec<FieldError>> {
        let request: SignalRequest = serde_json::from_str(body).expect(body);
        request.accept("p", None, OffsetDateTime::UNIX_EPOCH + Duration::days(20_000))
    }

    fn fields(body: &str) -> Vec<String> {
        accept(body).err().unwrap_or_default().into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn a_signal_of_the_first_clients_is_taken_as_they_meant_it() {
        let signal = accept(
            r#"{"signal_id":"S-1","symbol":"EURUSD","action":"buy","entry":1.1,"sl":1.09,"tp":"1.12","volume":null,
                "limit_orders":false,"confidence":0.85,"timeframe":"H1","reasoning":"trend"}"#,
        )
        .unwrap();
        assert_eq!(signal.order.order_type, OrderType::Market);
        assert_eq!(signal.order.action, Action::Buy);
        assert_eq!(signal.order.volume, None);
        assert_eq!(signal.idempotency_key.as_deref(), Some("S-1"));
        assert_eq!(serde_json::to_string(&signal.metadata["confidence"]).unwrap(), "0.85");
        assert_eq!(signal.metadata.len(), 3);
        let limit = accept(r#"{"symbol":"EURUSD","action":"BUY","entry":1.1,"limit_orders":true}"#).unwrap();
        assert_eq!(limit.order.order_type, OrderType::Limit);
    }

    #[test]
    fn a_repetition_after_its_end_is_still_the_same_signal() {
        let body = r#"{"symbol":"X","action":"BUY","signal_id":"a","expires_at":"2001-01-01T00:00:00Z"}"#;
        let lasting = body.replace("2001", "2024");
        assert_eq!(accept(body).unwrap().signal_id, accept(&lasting).unwrap().signal_id);
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let body = r#"{"symbol":"","action":"HOLD","volume":0,"account":"a b","ttl_seconds":0,
            "expires_at":"2001-01-01T00:00:00Z"}"#;
        assert_eq!(fields(body), ["account", "ttl_seconds", "expires_at", "symbol", "action"]);
        assert_eq!(fields(r#"{"symbol":"X","action":"BUY","volume":-1,"sl":-2}"#), ["sl", "volume"]);
        assert_eq!(
            fields(r#"{"symbol":"X","action":"BUY","order_type":"stop","limit_orders":true}"#),
            ["limit_orders"]
        );
    }

    #[test]
    fn what_is_nested_too_deeply_for_the_message_is_refused() {
        let body = |levels: usize| format!(r#"{{"action":"PING","x":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
        let signal = accept(&body(NESTED_MAX)).unwrap();
        let message = serde_json::to_string(&signal).unwrap();
        assert!(serde_json::from_str::<SignalAccepted>(&message).is_ok());
        assert_eq!(fields(&body(NESTED_MAX + 1)), ["x"]);
        assert_eq!(fields(&body(126)), ["x"]);
    }

    #[test]
    fn zero_means_no_stop_but_removes_it_in_a_modify() {
        assert_eq!(accept(r#"{"symbol":"X","action":"BUY","sl":0,"tp":0.0}"#).unwrap().order.sl, None);
        let modify = accept(r#"{"ticket":5,"action":"MODIFY","sl":0}"#).unwrap();
        assert!(modify.order.sl.is_some());
    }

    #[test]
    fn without_a_key_every_signal_is_a_new_one() {
        let body = r#"{"symbol":"X","action":"BUY"}"#;
        assert_ne!(accept(body).unwrap().signal_id, accept(body).unwrap().signal_id);
        let keyed = r#"{"symbol":"X","action":"BUY","signal_id":"k"}"#;
        assert_eq!(accept(keyed).unwrap().signal_id, accept(keyed).unwrap().signal_id);
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_sent_is_a_signal_or_a_list_of_faults(text in ".{0,80}", number in proptest::num::f64::ANY) {
            let body = serde_json::json!({
                "symbol": text, "action": "sell", "volume": number.to_string(), "sl": text, "comment": text,
            });
            if let Ok(request) = serde_json::from_value::<SignalRequest>(body) {
                match request.accept("p", Some(&text), OffsetDateTime::UNIX_EPOCH) {
                    Ok(signal) => proptest::prop_assert!(signal.order.faults().is_empty()),
                    Err(faults) => proptest::prop_assert!(!faults.is_empty()),
                }
            }
        }
    }
}
