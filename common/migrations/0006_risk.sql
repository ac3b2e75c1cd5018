-- What an account's risk gate allows, and what it goes by. Written by the dispatcher.
alter table accounts
    -- Null: all.
    add column symbols_allowed text[] check (cardinality(symbols_allowed) > 0),
    add column positions_max integer not null default 200 check (positions_max between 1 and 1000000),
    add column openings_per_day_max integer not null default 1000 check (openings_per_day_max between 1 and 1000000),
    add column daily_loss_percent_max numeric(20, 8) not null default 20
        check (daily_loss_percent_max > 0 and daily_loss_percent_max <= 100),
    -- The platform's names of symbols, each with the broker's.
    add column symbol_map jsonb not null default '{}' check (jsonb_typeof(symbol_map) = 'object'),
    -- Openings handed out on a day (UTC), each once however often it was claimed.
    add column openings_on date,
    add column openings integer not null default 0,
    -- What the last report that counts said, amounts in cents; all null before the first.
    add column state_at timestamptz,
    add column state_login bigint,
    add column state_positions integer,
    add column state_equity bigint,
    -- A level: equity - credit - net deposits, or the profit as reported.
    add column state_profit bigint,
    add column state_by_deposits boolean,
    -- The day (UTC) of that report, what it began with, and the loss that stopped openings for the rest of it.
    add column day date,
    add column day_equity bigint,
    add column day_profit bigint,
    add column day_loss bigint,
    add check (num_nulls(state_at, state_equity, state_profit, state_by_deposits, day, day_equity, day_profit) in (0, 7));

-- When we were told of the position: whether the account's last report can know it already.
alter table trades add column filled_at timestamptz;
update trades set filled_at = opened_at where status <> 'placed';
create index trades_filled on trades (account, filled_at) where status = 'open';
create index trades_placed on trades (account) where status = 'placed';
-- Openings that ended executed; those without a trade are counted by this.
create index signals_executed on signals (account, finished_at) where state = 'executed' and action in ('BUY', 'SELL');

-- The platform's name of a symbol that a terminal names by either.
create function platform_symbol(of_account text, name text) returns text
language sql stable as $$
    select coalesce((select platform from accounts, jsonb_each_text(symbol_map) as map (platform, broker)
                     where account = of_account and broker = name), name)
$$;
