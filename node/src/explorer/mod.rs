//! Pages for people, rendered here, without scripts: what runs, what was ordered,
//! what was learned. They read the same views that the API serves.

mod curve;
mod format;
mod pages;

pub use curve::Curves;

use crate::api::{Api, Refusal};
use axum::{
    Router,
    extract::{Path, Query, State},
    http::header,
    response::{Html, IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use std::sync::Arc;

const STYLE: &str = include_str!("../../templates/style.css");

/// The pages' routes; they are no part of the API's document.
pub fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/", get(start))
        .route("/epochs", get(epochs))
        .route("/block/{height}", get(block))
        .route("/task/{task}", get(task))
        .route("/model/{id}", get(model))
        .route("/tx/{id}", get(tx))
        .route("/style.css", get(style))
}

/// A page, or one that says what is wrong.
struct Page(Result<String, Refusal>);

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        match self.0 {
            Ok(html) => Html(html).into_response(),
            Err(refusal) => (refusal.status, Html(pages::refusal(&refusal))).into_response(),
        }
    }
}

async fn start(State(api): State<Arc<Api>>) -> Page {
    Page(api.read_heavy(pages::start).await)
}

#[derive(Deserialize)]
struct EpochsQuery {
    from: Option<u64>,
}

async fn epochs(State(api): State<Arc<Api>>, Query(query): Query<EpochsQuery>) -> Page {
    Page(api.read_heavy(move |api| pages::epochs(api, query.from)).await)
}

async fn block(State(api): State<Arc<Api>>, Path(height): Path<String>) -> Page {
    Page(api.read(move |api| pages::block(api, &height)).await)
}

async fn task(State(api): State<Arc<Api>>, Path(task): Path<String>) -> Page {
    Page(api.read_heavy(move |api| pages::task(api, &task)).await)
}

async fn model(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Page {
    Page(api.read(move |api| pages::model(api, &id)).await)
}

async fn tx(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Page {
    Page(api.read(move |api| pages::tx(api, &id)).await)
}

async fn style() -> Response {
    let headers =
        [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "max-age=60")];
    (headers, STYLE).into_response()
}
