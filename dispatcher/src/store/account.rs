//! Accounts, their terminals, and the figures they report.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use common::domain::{Mode, Percent, Symbol, Volume};
use common::message::AccountUpdated;
use serde::Deserialize as _;
use sqlx::PgConnection;
use time::{Date, OffsetDateTime};

use super::corrupt;
use crate::life::gate::{Account, Day, Rules, State, day};
use crate::life::{AHEAD_MAX, PROTOCOL, TERMINAL_GONE};

/// A row of `accounts`, as it is.
pub(crate) struct AccountRow {
    pub(crate) account: String,
    pub(crate) magic_base: i64,
    pub(crate) mode: String,
    pub(crate) mode_reason: Option<String>,
    pub(crate) mode_changed_at: Option<OffsetDateTime>,
    volume_max: rust_decimal::Decimal,
    default_volume: rust_decimal::Decimal,
    signal_ttl_seconds: i32,
    #[expect(dead_code, reason = "of use to people")]
    created_at: OffsetDateTime,
    login: Option<i64>,
    symbols_allowed: Option<Vec<String>>,
    positions_max: i32,
    openings_per_day_max: i32,
    daily_loss_percent_max: rust_decimal::Decimal,
    symbol_map: serde_json::Value,
    openings_on: Option<Date>,
    openings: i32,
    state_at: Option<OffsetDateTime>,
    state_login: Option<i64>,
    state_positions: Option<i32>,
    state_equity: Option<i64>,
    state_profit: Option<i64>,
    state_by_deposits: Option<bool>,
    day: Option<Date>,
    day_equity: Option<i64>,
    day_profit: Option<i64>,
    day_loss: Option<i64>,
}

impl AccountRow {
    /// As the gate judges it.
    pub(crate) fn account(&self) -> Result<Account, sqlx::Error> {
        let openings = self.openings_on.map(|date| (date, self.openings));
        Ok(Account { rules: self.rules()?, openings, state: self.state() })
    }

    fn rules(&self) -> Result<Rules, sqlx::Error> {
        let allowed = |names: &Vec<String>| names.iter().map(|name| name.parse()).collect::<Result<_, _>>();
        Ok(Rules {
            mode: self.mode.parse().map_err(corrupt)?,
            symbols_allowed: self.symbols_allowed.as_ref().map(allowed).transpose().map_err(corrupt)?,
            volume_max: Volume::try_from(self.volume_max).map_err(corrupt)?,
            positions_max: self.positions_max,
            openings_per_day_max: self.openings_per_day_max,
            daily_loss_percent_max: Percent::try_from(self.daily_loss_percent_max).map_err(corrupt)?,
            signal_ttl_seconds: self.signal_ttl_seconds,
            default_volume: Volume::try_from(self.default_volume).map_err(corrupt)?,
            symbol_map: BTreeMap::deserialize(&self.symbol_map)
                .map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
            login: self.login,
        })
    }

    /// All of it, or nothing: the table sees to that.
    fn state(&self) -> Option<State> {
        let day = Day { date: self.day?, equity: self.day_equity?, profit: self.day_profit?, loss: self.day_loss };
        Some(State {
            at: self.state_at?,
            login: self.state_login,
            positions: self.state_positions,
            equity: self.state_equity?,
            profit: self.state_profit?,
            by_deposits: self.state_by_deposits?,
            day,
        })
    }
}

/// All accounts.
pub(crate) async fn names(db: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!("select account from accounts order by account").fetch_all(db).await
}

/// An account; none where no terminal's key is bound to it.
pub(crate) async fn find(db: &mut PgConnection, account: &str) -> Result<Option<AccountRow>, sqlx::Error> {
    sqlx::query_as!(AccountRow, "select * from accounts where account = $1", account).fetch_optional(db).await
}

/// These accounts; those that no terminal's key is bound to are missing.
pub(crate) async fn find_all(
    db: &mut PgConnection,
    accounts: &[String],
) -> Result<HashMap<String, Account>, sqlx::Error> {
    let rows = sqlx::query_as!(AccountRow, "select * from accounts where account = any($1)", accounts);
    rows.fetch_all(db).await?.into_iter().map(|row| Ok((row.account.clone(), row.account()?))).collect()
}

