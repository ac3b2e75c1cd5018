//! Members, and what is theirs.

use rust_decimal::Decimal;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

/// A member to be added.
pub(crate) struct New<'a> {
    pub(crate) user_id: &'a str,
    pub(crate) name: Option<&'a str>,
    pub(crate) email: Option<&'a str>,
    pub(crate) principal: &'a str,
    pub(crate) idempotency_key: Option<&'a str>,
    /// Of all that was asked for: what the key stands for.
    pub(crate) content: Uuid,
}

/// Adds a member; false where the id is taken, or the key. Requests with one key meet here.
pub(crate) async fn create(db: &mut PgConnection, new: &New<'_>, now: OffsetDateTime) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "insert into members (user_id, name, email, created_at, created_by, idempotency_key, content)
         values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing",
        new.user_id,
        new.name,
        new.email,
        now,
        new.principal,
        new.idempotency_key,
        new.content
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Who was added under a key.
pub(crate) struct Keyed {
    pub(crate) user_id: String,
    pub(crate) content: Uuid,
}

/// The member that was added under this key, if any.
pub(crate) async fn by_key(db: &mut PgConnection, principal: &str, key: &str) -> Result<Option<Keyed>, sqlx::Error> {
    sqlx::query_as!(
        Keyed,
        r#"select user_id, content as "content!" from members where created_by = $1 and idempotency_key = $2"#,
        principal,
        key
    )
    .fetch_optional(db)
    .await
}

/// Whether a terminal's key is bound to this account.
pub(crate) async fn account_exists(db: &mut PgConnection, account: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(r#"select exists (select from accounts where account = $1) as "exists!""#, account)
        .fetch_one(db)
        .await
}

/// A member.
pub(crate) struct Member {
    pub(crate) user_id: String,
    pub(crate) name: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) closed_at: Option<OffsetDateTime>,
}

/// A member.
pub(crate) async fn read(db: &mut PgConnection, user_id: &str) -> Result<Option<Member>, sqlx::Error> {
    sqlx::query_as!(
        Member,
        "select user_id, name, email, created_at, closed_at from members where user_id = $1",
        user_id
    )
    .fetch_optional(db)
    .await
}

/// A member who can't be closed until the transaction ends.
pub(crate) async fn keep_open(db: &mut PgConnection, user_id: &str) -> Result<Option<Member>, sqlx::Error> {
    sqlx::query_as!(
        Member,
        "select user_id, name, email, created_at, closed_at from members where user_id = $1 for share",
        user_id
    )
    .fetch_optional(db)
    .await
}

/// Gives a member another name or address; what is none stays, what is empty is cleared.
pub(crate) async fn update(
    db: &mut PgConnection,
    user_id: &str,
    name: Option<&str>,
    email: Option<&str>,
) -> Result<Option<Member>, sqlx::Error> {
    sqlx::query_as!(
        Member,
        "update members set name = nullif(coalesce($2, name), ''), email = nullif(coalesce($3, email), '')
         where user_id = $1 returning user_id, name, email, created_at, closed_at",
        user_id,
        name,
        email
    )
    .fetch_optional(db)
    .await
}

/// Ends a membership that holds nothing and waits for nothing; false where it does.
pub(crate) async fn close(db: &mut PgConnection, user_id: &str, now: OffsetDateTime) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!("select user_id from members where user_id = $1 for update", user_id)
        .fetch_optional(&mut *db)
        .await?;
    // Nobody can bring money now; money that waits keeps the member.
    let done = sqlx::query!(
        "update members set closed_at = coalesce(closed_at, $2)
         where user_id = $1
           and not exists (select from holdings h where h.user_id = $1 and h.units > 0)
           and not exists (select from pending_movements p join capital_movements m using (movement_id)
                           where m.user_id = $1)",
        user_id,
        now
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A member with his sums, in cents of his first account's currency.
pub(crate) struct Listed {
    pub(crate) user_id: String,
    pub(crate) name: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) closed_at: Option<OffsetDateTime>,
    pub(crate) investment: i64,
    pub(crate) value: i64,
    pub(crate) profit_loss: i64,
    pub(crate) as_of: Option<OffsetDateTime>,
}

/// Members by id, after this one; those whose id, name or address begins like this.
pub(crate) async fn list(
    db: &mut PgConnection,
    search: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<Listed>, sqlx::Error> {
    let pattern = search.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_") + "%";
    sqlx::query_as!(
        Listed,
        r#"select user_id as "user_id!", name, email, created_at as "created_at!", closed_at,
                  investment as "investment!", value as "value!", profit_loss as "profit_loss!", as_of
           from users
           where user_id > $2 and ($4 = '' or user_id in (
               select user_id from members where lower(name collate "und-x-icu") like $1
               union all select user_id from members where lower(email collate "und-x-icu") like $1
               union all select user_id from members where lower(user_id collate "und-x-icu") like $1))
           order by user_id limit $3"#,
        pattern,
        after,
        limit,
        search
    )
    .fetch_all(db)
    .await
}

/// A member's part of one pool, in cents.
pub(crate) struct Share {
    pub(crate) account: String,
    pub(crate) currency: Option<String>,
    pub(crate) units: Decimal,
    pub(crate) deposited: i64,
    pub(crate) withdrawn: i64,
    pub(crate) investment: i64,
    pub(crate) value: i64,
    pub(crate) profit_loss: i64,
    pub(crate) as_of: Option<OffsetDateTime>,
    /// Deposits that wait for their price.
    pub(crate) pending: i64,
    /// Withdrawals that wait; of those for all there is, none is counted.
    pub(crate) pending_withdrawals: i64,
}

/// A member's parts of all pools, by account, also where money still waits for its price.
pub(crate) async fn shares(db: &mut PgConnection, user_id: &str) -> Result<Vec<Share>, sqlx::Error> {
    sqlx::query_as!(
        Share,
        r#"with waiting as (
             select m.account, coalesce(sum(m.amount) filter (where kind = 'deposit'), 0)::bigint as deposits,
                    coalesce(sum(m.amount) filter (where kind = 'withdrawal'), 0)::bigint as withdrawals
             from capital_movements m join pending_movements p using (movement_id)
             where m.user_id = $1 group by m.account
           ), theirs as (
             select account from holdings where user_id = $1 union select account from waiting
           )
           select p.account, p.currency, coalesce(s.units, 0) as "units!", coalesce(s.deposited, 0) as "deposited!",
                  coalesce(s.withdrawn, 0) as "withdrawn!", coalesce(s.investment, 0) as "investment!",
                  coalesce(s.value, 0) as "value!", coalesce(s.profit_loss, 0) as "profit_loss!", s.as_of as "as_of?",
                  coalesce(w.deposits, 0) as "pending!", coalesce(w.withdrawals, 0) as "pending_withdrawals!"
           from theirs
           join pools p using (account)
           left join shares s on s.account = p.account and s.user_id = $1
           left join waiting w on w.account = p.account
           order by p.account"#,
        user_id
    )
    .fetch_all(db)
    .await
}

/// Money of an account that waits for its price, in cents: deposits and withdrawals.
pub(crate) async fn waiting(db: &mut PgConnection, account: &str) -> Result<(i64, i64), sqlx::Error> {
    let row = sqlx::query!(
        r#"select coalesce(sum(m.amount) filter (where kind = 'deposit'), 0)::bigint as "deposits!",
                  coalesce(sum(m.amount) filter (where kind = 'withdrawal'), 0)::bigint as "withdrawals!"
           from pending_movements p join capital_movements m using (movement_id) where p.account = $1"#,
        account
    )
    .fetch_one(db)
    .await?;
    Ok((row.deposits, row.withdrawals))
}
