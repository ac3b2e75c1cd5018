//! The books checked against themselves, in SQL: every balance is derived again from the rows behind it, with none of
//! the pool's own code. Each check tells the first difference it finds.
//!
//! Invariant: where old rows were retired the proof begins at the last checkpoint, which the audit log vouches for; sums of
//! movements are of all time, for their rows stay.

use sqlx::PgConnection;

/// Two figures that should be the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where, such as an account with a version or a member.
    pub place: String,
    /// What the books give.
    pub expected: String,
    /// What is there.
    pub found: String,
}

type Checked = Result<Option<Difference>, sqlx::Error>;

/// Versions without a gap, each following from the one before by what was done.
pub(crate) async fn versions(db: &mut PgConnection) -> Checked {
    sqlx::query_as!(
        Difference,
        r#"with steps as (
             select account, version, kind, profit, equity, units, paid_in, at,
                    case kind when 'closed' then equity when 'base' then amount when 'cancelled' then amount
                        when 'refused' then amount else 0 end as astray,
                    coalesce(lag(version) over w, 0) + 1 as place,
                    coalesce(lag(equity) over w, 0) + amount as equity_expected,
                    coalesce(lag(units) over w, 0) + units_delta as units_expected,
                    coalesce(lag(paid_in) over w, 0)
                        + case when kind in ('deposit', 'withdrawal') then amount else 0 end as paid_in_expected,
                    case kind when 'update' then coalesce(lag(profit) over w, 0) + amount when 'base' then profit
                        else coalesce(lag(profit) over w, 0) end as profit_expected,
                    coalesce(lag(at) over w, at) as earliest
             from pool_chain window w as (partition by account order by version)
           )
           select format('account %s version %s (%s)', account, version, kind) as "place!",
                  format('version %s, equity %s, units %s, profit %s, paid in %s, not before %s, 0 astray', place,
                         equity_expected, units_expected, profit_expected, paid_in_expected, earliest) as "expected!",
                  format('version %s, equity %s, units %s, profit %s, paid in %s, at %s, %s astray', version, equity, units,
                         profit, paid_in, at, astray) as "found!"
           from steps
           where kind <> 'checkpoint'
             and ((version, equity, units, profit, paid_in)
                  is distinct from (place, equity_expected, units_expected, profit_expected, paid_in_expected)
                  or at < earliest or astray <> 0)
           order by account, version limit 1"#
    )
    .fetch_optional(db)
    .await
}

/// Every movement priced as the pool was, rounded against the mover.
pub(crate) async fn prices(db: &mut PgConnection) -> Checked {
    sqlx::query_as!(
        Difference,
        r#"with steps as (
             select account, version, kind, user_id, amount::numeric as amount, units_delta, investment_delta,
                    coalesce(lag(equity) over w, 0)::numeric as equity, coalesce(lag(units) over w, 0) as units
             from pool_chain window w as (partition by account order by version)
           ), eras as (
             select account, version, kind, user_id, units_delta, investment_delta,
                    count(*) filter (where kind = 'closed') over (partition by account order by version) as era
             from pool_history where kind in ('deposit', 'withdrawal', 'closed')
           ), parts as (
             select account, version, sum(units_delta) over mine - units_delta as held,
                    (sum(investment_delta) over mine - investment_delta)::numeric as invested
             from eras where kind in ('deposit', 'withdrawal')
             window mine as (partition by account, user_id, era order by version)
           ), held as (
             select * from steps join parts using (account, version) where kind in ('deposit', 'withdrawal')
           ), priced as (
             select account, version, kind, units_delta, investment_delta::numeric, amount,
                    case when kind = 'deposit' and units = 0 then amount * 100000000
                         when kind = 'deposit' and equity > 0 then div(amount * units, equity)
                         when kind = 'withdrawal' and equity > 0 and held > 0 and -amount between 0 and worth
                         then -case when -amount = worth then held
                                    else least(div(-amount * units + equity - 1, equity), units - 1) end
                    end as units_expected,
                    case when kind = 'deposit' then amount
                         when held > 0 then div(2 * invested * (held + units_delta) + held, 2 * held) - invested
                    end as investment_expected
             from (select *, case when units > 0 and equity > 0 then div(held * equity, units) else 0 end as worth
                   from held) as valued
             union all
             select account, version, kind, units_delta, investment_delta::numeric, amount,
                    case when equity <= 0 then -units end, investment_delta
             from steps where kind = 'closed'
             union all
             select account, version, kind, units_delta, investment_delta::numeric, amount, 0, 0
             from steps where kind not in ('deposit', 'withdrawal', 'closed', 'checkpoint')
           )
           select format('account %s version %s (%s of %s cents)', account, version, kind, amount) as "place!",
                  format('units %s, investment %s', coalesce(units_expected::text, 'refused'), investment_expected)
                      as "expected!",
                  format('units %s, investment %s', units_delta, investment_delta) as "found!"
           from priced
           where (units_delta, investment_delta) is distinct from (units_expected, investment_expected)
           order by account, version limit 1"#
    )
    .fetch_optional(db)
    .await
}

