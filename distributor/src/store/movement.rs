//! Money that members bring and take: what they asked for, recorded once, and what became of it.

use common::audit::{self, Entry};
use rust_decimal::Decimal;
use serde_json::json;
use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::pricing::{Holding, Pending, end, pending, settle};
use super::{PoolState, cents};
use crate::pool::{Ask, PoolError};

/// Why a movement was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The pool refuses.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// More than the member has, less what he asked for already, in cents.
    #[error("more than can be withdrawn")]
    Above(i64),
    /// The idempotency key stands for another movement since a moment ago.
    #[error("the idempotency key is taken")]
    KeyTaken,
    /// PostgreSQL.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// What a member asks for; amounts in cents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Deposit(i64),
    /// None: all there is.
    Withdrawal(Option<i64>),
}

impl Kind {
    /// As the books name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Deposit(_) => "deposit",
            Self::Withdrawal(_) => "withdrawal",
        }
    }

    /// In cents; none for all there is.
    pub(crate) fn amount(self) -> Option<i64> {
        match self {
            Self::Deposit(amount) => Some(amount),
            Self::Withdrawal(amount) => amount,
        }
    }

    pub(super) fn read(kind: &str, amount: Option<i64>) -> Self {
        if kind == "deposit" { Self::Deposit(amount.unwrap_or_default()) } else { Self::Withdrawal(amount) }
    }
}

pub(super) fn ask(amount: Option<i64>) -> Ask {
    amount.map_or(Ask::All, |amount| Ask::Amount(amount.into()))
}

/// A member's request.
pub(crate) struct Request<'a> {
    pub(crate) movement_id: Uuid,
    pub(crate) user_id: &'a str,
    pub(crate) kind: Kind,
    pub(crate) idempotency_key: Option<&'a str>,
    pub(crate) principal: &'a str,
    pub(crate) request_id: &'a str,
}

/// A movement with what became of it.
pub(crate) struct Recorded {
    pub(crate) movement_id: Uuid,
    pub(crate) account: String,
    pub(crate) currency: Option<String>,
    pub(crate) user_id: String,
    pub(crate) kind: String,
    /// As asked for, in cents; none: all there is.
    pub(crate) asked: Option<i64>,
    pub(crate) recorded_at: OffsetDateTime,
    pub(crate) pending: bool,
    /// How it ended: the kind of its row in the pool's history.
    pub(crate) ended: Option<String>,
    pub(crate) ended_at: Option<OffsetDateTime>,
    /// What the pool's equity changed by.
    pub(crate) moved: Option<i64>,
    pub(crate) units_delta: Option<Decimal>,
    pub(crate) reason: Option<String>,
}

impl Recorded {
    /// As the member asked for it.
    pub(crate) fn kind(&self) -> Kind {
        Kind::read(&self.kind, self.asked)
    }

    /// `pending`, `applied`, `cancelled` or `refused`.
    pub(crate) fn status(&self) -> &'static str {
        match self.ended.as_deref() {
            _ if self.pending => "pending",
            Some("cancelled") => "cancelled",
            Some("refused") => "refused",
            _ => "applied",
        }
    }
}

/// The movement that this key stands for, if any.
pub(crate) async fn by_key(db: &mut PgConnection, principal: &str, key: &str) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "select movement_id from capital_movements where principal = $1 and idempotency_key = $2",
        principal,
        key
    )
    .fetch_optional(db)
    .await
}

/// A member's movement.
pub(crate) async fn find(
    db: &mut PgConnection,
    user_id: &str,
    movement_id: Uuid,
) -> Result<Option<Recorded>, sqlx::Error> {
    Ok(list(db, user_id, Some(movement_id), None, 1).await?.pop())
}

