//! A platform that has worked for months: its clock begins in the past and comes to the present.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use common::clock::Clock;
use sqlx::{AssertSqlSafe, PgConnection};
use stack::sandbox::Sandbox;
use time::{Duration, OffsetDateTime};

use crate::support::{Whole, eventually, servers};

/// The first moment of the month that was so many months ago.
pub fn month(ago: u32) -> OffsetDateTime {
    common::retention::cut(Clock::default().now(), ago)
}

/// Tables in months.
const TABLES: [&str; 4] = ["pool_history", "pool_valuations", "account_state", "signal_events"];

/// The last one of the months that a service makes ahead.
async fn last_month(db: &mut PgConnection, table: &str) -> Option<String> {
    let last = "select month from month_partitions($1) where ends_at > now() + interval '3 months'";
    sqlx::query_scalar(last).bind(table).fetch_optional(db).await.unwrap()
}

impl Whole {
    /// With the tables' partitions of the last three months, at the tenth day of the first of them.
    pub async fn start_in_the_past() -> Self {
        let (database_url, amqp_url) = servers();
        let sandbox = Sandbox::create(&database_url, &amqp_url, &["second".to_owned()]).await.expect("a sandbox");
        let mut db = sandbox.database().await.unwrap();
        common::MIGRATOR.run(&mut db).await.expect("the schema");
        for table in TABLES {
            for ago in 1..=3 {
                let (from, to) = (month(ago), month(ago - 1));
                let name = format!("{table}_{}_{:02}", from.year(), u8::from(from.month()));
                let partition =
                    format!("create table {name} partition of {table} for values from ('{from}') to ('{to}')");
                sqlx::query(AssertSqlSafe(partition)).execute(&mut db).await.unwrap();
            }
            let last = last_month(&mut db, table).await.expect("made with the schema");
            sqlx::query(AssertSqlSafe(format!("drop table {last}"))).execute(&mut db).await.unwrap();
        }
        sandbox.clock.advance(month(3) + Duration::days(9) - sandbox.clock.now());
        let platform = sandbox.start().await.expect("a platform");
        let operator = sandbox.operator(&platform).expect("a client");
        Self { sandbox, platform, operator }
    }

    /// Takes these months, in which nothing was written yet, off the tables.
    pub async fn without_the_months(&self, months: &[OffsetDateTime]) {
        let mut db = self.sandbox.database().await.unwrap();
        // A service makes the months to come soon after its start, and then not for an hour.
        eventually("the months are made", || async {
            let mut made = Vec::new();
            for table in TABLES {
                made.extend(last_month(&mut self.sandbox.database().await.unwrap(), table).await);
            }
            (made.len() == TABLES.len()).then_some(())
        })
        .await;
        for (table, month) in TABLES.iter().flat_map(|table| months.iter().map(move |month| (table, month))) {
            let drop = format!("drop table {table}_{}_{:02}", month.year(), u8::from(month.month()));
            sqlx::query(AssertSqlSafe(drop)).execute(&mut db).await.unwrap();
        }
    }

    /// Waits, as it were, until this time.
    pub fn wait_until(&self, at: OffsetDateTime) {
        self.sandbox.clock.advance(at - self.sandbox.clock.now());
    }

    /// Another platform in the place of this one, which keeps so many months.
    pub async fn restarted(self, retention_months: u32) -> Self {
        let Self { mut sandbox, platform, .. } = self;
        assert!(platform.stop().await);
        sandbox.settings.retention_months = retention_months;
        let platform = sandbox.start().await.expect("a platform");
        let operator = sandbox.operator(&platform).expect("a client");
        Self { sandbox, platform, operator }
    }
}
