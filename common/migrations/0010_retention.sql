-- What is older than an operator wants to keep goes a whole month at a time. Movements, keys and ids stay for ever.

-- A long past takes its time.
set local statement_timeout = '1h';

-- The books of an account as they were proved before rows older than the cut went: what came after is proved from here.
-- Written by the distributor.
create table pool_checkpoints (
    account text not null,
    cut timestamptz not null,
    -- The last version that the cut covers: when it was, and the pool after it.
    version bigint not null,
    at timestamptz not null,
    equity bigint not null,
    units numeric(30, 0) not null,
    profit bigint not null,
    paid_in bigint not null,
    -- The last report that counted of those that the cut covers; null where there was none.
    report_place bigint,
    report_version bigint,
    report_by_deposits boolean,
    -- The account at the broker by then, and how often each was gone over to.
    login bigint,
    login_changes jsonb not null,
    -- Of the history's rows until then but for updates, which stay.
    digest bytea not null,
    primary key (account, cut)
);
create trigger append_only before update or delete on pool_checkpoints
    for each row execute function refuse_change();
create trigger no_truncate before truncate on pool_checkpoints
    for each statement execute function refuse_change();

-- What stays of the history is found without reading the updates.
create index pool_history_kept on pool_history (account, version) where kind <> 'update';

create function history_digest(of_account text, until bigint) returns bytea language sql stable as $$
    select sha256(coalesce(string_agg(part, ''::bytea order by chunk), ''::bytea))
    from (select version / 10000 as chunk,
                 sha256(convert_to(string_agg(row(version, extract(epoch from at), kind, movement_id, user_id, amount,
                     units_delta, investment_delta, paid_in, equity, units, profit, reason)::text, E'\n'
                     order by version), 'UTF8')) as part
          from pool_history where account = of_account and version <= until and kind <> 'update' group by 1) as parts
$$;

-- As the audit log has it; times in UTC, whatever the session's zone.
create function checkpoint_details(c pool_checkpoints) returns jsonb language sql immutable as $$
    select to_jsonb(c) || jsonb_build_object(
        'cut', to_char(c.cut at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'at', to_char(c.at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'digest', encode(c.digest, 'hex'))
$$;

create view last_checkpoints as
select distinct on (account) * from pool_checkpoints order by account, cut desc;

-- Each pool's versions since its last checkpoint, which is the first of them.
create view pool_chain as
select h.account, h.version, h.at, h.kind, h.user_id, h.amount, h.units_delta, h.investment_delta, h.paid_in, h.equity,
       h.units, h.profit
from pool_history h left join last_checkpoints c using (account)
where h.version > coalesce(c.version, 0)
union all
select account, version, at, 'checkpoint', null, 0, 0, 0, paid_in, equity, units, profit from last_checkpoints;

-- The reports that counted since then, with their level of profit in cents; the last one before is the first of them.
create view report_chain as
select a.account, a.place, a.version, a.received_at, a.message_id, a.login, a.net_deposits is not null as by_deposits,
       case when a.net_deposits is null then half_even(a.profit)
            else half_even(a.equity) - half_even(coalesce(a.credit, 0)) - half_even(a.net_deposits) end as level
from account_state a left join last_checkpoints c using (account)
where a.version is not null
  and (c.account is null or (a.version >= c.version and a.place > coalesce(c.report_place, 0)))
union all
select account, report_place, report_version, '-infinity', null, login, report_by_deposits, null
from last_checkpoints where report_place is not null;

-- Ids of signals that were retired, so that none is taken for a new one. Written by the dispatcher.
create table retired_signals (
    signal_id uuid primary key,
    id bigint not null unique,
    account text not null,
    finished_at timestamptz not null,
    -- From here on it is no new signal; its row goes a little later.
    retired_at timestamptz not null
);

-- Trades outlive their signals.
alter table trades drop constraint trades_signal_id_fkey;

-- Whether nothing can still come of a signal that ended before the cut: nothing of it is open at the broker, nobody has
-- to look at it, and no older signal of its account waits to be compared with it.
create function may_retire(s signals, cut timestamptz) returns boolean language sql stable as $$
    select coalesce(s.finished_at < cut, false)
        and not exists (select from trades t where t.signal_id = s.signal_id and t.status in ('placed', 'open'))
        and not exists (select from trade_reports r
                        where r.signal_id = s.signal_id and r.anomaly is not null and r.acknowledged_at is null)
        and not exists (select from signals o
                        where o.account = s.account and o.state in ('pending', 'processing', 'unknown') and o.id < s.id)
$$;

-- A table's partitions by month, each with its end.
create function month_partitions(parent text) returns table (month text, ends_at timestamptz) language sql stable as $$
    select c.relname::text, (to_date(m.month[1], 'YYYY_MM') + interval '1 month') at time zone 'utc'
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    cross join regexp_matches(c.relname, '^' || parent || '_(\d{4}_\d{2})$') as m (month)
    where i.inhparent = parent::regclass
$$;

-- Takes a month off its table. Of a pool's history the movements stay, and the last row of each account, as does its last
-- valuation; of events those of signals that are still there. They go on in the default partition. Refused where the month is
-- not over, where a row in it was not proved, and where so much stays that copying it would hold everybody up.
create function retire_month(parent text, month text) returns void language plpgsql as $$
declare
    unproved_rows bigint;
    kept_rows bigint;
    unproved text := case parent
        when 'pool_history' then 'h.version > coalesce(c.version, 0)'
        when 'account_state' then 'h.version is not null and h.place > coalesce(c.report_place, 0)'
        else 'false' end;
    kept text := case parent
        when 'pool_history' then 'select * from %1$I where kind <> ''update''
            or (account, version) in (select account, max(version) from %1$I group by account)'
        when 'pool_valuations' then 'select distinct on (account) * from %1$I order by account, at desc, version desc'
        when 'signal_events' then 'select e.* from %1$I e where exists (select from signals s where s.signal_id = e.signal_id)'
        else 'select * from %1$I where false' end;
begin
    if not exists (select from month_partitions(parent) as m where m.month = retire_month.month and m.ends_at <= now()) then
        raise exception '% is no month of % that is over', month, parent;
    end if;
    if unproved <> 'false' then
        -- Nobody writes what is so old; whoever does all the same waits, and finds no such month.
        execute format('lock table %I in share mode', month);
        execute format('select count(*) from %I h left join last_checkpoints c using (account) where ' || unproved, month)
            into unproved_rows;
        if unproved_rows > 0 then
            raise exception '% has % rows that no checkpoint covers', month, unproved_rows;
        end if;
    end if;
    execute format('create temporary table kept on commit drop as ' || kept, month);
    get diagnostics kept_rows = row_count;
    if parent = 'signal_events' and kept_rows > 10000 then
        raise exception '% has % events of signals that are not retired: resolve what is open', month, kept_rows;
    end if;
    execute format('alter table %I detach partition %I', parent, month);
    execute format('insert into %I select * from kept', parent);
    execute format('drop table %I', month);
end
$$;

-- Both lock the whole table: rather try again later than have everybody wait behind them.
alter function ensure_month_partitions(text, integer) set lock_timeout = '500ms';
alter function retire_month(text, text) set lock_timeout = '500ms';
