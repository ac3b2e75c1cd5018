//! Members, and the money they bring.

use rust_decimal::Decimal;
use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{HistoryRow, PoolState, append_history, cents, numeric, overflow, units};
use crate::pool::PoolError;

/// How old the last report may be for a price to be taken from it.
const FRESH: Duration = Duration::seconds(60);

/// Adds a member; false where the id is taken.
pub(crate) async fn create_user(
    db: &mut PgConnection,
    user_id: &str,
    email: Option<&str>,
    now: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "insert into users (user_id, email, created_at) values ($1, $2, $3) on conflict do nothing",
        user_id,
        email,
        now
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether a terminal's key is bound to this account.
pub(crate) async fn account_exists(db: &mut PgConnection, account: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(r#"select exists (select from accounts where account = $1) as "exists!""#, account)
        .fetch_one(db)
        .await
}

/// A member's request to bring money.
pub(crate) struct Deposit<'a> {
    pub(crate) movement_id: Uuid,
    pub(crate) user_id: &'a str,
    pub(crate) amount: i64,
    pub(crate) idempotency_key: Option<&'a str>,
    pub(crate) principal: &'a str,
    pub(crate) request_id: &'a str,
    pub(crate) recorded_at: OffsetDateTime,
}

/// A movement as it was recorded.
pub(crate) struct Recorded {
    pub(crate) movement_id: Uuid,
    pub(crate) account: String,
    pub(crate) user_id: String,
    pub(crate) amount: i64,
    pub(crate) pending: bool,
}

/// The movement that this key stands for, if any.
pub(crate) async fn by_key(db: &mut PgConnection, principal: &str, key: &str) -> Result<Option<Recorded>, sqlx::Error> {
    sqlx::query_as!(
        Recorded,
        r#"select movement_id, account, user_id, amount,
                  exists (select from pending_movements p where p.movement_id = m.movement_id) as "pending!"
           from capital_movements m where principal = $1 and idempotency_key = $2"#,
        principal,
        key
    )
    .fetch_optional(db)
    .await
}

/// Records a deposit into a pool whose row the caller holds, and prices it where a price is certain.
/// True: it counts now; false: it waits for the account's next report.
pub(crate) async fn deposit(
    db: &mut PgConnection,
    state: &mut PoolState,
    deposit: &Deposit<'_>,
    now: OffsetDateTime,
) -> Result<Result<bool, PoolError>, sqlx::Error> {
    sqlx::query!(
        "insert into capital_movements
             (movement_id, account, user_id, kind, amount, idempotency_key, recorded_at, principal, request_id)
         values ($1, $2, $3, 'deposit', $4, $5, $6, $7, $8)",
        deposit.movement_id,
        state.account,
        deposit.user_id,
        deposit.amount,
        deposit.idempotency_key,
        deposit.recorded_at,
        deposit.principal,
        deposit.request_id
    )
    .execute(&mut *db)
    .await?;
    // Tried on a copy: what the pool would refuse now is refused at once, not kept waiting.
    if let Err(error) = state.pool.clone().deposit(deposit.amount.into()) {
        return Ok(Err(error));
    }
    let waiting = any_pending(db, &state.account).await?;
    if !waiting && priced_now(state, now) {
        let mint = mint(db, state, deposit.movement_id, deposit.user_id, deposit.amount, now).await?;
        return Ok(mint.map(|()| true));
    }
    sqlx::query!(
        "insert into pending_movements (movement_id, account) values ($1, $2)",
        deposit.movement_id,
        state.account
    )
    .execute(db)
    .await?;
    Ok(Ok(false))
}

/// Whether the last report still gives the price: none was ever needed, or nothing could have moved since.
fn priced_now(state: &PoolState, now: OffsetDateTime) -> bool {
    match (state.last.state_at, &state.last.figures) {
        (Some(at), Some(figures)) => now - at <= FRESH && figures.shows_nothing_open(),
        _ => true,
    }
}

async fn any_pending(db: &mut PgConnection, account: &str) -> Result<bool, sqlx::Error> {
    let any =
        sqlx::query_scalar!(r#"select exists (select from pending_movements where account = $1) as "any!""#, account);
    any.fetch_one(db).await
}

/// Prices what was recorded before this report was received, in the order it came.
pub(crate) async fn price_pending(
    db: &mut PgConnection,
    state: &mut PoolState,
    received_at: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    let waiting = sqlx::query!(
        "select m.movement_id, m.user_id, m.amount from pending_movements p join capital_movements m using (movement_id)
         where p.account = $1 and m.recorded_at < $2 order by p.place",
        state.account,
        received_at
    )
    .fetch_all(&mut *db)
    .await?;
    for movement in waiting {
        match mint(db, state, movement.movement_id, &movement.user_id, movement.amount, now).await? {
            Ok(()) => {
                sqlx::query!("delete from pending_movements where movement_id = $1", movement.movement_id)
                    .execute(&mut *db)
                    .await?;
            }
            // It stays pending, visibly, until the pool can take it.
            Err(error) => tracing::error!(movement.id = %movement.movement_id, %error, "a deposit can't be priced"),
        }
    }
    Ok(())
}

/// Gives a member the units of a deposit, and his stored value with them.
async fn mint(
    db: &mut PgConnection,
    state: &mut PoolState,
    movement_id: Uuid,
    user_id: &str,
    amount: i64,
    now: OffsetDateTime,
) -> Result<Result<(), PoolError>, sqlx::Error> {
    let minted = match state.pool.deposit(amount.into()) {
        Ok(minted) => minted,
        Err(error) => return Ok(Err(error)),
    };
    let row = HistoryRow {
        kind: "deposit",
        movement: Some((movement_id, user_id)),
        amount: amount.into(),
        units_delta: minted,
        at: now,
    };
    append_history(db, state, row).await?;
    let held = sqlx::query_scalar!(
        "insert into holdings (account, user_id, units, deposited, investment) values ($1, $2, $3, $4, $4)
         on conflict (account, user_id) do update set units = holdings.units + excluded.units,
             deposited = holdings.deposited + excluded.deposited,
             investment = holdings.investment + excluded.investment, version = holdings.version + 1
         returning units",
        state.account,
        user_id,
        numeric(minted)?,
        amount
    )
    .fetch_one(&mut *db)
    .await?;
    sqlx::query!(
        "update holdings set value = $3, profit_loss = $3 + withdrawn - deposited, as_of = $4
         where account = $1 and user_id = $2",
        state.account,
        user_id,
        cents(state.pool.value(units(held)))?,
        state.last.state_at.unwrap_or(now)
    )
    .execute(db)
    .await?;
    Ok(Ok(()))
}

/// A member with his part of every pool.
pub(crate) struct UserRow {
    pub(crate) user_id: String,
    pub(crate) email: Option<String>,
    pub(crate) created_at: OffsetDateTime,
}

/// A member.
pub(crate) async fn user(db: &mut PgConnection, user_id: &str) -> Result<Option<UserRow>, sqlx::Error> {
    sqlx::query_as!(UserRow, "select user_id, email, created_at from users where user_id = $1", user_id)
        .fetch_optional(db)
        .await
}

/// A member's part of one pool, in cents.
pub(crate) struct HoldingRow {
    pub(crate) account: String,
    pub(crate) currency: Option<String>,
    pub(crate) units: Decimal,
    pub(crate) deposited: i64,
    pub(crate) withdrawn: i64,
    pub(crate) investment: i64,
    pub(crate) value: i64,
    pub(crate) profit_loss: i64,
    pub(crate) as_of: Option<OffsetDateTime>,
    pub(crate) pending: i64,
}

/// A member's parts of all pools, by account, also where money still waits for its price.
pub(crate) async fn holdings(db: &mut PgConnection, user_id: &str) -> Result<Vec<HoldingRow>, sqlx::Error> {
    sqlx::query_as!(
        HoldingRow,
        r#"with waiting as (
             select m.account, sum(m.amount)::bigint as amount
             from capital_movements m join pending_movements p using (movement_id)
             where m.user_id = $1 group by m.account
           )
           select p.account as "account!", p.currency, coalesce(h.units, 0) as "units!",
                  coalesce(h.deposited, 0) as "deposited!", coalesce(h.withdrawn, 0) as "withdrawn!",
                  coalesce(h.investment, 0) as "investment!", coalesce(h.value, 0) as "value!",
                  coalesce(h.profit_loss, 0) as "profit_loss!", h.as_of as "as_of?",
                  coalesce(w.amount, 0) as "pending!"
           from pools p
           left join holdings h on h.account = p.account and h.user_id = $1
           left join waiting w on w.account = p.account
           where h.user_id is not null or w.account is not null
           order by p.account"#,
        user_id
    )
    .fetch_all(db)
    .await
}

/// Sums over a pool's members, in cents.
pub(crate) struct Totals {
    pub(crate) members: i64,
    pub(crate) investment: i64,
    pub(crate) deposited: i64,
    pub(crate) withdrawn: i64,
    pub(crate) pending: i64,
}

/// Sums over a pool's members.
pub(crate) async fn totals(db: &mut PgConnection, account: &str) -> Result<Totals, sqlx::Error> {
    let row = sqlx::query!(
        r#"select count(*) filter (where units > 0) as "members!", coalesce(sum(investment), 0) as "investment!",
                  coalesce(sum(deposited), 0) as "deposited!", coalesce(sum(withdrawn), 0) as "withdrawn!",
                  (select coalesce(sum(m.amount), 0) from pending_movements p join capital_movements m using (movement_id)
                   where p.account = $1) as "pending!"
           from holdings where account = $1"#,
        account
    )
    .fetch_one(db)
    .await?;
    let whole = |sum: Decimal| i64::try_from(sum).map_err(overflow);
    Ok(Totals {
        members: row.members,
        investment: whole(row.investment)?,
        deposited: whole(row.deposited)?,
        withdrawn: whole(row.withdrawn)?,
        pending: whole(row.pending)?,
    })
}
