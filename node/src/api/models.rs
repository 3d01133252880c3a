//! Models: versions, content, lineage, proofs.

use super::{
    Api, Refusal,
    extract::{Octets, Path, Query, cut, page_rows, parse},
    reader::ByMember,
    tasks, transfer, txs, view,
};
use axum::{Json, extract::State, response::Response};
use bytes::Bytes;
use serde::Deserialize;
use std::sync::Arc;
use twinfold_types::{
    ClusterId, RegionId,
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
            let regions = task.spec.regions.iter().flat_map(|regions| regions.ids());
            let regions = regions.map(Level::Region);
            Ok(std::iter::once(Level::Global).chain(regions).chain(clusters).collect())
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
    if let Some(region) = text.strip_prefix("region-").and_then(|text| text.parse().ok()) {
        return Ok(Level::Region(RegionId(region)));
    }
    match text.parse() {
        Ok(cluster) => Ok(Level::Cluster(ClusterId(cluster))),
        Err(_) => Err(Refusal::bad_request(
            format!(
                "level: expected global, region-N or the number of a cluster, got {:?}",
                cut(text)
            ),
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

/// A model's change from another, as it was told last.
#[derive(Clone)]
pub struct Change {
    to: ModelId,
    from: ModelId,
    payload: Bytes,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ChangeQuery {
    /// Identity of the model that the asker has.
    from: String,
}

/// What a model is more than another of its task: whoever has that one gets it with few bytes.
#[utoipa::path(get, path = "/v1/models/{id}/change", tag = "learning",
    params(("id" = String, Path, description = "Identity of the model"), ChangeQuery),
    responses(
        (status = OK, description = "An update's payload (docs/aggregation.md) against the other model",
            content_type = "application/octet-stream", body = Octets),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn change(
    _: ByMember,
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    Query(query): Query<ChangeQuery>,
) -> Result<Response, Refusal> {
    let (to, from) = (parse_id(&id)?, parse_id(&query.from)?);
    let permit = transfer::permit(&api.downloads, "downloads").await?;
    let known = api.change.lock().clone().filter(|known| (known.to, known.from) == (to, from));
    let payload = match known {
        Some(known) => known.payload,
        None => {
            let payload = make_change(&api, &to, &from).await?;
            *api.change.lock() = Some(Change { to, from, payload: payload.clone() });
            payload
        }
    };
    Ok(transfer::from_memory(payload, permit))
}

async fn make_change(api: &Arc<Api>, to: &ModelId, from: &ModelId) -> Result<Bytes, Refusal> {
    let (new, old) = (*to, *from);
    let records = api.read(move |api| Ok((find(api, &new)?, find(api, &old)?))).await?;
    let (to, from) = records;
    let none = |why: &str| {
        Refusal::bad_request(format!("no change between these models: {why}"), "fetch all of it")
    };
    let task = to.task.filter(|_| to.task == from.task);
    let task = task.ok_or_else(|| none("they are not of one task"))?;
    let task = api.read(move |api| Ok(api.node.reader.task(&task)?)).await?;
    let task = task.ok_or_else(|| none("their task is not known"))?;
    let content = |record: &ModelRecord| {
        let (digest, blob) = (record.digest, record.blob.map(|blob| blob.digest()));
        async move { api.node.model(&digest, blob).await }
    };
    let (new, old) = (content(&to).await?, content(&from).await?);
    let base = from.digest;
    let made = tokio::task::spawn_blocking(move || {
        let tensors = &task.spec.tensors;
        let layout = twinfold_fl::Layout::of(tensors).ok()?;
        let steps = |bytes: &[u8]| twinfold_fl::steps_from_canonical(bytes, tensors).ok();
        twinfold_fl::down::encode(&layout, task.id, base, &steps(&old)?, &steps(&new)?)
    });
    let made = made.await.map_err(Refusal::fault)?;
    made.map(Bytes::from).ok_or_else(|| none("it is longer than the model"))
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
        assert_eq!(parse_level("region-1"), Ok(Level::Region(RegionId(1))));
        assert!(parse_level("70000").unwrap_err().error.contains("70000"));
    }

    #[test]
    fn published_models_have_one_level() {
        assert_eq!(levels(None, None, Some(4)), Ok(vec![Level::Global]));
    }
}
