//! Signals from the queue into the table, a batch at a time.

use std::collections::{BTreeSet, HashMap};

use common::database::refuses_data;
use common::domain::{Level, Percent, Price, SignalState, Volume};
use common::message::{Envelope, SignalAccepted};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::account;
use crate::life::gate::Rules;
use crate::life::{Admission, admit, expiry};

/// What became of a signal that was not known before.
pub(crate) struct Stored {
    pub(crate) signal_id: Uuid,
    pub(crate) id: i64,
    pub(crate) account: String,
    pub(crate) action: String,
    pub(crate) symbol: Option<String>,
    pub(crate) state: String,
    pub(crate) code: Option<String>,
    pub(crate) request_id: String,
    pub(crate) principal: String,
}

/// Before the first signal: numbers never repeat, also after a restore of an old backup. So many are left out besides.
/// Until the caller's transaction ends nobody else draws a number, so none that was drawn is set back to.
pub(crate) async fn raise_sequence(
    db: &mut PgConnection,
    now: OffsetDateTime,
    left_out: i64,
) -> Result<(), sqlx::Error> {
    const EPOCH_2020: i64 = 1_577_836_800;
    const NUMBERS_PER_SECOND: i64 = 100;
    let least = (now.unix_timestamp() - EPOCH_2020).max(1) * NUMBERS_PER_SECOND;
    // Whoever writes queues up behind this, so it does not wait for long; its caller tries again.
    sqlx::query!("set local lock_timeout = '500ms'").execute(&mut *db).await?;
    sqlx::query!("lock table signals in share row exclusive mode").execute(&mut *db).await?;
    sqlx::query_scalar!(
        "select setval('signal_ids', greatest($1::bigint, (select last_value from signal_ids), (select max(id) from signals)) + $2)",
        least,
        left_out
    )
    .fetch_one(db)
    .await
    .map(drop)
}

/// Whether the database refuses these signals themselves. A number that is taken is not theirs.
pub(crate) fn is_refused(error: &sqlx::Error) -> bool {
    refuses_data(error) && !is_number_taken(error)
}

/// Whether a number was drawn that a signal has already.
pub(crate) fn is_number_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::constraint) == Some("signals_id_key")
}

/// Stores a message that can't be read.
pub(crate) async fn dead_letter(
    db: &mut PgConnection,
    body: &[u8],
    reason: &str,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!("insert into signal_dead_letters (received_at, reason, body) values ($1, $2, $3)", now, reason, body)
        .execute(db)
        .await
        .map(drop)
}

/// Which signal each idempotency key of the batch stands for, now and for ever.
async fn claim_keys(
    db: &mut PgConnection,
    batch: &[Envelope<SignalAccepted>],
) -> Result<HashMap<(String, String), Uuid>, sqlx::Error> {
    let mut keyed: Vec<(&str, &str, Uuid)> = batch
        .iter()
        .filter_map(|message| {
            let signal = &message.body;
            signal.idempotency_key.as_deref().map(|key| (signal.principal.as_str(), key, signal.signal_id))
        })
        .collect();
    if keyed.is_empty() {
        return Ok(HashMap::new());
    }
    // One order for everybody, so that two dispatchers can't lock each other out; the queue's order among equals.
    keyed.sort_by_key(|(principal, key, _)| (*principal, *key));
    let principals: Vec<String> = keyed.iter().map(|row| row.0.to_owned()).collect();
    let keys: Vec<String> = keyed.iter().map(|row| row.1.to_owned()).collect();
    let signals: Vec<Uuid> = keyed.iter().map(|row| row.2).collect();
    sqlx::query!(
        "insert into idempotency_keys (principal, idempotency_key, signal_id)
         select * from unnest($1::text[], $2::text[], $3::uuid[]) on conflict do nothing",
        &principals,
        &keys,
        &signals
    )
    .execute(&mut *db)
    .await?;
    let rows = sqlx::query!(
        "select k.principal, k.idempotency_key, k.signal_id from idempotency_keys k
         join (select distinct * from unnest($1::text[], $2::text[])) as b (principal, idempotency_key)
         using (principal, idempotency_key)",
        &principals,
        &keys
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| ((row.principal, row.idempotency_key), row.signal_id)).collect())
}

