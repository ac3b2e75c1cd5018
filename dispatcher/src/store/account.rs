//! Accounts, their keys and terminals, and the figures they report.

use std::collections::HashMap;

use common::audit::{self, Entry};
use common::auth::ApiKey;
use common::domain::{AccountName, UserId, Volume};
use common::message::AccountUpdated;
use serde_json::json;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::corrupt;
use crate::life::{PROTOCOL, Rules, TERMINAL_GONE};

struct RulesRow {
    mode: String,
    volume_max: rust_decimal::Decimal,
    default_volume: rust_decimal::Decimal,
    signal_ttl_seconds: i32,
    login: Option<i64>,
}

impl RulesRow {
    fn rules(self) -> Result<Rules, sqlx::Error> {
        Ok(Rules {
            mode: self.mode.parse().map_err(corrupt)?,
            volume_max: Volume::try_from(self.volume_max).map_err(corrupt)?,
            default_volume: Volume::try_from(self.default_volume).map_err(corrupt)?,
            signal_ttl_seconds: self.signal_ttl_seconds,
            login: self.login,
        })
    }
}

/// What an account allows; none where no terminal's key is bound to it.
pub(crate) async fn rules(db: &mut PgConnection, account: &str) -> Result<Option<Rules>, sqlx::Error> {
    let row = sqlx::query_as!(
        RulesRow,
        "select mode, volume_max, default_volume, signal_ttl_seconds, login from accounts where account = $1",
        account
    );
    row.fetch_optional(db).await?.map(RulesRow::rules).transpose()
}

/// What each of these accounts allows; accounts that no terminal's key is bound to are missing.
pub(crate) async fn rules_of(
    db: &mut PgConnection,
    accounts: &[String],
) -> Result<HashMap<String, Rules>, sqlx::Error> {
    let rows = sqlx::query!(
        "select account, mode, volume_max, default_volume, signal_ttl_seconds, login
         from accounts where account = any($1)",
        accounts
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            let rules = RulesRow {
                mode: row.mode,
                volume_max: row.volume_max,
                default_volume: row.default_volume,
                signal_ttl_seconds: row.signal_ttl_seconds,
                login: row.login,
            };
            Ok((row.account, rules.rules()?))
        })
        .collect()
}

/// An account's rules and magic base, locked until the transaction ends: whoever judges order or mode comes here first.
pub(crate) async fn lock(db: &mut PgConnection, account: &str) -> Result<Option<(Rules, i64)>, sqlx::Error> {
    let row = sqlx::query!(
        "select mode, volume_max, default_volume, signal_ttl_seconds, login, magic_base
         from accounts where account = $1 for update",
        account
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| {
        let rules = RulesRow {
            mode: row.mode,
            volume_max: row.volume_max,
            default_volume: row.default_volume,
            signal_ttl_seconds: row.signal_ttl_seconds,
            login: row.login,
        };
        Ok((rules.rules()?, row.magic_base))
    })
    .transpose()
}

/// Writes these rules; false for an unknown account.
pub(crate) async fn set_rules(db: &mut PgConnection, account: &str, rules: &Rules) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "update accounts set volume_max = $2, default_volume = $3, signal_ttl_seconds = $4, login = $5
         where account = $1",
        account,
        rules.volume_max.get(),
        rules.default_volume.get(),
        rules.signal_ttl_seconds,
        rules.login
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Keeps the first account at the broker that an account's terminal names.
pub(crate) async fn bind(db: &mut PgConnection, account: &str, login: i64) -> Result<(), sqlx::Error> {
    sqlx::query!("update accounts set login = $2 where account = $1 and login is null", account, login)
        .execute(db)
        .await
        .map(drop)
}

/// The mode of an account with its reason.
pub(crate) struct ControlRow {
    pub(crate) account: String,
    pub(crate) mode: String,
    pub(crate) mode_reason: Option<String>,
    pub(crate) mode_changed_at: Option<OffsetDateTime>,
}

/// The mode of an account.
pub(crate) async fn control(db: &mut PgConnection, account: &str) -> Result<Option<ControlRow>, sqlx::Error> {
    sqlx::query_as!(
        ControlRow,
        "select account, mode, mode_reason, mode_changed_at from accounts where account = $1",
        account
    )
    .fetch_optional(db)
    .await
}