/// A member's movements, the newest first: one of them, or those before a movement.
pub(crate) async fn list(
    db: &mut PgConnection,
    user_id: &str,
    only: Option<Uuid>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Recorded>, sqlx::Error> {
    sqlx::query_as!(
        Recorded,
        r#"select m.movement_id, m.account, o.currency as "currency?", m.user_id, m.kind, m.amount as asked,
                  m.recorded_at, p.movement_id is not null as "pending!", h.kind as "ended?", h.at as "ended_at?",
                  h.amount as "moved?", h.units_delta as "units_delta?", h.reason as "reason?"
           from capital_movements m
           left join pools o using (account)
           left join pending_movements p using (movement_id)
           left join lateral (select kind, at, amount, units_delta, reason from pool_history
                              where movement_id = m.movement_id) h on true
           where m.user_id = $1 and ($2::uuid is null or m.movement_id = $2)
             and ($3::uuid is null or (m.recorded_at, m.movement_id)
                  < (select recorded_at, movement_id from capital_movements where movement_id = $3))
           order by m.recorded_at desc, m.movement_id desc limit $4"#,
        user_id,
        only,
        before,
        limit
    )
    .fetch_all(db)
    .await
}

/// Records a movement in a pool that the caller holds, and prices it where a price is certain; else it waits for the
/// account's next report. Refuses what could not be done now.
pub(crate) async fn record(
    db: &mut PgConnection,
    state: &mut PoolState,
    request: &Request<'_>,
    fresh: Duration,
    now: OffsetDateTime,
) -> Result<(), Refusal> {
    let waiting = pending(db, std::slice::from_ref(&state.account)).await?.remove(&state.account).unwrap_or_default();
    check(db, state, request, &waiting).await?;
    let Request { movement_id, user_id, kind, principal, request_id, .. } = *request;
    let recorded = sqlx::query!(
        "insert into capital_movements
             (movement_id, account, user_id, kind, amount, idempotency_key, recorded_at, principal, request_id)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict (principal, idempotency_key) do nothing",
        movement_id,
        state.account,
        user_id,
        kind.name(),
        kind.amount(),
        request.idempotency_key,
        now,
        principal,
        request_id
    )
    .execute(&mut *db)
    .await?;
    // Requests of one pool meet at its row; of two pools, here.
    if recorded.rows_affected() == 0 {
        return Err(Refusal::KeyTaken);
    }
    if waiting.is_empty() && priced_now(state, fresh, now) {
        settle(db, state, movement_id, user_id, kind, now).await?;
    } else {
        sqlx::query!(
            "insert into pending_movements (movement_id, account, last_received_at)
             values ($1, $2, (select received_at from account_reports where account = $2))",
            movement_id,
            state.account
        )
        .execute(&mut *db)
        .await?;
    }
    let details = json!({"movement_id": movement_id, "account": state.account, "user_id": user_id, "kind": kind.name(),
        "amount": kind.amount()});
    let entry = Entry { at: now, event: "movement.recorded", principal, request_id, details };
    audit::append(db, crate::NAME, &[entry]).await?;
    Ok(())
}

/// Tries on a copy what the pool would do now: what it would refuse is refused at once, not kept waiting.
async fn check(
    db: &mut PgConnection,
    state: &PoolState,
    request: &Request<'_>,
    waiting: &[Pending],
) -> Result<(), Refusal> {
    let mut pool = state.pool.clone();
    let amount = match request.kind {
        Kind::Deposit(amount) => return Ok(pool.deposit(amount.into()).map(drop)?),
        Kind::Withdrawal(amount) => amount,
    };
    let held = Holding::read(db, &state.account, request.user_id).await?.units;
    let value = pool.value(held);
    let mut left = value;
    for movement in waiting.iter().filter(|movement| movement.user_id == request.user_id) {
        match movement.kind {
            Kind::Deposit(_) => {}
            Kind::Withdrawal(None) => left = 0,
            Kind::Withdrawal(Some(amount)) => left -= i128::from(amount),
        }
    }
    // Where nothing waits, all there is may be less than a cent.
    let enough = amount.map_or(left > 0 || left == value, |amount| i128::from(amount) <= left);
    match pool.withdraw(held, ask(amount)) {
        Ok(_) if enough => Ok(()),
        Ok(_) | Err(PoolError::AboveValue) => Err(Refusal::Above(cents(left.max(0))?)),
        Err(error) => Err(error.into()),
    }
}

/// Whether the last report still gives the price: none was ever needed, or nothing could have moved since. How old one from the
/// future is nobody knows.
fn priced_now(state: &PoolState, fresh: Duration, now: OffsetDateTime) -> bool {
    match (state.last.state_at, &state.last.figures) {
        (Some(at), Some(figures)) => (now - at).abs() <= fresh && figures.shows_nothing_open(),
        _ => true,
    }
}

/// Takes back a movement that still waits, in a pool that the caller holds; false where it does not wait any more.
pub(crate) async fn cancel(
    db: &mut PgConnection,
    state: &mut PoolState,
    movement: &Recorded,
    (principal, request_id): (&str, &str),
    now: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    let waits = sqlx::query_scalar!(
        r#"select exists (select from pending_movements where movement_id = $1) as "waits!""#,
        movement.movement_id
    );
    if !waits.fetch_one(&mut *db).await? {
        return Ok(false);
    }
    end(db, state, (movement.movement_id, &movement.user_id), "cancelled", "cancelled").await?;
    let details =
        json!({"movement_id": movement.movement_id, "account": movement.account, "user_id": movement.user_id});
    let entry = Entry { at: now, event: "movement.cancelled", principal, request_id, details };
    audit::append(db, crate::NAME, &[entry]).await?;
    Ok(true)
}