/// Every movement ended once, as it was asked for, or waits; and nothing else moved money.
pub(crate) async fn movements(db: &mut PgConnection) -> Checked {
    sqlx::query_as!(
        Difference,
        r#"with ended as (
             select movement_id, min(account) as account, min(user_id) as user_id, min(kind) as kind,
                    min(amount) as amount, count(*) as times
             from pool_history where kind in ('deposit', 'withdrawal', 'cancelled', 'refused') group by movement_id
           )
           select format('movement %s', movement_id) as "place!",
                  coalesce(format('%s of %s cents by %s in %s, once or waiting', m.kind, coalesce(m.amount::text, 'all'),
                                  m.user_id, m.account), 'no such movement') as "expected!",
                  format('%s of %s cents by %s in %s, %s times%s', e.kind, e.amount, e.user_id, e.account,
                         coalesce(e.times, 0), case when p.movement_id is not null then ' and waiting' end) as "found!"
           from capital_movements m
           full join ended e using (movement_id)
           left join pending_movements p using (movement_id)
           where (coalesce(e.times, 0) + (p.movement_id is not null)::integer) <> 1
              or (p.movement_id is not null and p.account <> m.account)
              or (e.times = 1 and ((m.account, m.user_id) is distinct from (e.account, e.user_id)
                  or case when e.kind in ('cancelled', 'refused') then e.amount <> 0
                          when e.kind <> m.kind then true
                          when m.kind = 'deposit' then e.amount <> m.amount
                          else -e.amount <> coalesce(m.amount, -e.amount) end))
           order by movement_id limit 1"#
    )
    .fetch_optional(db)
    .await
}

/// Every pool as its history ends, with its members' sums.
pub(crate) async fn pools(db: &mut PgConnection) -> Checked {
    sqlx::query_as!(
        Difference,
        r#"with last as (
             select distinct on (account) account, version, equity, units, profit from pool_chain
             order by account, version desc
           ), eras as (
             select account, max(version) as closed from pool_history where kind = 'closed' group by account
           ), sums as (
             select account, coalesce(sum(amount) filter (where kind = 'deposit'), 0) as deposited,
                    coalesce(-sum(amount) filter (where kind = 'withdrawal'), 0) as withdrawn,
                    coalesce(sum(investment_delta), 0) as investment
             from pool_history where kind <> 'update' group by account
           ), members as (
             select account, count(*) as members from (
                 select h.account, h.user_id from pool_history h left join eras e using (account)
                 where h.user_id is not null and h.version > coalesce(e.closed, 0)
                 group by h.account, h.user_id having sum(h.units_delta) > 0) as holders
             group by account
           ), counted as (
             select account, p.version, p.equity, p.units, p.profit, p.deposited, p.withdrawn, p.investment, p.members,
                    coalesce(l.version, 0) as version_expected, coalesce(l.equity, 0) as equity_expected,
                    coalesce(l.units, 0) as units_expected, coalesce(l.profit, p.profit, 0) as profit_expected,
                    coalesce(s.deposited, 0) as deposited_expected, coalesce(s.withdrawn, 0) as withdrawn_expected,
                    coalesce(s.investment, 0) as investment_expected, coalesce(m.members, 0) as members_expected
             from pools p full join last l using (account) left join sums s using (account)
             left join members m using (account)
           )
           select format('pool of account %s', account) as "place!",
                  format('version %s, equity %s, units %s, profit %s, deposited %s, withdrawn %s, investment %s, members %s',
                      version_expected, equity_expected, units_expected, profit_expected, deposited_expected,
                      withdrawn_expected, investment_expected, members_expected) as "expected!",
                  format('version %s, equity %s, units %s, profit %s, deposited %s, withdrawn %s, investment %s, members %s',
                      version, equity, units, profit, deposited, withdrawn, investment, members) as "found!"
           from counted
           where (version, equity, units, profit, deposited, withdrawn, investment, members)
                 is distinct from (version_expected, equity_expected, units_expected, profit_expected,
                     deposited_expected, withdrawn_expected, investment_expected, members_expected)
           order by account limit 1"#
    )
    .fetch_optional(db)
    .await
}

