-- What contradicts what was known, until somebody has looked at it. Written by the dispatcher.
alter table trade_reports
    -- In words, what was known when the report came.
    add column known text,
    add column acknowledged_at timestamptz,
    add column acknowledged_by text,
    add column note text,
    add check (num_nulls(acknowledged_at, acknowledged_by, note) in (0, 3));
create index trade_reports_anomalies on trade_reports (trade_report_id) where anomaly is not null;
-- Whether an opening's ticket comes after a closing that was to close it.
create index signals_closings on signals (account, id)
    where state = 'executed' and action in ('CLOSE', 'CLOSE_ALL') and ticket is null;

-- Another account at the broker whose first report an operator wants taken over as the base. Written by the distributor.
alter table pools add column next_login bigint check (next_login > 0);
