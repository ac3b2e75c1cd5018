//! A gateway between the Expert Advisor and the platform that can be in any mood.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What happens to a request.
#[derive(Clone, Debug)]
pub(super) enum Mood {
    /// It passes.
    Passes,
    /// It is answered with this instead.
    Answers(StatusCode, &'static str),
    /// It passes, and its answer comes so much later.
    Delays(Duration),
    /// It passes, and its answer is lost.
    Loses,
}

pub(super) struct Gateway {
    pub(super) url: String,
    shared: Arc<Shared>,
    stop: CancellationToken,
}

struct Shared {
    platform: String,
    client: reqwest::Client,
    mood: Mutex<Mood>,
    /// The mood is for requests whose path holds this.
    about: Mutex<&'static str>,
    /// Method and path of each request.
    seen: Mutex<Vec<String>>,
}

impl Gateway {
    pub(super) async fn open(platform: &str) -> Self {
        let shared = Arc::new(Shared {
            platform: platform.to_owned(),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            mood: Mutex::new(Mood::Passes),
            about: Mutex::new(""),
            seen: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let router = Router::new().fallback(pass).with_state(Arc::clone(&shared));
        let ended = stop.clone().cancelled_owned();
        tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(ended).await });
        Self { url, shared, stop }
    }

    /// From now on, for requests whose path holds `about`.
    pub(super) fn set(&self, about: &'static str, mood: Mood) {
        *self.shared.about.lock().unwrap() = about;
        *self.shared.mood.lock().unwrap() = mood;
    }

    /// How many requests there were whose path holds this.
    pub(super) fn seen(&self, path: &str) -> usize {
        self.shared.seen.lock().unwrap().iter().filter(|line| line.contains(path)).count()
    }

    /// The first requests, in their order.
    pub(super) fn first(&self, count: usize) -> Vec<String> {
        self.shared.seen.lock().unwrap().iter().take(count).cloned().collect()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn pass(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    shared.seen.lock().unwrap().push(format!("{method} {path}"));
    let about = *shared.about.lock().unwrap();
    let mood = if path.contains(about) { shared.mood.lock().unwrap().clone() } else { Mood::Passes };
    if let Mood::Answers(status, text) = mood {
        return (status, text).into_response();
    }
    let mut request = shared.client.request(method, format!("{}{path}", shared.platform)).body(body);
    if let Some(key) = headers.get("x-api-key") {
        request = request.header("x-api-key", key);
    }
    request = request.header("content-type", "application/json");
    let Ok(answer) = request.send().await else { return StatusCode::BAD_GATEWAY.into_response() };
    let (status, mode) = (answer.status(), answer.headers().get("x-account-mode").cloned());
    let text = answer.bytes().await.unwrap_or_default();
    match mood {
        Mood::Loses => return (StatusCode::GATEWAY_TIMEOUT, "lost").into_response(),
        Mood::Delays(time) => tokio::time::sleep(time).await,
        Mood::Passes | Mood::Answers(..) => {}
    }
    let mut response = (status, text).into_response();
    if let Some(mode) = mode {
        response.headers_mut().insert("x-account-mode", mode);
    }
    response
}
