//! Movements at their price: units for money, and money for units.

use std::collections::BTreeMap;

use common::audit::{self, Entry};
use serde_json::json;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::movement::{Kind, Refusal, ask};
use super::pools::Done;
use super::{PoolState, cents, numeric, units};
use crate::pool::{PoolError, remaining_investment};
use crate::report::AHEAD_MAX;

/// A movement that waits for its price.
pub(crate) struct Pending {
    movement_id: Uuid,
    account: String,
    pub(super) user_id: String,
    pub(super) kind: Kind,
    recorded_at: OffsetDateTime,
    /// When the dispatcher had received the account's last report by then, by its own clock, which may be ahead of ours.
    last_received_at: Option<OffsetDateTime>,
}

impl Pending {
    /// Whether this was recorded after a report that was received then, or may have been. A time from the future was by a clock
    /// that was put right since, and says nothing.
    fn follows(&self, received_at: OffsetDateTime, now: OffsetDateTime) -> bool {
        let known = [Some(self.recorded_at), self.last_received_at].into_iter().flatten();
        known.filter(|at| *at - now <= AHEAD_MAX).any(|at| at >= received_at)
    }
}

/// What waits in these accounts, in the order it came.
pub(crate) async fn pending(
    db: &mut PgConnection,
    accounts: &[String],
) -> Result<BTreeMap<String, Vec<Pending>>, sqlx::Error> {
    let rows = sqlx::query!(
        "select m.movement_id, p.account, m.user_id, m.kind, m.amount, m.recorded_at, p.last_received_at
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
            last_received_at: row.last_received_at,
        };
        pending.entry(movement.account.clone()).or_default().push(movement);
    }
    Ok(pending)
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
        if movement.follows(received_at, now) {
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
pub(super) async fn end(
    db: &mut PgConnection,
    state: &mut PoolState,
    movement: (Uuid, &str),
    kind: &'static str,
    reason: &'static str,
) -> Result<(), sqlx::Error> {
    state.note(&Done { movement: Some(movement), reason: Some(reason), ..Done::new(kind, 0) })?;
    forget(db, movement.0).await
}

/// A member's part of a pool; amounts in cents.
#[derive(Clone, Debug, Default)]
pub(super) struct Holding {
    pub(super) units: i128,
    deposited: i128,
    withdrawn: i128,
    investment: i128,
}

impl Holding {
    pub(super) async fn read(db: &mut PgConnection, account: &str, user_id: &str) -> Result<Self, sqlx::Error> {
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
pub(super) async fn settle(
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
