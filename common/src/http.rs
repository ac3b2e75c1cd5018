//! What every API endpoint stands on: who is asking, JSON bodies, request ids, limits, and the routes all parts share.

mod body;
mod edge;
mod pace;
mod rate;
mod sender;
mod serve;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{DefaultBodyLimit, FromRef, FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json as AxumJson, Router};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::ToSchema as _;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, ContentBuilder, OpenApi, Ref, RefOr, ResponseBuilder};
use utoipa_axum::router::OpenApiRouter;
use uuid::Uuid;

pub use self::body::{IdempotencyKey, Json, Path, Query};
pub use self::edge::Edge;
pub use self::serve::{serve, serve_on};
use crate::auth::{AuthError, Identity, KeyRing, Scope};
use crate::error::{Cause, Problem};
use crate::service::{Part, Ready};
use crate::telemetry::Scrape;

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
        let outcome = ring.identify(key_of(&parts.headers)?).inspect(|identity| ring.count_use(identity));
        let caller = outcome.map(Self).map_err(|error| match error {
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
        })?;
        edge::admit_key(parts, &caller.0)?;
        Ok(caller)
    }
}

/// The key of a request. Several that differ are refused: whatever stands before us may have looked at another one.
fn key_of(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    // What is no text is no key of ours; it is one all the same, and wrong.
    let own = headers.get_all("x-api-key").iter().map(|value| value.to_str().unwrap_or_default());
    let bearer = headers.get_all(header::AUTHORIZATION).iter().filter_map(|value| {
        let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key)
    });
    let mut keys = own.chain(bearer).map(str::trim);
    let first = keys.next();
    if keys.any(|key| Some(key) != first) {
        let detail = "the request has several API keys, and they differ; send one";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "key_ambiguous", detail));
    }
    Ok(first)
}

/// The API of these parts, with what they share added once. No other origin is allowed to read it from a browser: no
/// answer has a header that would permit it.
pub fn api(parts: Vec<Part>, edge: Edge) -> Router {
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
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            // Where and why is told by the hook that `telemetry` sets.
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "an error on our side; it was logged")
                .caused_by("a request handler panicked")
                .into_response()
        }))
        .layer(from_fn_with_state(edge, observe))
}

/// Says in the document what holds for every endpoint of it: it asks for a key, and its senders are limited.
fn secure(document: &mut OpenApi) {
    const SCHEME: &str = "api_key";
    let key = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key")));
    document.components.get_or_insert_default().add_security_scheme(SCHEME, key);
    document.security = Some(vec![SecurityRequirement::new(SCHEME, Vec::<String>::new())]);
    let seconds = HeaderBuilder::new().schema(Some(ObjectBuilder::new().schema_type(Type::Integer)));
    let limited = described("too many requests from this address or with this key; nothing was done")
        .header("Retry-After", seconds.description(Some("in how many seconds the next one is taken")).build());
    let limited = limited.build();
    let late = described("the body did not arrive in time; nothing was done").build();
    for operation in document.paths.paths.values_mut().flat_map(operations) {
        let responses = &mut operation.responses.responses;
        responses.insert("429".to_owned(), RefOr::T(limited.clone()));
        if operation.request_body.is_some() {
            responses.insert("408".to_owned(), RefOr::T(late.clone()));
        }
    }
}

/// A problem answer in the document.
fn described(what: &str) -> ResponseBuilder {
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(what).content("application/problem+json", problem)
}

fn operations(path: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut path.get, &mut path.put, &mut path.post, &mut path.patch, &mut path.delete].into_iter().flatten()
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

/// Gives a request its id, refuses what is too much, counts and times it.
async fn observe(State(edge): State<Edge>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let given = request.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok());
    let id: Arc<str> = match given.filter(|id| (1..=128).contains(&id.len())) {
        Some(id) => id.into(),
        None => Uuid::now_v7().to_string().into(),
    };
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let admitted = edge.admit_address(&request);
    request.extensions_mut().insert(RequestId(id.clone()));
    request.extensions_mut().insert(edge);
    let mut response = match admitted {
        Ok(()) => in_time(next.run(request)).await,
        Err(problem) => problem.into_response(),
    };
    harden(response.headers_mut());
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let route = route.as_ref().map_or("unmatched", |path| path.as_str()).to_owned();
    let status = response.status();
    let Cause { code, error, signal_id } = response.extensions_mut().remove().unwrap_or_default();
    // Not being ready is an answer, not an error; whoever asks will ask again soon.
    if error.is_some() || (status.is_server_error() && !matches!(&*route, "/readyz" | "/health")) {
        let signal = signal_id.as_ref().map(tracing::field::display);
        tracing::warn!(request.id = %id, signal.id = signal, http.method = %method, http.route = route, http.status =
            status.as_u16(), code, error, "answered with an error");
    }
    metrics::histogram!("pipeline_http_request_seconds", "route" => route, "status" => status.as_str().to_owned())
        .record(started.elapsed());
    response
}

async fn in_time(answer: impl Future<Output = Response>) -> Response {
    tokio::time::timeout(REQUEST_TIMEOUT, answer).await.unwrap_or_else(|_| {
        let detail = format!("no answer within {} s", REQUEST_TIMEOUT.as_secs());
        Problem::unavailable("timeout", detail).outcome_unknown().into_response()
    })
}

/// What browsers are told: the answers are data, not to be guessed at, run, framed, kept or named to others. That they
/// come by HTTPS alone is for the gateway to say that ends TLS.
fn harden(headers: &mut HeaderMap) {
    const POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// `/metrics`, for an address of its own.
pub fn metrics_router(scrape: Scrape) -> Router {
    let hardened = map_response(async |mut response: Response| {
        harden(response.headers_mut());
        response
    });
    Router::new().route("/metrics", get(render)).layer(hardened).with_state(scrape)
}

async fn render(State(scrape): State<Scrape>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], scrape.answer())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(headers: &[(&'static str, &[u8])]) -> Result<Option<String>, Problem> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        key_of(&map).map(|key| key.map(str::to_owned))
    }

    #[test]
    fn a_key_is_found_wherever_it_is_and_two_that_differ_are_refused() {
        let found = |headers: &[(&'static str, &[u8])]| key(headers).unwrap();
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[("x-api-key", b" a ")]).as_deref(), Some("a"));
        assert_eq!(found(&[("authorization", b"Bearer a")]).as_deref(), Some("a"));
        assert_eq!(found(&[("authorization", b"bearer  a")]).as_deref(), Some("a"));
        assert_eq!(found(&[("authorization", b"Bearer a"), ("x-api-key", b"a")]).as_deref(), Some("a"));
        assert_eq!(found(&[("authorization", b"Basic a"), ("x-api-key", b"b")]).as_deref(), Some("b"));
        for headers in [
            [("x-api-key", &b"a"[..]), ("x-api-key", b"b")],
            [("x-api-key", b"a"), ("x-api-key", b"")],
            [("x-api-key", b"a"), ("authorization", b"Bearer b")],
            [("x-api-key", b"\xff"), ("authorization", b"Bearer b")],
            [("authorization", b"Bearer a"), ("authorization", b"Bearer b")],
        ] {
            assert!(key(&headers).is_err(), "{headers:?}");
        }
    }
}
