//! What every API endpoint stands on: who is asking, JSON bodies, request ids, limits, and the routes all parts share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRef, FromRequest, FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::{Listener, ListenerExt as _};
use axum::{Json as AxumJson, Router};
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;
use utoipa::ToSchema as _;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, OpenApi, PathItem, Ref, RefOr};
use utoipa_axum::router::OpenApiRouter;
use uuid::Uuid;

use crate::auth::{AuthError, Identity, KeyRing, Scope};
use crate::error::{FieldError, Problem};
use crate::service::{Part, Ready};

#[cfg(fuzzing)]
pub mod fuzz;

/// The largest body of a request.
pub const BODY_BYTES_MAX: usize = 32 * 1024;
/// No request takes longer; a long poll is held for at most 25 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of the request under way: the caller's own, or a new one.
#[derive(Clone, Debug)]
pub struct RequestId(pub Arc<str>);

impl<S: Send + Sync> FromRequestParts<S> for RequestId {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(|| Self(Uuid::now_v7().to_string().into())))
    }
}

/// Who is asking, by the key in `X-API-Key` or `Authorization: Bearer`.
#[derive(Clone, Debug)]
pub struct Caller(pub Arc<Identity>);

impl Caller {
    /// Refuses a key without this scope.
    pub fn allow(&self, scope: Scope) -> Result<&Identity, Problem> {
        if self.0.scopes.contains(&scope) {
            return Ok(&self.0);
        }
        let detail = format!("this key lacks the scope {}", scope.as_str());
        Err(Problem::new(StatusCode::FORBIDDEN, "scope_missing", detail))
    }
}

impl<S> FromRequestParts<S> for Caller
where
    S: Send + Sync,
    KeyRing: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let ring = KeyRing::from_ref(state);
        let outcome = ring.identify(key_of(&parts.headers)).inspect(|identity| ring.count_use(identity));
        outcome.map(Self).map_err(|error| match error {
            AuthError::Missing => Problem::new(
                StatusCode::UNAUTHORIZED,
                "key_missing",
                "send an API key in the header X-API-Key, or as Authorization: Bearer",
            ),
            AuthError::Wrong => {
                Problem::new(StatusCode::FORBIDDEN, "key_wrong", "this API key is unknown, expired or revoked")
            }
            AuthError::NotYetKnown => {
                Problem::unavailable("keys_unavailable", "the keys have not been read from the database yet")
            }
        })
    }
}

fn key_of(headers: &HeaderMap) -> Option<&str> {
    let own = headers.get("x-api-key").and_then(|value| value.to_str().ok());
    own.or_else(|| headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")).map(str::trim)
}

/// A JSON body, whatever its content type says; zero bytes at its end, which MQL5 sends, don't count.
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                let detail = format!("a body has at most {BODY_BYTES_MAX} bytes");
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
            } else {
                Problem::new(StatusCode::BAD_REQUEST, "body_unreadable", "the body did not arrive whole")
            }
        })?;
        parse(&bytes).map(Self)
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    // Fields without their names, which serde would take by their place.
    if bytes.trim_ascii_start().starts_with(b"[") {
        return Err(Problem::invalid(vec![FieldError::new("body", "is an object, not a list")]));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(&bytes[..end]);
    let malformed = |error: &serde_json::Error| {
        Problem::new(StatusCode::BAD_REQUEST, "malformed_json", format!("the body is not JSON: {error}"))
    };
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        if error.inner().is_data() {
            Problem::invalid(vec![FieldError::new(error.path().to_string(), error.inner().to_string())])
        } else {
            malformed(error.inner())
        }
    })?;
    deserializer.end().map_err(|error| malformed(&error))?;
    Ok(value)
}

/// Query parameters; a wrong one is a problem answer.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
pub struct Query<T>(pub T);

/// Path parameters; a wrong one is a problem answer.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub struct Path<T>(pub T);

impl From<axum::extract::rejection::QueryRejection> for Problem {
    fn from(rejection: axum::extract::rejection::QueryRejection) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_query", rejection.body_text())
    }
}

impl From<axum::extract::rejection::PathRejection> for Problem {
    fn from(rejection: axum::extract::rejection::PathRejection) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_path", rejection.body_text())
    }
}

