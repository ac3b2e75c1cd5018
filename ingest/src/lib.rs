//! Takes signals over HTTP, checks them, publishes them with one confirm, and answers.
//!
//! Invariant: an answer of 200 means that the broker has the signal on disk. Holds no state that matters:
//! it goes on while PostgreSQL is down.

use axum::extract::FromRef;
use common::auth::KeyRing;
use common::clock::Clock;
use common::config::Settings;
use common::queue::Publisher;
use common::service::{Lifecycle, Part, Ready};
use common::topology::{SIGNALS, Stream};

mod error;
#[cfg(fuzzing)]
pub mod fuzz;
mod http;
mod recent;
mod request;

/// What the handlers need.
#[derive(Clone, FromRef)]
struct Ingest {
    clock: Clock,
    keys: KeyRing,
    publisher: Publisher,
    recent: recent::RecentKeys,
}

/// Starts the service's tasks. Its endpoints answer 503 until the broker is reachable.
pub fn start(settings: &Settings, clock: &Clock, lifecycle: &Lifecycle) -> Result<Part, common::config::ConfigError> {
    let ready = Ready::new("ingest", "publishing");
    let stream = Stream::new(&settings.amqp_prefix, SIGNALS);
    let publisher = Publisher::start(settings.amqp_url.clone(), stream, ready.clone(), lifecycle);
    let keys = KeyRing::new(&settings.keys, clock.clone());
    let pool = common::database::pool(&settings.database_url, "ingest")?;
    common::database::tell_use(&pool, "ingest", lifecycle);
    // A counter begins at zero: of one that is not there before its first event no increase is seen.
    metrics::counter!("pipeline_signals_accepted_total").increment(0);
    lifecycle.spawn("keys", common::database::follow_keys(pool, keys.clone(), lifecycle.stop().clone()));
    let state = Ingest { clock: clock.clone(), keys, publisher, recent: recent::RecentKeys::default() };
    Ok(Part { name: "ingest", routes: http::routes(state), ready: vec![ready] })
}
