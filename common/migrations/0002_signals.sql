-- The life of signals. Written by the dispatcher.

create sequence signal_ids as bigint minvalue 1 maxvalue 999999999999;

create table signals (
    signal_id uuid primary key,
    id bigint not null unique default nextval('signal_ids'),
    account text not null,
    symbol text,
    action text not null check (action in ('BUY', 'SELL', 'CLOSE', 'CLOSE_ALL', 'MODIFY', 'PING')),
    order_type text not null check (order_type in ('market', 'limit', 'stop')),
    entry numeric(30, 10) check (entry > 0),
    volume numeric(20, 8) check (volume > 0),
    risk_percent numeric(20, 8) check (risk_percent > 0),
    sl numeric(30, 10) check (sl >= 0),
    tp numeric(30, 10) check (tp >= 0),
    ticket bigint,
    max_slippage_points integer,
    order_expires_at timestamptz,
    comment text,
    -- As it was sent: json keeps numbers and text as they are.
    metadata json not null,
    principal text not null,
    idempotency_key text,
    request_id text not null,
    state text not null check (state in
        ('pending', 'processing', 'unknown', 'executed', 'failed', 'expired', 'cancelled', 'rejected')),
    -- Why it is in this state, for a machine and for a person.
    code text,
    message text,
    -- The fencing token: grows with every claim and never shrinks.
    attempt integer not null default 0 check (attempt >= 0),
    claimed_by text,
    claim_protocol smallint,
    lease_expires_at timestamptz,
    -- None: it does not expire (closings).
    expires_at timestamptz,
    received_at timestamptz not null,
    stored_at timestamptz not null,
    claimed_at timestamptz,
    finished_at timestamptz,
    check ((state in ('pending', 'processing', 'unknown')) = (finished_at is null)),
    check ((state = 'processing') = (lease_expires_at is not null))
);

create index signals_open on signals (account, id) where state in ('pending', 'processing', 'unknown');
create index signals_leases on signals (lease_expires_at) where state = 'processing';
-- Of no use for anything but expiry: a question for one account must not read what is pending in all the others.
create index signals_expiries on signals (expires_at) where state = 'pending' and expires_at is not null;
create index signals_unknown on signals (account, id) where state in ('processing', 'unknown');
create index signals_listing on signals (account, id desc);

-- Kept for ever: a key means its first content, however old.
create table idempotency_keys (
    principal text not null,
    idempotency_key text not null,
    signal_id uuid not null,
    primary key (principal, idempotency_key)
);

create table signal_events (
    signal_id uuid not null,
    at timestamptz not null,
    state text not null,
    attempt integer not null,
    code text,
    message text,
    details jsonb
) partition by range (at);
create index signal_events_signal on signal_events (signal_id, at);
create table signal_events_default partition of signal_events default;

-- Messages that could not be read, kept as they came.
create table signal_dead_letters (
    dead_letter_id bigint generated always as identity primary key,
    received_at timestamptz not null,
    reason text not null,
    body bytea not null
);

-- Installations of the terminal, as last seen.
create table terminals (
    account text not null references accounts (account),
    terminal text not null,
    protocol smallint not null,
    last_poll_at timestamptz not null,
    primary key (account, terminal)
);

-- The last figures an account reported; null fields were not reported.
create table account_reports (
    account text primary key references accounts (account),
    received_at timestamptz not null,
    terminal text,
    balance numeric not null,
    equity numeric not null,
    margin numeric not null,
    free_margin numeric not null,
    profit numeric not null,
    open_positions integer,
    connected boolean,
    trade_allowed boolean,
    tick_age_ms bigint
);

-- What terminals reported, as it came. One row per distinct report: a repetition changes nothing.
create table trade_reports (
    trade_report_id bigint generated always as identity primary key,
    account text not null,
    received_at timestamptz not null,
    terminal text,
    signal_id uuid,
    attempt integer,
    status text not null,
    -- Hash of everything in the report that is not a time of its sending.
    fingerprint bytea not null,
    body json not null,
    effect text not null,
    anomaly text,
    unique (account, fingerprint)
);
create index trade_reports_signal on trade_reports (signal_id);

create table trades (
    trade_id bigint generated always as identity primary key,
    account text not null,
    -- The broker's number of the position, or of the order while it rests.
    ticket bigint not null,
    order_ticket bigint,
    signal_id uuid references signals (signal_id),
    symbol text,
    action text,
    volume numeric not null default 0,
    closed_volume numeric not null default 0,
    open_price numeric,
    close_price numeric,
    profit numeric not null default 0,
    status text not null check (status in ('placed', 'open', 'closed', 'cancelled')),
    retcode integer,
    execution_ms bigint,
    opened_at timestamptz not null,
    closed_at timestamptz,
    check ((status in ('closed', 'cancelled')) = (closed_at is not null)),
    unique (account, ticket)
);
create index trades_signal on trades (signal_id);

-- The broker's deals that made up a trade: each counts once, however often it is reported.
create table deals (
    account text not null,
    deal bigint not null,
    ticket bigint not null,
    closing boolean not null,
    volume numeric not null,
    price numeric,
    profit numeric not null,
    reported_at timestamptz not null,
    primary key (account, deal)
);

select ensure_month_partitions('signal_events', 3);
