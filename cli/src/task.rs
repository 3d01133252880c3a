//! From a person's settings to a task's: real numbers become steps, the staleness
//! table is computed, and what the combination must not be is refused before
//! anything is sent.

use crate::{
    client::{Client, ClientError},
    error::{CliError, Result},
    tensor_file::{ImportSettings, ImportedModel},
    train::{
        control_fault, initial_values, mlp_tensors, model_steps, softmax_tensors, with_controls,
    },
};
use std::{str::FromStr, time::Duration};
use twinfold_fl::{canonical_bytes, fixed};
use twinfold_types::{
    Action, AvailabilityCertificate, BlobId, Code, Digest, Epoch, SecretKey, TaskId,
    api::{Level, TxStatus},
    limits,
    model::{ModelId, TensorPolicy, model_digest, tensors_fault},
    task::{
        AggregationRule, Compression, EvaluationRule, Forming, LocalWork, Masks, Mode, Noise, Real,
        Regions, Schedule, Screen, Selection, ServerOptimiser, Switch, TaskSpec, Training,
    },
};

/// Settings of a task, with defaults for all but the name.
#[derive(Clone, Debug)]
pub struct TaskOptions {
    pub name: String,
    /// The model on the ledger that the first model is.
    pub start: Option<ModelId>,
    pub description: String,
    pub clusters: u16,
    /// By what the ledger forms them.
    pub forming: Option<Forming>,
    pub participants_min: u32,
    pub participants_max: u32,
    pub weight_max: u32,
    /// None: as much as the arithmetic allows.
    pub merge_weight_max: Option<u32>,
    /// Bound C of a delta's norm before the residual is added, a real number.
    pub clip: f64,
    /// None: 8·C.
    pub norm_bound: Option<f64>,
    pub mode: ModeChoice,
    /// Versions an asynchronous update may be behind.
    pub staleness_max: u32,
    pub compress: Compression,
    /// What of a round's change comes down, where that is not all.
    pub down: Option<Compression>,
    /// The level between clusters and the whole, where there is one.
    pub regions: Option<Regions>,
    /// An update's norm is cut to so many times the median of its round.
    pub clip_to_median: Option<f64>,
    /// An update whose cosine with the sum of the others is below it does not count.
    pub cosine_min: Option<f64>,
    pub rule: AggregationRule,
    pub server: ServerOptimiser,
    pub merge_every: u32,
    pub merge_rule: AggregationRule,
    /// Cluster rounds in all, 0 for no end.
    pub rounds: u64,
    /// Whether f+1 validators fold a round, others only when these are late.
    pub assigned: bool,
    /// Who of the trainers takes part in a round, where not all do.
    pub selection: Option<Selection>,
    /// Rounds that an update may be late in synchronous tasks.
    pub late: u32,
    /// When rounds go on without the last.
    pub switch: Option<Switch>,
    /// Whether updates are masked, and the greatest magnitude of a value that is sent then.
    pub mask_range: Option<f64>,
    /// Noise that trainers add to masked updates.
    pub noise: Option<NoiseOptions>,
    /// How global models are measured, where they are.
    pub evaluation: Option<EvaluationRule>,
    /// Whether a fold says what each update had in the change it came to.
    pub contributions: bool,
    pub deadline: Duration,
    pub extensions: u32,
    pub retention: Duration,
    pub work: LocalWork,
    pub batch: u32,
    pub learning_rate: f64,
    pub schedule: Schedule,
    pub proximal: f64,
    pub seed: u64,
    pub code: Option<Digest>,
}

/// Noise of `multiplier` times the greatest norm, --clip, in the sum of the fewest participants; what a trainer
/// may spend is ε at δ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoiseOptions {
    pub multiplier: f64,
    pub epsilon: f64,
    pub delta: f64,
}

impl Default for TaskOptions {
    fn default() -> Self {
        Self {
            name: String::new(),
            start: None,
            description: String::new(),
            clusters: 1,
            forming: None,
            participants_min: 1,
            participants_max: 16,
            weight_max: 1 << 17,
            merge_weight_max: None,
            clip: 16.0,
            norm_bound: None,
            mode: ModeChoice::Sync,
            staleness_max: 20,
            compress: Compression::dense(8),
            down: None,
            regions: None,
            clip_to_median: None,
            cosine_min: None,
            rule: AggregationRule::Mean,
            server: ServerOptimiser::None,
            merge_every: 1,
            merge_rule: AggregationRule::Mean,
            rounds: 0,
            assigned: false,
            selection: None,
            late: 0,
            switch: None,
            mask_range: None,
            noise: None,
            evaluation: None,
            contributions: false,
            deadline: Duration::from_secs(60),
            extensions: 3,
            retention: Duration::from_secs(30 * 24 * 3_600),
            work: LocalWork::Epochs(1),
            batch: 32,
            learning_rate: 0.1,
            schedule: Schedule::Constant,
            proximal: 0.0,
            seed: 0,
            code: None,
        }
    }
}

