//! The node's status, the genesis file and blocks.

use super::{
    Api, Refusal,
    extract::{Path, Query, page_rows, parse},
    json_bytes, view,
};
use crate::diagnosis;
use axum::{Json, extract::State, response::Response};
use serde::Deserialize;
use std::sync::Arc;
use twinfold_ledger::LedgerError;
use twinfold_types::{
    Height,
    api::{BlockSummary, BlockView, DiagnosisView, ErrorView, StatusView},
    trust::TrustedCheckpoint,
};
use utoipa::IntoParams;

/// Where this node stands.
#[utoipa::path(get, path = "/v1/status", tag = "chain", responses(
    (status = OK, description = "The node's status", body = StatusView),
    (status = "default", description = "A refusal", body = ErrorView),
))]
pub async fn status(State(api): State<Arc<Api>>) -> Result<Json<StatusView>, Refusal> {
    api.read(|api| Ok(Json(view::status(&api.node)))).await
}

/// Why the chain moves or stands still, as far as this node can tell.
#[utoipa::path(get, path = "/v1/diagnosis", tag = "chain", responses(
    (status = OK, description = "Findings, and what they rest on", body = DiagnosisView),
    (status = "default", description = "A refusal", body = ErrorView),
))]
pub async fn diagnosis(State(api): State<Arc<Api>>) -> Json<DiagnosisView> {
    Json(diagnosis::view(&api.node))
}

/// The genesis file, as this node started with it.
#[utoipa::path(get, path = "/v1/genesis", tag = "chain", responses(
    (status = OK, description = "The genesis file", body = Object),
    (status = "default", description = "A refusal", body = ErrorView),
))]
pub async fn genesis(State(api): State<Arc<Api>>) -> Response {
    json_bytes(api.genesis.clone())
}

/// The newest stable checkpoint with its signatures and its block's header: what a node that
/// joins is given by its operator, who compares it with other nodes' first.
#[utoipa::path(get, path = "/v1/checkpoint", tag = "chain", responses(
    (status = OK, description = "The checkpoint", body = Object),
    (status = "default", description = "A refusal", body = ErrorView),
))]
pub async fn checkpoint(State(api): State<Arc<Api>>) -> Result<Json<TrustedCheckpoint>, Refusal> {
    api.read(|api| {
        let reader = &api.node.reader;
        let none = || LedgerError::NotCertified("the chain's first checkpoint".into());
        let certificate = reader.stable().ok_or_else(none)?;
        let block = reader.block(certificate.checkpoint.height)?.ok_or_else(none)?;
        let trail = reader.trail(certificate.checkpoint.epoch)?;
        Ok(Json(TrustedCheckpoint::new(api.node.chain, trail, certificate, block.header)))
    })
    .await
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct BlocksQuery {
    /// Only blocks below this height.
    before: Option<u64>,
    /// Rows, 1 to 200; 50 when not given.
    limit: Option<usize>,
}

/// Blocks, newest first.
#[utoipa::path(get, path = "/v1/blocks", tag = "chain", params(BlocksQuery), responses(
    (status = OK, description = "Blocks", body = Vec<BlockSummary>),
    (status = "default", description = "A refusal", body = ErrorView),
))]
pub async fn blocks(
    State(api): State<Arc<Api>>,
    Query(query): Query<BlocksQuery>,
) -> Result<Json<Vec<BlockSummary>>, Refusal> {
    let (before, rows) = (query.before.map(Height), page_rows(query.limit)?);
    api.read(move |api| Ok(Json(view::blocks(&api.node.reader, before, rows)?))).await
}

/// A block with its transactions and receipts.
#[utoipa::path(get, path = "/v1/blocks/{height}", tag = "chain",
    params(("height" = u64, Path, description = "Height, from 1")),
    responses(
        (status = OK, description = "The block", body = BlockView),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn block(
    State(api): State<Arc<Api>>,
    Path(height): Path<String>,
) -> Result<Json<BlockView>, Refusal> {
    let height = Height(parse("height", &height)?);
    api.read(move |api| {
        let found = view::block(&api.node.reader, height)?;
        found.map(Json).ok_or_else(|| no_block(api, height))
    })
    .await
}

pub fn no_block(api: &Api, height: Height) -> Refusal {
    let (newest, first) = (api.node.reader.head().height, api.node.reader.first_block());
    if height.0 > 0 && height < first {
        return Refusal::gone(format!("block {height}"), first);
    }
    Refusal::unknown(
        format!("block {height}"),
        format!("this node has executed heights {first} to {newest}; genesis (0) has no block"),
    )
}
