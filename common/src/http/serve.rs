//! Connections: how many there may be, how long they may take, and how they end when the process does.
//!
//! `axum::serve` has no timeouts and no bounds, so this is the same loop over the same server with both.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::serve::{Listener, ListenerExt as _};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustix::process::{Resource, getrlimit};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use super::edge::refused;
use super::pace::{Pace, Paced, Patience};
use super::sender::{Peer, counted};
use crate::config::Limits;

/// The largest head of a request, in bytes; it also has at most 100 fields. Beyond either the answer is 431.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Serves until told to stop, then until the requests under way are answered.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    // Answers are small and latency counts: no waiting for more to send.
    serve_on(listener.tap_io(|stream| drop(stream.set_nodelay(true))), router, limits, stop).await;
}

/// The same for connections of another kind.
pub async fn serve_on<L>(mut listener: L, router: Router, limits: Limits, stop: CancellationToken)
where
    L: Listener<Addr = SocketAddr>,
{
    let (places, senders) = (places(&limits), Senders::default());
    let patience = Patience { head: limits.head_timeout, idle: limits.idle_timeout };
    let connections = TaskTracker::new();
    loop {
        // Where all places are taken the next sender waits in the kernel's queue.
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        let (place, (io, peer)) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accepted => accepted,
        };
        let peer = peer.ip();
        // A proxy has one address for many senders.
        let bound = if limits.trusted_proxies.contains(peer) { 0 } else { limits.connections_per_address };
        let Some(seat) = senders.enter(peer, bound) else {
            refused("address_connections");
            continue;
        };
        let held = Held { _place: place, _seat: seat, places: Arc::clone(&places) };
        connections.spawn(converse(io, peer, router.clone(), patience, held, stop.child_token()));
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// One place for each connection; a quarter of what the process may open stays for files, database and broker.
fn places(limits: &Limits) -> Arc<Semaphore> {
    let descriptors = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
    let possible = descriptors.map_or(Semaphore::MAX_PERMITS, |limit| limit - limit / 4);
    let wanted = if limits.connections == 0 { possible } else { limits.connections };
    Arc::new(Semaphore::new(wanted.min(possible).clamp(1, Semaphore::MAX_PERMITS)))
}

/// What a connection takes up until it ends.
struct Held {
    _place: Option<OwnedSemaphorePermit>,
    _seat: Seat,
    places: Arc<Semaphore>,
}

impl Held {
    /// Where others wait for a place, nobody keeps one without asking for something.
    fn patience(&self, patience: Patience) -> Patience {
        let crowded = self.places.available_permits() == 0;
        Patience { idle: if crowded { patience.head.min(patience.idle) } else { patience.idle }, ..patience }
    }
}

/// Serves one connection to its end.
async fn converse<Io>(io: Io, peer: IpAddr, router: Router, patience: Patience, held: Held, stop: CancellationToken)
where
    Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let pace = Pace::new();
    let service = service_fn(|request: hyper::Request<Incoming>| {
        pace.answering();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        let (answer, pace) = (router.clone().call(request), pace.clone());
        async move {
            let answer = answer.await;
            pace.answered();
            Ok::<_, Infallible>(answer.unwrap_or_else(|never| match never {}))
        }
    });
    let io = TokioIo::new(Paced { io, pace: pace.clone() });
    let connection = http1::Builder::new().max_header_size(HEAD_BYTES_MAX).serve_connection(io, service);
    let (mut connection, mut stopping) = (pin!(connection), false);
    while let Some(look) = pace.look(Instant::now(), held.patience(patience)) {
        tokio::select! {
            biased;
            // An error is the sender's: it hung up, or what it sent is not HTTP.
            _ = connection.as_mut() => return,
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            () = sleep_until(look) => {}
        }
    }
    if pace.in_head() {
        refused("slow");
    }
}

/// How many connections each address has.
#[derive(Clone, Default)]
struct Senders(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A connection's place in the count of its address, and in that of all.
struct Seat {
    senders: Senders,
    address: IpAddr,
}

impl Senders {
    /// None where the address has as many as it may; a bound of 0 is none.
    fn enter(&self, peer: IpAddr, bound: usize) -> Option<Seat> {
        let address = counted(peer);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if bound > 0 && *count >= bound {
            return None;
        }
        *count += 1;
        metrics::gauge!("pipeline_http_connections").increment(1.0);
        Some(Seat { senders: self.clone(), address })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        metrics::gauge!("pipeline_http_connections").decrement(1.0);
        let mut counts = self.senders.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_at_its_bound_leaves_the_others_theirs() {
        let (senders, loud, quiet) = (Senders::default(), [192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let first = senders.enter(loud, 2).unwrap();
        let second = senders.enter(loud, 2).unwrap();
        assert!(senders.enter(loud, 2).is_none());
        assert!(senders.enter(loud, 0).is_some(), "no bound");
        assert!(senders.enter(quiet, 2).is_some());
        drop(first);
        let third = senders.enter(loud, 2).unwrap();
        drop((second, third));
        assert!(senders.0.lock().unwrap().is_empty(), "nothing is kept of who left");
    }
}
