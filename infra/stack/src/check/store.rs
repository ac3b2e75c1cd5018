//! The tables, read in one snapshot.

use sqlx::{Connection as _, PgConnection};

use super::history::{Entry, Event, History, Movement, Pool, Report, Share, Signal, Version};

/// Adds what the tables tell.
pub(super) async fn read(db: &mut PgConnection, history: &mut History) -> Result<(), sqlx::Error> {
    let mut db = db.begin().await?;
    sqlx::query!("set transaction isolation level repeatable read, read only").execute(&mut *db).await?;
    signals(&mut db, history).await?;
    money(&mut db, history).await?;
    history.audit = sqlx::query_as!(Entry, "select service, seq, entry, hash from audit_log order by service, seq")
        .fetch_all(&mut *db)
        .await?;
    db.rollback().await
}

async fn signals(db: &mut PgConnection, history: &mut History) -> Result<(), sqlx::Error> {
    // Heartbeats were posted by nobody. Left out, an order that carries the number of one is an order of nobody.
    history.signals = sqlx::query_as!(
        Signal,
        r#"select s.signal_id, s.id, s.account, s.symbol, s.action, s.state, s.attempt, s.claim_protocol,
                  s.idempotency_key, s.expires_at, a.magic_base as "magic_base?"
           from signals s left join accounts a using (account)
           where s.principal <> ':heartbeat' order by s.id"#
    )
    .fetch_all(&mut *db)
    .await?;
    // At the same moment, what belongs to the earlier claim comes first.
    history.events = sqlx::query_as!(
        Event,
        "select signal_id, at, state, attempt from signal_events e
             where not exists (select from signals s where s.signal_id = e.signal_id and s.principal = ':heartbeat')
             order by at, attempt"
    )
    .fetch_all(db)
    .await?;
    Ok(())
}

async fn money(db: &mut PgConnection, history: &mut History) -> Result<(), sqlx::Error> {
    history.reports = sqlx::query_as!(
        Report,
        r#"select account, message_id, version as "version!", balance, equity, profit, credit, net_deposits
           from account_state where version is not null order by place"#
    )
    .fetch_all(&mut *db)
    .await?;
    let versions = sqlx::query!(
        r#"select account, version, kind, movement_id, user_id, amount, units_delta::text as "units_delta!", equity,
                  units::text as "units!", profit
           from pool_history order by account, version"#
    );
    for row in versions.fetch_all(&mut *db).await? {
        history.versions.push(Version {
            account: row.account,
            version: row.version,
            kind: row.kind,
            movement_id: row.movement_id,
            user_id: row.user_id,
            amount: row.amount.into(),
            units_delta: whole(&row.units_delta)?,
            equity: row.equity.into(),
            units: whole(&row.units)?,
            profit: row.profit.into(),
        });
    }
    let movements = sqlx::query!(
        r#"select m.movement_id, m.account, m.user_id, m.kind, m.amount, p.movement_id is not null as "waiting!"
           from capital_movements m left join pending_movements p using (movement_id) order by m.movement_id"#
    );
    for row in movements.fetch_all(&mut *db).await? {
        history.movements.push(Movement {
            movement_id: row.movement_id,
            account: row.account,
            user_id: row.user_id,
            kind: row.kind,
            amount: row.amount.map(Into::into),
            waiting: row.waiting,
        });
    }
    let pools = sqlx::query!(
        r#"select account, version, valued_version, equity, units::text as "units!", profit from pools order by account"#
    );
    for row in pools.fetch_all(&mut *db).await? {
        history.pools.push(Pool {
            account: row.account,
            version: row.version,
            valued_version: row.valued_version,
            equity: row.equity.into(),
            units: whole(&row.units)?,
            profit: row.profit.into(),
        });
    }
    let shares = sqlx::query!(
        r#"select account as "account!", user_id as "user_id!", units::text as "units!", value as "value!"
           from shares order by account, user_id"#
    );
    for row in shares.fetch_all(db).await? {
        let (units, value) = (whole(&row.units)?, row.value.into());
        history.shares.push(Share { account: row.account, user_id: row.user_id, units, value });
    }
    Ok(())
}

/// Units are whole numbers of up to 30 digits.
fn whole(text: &str) -> Result<i128, sqlx::Error> {
    text.parse().map_err(|error: std::num::ParseIntError| sqlx::Error::Decode(error.into()))
}