/// Every member's units and sums as his movements give them.
pub(crate) async fn holdings(db: &mut PgConnection) -> Checked {
    sqlx::query_as!(
        Difference,
        r#"with eras as (
             select account, max(version) as closed from pool_history where kind = 'closed' group by account
           ), sums as (
             select h.account, h.user_id,
                    coalesce(sum(units_delta) filter (where version > coalesce(e.closed, 0)), 0) as units,
                    coalesce(sum(investment_delta) filter (where version > coalesce(e.closed, 0)), 0) as investment,
                    coalesce(sum(amount) filter (where kind = 'deposit'), 0) as deposited,
                    coalesce(-sum(amount) filter (where kind = 'withdrawal'), 0) as withdrawn
             from pool_history h left join eras e using (account)
             where kind in ('deposit', 'withdrawal') group by h.account, h.user_id
           )
           select format('member %s in account %s', user_id, account) as "place!",
                  format('units %s, deposited %s, withdrawn %s, investment %s', s.units, s.deposited, s.withdrawn,
                         s.investment) as "expected!",
                  format('units %s, deposited %s, withdrawn %s, investment %s', h.units, h.deposited, h.withdrawn,
                         h.investment) as "found!"
           from holdings h full join sums s using (account, user_id)
           where (h.units, h.deposited, h.withdrawn, h.investment)
                 is distinct from (s.units, s.deposited, s.withdrawn, s.investment)
           order by account, user_id limit 1"#
    )
    .fetch_optional(db)
    .await
}

/// Every level of profit as a report gave it, rounded half-even to the cent; and a base only where it may be: without
/// members, at the first report with deposits, or where the definition or the login changed.
pub(crate) async fn reports(db: &mut PgConnection) -> Checked {
    // Read once and joined once: of a year of reports every further look spills gigabytes to disk.
    sqlx::query_as!(
        Difference,
        r#"with applied as (
             select account, version, message_id, by_deposits, level, lag(by_deposits) over w as by_deposits_before,
                    version is distinct from lag(version) over w as is_new,
                    login <> (max(array[place, login]) filter (where login is not null)
                              over (w rows between unbounded preceding and 1 preceding))[2] as other_login
             from report_chain window w as (partition by account order by place)
           ), steps as (
             select account, version, kind, profit, coalesce(lag(units) over w, 0) as units_before
             from pool_chain window w as (partition by account order by version)
           ), compared as (
             select account, version, h.kind, h.profit, a.message_id, a.level,
                    a.message_id is not null and a.level is distinct from coalesce(h.profit, 0) as is_unlike,
                    h.kind in ('update', 'base') and version > p.reports_since
                        and not (a.message_id is not null and a.by_deposits_before is null and p.reports_since > 0)
                        and coalesce(a.is_new, true) as is_judged,
                    case when h.units_before = 0 or a.by_deposits <> a.by_deposits_before or a.other_login
                           or (a.by_deposits_before is null and a.by_deposits) then 'base' else 'update' end as kind_expected
             from applied a full join steps h using (account, version)
             left join (select account, reports_since from pools) p using (account)
           )
           select * from (
             select case when is_unlike then format('report %s of account %s', message_id, account)
                         else format('account %s version %s (%s)', account, version, kind) end as "place!",
                    case when is_unlike then format('profit %s at version %s', level, version)
                         when message_id is null then 'a report that was applied'
                         else format('%s by report %s', kind_expected, message_id) end as "expected!",
                    case when is_unlike then format('profit %s', coalesce(profit, 0)) else kind end as "found!"
             from compared where is_unlike or (is_judged and (message_id is null or kind <> kind_expected))
             order by not is_unlike, account, version limit 1) as unlike
           union all select * from (
             select format('pool of account %s', account), format('profit by %s', a.definition),
                    format('profit by %s', p.definition)
             from pools p
             join (select account, case (max(array[place, by_deposits::integer]))[2] when 1 then 'deposits'
                       else 'profit' end as definition
                   from report_chain group by account) a using (account)
             where p.definition is distinct from a.definition
             limit 1) as definitions
           limit 1"#
    )
    .fetch_optional(db)
    .await
}

