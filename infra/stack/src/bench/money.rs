//! What the members' money costs: an account update and a member's figures must not cost more with a million members
//! than with ten.
//!
//! Invariant: every update that was sent was applied, and the books prove every balance afterwards, or the run fails.

use std::time::{Duration, Instant};

use common::domain::AccountName;
use common::message::{AccountUpdated, Body as _, Envelope};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, PublisherConfirm};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::http::{self, get};
use super::report::{Report, Target, latencies, note, quantile, rate};
use super::service::Service;
use super::{Bench, BenchError};
use crate::sandbox::Sandbox;

/// Members of the accounts that are compared.
pub(super) const FEW: u32 = 10;
const SOME: u32 = 10_000;
const MANY: u32 = 1_000_000;
/// Updates of each account in a comparison; they alternate, so that both meet the same machine.
const SAMPLES: usize = 300;
/// Questions for one member's figures.
const QUESTIONS: u32 = 3_000;
/// Updates of a backlog.
const UPDATES: u32 = 50_000;
/// Accounts of the second backlog.
const ACCOUNTS: u32 = 1_000;
/// Updates on their way to a confirm.
const IN_FLIGHT: usize = 256;
/// Nothing may take longer.
const DEADLINE: Duration = Duration::from_mins(3);
/// How long no statement of the distributor may run until it counts as idle.
const QUIET: Duration = Duration::from_millis(1_500);

/// An account in the database of the bench, and the level of profit last sent.
pub(super) struct Account {
    name: String,
    members: u32,
    profit: i64,
}

impl Account {
    pub(super) fn new(name: &str, members: u32) -> Self {
        Self { name: name.to_owned(), members, profit: 0 }
    }

    fn update(&mut self) -> Result<Vec<u8>, BenchError> {
        // Up and down by odd amounts, so that every update moves the pool and cents never divide.
        self.profit = if self.profit > 0 { -self.profit - 7 } else { 1_013 - self.profit };
        let bad = |error: common::domain::Invalid| BenchError::Lost(format!("the bench's own account: {error}"));
        let now = now();
        let equity = Decimal::from(1_000_000_000_i64) + Decimal::new(self.profit, 2);
        let update = AccountUpdated {
            account: AccountName::try_from(self.name.clone()).map_err(bad)?,
            received_at: now,
            terminal: None,
            balance: equity,
            equity,
            margin: Decimal::ZERO,
            free_margin: equity,
            profit: Decimal::new(self.profit, 2),
            login: None,
            currency: None,
            credit: None,
            net_deposits: None,
            session: None,
            seq: None,
            age_ms: None,
            open_positions: None,
            connected: None,
            trade_allowed: None,
            tick_age_ms: None,
        };
        Ok(serde_json::to_vec(&Envelope {
            message_id: Uuid::now_v7(),
            kind: AccountUpdated::TYPE.to_owned(),
            occurred_at: now,
            request_id: "bench".to_owned(),
            traceparent: None,
            body: update,
        })?)
    }
}

/// Publishes updates on one channel, so that they arrive in order.
pub(super) struct Sender {
    connection: Connection,
    channel: Channel,
    name: String,
}

