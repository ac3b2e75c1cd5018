//! Passes the EA's requests to the dispatcher, with the terminal's key, and the answers back, unchanged.
//!
//! Invariant: it stores, decides and remembers nothing about a trade. The one thing it answers itself is a poll, with
//! an empty list, and only while a wait at the dispatcher (`limit=0`, which claims nothing) is under way that would
//! have ended if there were something to hand out; and never for longer than [`PASS_INTERVAL`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::retry::Pauses;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::seen::Seen;

/// Where the EA asks for signals.
pub(crate) const PENDING: &str = "/api/signals/pending";
/// Where it reports the account.
pub(crate) const UPDATE: &str = "/api/account/update";
/// Everything the EA may ask.
pub(crate) const PATHS: [&str; 4] = [PENDING, "/api/signals/unresolved", "/api/trades/confirm", UPDATE];

/// A poll is passed on at least this often, so that the dispatcher sees the terminal and nothing depends on the wait.
const PASS_INTERVAL: Duration = Duration::from_secs(1);
/// A wait ends when the EA has been silent for longer: it must not make a dead terminal look alive.
const SILENCE: Duration = Duration::from_secs(5);
/// How long the dispatcher holds a wait; the longest it allows.
const WAIT: Duration = Duration::from_secs(25);
/// How long the dispatcher may take beyond what it was asked to wait.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The longest answer: a hundred signals with long comments are far below.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Headers of one connection, which are not passed on, and those that are made anew.
const OF_ONE_CONNECTION: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::TRANSFER_ENCODING,
    header::CONTENT_LENGTH,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::HOST,
    header::EXPECT,
];

/// Connections to the outside, kept warm; plain or encrypted.
pub(crate) type Connections = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Connections that trust the system's root certificates.
pub(crate) fn connections() -> std::io::Result<Connections> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_keepalive(Some(Duration::from_secs(15)));
    let connector =
        HttpsConnectorBuilder::new().with_native_roots()?.https_or_http().enable_http1().wrap_connector(connector);
    Ok(Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector))
}

/// The way to the dispatcher.
pub(crate) struct Relay {
    connections: Connections,
    base: Uri,
    key: HeaderValue,
    seen: Arc<Seen>,
    /// The installation for which a wait is under way.
    waiting: Mutex<Option<String>>,
    /// When a poll was last passed on.
    passed_at: Mutex<Option<Instant>>,
    /// The installation of each poll that the dispatcher answered.
    answered: watch::Sender<String>,
    reachable: AtomicBool,
}

/// An answer, and how much of the time the dispatcher took.
pub(crate) struct Answer {
    pub(crate) response: Response<Bytes>,
    pub(crate) elsewhere: Duration,
}

impl Relay {
    pub(crate) fn new(connections: Connections, base: Uri, mut key: HeaderValue, seen: Arc<Seen>) -> Self {
        key.set_sensitive(true);
        Self {
            connections,
            base,
            key,
            seen,
            waiting: Mutex::default(),
            passed_at: Mutex::default(),
            answered: watch::Sender::default(),
            reachable: AtomicBool::new(true),
        }
    }

    /// Answers a request of the EA.
    pub(crate) async fn answer(&self, request: Request<Bytes>) -> Result<Answer, Error> {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let polls = request.method() == Method::GET && request.uri().path() == PENDING;
        if polls {
            self.seen.poll();
            if self.nothing_there(&query) {
                return Ok(Answer { response: empty(), elsewhere: Duration::ZERO });
            }
        } else if request.uri().path() == UPDATE {
            self.seen.update(request.body());
        }
        let asked_to_wait = number(&query, "wait_ms").map_or(Duration::ZERO, Duration::from_millis).min(WAIT);
        let started = Instant::now();
        let response = self.pass(request, asked_to_wait + ANSWER_TIMEOUT).await?;
        if polls && response.status() == StatusCode::OK {
            self.answered.send_replace(parameter(&query, "terminal").unwrap_or_default().to_owned());
        }
        Ok(Answer { response, elsewhere: started.elapsed() })
    }

    /// Whether a poll needs no round trip: a wait of its installation is under way, and one was passed on just now.
    fn nothing_there(&self, query: &str) -> bool {
        let short = number(query, "wait_ms").unwrap_or(0) == 0 && parameter(query, "protocol") == Some("2");
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = waiting.is_some() && waiting.as_deref() == parameter(query, "terminal");
        drop(waiting);
        let mut passed_at = self.passed_at.lock().unwrap_or_else(PoisonError::into_inner);
        if short && waits && passed_at.is_some_and(|at| at.elapsed() < PASS_INTERVAL) {
            return true;
        }
        *passed_at = Some(Instant::now());
        false
    }

    /// Sends the request on; only the key, the host and what concerns one connection differ.
    async fn pass(&self, request: Request<Bytes>, deadline: Duration) -> Result<Response<Bytes>, Error> {
        let (mut parts, body) = request.into_parts();
        parts.uri = self.target(&parts.uri)?;
        strip(&mut parts.headers);
        parts.headers.remove(header::AUTHORIZATION);
        parts.headers.insert(API_KEY, self.key.clone());
        let outcome = self.exchange(Request::from_parts(parts, Full::new(body)), deadline).await;
        let reachable = outcome.is_ok();
        if self.reachable.swap(reachable, Ordering::Relaxed) != reachable {
            match &outcome {
                Ok(_) => tracing::info!("the dispatcher answers again"),
                Err(error) => tracing::warn!(%error, "the EA's requests do not get through"),
            }
        }
        outcome
    }

