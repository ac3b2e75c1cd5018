-- Members leave as they came, look back, and can prove every balance from the rows behind it.

-- The books are append-only for each row, so that partitions refuse too, and nothing empties them whole.
drop trigger append_only on capital_movements;
drop trigger append_only on account_state;
drop trigger append_only on pool_history;

alter table users rename to members;
alter table members
    add column name text check (char_length(name) between 1 and 200),
    add column closed_at timestamptz;
create index members_name on members (lower(name collate "und-x-icu") text_pattern_ops);
create index members_id on members (lower(user_id collate "und-x-icu") text_pattern_ops);
create index members_email on members (lower(email collate "und-x-icu") text_pattern_ops);

-- An amount of null is all there is when the withdrawal is priced.
alter table capital_movements
    drop constraint capital_movements_kind_check,
    add check (kind in ('deposit', 'withdrawal')),
    alter column amount drop not null,
    add check (amount is not null or kind = 'withdrawal');
drop index capital_movements_user;
create index capital_movements_user on capital_movements (user_id, recorded_at, movement_id);
create index capital_movements_account on capital_movements (account);

-- Also the end of every movement: a version that changes nothing where it was cancelled or refused, and why.
alter table pool_history
    drop constraint pool_history_kind_check,
    add check (kind in ('update', 'base', 'deposit', 'withdrawal', 'closed', 'cancelled', 'refused')),
    add column investment_delta bigint not null default 0,
    -- Deposits less withdrawals, of all time: what is above it in equity is the members' profit.
    add column paid_in bigint not null default 0,
    add column reason text;
update pool_history set investment_delta = amount where kind = 'deposit';
update pool_history h set paid_in = s.paid_in
    from (select account, version, sum(investment_delta) over (partition by account order by version) as paid_in
          from pool_history) s
    where s.account = h.account and s.version = h.version;
create index pool_history_account on pool_history (account, at, version);
create index pool_history_closed on pool_history (account, version) where kind = 'closed';
create index pool_history_user on pool_history (user_id, account, version) where user_id is not null;

-- The pool's version once the report had been applied, null where it was not; and the order in which reports came.
create sequence account_state_places;
alter table account_state
    add column version bigint,
    add column place bigint not null default nextval('account_state_places');

alter table pools
    add column members bigint not null default 0,
    add column deposited bigint not null default 0,
    add column withdrawn bigint not null default 0,
    add column investment bigint not null default 0,
    -- Reports before this version do not tell theirs.
    add column reports_since bigint not null default 0,
    -- When the version was; later ones are never earlier.
    add column changed_at timestamptz not null default 'epoch',
    -- What members' values are read from: the pool at valued_version, and who gets the cents that do not divide, namely
    -- all with a larger remainder than this, or the same and a user id up to this.
    add column valued_equity bigint not null default 0,
    add column valued_units numeric(30, 0) not null default 0,
    add column valued_as_of timestamptz,
    add column cutoff_remainder numeric(40, 0),
    add column cutoff_user text collate "C",
    drop column ended_sessions;
update pools p set valued_version = 0, reports_since = version, changed_at = coalesce(
    (select max(at) from pool_history h where h.account = p.account), 'epoch');
update pools p set members = s.members, deposited = s.deposited, withdrawn = s.withdrawn, investment = s.investment
    from (select account, count(*) filter (where units > 0) as members, sum(deposited) as deposited,
                 sum(withdrawn) as withdrawn, sum(investment) as investment
          from holdings group by account) s
    where s.account = p.account;

-- Sessions that ended: what still arrives from them is not applied.
create table ended_sessions (
    account text not null,
    session text not null,
    primary key (account, session)
);

-- Value and as_of are those of the member's last movement; where the pool was valued since, the valuation counts.
alter table holdings
    add column changed_version bigint not null default 0,
    drop column profit_loss,
    drop column version;
update holdings h set changed_version = p.version from pools p where p.account = h.account;

-- Each valuation, so that what was a member's at any time can be told to the cent.
create table pool_valuations (
    account text not null,
    version bigint not null,
    at timestamptz not null,
    as_of timestamptz not null,
    equity bigint not null,
    units numeric(30, 0) not null,
    cutoff_remainder numeric(40, 0),
    cutoff_user text collate "C"
) partition by range (at);
create index pool_valuations_account on pool_valuations (account, at, version);
create table pool_valuations_default partition of pool_valuations default;

-- Whole cents of these units, and the one more of those whose remainder is large enough.
create function share(units numeric, user_id text, equity bigint, total numeric, cutoff_remainder numeric, cutoff_user text)
returns bigint language sql immutable parallel safe as $$
    select case when total > 0 and equity > 0 and units > 0 then
        div(units * equity, total)::bigint
        + ((mod(units * equity, total) > cutoff_remainder
            or (mod(units * equity, total) = cutoff_remainder and user_id collate "C" <= cutoff_user)) is true)::integer
    else 0 end
$$;

