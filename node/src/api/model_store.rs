//! The model store: published models by what is said of them, their metrics and files.

use super::{
    Api, Refusal, blobs,
    extract::{Octets, Path, Query, cut, page_rows, parse},
    models,
    reader::ByMember,
    view,
};
use axum::{Json, extract::State, http::HeaderMap, response::Response};
use serde::Deserialize;
use std::sync::Arc;
use twinfold_types::{
    api::{ErrorView, ModelView, Page},
    limits,
    model::{Level, ModelRecord, ModelSource},
    state_key,
    store::{KINDS, MetricRecord, ModelAbout},
};
use utoipa::IntoParams;

/// Words of one search: each is looked for in the texts of every model.
const WORDS_MAX: usize = 8;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SearchQuery {
    /// Words that each stand in the name, description, scenario or a tag, whatever the case.
    text: Option<String>,
    /// A tag of the model, whole.
    tag: Option<String>,
    /// Its scenario, whole.
    scenario: Option<String>,
    /// Its licence expression, whole.
    licence: Option<String>,
    /// `safetensors` or `onnx`.
    kind: Option<String>,
    /// Deprecated models too; without them when not given.
    deprecated: Option<bool>,
    /// The `next` of the page before.
    after: Option<String>,
    /// Rows, 1 to 200; 50 when not given.
    limit: Option<usize>,
}

/// Published models that fit, newest first. One request looks at 1,000 models at most, so a page
/// may have few rows or none and still a next one.
#[utoipa::path(get, path = "/v1/models/search", tag = "learning", params(SearchQuery), responses(
    (status = OK, description = "A page of models", body = Page<ModelView>),
    (status = "default", description = "A refusal", body = ErrorView),
))]
pub async fn search(
    State(api): State<Arc<Api>>,
    Query(query): Query<SearchQuery>,
) -> Result<Json<Page<ModelView>>, Refusal> {
    let rows = page_rows(query.limit)?;
    let after = query.after.as_deref().map(|text| parse("after", text)).transpose()?;
    let wanted = Wanted::of(&query)?;
    api.read_heavy(move |api| Ok(Json(page(api, &wanted, after, rows)?))).await
}

fn page(
    api: &Api,
    wanted: &Wanted,
    mut before: Option<u64>,
    rows: usize,
) -> Result<Page<ModelView>, Refusal> {
    let reader = &api.node.reader;
    let (mut found, mut looked) = (Vec::new(), 0);
    while looked < limits::SEARCH_MODELS_MAX {
        let batch = reader.models(None, Level::Global, before, limits::PAGE_ROWS_MAX)?;
        let last = batch.len() < limits::PAGE_ROWS_MAX;
        looked += batch.len();
        for (id, record) in batch {
            before = Some(record.version);
            if !wanted.fits(&record) {
                continue;
            }
            let view = view::model(reader, id, record)?;
            if wanted.deprecated || view.deprecation.is_none() {
                found.push(view);
            }
            if found.len() == rows {
                return Ok(Page { rows: found, next: before.map(|version| version.to_string()) });
            }
        }
        if last {
            return Ok(Page { rows: found, next: None });
        }
    }
    Ok(Page { rows: found, next: before.map(|version| version.to_string()) })
}

/// What a search asks for.
#[derive(Default)]
struct Wanted {
    words: Vec<String>,
    tag: Option<String>,
    scenario: Option<String>,
    licence: Option<String>,
    kind: Option<String>,
    deprecated: bool,
}

impl Wanted {
    fn of(query: &SearchQuery) -> Result<Self, Refusal> {
        let kind = query.kind.clone();
        if let Some(kind) = kind.as_deref().filter(|kind| !KINDS.contains(kind)) {
            return Err(Refusal::bad_request(
                format!("kind: expected one of {}, got {:?}", KINDS.join(", "), cut(kind)),
                "leave it out for models of every kind",
            ));
        }
        let text = query.text.as_deref().unwrap_or_default().to_lowercase();
        let words: Vec<String> = text.split_whitespace().map(Into::into).collect();
        if words.len() > WORDS_MAX {
            return Err(Refusal::bad_request(
                format!("text: {} words; at most {WORDS_MAX} are taken", words.len()),
                "search for the rarest of them",
            ));
        }
        Ok(Self {
            words,
            tag: query.tag.clone(),
            scenario: query.scenario.clone(),
            licence: query.licence.clone(),
            kind,
            deprecated: query.deprecated.unwrap_or(false),
        })
    }

