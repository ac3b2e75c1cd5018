//! All SQL of the distributor. Functions on a connection, so that callers compose them in one transaction.
//!
//! Invariant: whoever changes a pool holds its row, and every change has its row in `pool_history`.

pub(crate) mod movement;
pub(crate) mod state;
pub(crate) mod valuation;

use rust_decimal::Decimal;
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::pool::{Definition, Pool};
use crate::report::{Figures, Last};

/// A pool with what is known of its account, as its row holds it.
#[derive(Clone, Debug)]
pub(crate) struct PoolState {
    pub(crate) account: String,
    pub(crate) pool: Pool,
    pub(crate) last: Last,
    pub(crate) version: i64,
}

struct PoolRow {
    account: String,
    currency: Option<String>,
    equity: i64,
    units: Decimal,
    profit: i64,
    definition: Option<String>,
    net_deposits: Option<i64>,
    login: Option<i64>,
    session: Option<String>,
    seq: Option<i64>,
    ended_sessions: Vec<String>,
    state_at: Option<OffsetDateTime>,
    balance: Option<i64>,
    margin: Option<i64>,
    free_margin: Option<i64>,
    floating: Option<i64>,
    terminal_equity: Option<i64>,
    credit: Option<i64>,
    version: i64,
}

fn overflow<E: std::error::Error + Send + Sync + 'static>(error: E) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

/// Units as PostgreSQL's numeric; at most 10^24, well within a decimal's 28 digits.
fn numeric(units: i128) -> Result<Decimal, sqlx::Error> {
    Decimal::try_from_i128_with_scale(units, 0).map_err(overflow)
}

/// Whole units from a numeric.
pub(crate) fn units(value: Decimal) -> i128 {
    value.trunc().mantissa()
}

fn cents(value: i128) -> Result<i64, sqlx::Error> {
    i64::try_from(value).map_err(overflow)
}

impl PoolRow {
    fn state(self) -> PoolState {
        let definition = self.definition.map(|text| match text.as_str() {
            "deposits" => Definition::Deposits,
            _ => Definition::Profit,
        });
        let figures = self.balance.map(|balance| Figures {
            balance,
            equity: self.terminal_equity.unwrap_or(0),
            margin: self.margin.unwrap_or(0),
            free_margin: self.free_margin.unwrap_or(0),
            floating: self.floating.unwrap_or(0),
            credit: self.credit.unwrap_or(0),
            net_deposits: self.net_deposits,
        });
        PoolState {
            account: self.account,
            pool: Pool { equity: self.equity.into(), units: units(self.units), profit: self.profit.into(), definition },
            last: Last {
                state_at: self.state_at,
                figures,
                definition,
                login: self.login,
                currency: self.currency,
                session: self.session,
                seq: self.seq,
                ended_sessions: self.ended_sessions,
            },
            version: self.version,
        }
    }
}

/// A pool's row, locked until the transaction ends; made where there is none.
pub(crate) async fn lock_pool(db: &mut PgConnection, account: &str) -> Result<PoolState, sqlx::Error> {
    sqlx::query!("insert into pools (account) values ($1) on conflict do nothing", account).execute(&mut *db).await?;
    let row = sqlx::query_as!(
        PoolRow,
        "select account, currency, equity, units, profit, definition, net_deposits, login, session, seq,
                ended_sessions, state_at, balance, margin, free_margin, floating, terminal_equity, credit, version
         from pools where account = $1 for update",
        account
    );
    Ok(row.fetch_one(db).await?.state())
}

/// A pool as it is now, where there is one.
pub(crate) async fn pool(db: &mut PgConnection, account: &str) -> Result<Option<PoolState>, sqlx::Error> {
    let row = sqlx::query_as!(
        PoolRow,
        "select account, currency, equity, units, profit, definition, net_deposits, login, session, seq,
                ended_sessions, state_at, balance, margin, free_margin, floating, terminal_equity, credit, version
         from pools where account = $1",
        account
    );
    Ok(row.fetch_optional(db).await?.map(PoolRow::state))
}

/// Writes a pool back; the caller holds its row.
pub(crate) async fn write_pool(db: &mut PgConnection, state: &PoolState) -> Result<(), sqlx::Error> {
    let PoolState { account, pool, last, version } = state;
    let definition = pool.definition.map(|definition| match definition {
        Definition::Profit => "profit",
        Definition::Deposits => "deposits",
    });
    let figures = last.figures.as_ref();
    sqlx::query!(
        "update pools set equity = $2, units = $3, profit = $4, definition = $5, net_deposits = $6, login = $7,
             currency = $8, session = $9, seq = $10, ended_sessions = $11, state_at = $12, balance = $13, margin = $14,
             free_margin = $15, floating = $16, terminal_equity = $17, credit = $18, version = $19
         where account = $1",
        account,
        cents(pool.equity)?,
        numeric(pool.units)?,
        cents(pool.profit)?,
        definition,
        figures.and_then(|figures| figures.net_deposits),
        last.login,
        last.currency,
        last.session,
        last.seq,
        &last.ended_sessions,
        last.state_at,
        figures.map(|figures| figures.balance),
        figures.map(|figures| figures.margin),
        figures.map(|figures| figures.free_margin),
        figures.map(|figures| figures.floating),
        figures.map(|figures| figures.equity),
        figures.map(|figures| figures.credit),
        version
    )
    .execute(db)
    .await
    .map(drop)
}

/// One row of `pool_history`.
pub(crate) struct HistoryRow<'a> {
    pub(crate) kind: &'static str,
    pub(crate) movement: Option<(uuid::Uuid, &'a str)>,
    pub(crate) amount: i128,
    pub(crate) units_delta: i128,
    pub(crate) at: OffsetDateTime,
}

/// Appends what was done to a pool that is already changed; counts its version up.
pub(crate) async fn append_history(
    db: &mut PgConnection,
    state: &mut PoolState,
    row: HistoryRow<'_>,
) -> Result<(), sqlx::Error> {
    state.version += 1;
    sqlx::query!(
        "insert into pool_history (account, version, at, kind, movement_id, user_id, amount, units_delta, equity, units, profit)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        state.account,
        state.version,
        row.at,
        row.kind,
        row.movement.map(|(movement_id, _)| movement_id),
        row.movement.map(|(_, user_id)| user_id),
        cents(row.amount)?,
        numeric(row.units_delta)?,
        cents(state.pool.equity)?,
        numeric(state.pool.units)?,
        cents(state.pool.profit)?
    )
    .execute(db)
    .await
    .map(drop)
}

/// Makes the partitions of the months to come.
pub(crate) async fn make_partitions(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query_scalar!(
        r#"select (ensure_month_partitions('account_state', 3)::text || ensure_month_partitions('pool_history', 3)::text) as "void""#
    )
    .fetch_one(db)
    .await
    .map(drop)
}
