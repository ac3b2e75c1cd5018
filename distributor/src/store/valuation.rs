//! Every member's value in one statement.

use sqlx::PgConnection;
use time::OffsetDateTime;

/// Pools whose members' values are older than the pool.
pub(crate) async fn outdated(db: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!("select account from pools where valued_version < version order by account").fetch_all(db).await
}

/// Writes the value of every member of a pool: whole cents, and the cents that are missing to the pool's equity
/// to the largest remainders, ties by user id. Rows that a movement changed meanwhile are left to the next pass.
pub(crate) async fn run(db: &mut PgConnection, account: &str, now: OffsetDateTime) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"with pool as (
             select greatest(equity, 0)::numeric as equity, units, version, coalesce(state_at, $2) as as_of
             from pools where account = $1
           ), parts as (
             select h.user_id, h.version, p.as_of, p.equity,
                    case when p.units > 0 then div(h.units * p.equity, p.units) else 0 end as cents,
                    case when p.units > 0 then mod(h.units * p.equity, p.units) else 0 end as remainder
             from holdings h, pool p where h.account = $1
           ), ranked as (
             select user_id, version, as_of, cents, equity - sum(cents) over () as missing,
                    row_number() over (order by remainder desc, user_id collate "C") as place
             from parts
           ), written as (
             update holdings h set value = r.cents + (r.place <= r.missing)::integer,
                 profit_loss = r.cents + (r.place <= r.missing)::integer + h.withdrawn - h.deposited, as_of = r.as_of
             from ranked r
             where h.account = $1 and h.user_id = r.user_id and h.version = r.version
           )
           update pools set valued_version = (select version from pool), valued_at = $2 where account = $1"#,
        account,
        now
    )
    .execute(db)
    .await
    .map(drop)
}
