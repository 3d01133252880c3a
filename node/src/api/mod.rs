//! The HTTP API: JSON over the ledger's reader, submission of transactions and
//! payloads, the event stream, health and metrics, and the pages of the explorer.
//!
//! A request passes [`guard`] (rate, concurrency, size, time), a handler that reads
//! the ledger on a blocking thread, and comes back as JSON; every refusal is a
//! [`Refusal`]. Paths and shapes stand in `twinfold_types::api`; the OpenAPI document
//! is generated from the handlers and held against a committed copy by a test.

mod blobs;
mod chain;
mod cursor;
mod datasets;
mod events;
mod extract;
mod guard;
mod health;
mod keeping;
mod members;
mod model_store;
mod models;
mod range;
mod rate;
mod reader;
mod ready;
mod refusal;
mod sealed;
mod server;
mod stake;
pub mod stake_view;
mod tasks;
mod transfer;
mod txs;
pub mod view;
mod waiting;

pub use chain::no_block;
pub use cursor::Cursor;
pub use extract::cut;
pub use refusal::Refusal;
pub use server::{ApiError, Server, start};
pub use waiting::{Waiting, start_waiting};

use crate::{
    config::{self, Content},
    explorer,
    node::Node,
};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::header,
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use rate::RateLimiter;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use twinfold_types::limits;
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Answers that walk far through the ledger, made at once: the rest wait.
const HEAVY_READS_MAX: usize = 4;

/// What handlers share.
pub struct Api {
    pub node: Arc<Node>,
    genesis: Bytes,
    openapi: Bytes,
    rates: RateLimiter,
    requests: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
    downloads: Arc<Semaphore>,
    watchers: Arc<Semaphore>,
    heavy: Arc<Semaphore>,
    pub curves: explorer::Curves,
    /// The change that was asked for last: all trainers of a task ask for the same.
    pub change: parking_lot::Mutex<Option<models::Change>>,
    /// Payloads and models are for everybody.
    public_content: bool,
    shutdown: CancellationToken,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Twinfold node",
        description = "Reads the chain of one node, takes transactions and payloads. Digests, \
                       keys and signatures are lower-case hexadecimal; times are milliseconds \
                       since the Unix epoch. Every refusal is an ErrorView.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "chain", description = "Blocks, transactions, validators, epochs and stake"),
        (name = "learning", description = "Tasks, rounds, models, data sets and their payloads"),
        (name = "proofs", description = "What is checked offline against the genesis file"),
        (name = "events", description = "Server-sent events"),
        (name = "health", description = "For operators and their tools"),
    )
)]
struct Document;

impl Api {
    fn new(node: Arc<Node>, config: &config::Http, shutdown: CancellationToken) -> Self {
        let permits = |count| Arc::new(Semaphore::new(count));
        let genesis = serde_json::to_vec_pretty(&node.genesis).unwrap_or_default();
        Self {
            genesis: genesis.into(),
            openapi: openapi_json().into(),
            rates: RateLimiter::new(config.requests_per_second),
            requests: permits(limits::HTTP_CONCURRENCY_MAX),
            uploads: permits(limits::HTTP_UPLOADS_MAX),
            downloads: permits(limits::HTTP_UPLOADS_MAX),
            watchers: permits(limits::WATCHERS_MAX),
            heavy: permits(HEAVY_READS_MAX),
            curves: explorer::Curves::default(),
            change: parking_lot::Mutex::default(),
            node,
            public_content: config.content == Content::Public,
            shutdown,
        }
    }

    /// Reads the ledger where blocking is allowed.
    pub async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Api) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let api = self.clone();
        tokio::task::spawn_blocking(move || work(&api)).await.map_err(Refusal::fault)?
    }

    /// The same for work that walks far: a few at once.
    pub async fn read_heavy<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Api) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let permit = self.heavy.clone().acquire_owned().await.map_err(Refusal::fault)?;
        self.read(move |api| {
            let _held = permit;
            work(api)
        })
        .await
    }
}

