//! What was a member's, and an account's, at any time: as it was shown then.

use rust_decimal::Decimal;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

/// A pool in which a member has, or had, money.
pub(crate) struct Book {
    pub(crate) account: String,
    pub(crate) currency: Option<String>,
}

/// The pools of a member's books, by account.
pub(crate) async fn books(db: &mut PgConnection, user_id: &str) -> Result<Vec<Book>, sqlx::Error> {
    sqlx::query_as!(
        Book,
        "select account, currency from pools where account in (select account from holdings where user_id = $1)
         order by account",
        user_id
    )
    .fetch_all(db)
    .await
}

/// A member's part of a pool at some time.
pub(crate) struct Position {
    pub(crate) units: Decimal,
    /// In cents.
    pub(crate) value: i64,
    /// Of the pool then, in cents.
    pub(crate) equity: i64,
    pub(crate) pool_units: Decimal,
}

/// A member's part of a pool at this time, as the last valuation before it or the member's own last movement gives it.
pub(crate) async fn position(
    db: &mut PgConnection,
    account: &str,
    user_id: &str,
    at: OffsetDateTime,
) -> Result<Position, sqlx::Error> {
    sqlx::query_as!(
        Position,
        r#"with closed as (
             select coalesce(max(version), 0) as version from pool_history
             where account = $1 and kind = 'closed' and at <= $3
           ), own as (
             select coalesce(sum(h.units_delta), 0) as units, max(h.version) as version from pool_history h, closed c
             where h.account = $1 and h.user_id = $2 and h.kind in ('deposit', 'withdrawal') and h.at <= $3
               and h.version > c.version
           ), valued as (
             select version, equity, units, cutoff_remainder, cutoff_user from pool_valuations
             where account = $1 and at <= $3 order by at desc, version desc limit 1
           ), moved as (
             select h.equity, h.units from pool_history h, own o where h.account = $1 and h.version = o.version
           ), pool as (
             select equity, units from pool_history where account = $1 and at <= $3 order by at desc, version desc limit 1
           )
           select o.units as "units!",
                  case when v.version >= o.version
                       then share(o.units, $2, v.equity, v.units, v.cutoff_remainder, v.cutoff_user)
                       else coalesce(share(o.units, $2, m.equity, m.units, null, null), 0) end as "value!",
                  coalesce(p.equity, 0) as "equity!", coalesce(p.units, 0) as "pool_units!"
           from own o left join valued v on true left join moved m on true left join pool p on true"#,
        account,
        user_id,
        at
    )
    .fetch_one(db)
    .await
}

/// A member's movement in a pool, priced.
pub(crate) struct Moved {
    pub(crate) at: OffsetDateTime,
    /// `deposit`, `withdrawal`; `closed` where the pool was wiped out and closed.
    pub(crate) kind: String,
    pub(crate) movement_id: Option<Uuid>,
    /// What the pool's equity changed by, in cents.
    pub(crate) amount: i64,
    pub(crate) units_delta: Decimal,
    /// The pool after it.
    pub(crate) equity: i64,
    pub(crate) pool_units: Decimal,
}

/// What changed a member's units after `from` and not after `to`, in order.
pub(crate) async fn movements(
    db: &mut PgConnection,
    account: &str,
    user_id: &str,
    from: OffsetDateTime,
    to: OffsetDateTime,
) -> Result<Vec<Moved>, sqlx::Error> {
    sqlx::query_as!(
        Moved,
        "select at, kind, movement_id, case when kind = 'closed' then 0 else amount end as \"amount!\",
                units_delta, equity, units as pool_units
         from pool_history
         where account = $1 and at > $3 and at <= $4
           and ((user_id = $2 and kind in ('deposit', 'withdrawal')) or kind = 'closed')
         order by version",
        account,
        user_id,
        from,
        to
    )
    .fetch_all(db)
    .await
}

/// A pool at some time; amounts in cents.
pub(crate) struct Point {
    pub(crate) at: OffsetDateTime,
    pub(crate) equity: i64,
    pub(crate) paid_in: i64,
    pub(crate) units: Decimal,
}

/// Since when all of an account's history is there; none: from its beginning.
pub(crate) async fn kept_since(db: &mut PgConnection, account: &str) -> Result<Option<OffsetDateTime>, sqlx::Error> {
    sqlx::query_scalar!("select max(cut) from pool_checkpoints where account = $1", account).fetch_one(db).await
}

/// A pool at so many times from `from` to `to`, which may begin before it did, or before what is kept of it.
pub(crate) async fn points(
    db: &mut PgConnection,
    account: &str,
    from: Option<OffsetDateTime>,
    to: OffsetDateTime,
    points: i32,
) -> Result<Vec<Point>, sqlx::Error> {
    sqlx::query_as!(
        Point,
        r#"with range as (
             select greatest($2::timestamptz, min(at), (select max(cut) from pool_checkpoints where account = $1)) as first,
                    $3::timestamptz as last
             from (select at from pool_history where account = $1 order by at limit 1) as oldest
           ), times as (
             select distinct first + (last - first) * n / greatest($4 - 1, 1) as at
             from range, generate_series(0, $4 - 1) as n where first <= last
           )
           select t.at as "at!", h.equity, h.paid_in, h.units from times t
           cross join lateral (select equity, paid_in, units from pool_history
                               where account = $1 and at <= t.at order by at desc, version desc limit 1) h
           order by t.at"#,
        account,
        from,
        to,
        points
    )
    .fetch_all(db)
    .await
}
