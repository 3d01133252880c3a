//! How a task's global models are measured: by whom, what becomes of their reports, and when a task
//! that gains nothing any more stops.
//!
//! Every report is its sender's own word: what the ledger adds is who said it, that nobody said it
//! twice, and that all come to the same score.

use super::{TaskSpec, TaskStatus};
use crate::{Height, PublicKey, TaskId, TxId, limits, model::ModelId, round::Metrics};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Who measures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Evaluators {
    /// Whoever has an update in the task, on data of its own (federated evaluation).
    Trainers,
    /// The members named, in ascending order (central evaluation, where it is one).
    Members(Vec<PublicKey>),
}

/// What is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Less loss.
    Loss,
    /// More accuracy.
    Accuracy,
}

/// How reports come to one figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// Weighted by examples, each report's capped like an update's.
    Mean,
    /// Each report counting alike, the lower of two: bears fewer than half that lie.
    Median,
}

/// A task's rule of measuring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EvaluationRule {
    pub by: Evaluators,
    /// A version is scored by its first so many reports.
    pub reports: u32,
    /// Global versions from one that is measured to the next.
    pub every: u64,
    pub goal: Goal,
    pub pooling: Pooling,
    /// What a score must be better by to count as a gain, in 1/2^16.
    pub gain: u32,
    /// Scored versions in a row without a gain after which the task stops; 0: it never does.
    pub patience: u32,
}

/// One member's figures of one global version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EvaluateAction {
    pub task: TaskId,
    /// Of the global model.
    pub version: u64,
    pub examples: u32,
    pub metrics: Metrics,
}

/// A report as the ledger took it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Report {
    pub by: PublicKey,
    pub examples: u32,
    pub metrics: Metrics,
    pub tx: TxId,
    pub height: Height,
}

/// What is said of a global version, as the state keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Evaluation {
    pub version: u64,
    pub model: ModelId,
    pub reports: Vec<Report>,
    /// Once there are enough.
    pub score: Option<Metrics>,
}

/// The best global version so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Best {
    pub version: u64,
    pub model: ModelId,
    pub score: Metrics,
}

/// Where a task's measuring stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Progress {
    pub best: Option<Best>,
    /// The newest version scored; only later ones are measured.
    pub scored: Option<u64>,
    /// The score that the next gain is over.
    pub mark: Option<Metrics>,
    /// Versions scored since.
    pub without_gain: u32,
}

impl Goal {
    /// By how much `new` is better than `old`, in 1/2^16; below zero where it is worse.
    pub fn gain(self, new: &Metrics, old: &Metrics) -> i64 {
        let [new, old] = [new, old].map(|metrics| match self {
            Goal::Loss => -i64::from(metrics.loss),
            Goal::Accuracy => metrics.accuracy.unwrap_or(0).into(),
        });
        new - old
    }
}

impl EvaluationRule {
    /// Whether a version of the global model is one of those measured.
    pub fn measures(&self, version: u64) -> bool {
        version.is_multiple_of(self.every)
    }

    /// What reports come to. `weight_max` caps one's examples.
    pub fn score(&self, reports: &[Report], weight_max: u32) -> Metrics {
        let figure = |of: &dyn Fn(&Metrics) -> Option<u32>| {
            let given = reports
                .iter()
                .filter_map(|report| Some((of(&report.metrics)?, report.examples.min(weight_max))));
            let given: Vec<_> = given.collect();
            match self.pooling {
                Pooling::Mean => mean(&given),
                Pooling::Median => median(given),
            }
        };
        Metrics {
            loss: figure(&|metrics| Some(metrics.loss)).unwrap_or(u32::MAX),
            accuracy: figure(&|metrics| metrics.accuracy),
        }
    }
}

/// Rounded down. A figure and its weight have 32 bits each, and reports are few: u128 holds the sum.
fn mean(given: &[(u32, u32)]) -> Option<u32> {
    let (sum, weight) = given.iter().fold((0u128, 0u128), |(sum, total), (value, weight)| {
        (sum + u128::from(*value) * u128::from(*weight), total + u128::from(*weight))
    });
    sum.checked_div(weight).map(|mean| mean as u32)
}

fn median(mut given: Vec<(u32, u32)>) -> Option<u32> {
    given.sort_unstable();
    given.get(given.len().checked_sub(1)? / 2).map(|(value, _)| *value)
}

impl Progress {
    /// Takes a version's score in; whether it is the best so far.
    pub fn take(&mut self, rule: &EvaluationRule, best: Best) -> bool {
        let gain = |old: Option<Metrics>| old.map(|old| rule.goal.gain(&best.score, &old));
        self.scored = Some(best.version);
        // A gain over a mark that moves only by gains: many small ones together count as one.
        if gain(self.mark).is_none_or(|gain| gain >= i64::from(rule.gain.max(1))) {
            (self.mark, self.without_gain) = (Some(best.score), 0);
        } else {
            self.without_gain = self.without_gain.saturating_add(1);
        }
        let is_best = gain(self.best.map(|best| best.score)).is_none_or(|gain| gain > 0);
        if is_best {
            self.best = Some(best);
        }
        is_best
    }