impl Sender {
    pub(super) async fn open(sandbox: &Sandbox) -> Result<Self, BenchError> {
        let connection = Connection::connect(&sandbox.settings.amqp_url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let stream = sandbox.account_updates();
        stream.declare(&channel).await?;
        Ok(Self { connection, channel, name: stream.name })
    }

    async fn publish(&self, payload: &[u8]) -> Result<PublisherConfirm, BenchError> {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let name = self.name.as_str();
        let properties = BasicProperties::default().with_delivery_mode(2);
        Ok(self.channel.basic_publish(name.into(), name.into(), options, payload, properties).await?)
    }

    /// Sends many in this order; returns when the broker has them.
    async fn fill(&self, accounts: &mut [Account], updates: u32) -> Result<(), BenchError> {
        let count = accounts.len();
        let mut confirms = FuturesUnordered::new();
        for number in 0..usize::try_from(updates).unwrap_or(usize::MAX) {
            confirms.push(self.publish(&accounts[number % count].update()?).await?);
            if confirms.len() >= IN_FLIGHT {
                confirms.next().await.transpose()?;
            }
        }
        while confirms.next().await.transpose()?.is_some() {}
        Ok(())
    }

    /// Sends one; how long until the pool has it.
    pub(super) async fn apply(&self, db: &mut PgConnection, account: &mut Account) -> Result<Duration, BenchError> {
        let payload = account.update()?;
        let started = Instant::now();
        self.publish(&payload).await?.await?;
        while level(db, &account.name).await? != account.profit {
            late(started, DEADLINE, "an update was not applied")?;
        }
        Ok(started.elapsed())
    }

    pub(super) async fn close(self) -> Result<(), BenchError> {
        Ok(self.connection.close(200, "bye".into()).await?)
    }
}

fn now() -> OffsetDateTime {
    common::clock::Clock::default().now()
}

pub(super) fn late(started: Instant, deadline: Duration, what: &str) -> Result<(), BenchError> {
    if started.elapsed() > deadline { Err(BenchError::Lost(what.to_owned())) } else { Ok(()) }
}

async fn level(db: &mut PgConnection, account: &str) -> Result<i64, BenchError> {
    Ok(sqlx::query_scalar("select profit from pools where account = $1").bind(account).fetch_one(db).await?)
}

/// Whether a pool's members are valued at its last version.
async fn is_valued(db: &mut PgConnection, account: &str) -> Result<bool, BenchError> {
    let statement = "select valued_version = version from pools where account = $1";
    Ok(sqlx::query_scalar(statement).bind(account).fetch_one(db).await?)
}

/// Whether the distributor values an account of a million members just now.
async fn is_valuing(db: &mut PgConnection) -> Result<bool, BenchError> {
    let statement = "select exists (select from pg_stat_activity where datname = current_database() and state = 'active'
         and application_name = 'distributor' and query like '%parts as materialized%' and query_start < now() - interval '50 ms')";
    Ok(sqlx::query_scalar(statement).fetch_one(db).await?)
}

/// Waits until the distributor has nothing to do: its check of the books at the start is over, all pools are valued.
pub(super) async fn idle(db: &mut PgConnection, deadline: Duration) -> Result<(), BenchError> {
    let (started, mut quiet_since) = (Instant::now(), Instant::now());
    let statement = "select exists (select from pg_stat_activity where datname = current_database()
         and application_name = 'distributor' and state <> 'idle') or exists (select from pools where valued_version < version)";
    while quiet_since.elapsed() < QUIET {
        if sqlx::query_scalar(statement).fetch_one(&mut *db).await? {
            quiet_since = Instant::now();
        }
        late(started, deadline, "the distributor did not come to rest")?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Members with a deposit each at this time, in books as the distributor would have written them.
pub(super) async fn seed(db: &mut PgConnection, account: &Account, at: OffsetDateTime) -> Result<(), BenchError> {
    sqlx::query("select set_config('bench.at', $1::timestamptz::text, false)").bind(at).execute(&mut *db).await?;
    let statements = [
        "create temp table seeded as
         select i, gen_random_uuid() as movement_id, $1 || '-' || lpad(i::text, 7, '0') as user_id,
                10000 + i % 977 as amount, sum(10000 + i % 977) over (order by i) as total
         from generate_series(1, $2) as i",
        "insert into members (user_id, created_at) select user_id, current_setting('bench.at')::timestamptz from seeded",
        "insert into capital_movements (movement_id, account, user_id, kind, amount, recorded_at, principal, request_id)
         select movement_id, $1, user_id, 'deposit', amount, current_setting('bench.at')::timestamptz, 'owner', 'bench' from seeded where $2 > 0",
        "insert into pool_history (account, version, at, kind, movement_id, user_id, amount, units_delta, investment_delta,
                                   paid_in, equity, units, profit)
         select $1, i, current_setting('bench.at')::timestamptz, 'deposit', movement_id, user_id, amount, amount * 100000000::numeric, amount, total, total,
                total * 100000000::numeric, 0 from seeded where $2 > 0",
        "insert into pools (account, equity, units, version, changed_at, members, deposited, investment)
         select $1, max(total), max(total) * 100000000::numeric, $2, current_setting('bench.at')::timestamptz, $2, max(total), max(total) from seeded",
        "insert into holdings (account, user_id, units, deposited, investment, value, as_of, changed_version)
         select $1, user_id, amount * 100000000::numeric, amount, amount, amount, current_setting('bench.at')::timestamptz, i from seeded where $2 > 0",
    ];
    for statement in statements {
        sqlx::query(statement).bind(&account.name).bind(i64::from(account.members)).execute(&mut *db).await?;
    }
    let chained = "do $$
        declare
            entry record;
            last bytea := coalesce((select hash from audit_log where service = 'distributor' order by seq desc limit 1), '');
            place bigint := coalesce((select max(seq) from audit_log where service = 'distributor'), 0);
        begin
            for entry in
                select json_build_object('principal', 'owner', 'request_id', 'bench', 'event', 'movement.recorded',
                    'details', json_build_object('movement_id', m.movement_id, 'account', m.account, 'user_id', m.user_id,
                        'kind', m.kind, 'amount', m.amount))::text as body
                from seeded s join capital_movements m using (movement_id) order by s.i
            loop
                place := place + 1;
                last := sha256(last || convert_to(entry.body, 'UTF8'));
                insert into audit_log values ('distributor', place, entry.body, last);
            end loop;
        end $$";
    for statement in [chained, "drop table seeded"] {
        sqlx::query(statement).execute(&mut *db).await?;
    }
    Ok(())
}

