//! For operators: alive, ready, metrics.

use super::{Api, Refusal, ready::Standing};
use crate::metrics::Figures;
use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use std::sync::Arc;
use twinfold_types::api::ErrorView;

/// Whether the process is alive.
#[utoipa::path(get, path = "/healthz", tag = "health", responses(
    (status = OK, description = "Alive", content_type = "text/plain", body = String),
))]
pub async fn healthz() -> &'static str {
    "alive\n"
}

/// Whether the node can serve: it takes part, hears a quorum, and is not far behind.
#[utoipa::path(get, path = "/readyz", tag = "health", responses(
    (status = OK, description = "Ready", content_type = "text/plain", body = String),
    (status = SERVICE_UNAVAILABLE, description = "Not ready, and why", body = ErrorView),
))]
pub async fn readyz(State(api): State<Arc<Api>>) -> Result<&'static str, Refusal> {
    match Standing::of(&api.node).fault() {
        None => Ok("ready\n"),
        Some((error, hint)) => Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error, hint)),
    }
}

/// Counters and gauges in OpenMetrics text.
#[utoipa::path(get, path = "/metrics", tag = "health", responses(
    (status = OK, description = "OpenMetrics text",
        content_type = "application/openmetrics-text", body = String),
    (status = "default", description = "A refusal", body = ErrorView),
))]
pub async fn metrics(State(api): State<Arc<Api>>) -> Result<Response, Refusal> {
    let figures = Figures::of(&api.node);
    let text = api.node.metrics.render(&figures).map_err(Refusal::fault)?;
    const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, TYPE)], text).into_response())
}
