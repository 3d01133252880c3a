//! Measuring a task's global versions on examples that stay here, and saying so on the ledger.

use crate::{
    client::Client,
    data::Dataset,
    error::{CliError, Result},
    task::fetch_steps,
    train::{Network, model_reals},
    update::say,
};
use serde::Serialize;
use std::time::Duration;
use twinfold_types::{
    Action, Code, SecretKey,
    api::TaskView,
    model::{self, ModelId},
    round::Metrics,
    task::evaluation::{EvaluateAction, is_measured},
};

/// One version measured.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    pub version: u64,
    pub model: ModelId,
    pub loss: f64,
    pub accuracy: Option<f64>,
    pub examples: u32,
    /// Why the ledger did not take it: others were faster, for example.
    pub refused: Option<&'static str>,
}

pub struct Evaluator<'a> {
    client: &'a Client,
    key: &'a SecretKey,
    data: &'a Dataset,
    /// For one transaction.
    timeout: Duration,
    /// The newest version that was measured here.
    last: Option<u64>,
}

impl<'a> Evaluator<'a> {
    pub fn new(
        client: &'a Client,
        key: &'a SecretKey,
        data: &'a Dataset,
        timeout: Duration,
    ) -> Self {
        Self { client, key, data, timeout, last: None }
    }

    /// Measures the newest version that waits for it; `None` where none does, or this evaluator
    /// measured it already.
    pub fn measure(&mut self, task: &TaskView) -> Result<Option<Measured>> {
        let Some(version) = waiting(task).filter(|version| self.last < Some(*version)) else {
            return Ok(None);
        };
        let model = self.version(task, version)?;
        let metrics = self.figures(task, &model)?;
        let examples = u32::try_from(self.data.len()).unwrap_or(u32::MAX);
        let action = EvaluateAction { task: task.id, version, examples, metrics };
        let (tx, code) = say(self.client, self.key, Action::Evaluate(action), self.timeout)?;
        let refused = match code {
            Code::Ok => None,
            code if comes_too_late(code) => Some(code.text()),
            code => return Err(CliError::Chain { tx, code }),
        };
        self.last = Some(version);
        let (loss, accuracy) = (metrics.loss(), metrics.accuracy());
        Ok(Some(Measured { version, model, loss, accuracy, examples, refused }))
    }

    fn version(&self, task: &TaskView, version: u64) -> Result<ModelId> {
        if version == task.global_version {
            return Ok(task.global);
        }
        let id = task.id.to_string();
        let global = Some(model::Level::Global);
        let found = self.client.models(Some(&id), global, version.checked_add(1), 1)?;
        let found = found.iter().find(|view| view.record.version == version);
        found.map(|view| view.id).ok_or_else(|| {
            CliError::failed(
                format!("the node does not list global version {version} of the task"),
                "try again, or ask another node with --node",
            )
        })
    }

    fn figures(&self, task: &TaskView, id: &ModelId) -> Result<Metrics> {
        let record = self.client.model(id)?.record;
        let steps = fetch_steps(self.client, &task.spec, id, &record.digest)?;
        let network = Network::infer(&task.spec.tensors)?;
        let model = model_reals(&steps, &task.spec.tensors)?;
        let found = network.evaluate(&model, self.data)?;
        Ok(Metrics::from_reals(found.loss, Some(found.accuracy)))
    }
}

/// The newest global version that is measured and not scored yet.
pub fn waiting(task: &TaskView) -> Option<u64> {
    let rule = task.spec.evaluation.as_ref().filter(|_| is_measured(task.status))?;
    let version = task.global_version - task.global_version % rule.every.max(1);
    task.progress.scored.is_none_or(|scored| version > scored).then_some(version)
}

/// Refusals that the next version makes good.
fn comes_too_late(code: Code) -> bool {
    matches!(code, Code::EvaluationLate | Code::EvaluationExists | Code::TaskEnded)
}