/// `sync`, `async:K`: a buffer of K updates, or `fedasync:A`: one by one, mixed in by A, in 1/2^16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModeChoice {
    Sync,
    Async(u32),
    FedAsync(u32),
}

impl FromStr for ModeChoice {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || {
            format!(
                "expected sync, async:K with K updates, or fedasync:A with 0 < A ≤ 1; got {text:?}"
            )
        };
        let factor = |share: f64| (share * f64::from(limits::FACTOR_ONE)).round();
        match text.split_once(':') {
            None if text == "sync" => Ok(Self::Sync),
            Some(("async", buffer)) => buffer.parse().map(Self::Async).map_err(|_| fault()),
            Some(("fedasync", share)) => {
                let mix = factor(share.parse().map_err(|_| fault())?);
                let fits = (1.0..=f64::from(limits::FACTOR_ONE)).contains(&mix);
                fits.then_some(Self::FedAsync(mix as u32)).ok_or_else(fault)
            }
            _ => Err(fault()),
        }
    }
}

/// s(τ) = 1/√(1+τ) over 2^16, for τ = 0..=τ_max.
pub fn staleness_table(staleness_max: u32) -> Vec<u32> {
    let one = f64::from(limits::FACTOR_ONE);
    let factor = |tau: u32| (one / f64::from(tau + 1).sqrt()).round() as u32;
    (0..=staleness_max.min(limits::STALENESS_MAX as u32 - 1)).map(factor).collect()
}

impl TaskOptions {
    /// The task's settings over a first model; its payload is not stored yet, so
    /// the certificate is an empty one. A combination that the chain would refuse
    /// is refused here, with the reason.
    pub fn spec(&self, model: &ImportedModel) -> Result<TaskSpec> {
        let canonical = canonical_bytes(&model.steps);
        let mut spec = self.assemble(model, &canonical);
        let norm_scale = spec.norm_scale();
        let norm_bound = self.norm_bound.unwrap_or(8.0 * self.clip);
        spec.clip = real_bound("--clip", self.clip, norm_scale)?;
        spec.norm_bound = real_bound("--norm-bound", norm_bound, norm_scale)?;
        spec.screen = self.screen()?;
        spec.masks = self.masks(&spec)?;
        match spec.fault() {
            None => Ok(spec),
            Some(fault) => Err(CliError::usage(
                format!("these settings make no task: {fault}"),
                "see `twinfold task create --help`",
            )),
        }
    }

    fn mode(&self) -> Mode {
        let staleness = staleness_table(self.staleness_max);
        match self.mode {
            ModeChoice::Sync => Mode::Sync,
            ModeChoice::Async(buffer) => Mode::Async { buffer, staleness, mix: None },
            ModeChoice::FedAsync(mix) => Mode::Async { buffer: 1, staleness, mix: Some(mix) },
        }
    }

    /// A merge is a version too: of so many rounds, as many versions as can come after a base.
    fn late_table(&self) -> Vec<u32> {
        match self.late {
            0 => vec![],
            rounds => {
                let merges = rounds.div_ceil(self.merge_every.max(1));
                staleness_table(rounds.saturating_add(merges))
            }
        }
    }

    /// The finest exponent at which the range still fits the bits, and no finer than any trained tensor.
    fn masks(&self, spec: &TaskSpec) -> Result<Option<Masks>> {
        let Some(range) = self.mask_range else { return Ok(None) };
        let members = spec.participants_min;
        let trained = spec.tensors.iter().filter(|tensor| tensor.policy == TensorPolicy::Train);
        let finest = trained.map(|tensor| tensor.scale).min().unwrap_or(0);
        let most = spec.sent_value_max() as f64;
        let fits =
            |exponent: &u8| range > 0.0 && range * fixed::power_of_two((*exponent).into()) <= most;
        let exponent = (0..=finest).rev().find(fits).ok_or_else(|| {
            CliError::usage(
                format!("--mask-range {range}: expected a positive number of at most {most}"),
                "it is the greatest change of a value that one update may send",
            )
        })?;
        let norm = (self.clip * fixed::power_of_two(exponent.into())).floor() as u64;
        let noise = self.noise.map(|NoiseOptions { multiplier, epsilon, delta }| {
            Noise::of(norm, multiplier, members, epsilon, delta)
        });
        Ok(Some(Masks { exponent, noise }))
    }