impl Bench {
    /// All figures of the money.
    pub(super) async fn money(&mut self) -> Result<(), BenchError> {
        Report::begin()?;
        self.in_sandbox(&[], Self::members).await?;
        self.in_sandbox(&[], async |bench: &mut Self, sandbox: &Sandbox| bench.rate(sandbox, 1).await).await?;
        self.in_sandbox(&[], async |bench: &mut Self, sandbox: &Sandbox| bench.rate(sandbox, ACCOUNTS).await).await
    }

    /// Ten members beside a million.
    async fn members(&mut self, sandbox: &Sandbox) -> Result<(), BenchError> {
        // One start before, so that the schema is there.
        Service::ready(sandbox, &self.folder).await?.0.stop().await?;
        let mut db = sandbox.database().await?;
        let (mut few, mut some, mut many) =
            (Account::new("few", FEW), Account::new("some", SOME), Account::new("many", MANY));
        for account in [&few, &some, &many] {
            seed(&mut db, account, now()).await?;
        }
        sqlx::query("vacuum analyze").execute(&mut db).await?;
        let (service, _) = Service::ready(sandbox, &self.folder).await?;
        let sender = Sender::open(sandbox).await?;
        sender.apply(&mut db, &mut few).await?;
        idle(&mut db, DEADLINE).await?;
        for (account, name, target) in [
            (&mut some, "valuation pass, 10,000 members", 80.0),
            (&mut many, "valuation pass, 1,000,000 members", 8_000.0),
        ] {
            sender.apply(&mut db, account).await?;
            let applied = Instant::now();
            while !is_valued(&mut db, &account.name).await? {
                late(applied, DEADLINE, "a pool was not valued")?;
            }
            let took = applied.elapsed();
            let conditions = self.conditions(1, 1, took)?;
            self.add(name, took.as_secs_f64() * 1_000.0, "ms", Target::AtMost(target), conditions)?;
        }
        // The pass of a million has just ended: the next one comes after nine times as long.
        let idle_ratio = self.compare(&sender, &mut db, (&mut few, &mut many), false).await?;
        let started = Instant::now();
        while !is_valuing(&mut db).await? {
            late(started, DEADLINE, "a pool was not valued again")?;
        }
        let busy_ratio = self.compare(&sender, &mut db, (&mut few, &mut many), true).await?;
        self.report.extra("ratio_update_1m_vs_10", idle_ratio);
        self.report.extra("ratio_update_1m_vs_10_during_pass", busy_ratio);
        idle(&mut db, DEADLINE).await?;
        self.questions(&service, sandbox.keys.operator()).await?;
        self.proved(&mut db, "proof of all balances, 1,010,010 members").await?;
        let memory = service.resident_megabytes()?;
        let conditions = self.conditions(1, 1, Duration::ZERO)?;
        self.add("resident, 1,000,000 members", memory, "MB", Target::AtMost(150.0), conditions)?;
        sender.close().await?;
        service.stop().await
    }

