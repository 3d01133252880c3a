//! What a node serves while it joins: its status, with how far it has come, and a word to
//! wait for everything else.

use super::{Refusal, server::serve};
use crate::{config::Http, join::Progress};
use axum::{Json, Router, extract::State, middleware, response::Response, routing::get};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use twinfold_types::{Digest, Height, PublicKey, api::StatusView, genesis::Genesis, limits};

use super::{ApiError, Server};

#[derive(Clone)]
pub struct Waiting {
    status: Arc<StatusView>,
    progress: Arc<Progress>,
    requests: Arc<tokio::sync::Semaphore>,
}

impl Waiting {
    pub fn new(genesis: &Genesis, node: PublicKey, progress: Arc<Progress>) -> Self {
        let status = StatusView {
            chain: genesis.chain.clone(),
            genesis: genesis.digest(),
            version: env!("CARGO_PKG_VERSION").into(),
            node,
            seat: None,
            epoch: Default::default(),
            view: Default::default(),
            leader: Default::default(),
            committed: Height(0),
            height: Height(0),
            time: genesis.time,
            state_root: Digest::ZERO,
            first_block: Height(1),
            checkpoint: None,
            join: None,
            peers: vec![],
            pool_txs: 0,
            pool_bytes: 0,
            relayed_bytes: 0,
            commit_ms_p50: None,
            commit_ms_p99: None,
            halted: None,
        };
        let requests = Arc::new(tokio::sync::Semaphore::new(limits::HTTP_CONCURRENCY_MAX));
        Self { status: Arc::new(status), progress, requests }
    }
}

/// Listens and serves until the token is cancelled.
pub async fn start_waiting(
    waiting: Waiting,
    http: &Http,
    shutdown: CancellationToken,
) -> Result<Server, ApiError> {
    let router = Router::new()
        .route("/healthz", get(|| async { "joining\n" }))
        .route("/v1/status", get(status))
        .fallback(wait)
        .layer(middleware::from_fn_with_state(waiting.clone(), bound))
        .with_state(waiting);
    serve(router, http, shutdown).await
}

async fn bound(
    State(waiting): State<Waiting>,
    request: axum::extract::Request,
    next: middleware::Next,
) -> Result<Response, Refusal> {
    let Ok(_held) = waiting.requests.try_acquire() else {
        return Err(Refusal::busy("too many requests at once", "try again in a moment"));
    };
    Ok(next.run(request).await)
}

async fn status(State(waiting): State<Waiting>) -> Json<StatusView> {
    Json(StatusView { join: Some(waiting.progress.view()), ..(*waiting.status).clone() })
}

async fn wait(State(waiting): State<Waiting>) -> Refusal {
    Refusal::busy(
        format!("this node joins the chain: {}", waiting.progress.view().text()),
        "ask another node, or wait: GET /v1/status shows how far it has come",
    )
}