/// Writes the mode of an account.
pub(crate) async fn set_mode(
    db: &mut PgConnection,
    account: &str,
    mode: &str,
    reason: Option<&str>,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update accounts set mode = $2, mode_reason = $3, mode_changed_at = $4 where account = $1",
        account,
        mode,
        reason,
        now
    )
    .execute(db)
    .await
    .map(drop)
}

/// Stores keys, and makes the accounts that terminals' keys are bound to.
pub(crate) async fn register_keys(
    db: &mut PgConnection,
    keys: &[ApiKey],
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    let mut entries = Vec::new();
    for key in keys {
        let identity = &key.identity;
        let account = identity.account.as_ref().map(AccountName::as_str);
        let scopes: Vec<String> = identity.scopes.iter().map(|scope| scope.as_str().to_owned()).collect();
        if let Some(account) = account {
            sqlx::query!("insert into accounts (account) values ($1) on conflict do nothing", account)
                .execute(&mut *db)
                .await?;
        }
        let stored = sqlx::query!(
            "insert into api_keys (key_id, principal, secret_sha256, scopes, account, user_id)
             values ($1, $2, $3, $4, $5, $6) on conflict (key_id) do nothing",
            identity.key_id,
            identity.principal,
            &key.secret_sha256[..],
            &scopes,
            account,
            identity.user.as_ref().map(UserId::as_str)
        )
        .execute(&mut *db)
        .await?;
        if stored.rows_affected() == 1 {
            let details = json!({"key_id": identity.key_id, "scopes": scopes, "account": account,
                "user_id": identity.user.as_ref().map(UserId::as_str)});
            let principal = &identity.principal;
            entries.push(Entry { at: now, event: "key.created", principal, request_id: "environment", details });
        }
    }
    audit::append(db, crate::NAME, &entries).await
}

/// Remembers that an installation of the terminal asked for work.
pub(crate) async fn touch_terminal(
    db: &mut PgConnection,
    account: &str,
    terminal: &str,
    protocol: i16,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into terminals (account, terminal, protocol, last_poll_at) values ($1, $2, $3, $4)
         on conflict (account, terminal) do update set protocol = excluded.protocol, last_poll_at = excluded.last_poll_at",
        account,
        terminal,
        protocol,
        now
    )
    .execute(db)
    .await
    .map(drop)
}

/// Accounts whose only terminals of late are of the first protocol.
pub(crate) async fn without_a_full_terminal(
    db: &mut PgConnection,
    now: OffsetDateTime,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        "select account from terminals where last_poll_at > $1
         group by account having max(protocol) < $2",
        now - TERMINAL_GONE,
        PROTOCOL
    )
    .fetch_all(db)
    .await
}

/// Keeps the last figures of an account; its mode and the first part of its magic numbers.
pub(crate) async fn store_report(db: &mut PgConnection, update: &AccountUpdated) -> Result<(String, i64), sqlx::Error> {
    sqlx::query!(
        "insert into account_reports (account, received_at, terminal, balance, equity, margin, free_margin, profit,
                                      open_positions, connected, trade_allowed, tick_age_ms)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         on conflict (account) do update set received_at = excluded.received_at, terminal = excluded.terminal,
             balance = excluded.balance, equity = excluded.equity, margin = excluded.margin,
             free_margin = excluded.free_margin, profit = excluded.profit, open_positions = excluded.open_positions,
             connected = excluded.connected, trade_allowed = excluded.trade_allowed, tick_age_ms = excluded.tick_age_ms
         where account_reports.received_at <= excluded.received_at",
        update.account.as_str(),
        update.received_at,
        update.terminal,
        update.balance,
        update.equity,
        update.margin,
        update.free_margin,
        update.profit,
        update.open_positions,
        update.connected,
        update.trade_allowed,
        update.tick_age_ms
    )
    .execute(&mut *db)
    .await?;
    let row = sqlx::query!("select mode, magic_base from accounts where account = $1", update.account.as_str());
    row.fetch_one(db).await.map(|row| (row.mode, row.magic_base))
}
