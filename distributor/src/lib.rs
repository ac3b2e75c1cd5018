//! Keeps the members' pool of every account, and tells each member's profit or loss to the cent.
//!
//! Invariant: the members' cents add up to their pool's equity, and every change of it has its row.

use std::sync::Arc;

use axum::extract::FromRef;
use common::auth::KeyRing;
use common::clock::Clock;
use common::config::{ConfigError, Settings};
use common::domain::Cents;
use common::queue::Consumer;
use common::service::{Lifecycle, Part, Ready};
use common::topology::{ACCOUNT_UPDATES, Stream};
use rust_decimal::Decimal;
use sqlx::PgPool;

pub mod books;
mod consumer;
mod error;
mod http;
pub mod pool;
pub mod report;
mod retention;
mod store;
mod valuation;

/// The service, and its chain in the audit log.
const NAME: &str = "distributor";

/// What the tasks share.
struct Distributor {
    clock: Clock,
    pool: PgPool,
    database_ready: Ready,
    /// How old a report may be for a price to be taken from it, where nothing is open.
    price_fresh: time::Duration,
    /// Fires when a pool moved.
    outdated: tokio::sync::Notify,
}

/// What the handlers need.
#[derive(Clone, FromRef)]
struct Api {
    distributor: Arc<Distributor>,
    keys: KeyRing,
}

/// Starts the service's tasks. Its endpoints answer 503 until the database is there.
pub fn start(settings: &Settings, clock: &Clock, lifecycle: &Lifecycle) -> Result<Part, ConfigError> {
    let (consuming, database_ready) = (Ready::new(NAME, "consuming"), Ready::new(NAME, "database"));
    let pool = common::database::pool(&settings.database_url, NAME)?;
    common::database::tell_use(&pool, NAME, lifecycle);
    let keys = KeyRing::new(&settings.keys, clock.clone());
    let distributor = Arc::new(Distributor {
        clock: clock.clone(),
        pool: pool.clone(),
        database_ready: database_ready.clone(),
        price_fresh: settings.price_fresh,
        outdated: tokio::sync::Notify::new(),
    });
    let stream = Stream::new(&settings.amqp_prefix, ACCOUNT_UPDATES);
    let consumer = Consumer { url: settings.amqp_url.clone(), stream, ready: consuming.clone() };
    lifecycle.spawn(NAME, work(distributor.clone(), settings.retention_months, consumer, lifecycle.clone()));
    lifecycle.spawn("keys", common::database::follow_keys(pool, keys.clone(), lifecycle.stop().clone()));
    let routes = http::routes(Api { distributor, keys });
    Ok(Part { name: NAME, routes, ready: vec![consuming, database_ready] })
}

/// Cents as a metric has them.
fn money(cents: i64) -> f64 {
    f64::try_from(Cents(cents).decimal()).unwrap_or_default()
}

/// What 10^8 units, a cent's worth at a pool's start, are worth in cents.
fn unit_price(equity: i64, units: Decimal) -> Option<Decimal> {
    const PLACES: u32 = 8;
    if units.is_zero() {
        return None;
    }
    let price = Decimal::from(equity.max(0)).checked_mul(Decimal::from(crate::pool::UNITS_PER_CENT))? / units;
    Some(price.round_dp(PLACES).normalize())
}

/// Prepares the database, then consumes and values until told to stop.
async fn work(distributor: Arc<Distributor>, retention_months: u32, consumer: Consumer, lifecycle: Lifecycle) {
    let stop = lifecycle.stop().clone();
    consumer::begin();
    if !common::database::migrate(&distributor.pool, &stop).await {
        return;
    }
    // Before anything is written: what went elsewhere meanwhile would stay there for good, and no month of it goes.
    let partitions = || async { store::make_partitions(&mut *distributor.pool.acquire().await?, 0).await };
    let partitions = || common::database::in_time(partitions());
    if common::retry::until_ok("partitions of this month", &stop, partitions).await.is_none() {
        return;
    }
    lifecycle.spawn("valuation", valuation::run(distributor.clone(), stop.clone()));
    lifecycle.spawn("books", books::run(distributor.clone(), retention_months, stop.clone()));
    consumer.run(stop, |batch| consumer::apply(distributor.clone(), batch)).await;
}