    /// How much longer an update of the second account takes than one of the first; both alternate.
    async fn compare(
        &mut self,
        sender: &Sender,
        db: &mut PgConnection,
        (few, many): (&mut Account, &mut Account),
        valuing: bool,
    ) -> Result<f64, BenchError> {
        let (mut first, mut second) = (latencies()?, latencies()?);
        let started = Instant::now();
        while second.len() < u64::try_from(SAMPLES).unwrap_or(u64::MAX) && is_valuing(db).await? == valuing {
            // Either goes first as often as the other.
            if second.len().is_multiple_of(2) {
                note(&mut first, sender.apply(db, few).await?);
                note(&mut second, sender.apply(db, many).await?);
            } else {
                note(&mut second, sender.apply(db, many).await?);
                note(&mut first, sender.apply(db, few).await?);
            }
        }
        if second.len() < 30 {
            return Err(BenchError::Lost(format!("only {} updates met the wanted state of the pass", second.len())));
        }
        let conditions = self.conditions(1, 1, started.elapsed())?;
        let (few, many) = (quantile(&first, 0.5), quantile(&second, 0.5));
        let (names, most) = if valuing {
            (["update to pool during a pass, 10 members, p50", "  the same, 1,000,000 members, p50", "  ratio"], 1.5)
        } else {
            (["update to pool, 10 members, p50", "  the same, 1,000,000 members, p50", "  ratio"], 1.2)
        };
        self.add(names[0], few, "ms", Target::None, conditions)?;
        self.add(names[1], many, "ms", Target::None, conditions)?;
        self.add(names[2], many / few, "", Target::AtMost(most), conditions)?;
        Ok(many / few)
    }

    /// How long a member's own figures take.
    async fn questions(&mut self, service: &Service, key: &str) -> Result<(), BenchError> {
        let mut connection = http::Connection::open(service.address).await?;
        let mut times = latencies()?;
        let started = Instant::now();
        for number in 0..QUESTIONS {
            // A walk over all members that visits none twice.
            let member = (u64::from(number) * 7_919_993) % u64::from(MANY) + 1;
            let asked = Instant::now();
            let answer = connection.exchange(&get(&format!("/api/users/many-{member:07}/stats"), key)).await?;
            if answer.status != 200 {
                return Err(BenchError::Refused(String::from_utf8_lossy(answer.body).into_owned()));
            }
            note(&mut times, asked.elapsed());
        }
        let conditions = self.conditions(1, 1, started.elapsed())?;
        self.add("a member's stats, 1,000,000 members, p50", quantile(&times, 0.5), "ms", Target::None, conditions)?;
        self.add(
            "a member's stats, 1,000,000 members, p99",
            quantile(&times, 0.99),
            "ms",
            Target::AtMost(5.0),
            conditions,
        )
    }

    /// Proves the books.
    pub(super) async fn proved(&mut self, db: &mut PgConnection, name: &'static str) -> Result<(), BenchError> {
        let started = Instant::now();
        let verdict = distributor::books::verify(db, &[]).await?;
        if let Some(check) = verdict.checks.iter().find(|check| check.difference.is_some()) {
            return Err(BenchError::Lost(format!("the books: {}: {:?}", check.name, check.difference)));
        }
        let took = started.elapsed();
        let conditions = self.conditions(1, 1, took)?;
        self.add(name, took.as_secs_f64(), "s", Target::None, conditions)
    }

    /// Updates that wait in the queue, until all of them are applied.
    async fn rate(&mut self, sandbox: &Sandbox, accounts: u32) -> Result<(), BenchError> {
        // One start before, so that the schema is there.
        Service::ready(sandbox, &self.folder).await?.0.stop().await?;
        let mut db = sandbox.database().await?;
        let mut accounts: Vec<Account> =
            (0..accounts).map(|number| Account::new(&format!("account-{number}"), FEW)).collect();
        for account in &accounts {
            seed(&mut db, account, now()).await?;
        }
        sqlx::query("vacuum analyze").execute(&mut db).await?;
        let sender = Sender::open(sandbox).await?;
        sender.fill(&mut accounts, UPDATES).await?;
        sender.close().await?;
        let service = Service::start(sandbox, &self.folder)?;
        let statement = "select count(*) from account_state";
        while super::accept::counted(&mut db, statement).await? < u64::from(UPDATES) {
            late(service.started, DEADLINE, "not all updates were applied")?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let lasted = service.started.elapsed();
        for account in &accounts {
            if level(&mut db, &account.name).await? != account.profit {
                return Err(BenchError::Lost(format!("the last update of {} does not count", account.name)));
            }
        }
        let conditions = self.conditions(1, usize::try_from(UPDATES).unwrap_or(usize::MAX), lasted)?;
        let (name, least) = if accounts.len() == 1 {
            ("updates of one account applied, with the start", 2_000.0)
        } else {
            ("updates of 1,000 accounts applied, with the start", 5_000.0)
        };
        self.add(name, rate(u64::from(UPDATES), lasted), "/s", Target::AtLeast(least), conditions)?;
        idle(&mut db, DEADLINE).await?;
        self.proved(&mut db, "  proof of all balances").await?;
        service.stop().await
    }
}
