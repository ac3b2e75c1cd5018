//! What a long past costs: a year of one report a second, and whether what is asked and done now feels it; then the end of
//! all but the last months.
//!
//! Invariant: the books prove every balance with the whole past, else nothing would be retired, and without it, or the run
//! fails.

use std::time::{Duration, Instant};

use common::clock::Clock;
use common::retention::cut;
use sqlx::PgConnection;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::http::{Connection, get};
use super::money::{Account, FEW, Sender, idle, late, seed};
use super::report::{Report, Target, latencies, note, quantile};
use super::service::Service;
use super::{Bench, BenchError};
use crate::sandbox::Sandbox;

/// The account with a past; the statements name it.
const ACCOUNT: &str = "main";
/// Rows of one statement.
const CHUNK: i64 = 1_000_000;
/// How often each question is asked, and how long an answer may take.
const TIMES_ASKED: u32 = 100;
const QUESTION_MS: f64 = 50.0;
/// Reports that are timed one by one.
const UPDATES: u32 = 300;
/// Months that are kept in the end.
const MONTHS_KEPT: u32 = 1;
/// The proof of all balances, twice at once, takes its time.
const DEADLINE: Duration = Duration::from_hours(2);

/// Levels of profit in cents that never stand still.
const LEVEL: &str = "create function level(i bigint) returns bigint language sql immutable as
    $$ select case when i = 0 then 0 else i * 7919 % 20011 - 10000 end $$";

const PARTITIONS: &str = "do $$
    declare parent text; month timestamptz; child text;
    begin
        foreach parent in array array['account_state', 'pool_history', 'pool_valuations', 'signal_events'] loop
            for month in select generate_series(date_trunc('month', current_setting('bench.at')::timestamptz, 'utc'), now(),
                                                interval '1 month') loop
                child := parent || to_char(month at time zone 'utc', '_YYYY_MM');
                if to_regclass(child) is null then
                    execute format('create table %I partition of %I for values from (%L) to (%L)', child, parent, month,
                                   (month at time zone 'utc' + interval '1 month') at time zone 'utc');
                end if;
            end loop;
        end loop;
    end $$";

/// Rows of these reports, the first and the last of a chunk: a valuation for each ten, a signal for each hundred.
const FILLS: [&str; 5] = [
    "insert into account_state (account, message_id, received_at, recorded_at, balance, equity, margin, free_margin,
                                profit, outcome, version)
     select 'main', (lpad(to_hex(floor(extract(epoch from at) * 1000)::bigint), 12, '0') || '7' || substr(md5(i::text), 1, 3)
                || '8' || substr(md5(i::text), 4, 15))::uuid,
            at, at, 10000000, 10000000, 0, 10000000, level(i) / 100.0, 'applied', i + 10
     from (select i, current_setting('bench.at')::timestamptz + i * interval '1 second' as at
           from generate_series($1::bigint, $2::bigint) as i) as reports",
    "insert into pool_history (account, version, at, kind, amount, units_delta, paid_in, equity, units, profit)
     select 'main', i + 10, current_setting('bench.at')::timestamptz + i * interval '1 second', 'update',
            level(i) - level(i - 1), 0, p.deposited, p.deposited + level(i), p.units, level(i)
     from generate_series($1::bigint, $2::bigint) as i, pools p where p.account = 'main'",
    "insert into pool_valuations (account, version, at, as_of, equity, units)
     select account, version, at, at, equity, units from pool_history
     where account = 'main' and version between $1 + 10 and $2 + 10 and version % 10 = 0",
    "insert into signals (signal_id, account, symbol, action, order_type, volume, metadata, principal, request_id, state,
                          attempt, received_at, stored_at, claimed_at, finished_at)
     select gen_random_uuid(), 'main', 'EURUSD', 'BUY', 'market', 0.1, '{}', 'owner', 'bench', 'executed', 1, at, at, at, at
     from (select current_setting('bench.at')::timestamptz + i * interval '1 second' as at
           from generate_series($1::bigint, $2::bigint, 100) as i order by i) as signals",
    "insert into signal_events (signal_id, at, state, attempt)
     select signal_id, stored_at, step, 1 from signals cross join unnest(array['pending', 'processing', 'executed']) as step
     where stored_at between current_setting('bench.at')::timestamptz + $1 * interval '1 second'
                         and current_setting('bench.at')::timestamptz + $2 * interval '1 second'",
];

