//! Models: versions, content, lineage, proofs.

use super::{
    Api, Refusal,
    extract::{Octets, Path, Query, cut, page_rows, parse},
    reader::ByMember,
    tasks, transfer, txs, view,
};
use axum::{Json, extract::State, response::Response};
use serde::Deserialize;
use std::sync::Arc;
use twinfold_types::{
    ClusterId,
    api::{ErrorView, LineageView, ModelView},
    model::{Level, ModelId, ModelRecord},
    task::Task,
};
use utoipa::IntoParams;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ModelsQuery {
    /// Identity or name of a task; published models without one.
    task: Option<String>,
    /// `global` or the number of a cluster; every level of the task without one.
    level: Option<String>,
    /// Only versions below this one; needs a level where there are several.
    before: Option<u64>,
    /// Rows, 1 to 200; 50 when not given.
    limit: Option<usize>,
}

/// Models of a task, or published ones, newest first.
#[utoipa::path(get, path = "/v1/models", tag = "learning", params(ModelsQuery), responses(
    (status = OK, description = "Models", body = Vec<ModelView>),
    (status = "default", description = "A refusal", body = ErrorView),
))]
pub async fn models(
    State(api): State<Arc<Api>>,
    Query(query): Query<ModelsQuery>,
) -> Result<Json<Vec<ModelView>>, Refusal> {
    let (before, rows) = (query.before, page_rows(query.limit)?);
    let level = query.level.as_deref().map(parse_level).transpose()?;
    api.read_heavy(move |api| {
        let task = query.task.map(|task| tasks::find(api, &task)).transpose()?;
        let levels = levels(task.as_ref(), level, before)?;
        let mut found = Vec::new();
        for level in levels {
            let id = task.as_ref().map(|task| &task.id);
            found.extend(api.node.reader.models(id, level, before, rows)?);
            newest_first(&mut found, rows);
        }
        let reader = &api.node.reader;
        let rows: Result<_, _> =
            found.into_iter().map(|(id, record)| view::model(reader, id, record)).collect();
        Ok(Json(rows?))
    })
    .await
}

/// Which levels a query means.
fn levels(
    task: Option<&Task>,
    level: Option<Level>,
    before: Option<u64>,
) -> Result<Vec<Level>, Refusal> {
    match (task, level) {
        (_, Some(level)) => Ok(vec![level]),
        (None, None) => Ok(vec![Level::Global]),
        (Some(_), None) if before.is_some() => Err(Refusal::bad_request(
            "before: expected a level beside it, because each level counts its own versions",
            "add level=global or level=CLUSTER",
        )),
        (Some(task), None) => {
            let clusters = (0..task.spec.clusters).map(|id| Level::Cluster(ClusterId(id)));
            Ok(std::iter::once(Level::Global).chain(clusters).collect())
        }
    }
}

fn newest_first(found: &mut Vec<(ModelId, ModelRecord)>, rows: usize) {
    found.sort_by_key(|(_, record)| std::cmp::Reverse((record.height, record.version)));
    found.truncate(rows);
}

fn parse_level(text: &str) -> Result<Level, Refusal> {
    if text == "global" {
        return Ok(Level::Global);
    }
    match text.parse() {
        Ok(cluster) => Ok(Level::Cluster(ClusterId(cluster))),
        Err(_) => Err(Refusal::bad_request(
            format!("level: expected global or the number of a cluster, got {:?}", cut(text)),
            "level=global, or level=0 for the first cluster",
        )),
    }
}

/// A model's record.
#[utoipa::path(get, path = "/v1/models/{id}", tag = "learning",
    params(("id" = String, Path, description = "Identity of the model")),
    responses(
        (status = OK, description = "The model", body = ModelView),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn model(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Json<ModelView>, Refusal> {
    let id = parse_id(&id)?;
    api.read(move |api| {
        let record = find(api, &id)?;
        Ok(Json(view::model(&api.node.reader, id, record)?))
    })
    .await
}

/// A model's canonical form: check it against the record's digest.
#[utoipa::path(get, path = "/v1/models/{id}/content", tag = "learning",
    params(("id" = String, Path, description = "Identity of the model")),
    responses(
        (status = OK, description = "Little-endian 32-bit steps, tensor after tensor",
            content_type = "application/octet-stream", body = Octets),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn content(
    _: ByMember,
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let id = parse_id(&id)?;
    let record = api.read(move |api| find(api, &id)).await?;
    if record.file_only().is_some() {
        return Err(Refusal::bad_request(
            format!("model {id} is a file without a canonical form"),
            "fetch the file itself: /v1/models/{id}/file",
        ));
    }
    let permit = transfer::permit(&api.downloads, "downloads").await?;
    let blob = record.blob.map(|blob| blob.digest());
    let content = api.node.model(&record.digest, blob).await?;
    Ok(transfer::from_memory(content.into(), permit))
}

/// A model and everything it was made from.
#[utoipa::path(get, path = "/v1/models/{id}/lineage", tag = "learning",
    params(("id" = String, Path, description = "Identity of the model")),
    responses(
        (status = OK, description = "The lineage", body = LineageView),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn lineage(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Json<LineageView>, Refusal> {
    let id = parse_id(&id)?;
    let found = api.read_heavy(move |api| Ok(view::lineage(&api.node.reader, id)?)).await?;
    found.map(Json).ok_or_else(|| unknown(&id))
}

/// Proof of a model's record and of what it was made from.
#[utoipa::path(get, path = "/v1/proofs/model/{id}", tag = "proofs",
    params(("id" = String, Path, description = "Identity of the model")),
    responses(
        (status = OK, description = "A bundle in the canonical encoding",
            content_type = "application/octet-stream", body = Octets),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn model_proof(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let id = parse_id(&id)?;
    api.read_heavy(move |api| {
        // Known at all: the proof itself cannot tell "not yet" from "never".
        find(api, &id)?;
        Ok(txs::bundle(&api.node.reader.prove_model(&id)?))
    })
    .await
}

pub fn parse_id(text: &str) -> Result<ModelId, Refusal> {
    parse("model", text).map(ModelId)
}

pub fn find(api: &Api, id: &ModelId) -> Result<ModelRecord, Refusal> {
    api.node.reader.model(id)?.ok_or_else(|| unknown(id))
}

pub fn unknown(id: &ModelId) -> Refusal {
    Refusal::unknown(
        format!("model {id}"),
        "an identity is the digest of a record, not of the content: GET /v1/models lists them",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_global_or_a_cluster() {
        assert_eq!(parse_level("global"), Ok(Level::Global));
        assert_eq!(parse_level("3"), Ok(Level::Cluster(ClusterId(3))));
        assert!(parse_level("70000").unwrap_err().error.contains("70000"));
    }

    #[test]
    fn published_models_have_one_level() {
        assert_eq!(levels(None, None, Some(4)), Ok(vec![Level::Global]));
    }
}
