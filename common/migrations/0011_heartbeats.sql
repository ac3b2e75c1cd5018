-- Heartbeats are signals of the platform's own, under a principal that no key can have. The last one that each account's
-- terminal confirmed, the first one that ended, and those that ended long ago: none is looked for among the others.
create index signals_heartbeats_confirmed on signals (account, finished_at)
    where principal = ':heartbeat' and state = 'executed';
create index signals_heartbeats_ended on signals (finished_at) where principal = ':heartbeat';
create index signals_heartbeats on signals (account, finished_at) where principal = ':heartbeat';