    fn screen(&self) -> Result<Screen> {
        let millionths = |flag: &str, value: f64| {
            let ppm = (value * 1e6).round();
            let fits = (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&ppm);
            fits.then_some(ppm as i32).ok_or_else(|| {
                CliError::usage(
                    format!("{flag} {value} is out of range"),
                    "see `twinfold task create --help`",
                )
            })
        };
        let clip = self.clip_to_median.map(|value| {
            let ppm = millionths("--clip-to-median", value)?;
            u32::try_from(ppm).map_err(|_| {
                CliError::usage(
                    format!("--clip-to-median {value} is below zero"),
                    "1 is the median itself",
                )
            })
        });
        let cosine = self.cosine_min.map(|value| millionths("--cosine-min", value));
        Ok(Screen { clip_ppm: clip.transpose()?, cosine_ppm: cosine.transpose()? })
    }

    fn assemble(&self, model: &ImportedModel, canonical: &[u8]) -> TaskSpec {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let merge_weight_max = self.merge_weight_max.unwrap_or_else(|| {
            u32::try_from((1u64 << 32) / u64::from(self.clusters.max(1)) - 1).unwrap_or(u32::MAX)
        });
        TaskSpec {
            name: self.name.clone(),
            description: self.description.clone(),
            tensors: model.tensors.clone(),
            initial_model: model_digest(canonical),
            initial: AvailabilityCertificate {
                epoch: Epoch(0),
                blob: BlobId::whole_copies(canonical, 1),
                receipts: vec![],
            },
            start: self.start,
            clusters: self.clusters,
            forming: self.forming,
            participants_min: self.participants_min,
            participants_max: self.participants_max,
            // Under noise all count alike.
            weight_max: if self.noise.is_some() { 1 } else { self.weight_max },
            merge_weight_max,
            norm_bound: 0,
            clip: 0,
            screen: Screen::default(),
            rule: self.rule,
            server: self.server,
            mode: self.mode(),
            compression: self.compress,
            down: self.down,
            regions: self.regions.clone(),
            merge_every: self.merge_every,
            merge_rule: self.merge_rule,
            rounds_max: self.rounds,
            assigned: self.assigned,
            selection: self.selection,
            late: self.late_table(),
            switch: self.switch,
            masks: None,
            evaluation: self.evaluation.clone(),
            contributions: self.contributions,
            deadline_ms: ms(self.deadline),
            extensions_max: self.extensions,
            retention_ms: ms(self.retention),
            training: Training {
                work: self.work,
                batch: self.batch,
                learning_rate: Real::new(self.learning_rate),
                schedule: self.schedule,
                proximal: Real::new(self.proximal),
                seed: self.seed,
                code: self.code,
            },
        }
    }
}

/// A bound in real units as steps of the finest trained scale.
fn real_bound(flag: &str, value: f64, scale: u8) -> Result<u64> {
    let steps = (value * fixed::power_of_two(scale.into())).floor();
    if !(steps >= 1.0 && steps < f64::from(1u32 << 31)) {
        let greatest = fixed::power_of_two(31 - i32::from(scale));
        return Err(CliError::usage(
            format!("{flag} {value}: expected a positive number below {greatest}"),
            "with a smaller --scale larger bounds are possible",
        ));
    }
    Ok(steps as u64)
}

/// `softmax`, or `mlp:H`: one hidden layer of H units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    Softmax,
    Mlp { hidden: usize },
}

impl FromStr for Architecture {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || format!("expected softmax or mlp:H with H hidden units, got {text:?}");
        match text.split_once(':') {
            None if text == "softmax" => Ok(Self::Softmax),
            Some(("mlp", hidden)) => match hidden.parse() {
                Ok(hidden) if hidden > 0 => Ok(Self::Mlp { hidden }),
                _ => Err(fault()),
            },
            _ => Err(fault()),
        }
    }
}

/// The first model of an architecture, drawn from a seed.
pub fn first_model(
    architecture: Architecture,
    features: usize,
    classes: usize,
    seed: u64,
    settings: &ImportSettings,
) -> Result<ImportedModel> {
    let mut tensors = match architecture {
        Architecture::Softmax => softmax_tensors(features, classes, settings.scale),
        Architecture::Mlp { hidden } => mlp_tensors(features, hidden, classes, settings.scale),
    };
    if let Some(fault) = tensors_fault(&tensors) {
        return Err(CliError::usage(fault, "choose other --features, --classes or hidden units"));
    }
    settings.apply(&mut tensors)?;
    let values = initial_values(&tensors, seed)?;
    let steps = model_steps(&values, &tensors)?;
    Ok(ImportedModel { tensors, steps })
}