/// Columns of the batch; PostgreSQL takes them as arrays in one statement.
#[derive(Default)]
struct Columns {
    signal_id: Vec<Uuid>,
    account: Vec<String>,
    symbol: Vec<Option<String>>,
    action: Vec<String>,
    order_type: Vec<String>,
    entry: Vec<Option<rust_decimal::Decimal>>,
    volume: Vec<Option<rust_decimal::Decimal>>,
    risk_percent: Vec<Option<rust_decimal::Decimal>>,
    sl: Vec<Option<rust_decimal::Decimal>>,
    tp: Vec<Option<rust_decimal::Decimal>>,
    ticket: Vec<Option<i64>>,
    max_slippage_points: Vec<Option<i32>>,
    order_expires_at: Vec<Option<OffsetDateTime>>,
    comment: Vec<Option<String>>,
    metadata: Vec<String>,
    principal: Vec<String>,
    idempotency_key: Vec<Option<String>>,
    request_id: Vec<String>,
    state: Vec<String>,
    code: Vec<Option<String>>,
    message: Vec<Option<String>>,
    expires_at: Vec<Option<OffsetDateTime>>,
    received_at: Vec<OffsetDateTime>,
    finished_at: Vec<Option<OffsetDateTime>>,
}

impl Columns {
    fn push(
        &mut self,
        envelope: &Envelope<SignalAccepted>,
        rules: Option<&Rules>,
        admission: Admission,
        now: OffsetDateTime,
    ) {
        let signal = &envelope.body;
        let order = &signal.order;
        let (state, reason) = match admission {
            Admission::Pending => (SignalState::Pending, None),
            Admission::Ended(state, reason) => (state, Some(reason)),
        };
        self.signal_id.push(signal.signal_id);
        self.account.push(signal.account.to_string());
        let platform_symbol = |symbol| rules.map_or(symbol, |rules| rules.platform_symbol(symbol)).to_string();
        self.symbol.push(order.symbol.as_ref().map(platform_symbol));
        self.action.push(order.action.as_str().to_owned());
        self.order_type.push(order.order_type.as_str().to_owned());
        self.entry.push(order.entry.map(Price::get));
        self.volume.push(order.volume.map(Volume::get));
        self.risk_percent.push(order.risk_percent.map(Percent::get));
        self.sl.push(order.sl.map(Level::get));
        self.tp.push(order.tp.map(Level::get));
        self.ticket.push(order.ticket);
        self.max_slippage_points.push(order.max_slippage_points);
        self.order_expires_at.push(signal.order_expires_at);
        self.comment.push(signal.comment.clone());
        self.metadata.push(serde_json::Value::from(signal.metadata.clone()).to_string());
        self.principal.push(signal.principal.clone());
        self.idempotency_key.push(signal.idempotency_key.clone());
        self.request_id.push(envelope.request_id.clone());
        self.state.push(state.as_str().to_owned());
        self.code.push(reason.as_ref().map(|reason| reason.code.to_owned()));
        self.message.push(reason.map(|reason| reason.message));
        self.expires_at.push(expiry(signal, rules, now));
        self.received_at.push(signal.received_at);
        self.finished_at.push(state.is_terminal().then_some(now));
    }
}

/// Stores a batch whose idempotency keys are all new, and judges each signal, without a transaction around it. Stores
/// nothing where one of the keys is known, or every signal: then [`store`] says what becomes of them.
pub(crate) async fn store_new(
    db: &mut PgConnection,
    batch: &[Envelope<SignalAccepted>],
    now: OffsetDateTime,
) -> Result<Vec<Stored>, sqlx::Error> {
    let columns = judge(db, batch, &HashMap::new(), now).await?;
    insert(db, &columns, false, now).await
}

/// Stores a batch in the queue's order and judges each signal; those stored before are left as they are, also where they
/// were retired since.
pub(crate) async fn store(
    db: &mut PgConnection,
    batch: &[Envelope<SignalAccepted>],
    now: OffsetDateTime,
) -> Result<Vec<Stored>, sqlx::Error> {
    let keys = claim_keys(db, batch).await?;
    let columns = judge(db, batch, &keys, now).await?;
    insert(db, &columns, true, now).await
}

