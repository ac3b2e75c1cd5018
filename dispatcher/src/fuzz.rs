//! What fuzzing calls: a terminal's reports as the handlers read and judge them.

use common::domain::AccountName;
use common::error::Problem;
use common::message::AccountUpdated;
use rust_decimal::Decimal;
use serde_json::Value;
use time::OffsetDateTime;

use crate::confirmation::Confirmation;
use crate::http::account::Update;

/// What a confirmation is taken for.
pub struct Confirmed {
    /// The same for every repetition.
    pub fingerprint: [u8; 32],
    /// Whether it names its signal or a trade, so that a repetition can be known.
    pub repeatable: bool,
    /// The number that proves a trade.
    pub ticket: Option<i64>,
    /// As it is kept.
    pub report: Value,
    /// Volume, price, profit.
    pub figures: [Option<Decimal>; 3],
    /// Positions that it closes.
    pub closings: usize,
}

/// The body of a confirmation.
pub fn confirmation(body: &[u8]) -> Result<Confirmed, Problem> {
    let report = common::http::fuzz::body::<Confirmation>(body)?;
    let invalid = |error| Problem::invalid(vec![error]);
    (report.status().map_err(invalid)?, report.action().map_err(invalid)?);
    let _ = report.uuid();
    Ok(Confirmed {
        fingerprint: report.fingerprint(),
        repeatable: report.names_a_signal() || report.ticket().is_some(),
        ticket: report.ticket(),
        figures: [report.volume, report.price, report.profit],
        closings: report.closings().len(),
        report: serde_json::to_value(&report).unwrap_or_default(),
    })
}

/// The body of an account's figures.
pub fn update(body: &[u8], received_at: OffsetDateTime) -> Result<AccountUpdated, Problem> {
    common::http::fuzz::body::<Update>(body)?.accept(AccountName::main(), received_at).map_err(Problem::invalid)
}
