-- What is repeated is done once, and what a client makes up does not pile up.

-- The request that added a member, so that its repetition under the same key adds nobody and moves nothing: who sent it, its
-- key, and a UUIDv5 of what it asked for. Written by the distributor.
alter table members
    add column created_by text,
    add column idempotency_key text,
    add column content uuid;
create unique index members_key on members (created_by, idempotency_key) where idempotency_key is not null;

-- When, so that only the latest are kept. Written by the distributor.
alter table ended_sessions add column ended_at timestamptz not null default now();

-- When the account's last report had been received by the time that the movement was recorded, by the dispatcher's clock: what
-- was received no later does not price it, however far that clock is ahead. Written by the distributor.
alter table pending_movements add column last_received_at timestamptz;