/// Every change of the login that was taken over is one that an operator had asked for.
pub(crate) async fn logins(db: &mut PgConnection) -> Checked {
    sqlx::query_as!(
        Difference,
        r#"with named as (
             select account, place, message_id, login, lag(login) over w as login_before
             from report_chain where login is not null
             window w as (partition by account order by place)
           ), changes as (
             select n.*, row_number() over (partition by account, n.login order by place)
                    + coalesce((c.login_changes ->> n.login::text)::bigint, 0) as nth
             from named n left join last_checkpoints c using (account) where n.login <> login_before
           ), asked as materialized (
             select entry -> 'details' ->> 'account' as account, (entry -> 'details' ->> 'login')::bigint as login,
                    count(*) as times
             from (select entry::jsonb as entry from audit_log where service = 'distributor') as entries
             where entry ->> 'event' = 'pool.login' group by 1, 2
           )
           select format('report %s of account %s', message_id, account) as "place!",
                  format('login %s, or an operator''s word in the audit log', login_before) as "expected!",
                  format('login %s', login) as "found!"
           from changes left join asked using (account, login)
           where nth > coalesce(times, 0)
           order by account, place limit 1"#
    )
    .fetch_optional(db)
    .await
}

/// Every valuation of a version that there was; the newest gives members' cents that add up to the pool.
pub(crate) async fn valuations(db: &mut PgConnection) -> Checked {
    sqlx::query_as!(
        Difference,
        r#"select * from (
             select format('valuation of account %s at version %s', v.account, v.version) as "place!",
                    format('equity %s, units %s', h.equity, h.units) as "expected!",
                    format('equity %s, units %s', v.equity, v.units) as "found!"
             from pool_valuations v left join pool_chain h using (account, version)
             left join last_checkpoints c using (account)
             where v.version >= coalesce(c.version, 0) and (v.equity, v.units) is distinct from (h.equity, h.units)
             order by v.account, v.version limit 1) as unlike
           union all select * from (
             select format('members of account %s', p.account), greatest(p.equity, 0)::text, sum(s.value)::text
             from pools p join shares s using (account)
             where p.valued_version = p.version
             group by p.account, p.equity having sum(s.value) <> greatest(p.equity, 0)
             order by p.account limit 1) as sums
           limit 1"#
    )
    .fetch_optional(db)
    .await
}

/// Every checkpoint as it was when the books were proved up to it, by the audit log; with all movements until the last one.
pub(crate) async fn checkpoints(db: &mut PgConnection) -> Checked {
    sqlx::query_as!(
        Difference,
        r#"with proved as materialized (
             select entry -> 'details' as details
             from (select entry::jsonb as entry from audit_log where service = 'distributor') as entries
             where entry ->> 'event' = 'books.checkpoint'
           ), kept as (
             select checkpoint_details(c) as details from pool_checkpoints c
           )
           select * from (
             select format('checkpoint of account %s at %s', coalesce(p.details, k.details) ->> 'account',
                           coalesce(p.details, k.details) ->> 'cut') as "place!",
                    coalesce(p.details::text, 'none in the audit log') as "expected!",
                    coalesce(k.details::text, 'none') as "found!"
             from proved p full join kept k using (details)
             where p.details is null or k.details is null
             order by 1 limit 1) as unlike
           union all select * from (
             select format('movements of account %s until version %s', account, version), encode(digest, 'hex'),
                    encode(history_digest(account, version), 'hex')
             from last_checkpoints where digest <> history_digest(account, version)
             order by account limit 1) as movements
           union all select * from (
             select format('account %s version %s (%s)', account, version, h.kind),
                    format('equity %s, units %s, profit %s, paid in %s, at %s', c.equity, c.units, c.profit, c.paid_in, c.at),
                    format('equity %s, units %s, profit %s, paid in %s, at %s', h.equity, h.units, h.profit, h.paid_in, h.at)
             from last_checkpoints c join pool_history h using (account, version)
             where (c.equity, c.units, c.profit, c.paid_in, c.at)
                   is distinct from (h.equity, h.units, h.profit, h.paid_in, h.at)
             order by account limit 1) as versions
           limit 1"#
    )
    .fetch_optional(db)
    .await
}

