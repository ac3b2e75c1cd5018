//! A platform that has worked for months: its clock begins in the past and comes to the present.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use common::clock::Clock;
use sqlx::AssertSqlSafe;
use stack::sandbox::Sandbox;
use time::{Duration, OffsetDateTime};

use crate::support::{Whole, servers};

/// The first moment of the month that was so many months ago.
pub fn month(ago: u32) -> OffsetDateTime {
    common::retention::cut(Clock::default().now(), ago)
}

/// Tables in months.
const TABLES: [&str; 4] = ["pool_history", "pool_valuations", "account_state", "signal_events"];

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
        }
        sandbox.clock.advance(month(3) + Duration::days(9) - sandbox.clock.now());
        let platform = sandbox.start().await.expect("a platform");
        let operator = sandbox.operator(&platform).expect("a client");
        Self { sandbox, platform, operator }
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