    fn fits(&self, record: &ModelRecord) -> bool {
        let ModelSource::Published { about, .. } = &record.source else { return false };
        let same = |wanted: &Option<String>, found: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == found)
        };
        same(&self.scenario, &about.scenario)
            && same(&self.licence, &about.licence)
            && same(&self.kind, about.form.kind())
            && self.tag.as_ref().is_none_or(|tag| about.tags.contains(tag))
            && self.words_stand_in(about)
    }

    fn words_stand_in(&self, about: &ModelAbout) -> bool {
        if self.words.is_empty() {
            return true;
        }
        let ModelAbout { name, description, scenario, tags, .. } = about;
        let text = [name, description, scenario].into_iter().chain(tags);
        let text = text.map(|part| part.to_lowercase()).collect::<Vec<_>>().join("\n");
        self.words.iter().all(|word| text.contains(word))
    }
}

/// Who measured what of a model, oldest first.
#[utoipa::path(get, path = "/v1/models/{id}/metrics", tag = "learning",
    params(("id" = String, Path, description = "Identity of the model")),
    responses(
        (status = OK, description = "The metrics", body = Vec<MetricRecord>),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn metrics(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Json<Vec<MetricRecord>>, Refusal> {
    let id = models::parse_id(&id)?;
    api.read_heavy(move |api| {
        models::find(api, &id)?;
        // There are at most 256.
        Ok(Json(api.node.reader.all(&state_key::metrics_of(&id))?))
    })
    .await
}

/// A published model's file as it was given, or a part of it: check it against the record.
#[utoipa::path(get, path = "/v1/models/{id}/file", tag = "learning",
    params(
        ("id" = String, Path, description = "Identity of the model"),
        ("range" = Option<String>, Header, description = "`bytes=FIRST-LAST`, `bytes=FIRST-` or `bytes=-LENGTH`"),
    ),
    responses(
        (status = OK, description = "The file", content_type = "application/octet-stream",
            body = Octets),
        (status = PARTIAL_CONTENT, description = "The part asked for",
            content_type = "application/octet-stream", body = Octets),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn file(
    reader: ByMember,
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let id = models::parse_id(&id)?;
    let record = api.read(move |api| models::find(api, &id)).await?;
    let ModelSource::Published { file, .. } = &record.source else {
        return Err(Refusal::bad_request(
            format!("model {id} was made here and has no file"),
            "fetch its canonical form: /v1/models/{id}/content",
        ));
    };
    blobs::serve(&api, &reader, &file.digest(), &headers).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfold_types::{BlobId, Digest, Height, PublicKey, TimeMs, TxId, store::FileForm};

    fn record() -> ModelRecord {
        let about = ModelAbout {
            name: "Digits base".into(),
            version: "1.0.0".into(),
            description: "for small screens".into(),
            licence: "Apache-2.0".into(),
            tags: vec!["vision".into(), "edge".into()],
            scenario: "handwriting".into(),
            datasets: vec![],
            sha256: Digest::ZERO,
            form: FileForm::Safetensors { tensors: 2, values: 650 },
        };
        let (tx, by, file) = (TxId(Digest::ZERO), PublicKey([0; 32]), BlobId::whole_copies(b"", 4));
        ModelRecord {
            task: None,
            level: Level::Global,
            version: 0,
            digest: Digest::ZERO,
            tensors: Digest::ZERO,
            parents: vec![],
            source: ModelSource::Published { tx, by, about: Box::new(about), file },
            blob: None,
            height: Height(1),
            time: TimeMs(1),
        }
    }

    fn fits(query: &str) -> bool {
        let uri: axum::http::Uri = format!("/v1/models/search?{query}").parse().unwrap();
        let axum::extract::Query(query) = axum::extract::Query::try_from_uri(&uri).unwrap();
        Wanted::of(&query).unwrap().fits(&record())
    }

    #[test]
    fn a_search_finds_words_anywhere_and_the_rest_whole() {
        for good in [
            "",
            "text=DIGITS+screens",
            "text=hand+edge",
            "tag=edge",
            "scenario=handwriting",
            "licence=Apache-2.0&kind=safetensors&text=base",
        ] {
            assert!(fits(good), "{good}");
        }
        for bad in [
            "text=digits+speech",
            "tag=edg",
            "scenario=hand",
            "licence=MIT",
            "kind=onnx",
            "tag=vision&licence=MIT",
        ] {
            assert!(!fits(bad), "{bad}");
        }
    }

    #[test]
    fn an_unknown_kind_and_too_many_words_are_refused() {
        for (query, said) in
            [("kind=pickle", "safetensors, onnx"), ("text=a+b+c+d+e+f+g+h+i", "9 words")]
        {
            let uri: axum::http::Uri = format!("/v1/models/search?{query}").parse().unwrap();
            let axum::extract::Query(query) = axum::extract::Query::try_from_uri(&uri).unwrap();
            let refusal = Wanted::of(&query).err().unwrap();
            assert!(refusal.error.contains(said), "{}", refusal.error);
        }
    }
}
