//! The only way to the platform: its HTTP interface.
//!
//! Every call has a deadline, and every failure says whether asking again can help.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Deadline of everything but the long poll, and what is added to that one's waiting time.
const DEADLINE: Duration = Duration::from_secs(10);
/// Characters of a refusal that are worth logging.
const REFUSAL_MAX: usize = 300;
/// The header that carries the account's mode.
const MODE_HEADER: &str = "x-account-mode";

#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("unreachable: {0}")]
    Unreachable(reqwest::Error),
    #[error("answered {status}: {detail}")]
    Status { status: u16, detail: String },
    #[error("the answer makes no sense: {0}")]
    Rubbish(serde_json::Error),
}

impl Failure {
    /// Refused for good: the same request would be refused again.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Status { status, .. } if (400..500).contains(status) && ![401, 403, 408, 429].contains(status))
    }
}

pub(super) struct Answer {
    pub(super) body: Vec<u8>,
    pub(super) mode: Option<String>,
}

impl Answer {
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(Failure::Rubbish)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Api {
    pub(super) client: reqwest::Client,
    pub(super) url: String,
    pub(super) key: String,
}

impl Api {
    pub(super) async fn get(&self, path: &str, query: &[(&str, String)], wait: Duration) -> Result<Answer, Failure> {
        let request = self.client.get(self.address(path)).query(query).timeout(wait + DEADLINE);
        self.send(request).await
    }

    pub(super) async fn post<T: Serialize + Sync>(&self, path: &str, body: &T) -> Result<Answer, Failure> {
        let request = self.client.post(self.address(path)).json(body).timeout(DEADLINE);
        self.send(request).await
    }

    fn address(&self, path: &str) -> String {
        format!("{}{path}", self.url.trim_end_matches('/'))
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, Failure> {
        let response = request.header("X-API-Key", &self.key).send().await.map_err(Failure::Unreachable)?;
        let status = response.status();
        let mode = response.headers().get(MODE_HEADER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = response.bytes().await.map_err(Failure::Unreachable)?.to_vec();
        if status.is_success() {
            Ok(Answer { body, mode })
        } else {
            let detail = String::from_utf8_lossy(&body).chars().take(REFUSAL_MAX).collect();
            Err(Failure::Status { status: status.as_u16(), detail })
        }
    }
}

/// Pauses between failures: 50 ms, doubling, at most 1 s.
pub(super) struct Pause(Duration);

impl Pause {
    const FIRST: Duration = Duration::from_millis(50);
    const LAST: Duration = Duration::from_secs(1);

    pub(super) fn new() -> Self {
        Self(Self::FIRST)
    }

    pub(super) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(Self::LAST);
        pause
    }
}