-- A member's part of each pool, to the cent: the values of one pool add up to its equity.
create view shares as
select h.account, h.user_id, p.currency, h.units, h.deposited, h.withdrawn, h.investment, v.value,
       v.value + h.withdrawn - h.deposited as profit_loss,
       -- While nothing changes the pool, its figures are those of the latest report.
       greatest(case when h.changed_version > p.valued_version then h.as_of else p.valued_as_of end,
                case when p.version = greatest(h.changed_version, p.valued_version) then p.state_at end) as as_of
from holdings h
join pools p using (account)
cross join lateral (
    select case when h.changed_version > p.valued_version then h.value
                else share(h.units, h.user_id, p.valued_equity, p.valued_units, p.cutoff_remainder, p.cutoff_user)
           end as value) v;

-- Members with their sums in the currency of their first account.
create view users as
select m.user_id, m.name, m.email, m.created_at, m.closed_at, coalesce(s.investment, 0) as investment,
       coalesce(s.value, 0) as value, coalesce(s.profit_loss, 0) as profit_loss, s.as_of
from members m
left join lateral (
    select sum(investment)::bigint as investment, sum(value)::bigint as value, sum(profit_loss)::bigint as profit_loss,
           min(as_of) as as_of
    from shares where user_id = m.user_id group by currency order by min(account) limit 1) s on true;

-- A chain per service: each hash covers the entry, a JSON text, and the hash before it.
create table audit_log (
    service text not null,
    seq bigint not null,
    entry text not null,
    hash bytea not null,
    primary key (service, seq)
);

create function append_audit(chain text, entry text) returns void language plpgsql as $$
declare
    last record;
begin
    perform pg_advisory_xact_lock(hashtext('audit_log'), hashtext(chain));
    select seq, hash into last from audit_log where service = chain order by seq desc limit 1;
    insert into audit_log (service, seq, entry, hash)
    values (chain, coalesce(last.seq, 0) + 1, entry,
            sha256(coalesce(last.hash, ''::bytea) || convert_to(entry, 'UTF8')));
end
$$;

-- What was there before the chains is their beginning.
select append_audit('distributor', json_build_object('at', recorded_at, 'event', 'movement.recorded', 'principal',
    principal, 'request_id', request_id, 'details', json_build_object('movement_id', movement_id, 'account', account,
    'user_id', user_id, 'kind', kind, 'amount', amount))::text)
from (select * from capital_movements order by recorded_at, movement_id) as movements;
select append_audit('dispatcher', json_build_object('at', created_at, 'event', 'key.created', 'principal', principal,
    'details', json_build_object('key_id', key_id, 'scopes', scopes, 'account', account, 'user_id', user_id))::text)
from (select * from api_keys order by created_at, key_id) as keys;

-- Row by row: a partitioned table's trigger is each partition's too.
create trigger append_only before update or delete on capital_movements
    for each row execute function refuse_change();
create trigger append_only before update or delete on account_state
    for each row execute function refuse_change();
create trigger append_only before update or delete on pool_history
    for each row execute function refuse_change();
create trigger append_only before update or delete on pool_valuations
    for each row execute function refuse_change();
create trigger append_only before update or delete on audit_log
    for each row execute function refuse_change();

-- Emptying has no rows: every table and partition says so itself.
create or replace function ensure_month_partitions(parent text, months_ahead integer) returns void
language plpgsql as $$
declare
    month date := date_trunc('month', now() at time zone 'utc')::date;
    child text;
begin
    perform pg_advisory_xact_lock(hashtext('ensure_month_partitions'), hashtext(parent));
    for ahead in 0..months_ahead loop
        child := parent || to_char(month + make_interval(months => ahead), '_YYYY_MM');
        if to_regclass(child) is not null then
            continue;
        end if;
        execute format(
            'create table %I partition of %I for values from (%L) to (%L)', child, parent,
            (month + make_interval(months => ahead))::timestamp at time zone 'utc',
            (month + make_interval(months => ahead + 1))::timestamp at time zone 'utc');
        if exists (select from pg_trigger where tgrelid = parent::regclass and tgname = 'no_truncate') then
            execute format(
                'create trigger no_truncate before truncate on %I for each statement execute function refuse_change()',
                child);
        end if;
    end loop;
end
$$;
select ensure_month_partitions('pool_valuations', 3);
do $$
declare
    books text;
begin
    for books in
        select c.oid::regclass::text from pg_class c
        left join pg_inherits i on i.inhrelid = c.oid
        where c.relkind in ('r', 'p')
          and coalesce(i.inhparent, c.oid) in ('capital_movements'::regclass, 'account_state'::regclass,
              'pool_history'::regclass, 'pool_valuations'::regclass, 'audit_log'::regclass)
    loop
        execute format(
            'create trigger no_truncate before truncate on %s for each statement execute function refuse_change()', books);
    end loop;
end
$$;

-- Whole cents, a half to the even one: as reports are rounded.
create function half_even(amount numeric) returns numeric language sql immutable parallel safe as $$
    select case when abs(amount * 100 - trunc(amount * 100)) = 0.5 then 2 * round(amount * 50) else round(amount * 100) end
$$;