impl ImportedModel {
    /// With control variates of zero behind its tensors, as trainers begin.
    pub fn with_controls(self) -> Result<Self> {
        if let Some(fault) = control_fault(&self.tensors) {
            return Err(CliError::usage(fault, "leave out --scaffold"));
        }
        let tensors = with_controls(&self.tensors);
        if let Some(fault) = tensors_fault(&tensors) {
            return Err(CliError::usage(fault, "leave out --scaffold, which doubles the model"));
        }
        let mut steps = self.steps;
        steps.resize(2 * steps.len(), 0);
        Ok(Self { tensors, steps })
    }
}

/// A task on the chain.
#[derive(Clone, Debug)]
pub struct Created {
    pub task: TaskId,
    pub spec: TaskSpec,
    pub status: TxStatus,
}

/// Stores the first model with the committee, creates the task and waits for its receipt.
pub fn create(
    client: &Client,
    key: &SecretKey,
    options: &TaskOptions,
    model: &ImportedModel,
    timeout: Duration,
) -> Result<Created> {
    let mut spec = options.spec(model)?;
    spec.initial = client.upload(key, &canonical_bytes(&model.steps))?;
    let tx = client.sign(key, Action::CreateTask(Box::new(spec.clone())))?;
    let status = client.send_tx(&tx, Level::Executed, timeout)?;
    match &status.receipt {
        Some(receipt) if receipt.code != Code::Ok => {
            Err(CliError::Chain { tx: status.id, code: receipt.code })
        }
        _ => Ok(Created { task: TaskId(tx.id().0), spec, status }),
    }
}

/// The newest model of a cluster or the global one, as trainers use it: its real
/// values are f32 of the steps, rounded once.
pub fn fetch_steps(
    client: &Client,
    spec: &TaskSpec,
    model: &twinfold_types::model::ModelId,
    digest: &Digest,
) -> Result<Vec<i32>, ClientError> {
    let fault = |error: String| ClientError::settings("the task's tensors", error);
    let values = twinfold_types::model::model_values(&spec.tensors)
        .filter(|values| *values <= limits::MODEL_VALUES_MAX)
        .ok_or_else(|| fault("too many values".into()))?;
    let bytes = client.model_content(model, digest, values * 4)?;
    twinfold_fl::steps_from_canonical(&bytes, &spec.tensors)
        .map_err(|error| fault(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfold_types::model::{TensorPolicy, TensorSpec};

    fn model() -> ImportedModel {
        let tensor =
            TensorSpec { name: "w".into(), shape: vec![2], scale: 20, policy: TensorPolicy::Train };
        ImportedModel { tensors: vec![tensor], steps: vec![0, 1] }
    }

    fn options() -> TaskOptions {
        TaskOptions { name: "t".into(), ..TaskOptions::default() }
    }

    #[test]
    fn the_defaults_make_a_task_for_any_number_of_clusters() {
        for clusters in [1, 2, 256] {
            let spec = TaskOptions { clusters, ..options() }.spec(&model()).unwrap();
            assert_eq!((spec.clip, spec.norm_bound), (16 << 20, 128 << 20));
        }
    }

    #[test]
    fn a_combination_that_the_chain_refuses_is_refused_with_its_reason() {
        let bad = TaskOptions { participants_min: 9, participants_max: 4, ..options() };
        let error = bad.spec(&model()).unwrap_err().to_string();
        assert!(error.contains("participants 9 to 4"), "{error}");
        let bad = TaskOptions { clip: 4096.0, ..options() };
        let error = bad.spec(&model()).unwrap_err().to_string();
        assert!(error.contains("below 2048"), "{error}");
        let bad = TaskOptions { clip: f64::NAN, ..options() };
        assert!(bad.spec(&model()).is_err());
    }

    #[test]
    fn the_staleness_table_starts_at_one_and_never_rises() {
        let table = staleness_table(20);
        assert_eq!((table.len(), table[0], table[3]), (21, 65_536, 32_768));
        let mode = ModeChoice::Async(4);
        assert!(TaskOptions { mode, ..options() }.spec(&model()).is_ok());
        assert_eq!(staleness_table(u32::MAX).len(), 256);
    }

    #[test]
    fn modes_read_as_documented() {
        assert_eq!("async:4".parse(), Ok(ModeChoice::Async(4)));
        assert_eq!("fedasync:0.5".parse(), Ok(ModeChoice::FedAsync(32_768)));
        assert!("fedasync:0".parse::<ModeChoice>().is_err());
        assert!("fedasync:1.1".parse::<ModeChoice>().is_err());
        assert!("async".parse::<ModeChoice>().unwrap_err().contains("async:K"));
    }
}