    /// Whether the task has gone long enough without a gain.
    pub fn is_out_of_patience(&self, rule: &EvaluationRule) -> bool {
        rule.patience > 0 && self.without_gain >= rule.patience
    }
}

/// Whether a task's versions may still be measured: those of one that an admin closed are not.
pub fn is_measured(status: TaskStatus) -> bool {
    matches!(status, TaskStatus::Open | TaskStatus::Finished)
}

/// Why the rule does not go with the rest of the task.
pub(super) fn fault(spec: &TaskSpec) -> Option<String> {
    let rule = spec.evaluation.as_ref()?;
    if rule.reports == 0 || rule.reports > limits::REPORTS_MAX {
        return Some(format!("a version is scored by 1 to {} reports", limits::REPORTS_MAX));
    }
    if rule.every == 0 {
        return Some("every so many versions one is measured: 1 or more".into());
    }
    let Evaluators::Members(members) = &rule.by else { return None };
    if members.len() > limits::REPORTS_MAX as usize || !members.is_sorted_by(|a, b| a < b) {
        return Some(format!(
            "evaluators are at most {} members, in ascending order and none twice",
            limits::REPORTS_MAX
        ));
    }
    (members.len() < rule.reports as usize)
        .then(|| format!("{} evaluators never come to {} reports", members.len(), rule.reports))
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Goal::Loss => "loss",
            Goal::Accuracy => "accuracy",
        })
    }
}

impl FromStr for Goal {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "loss" => Ok(Goal::Loss),
            "accuracy" => Ok(Goal::Accuracy),
            _ => Err(format!("expected loss or accuracy, got {text:?}")),
        }
    }
}

impl fmt::Display for Pooling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Pooling::Mean => "mean",
            Pooling::Median => "median",
        })
    }
}

impl FromStr for Pooling {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "mean" => Ok(Pooling::Mean),
            "median" => Ok(Pooling::Median),
            _ => Err(format!("expected mean or median, got {text:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    fn rule(goal: Goal, pooling: Pooling) -> EvaluationRule {
        let by = Evaluators::Trainers;
        EvaluationRule { by, reports: 3, every: 1, goal, pooling, gain: 10, patience: 2 }
    }

    fn report(loss: u32, accuracy: Option<u32>, examples: u32) -> Report {
        let by = PublicKey([0; 32]);
        let metrics = Metrics { loss, accuracy };
        Report { by, examples, metrics, tx: TxId(Digest::ZERO), height: Height(1) }
    }

    #[test]
    fn a_mean_goes_by_examples_and_a_median_by_reports() {
        let reports =
            [report(100, Some(10), 100), report(200, None, 300), report(u32::MAX, Some(30), 1)];
        let mean = rule(Goal::Loss, Pooling::Mean).score(&reports[..2], 1_000);
        assert_eq!(mean, Metrics { loss: 175, accuracy: Some(10) });
        let capped = rule(Goal::Loss, Pooling::Mean).score(&reports[..2], 100);
        assert_eq!(capped.loss, 150);
        let median = rule(Goal::Loss, Pooling::Median).score(&reports, 1_000);
        assert_eq!(median, Metrics { loss: 200, accuracy: Some(10) });
    }

    #[test]
    fn small_steps_add_up_to_a_gain_and_standing_still_does_not() {
        let rule = rule(Goal::Loss, Pooling::Mean);
        let mut progress = Progress::default();
        let mut take = |version, loss| {
            let score = Metrics { loss, accuracy: None };
            let best = Best { version, model: ModelId(Digest::ZERO), score };
            (progress.take(&rule, best), progress.without_gain, progress.is_out_of_patience(&rule))
        };
        assert_eq!(take(0, 1_000), (true, 0, false));
        assert_eq!(take(1, 994), (true, 1, false), "better, yet by less than a gain");
        assert_eq!(take(2, 988), (true, 0, false), "two such steps are one gain");
        assert_eq!(take(3, 990), (false, 1, false));
        assert_eq!(take(4, 988), (false, 2, true));
        let best = progress.best.unwrap();
        assert_eq!((best.version, progress.scored), (2, Some(4)));
    }

    #[test]
    fn more_accuracy_is_better_and_less_loss() {
        let of = |loss, accuracy| Metrics { loss, accuracy: Some(accuracy) };
        assert_eq!(Goal::Accuracy.gain(&of(9, 70), &of(1, 50)), 20);
        assert_eq!(Goal::Loss.gain(&of(9, 70), &of(1, 50)), -8);
    }
}
