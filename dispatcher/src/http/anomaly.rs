//! Reports that contradict what was known, for who must look at them.

use std::sync::Arc;

use axum::extract::State;
use common::audit::{self, Entry};
use common::auth::Scope;
use common::error::{FieldError, Problem};
use common::http::{Caller, Json, Path, Query, RequestId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::read::limit;
use crate::Dispatcher;
use crate::error::Error;
use crate::life::anomaly::advice;
use crate::store::anomaly::{self, AnomalyRow, Wanted};

/// The longest note.
const NOTE_CHARS_MAX: usize = 1_000;

/// Which anomalies, newest first.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Anomalies {
    account: Option<String>,
    /// Those that an operator has acknowledged, or those that none has; both by default.
    acknowledged: Option<bool>,
    /// Only those with a smaller `anomaly_id`.
    before: Option<i64>,
    /// 100 by default, at most 1000.
    limit: Option<i64>,
}

/// A report that contradicts what was known.
#[derive(Serialize, ToSchema)]
pub(crate) struct Anomaly {
    anomaly_id: i64,
    account: String,
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    kind: String,
    /// Null where no signal of ours is meant.
    signal_id: Option<Uuid>,
    /// The broker's number that was reported.
    ticket: Option<i64>,
    /// The installation that reported.
    terminal: Option<String>,
    /// What was known when the report came.
    known: Option<String>,
    /// The report as it came.
    #[schema(value_type = Object)]
    reported: serde_json::Value,
    /// What the report did.
    effect: String,
    /// What to do.
    advice: &'static str,
    #[serde(with = "time::serde::rfc3339::option")]
    acknowledged_at: Option<OffsetDateTime>,
    acknowledged_by: Option<String>,
    note: Option<String>,
}

/// A report without the fields that it does not name. Here and not in SQL, which can't read a zero character.
fn said(report: Value) -> Value {
    match report {
        Value::Object(fields) => {
            fields.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name, said(value))).collect()
        }
        Value::Array(parts) => parts.into_iter().map(said).collect(),
        value => value,
    }
}

impl From<AnomalyRow> for Anomaly {
    fn from(row: AnomalyRow) -> Self {
        let ticket = ["ticket", "position", "order"].iter().find_map(|field| row.reported[field].as_i64());
        Self {
            anomaly_id: row.anomaly_id,
            account: row.account,
            at: row.at,
            advice: advice(&row.kind),
            kind: row.kind,
            signal_id: row.signal_id,
            ticket,
            terminal: row.terminal,
            known: row.known,
            reported: said(row.reported),
            effect: row.effect,
            acknowledged_at: row.acknowledged_at,
            acknowledged_by: row.acknowledged_by,
            note: row.note,
        }
    }
}

/// Lists reports that contradict what was known, newest first.
#[utoipa::path(get, path = "/api/anomalies", tag = "anomalies", params(Anomalies), responses(
    (status = 200, body = Vec<Anomaly>), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn anomalies(
    State(dispatcher): State<Arc<Dispatcher>>,
    caller: Caller,
    Query(listing): Query<Anomalies>,
) -> Result<axum::Json<Vec<Anomaly>>, Error> {
    caller.allow(Scope::Read)?;
    let limit = limit(listing.limit)?;
    let Anomalies { account, acknowledged, before, .. } = &listing;
    let wanted =
        Wanted { account: account.as_deref(), acknowledged: *acknowledged, before: *before, ..Wanted::default() };
    let rows = anomaly::list(&mut *dispatcher.pool.acquire().await?, &wanted, limit).await?;
    Ok(axum::Json(rows.into_iter().map(Anomaly::from).collect()))
}

/// An operator has looked at an anomaly.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Acknowledgement {
    /// What was found and done, at most 1000 characters.
    note: String,
}

/// Notes that an anomaly was dealt with: it is not counted as open any more.
#[utoipa::path(post, path = "/api/anomalies/{id}/acknowledge", tag = "anomalies", request_body = Acknowledgement,
    params(("id" = i64, Path)), responses(
    (status = 200, body = Anomaly), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
    (status = 413, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn acknowledge(
    State(dispatcher): State<Arc<Dispatcher>>,
    caller: Caller,
    RequestId(request_id): RequestId,
    Path(id): Path<i64>,
    Json(acknowledgement): Json<Acknowledgement>,
) -> Result<axum::Json<Anomaly>, Error> {
    let principal = &caller.allow(Scope::Operate)?.principal;
    let note = acknowledgement.note.trim();
    let fits = (1..=NOTE_CHARS_MAX).contains(&note.chars().count()) && !note.contains('\0');
    if !fits {
        return Err(FieldError::new("note", format!("has 1 to {NOTE_CHARS_MAX} characters")).into());
    }
    let now = dispatcher.clock.now();
    let mut transaction = dispatcher.pool.begin().await?;
    let changed = anomaly::acknowledge(&mut transaction, id, principal, note, now).await?;
    let wanted = Wanted { anomaly_id: Some(id), ..Wanted::default() };
    let row = anomaly::list(&mut transaction, &wanted, 1).await?.pop();
    let row = row.ok_or_else(|| Error::NotFound(format!("no anomaly {id}")))?;
    if !changed {
        let detail = format!("{} has acknowledged it before", row.acknowledged_by.as_deref().unwrap_or("somebody"));
        return Err(Error::Conflict("acknowledged_before", detail));
    }
    let details = json!({"anomaly_id": id, "account": row.account, "kind": row.kind, "note": note});
    let entry = Entry { at: now, event: "anomaly.acknowledged", principal, request_id: &request_id, details };
    audit::append(&mut transaction, crate::NAME, &[entry]).await?;
    transaction.commit().await?;
    tracing::info!(anomaly.id = id, anomaly.kind = row.kind, principal, request.id = %request_id, "anomaly acknowledged");
    Ok(axum::Json(row.into()))
}