/// Every chain whole: numbers without a gap, each hash from the entry and the hash before it.
pub(crate) async fn chains(db: &mut PgConnection) -> Checked {
    sqlx::query_as!(
        Difference,
        r#"with links as (
             select service, seq, hash, row_number() over w as place,
                    sha256(coalesce(lag(hash) over w, ''::bytea) || convert_to(entry, 'UTF8')) as hash_expected
             from audit_log window w as (partition by service order by seq)
           )
           select format('entry %s of the %s''s audit log', seq, service) as "place!",
                  format('entry %s, hash %s', place, encode(hash_expected, 'hex')) as "expected!",
                  format('entry %s, hash %s', seq, encode(hash, 'hex')) as "found!"
           from links where (seq, hash) is distinct from (place, hash_expected)
           order by service, seq limit 1"#
    )
    .fetch_optional(db)
    .await
}

/// Every movement in the audit log, once and as it is in the books.
pub(crate) async fn audited(db: &mut PgConnection) -> Checked {
    sqlx::query_as!(
        Difference,
        r#"with entries as materialized (
             select entry::jsonb as entry from audit_log where service = 'distributor'
           ), recorded as (
             select r.movement_id, r.account, r.user_id, r.kind, r.amount, entry ->> 'principal' as principal,
                    entry ->> 'request_id' as request_id
             from entries, jsonb_to_record(entry -> 'details') as r (movement_id uuid, account text, user_id text,
                                                                     kind text, amount bigint)
             where entry ->> 'event' = 'movement.recorded'
           ), once as (
             select movement_id, min(account) as account, min(user_id) as user_id, min(kind) as kind,
                    min(amount) as amount, min(principal) as principal, min(request_id) as request_id,
                    count(*) as times
             from recorded group by movement_id
           )
           select format('movement %s', movement_id) as "place!",
                  format('%s of %s cents by %s in %s for %s, request %s', e.kind, e.amount, e.user_id, e.account,
                         e.principal, e.request_id) as "expected!",
                  format('%s of %s cents by %s in %s for %s, request %s', m.kind, m.amount, m.user_id, m.account,
                         m.principal, m.request_id) as "found!"
           from once e full join capital_movements m using (movement_id)
           where (e.times, e.kind, e.amount, e.user_id, e.account, e.principal, e.request_id)
                 is distinct from (1, m.kind, m.amount, m.user_id, m.account, m.principal, m.request_id)
           order by movement_id limit 1"#
    )
    .fetch_optional(db)
    .await
}

/// The hash of one entry of a chain, in hexadecimal.
pub(crate) async fn hash_at(db: &mut PgConnection, service: &str, seq: i64) -> Result<Option<String>, sqlx::Error> {
    let row = sqlx::query_scalar!(
        r#"select encode(hash, 'hex') as "hash!" from audit_log where service = $1 and seq = $2"#,
        service,
        seq
    );
    row.fetch_optional(db).await
}

/// A snapshot of everything, for as long as it takes.
pub(crate) async fn hold_still(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("set transaction isolation level repeatable read, read only").execute(&mut *db).await?;
    super::retention::hold(db).await?;
    sqlx::query!("set local statement_timeout = '1h'").execute(&mut *db).await?;
    // Whole tables are compared with each other; where the planner takes one for small, a nested loop takes for ever.
    sqlx::query!("set local enable_nestloop = off").execute(db).await.map(drop)
}
