//! The pool's history against itself: versions, prices, movements, and what they add up to.

use sqlx::PgConnection;

use super::{Checked, Difference};

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
