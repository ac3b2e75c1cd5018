//! Reports that contradict what was known, until an operator has looked at them.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

/// A row of `trade_reports` with an anomaly.
pub(crate) struct AnomalyRow {
    pub(crate) anomaly_id: i64,
    pub(crate) account: String,
    pub(crate) at: OffsetDateTime,
    pub(crate) kind: String,
    pub(crate) signal_id: Option<Uuid>,
    pub(crate) terminal: Option<String>,
    pub(crate) known: Option<String>,
    pub(crate) reported: serde_json::Value,
    pub(crate) effect: String,
    pub(crate) acknowledged_at: Option<OffsetDateTime>,
    pub(crate) acknowledged_by: Option<String>,
    pub(crate) note: Option<String>,
}

/// Which anomalies.
#[derive(Default)]
pub(crate) struct Wanted<'a> {
    pub(crate) account: Option<&'a str>,
    pub(crate) signal_id: Option<Uuid>,
    pub(crate) anomaly_id: Option<i64>,
    /// Those that were acknowledged, or those that were not; none: both.
    pub(crate) acknowledged: Option<bool>,
    pub(crate) before: Option<i64>,
}

/// The newest of those that are wanted.
pub(crate) async fn list(
    db: &mut PgConnection,
    wanted: &Wanted<'_>,
    limit: i64,
) -> Result<Vec<AnomalyRow>, sqlx::Error> {
    sqlx::query_as!(
        AnomalyRow,
        r#"select trade_report_id as anomaly_id, account, received_at as at, anomaly as "kind!", signal_id, terminal,
                  known, body as "reported!", effect, acknowledged_at, acknowledged_by, note
           from trade_reports
           where anomaly is not null and ($1::text is null or account = $1) and ($2::uuid is null or signal_id = $2)
             and ($3::bigint is null or trade_report_id = $3)
             and ($4::boolean is null or $4 = (acknowledged_at is not null))
             and ($5::bigint is null or trade_report_id < $5)
           order by trade_report_id desc limit $6"#,
        wanted.account,
        wanted.signal_id,
        wanted.anomaly_id,
        wanted.acknowledged,
        wanted.before,
        limit
    )
    .fetch_all(db)
    .await
}

/// Writes that an operator has looked at an anomaly; false where there is none, or one did before.
pub(crate) async fn acknowledge(
    db: &mut PgConnection,
    anomaly_id: i64,
    principal: &str,
    note: &str,
    now: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "update trade_reports set acknowledged_at = $2, acknowledged_by = $3, note = $4
         where trade_report_id = $1 and anomaly is not null and acknowledged_at is null",
        anomaly_id,
        now,
        principal,
        note
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// How many of an account and a kind nobody has looked at yet; nothing where there never was one.
pub(crate) struct OpenCount {
    pub(crate) account: String,
    pub(crate) kind: String,
    pub(crate) open: i64,
}

/// For the gauge.
pub(crate) async fn open_counts(db: &mut PgConnection) -> Result<Vec<OpenCount>, sqlx::Error> {
    sqlx::query_as!(
        OpenCount,
        r#"select account, anomaly as "kind!", count(*) filter (where acknowledged_at is null) as "open!"
           from trade_reports where anomaly is not null group by account, anomaly"#
    )
    .fetch_all(db)
    .await
}
