//! Data sets and their versions. Their content is payloads: `GET /v1/blobs/{digest}`.

use super::{
    Api, Refusal,
    extract::{PageQuery, Path, Query, cut, page_rows},
    members::page,
};
use axum::{Json, extract::State};
use serde::Deserialize;
use std::sync::Arc;
use twinfold_types::{
    PublicKey,
    api::{DatasetView, ErrorView, Page},
    dataset::{Dataset, DatasetVersion},
    limits,
    state_key::{self, Prefix},
};
use utoipa::IntoParams;

/// Data sets, in the order of their names.
#[utoipa::path(get, path = "/v1/datasets", tag = "learning", params(PageQuery), responses(
    (status = OK, description = "A page of data sets", body = Page<Dataset>),
    (status = "default", description = "A refusal", body = ErrorView),
))]
pub async fn datasets(
    State(api): State<Arc<Api>>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Dataset>>, Refusal> {
    let rows = page_rows(query.limit)?;
    let after = query.after.map(|name| state_key::dataset(&name));
    api.read(move |api| {
        let name = |dataset: &Dataset| dataset.spec.name.clone();
        Ok(Json(page(api, Prefix::Dataset, after, rows, name)?))
    })
    .await
}

/// A data set, and who may append to it.
#[utoipa::path(get, path = "/v1/datasets/{name}", tag = "learning",
    params(("name" = String, Path, description = "Name of the data set")),
    responses(
        (status = OK, description = "The data set", body = DatasetView),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn dataset(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
) -> Result<Json<DatasetView>, Refusal> {
    api.read(move |api| {
        let dataset = find(api, &name)?;
        let prefix = state_key::dataset_grants(&dataset.id);
        let most = limits::DATASET_GRANTS_MAX as usize;
        let granted = api.node.reader.scan::<PublicKey>(&prefix, None, most)?;
        let granted = granted.into_iter().map(|(_, member)| member).collect();
        Ok(Json(DatasetView { dataset, granted }))
    })
    .await
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct VersionsQuery {
    /// Only versions below this one.
    before: Option<u64>,
    /// Rows, 1 to 200; 50 when not given.
    limit: Option<usize>,
}

/// A data set's versions, newest first.
#[utoipa::path(get, path = "/v1/datasets/{name}/versions", tag = "learning",
    params(("name" = String, Path, description = "Name of the data set"), VersionsQuery),
    responses(
        (status = OK, description = "Versions", body = Vec<DatasetVersion>),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn versions(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    Query(query): Query<VersionsQuery>,
) -> Result<Json<Vec<DatasetVersion>>, Refusal> {
    let rows = page_rows(query.limit)?;
    api.read_heavy(move |api| {
        let dataset = find(api, &name)?;
        let before = query.before.map(|number| state_key::dataset_version(&dataset.id, number));
        let before = before.as_ref().map(|key| key.bytes());
        let prefix = state_key::dataset_versions(&dataset.id);
        let found = api.node.reader.scan_back::<DatasetVersion>(&prefix, before, rows)?;
        Ok(Json(found.into_iter().map(|(_, version)| version).collect()))
    })
    .await
}

/// A version: what it contains, who appended it, and the payloads that hold it.
#[utoipa::path(get, path = "/v1/datasets/{name}/versions/{version}", tag = "learning",
    params(
        ("name" = String, Path, description = "Name of the data set"),
        ("version" = u64, Path, description = "Its number, from 1 on"),
    ),
    responses(
        (status = OK, description = "The version", body = DatasetVersion),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn version(
    State(api): State<Arc<Api>>,
    Path((name, number)): Path<(String, u64)>,
) -> Result<Json<DatasetVersion>, Refusal> {
    api.read(move |api| {
        let dataset = find(api, &name)?;
        let found = api.node.reader.get(&state_key::dataset_version(&dataset.id, number))?;
        found.map(Json).ok_or_else(|| {
            let hint = match dataset.versions {
                0 => "it has no version yet".into(),
                newest => format!("its versions are 1 to {newest}"),
            };
            Refusal::unknown(format!("version {number} of data set {:?}", cut(&name)), hint)
        })
    })
    .await
}

fn find(api: &Api, name: &str) -> Result<Dataset, Refusal> {
    let found = api.node.reader.get(&state_key::dataset(name))?;
    found.ok_or_else(|| {
        Refusal::unknown(format!("data set {:?}", cut(name)), "GET /v1/datasets lists their names")
    })
}
