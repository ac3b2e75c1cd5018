//! What a terminal sends about an order, as it is written and as it is meant.

use std::ops::Deref;

use common::domain::{Action, decimal};
use common::error::FieldError;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::life::Status;

/// What a terminal says in words, without zero characters, which no column takes: a report is never refused for its wording.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(from = "String", into = "String")]
#[schema(value_type = String)]
pub(crate) struct Text(String);

impl From<String> for Text {
    fn from(mut text: String) -> Self {
        text.retain(|character| character != '\0');
        Self(text)
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// A report on an order. The first Expert Advisor sent ticket, symbol, action, volume, price and status only.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct Confirmation {
    /// The signal, by its id.
    pub(crate) signal_id: Option<Text>,
    /// The signal, by its number.
    pub(crate) id: Option<i64>,
    /// The attempt it was handed out with.
    pub(crate) attempt: Option<i32>,
    /// `executed` (default), `placed`, `failed`, `not_sent`, `not_found`, `closed`.
    status: Option<Text>,
    /// The position, or the order while it rests.
    ticket: Option<i64>,
    pub(crate) order: Option<i64>,
    position: Option<i64>,
    pub(crate) deal: Option<i64>,
    pub(crate) symbol: Option<Text>,
    action: Option<Text>,
    /// Lots filled; below the requested: a partial fill.
    #[serde(default, deserialize_with = "decimal::option")]
    #[schema(value_type = Option<decimal::Written>)]
    pub(crate) volume: Option<Decimal>,
    #[serde(default, deserialize_with = "decimal::option")]
    #[schema(value_type = Option<decimal::Written>)]
    pub(crate) price: Option<Decimal>,
    #[serde(default, deserialize_with = "decimal::option")]
    #[schema(value_type = Option<decimal::Written>)]
    close_price: Option<Decimal>,
    #[serde(default, deserialize_with = "decimal::option")]
    #[schema(value_type = Option<decimal::Written>)]
    pub(crate) profit: Option<Decimal>,
    /// MT5's return code.
    pub(crate) retcode: Option<i32>,
    pub(crate) message: Option<Text>,
    pub(crate) execution_ms: Option<i64>,
    /// The installation that reports.
    pub(crate) terminal: Option<Text>,
    /// The positions that one action closed.
    results: Option<Vec<Part>>,
}

/// One position of an action over several.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
pub(crate) struct Part {
    /// The position, or a resting order that was deleted.
    pub(crate) ticket: Option<i64>,
    pub(crate) deal: Option<i64>,
    pub(crate) symbol: Option<Text>,
    #[serde(default, deserialize_with = "decimal::option")]
    #[schema(value_type = Option<decimal::Written>)]
    pub(crate) volume: Option<Decimal>,
    #[serde(default, deserialize_with = "decimal::option")]
    #[schema(value_type = Option<decimal::Written>)]
    pub(crate) price: Option<Decimal>,
    #[serde(default, deserialize_with = "decimal::option")]
    #[schema(value_type = Option<decimal::Written>)]
    pub(crate) close_price: Option<Decimal>,
    #[serde(default, deserialize_with = "decimal::option")]
    #[schema(value_type = Option<decimal::Written>)]
    pub(crate) profit: Option<Decimal>,
    pub(crate) retcode: Option<i32>,
    pub(crate) message: Option<Text>,
}

fn positive(number: Option<i64>) -> Option<i64> {
    number.filter(|number| *number > 0)
}

impl Confirmation {
    /// What it says.
    pub(crate) fn status(&self) -> Result<Status, FieldError> {
        match self.status.as_deref().unwrap_or("executed").to_ascii_lowercase().as_str() {
            "executed" | "filled" | "success" => Ok(Status::Executed),
            "placed" => Ok(Status::Placed),
            "failed" => Ok(Status::Failed),
            "not_sent" => Ok(Status::NotSent),
            "not_found" => Ok(Status::NotFound),
            "closed" => Ok(Status::Closed),
            other => Err(FieldError::new(
                "status",
                format!("one of executed, placed, failed, not_sent, not_found, closed; got {other:?}"),
            )),
        }
    }

    /// The name of the status, for the records.
    pub(crate) fn status_word(status: Status) -> &'static str {
        match status {
            Status::Executed => "executed",
            Status::Placed => "placed",
            Status::Failed => "failed",
            Status::NotSent => "not_sent",
            Status::NotFound => "not_found",
            Status::Closed => "closed",
        }
    }

    /// The action it names.
    pub(crate) fn action(&self) -> Result<Option<Action>, FieldError> {
        let parse = |text: &str| text.trim().parse().map_err(|error| FieldError::new("action", format!("{error}")));
        self.action.as_deref().map(parse).transpose()
    }

    /// The broker's number that proves a trade.
    pub(crate) fn ticket(&self) -> Option<i64> {
        let own = positive(self.ticket).or(positive(self.position)).or(positive(self.order));
        own.or_else(|| self.results.iter().flatten().find_map(|part| positive(part.ticket)))
    }

    /// Whether it names its signal.
    pub(crate) fn names_a_signal(&self) -> bool {
        self.signal_id.is_some() || self.id.is_some()
    }

    /// The signal's id, where it is one of ours.
    pub(crate) fn uuid(&self) -> Option<Uuid> {
        self.signal_id.as_deref().and_then(|text| text.trim().parse().ok())
    }

    /// The positions that were closed: the parts, or the report itself.
    pub(crate) fn closings(&self) -> Vec<Part> {
        match &self.results {
            Some(parts) if !parts.is_empty() => parts.clone(),
            _ => vec![Part {
                ticket: self.ticket(),
                deal: self.deal,
                symbol: self.symbol.clone(),
                volume: self.volume,
                price: self.price,
                close_price: self.close_price.or(self.price),
                profit: self.profit,
                retcode: self.retcode,
                message: None,
            }],
        }
    }

    /// The same for every repetition of a report. A report that names neither signal nor ticket repeats nothing.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        if !self.names_a_signal() && self.ticket().is_none() {
            return Sha256::digest(Uuid::new_v4()).into();
        }
        let stable = Self { message: None, execution_ms: None, ..self.clone() };
        Sha256::digest(serde_json::to_vec(&stable).unwrap_or_default()).into()
    }
}
