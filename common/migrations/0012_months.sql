-- A month whose rows came before its partition did, by a clock that was ahead or after a restore, keeps them in the default
-- partition for good: none is made for it, all others are, and the caller's log is told.
create or replace function ensure_month_partitions(parent text, months_ahead integer) returns void
language plpgsql set lock_timeout = '500ms' as $$
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
        begin
            execute format(
                'create table %I partition of %I for values from (%L) to (%L)', child, parent,
                (month + make_interval(months => ahead))::timestamp at time zone 'utc',
                (month + make_interval(months => ahead + 1))::timestamp at time zone 'utc');
            if exists (select from pg_trigger where tgrelid = parent::regclass and tgname = 'no_truncate') then
                execute format(
                    'create trigger no_truncate before truncate on %I for each statement execute function refuse_change()',
                    child);
            end if;
        exception when check_violation then
            raise warning '% is not made: rows of that month are in the default partition, and stay there', child;
        end;
    end loop;
end
$$;
