//! Passes the EA's requests to the dispatcher, with the terminal's key, and the answers back, unchanged.
//!
//! Invariant: it stores, decides and remembers nothing about a trade. The one thing it answers itself is a poll, with
//! an empty list, and only while a wait at the dispatcher (`limit=0`, which claims nothing) is under way that would
//! have ended if there were something to hand out; and never for longer than [`PASS_INTERVAL`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::retry::Pauses;
use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::dispatcher::Dispatcher;
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

/// An EA that gives up after so much more than it asked the dispatcher to wait did not do so to stop.
const PATIENCE: Duration = Duration::from_secs(2);

/// A request of the EA that waits for its answer. The EA gives up before the dispatcher's time is over, and what it asked
/// for ends here then.
struct Waiting<'a> {
    seen: &'a Seen,
    /// None: it was answered.
    late_at: Option<Instant>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.late_at.is_some_and(|late_at| Instant::now() > late_at) {
            self.seen.dispatcher(Err("the dispatcher did not answer before the EA gave up".to_owned()));
        }
    }
}

/// Between the EA and the dispatcher.
pub(crate) struct Relay {
    dispatcher: Dispatcher,
    seen: Arc<Seen>,
    /// The installation for which a wait is under way.
    waiting: Mutex<Option<String>>,
    /// When a poll was last passed on.
    passed_at: Mutex<Option<Instant>>,
    /// The installation of each poll that the dispatcher answered.
    answered: watch::Sender<String>,
}

/// An answer, and how much of the time the dispatcher took.
pub(crate) struct Answer {
    pub(crate) response: Response<Bytes>,
    pub(crate) elsewhere: Duration,
}

impl Relay {
    pub(crate) fn new(dispatcher: Dispatcher, seen: Arc<Seen>) -> Self {
        let (waiting, passed_at, answered) = (Mutex::default(), Mutex::default(), watch::Sender::default());
        Self { dispatcher, seen, waiting, passed_at, answered }
    }

    /// Answers a request of the EA.
    pub(crate) async fn answer(&self, request: Request<Bytes>) -> Result<Answer, Error> {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let polls = request.method() == Method::GET && request.uri().path() == PENDING;
        self.seen.heard();
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
        let mut waiting = Waiting { seen: &self.seen, late_at: Some(started + asked_to_wait + PATIENCE) };
        let outcome = self.dispatcher.pass(request, asked_to_wait + ANSWER_TIMEOUT).await;
        waiting.late_at = None;
        let response = outcome?;
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
        let request = Request::get(query).body(Bytes::new());
        let request = request.map_err(|_| Error::Unusable("the terminal's id is no query".to_owned()))?;
        let response = self.dispatcher.pass(request, WAIT + ANSWER_TIMEOUT).await?;
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

/// A parameter of a query as it is written there.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn number(query: &str, name: &str) -> Option<u64> {
    parameter(query, name)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

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