/// An account, locked until the transaction ends: whoever judges order, mode or risk comes here first.
pub(crate) async fn lock(db: &mut PgConnection, account: &str) -> Result<Option<AccountRow>, sqlx::Error> {
    sqlx::query_as!(AccountRow, "select * from accounts where account = $1 for update", account)
        .fetch_optional(db)
        .await
}

/// Openings at the broker that a report may not know, which knows all until this time: orders that rest there, since they
/// become positions without a word, and what was executed since and is not known to have ended. Without a report: since
/// ever; what was executed without a ticket, whose end nobody could tell, for a day.
pub(crate) async fn recent_openings(
    db: &mut PgConnection,
    account: &str,
    known_until: Option<OffsetDateTime>,
    now: OffsetDateTime,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select (select count(*) from trades where account = $1 and status = 'placed')
                + (select count(*) from trades
                   where account = $1 and status = 'open' and filled_at > coalesce($2::timestamptz, '-infinity'))
                + (select count(*) from signals s
                   where account = $1 and state = 'executed' and action in ('BUY', 'SELL')
                     and finished_at > coalesce($2::timestamptz, $3)
                     and not exists (select from trades t where t.signal_id = s.signal_id)) as "count!""#,
        account,
        known_until,
        now - time::Duration::days(1)
    )
    .fetch_one(db)
    .await
}

/// Writes these rules but for the mode; the caller holds the account.
pub(crate) async fn set_rules(db: &mut PgConnection, account: &str, rules: &Rules) -> Result<(), sqlx::Error> {
    let names = |symbols: &BTreeSet<Symbol>| symbols.iter().map(ToString::to_string).collect::<Vec<_>>();
    let allowed = rules.symbols_allowed.as_ref().map(names);
    let encode = |error| sqlx::Error::Encode(Box::new(error));
    sqlx::query!(
        "update accounts set symbols_allowed = $2, volume_max = $3, positions_max = $4, openings_per_day_max = $5,
             daily_loss_percent_max = $6, signal_ttl_seconds = $7, default_volume = $8, symbol_map = $9, login = $10
         where account = $1",
        account,
        allowed.as_deref(),
        rules.volume_max.get(),
        rules.positions_max,
        rules.openings_per_day_max,
        rules.daily_loss_percent_max.get(),
        rules.signal_ttl_seconds,
        rules.default_volume.get(),
        serde_json::to_value(&rules.symbol_map).map_err(encode)?,
        rules.login
    )
    .execute(db)
    .await
    .map(drop)
}

/// Keeps the first account at the broker that an account's terminal names; false where there is one already.
pub(crate) async fn bind(db: &mut PgConnection, account: &str, login: i64) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!("update accounts set login = $2 where account = $1 and login is null", account, login);
    Ok(done.execute(db).await?.rows_affected() == 1)
}

/// Writes the mode of an account; the caller holds it.
pub(crate) async fn set_mode(
    db: &mut PgConnection,
    account: &str,
    mode: Mode,
    reason: Option<&str>,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update accounts set mode = $2, mode_reason = $3, mode_changed_at = $4 where account = $1",
        account,
        mode.as_str(),
        reason,
        now
    )
    .execute(db)
    .await
    .map(drop)
}

/// Writes how an account stands; the caller holds it.
pub(crate) async fn set_state(db: &mut PgConnection, account: &str, state: &State) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update accounts set state_at = $2, state_login = $3, state_positions = $4, state_equity = $5, state_profit = $6,
             state_by_deposits = $7, day = $8, day_equity = $9, day_profit = $10, day_loss = $11
         where account = $1",
        account,
        state.at,
        state.login,
        state.positions,
        state.equity,
        state.profit,
        state.by_deposits,
        state.day.date,
        state.day.equity,
        state.day.profit,
        state.day.loss
    )
    .execute(db)
    .await
    .map(drop)
}

/// The most installations of an account's terminal that are remembered; a key's holder can make up any number. Those that were
/// seen in the future, by a clock that was put right since, are forgotten.
const TERMINALS_MAX: i64 = 100;

