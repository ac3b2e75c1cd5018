//! The audit log against itself, and the books against it.

use sqlx::PgConnection;

use super::{Checked, Difference};

/// Every checkpoint as it was when the books were proved up to it, by the audit log; with all movements until the last one.
pub(crate) async fn checkpoints(db: &mut PgConnection) -> Checked {
    sqlx::query_as!(
        Difference,
        r#"with proved as materialized (
             select entry -> 'details' as details
             from (select entry::jsonb as entry from audit_log where service = 'distributor') as entries
             where entry ->> 'event' = 'books.checkpoint'
           ), kept as (
             select checkpoint_details(c) as details from pool_checkpoints c
           )
           select * from (
             select format('checkpoint of account %s at %s', coalesce(p.details, k.details) ->> 'account',
                           coalesce(p.details, k.details) ->> 'cut') as "place!",
                    coalesce(p.details::text, 'none in the audit log') as "expected!",
                    coalesce(k.details::text, 'none') as "found!"
             from proved p full join kept k using (details)
             where p.details is null or k.details is null
             order by 1 limit 1) as unlike
           union all select * from (
             select format('movements of account %s until version %s', account, version), encode(digest, 'hex'),
                    encode(history_digest(account, version), 'hex')
             from last_checkpoints where digest <> history_digest(account, version)
             order by account limit 1) as movements
           union all select * from (
             select format('account %s version %s (%s)', account, version, h.kind),
                    format('equity %s, units %s, profit %s, paid in %s, at %s', c.equity, c.units, c.profit, c.paid_in, c.at),
                    format('equity %s, units %s, profit %s, paid in %s, at %s', h.equity, h.units, h.profit, h.paid_in, h.at)
             from last_checkpoints c join pool_history h using (account, version)
             where (c.equity, c.units, c.profit, c.paid_in, c.at)
                   is distinct from (h.equity, h.units, h.profit, h.paid_in, h.at)
             order by account limit 1) as versions
           limit 1"#
    )
    .fetch_optional(db)
    .await
}

/// Every chain whole: numbers without a gap, each hash from the entry and the hash before it.
pub(crate) async fn chains(db: &mut PgConnection) -> Checked {
    sqlx::query_as!(
        Difference,
        r#"with links as (
             select service, seq, hash, row_number() over w as place,
                    sha256(coalesce(lag(hash) over w, ''::bytea) || convert_to(entry, 'UTF8')) as hash_expected
             from audit_log window w as (partition by service order by seq)
           )
           select format('entry %s of the %s''s audit log', seq, service) as "place!",
                  format('entry %s, hash %s', place, encode(hash_expected, 'hex')) as "expected!",
                  format('entry %s, hash %s', seq, encode(hash, 'hex')) as "found!"
           from links where (seq, hash) is distinct from (place, hash_expected)
           order by service, seq limit 1"#
    )
    .fetch_optional(db)
    .await
}

/// Every movement in the audit log, once and as it is in the books.
pub(crate) async fn audited(db: &mut PgConnection) -> Checked {
    sqlx::query_as!(
        Difference,
        r#"with entries as materialized (
             select entry::jsonb as entry from audit_log where service = 'distributor'
           ), recorded as (
             select r.movement_id, r.account, r.user_id, r.kind, r.amount, entry ->> 'principal' as principal,
                    entry ->> 'request_id' as request_id
             from entries, jsonb_to_record(entry -> 'details') as r (movement_id uuid, account text, user_id text,
                                                                     kind text, amount bigint)
             where entry ->> 'event' = 'movement.recorded'
           ), once as (
             select movement_id, min(account) as account, min(user_id) as user_id, min(kind) as kind,
                    min(amount) as amount, min(principal) as principal, min(request_id) as request_id,
                    count(*) as times
             from recorded group by movement_id
           )
           select format('movement %s', movement_id) as "place!",
                  format('%s of %s cents by %s in %s for %s, request %s', e.kind, e.amount, e.user_id, e.account,
                         e.principal, e.request_id) as "expected!",
                  format('%s of %s cents by %s in %s for %s, request %s', m.kind, m.amount, m.user_id, m.account,
                         m.principal, m.request_id) as "found!"
           from once e full join capital_movements m using (movement_id)
           where (e.times, e.kind, e.amount, e.user_id, e.account, e.principal, e.request_id)
                 is distinct from (1, m.kind, m.amount, m.user_id, m.account, m.principal, m.request_id)
           order by movement_id limit 1"#
    )
    .fetch_optional(db)
    .await
}

/// The hash of one entry of a chain, in hexadecimal.
pub(crate) async fn hash_at(db: &mut PgConnection, service: &str, seq: i64) -> Result<Option<String>, sqlx::Error> {
    let row = sqlx::query_scalar!(
        r#"select encode(hash, 'hex') as "hash!" from audit_log where service = $1 and seq = $2"#,
        service,
        seq
    );
    row.fetch_optional(db).await
}
