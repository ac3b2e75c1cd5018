//! What one sender may take of the API, so that none starves the others.
//!
//! Invariant: a refusal touches nothing behind it: it is decided before the key is looked at, or right after.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::request::Parts;

use super::rate::RateLimiter;
use super::sender::{Peer, counted, sender};
use crate::auth::Identity;
use crate::clock::Clock;
use crate::config::Limits;
use crate::error::Problem;

/// A burst is as much as an address may send in so many seconds.
const ADDRESS_BURST_SECONDS: u32 = 4;
/// The same for a key.
const KEY_BURST_SECONDS: u32 = 5;

/// The limits of one API and who has used how much. A clone shares them.
#[derive(Clone, Debug)]
pub struct Edge(Arc<State>);

#[derive(Debug)]
struct State {
    limits: Limits,
    clock: Clock,
    addresses: Option<RateLimiter>,
    keys: Option<RateLimiter>,
}

impl Edge {
    /// With nothing used yet.
    pub fn new(limits: &Limits, clock: &Clock) -> Self {
        // Counters begin at zero: of one that is not there before its first event no increase is seen.
        crate::telemetry::metrics();
        for reason in ["address_rate", "key_rate", "address_connections", "slow"] {
            metrics::counter!("pipeline_http_refused_total", "reason" => reason).increment(0);
        }
        Self(Arc::new(State {
            limits: limits.clone(),
            clock: clock.clone(),
            addresses: RateLimiter::new(limits.rate_per_address, ADDRESS_BURST_SECONDS),
            keys: RateLimiter::new(limits.rate_per_key, KEY_BURST_SECONDS),
        }))
    }

    /// What it was made with.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// How long a body may take.
    pub(super) fn body_timeout(&self) -> Duration {
        self.0.limits.body_timeout
    }

    /// Counts a request for its sender's address, before anybody looks at its key: guessing keys is bounded like all
    /// else, and needs no bound of its own, for a key has 256 random bits.
    ///
    /// Health is not counted. Answering it costs no more than a refusal, and a supervisor that shares an address with
    /// a noisy sender must not take the service for dead.
    pub(super) fn admit_address(&self, request: &Request) -> Result<(), Problem> {
        let (Some(rates), Some(Peer(peer))) = (&self.0.addresses, request.extensions().get()) else { return Ok(()) };
        if matches!(request.uri().path(), "/livez" | "/readyz" | "/health") {
            return Ok(());
        }
        let address: IpAddr = counted(sender(*peer, request.headers(), &self.0.limits.trusted_proxies));
        rates.admit(&address, self.0.clock.now()).map_err(|seconds| {
            refused("address_rate");
            too_many("address_rate_exceeded", "address", self.0.limits.rate_per_address, seconds)
        })
    }
}

/// Counts a request for its key, once that is known to be right.
pub(super) fn admit_key(parts: &Parts, identity: &Identity) -> Result<(), Problem> {
    let Some(Edge(state)) = parts.extensions.get() else { return Ok(()) };
    let Some(rates) = &state.keys else { return Ok(()) };
    rates.admit(&identity.key_id, state.clock.now()).map_err(|seconds| {
        refused("key_rate");
        too_many("key_rate_exceeded", "key", state.limits.rate_per_key, seconds)
    })
}

fn too_many(code: &'static str, whose: &str, rate: u32, seconds: u32) -> Problem {
    let detail = format!(
        "more requests than the {rate} a second that one {whose} may make, and nothing of this one was done; try \
         again in {seconds} s"
    );
    Problem::new(StatusCode::TOO_MANY_REQUESTS, code, detail).retry_after(seconds)
}

/// Counts what was turned away before a service saw it.
pub(super) fn refused(reason: &'static str) {
    metrics::counter!("pipeline_http_refused_total", "reason" => reason).increment(1);
}
