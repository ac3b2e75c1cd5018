//! Every member's value, without a row for each: what decides it is the pool, and who gets the cents that do not divide.

use rust_decimal::Decimal;
use sqlx::PgConnection;
use time::OffsetDateTime;

/// Pools that changed since their last valuation.
pub(crate) async fn outdated(db: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!("select account from pools where valued_version < version order by account").fetch_all(db).await
}

/// How a pool stands, for the gauges; amounts in cents.
pub(crate) struct Standing {
    pub(crate) account: String,
    /// When its last report that counted came, in seconds since 1970.
    pub(crate) reported_at: Option<f64>,
    pub(crate) equity: i64,
    pub(crate) units: Decimal,
    pub(crate) members: i64,
    /// Movements that wait for their price.
    pub(crate) pending: i64,
    /// Money in the account that is nobody's here, where the terminal reports deposits.
    pub(crate) unreconciled: Option<i64>,
}

/// All pools.
pub(crate) async fn standings(db: &mut PgConnection) -> Result<Vec<Standing>, sqlx::Error> {
    sqlx::query_as!(
        Standing,
        r#"select account, extract(epoch from state_at)::float8 as reported_at, equity, units, members,
                  net_deposits - deposited + withdrawn as unreconciled,
                  (select count(*) from pending_movements m where m.account = p.account) as "pending!"
           from pools p"#
    )
    .fetch_all(db)
    .await
}

/// A pool as one snapshot shows it, with its members.
pub(crate) struct Valuation {
    version: i64,
    equity: i64,
    units: Decimal,
    as_of: OffsetDateTime,
    cutoff_remainder: Option<Decimal>,
    cutoff_user: Option<String>,
    /// By how much the members' cents differ from the pool's equity: nothing, unless the books are wrong.
    pub(crate) imbalance: i64,
}

/// Finds whose cents are rounded up so that all together are the pool's equity: those with the largest remainders, of
/// equals the first by user id.
pub(crate) async fn compute(
    db: &mut PgConnection,
    account: &str,
    now: OffsetDateTime,
) -> Result<Valuation, sqlx::Error> {
    sqlx::query_as!(
        Valuation,
        r#"with pool as (
             select version, equity, greatest(equity, 0)::numeric as worth, units, coalesce(state_at, $2) as as_of
             from pools where account = $1
           ), parts as materialized (
             select h.user_id collate "C" as user_id, div(h.units * p.worth, p.units) as cents,
                    mod(h.units * p.worth, p.units) as remainder
             from holdings h, pool p where h.account = $1 and h.units > 0 and p.units > 0
           ), sums as (
             select coalesce(sum(cents), 0) as cents, count(*) as members from parts
           ), missing as (
             select (p.worth - s.cents)::bigint as cents, s.members from pool p, sums s
           ), cutoff as (
             select remainder, user_id from parts order by remainder desc, user_id
             offset (select greatest(cents - 1, 0) from missing)
             limit (select case when cents between 1 and members then 1 else 0 end from missing)
           )
           select p.version as "version!", p.equity as "equity!", p.units as "units!", p.as_of as "as_of!",
                  c.remainder as "cutoff_remainder?", c.user_id as "cutoff_user?",
                  case when m.cents between 0 and m.members then 0 else -m.cents end as "imbalance!"
           from pool p cross join missing m left join cutoff c on true"#,
        account,
        now
    )
    .fetch_one(db)
    .await
}

/// Makes a valuation count, unless a newer one does.
pub(crate) async fn store(
    db: &mut PgConnection,
    account: &str,
    valuation: &Valuation,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "with valued as (
             update pools set valued_version = $2, valued_at = greatest($8, changed_at, valued_at), valued_equity = $3, valued_units = $4,
                 valued_as_of = $5, cutoff_remainder = $6, cutoff_user = $7
             where account = $1 and valued_version < $2 returning account, valued_at
         )
         insert into pool_valuations (account, version, equity, units, as_of, cutoff_remainder, cutoff_user, at)
         select account, $2, $3, $4, $5, $6, $7, valued_at from valued",
        account,
        valuation.version,
        valuation.equity,
        valuation.units,
        valuation.as_of,
        valuation.cutoff_remainder,
        valuation.cutoff_user,
        now
    )
    .execute(db)
    .await
    .map(drop)
}
