//! The way to the dispatcher.
//!
//! Invariant: requests pass as they came and so do the answers; only the key, the host and what concerns one connection
//! differ.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri};

use crate::connections::{Connections, cause};
use crate::error::Error;
use crate::seen::Seen;

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

/// Where the dispatcher is, and with which key it is asked.
pub(crate) struct Dispatcher {
    connections: Connections,
    base: Uri,
    key: HeaderValue,
    seen: Arc<Seen>,
}

impl Dispatcher {
    pub(crate) fn new(connections: Connections, base: Uri, key: &str, seen: Arc<Seen>) -> Result<Self, String> {
        let mut key = HeaderValue::try_from(key).map_err(|_| "the terminal's key is no header".to_owned())?;
        key.set_sensitive(true);
        Ok(Self { connections, base, key, seen })
    }

    /// Sends a request on and returns its answer; what became of it is seen.
    pub(crate) async fn pass(&self, request: Request<Bytes>, deadline: Duration) -> Result<Response<Bytes>, Error> {
        let (mut parts, body) = request.into_parts();
        parts.uri = self.target(&parts.uri)?;
        strip(&mut parts.headers);
        parts.headers.remove(header::AUTHORIZATION);
        parts.headers.insert(API_KEY, self.key.clone());
        let exchange = self.exchange(Request::from_parts(parts, Full::new(body)));
        let outcome = tokio::time::timeout(deadline, exchange).await;
        let outcome = outcome.unwrap_or(Err(Error::Late(deadline.as_secs())));
        self.seen.dispatcher(match &outcome {
            Ok(answer) => judged(answer.status()),
            Err(error) => Err(error.to_string()),
        });
        outcome
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Error> {
        let response = self.connections.request(request).await;
        let response = response.map_err(|error| Error::Unreachable(cause(&error)))?;
        let (mut parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| Error::Unreachable(format!("its answer broke off: {}", cause(&*error))))?;
        strip(&mut parts.headers);
        Ok(Response::from_parts(parts, body.to_bytes()))
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
}

/// What an answer says of the dispatcher and of the key, whatever was asked.
fn judged(status: StatusCode) -> Result<(), String> {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Err(format!("the dispatcher refuses the terminal's key: {status}"))
        }
        status if status.is_server_error() => Err(format!("the dispatcher answered {status}")),
        _ => Ok(()),
    }
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

    /// Goal: a request that was refused is the EA's matter; a key that was refused, or a broken dispatcher, everybody's.
    #[test]
    fn an_answer_tells_of_the_key_and_the_dispatcher() {
        for status in [200, 202, 400, 404, 409, 422, 429] {
            assert_eq!(judged(StatusCode::from_u16(status).unwrap()), Ok(()), "{status}");
        }
        for (status, word) in [(401, "key"), (403, "key"), (500, "500 Internal"), (503, "503 Service Unavailable")] {
            let judged = judged(StatusCode::from_u16(status).unwrap()).unwrap_err();
            assert!(judged.contains(word), "{judged}");
        }
    }
}
