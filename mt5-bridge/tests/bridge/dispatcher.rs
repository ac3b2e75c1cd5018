//! The dispatcher's side of the wire: holds polls until a signal is offered, and notes every request down.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use axum::serve::Listener;
use tokio::sync::watch;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) uri: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Asked {
    /// Whether it is a wait that claims nothing.
    pub(crate) fn is_wait(&self) -> bool {
        self.uri.contains("limit=0&")
    }

    /// Whether it is a poll of the EA.
    pub(crate) fn is_poll(&self) -> bool {
        self.uri.starts_with("/api/signals/pending") && !self.is_wait()
    }
}

/// Where a test sees what arrived, and offers signals.
#[derive(Clone)]
pub(crate) struct Dispatcher {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    offers: watch::Sender<Option<&'static str>>,
    waits: Arc<AtomicUsize>,
}

impl Dispatcher {
    pub(crate) async fn start() -> Self {
        Self::serve(tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port"))
    }

    /// The same over any kind of connection.
    pub(crate) fn serve(listener: impl Listener<Addr = SocketAddr>) -> Self {
        let address = listener.local_addr().expect("an address");
        let dispatcher =
            Self { address, asked: Arc::default(), offers: watch::Sender::default(), waits: Arc::default() };
        let router = Router::new().fallback(answer).with_state(dispatcher.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        dispatcher
    }

    /// Everything that arrived.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }

    /// Waits under way.
    pub(crate) fn waits(&self) -> usize {
        self.waits.load(Ordering::Relaxed)
    }

    /// A signal that the next poll is handed.
    pub(crate) fn offer(&self, signal: &'static str) {
        self.offers.send_replace(Some(signal));
    }
}

/// A wait under way: until it is answered, or whoever asked hangs up.
struct Wait(Arc<AtomicUsize>);

impl Wait {
    fn begin(waits: &Arc<AtomicUsize>) -> Self {
        waits.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(waits))
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn answer(
    State(dispatcher): State<Dispatcher>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let asked = Asked { method, uri: uri.to_string(), headers, body };
    dispatcher.asked.lock().expect("no panic").push(asked.clone());
    let response = Response::builder().header("content-type", "application/json");
    if asked.is_wait() {
        let _wait = Wait::begin(&dispatcher.waits);
        let mut offers = dispatcher.offers.subscribe();
        let _ = tokio::time::timeout(Duration::from_secs(25), offers.wait_for(Option::is_some)).await;
        return response.body("[]".into()).expect("an answer");
    }
    if asked.is_poll() {
        let claimed = dispatcher.offers.send_replace(None);
        let list = claimed.map_or("[]".to_owned(), |signal| format!("[{signal}]"));
        return response.header("cache-control", "no-store").body(list.into()).expect("an answer");
    }
    if asked.uri.contains("/api/trades/confirm") {
        let refused = response.status(StatusCode::SERVICE_UNAVAILABLE).header("retry-after", "7");
        return refused.body(Body::from("{\"code\":\"database_unavailable\"}")).expect("an answer");
    }
    response.header("x-account-mode", "reducing").body("{\"status\":\"ok\"}".into()).expect("an answer")
}
