//! The pool's history against the reports of the account, and what was valued by it.

use sqlx::PgConnection;

use super::{Checked, Difference};

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
