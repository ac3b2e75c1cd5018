//! Money that members bring and take: recorded first, then priced, each once.

use std::collections::BTreeMap;

use common::audit::{self, Entry};
use rust_decimal::Decimal;
use serde_json::json;
use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::pools::Done;
use super::{PoolState, cents, numeric, units};
use crate::pool::{Ask, PoolError, remaining_investment};

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

    fn read(kind: &str, amount: Option<i64>) -> Self {
        if kind == "deposit" { Self::Deposit(amount.unwrap_or_default()) } else { Self::Withdrawal(amount) }
    }
}

fn ask(amount: Option<i64>) -> Ask {
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

/// A movement that waits for its price.
pub(crate) struct Pending {
    movement_id: Uuid,
    account: String,
    user_id: String,
    kind: Kind,
    recorded_at: OffsetDateTime,
}

/// What waits in these accounts, in the order it came.
pub(crate) async fn pending(
    db: &mut PgConnection,
    accounts: &[String],
) -> Result<BTreeMap<String, Vec<Pending>>, sqlx::Error> {
    let rows = sqlx::query!(
        "select m.movement_id, p.account, m.user_id, m.kind, m.amount, m.recorded_at
         from pending_movements p join capital_movements m using (movement_id)
         where p.account = any($1) order by p.place",
        accounts
    )
    .fetch_all(db)
    .await?;
    let mut pending: BTreeMap<String, Vec<Pending>> = BTreeMap::new();
    for row in rows {
        let kind = Kind::read(&row.kind, row.amount);
        let movement = Pending {
            movement_id: row.movement_id,
            account: row.account,
            user_id: row.user_id,
            kind,
            recorded_at: row.recorded_at,
        };
        pending.entry(movement.account.clone()).or_default().push(movement);
    }
    Ok(pending)
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
            "insert into pending_movements (movement_id, account) values ($1, $2)",
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

/// Whether the last report still gives the price: none was ever needed, or nothing could have moved since.
fn priced_now(state: &PoolState, fresh: Duration, now: OffsetDateTime) -> bool {
    match (state.last.state_at, &state.last.figures) {
        (Some(at), Some(figures)) => now - at <= fresh && figures.shows_nothing_open(),
        _ => true,
    }
}

/// Prices what was recorded before this report was received, in the order it came; what was priced is taken off the
/// list. A deposit that the pool can't take stays, visibly; a withdrawal that it can't pay is refused.
pub(crate) async fn price(
    db: &mut PgConnection,
    state: &mut PoolState,
    waiting: &mut Vec<Pending>,
    received_at: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    let mut left = Vec::with_capacity(waiting.len());
    for movement in waiting.drain(..) {
        if movement.recorded_at >= received_at {
            left.push(movement);
            continue;
        }
        let Pending { movement_id, ref user_id, kind, .. } = movement;
        let refusal = match settle(db, state, movement_id, user_id, kind, now).await {
            Ok(()) => {
                forget(db, movement_id).await?;
                continue;
            }
            Err(Refusal::Database(error)) => return Err(error),
            Err(refusal) => refusal,
        };
        if let Kind::Deposit(_) = kind {
            left.push(movement);
            continue;
        }
        let reason = match refusal {
            Refusal::Pool(PoolError::WipedOut) => "pool_wiped_out",
            _ => "above_value",
        };
        end(db, state, (movement_id, user_id), "refused", reason).await?;
        tracing::warn!(movement.id = %movement_id, user.id = user_id, reason, "a withdrawal can't be paid");
    }
    *waiting = left;
    Ok(())
}

/// Takes a movement off the list of those that wait.
async fn forget(db: &mut PgConnection, movement_id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from pending_movements where movement_id = $1", movement_id).execute(db).await.map(drop)
}

/// Ends a movement that waits without pricing it.
async fn end(
    db: &mut PgConnection,
    state: &mut PoolState,
    movement: (Uuid, &str),
    kind: &'static str,
    reason: &'static str,
) -> Result<(), sqlx::Error> {
    state.note(&Done { movement: Some(movement), reason: Some(reason), ..Done::new(kind, 0) })?;
    forget(db, movement.0).await
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

/// A member's part of a pool; amounts in cents.
#[derive(Clone, Debug, Default)]
struct Holding {
    units: i128,
    deposited: i128,
    withdrawn: i128,
    investment: i128,
}

impl Holding {
    async fn read(db: &mut PgConnection, account: &str, user_id: &str) -> Result<Self, sqlx::Error> {
        let row = sqlx::query!(
            "select units, deposited, withdrawn, investment from holdings where account = $1 and user_id = $2",
            account,
            user_id
        )
        .fetch_optional(db)
        .await?;
        Ok(row.map_or_else(Self::default, |row| Self {
            units: units(row.units),
            deposited: row.deposited.into(),
            withdrawn: row.withdrawn.into(),
            investment: row.investment.into(),
        }))
    }

    async fn write(
        &self,
        db: &mut PgConnection,
        state: &PoolState,
        user_id: &str,
        now: OffsetDateTime,
    ) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "insert into holdings (account, user_id, units, deposited, withdrawn, investment, value, as_of, changed_version)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             on conflict (account, user_id) do update set units = excluded.units, deposited = excluded.deposited,
                 withdrawn = excluded.withdrawn, investment = excluded.investment, value = excluded.value,
                 as_of = excluded.as_of, changed_version = excluded.changed_version",
            state.account,
            user_id,
            numeric(self.units)?,
            cents(self.deposited)?,
            cents(self.withdrawn)?,
            cents(self.investment)?,
            cents(state.pool.value(self.units))?,
            state.last.state_at.unwrap_or(now),
            state.version
        )
        .execute(db)
        .await
        .map(drop)
    }
}

/// Does a movement at the pool's price of now. Where that is refused, nothing was changed.
async fn settle(
    db: &mut PgConnection,
    state: &mut PoolState,
    movement_id: Uuid,
    user_id: &str,
    kind: Kind,
    now: OffsetDateTime,
) -> Result<(), Refusal> {
    let before = Holding::read(db, &state.account, user_id).await?;
    let mut after = before.clone();
    let amount = match kind {
        Kind::Deposit(amount) => {
            let amount = i128::from(amount);
            after.units += state.pool.deposit(amount)?;
            after.deposited += amount;
            after.investment += amount;
            amount
        }
        Kind::Withdrawal(amount) => {
            let withdrawal = state.pool.withdraw(before.units, ask(amount))?;
            after.units -= withdrawal.burned;
            after.withdrawn += withdrawal.paid;
            after.investment = remaining_investment(before.investment, before.units, withdrawal.burned);
            -withdrawal.paid
        }
    };
    let sums = &mut state.sums;
    sums.members += i64::from(after.units > 0) - i64::from(before.units > 0);
    sums.deposited += after.deposited - before.deposited;
    sums.withdrawn += after.withdrawn - before.withdrawn;
    sums.investment += after.investment - before.investment;
    state.note(&Done {
        kind: kind.name(),
        movement: Some((movement_id, user_id)),
        amount,
        units_delta: after.units - before.units,
        investment_delta: after.investment - before.investment,
        reason: None,
    })?;
    Ok(after.write(db, state, user_id, now).await?)
}

/// Closes a pool whose members' money is lost: their units become void, and the next deposit starts afresh.
pub(crate) async fn close_pool(
    db: &mut PgConnection,
    state: &mut PoolState,
    (principal, request_id): (&str, &str),
    now: OffsetDateTime,
) -> Result<i128, Refusal> {
    let (units, investment) = (state.pool.units, state.sums.investment);
    let deficit = state.pool.close()?;
    state.sums.members = 0;
    state.sums.investment = 0;
    state.note(&Done { units_delta: -units, investment_delta: -investment, ..Done::new("closed", deficit) })?;
    sqlx::query!(
        "update holdings set units = 0, investment = 0, value = 0, as_of = $2, changed_version = $3
         where account = $1 and units > 0",
        state.account,
        now,
        state.version
    )
    .execute(&mut *db)
    .await?;
    let details = json!({"account": state.account, "deficit": i64::try_from(deficit).ok()});
    let entry = Entry { at: now, event: "pool.closed", principal, request_id, details };
    audit::append(db, crate::NAME, &[entry]).await?;
    Ok(deficit)
}
