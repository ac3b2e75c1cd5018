//! A member's statement: what was his at the beginning, what he moved, what he earned, what is his at the end. Each
//! line's value is the one before it, with the line's amount and its profit.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use common::error::{FieldError, Problem};
use common::http::{Caller, Path, Query};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{account_of, allow_member, money, unit_price, unknown_member};
use crate::Distributor;
use crate::error::Error;
use crate::store::history::{self, Book, Position};
use crate::store::{member, retention};

/// Which part of the books.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Period {
    /// What happened after this, RFC 3339; all by default.
    #[serde(default, with = "time::serde::rfc3339::option")]
    from: Option<OffsetDateTime>,
    /// And not after this; now by default.
    #[serde(default, with = "time::serde::rfc3339::option")]
    to: Option<OffsetDateTime>,
    /// All of the member's accounts by default.
    #[param(min_length = 1)]
    account: Option<String>,
}

/// One line. The first is `opening`, the last is `closing`.
#[derive(Serialize, ToSchema)]
pub(super) struct Line {
    account: String,
    currency: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    /// `opening`, `deposit`, `withdrawal`, `pool_closed` or `closing`.
    kind: String,
    movement_id: Option<Uuid>,
    /// Above zero for a deposit, below for a withdrawal.
    amount: Decimal,
    /// Since the line before.
    profit: Decimal,
    /// After this line.
    value: Decimal,
    units: Decimal,
    /// Of 10^8 units, in minor units of the currency; null where the pool has none, or it was retired.
    unit_price: Option<Decimal>,
}

/// One account's part of a statement.
#[derive(Serialize, ToSchema)]
pub(super) struct AccountStatement {
    account: String,
    currency: Option<String>,
    opening_value: Decimal,
    deposits: Decimal,
    withdrawals: Decimal,
    profit: Decimal,
    closing_value: Decimal,
    units: Decimal,
    lines: Vec<Line>,
}

/// A member's statement.
#[derive(Serialize, ToSchema)]
pub(super) struct Statement {
    user_id: String,
    name: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    from: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    to: OffsetDateTime,
    accounts: Vec<AccountStatement>,
}

/// Tells what became of a member's money in a period, as JSON, or as CSV where that is asked for.
#[utoipa::path(get, path = "/api/users/{id}/statement", tag = "members", params(("id" = String, Path), Period),
    responses((status = 200, content((Statement = "application/json"), (String = "text/csv"))),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 410, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn statement(
    State(distributor): State<Arc<Distributor>>,
    caller: Caller,
    Path(id): Path<String>,
    Query(period): Query<Period>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    allow_member(&caller.0, &caller, &id)?;
    let account = period.account.map(|account| account_of(Some(account))).transpose()?;
    let mut transaction = distributor.pool.begin_with("begin isolation level repeatable read read only").await?;
    retention::hold(&mut transaction).await?;
    let user = member::read(&mut transaction, &id).await?.ok_or_else(|| unknown_member(&id))?;
    let now = distributor.clock.now();
    let (from, to) = (period.from.unwrap_or(user.created_at), period.to.unwrap_or(now).min(now));
    if from > to {
        return Err(FieldError::new("from", "is not after to, nor in the future").into());
    }
    let mut accounts = Vec::new();
    for book in history::books(&mut transaction, &id).await? {
        if account.as_ref().is_none_or(|account| *account == book.account) {
            accounts.push(account_statement(&mut transaction, &id, book, from, to).await?);
        }
    }
    transaction.commit().await?;
    let statement = Statement { user_id: user.user_id, name: user.name, from, to, accounts };
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accepts.split(',').any(|kind| kind.split(';').next().is_some_and(|kind| kind.trim() == "text/csv")) {
        Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present")], csv(&statement)?).into_response())
    } else {
        Ok(axum::Json(statement).into_response())
    }
}

async fn account_statement(
    db: &mut sqlx::PgConnection,
    user_id: &str,
    book: Book,
    from: OffsetDateTime,
    to: OffsetDateTime,
) -> Result<AccountStatement, Error> {
    let Book { account, currency } = book;
    let kept_since = history::kept_since(db, &account).await?;
    let is_kept = |at| kept_since.is_none_or(|since| at >= since);
    let opening = history::position(db, &account, user_id, from).await?;
    let closing = history::position(db, &account, user_id, to).await?;
    // Movements are of all time; what units were worth between two of them is not.
    for (at, position) in [(from, &opening), (to, &closing)] {
        if let Some(since) = kept_since.filter(|_| !is_kept(at) && !position.units.is_zero()) {
            return Err(Error::Retired("the member's values", account, since));
        }
    }
    let price_at = |at, position: &Position| unit_price(position.equity, position.pool_units).filter(|_| is_kept(at));
    let mut lines = Vec::new();
    let mut line = |at, kind: &str, movement_id, (amount, profit, value): (i64, i64, i64), units, price| {
        lines.push(Line {
            account: account.clone(),
            currency: currency.clone(),
            at,
            kind: kind.to_owned(),
            movement_id,
            amount: money(amount),
            profit: money(profit),
            value: money(value),
            units,
            unit_price: price,
        });
    };
    let price = price_at(from, &opening);
    line(from, "opening", None, (0, 0, opening.value), opening.units, price);
    let (mut units, mut value) = (opening.units, opening.value);
    let (mut deposits, mut withdrawals) = (0, 0);
    for moved in history::movements(db, &account, user_id, from, to).await? {
        let closed = moved.kind == "closed";
        if closed && units.is_zero() {
            continue;
        }
        units = if closed { Decimal::ZERO } else { units + moved.units_delta };
        let after = crate::store::value(moved.equity, moved.pool_units, units);
        let kind = if closed { "pool_closed" } else { &*moved.kind };
        let price = unit_price(moved.equity, moved.pool_units);
        line(moved.at, kind, moved.movement_id, (moved.amount, after - moved.amount - value, after), units, price);
        deposits += moved.amount.max(0);
        withdrawals -= moved.amount.min(0);
        value = after;
    }
    let price = price_at(to, &closing);
    line(to, "closing", None, (0, closing.value - value, closing.value), closing.units, price);
    Ok(AccountStatement {
        opening_value: money(opening.value),
        deposits: money(deposits),
        withdrawals: money(withdrawals),
        profit: money(closing.value - opening.value - deposits + withdrawals),
        closing_value: money(closing.value),
        units: closing.units,
        account,
        currency,
        lines,
    })
}

/// All lines, with a header.
fn csv(statement: &Statement) -> Result<Vec<u8>, Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for line in statement.accounts.iter().flat_map(|account| &account.lines) {
        let text = |text: &str| -> String {
            // A name that begins like a formula must not become one in a spreadsheet.
            if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text.to_owned() }
        };
        let row = CsvLine {
            account: text(&line.account),
            currency: text(line.currency.as_deref().unwrap_or_default()),
            at: line.at.format(&time::format_description::well_known::Rfc3339).unwrap_or_default(),
            kind: &line.kind,
            movement_id: line.movement_id.map(|id| id.to_string()),
            amount: line.amount.to_string(),
            profit: line.profit.to_string(),
            value: line.value.to_string(),
            units: line.units.to_string(),
            unit_price: line.unit_price.map(|price| price.to_string()),
        };
        writer.serialize(row).map_err(Error::internal)?;
    }
    writer.into_inner().map_err(Error::internal)
}

#[derive(Serialize)]
struct CsvLine<'a> {
    account: String,
    currency: String,
    at: String,
    kind: &'a str,
    movement_id: Option<String>,
    amount: String,
    profit: String,
    value: String,
    units: String,
    unit_price: Option<String>,
}
