//! The pools of one transaction: read under their locks, changed in memory, written back together.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{cents, numeric, units};
use crate::pool::{Definition, Pool};
use crate::report::{Figures, Last};

/// Sums over a pool's members; amounts in cents.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sums {
    /// Those who hold units.
    pub(crate) members: i64,
    pub(crate) deposited: i128,
    pub(crate) withdrawn: i128,
    pub(crate) investment: i128,
}

/// A pool with what is known of its account, as its row holds it.
#[derive(Clone, Debug)]
pub(crate) struct PoolState {
    pub(crate) account: String,
    pub(crate) pool: Pool,
    pub(crate) last: Last,
    pub(crate) sums: Sums,
    pub(crate) version: i64,
    /// When it changed last.
    changed_at: OffsetDateTime,
    /// Changes that are not written yet.
    history: Vec<Change>,
    changed: bool,
}

/// What was done to a pool, as its history tells it.
#[derive(Clone, Debug)]
pub(crate) struct Done<'a> {
    pub(crate) kind: &'static str,
    pub(crate) movement: Option<(Uuid, &'a str)>,
    /// What the equity changed by.
    pub(crate) amount: i128,
    pub(crate) units_delta: i128,
    pub(crate) investment_delta: i128,
    pub(crate) reason: Option<&'static str>,
}

impl Done<'_> {
    pub(crate) const fn new(kind: &'static str, amount: i128) -> Self {
        Self { kind, movement: None, amount, units_delta: 0, investment_delta: 0, reason: None }
    }
}

/// A row of `pool_history`.
#[derive(Clone, Debug)]
struct Change {
    version: i64,
    kind: &'static str,
    movement_id: Option<Uuid>,
    user_id: Option<String>,
    amount: i64,
    units_delta: Decimal,
    investment_delta: i64,
    paid_in: i64,
    equity: i64,
    units: Decimal,
    profit: i64,
    reason: Option<&'static str>,
}

impl PoolState {
    /// Notes what was done to the pool, which is changed already, as its next version.
    pub(crate) fn note(&mut self, done: &Done<'_>) -> Result<(), sqlx::Error> {
        self.version += 1;
        self.changed = true;
        self.history.push(Change {
            version: self.version,
            kind: done.kind,
            movement_id: done.movement.map(|(movement_id, _)| movement_id),
            user_id: done.movement.map(|(_, user_id)| user_id.to_owned()),
            amount: cents(done.amount)?,
            units_delta: numeric(done.units_delta)?,
            investment_delta: cents(done.investment_delta)?,
            paid_in: cents(self.sums.deposited - self.sums.withdrawn)?,
            equity: cents(self.pool.equity)?,
            units: numeric(self.pool.units)?,
            profit: cents(self.pool.profit)?,
            reason: done.reason,
        });
        Ok(())
    }

    /// Marks what is known of the account as changed.
    pub(crate) fn touch(&mut self) {
        self.changed = true;
    }
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
    next_login: Option<i64>,
    session: Option<String>,
    seq: Option<i64>,
    state_at: Option<OffsetDateTime>,
    balance: Option<i64>,
    margin: Option<i64>,
    free_margin: Option<i64>,
    floating: Option<i64>,
    terminal_equity: Option<i64>,
    credit: Option<i64>,
    version: i64,
    changed_at: OffsetDateTime,
    members: i64,
    deposited: i64,
    withdrawn: i64,
    investment: i64,
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
                next_login: self.next_login,
                currency: self.currency,
                session: self.session,
                seq: self.seq,
                ..Last::default()
            },
            sums: Sums {
                members: self.members,
                deposited: self.deposited.into(),
                withdrawn: self.withdrawn.into(),
                investment: self.investment.into(),
            },
            version: self.version,
            changed_at: self.changed_at,
            history: Vec::new(),
            changed: false,
        }
    }
}

/// A pool as it is now, where there is one.
pub(crate) async fn read(db: &mut PgConnection, account: &str) -> Result<Option<PoolState>, sqlx::Error> {
    let row = sqlx::query_as!(
        PoolRow,
        "select account, currency, equity, units, profit, definition, net_deposits, login, next_login, session, seq,
                state_at, balance, margin, free_margin, floating, terminal_equity, credit, version, changed_at, members,
                deposited, withdrawn, investment
         from pools where account = $1",
        account
    );
    Ok(row.fetch_optional(db).await?.map(PoolRow::state))
}

/// The pools that a transaction works on.
pub(crate) struct Pools(BTreeMap<String, PoolState>);