/// The API of these parts, with what they share added once.
pub fn api(parts: Vec<Part>) -> Router {
    let mut routes = OpenApiRouter::new();
    let mut checks = Vec::new();
    for part in parts {
        routes = routes.merge(part.routes);
        checks.push((part.name, part.ready));
    }
    let (router, mut document) = routes.split_for_parts();
    document.info = utoipa::openapi::Info::new("MT5 community trading platform", env!("CARGO_PKG_VERSION"));
    secure(&mut document);
    name_problems(&mut document);
    let document = Arc::new(document);
    let checks = Arc::new(checks);
    let ready = get(move || std::future::ready(readiness(&checks)));
    router
        .route("/livez", get(|| async { AxumJson(serde_json::json!({"status": "ok"})) }))
        .route("/readyz", ready.clone())
        .route("/health", ready)
        .route("/openapi.json", get(move || std::future::ready(AxumJson(document.clone()))))
        .fallback(|| async { Problem::not_found("no such path; see /openapi.json") })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "see /openapi.json")
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, REQUEST_TIMEOUT))
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            tracing::error!("a request handler panicked");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "an error on our side; it was logged")
                .into_response()
        }))
        .layer(axum::middleware::from_fn(observe))
}

/// Says in the document that every endpoint of it asks for a key.
fn secure(document: &mut OpenApi) {
    const SCHEME: &str = "api_key";
    let key = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key")));
    document.components.get_or_insert_default().add_security_scheme(SCHEME, key);
    document.security = Some(vec![SecurityRequirement::new(SCHEME, Vec::<String>::new())]);
}

/// Says in the document that every problem answer is of the type that [`Problem`] gives it, whoever declared it.
fn name_problems(document: &mut OpenApi) {
    let problem = RefOr::T(Content::new(Some(Ref::from_schema_name(Problem::name()))));
    let responses = document
        .paths
        .paths
        .values_mut()
        .flat_map(operations)
        .flat_map(|operation| operation.responses.responses.values_mut());
    for response in responses {
        if let RefOr::T(response) = response
            && response.content.get("application/json") == Some(&problem)
        {
            response.content = [(Problem::MEDIA_TYPE.to_owned(), problem.clone())].into();
        }
    }
}

fn operations(path: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut path.get, &mut path.put, &mut path.post, &mut path.delete, &mut path.patch].into_iter().flatten()
}

fn readiness(checks: &[(&'static str, Vec<Ready>)]) -> Response {
    let waits = |needs: &[Ready]| !needs.iter().all(Ready::get);
    let waiting: Vec<&str> = checks.iter().filter(|(_, needs)| waits(needs)).map(|(name, _)| *name).collect();
    if waiting.is_empty() {
        AxumJson(serde_json::json!({"status": "ok"})).into_response()
    } else {
        let detail = format!("not ready: {}", waiting.join(", "));
        Problem::unavailable("not_ready", detail).into_response()
    }
}

/// Gives a request its id, counts and times it.
async fn observe(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let given = request.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok());
    let id: Arc<str> = match given.filter(|id| (1..=128).contains(&id.len())) {
        Some(id) => id.into(),
        None => Uuid::now_v7().to_string().into(),
    };
    let route = request.extensions().get::<MatchedPath>().cloned();
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = next.run(request).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let route = route.as_ref().map_or("unmatched", |path| path.as_str()).to_owned();
    let status = response.status();
    // Not being ready is an answer, not an error; whoever asks will ask again soon.
    if status.is_server_error() && !matches!(&*route, "/readyz" | "/health") {
        tracing::warn!(request.id = %id, http.status = status.as_u16(), "answered with an error");
    }
    metrics::histogram!("pipeline_http_request_seconds", "route" => route, "status" => status.as_str().to_owned())
        .record(started.elapsed());
    response
}

/// Serves until told to stop, then until the requests under way are answered.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    // Answers are small and latency counts: no waiting for more to send.
    serve_on(listener.tap_io(|stream| drop(stream.set_nodelay(true))), router, stop).await;
}

/// The same for connections of another kind.
pub async fn serve_on<L: Listener<Addr: std::fmt::Debug>>(listener: L, router: Router, stop: CancellationToken) {
    let outcome = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
    if let Err(error) = outcome {
        tracing::error!(%error, "the listener failed");
    }
}

/// `/metrics`, for an address of its own.
pub fn metrics_router() -> Router {
    Router::new().route("/metrics", get(render)).with_state(())
}

async fn render(State(()): State<()>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], crate::telemetry::metrics().render())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_ends_in_zero_bytes_is_read() {
        let value: serde_json::Value = parse(b"{\"a\":1}\0").unwrap();
        assert_eq!(value["a"], 1);
        assert!(parse::<serde_json::Value>(b"{\"a\":1} x").is_err());
        assert!(parse::<serde_json::Value>(b"").is_err());
        assert!(parse::<(u8,)>(b" [1]").is_err(), "fields have names");
    }
}
