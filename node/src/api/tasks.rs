//! Tasks and their rounds.

use super::{
    Api, Refusal,
    extract::{Octets, PageQuery, Path, Query, cut, page_rows, parse},
    members::page,
    txs, view,
};
use axum::{Json, extract::State, response::Response};
use serde::Deserialize;
use std::sync::Arc;
use twinfold_types::{
    ClusterId, PublicKey, RoundNumber, TaskId,
    api::{ContributionView, ErrorView, Page, PrivacyView, RoundView, TaskView},
    round::{ContributionTotal, RoundKey},
    state_key::{self, Prefix, StateKey},
    task::{
        Task,
        evaluation::Evaluation,
        forming::Formed,
        masks::{DealtShares, Masking},
        selection::Drawing,
    },
};
use utoipa::IntoParams;

/// Learning tasks, in the order of their identities.
#[utoipa::path(get, path = "/v1/tasks", tag = "learning", params(PageQuery), responses(
    (status = OK, description = "A page of tasks", body = Page<TaskView>),
    (status = "default", description = "A refusal", body = ErrorView),
))]
pub async fn tasks(
    State(api): State<Arc<Api>>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<TaskView>>, Refusal> {
    let rows = page_rows(query.limit)?;
    let after = query.after.map(|id| parse("after", &id)).transpose()?;
    let after = after.map(|id| state_key::task(&TaskId(id)));
    api.read(move |api| {
        let page = page(api, Prefix::Task, after, rows, |task: &Task| task.id.to_string())?;
        let rows = page.rows.iter().map(|task| view::task(&api.node.reader, &task.id));
        let rows: Vec<_> = rows.collect::<Result<_, _>>()?;
        Ok(Json(Page { rows: rows.into_iter().flatten().collect(), next: page.next }))
    })
    .await
}

/// A task with its clusters: what a trainer needs to know before it trains.
#[utoipa::path(get, path = "/v1/tasks/{task}", tag = "learning",
    params(("task" = String, Path, description = "Identity or name")),
    responses(
        (status = OK, description = "The task", body = TaskView),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn task(
    State(api): State<Arc<Api>>,
    Path(task): Path<String>,
) -> Result<Json<TaskView>, Refusal> {
    api.read(move |api| {
        let found = find(api, &task)?;
        let view = view::task(&api.node.reader, &found.id)?;
        Ok(Json(view.ok_or_else(|| unknown(&task))?))
    })
    .await
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RoundsQuery {
    /// The cluster whose rounds are meant.
    cluster: u16,
    /// Only rounds below this number.
    before: Option<u64>,
    /// Rows, 1 to 200; 50 when not given. Fewer come when rounds are large.
    limit: Option<usize>,
}

/// A cluster's rounds with their updates, newest first.
#[utoipa::path(get, path = "/v1/tasks/{task}/rounds", tag = "learning",
    params(("task" = String, Path, description = "Identity or name"), RoundsQuery),
    responses(
        (status = OK, description = "Rounds", body = Vec<RoundView>),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn rounds(
    State(api): State<Arc<Api>>,
    Path(task): Path<String>,
    Query(query): Query<RoundsQuery>,
) -> Result<Json<Vec<RoundView>>, Refusal> {
    let rows = page_rows(query.limit)?;
    let id = ClusterId(query.cluster);
    api.read_heavy(move |api| {
        let task = find(api, &task)?;
        let cluster = api.node.reader.cluster(&task.id, id)?.ok_or_else(|| {
            let hint = format!("its clusters are 0 to {}", task.spec.clusters.saturating_sub(1));
            Refusal::unknown(format!("cluster {id} of task {:?}", task.spec.name), hint)
        })?;
        Ok(Json(view::rounds(&api.node.reader, &cluster, query.before, rows)?))
    })
    .await
}

/// What was reported of a task's global versions, oldest first.
#[utoipa::path(get, path = "/v1/tasks/{task}/evaluations", tag = "learning",
    params(("task" = String, Path, description = "Identity or name"), PageQuery),
    responses(
        (status = OK, description = "A page of versions", body = Page<Evaluation>),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn evaluations(
    State(api): State<Arc<Api>>,
    Path(task): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Evaluation>>, Refusal> {
    let rows = page_rows(query.limit)?;
    let after: Option<u64> = query.after.map(|version| parse("after", &version)).transpose()?;
    api.read_heavy(move |api| {
        let task = find(api, &task)?.id;
        let after = after.map(|version| state_key::evaluation(&task, version));
        let (of_task, after) = (state_key::evaluations(&task), after.as_ref().map(StateKey::bytes));
        let found = api.node.reader.scan::<Evaluation>(&of_task, after, rows + 1)?;
        let found = found.into_iter().map(|(_, evaluation)| evaluation).collect();
        Ok(Json(super::members::cut(found, rows, |row: &Evaluation| row.version.to_string())))
    })
    .await
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RoundQuery {
    /// The cluster whose round is meant.
    cluster: u16,
    round: u64,
}

impl RoundQuery {
    fn round_of(&self, task: TaskId) -> RoundKey {
        RoundKey { task, cluster: ClusterId(self.cluster), round: RoundNumber(self.round) }
    }
}

/// Who was chosen for a round, and why.
#[utoipa::path(get, path = "/v1/tasks/{task}/drawing", tag = "learning",
    params(("task" = String, Path, description = "Identity or name"), RoundQuery),
    responses(
        (status = OK, description = "The drawing", body = Drawing),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn drawing(
    State(api): State<Arc<Api>>,
    Path(task): Path<String>,
    Query(query): Query<RoundQuery>,
) -> Result<Json<Drawing>, Refusal> {
    api.read_heavy(move |api| {
        let key = query.round_of(find(api, &task)?.id);
        let found = api.node.reader.get(&state_key::drawing(&key))?;
        Ok(Json(found.ok_or_else(|| {
            let hint = "tasks that choose draw once a round's least number of trainers is enrolled";
            Refusal::unknown(format!("drawing of round {}", query.round), hint)
        })?))
    })
    .await
}

/// Who takes part in a masked round, and how far it is.
#[utoipa::path(get, path = "/v1/tasks/{task}/masking", tag = "learning",
    params(("task" = String, Path, description = "Identity or name"), RoundQuery),
    responses(
        (status = OK, description = "The masked round", body = Masking),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn masking(
    State(api): State<Arc<Api>>,
    Path(task): Path<String>,
    Query(query): Query<RoundQuery>,
) -> Result<Json<Masking>, Refusal> {
    api.read(move |api| {
        let key = query.round_of(find(api, &task)?.id);
        let found = api.node.reader.get(&state_key::masking(&key))?;
        Ok(Json(found.ok_or_else(|| unknown_masking(query.round))?))
    })
    .await
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SharesQuery {
    /// The cluster whose round is meant.
    cluster: u16,
    round: u64,
    /// Place in the list of members.
    member: u32,
}

/// What each dealer of a masked round gave to one member, readable by that member alone.
#[utoipa::path(get, path = "/v1/tasks/{task}/shares", tag = "learning",
    params(("task" = String, Path, description = "Identity or name"), SharesQuery),
    responses(
        (status = OK, description = "Shares in the dealers' order", body = Vec<DealtShares>),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn shares(
    State(api): State<Arc<Api>>,
    Path(task): Path<String>,
    Query(query): Query<SharesQuery>,
) -> Result<Json<Vec<DealtShares>>, Refusal> {
    let SharesQuery { cluster, round, member } = query;
    api.read_heavy(move |api| {
        let key = RoundQuery { cluster, round }.round_of(find(api, &task)?.id);
        let shares = api.node.reader.dealt_shares(&key, member)?;
        Ok(Json(shares.ok_or_else(|| unknown_masking(round))?))
    })
    .await
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct MaskingProofQuery {
    /// The cluster whose round is meant.
    cluster: u16,
    round: u64,
    /// Place of a member whose deal is proved too.
    dealer: Option<u32>,
}

/// Proof of who takes part in a masked round and how far it is, under the newest stable checkpoint.
#[utoipa::path(get, path = "/v1/proofs/masking/{task}", tag = "proofs",
    params(("task" = String, Path, description = "Identity or name"), MaskingProofQuery),
    responses(
        (status = OK, description = "A bundle in the canonical encoding",
            content_type = "application/octet-stream", body = Octets),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn masking_proof(
    State(api): State<Arc<Api>>,
    Path(task): Path<String>,
    Query(query): Query<MaskingProofQuery>,
) -> Result<Response, Refusal> {
    let MaskingProofQuery { cluster, round, dealer } = query;
    api.read_heavy(move |api| {
        let key = RoundQuery { cluster, round }.round_of(find(api, &task)?.id);
        Ok(txs::bundle(&api.node.reader.prove_masking(&key, dealer)?))
    })
    .await
}

fn unknown_masking(round: u64) -> Refusal {
    let hint = "a masked round begins when the first trainer joins it with its keys";
    Refusal::unknown(format!("masked round {round}, or this member of it"), hint)
}

/// What each trainer has contributed to a task, in the order of their keys.
#[utoipa::path(get, path = "/v1/tasks/{task}/contributions", tag = "learning",
    params(("task" = String, Path, description = "Identity or name"), PageQuery),
    responses(
        (status = OK, description = "A page of trainers", body = Page<ContributionView>),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn contributions(
    State(api): State<Arc<Api>>,
    Path(task): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<ContributionView>>, Refusal> {
    let rows = page_rows(query.limit)?;
    let after: Option<PublicKey> = query.after.map(|key| parse("after", &key)).transpose()?;
    api.read(move |api| {
        let task = find(api, &task)?.id;
        let after = after.map(|trainer| state_key::contribution(&task, &trainer));
        let of_task = state_key::contributions(&task);
        let after = after.as_ref().map(StateKey::bytes);
        let found = api.node.reader.scan::<ContributionTotal>(&of_task, after, rows + 1)?;
        let view = |(key, total): (Vec<u8>, _)| {
            let trainer = state_key::parse_contribution(&key)?;
            Some(ContributionView { trainer, total })
        };
        let found = found.into_iter().filter_map(view).collect();
        let name = |row: &ContributionView| row.trainer.to_string();
        Ok(Json(super::members::cut(found, rows, name)))
    })
    .await
}

/// What trainers' updates have revealed in a task with declared noise, in the order of their keys.
#[utoipa::path(get, path = "/v1/tasks/{task}/privacy", tag = "learning",
    params(("task" = String, Path, description = "Identity or name"), PageQuery),
    responses(
        (status = OK, description = "A page of trainers", body = Page<PrivacyView>),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn privacy(
    State(api): State<Arc<Api>>,
    Path(task): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<PrivacyView>>, Refusal> {
    let rows = page_rows(query.limit)?;
    let after: Option<PublicKey> = query.after.map(|key| parse("after", &key)).transpose()?;
    api.read(move |api| {
        let task = find(api, &task)?.id;
        let after = after.map(|trainer| state_key::privacy_spent(&task, &trainer));
        let of_task = state_key::privacy_spent_in(&task);
        let after = after.as_ref().map(StateKey::bytes);
        let found = api.node.reader.scan::<u64>(&of_task, after, rows + 1)?;
        let view = |(key, spent): (Vec<u8>, _)| {
            Some(PrivacyView { trainer: state_key::parse_privacy_spent(&key)?, spent })
        };
        let found = found.into_iter().filter_map(view).collect();
        Ok(Json(super::members::cut(found, rows, |row: &PrivacyView| row.trainer.to_string())))
    })
    .await
}

/// Trainers of a task that forms its clusters, in the order of their keys.
#[utoipa::path(get, path = "/v1/tasks/{task}/trainers", tag = "learning",
    params(("task" = String, Path, description = "Identity or name"), PageQuery),
    responses(
        (status = OK, description = "A page of trainers", body = Page<Formed>),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn trainers(
    State(api): State<Arc<Api>>,
    Path(task): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Formed>>, Refusal> {
    let rows = page_rows(query.limit)?;
    let after: Option<PublicKey> = query.after.map(|key| parse("after", &key)).transpose()?;
    api.read_heavy(move |api| {
        let task = find(api, &task)?.id;
        let after = after.map(|trainer| state_key::formed(&task, &trainer));
        let after = after.as_ref().map(StateKey::bytes);
        let found =
            api.node.reader.scan::<Formed>(&state_key::formed_in(&task), after, rows + 1)?;
        let found = found.into_iter().map(|(_, formed)| formed).collect();
        Ok(Json(super::members::cut(found, rows, |row: &Formed| row.trainer.to_string())))
    })
    .await
}

/// The cluster that a trainer is in.
#[utoipa::path(get, path = "/v1/tasks/{task}/trainers/{trainer}", tag = "learning",
    params(
        ("task" = String, Path, description = "Identity or name"),
        ("trainer" = String, Path, description = "The trainer's key"),
    ),
    responses(
        (status = OK, description = "The trainer", body = Formed),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn trainer(
    State(api): State<Arc<Api>>,
    Path((task, trainer)): Path<(String, String)>,
) -> Result<Json<Formed>, Refusal> {
    let key: PublicKey = parse("trainer", &trainer)?;
    api.read(move |api| {
        let task = find(api, &task)?.id;
        let found = api.node.reader.get(&state_key::formed(&task, &key))?;
        Ok(Json(found.ok_or_else(|| {
            let hint = "trainers join a task that forms its clusters with their profile";
            Refusal::unknown(format!("trainer {} of the task", key.short()), hint)
        })?))
    })
    .await
}

pub fn find(api: &Api, text: &str) -> Result<Task, Refusal> {
    view::find_task(&api.node.reader, text)?.ok_or_else(|| unknown(text))
}

fn unknown(text: &str) -> Refusal {
    Refusal::unknown(format!("task {:?}", cut(text)), "GET /v1/tasks lists identities and names")
}
