-- What is rare is found among very many. Apart from the changes before, so that nobody who holds up one of those holds up the
-- writers of these large tables, too.

-- Closings that were handed out: whether one came after a signal that is to be handed out again.
create index signals_handed_closings on signals (account, id)
    where action in ('CLOSE', 'CLOSE_ALL') and state in ('processing', 'unknown', 'executed', 'failed');

-- Trades as they are listed: the newest of an account, of a status, of both.
create index trades_account on trades (account, trade_id);
create index trades_status on trades (status, trade_id);
create index trades_account_status on trades (account, status, trade_id);
