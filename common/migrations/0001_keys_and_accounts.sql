-- Who may do what, and the accounts that are traded. Written by the dispatcher.

create table accounts (
    account text primary key check (char_length(account) between 1 and 64),
    -- Orders carry magic_base * 10^12 + the signal's id, so that two accounts never share a magic number.
    magic_base bigint generated always as identity unique check (magic_base between 1 and 9000000),
    mode text not null default 'active' check (mode in ('active', 'reducing', 'halted')),
    mode_reason text,
    mode_changed_at timestamptz,
    volume_max numeric(20, 8) not null default 10 check (volume_max > 0),
    default_volume numeric(20, 8) not null default 0.01 check (default_volume > 0),
    signal_ttl_seconds integer not null default 60 check (signal_ttl_seconds between 1 and 86400),
    created_at timestamptz not null default now()
);

create table api_keys (
    key_id text primary key,
    principal text not null,
    secret_sha256 bytea not null check (octet_length(secret_sha256) = 32),
    scopes text[] not null,
    account text references accounts (account),
    user_id text,
    expires_at timestamptz,
    revoked_at timestamptz,
    created_at timestamptz not null default now()
);

-- Partitions of the tables that grow for ever, made ahead of time by their service.
create function ensure_month_partitions(parent text, months_ahead integer) returns void
language plpgsql as $$
declare
    month date := date_trunc('month', now() at time zone 'utc')::date;
begin
    perform pg_advisory_xact_lock(hashtext('ensure_month_partitions'), hashtext(parent));
    for ahead in 0..months_ahead loop
        execute format(
            'create table if not exists %I partition of %I for values from (%L) to (%L)',
            parent || to_char(month + make_interval(months => ahead), '_YYYY_MM'), parent,
            (month + make_interval(months => ahead))::timestamp at time zone 'utc',
            (month + make_interval(months => ahead + 1))::timestamp at time zone 'utc');
    end loop;
end
$$;