/// Every documented path with its handler.
fn documented() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
        .routes(routes!(chain::status))
        .routes(routes!(chain::diagnosis))
        .routes(routes!(chain::genesis))
        .routes(routes!(chain::checkpoint))
        .routes(routes!(stake::validators))
        .routes(routes!(stake::epochs))
        .routes(routes!(stake::of_member))
        .routes(routes!(stake::params))
        .routes(routes!(chain::blocks))
        .routes(routes!(chain::block))
        .routes(routes!(txs::submit))
        .routes(routes!(txs::tx))
        .routes(routes!(txs::tx_proof))
        .routes(routes!(members::members))
        .routes(routes!(members::proposals))
        .routes(routes!(tasks::tasks))
        .routes(routes!(tasks::task))
        .routes(routes!(tasks::rounds))
        .routes(routes!(tasks::evaluations))
        .routes(routes!(tasks::drawing))
        .routes(routes!(tasks::masking))
        .routes(routes!(tasks::shares))
        .routes(routes!(tasks::masking_proof))
        .routes(routes!(tasks::contributions))
        .routes(routes!(tasks::privacy))
        .routes(routes!(tasks::trainers))
        .routes(routes!(tasks::trainer))
        .routes(routes!(models::models))
        .routes(routes!(model_store::search))
        .routes(routes!(models::model))
        .routes(routes!(model_store::metrics))
        .routes(routes!(model_store::file))
        .routes(routes!(models::content))
        .routes(routes!(models::change))
        .routes(routes!(models::lineage))
        .routes(routes!(models::model_proof))
        .routes(routes!(datasets::datasets))
        .routes(routes!(datasets::dataset))
        .routes(routes!(datasets::versions))
        .routes(routes!(datasets::version))
        .routes(routes!(blobs::upload))
        .routes(routes!(blobs::upload_fragment))
        .routes(routes!(blobs::download))
        .routes(routes!(blobs::holders))
        .routes(routes!(keeping::holds))
        .routes(routes!(keeping::storage))
        .routes(routes!(sealed::sealed))
        .routes(routes!(sealed::encryption_key_proof))
        .routes(routes!(events::events))
}

/// The OpenAPI document.
pub fn openapi_json() -> String {
    let document = documented().into_openapi();
    document.to_pretty_json().unwrap_or_default()
}

fn router(api: Arc<Api>) -> Router {
    let (documented, _) = documented().split_for_parts();
    documented
        .merge(explorer::routes())
        .route("/openapi.json", get(openapi))
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(DefaultBodyLimit::max(limits::HTTP_BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(api.clone(), guard::guard))
        .with_state(api)
}

async fn openapi(axum::extract::State(api): axum::extract::State<Arc<Api>>) -> Response {
    json_bytes(api.openapi.clone())
}

fn json_bytes(bytes: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], bytes).into_response()
}

async fn no_such_path(request: Request) -> Refusal {
    Refusal::no_such_path(request.method().as_str(), &shown_path(&request))
}

async fn wrong_method(request: Request) -> Refusal {
    Refusal::wrong_method(request.method().as_str(), &shown_path(&request))
}

/// The path as it came, cut when it is long.
fn shown_path(request: &Request) -> String {
    request.uri().path().chars().take(200).collect()
}

fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
    Refusal::fault(text.unwrap_or_else(|| "a handler panicked".into())).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/openapi.json");

    #[test]
    fn the_committed_document_is_what_the_code_generates() {
        let generated = openapi_json() + "\n";
        if std::env::var_os("TWINFOLD_BLESS").is_some() {
            std::fs::write(GOLDEN, &generated).unwrap();
        }
        let committed = std::fs::read_to_string(GOLDEN).unwrap_or_default();
        let differs = committed.lines().zip(generated.lines()).position(|(old, new)| old != new);
        assert!(
            committed == generated,
            "tests/golden/openapi.json differs from line {:?} on: when the change is meant, \
             run this test with TWINFOLD_BLESS=1",
            differs.map(|line| line + 1)
        );
    }

    #[test]
    fn the_document_has_every_path_and_no_schema_twice_under_one_name() {
        let document = documented().into_openapi();
        for path in [
            "/v1/epochs",
            "/v1/stake/{member}",
            "/v1/stake-params",
            "/v1/status",
            "/v1/txs/{id}",
            "/v1/events",
            "/v1/models/{id}/lineage",
            "/v1/datasets/{name}/versions/{version}",
            "/v1/models/{id}/file",
            "/v1/models/search",
        ] {
            assert!(document.paths.paths.contains_key(path), "{path}");
        }
        let schemas = document.components.unwrap().schemas;
        for name in ["TxLevel", "Level", "ErrorView", "StatusView", "EventView"] {
            assert!(schemas.contains_key(name), "{name}");
        }
    }
}