/// The rows of a batch, each as the account's rules and what is known of its key make it.
async fn judge(
    db: &mut PgConnection,
    batch: &[Envelope<SignalAccepted>],
    keys: &HashMap<(String, String), Uuid>,
    now: OffsetDateTime,
) -> Result<Columns, sqlx::Error> {
    let accounts: BTreeSet<&str> = batch.iter().map(|envelope| envelope.body.account.as_str()).collect();
    let known = account::find_all(db, &accounts.into_iter().map(str::to_owned).collect::<Vec<_>>()).await?;
    let mut columns = Columns::default();
    for envelope in batch {
        let signal = &envelope.body;
        let account = known.get(signal.account.as_str());
        let reused = signal.idempotency_key.as_ref().is_some_and(|key| {
            keys.get(&(signal.principal.clone(), key.clone())).is_some_and(|known| *known != signal.signal_id)
        });
        let admission = admit(signal, account, reused, now);
        columns.push(envelope, account.map(|account| &account.rules), admission, now);
    }
    Ok(columns)
}

/// Inserts these rows if all their keys are new, or in any case where it is known what the keys stand for.
async fn insert(
    db: &mut PgConnection,
    columns: &Columns,
    keys_known: bool,
    now: OffsetDateTime,
) -> Result<Vec<Stored>, sqlx::Error> {
    sqlx::query_as!(
        Stored,
        r#"with batch as (
             select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::numeric[],
                 $7::numeric[], $8::numeric[], $9::numeric[], $10::numeric[], $11::bigint[], $12::integer[],
                 $13::timestamptz[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[], $19::text[],
                 $20::text[], $21::text[], $22::timestamptz[], $23::timestamptz[], $24::timestamptz[]) with ordinality
                 as batch (signal_id, account, symbol, action, order_type, entry, volume, risk_percent, sl, tp,
                 ticket, max_slippage_points, order_expires_at, comment, metadata, principal, idempotency_key,
                 request_id, state, code, message, expires_at, received_at, finished_at, place)
         ), keyed as (
             insert into idempotency_keys (principal, idempotency_key, signal_id)
             select principal, idempotency_key, signal_id from batch where idempotency_key is not null
             order by principal, idempotency_key, place
             on conflict do nothing returning signal_id
         ), stored as (
             insert into signals (signal_id, account, symbol, action, order_type, entry, volume, risk_percent, sl, tp,
                 ticket, max_slippage_points, order_expires_at, comment, metadata, principal, idempotency_key,
                 request_id, state, code, message, expires_at, received_at, finished_at, stored_at)
             select signal_id, account, symbol, action, order_type, entry, volume, risk_percent, sl, tp,
                 ticket, max_slippage_points, order_expires_at, comment, metadata::json, principal, idempotency_key,
                 request_id, state, code, message, expires_at, received_at, finished_at, $25
             from batch
             where ($26 or (select count(*) from keyed) = (select count(idempotency_key) from batch))
               and not exists (select from retired_signals r where r.signal_id = batch.signal_id)
             order by place
             on conflict (signal_id) do nothing
             returning signal_id, id, account, action, symbol, state, code, message, request_id, principal
         ), logged as (
             insert into signal_events (signal_id, at, state, attempt, code, message)
             select signal_id, $25, state, 0, code, message from stored
         )
         select signal_id as "signal_id!", id as "id!", account as "account!", action as "action!", symbol,
                state as "state!", code, request_id as "request_id!",
                principal as "principal!" from stored"#,
        &columns.signal_id,
        &columns.account,
        &columns.symbol as &[Option<String>],
        &columns.action,
        &columns.order_type,
        &columns.entry as &[Option<rust_decimal::Decimal>],
        &columns.volume as &[Option<rust_decimal::Decimal>],
        &columns.risk_percent as &[Option<rust_decimal::Decimal>],
        &columns.sl as &[Option<rust_decimal::Decimal>],
        &columns.tp as &[Option<rust_decimal::Decimal>],
        &columns.ticket as &[Option<i64>],
        &columns.max_slippage_points as &[Option<i32>],
        &columns.order_expires_at as &[Option<OffsetDateTime>],
        &columns.comment as &[Option<String>],
        &columns.metadata,
        &columns.principal,
        &columns.idempotency_key as &[Option<String>],
        &columns.request_id,
        &columns.state,
        &columns.code as &[Option<String>],
        &columns.message as &[Option<String>],
        &columns.expires_at as &[Option<OffsetDateTime>],
        &columns.received_at,
        &columns.finished_at as &[Option<OffsetDateTime>],
        now,
        keys_known
    )
    .fetch_all(db)
    .await
}
