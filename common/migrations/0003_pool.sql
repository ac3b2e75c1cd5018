-- Whose money is whose. Written by the distributor.

create table users (
    user_id text primary key check (char_length(user_id) between 1 and 64),
    email text,
    created_at timestamptz not null
);

-- One pool per account. Amounts are whole minor units of its currency; units are shares in the pool.
create table pools (
    account text primary key,
    currency text,
    equity bigint not null default 0,
    units numeric(30, 0) not null default 0 check (units >= 0),
    -- The level of profit last applied, and by which definition: reported word ('profit') or cash flow ('deposits').
    profit bigint not null default 0,
    definition text check (definition in ('profit', 'deposits')),
    net_deposits bigint,
    login bigint,
    session text,
    seq bigint,
    -- Sessions that ended: what still arrives from them is not applied.
    ended_sessions text[] not null default '{}',
    state_at timestamptz,
    balance bigint,
    margin bigint,
    free_margin bigint,
    floating bigint,
    terminal_equity bigint,
    credit bigint,
    -- Counts every change of the pool; pool_history has a row for each.
    version bigint not null default 0,
    valued_version bigint not null default 0,
    valued_at timestamptz
);

-- A member's part of a pool. Value, profit_loss and as_of are written by the valuation.
create table holdings (
    account text not null references pools (account),
    user_id text not null references users (user_id),
    units numeric(30, 0) not null default 0 check (units >= 0),
    deposited bigint not null default 0,
    withdrawn bigint not null default 0,
    investment bigint not null default 0,
    value bigint not null default 0,
    profit_loss bigint not null default 0,
    as_of timestamptz,
    version bigint not null default 0,
    primary key (account, user_id)
);
create index holdings_user on holdings (user_id);

-- What members asked for. A row is never changed; its pricing is a row of pool_history.
create table capital_movements (
    movement_id uuid primary key,
    account text not null,
    user_id text not null references users (user_id),
    kind text not null check (kind in ('deposit')),
    amount bigint not null check (amount > 0),
    idempotency_key text,
    recorded_at timestamptz not null,
    principal text not null,
    request_id text not null,
    unique (principal, idempotency_key)
);
create index capital_movements_user on capital_movements (user_id);

-- Movements that wait for a price, in the order they came.
create table pending_movements (
    place bigint generated always as identity primary key,
    movement_id uuid not null unique references capital_movements (movement_id),
    account text not null
);
create index pending_movements_account on pending_movements (account, place);

-- Every update that arrived, applied or not and why.
create table account_state (
    account text not null,
    message_id uuid not null,
    received_at timestamptz not null,
    recorded_at timestamptz not null,
    balance numeric not null,
    equity numeric not null,
    margin numeric not null,
    free_margin numeric not null,
    profit numeric not null,
    credit numeric,
    net_deposits numeric,
    login bigint,
    currency text,
    session text,
    seq bigint,
    connected boolean,
    outcome text not null
) partition by range (received_at);
create unique index account_state_message on account_state (message_id, received_at);
create index account_state_account on account_state (account, received_at);
create table account_state_default partition of account_state default;

-- Every change of a pool, with its figures after it.
create table pool_history (
    account text not null,
    version bigint not null,
    at timestamptz not null,
    kind text not null check (kind in ('update', 'base', 'deposit')),
    movement_id uuid,
    user_id text,
    amount bigint not null,
    units_delta numeric(30, 0) not null,
    equity bigint not null,
    units numeric(30, 0) not null,
    profit bigint not null
) partition by range (at);
create unique index pool_history_version on pool_history (account, version, at);
create index pool_history_movement on pool_history (movement_id) where movement_id is not null;
create table pool_history_default partition of pool_history default;

create table account_update_dead_letters (
    dead_letter_id bigint generated always as identity primary key,
    received_at timestamptz not null,
    reason text not null,
    body bytea not null
);

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only', tg_table_name;
end
$$;
create trigger append_only before update or delete on capital_movements
    for each statement execute function refuse_change();
create trigger append_only before update or delete on account_state
    for each statement execute function refuse_change();
create trigger append_only before update or delete on pool_history
    for each statement execute function refuse_change();

select ensure_month_partitions('account_state', 3);
select ensure_month_partitions('pool_history', 3);