impl Pools {
    /// Reads these pools and holds their rows until the transaction ends; makes those that are not there yet.
    pub(crate) async fn lock(db: &mut PgConnection, accounts: &[String]) -> Result<Self, sqlx::Error> {
        let mut pools = Self::lock_existing(db, accounts).await?;
        if pools.0.len() < accounts.len() {
            sqlx::query!(
                "insert into pools (account) select * from unnest($1::text[]) as a (account) order by account
                 on conflict do nothing",
                accounts
            )
            .execute(&mut *db)
            .await?;
            pools = Self::lock_existing(db, accounts).await?;
        }
        Ok(pools)
    }

    async fn lock_existing(db: &mut PgConnection, accounts: &[String]) -> Result<Self, sqlx::Error> {
        let rows = sqlx::query_as!(
            PoolRow,
            "select account, currency, equity, units, profit, definition, net_deposits, login, next_login, session, seq,
                    state_at, balance, margin, free_margin, floating, terminal_equity, credit, version, changed_at, members,
                    deposited, withdrawn, investment
             from pools where account = any($1) order by account for update",
            accounts
        )
        .fetch_all(db)
        .await?;
        Ok(Self(rows.into_iter().map(|row| (row.account.clone(), row.state())).collect()))
    }

    /// One of the pools that were locked.
    pub(crate) fn of(&mut self, account: &str) -> Result<&mut PoolState, sqlx::Error> {
        self.0.get_mut(account).ok_or(sqlx::Error::RowNotFound)
    }

    /// All of them, by account.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut PoolState> {
        self.0.values_mut()
    }

    /// Writes what changed, with the history of it.
    pub(crate) async fn write(self, db: &mut PgConnection, now: OffsetDateTime) -> Result<(), sqlx::Error> {
        let mut changed: Vec<PoolState> = self.0.into_values().filter(|state| state.changed).collect();
        for state in &mut changed {
            state.changed_at = state.changed_at.max(now);
        }
        if changed.is_empty() {
            return Ok(());
        }
        write_history(db, &changed).await?;
        write_ended_sessions(db, &changed, now).await?;
        write_rows(db, &changed).await
    }
}

async fn write_history(db: &mut PgConnection, changed: &[PoolState]) -> Result<(), sqlx::Error> {
    let rows: Vec<(&PoolState, &Change)> =
        changed.iter().flat_map(|state| state.history.iter().map(move |row| (state, row))).collect();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into pool_history (at, account, version, kind, movement_id, user_id, amount, units_delta,
                                   investment_delta, paid_in, equity, units, profit, reason)
         select * from unnest($1::timestamptz[], $2::text[], $3::bigint[], $4::text[], $5::uuid[], $6::text[],
             $7::bigint[], $8::numeric[], $9::bigint[], $10::bigint[], $11::bigint[], $12::numeric[], $13::bigint[],
             $14::text[])",
        &rows.iter().map(|(state, _)| state.changed_at).collect::<Vec<_>>(),
        &rows.iter().map(|(state, _)| state.account.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|(_, row)| row.version).collect::<Vec<_>>(),
        &rows.iter().map(|(_, row)| row.kind.to_owned()).collect::<Vec<_>>(),
        &rows.iter().map(|(_, row)| row.movement_id).collect::<Vec<_>>() as &[Option<Uuid>],
        &rows.iter().map(|(_, row)| row.user_id.clone()).collect::<Vec<_>>() as &[Option<String>],
        &rows.iter().map(|(_, row)| row.amount).collect::<Vec<_>>(),
        &rows.iter().map(|(_, row)| row.units_delta).collect::<Vec<_>>(),
        &rows.iter().map(|(_, row)| row.investment_delta).collect::<Vec<_>>(),
        &rows.iter().map(|(_, row)| row.paid_in).collect::<Vec<_>>(),
        &rows.iter().map(|(_, row)| row.equity).collect::<Vec<_>>(),
        &rows.iter().map(|(_, row)| row.units).collect::<Vec<_>>(),
        &rows.iter().map(|(_, row)| row.profit).collect::<Vec<_>>(),
        &rows.iter().map(|(_, row)| row.reason.map(str::to_owned)).collect::<Vec<_>>() as &[Option<String>]
    )
    .execute(db)
    .await
    .map(drop)
}

/// The most ended sessions of an account that are remembered: what another thousand have followed is heard of no more.
const ENDED_SESSIONS_MAX: i64 = 1_000;

async fn write_ended_sessions(
    db: &mut PgConnection,
    changed: &[PoolState],
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    let rows: Vec<(&PoolState, &String, &Option<i64>)> = changed
        .iter()
        .flat_map(|state| state.last.newly_ended.iter().map(move |(session, seq)| (state, session, seq)))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let accounts: Vec<String> = rows.iter().map(|(state, ..)| state.account.clone()).collect();
    sqlx::query!(
        "insert into ended_sessions (account, session, seq, ended_at)
         select account, session, seq, $4 from unnest($1::text[], $2::text[], $3::bigint[]) as e (account, session, seq)
         on conflict (account, session) do update set seq = excluded.seq, ended_at = excluded.ended_at",
        &accounts,
        &rows.iter().map(|(_, session, _)| (*session).clone()).collect::<Vec<_>>(),
        &rows.iter().map(|(.., seq)| **seq).collect::<Vec<_>>() as &[Option<i64>],
        now
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        "delete from ended_sessions e using (
             select account, session, row_number() over (partition by account order by ended_at desc, session) as place
             from ended_sessions where account = any($1)) o
         where e.account = o.account and e.session = o.session and o.place > $2",
        &accounts,
        ENDED_SESSIONS_MAX
    )
    .execute(db)
    .await
    .map(drop)
}