    async fn exchange(&self, request: Request<Full<Bytes>>, deadline: Duration) -> Result<Response<Bytes>, Error> {
        let exchange = async {
            let response = self.connections.request(request).await.map_err(|error| unreachable(&error))?;
            let (mut parts, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| Error::Unreachable(format!("its answer broke off: {error}")))?;
            strip(&mut parts.headers);
            Ok(Response::from_parts(parts, body.to_bytes()))
        };
        tokio::time::timeout(deadline, exchange).await.unwrap_or(Err(Error::Late(deadline.as_secs())))
    }

    /// The address at the dispatcher, path and query as they came.
    fn target(&self, asked: &Uri) -> Result<Uri, Error> {
        let below = self.base.path().trim_end_matches('/');
        let path = asked.path_and_query().map_or("/", |path| path.as_str());
        let mut parts = self.base.clone().into_parts();
        let joined = format!("{below}{path}").parse();
        parts.path_and_query = Some(joined.map_err(|_| Error::Unusable("the path cannot be passed on".to_owned()))?);
        Uri::from_parts(parts).map_err(|error| Error::Unusable(error.to_string()))
    }

    /// Waits at the dispatcher for the EA, one wait after each poll that was answered, until told to stop.
    pub(crate) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut answered = self.answered.subscribe();
        let mut pauses = Pauses::default();
        loop {
            tokio::select! {
                _ = answered.changed() => {}
                () = stop.cancelled() => return,
            }
            let terminal = answered.borrow_and_update().clone();
            if terminal.is_empty() {
                continue;
            }
            self.set_waiting(Some(terminal.clone()));
            let outcome = tokio::select! {
                outcome = self.wait(&terminal) => outcome,
                () = self.silence() => Ok(()),
                () = stop.cancelled() => return,
            };
            // However it ended, the next poll passes: only the dispatcher knows what there is.
            self.set_waiting(None);
            answered.mark_unchanged();
            match outcome {
                Ok(()) => pauses.reset(),
                Err(error) => {
                    tracing::debug!(%error, "waiting at the dispatcher failed");
                    pauses.wait().await;
                }
            }
        }
    }

    fn set_waiting(&self, terminal: Option<String>) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = terminal;
    }

    /// One wait. It ends when there may be something to hand out, or when the dispatcher's patience does.
    async fn wait(&self, terminal: &str) -> Result<(), Error> {
        let query = format!("{PENDING}?limit=0&wait_ms={}&protocol=2&terminal={terminal}", WAIT.as_millis());
        let uri: Uri = query.parse().map_err(|_| Error::Unusable("the terminal's id is no query".to_owned()))?;
        let request = Request::get(self.target(&uri)?).header(API_KEY, self.key.clone()).body(Full::default());
        let request = request.map_err(|error| Error::Unusable(error.to_string()))?;
        let response = self.exchange(request, WAIT + ANSWER_TIMEOUT).await?;
        match response.status() {
            StatusCode::OK => Ok(()),
            status => Err(Error::Unusable(format!("the dispatcher answered {status}"))),
        }
    }

    /// Returns when the EA has not polled for too long.
    async fn silence(&self) {
        loop {
            let age = self.seen.expert().poll.unwrap_or(SILENCE);
            if age >= SILENCE {
                return;
            }
            tokio::time::sleep(SILENCE.saturating_sub(age)).await;
        }
    }
}

/// What the dispatcher answers where there is nothing.
fn empty() -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(b"[]"));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Removes what concerns one connection, also what the header `Connection` names.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(|name| name.trim().to_owned()))
        .collect();
    for name in &named {
        headers.remove(name.as_str());
    }
    for name in &OF_ONE_CONNECTION {
        headers.remove(name);
    }
}

/// A parameter of a query as it is written there.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn number(query: &str, name: &str) -> Option<u64> {
    parameter(query, name)?.parse().ok()
}

/// The innermost cause says what a person can act on.
fn unreachable(error: &hyper_util::client::legacy::Error) -> Error {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    Error::Unreachable(cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a header that concerns one connection is not passed on, everything else is.
    #[test]
    fn headers_of_one_connection_stay_behind() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, X-Of-This-Connection"),
            ("x-of-this-connection", "1"),
            ("transfer-encoding", "chunked"),
            ("x-account-mode", "reducing"),
            ("retry-after", "1"),
            ("content-type", "application/json"),
        ] {
            headers.insert(HeaderName::try_from(name).unwrap(), HeaderValue::from_static(value));
        }
        strip(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-type", "retry-after", "x-account-mode"]);
    }

    /// Goal: a parameter is found by its whole name, and passed on as it was written.
    #[test]
    fn parameters_are_read_as_written() {
        let query = "limit=10&xterminal=b&terminal=a%2Fb&wait_ms=0&protocol=2";
        assert_eq!(parameter(query, "terminal"), Some("a%2Fb"));
        assert_eq!(number(query, "wait_ms"), Some(0));
        assert_eq!(parameter(query, "none"), None);
        assert_eq!(number("wait_ms=x", "wait_ms"), None);
    }
}
