//! What is read from the model store.

use super::{Client, ClientError, http::segment};
use twinfold_types::{
    api::{ModelView, Page},
    limits,
    model::ModelId,
    store::MetricRecord,
};

/// Requests that one search makes before it gives what it has.
const PAGES_MAX: usize = 1_000;

/// What a published model must have to be found.
#[derive(Clone, Debug, Default)]
pub struct Search {
    pub text: String,
    pub tag: Option<String>,
    pub scenario: Option<String>,
    pub licence: Option<String>,
    pub kind: Option<String>,
    pub deprecated: bool,
}

impl Search {
    fn query(&self) -> String {
        let text = (!self.text.is_empty()).then_some(&self.text);
        let named = [
            ("text", text),
            ("tag", self.tag.as_ref()),
            ("scenario", self.scenario.as_ref()),
            ("licence", self.licence.as_ref()),
            ("kind", self.kind.as_ref()),
        ];
        let given = named.iter().filter_map(|(name, value)| Some((name, (*value)?)));
        let query: String =
            given.map(|(name, value)| format!("&{name}={}", segment(value))).collect();
        if self.deprecated { format!("{query}&deprecated=true") } else { query }
    }
}

impl Client {
    /// Published models that fit, newest first, at most so many.
    pub fn search_models(
        &self,
        search: &Search,
        limit: usize,
    ) -> Result<Vec<ModelView>, ClientError> {
        let (mut found, mut after) = (vec![], String::new());
        for _ in 0..PAGES_MAX {
            // A page may be short and yet have a next one.
            let rows = limit.saturating_sub(found.len()).min(limits::PAGE_ROWS_MAX);
            if rows == 0 {
                break;
            }
            let path = format!("/v1/models/search?limit={rows}{}{after}", search.query());
            let page: Page<ModelView> = self.json(path, "a page of models")?;
            found.extend(page.rows);
            match page.next {
                Some(next) => after = format!("&after={}", segment(&next)),
                None => break,
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Who measured what of a model, oldest first.
    pub fn model_metrics(&self, id: &ModelId) -> Result<Vec<MetricRecord>, ClientError> {
        self.json(format!("/v1/models/{id}/metrics"), "a model's metrics")
    }
}