async fn write_rows(db: &mut PgConnection, changed: &[PoolState]) -> Result<(), sqlx::Error> {
    let definition = |state: &PoolState| {
        let name = |definition| match definition {
            Definition::Profit => "profit".to_owned(),
            Definition::Deposits => "deposits".to_owned(),
        };
        state.pool.definition.map(name)
    };
    let whole = |figure: fn(&PoolState) -> i128| {
        changed.iter().map(|state| cents(figure(state))).collect::<Result<Vec<i64>, _>>()
    };
    let reported = |figure: fn(&Figures) -> i64| -> Vec<Option<i64>> {
        changed.iter().map(|state| state.last.figures.as_ref().map(figure)).collect()
    };
    let deposits = |state: &PoolState| state.last.figures.as_ref().and_then(|figures| figures.net_deposits);
    sqlx::query!(
        "update pools p set equity = r.equity, units = r.units, profit = r.profit, definition = r.definition,
             net_deposits = r.net_deposits, login = r.login, currency = r.currency, session = r.session, seq = r.seq,
             state_at = r.state_at, balance = r.balance, margin = r.margin, free_margin = r.free_margin,
             floating = r.floating, terminal_equity = r.terminal_equity, credit = r.credit, version = r.version,
             changed_at = r.changed_at, members = r.members, deposited = r.deposited, withdrawn = r.withdrawn,
             investment = r.investment, next_login = r.next_login
         from unnest($1::text[], $2::bigint[], $3::numeric[], $4::bigint[], $5::text[], $6::bigint[], $7::bigint[],
             $8::text[], $9::text[], $10::bigint[], $11::timestamptz[], $12::bigint[], $13::bigint[], $14::bigint[],
             $15::bigint[], $16::bigint[], $17::bigint[], $18::bigint[], $19::bigint[], $20::bigint[], $21::bigint[],
             $22::bigint[], $23::timestamptz[], $24::bigint[]) as r (account, equity, units, profit, definition, net_deposits, login,
             currency, session, seq, state_at, balance, margin, free_margin, floating, terminal_equity, credit, version,
             members, deposited, withdrawn, investment, changed_at, next_login)
         where p.account = r.account",
        &changed.iter().map(|state| state.account.clone()).collect::<Vec<_>>(),
        &whole(|state| state.pool.equity)?,
        &changed.iter().map(|state| numeric(state.pool.units)).collect::<Result<Vec<_>, _>>()?,
        &whole(|state| state.pool.profit)?,
        &changed.iter().map(definition).collect::<Vec<_>>() as &[Option<String>],
        &changed.iter().map(deposits).collect::<Vec<_>>() as &[Option<i64>],
        &changed.iter().map(|state| state.last.login).collect::<Vec<_>>() as &[Option<i64>],
        &changed.iter().map(|state| state.last.currency.clone()).collect::<Vec<_>>() as &[Option<String>],
        &changed.iter().map(|state| state.last.session.clone()).collect::<Vec<_>>() as &[Option<String>],
        &changed.iter().map(|state| state.last.seq).collect::<Vec<_>>() as &[Option<i64>],
        &changed.iter().map(|state| state.last.state_at).collect::<Vec<_>>() as &[Option<OffsetDateTime>],
        &reported(|figures| figures.balance) as &[Option<i64>],
        &reported(|figures| figures.margin) as &[Option<i64>],
        &reported(|figures| figures.free_margin) as &[Option<i64>],
        &reported(|figures| figures.floating) as &[Option<i64>],
        &reported(|figures| figures.equity) as &[Option<i64>],
        &reported(|figures| figures.credit) as &[Option<i64>],
        &changed.iter().map(|state| state.version).collect::<Vec<_>>(),
        &changed.iter().map(|state| state.sums.members).collect::<Vec<_>>(),
        &whole(|state| state.sums.deposited)?,
        &whole(|state| state.sums.withdrawn)?,
        &whole(|state| state.sums.investment)?,
        &changed.iter().map(|state| state.changed_at).collect::<Vec<_>>(),
        &changed.iter().map(|state| state.last.next_login).collect::<Vec<_>>() as &[Option<i64>]
    )
    .execute(db)
    .await
    .map(drop)
}
