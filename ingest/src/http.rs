//! `POST /api/signal`.

use axum::extract::State;
use axum::http::HeaderMap;
use common::auth::Scope;
use common::crash;
use common::error::Problem;
use common::http::{Caller, IdempotencyKey, Json, RequestId};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::Ingest;
use crate::error::Error;
use crate::recent::Known;
use crate::request::SignalRequest;

pub(crate) fn routes(state: Ingest) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(post_signal)).with_state(state)
}

/// The signal is accepted for good; it is not executed yet.
#[derive(Serialize, ToSchema)]
struct Accepted {
    signal_id: Uuid,
    /// `accepted`.
    status: &'static str,
    message: &'static str,
    symbol: Option<String>,
    action: &'static str,
    account: String,
}

/// Accepts a trading signal.
#[utoipa::path(post, path = "/api/signal", tag = "signals", request_body = SignalRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "makes a retry safe; or signal_id in the body")),
    responses(
        (status = 200, body = Accepted),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 413, body = Problem), (status = 422, body = Problem),
        (status = 503, body = Problem, description = "outcome unknown: repeat with the same idempotency key"),
    ))]
async fn post_signal(
    State(ingest): State<Ingest>,
    caller: Caller,
    RequestId(request_id): RequestId,
    IdempotencyKey(key): IdempotencyKey,
    headers: HeaderMap,
    Json(request): Json<SignalRequest>,
) -> Result<axum::Json<Accepted>, Error> {
    let principal = &caller.allow(Scope::SignalsWrite)?.principal;
    let now = ingest.clock.now();
    let signal = request.accept(principal, key.as_deref(), now).map_err(Error::Invalid)?;
    let known = signal.idempotency_key.as_ref().map(|key| ingest.recent.look_up(principal, key, signal.signal_id));
    if known == Some(Known::ForAnother) {
        tracing::info!(request.id = %request_id, account = %signal.account, principal,
            "refused: its idempotency key stands for another signal");
        return Err(Error::KeyReused);
    }
    let answer = Accepted {
        signal_id: signal.signal_id,
        status: "accepted",
        message: "signal accepted; it is not executed yet",
        symbol: signal.order.symbol.as_ref().map(ToString::to_string),
        action: signal.order.action.as_str(),
        account: signal.account.to_string(),
    };
    let traceparent = headers.get("traceparent").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let published = ingest.publish(signal, request_id.to_string(), traceparent).await;
    published.map_err(|error| Error::Publish(answer.signal_id, error))?;
    crash::point("confirmed");
    metrics::counter!("pipeline_signals_accepted_total").increment(1);
    let Accepted { signal_id, symbol, action, account, .. } = &answer;
    tracing::info!(signal.id = %signal_id, request.id = %request_id, account, action, symbol, repeated =
        (known == Some(Known::ForThis)), "accepted");
    Ok(axum::Json(answer))
}