/// Members whose deposits are as old as the account, and so many reports until now.
async fn fill(db: &mut PgConnection, rows: i64, now: OffsetDateTime) -> Result<(), BenchError> {
    let at = now - time::Duration::seconds(rows);
    for statement in ["set synchronous_commit = off", LEVEL] {
        sqlx::query(statement).execute(&mut *db).await?;
    }
    // Where the deposits are to be, there must be a partition first.
    sqlx::query("select set_config('bench.at', $1::timestamptz::text, false)").bind(at).execute(&mut *db).await?;
    sqlx::query(PARTITIONS).execute(&mut *db).await?;
    seed(db, &Account::new(ACCOUNT, FEW), at).await?;
    let mut first = 1;
    while first <= rows {
        let last = (first + CHUNK - 1).min(rows);
        for statement in FILLS {
            sqlx::query(statement).bind(first).bind(last).execute(&mut *db).await?;
        }
        first = last + 1;
    }
    sqlx::query(
        "update pools set version = $1 + 10, equity = deposited + level($1), profit = level($1), definition = 'profit',
             state_at = $2, changed_at = $2, balance = 1000000000, terminal_equity = 1000000000, margin = 0,
             free_margin = 1000000000, floating = level($1), credit = 0 where account = 'main'",
    )
    .bind(rows)
    .bind(now)
    .execute(&mut *db)
    .await?;
    sqlx::query("vacuum analyze").execute(db).await?;
    Ok(())
}

/// Partitions of the books that are older than is kept.
async fn old_months(db: &mut PgConnection) -> Result<i64, BenchError> {
    let statement =
        "select count(*) from unnest(array['account_state', 'pool_history', 'pool_valuations', 'signal_events'])
        as parent, month_partitions(parent) as m where m.ends_at <= $1";
    Ok(sqlx::query_scalar(statement).bind(cut(Clock::default().now(), MONTHS_KEPT)).fetch_one(db).await?)
}

/// What is asked, and the figure's name with the whole past and without it.
const QUESTIONS: [(&str, [&str; 2]); 7] = [
    ("/api/account/stats?account=main", ["an account's stats, p99", "  without the past"]),
    ("/api/account/history?account=main&points=200", ["200 points of all that is kept, p99", "  without the past"]),
    ("/api/users/main-0000001/stats", ["a member's stats, p99", "  without the past"]),
    ("/api/users/main-0000001/statement?from=FROM&to=TO", ["a statement over last month, p99", "  without the past"]),
    ("/api/users/main-0000001/movements", ["a member's movements, p99", "  without the past"]),
    ("/api/signals?limit=100", ["the newest 100 signals, p99", "  without the past"]),
    ("/api/signals?limit=100&state=failed", ["signals in a state that none has, p99", "  without the past"]),
];

impl Bench {
    /// All figures of the past.
    pub(super) async fn history(&mut self, rows: i64) -> Result<(), BenchError> {
        Report::begin()?;

        self.in_sandbox(&[], async |bench: &mut Self, sandbox: &Sandbox| bench.past(sandbox, rows).await).await
    }

