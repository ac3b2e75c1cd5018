//! The endpoints: health for whoever watches, and the relay for the EA.

mod prompt;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use common::config::Limits;
use common::error::Problem;
use common::http::BODY_BYTES_MAX;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::http::prompt::PromptListener;
use crate::parts::Parts;
use crate::relay::{PATHS, Relay};

/// An EA on the same machine sends its request at once.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// `/livez`, `/readyz` and `/health`.
pub(crate) fn health(parts: Arc<Parts>) -> Router {
    Router::new()
        .route("/livez", get(|| async { Json(serde_json::json!({"status": "ok"})) }))
        .route("/readyz", get(readiness))
        .route("/health", get(state))
        .fallback(|| async { Problem::not_found("no such path; there are /livez, /readyz and /health") })
        .with_state(parts)
}

async fn readiness(State(parts): State<Arc<Parts>>) -> Response {
    let waiting = parts.report().waiting_for();
    if waiting.is_empty() {
        return Json(serde_json::json!({"status": "ok"})).into_response();
    }
    Problem::unavailable("not_ready", waiting.join("; ")).into_response()
}

/// Always 200: it says how things are; `/readyz` judges.
async fn state(State(parts): State<Arc<Parts>>) -> impl IntoResponse {
    Json(parts.report())
}

/// Serves what the EA may ask until told to stop.
pub(crate) async fn serve_relay(listener: TcpListener, relay: Arc<Relay>, stop: CancellationToken) {
    let router = PATHS
        .iter()
        .fold(Router::new(), |router, path| router.route(path, any(pass)))
        .fallback(|| async { Problem::not_found("the relay passes the Expert Advisor's own requests only") })
        .with_state(relay);
    common::http::serve_on(PromptListener(listener), router, Limits::default(), stop).await;
}

async fn pass(State(relay): State<Arc<Relay>>, request: Request) -> Result<Response, Error> {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let body = tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, BODY_BYTES_MAX)).await;
    let body: Bytes = body
        .map_err(|_| Error::Unusable("the body did not arrive in time".to_owned()))?
        .map_err(|error| Error::Unusable(format!("the body did not arrive whole: {error}")))?;
    let path = parts.uri.path().to_owned();
    let outcome = relay.answer(Request::from_parts(parts, body)).await;
    let answered = match &outcome {
        Ok(answer) if answer.elsewhere.is_zero() => "here",
        Ok(_) => "dispatcher",
        Err(_) => "error",
    };
    metrics::counter!("bridge_relay_requests_total", "path" => path, "answered" => answered).increment(1);
    let answer = outcome?;
    let added = started.elapsed().saturating_sub(answer.elsewhere);
    metrics::histogram!("bridge_relay_added_seconds").record(added);
    Ok(answer.response.map(Body::from))
}