/// Remembers that an installation of the terminal asked for work; of too many, the one that was not seen for longest is
/// forgotten.
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
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        "delete from terminals where account = $1 and (last_poll_at > $3 or terminal in
             (select terminal from terminals where account = $1 order by last_poll_at desc, terminal offset $2))",
        account,
        TERMINALS_MAX,
        now + AHEAD_MAX
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

/// Keeps the last figures of an account as they came. Those from the future were by a clock that was put right since.
pub(crate) async fn store_report(db: &mut PgConnection, update: &AccountUpdated) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into account_reports (account, received_at, terminal, balance, equity, margin, free_margin, profit,
                                      open_positions, connected, trade_allowed, tick_age_ms)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         on conflict (account) do update set received_at = excluded.received_at, terminal = excluded.terminal,
             balance = excluded.balance, equity = excluded.equity, margin = excluded.margin,
             free_margin = excluded.free_margin, profit = excluded.profit, open_positions = excluded.open_positions,
             connected = excluded.connected, trade_allowed = excluded.trade_allowed, tick_age_ms = excluded.tick_age_ms
         where account_reports.received_at <= excluded.received_at
            or account_reports.received_at > excluded.received_at + interval '10 seconds'",
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
    .execute(db)
    .await
    .map(drop)
}

/// How an account and its terminals stand, for the gauges.
pub(crate) struct Standing {
    pub(crate) account: String,
    pub(crate) mode: String,
    /// Whether a loss has stopped openings for the rest of the day.
    pub(crate) latched: bool,
    pub(crate) polled_at: Option<OffsetDateTime>,
    /// When the last heartbeat was confirmed or, where none ever was, the first one ended otherwise; none where no terminal
    /// that takes them is expected to be there.
    pub(crate) heartbeat_at: Option<OffsetDateTime>,
    pub(crate) reported_at: Option<OffsetDateTime>,
    pub(crate) connected: Option<bool>,
    pub(crate) trade_allowed: Option<bool>,
    // What the last report said, in units of the account's currency; nothing where it is not this account's, because the
    // terminal was not connected or logged in.
    pub(crate) balance: Option<f64>,
    pub(crate) equity: Option<f64>,
    pub(crate) margin: Option<f64>,
    pub(crate) free_margin: Option<f64>,
    pub(crate) open_positions: Option<i32>,
    /// Equity less credit and net deposits; none where the terminal does not report those.
    pub(crate) profit: Option<f64>,
}

/// All accounts; `heartbeats`: whether there are to be any.
pub(crate) async fn standings(
    db: &mut PgConnection,
    now: OffsetDateTime,
    heartbeats: bool,
) -> Result<Vec<Standing>, sqlx::Error> {
    sqlx::query_as!(
        Standing,
        r#"select a.account as "account!", a.mode as "mode!", (a.day = $1 and a.day_loss is not null) is true as "latched!",
                  t.polled_at,
                  case when $3 and exists (select from terminals full_one where full_one.account = a.account
                                           and protocol >= $2 and last_poll_at > t.polled_at - interval '1 minute')
                       then coalesce(
                           (select max(finished_at) from signals s
                            where s.account = a.account and s.principal = ':heartbeat' and s.state = 'executed'
                              and finished_at <= $4),
                           (select min(finished_at) from signals s
                            where s.account = a.account and s.principal = ':heartbeat'))
                  end as heartbeat_at,
                  r.received_at as "reported_at?", r.connected as "connected?", r.trade_allowed as "trade_allowed?",
                  f.balance::float8 as balance, f.equity::float8 as equity, f.margin::float8 as margin,
                  f.free_margin::float8 as free_margin, f.open_positions as "open_positions?",
                  case when f.account is not null and a.state_by_deposits then a.state_profit::float8 / 100 end as profit
           from accounts a left join account_reports r using (account)
           left join account_reports f on f.account = a.account and f.connected is distinct from false
                and (f.balance <> 0 or f.equity <> 0 or coalesce(a.state_equity, 0) = 0)
           left join lateral (select max(last_poll_at) as polled_at from terminals where account = a.account) t on true"#,
        day(now),
        PROTOCOL,
        heartbeats,
        now
    )
    .fetch_all(db)
    .await
}
