//! Stores signals from the queue, hands them to the account's terminal, and takes its confirmations and figures.
//!
//! Invariant: a signal is handed out at most once per attempt, and an unknown outcome is looked up, never repeated.

use std::sync::Arc;

use axum::extract::FromRef;
use common::auth::KeyRing;
use common::clock::Clock;
use common::config::{ConfigError, Settings};
use common::queue::{Consumer, Publisher};
use common::service::{Lifecycle, Part, Ready};
use common::topology::{ACCOUNT_UPDATES, SIGNALS, Stream};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

mod confirmation;
mod consumer;
pub mod control;
mod error;
#[cfg(fuzzing)]
pub mod fuzz;
mod gauges;
mod http;
mod keys;
pub mod life;
pub mod restored;
mod retention;
mod store;
mod story;
mod sweep;
mod wake;

/// The service, and its chain in the audit log.
const NAME: &str = "dispatcher";

/// What the tasks share.
struct Dispatcher {
    clock: Clock,
    pool: PgPool,
    database_url: String,
    database_ready: Ready,
    wake: wake::Wake,
    publisher: Publisher,
    /// Whether accounts are sent heartbeats.
    heartbeats: bool,
    /// When each installation's last poll was written down.
    polls: http::Polls,
    stop: CancellationToken,
}

/// What the handlers need.
#[derive(Clone, FromRef)]
struct Api {
    dispatcher: Arc<Dispatcher>,
    keys: KeyRing,
}

/// Starts the service's tasks. Its endpoints answer 503 until the database is there.
pub fn start(settings: &Settings, clock: &Clock, lifecycle: &Lifecycle) -> Result<Part, ConfigError> {
    let stream = |name| Stream::new(&settings.amqp_prefix, name);
    let ready = |need| Ready::new(NAME, need);
    let (publishing, consuming, database_ready) = (ready("publishing"), ready("consuming"), ready("database"));
    let keys = KeyRing::new(&settings.keys, clock.clone());
    let pool = common::database::pool(&settings.database_url, NAME)?;
    common::database::tell_use(&pool, NAME, lifecycle);
    let publisher = Publisher::start(settings.amqp_url.clone(), stream(ACCOUNT_UPDATES), publishing.clone(), lifecycle);
    let dispatcher = Arc::new(Dispatcher {
        clock: clock.clone(),
        pool: pool.clone(),
        database_url: settings.database_url.clone(),
        database_ready: database_ready.clone(),
        wake: wake::Wake::default(),
        publisher,
        heartbeats: !settings.heartbeat.is_zero(),
        polls: http::Polls::default(),
        stop: lifecycle.stop().clone(),
    });
    let consumer = Consumer { url: settings.amqp_url.clone(), stream: stream(SIGNALS), ready: consuming.clone() };
    lifecycle.spawn(NAME, work(dispatcher.clone(), settings.clone(), consumer, lifecycle.clone()));
    lifecycle.spawn("keys", common::database::follow_keys(pool, keys.clone(), lifecycle.stop().clone()));
    let routes = http::routes(Api { dispatcher, keys });
    Ok(Part { name: NAME, routes, ready: vec![publishing, consuming, database_ready] })
}

impl Dispatcher {
    /// Draws numbers above all that are taken from now on. By itself: nobody else stores meanwhile.
    async fn raise_numbers(&self) -> Result<(), sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        store::intake::raise_sequence(&mut transaction, self.clock.now(), 0).await?;
        transaction.commit().await
    }
}

/// Prepares the database, then consumes, sweeps and listens until told to stop.
async fn work(dispatcher: Arc<Dispatcher>, settings: Settings, consumer: Consumer, lifecycle: Lifecycle) {
    let stop = lifecycle.stop().clone();
    gauges::begin();
    if !common::database::migrate(&dispatcher.pool, &stop).await {
        return;
    }
    let prepare = || async {
        dispatcher.raise_numbers().await?;
        let mut transaction = dispatcher.pool.begin().await?;
        store::keys::register(&mut transaction, &settings.keys, dispatcher.clock.now()).await?;
        // Before anything is written: what went elsewhere meanwhile would stay there for good, and no month of it goes.
        store::sweep::make_partitions(&mut transaction, 0).await?;
        transaction.commit().await
    };
    let prepare = || Box::pin(common::database::in_time(prepare()));
    if common::retry::until_ok("database preparation", &stop, prepare).await.is_none() {
        return;
    }
    dispatcher.database_ready.set(true);
    if settings.retention_months > 0 {
        let months = settings.retention_months;
        lifecycle.spawn("retention", retention::run(dispatcher.clone(), months, stop.clone()));
    }
    lifecycle.spawn("sweep", sweep::run(dispatcher.clone(), stop.clone()));
    lifecycle.spawn("old heartbeats", sweep::forget(dispatcher.clone(), stop.clone()));
    lifecycle.spawn("listener", sweep::listen(dispatcher.clone(), stop.clone()));
    consumer.run(stop, |batch| consumer::store(dispatcher.clone(), batch)).await;
}