    async fn past(&mut self, sandbox: &Sandbox, rows: i64) -> Result<(), BenchError> {
        // One start before, so that the schema is there.
        Service::ready(sandbox, &self.folder).await?.0.stop().await?;
        let mut db = sandbox.database().await?;
        let started = Instant::now();
        fill(&mut db, rows, Clock::default().now()).await?;
        let conditions = self.conditions(1, 1, started.elapsed())?;
        self.add("rows of account_state, and of pool_history", decimal(rows), "", Target::None, conditions)?;
        self.size(&mut db, "the database with its whole past").await?;

        let (service, _) = Service::ready(sandbox, &self.folder).await?;
        idle(&mut db, DEADLINE).await?;
        let conditions = self.conditions(1, 1, service.started.elapsed())?;
        let took = service.started.elapsed().as_secs_f64();
        self.add("the service's own proof of all balances", took, "s", Target::None, conditions)?;
        self.ask(&service, sandbox.keys.operator(), 0).await?;
        let (sender, mut account) = (Sender::open(sandbox).await?, Account::new(ACCOUNT, FEW));
        let (mut times, started) = (latencies()?, Instant::now());
        for _ in 0..UPDATES {
            note(&mut times, sender.apply(&mut db, &mut account).await?);
        }
        let conditions = self.conditions(1, 1, started.elapsed())?;
        self.add(
            "an update from its sender into the pool, p50",
            quantile(&times, 0.5),
            "ms",
            Target::None,
            conditions,
        )?;
        self.add("  p99", quantile(&times, 0.99), "ms", Target::None, conditions)?;
        service.stop().await?;

        self.retire(sandbox, &mut db, &sender, &mut account).await?;
        self.size(&mut db, "the database without it").await?;
        self.proved(&mut db, "proof of all balances, from the checkpoint").await?;
        let (service, _) = Service::ready(sandbox, &self.folder).await?;
        idle(&mut db, DEADLINE).await?;
        self.ask(&service, sandbox.keys.operator(), 1).await?;
        sender.close().await?;
        service.stop().await
    }

    /// Asks everything again and again; the names are those with the past, or those without.
    async fn ask(&mut self, service: &Service, key: &str, names: usize) -> Result<(), BenchError> {
        let mut connection = Connection::open(service.address).await?;
        let text = |months| cut(Clock::default().now(), months).format(&Rfc3339).unwrap_or_default();
        for (path, name) in QUESTIONS {
            let path = path.replace("FROM", &text(1)).replace("TO", &text(0));
            let (mut times, started) = (latencies()?, Instant::now());
            for _ in 0..TIMES_ASKED {
                let asked = Instant::now();
                let answer = connection.exchange(&get(&path, key)).await?;
                if answer.status != 200 {
                    return Err(BenchError::Refused(String::from_utf8_lossy(answer.body).into_owned()));
                }
                note(&mut times, asked.elapsed());
            }
            let conditions = self.conditions(1, 1, started.elapsed())?;
            self.add(name[names], quantile(&times, 0.99), "ms", Target::AtMost(QUESTION_MS), conditions)?;
        }
        Ok(())
    }

    /// How long it takes until the old months are gone, and what updates feel of it.
    async fn retire(
        &mut self,
        sandbox: &Sandbox,
        db: &mut PgConnection,
        sender: &Sender,
        account: &mut Account,
    ) -> Result<(), BenchError> {
        let months = old_months(db).await?;
        let kept = [("RETENTION_MONTHS", MONTHS_KEPT.to_string())];
        let (service, _) = Service::ready_with(sandbox, &self.folder, &kept).await?;
        let (mut times, started) = (latencies()?, Instant::now());
        while old_months(db).await? > 0 {
            note(&mut times, sender.apply(db, account).await?);
            late(started, DEADLINE, "the old months did not go")?;
        }
        let conditions = self.conditions(1, 1, started.elapsed())?;
        self.add("months that were retired", decimal(months), "", Target::None, conditions)?;
        self.add(
            "  until they were gone, with the proof",
            started.elapsed().as_secs_f64(),
            "s",
            Target::None,
            conditions,
        )?;
        self.add("  an update meanwhile, p50", quantile(&times, 0.5), "ms", Target::None, conditions)?;
        self.add("  p99", quantile(&times, 0.99), "ms", Target::None, conditions)?;
        self.add("  the longest", quantile(&times, 1.0), "ms", Target::AtMost(2_000.0), conditions)?;
        service.stop().await
    }

    async fn size(&mut self, db: &mut PgConnection, name: &'static str) -> Result<(), BenchError> {
        let megabytes: i64 =
            sqlx::query_scalar("select pg_database_size(current_database()) / 1000000").fetch_one(db).await?;
        let conditions = self.conditions(1, 1, Duration::ZERO)?;
        self.add(name, decimal(megabytes), "MB", Target::None, conditions)
    }
}

fn decimal(number: i64) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}
