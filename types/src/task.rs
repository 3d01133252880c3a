//! A learning task: what is trained, by how many, and by which rules. Everything
//! nodes compute with is an integer; real numbers that only trainers use travel
//! as the bits of an f64.

mod compression;
pub mod evaluation;
pub mod forming;
pub mod masks;
pub mod noise;
pub mod pace;
pub mod regions;
mod rule;
mod screen;
pub mod selection;
mod server;

pub use compression::{Compression, Kept};
pub use evaluation::EvaluationRule;
pub use forming::Forming;
pub use masks::Masks;
pub use noise::Noise;
pub use pace::{Pace, Switch};
pub use regions::Regions;
pub use rule::AggregationRule;
pub use screen::Screen;
pub use selection::Selection;
pub use server::{Adaptive, ServerOptimiser, Stepping};

use crate::{
    AvailabilityCertificate, ClusterId, Digest, Height, PublicKey, RoundNumber, TaskId, TimeMs,
    limits,
    model::{ModelId, TensorPolicy, TensorSpec, tensors_fault},
};
use serde::{Deserialize, Serialize};

/// A real number for trainers, exact by its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Real(pub u64);

impl Real {
    pub fn new(value: f64) -> Self {
        Self(value.to_bits())
    }
    pub fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}

impl Serialize for Real {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.serialize_f64(self.get());
        }
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Real {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return f64::deserialize(deserializer).map(Self::new);
        }
        u64::deserialize(deserializer).map(Self)
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Real {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        <f64 as utoipa::PartialSchema>::schema()
    }
}
#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Real {}

/// When a cluster's round closes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// At the maximum of participants, or at the deadline with at least the minimum.
    Sync,
    /// FedBuff (Nguyen et al. 2022): at `buffer` updates, whatever their base.
    Async {
        buffer: u32,
        /// Factor over 2^16 by staleness in versions; the first is 2^16, and an
        /// update older than the table is refused.
        staleness: Vec<u32>,
        /// FedAsync (Xie, Koyejo and Gupta 2019): the one update of a buffer is mixed in, by this factor
        /// over 2^16 times the staleness factor, as the model that its trainer had come to; `None` adds
        /// changes.
        mix: Option<u32>,
    },
}

/// How long a trainer trains in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LocalWork {
    Epochs(u32),
    Steps(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    Constant,
    /// Multiplied by the factor after every so many rounds.
    Step {
        rounds: u32,
        factor: Real,
    },
}

/// Settings of local training; nodes only carry them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Training {
    pub work: LocalWork,
    pub batch: u32,
    pub learning_rate: Real,
    pub schedule: Schedule,
    /// μ of FedProx (Li et al. 2020); 0 is plain SGD.
    pub proximal: Real,
    pub seed: u64,
    /// Digest of the training code the task expects, where it names one.
    pub code: Option<Digest>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TaskSpec {
    pub name: String,
    pub description: String,
    pub tensors: Vec<TensorSpec>,
    /// Digest of the first model's canonical form.
    pub initial_model: Digest,
    /// Where its bytes are.
    pub initial: AvailabilityCertificate,
    /// The model on the ledger that training starts from: the first model has its content.
    pub start: Option<ModelId>,
    pub clusters: u16,
    /// By what the ledger forms them, where trainers do not choose theirs.
    pub forming: Option<Forming>,
    /// Updates a cluster's round needs, and takes.
    pub participants_min: u32,
    pub participants_max: u32,
    /// Cap of one update's weight (its examples).
    pub weight_max: u32,
    /// Cap of a cluster's weight in a merge.
    pub merge_weight_max: u32,
    /// Bound of an update's Euclidean norm, and so of each value, in steps of
    /// the finest scale among the trained tensors.
    pub norm_bound: u64,
    /// Bound C that trainers clip to, in the same steps; `norm_bound` is 8·C or more
    /// unless said otherwise, because error feedback comes on top.
    pub clip: u64,
    pub screen: Screen,
    pub rule: AggregationRule,
    pub server: ServerOptimiser,
    pub mode: Mode,
    pub compression: Compression,
    /// What of a round's change comes down to trainers; the rest comes later. `None`: all of it.
    pub down: Option<Compression>,
    /// The level between clusters and the whole, where there is one: then clusters merge into their regions,
    /// and these into the global model.
    pub regions: Option<Regions>,
    /// Cluster rounds between two merges.
    pub merge_every: u32,
    /// How clusters' models become the global one: mean by weight, median or trimmed mean.
    pub merge_rule: AggregationRule,
    /// Cluster rounds in all, 0 for no end.
    pub rounds_max: u64,
    /// Whether f+1 validators fold a round, others only when these are late; else all do.
    pub assigned: bool,
    /// Who of the trainers takes part in a round, where not all do.
    pub selection: Option<Selection>,
    /// Synchronous rounds: what an update counts for that comes after its round was sealed, over 2^16 by
    /// the versions that its base is behind; the first is 2^16. Empty: it does not.
    pub late: Vec<u32>,
    /// Whether rounds go on without the last when these keep the others waiting, and when that changes.
    pub switch: Option<Switch>,
    /// How updates are masked, where they are: then only their sum is ever readable.
    pub masks: Option<Masks>,
    /// How global models are measured, where they are.
    pub evaluation: Option<EvaluationRule>,
    /// Whether a fold says what each update had in the change it came to.
    pub contributions: bool,
    /// Milliseconds of block time from a round's start to its deadline.
    pub deadline_ms: u64,
    /// Times a round below its minimum is extended before it is void.
    pub extensions_max: u32,
    /// Milliseconds for which payloads stay after their round ended.
    pub retention_ms: u64,
    pub training: Training,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum TaskStatus {
    Open,
    /// All rounds were run.
    Finished,
    /// Closed by its owner or an admin.
    Closed,
    /// Its measured models gained nothing any more.
    Stopped,
}

/// A task as the state keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    pub id: TaskId,
    pub owner: PublicKey,
    /// The owner's when it created the task: the task is one of its open ones.
    pub organisation: String,
    pub spec: TaskSpec,
    pub status: TaskStatus,
    pub created: TimeMs,
    /// The newest global model and its version.
    pub global: ModelId,
    pub global_version: u64,
    /// Merges done.
    pub merges: u64,
    /// Height at which enough rounds had ended for a merge. Rounds sealed before it
    /// are folded first, later ones after the merge, so that no fold's base changes
    /// while validators work on it.
    pub merge_wanted: Option<Height>,
    /// A merge waits for its result.
    pub merge_due: bool,
    /// An update came since the last merge. Deadlines run only while a task is
    /// active, so that an idle one makes no blocks.
    pub active: bool,
    /// What its measured models came to.
    pub progress: evaluation::Progress,
    /// Trainers that take part, and most that may; `None`: whoever comes.
    pub trainers: u32,
    pub trainers_max: Option<u32>,
    /// Where clusters are formed: somebody has come or left since they were.
    pub unformed: bool,
}

/// A cluster of a task as the state keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    pub task: TaskId,
    pub cluster: ClusterId,
    /// The newest model and its version; merges count as versions too.
    pub model: ModelId,
    pub model_digest: Digest,
    pub version: u64,
    /// What the task's server optimiser remembers, by digest; nothing before its first round and
    /// after a merge of several clusters.
    pub optimiser: Option<Digest>,
    /// Weight folded since the last merge, saturating at `merge_weight_max`.
    pub weight: u64,
    /// Rounds ended (aggregated or void) since the last merge.
    pub rounds_since_merge: u32,
    /// The next round that a fold result is expected for.
    pub folding: RoundNumber,
    /// The round that takes updates now.
    pub collecting: RoundNumber,
    /// In a task that switches: when its rounds close.
    pub pacing: pace::Pacing,
}

impl TaskSpec {
    /// The finest scale among trained tensors: the unit of norms.
    pub fn norm_scale(&self) -> u8 {
        let trained = self.tensors.iter().filter(|tensor| tensor.policy == TensorPolicy::Train);
        trained.map(|tensor| tensor.scale).max().unwrap_or(0)
    }

    /// By which factor over 2^16 models are mixed in, where they are.
    pub fn mix(&self) -> Option<u32> {
        match self.mode {
            Mode::Sync => None,
            Mode::Async { mix, .. } => mix,
        }
    }

    /// Updates that one cluster's round can hold.
    pub fn round_capacity(&self) -> u32 {
        match &self.mode {
            Mode::Sync => self.participants_max,
            Mode::Async { buffer, .. } => *buffer,
        }
    }

    /// Why the combination is refused, if it is.
    pub fn fault(&self) -> Option<String> {
        self.names_fault()
            .or_else(|| tensors_fault(&self.tensors))
            .or_else(|| self.policy_fault())
            .or_else(|| self.participation_fault())
            .or_else(|| self.mode_fault())
            .or_else(|| self.arithmetic_fault())
            .or_else(|| self.training_fault())
            .or_else(|| compression::fault(self))
            .or_else(|| compression::down_fault(self))
            .or_else(|| screen::fault(self))
            .or_else(|| rule::fault(self))
            .or_else(|| server::fault(self))
            .or_else(|| evaluation::fault(self))
            .or_else(|| selection::fault(self))
            .or_else(|| masks::fault(self))
            .or_else(|| pace::fault(self))
            .or_else(|| forming::fault(self))
            .or_else(|| regions::fault(self))
    }

    fn names_fault(&self) -> Option<String> {
        if self.name.is_empty() || self.name.len() > limits::NAME_BYTES_MAX {
            return Some("a task's name takes 1 to 128 bytes".into());
        }
        if self.description.len() > limits::DESCRIPTION_BYTES_MAX {
            return Some("the description is over 2,048 bytes".into());
        }
        None
    }

    fn policy_fault(&self) -> Option<String> {
        let policies = || self.tensors.iter().map(|tensor| tensor.policy);
        if policies().any(|policy| matches!(policy, TensorPolicy::Local | TensorPolicy::Buffer)) {
            return Some("tensor policies local and buffer are not folded by this version".into());
        }
        if !policies().any(|policy| policy == TensorPolicy::Train) {
            return Some("no tensor is trained".into());
        }
        None
    }

    fn participation_fault(&self) -> Option<String> {
        if self.clusters == 0 || self.clusters > limits::CLUSTERS_MAX {
            return Some(format!("{} clusters; 1 to 256 are allowed", self.clusters));
        }
        let (min, max) = (self.participants_min, self.participants_max);
        if min == 0 || min > max || max > limits::PARTICIPANTS_MAX {
            return Some(format!("participants {min} to {max}; 1 ≤ minimum ≤ maximum ≤ 1,024"));
        }
        if self.weight_max == 0 || self.merge_weight_max == 0 || self.merge_every == 0 {
            return Some("weight caps and the merge period must be positive".into());
        }
        let deadlines = limits::ROUND_DEADLINE_MS_MIN..=limits::ROUND_DEADLINE_MS_MAX;
        if !deadlines.contains(&self.deadline_ms) {
            return Some("the round deadline must be 100 ms to 30 days".into());
        }
        if self.extensions_max > limits::EXTENSIONS_MAX {
            return Some("at most 100 extensions".into());
        }
        if self.retention_ms > limits::RETENTION_MS_MAX {
            return Some("payloads are kept for ten years at most".into());
        }
        None
    }

    fn mode_fault(&self) -> Option<String> {
        let Mode::Async { buffer, staleness, mix } = &self.mode else { return None };
        if *buffer < self.participants_min || *buffer > self.participants_max {
            return Some(format!(
                "a buffer of {buffer} is outside the participants {} to {}",
                self.participants_min, self.participants_max
            ));
        }
        if staleness.is_empty() || staleness.len() > limits::STALENESS_MAX {
            return Some("a staleness table has 1 to 256 factors".into());
        }
        if staleness[0] != limits::FACTOR_ONE || !staleness.is_sorted_by(|a, b| a >= b) {
            return Some("staleness factors start at 65,536 and never rise".into());
        }
        mix.and_then(|mix| self.mix_fault(mix, *buffer))
    }

    fn mix_fault(&self, mix: u32, buffer: u32) -> Option<String> {
        if mix == 0 || mix > limits::FACTOR_ONE {
            return Some("a model is mixed in by more than 0 and at most 1".into());
        }
        let alone = buffer == 1 && self.rule == AggregationRule::Mean && self.server.is_none();
        (!alone).then(|| {
            "models are mixed in one by one: a buffer of 1, the rule mean and no server optimiser".into()
        })
    }

    /// Sums stay in i64: N·w·B < 2^63 in a round, W·clusters·2^31 < 2^63 in a merge.
    fn arithmetic_fault(&self) -> Option<String> {
        if self.norm_bound == 0 || self.norm_bound >= 1 << 31 {
            return Some("the norm bound must be positive and below 2^31 steps".into());
        }
        if self.clip == 0 || self.clip > self.norm_bound {
            return Some("the clip bound must be positive and at most the norm bound".into());
        }
        let weight = self.rule.weight_max(self);
        let round = [self.round_capacity().into(), weight, self.norm_bound];
        let merge = [self.merge_weight_max.into(), self.clusters.into(), 1u64 << 31];
        for (what, factors) in [
            ("participants × weight × norm bound", round),
            ("merge weight × clusters × 2^31", merge),
        ] {
            let product = factors.iter().try_fold(1u64, |product, x| product.checked_mul(*x));
            if product.is_none_or(|product| product >= 1 << 63) {
                return Some(format!("{what} must stay below 2^63: lower one of them"));
            }
        }
        None
    }

    fn training_fault(&self) -> Option<String> {
        let (LocalWork::Epochs(amount) | LocalWork::Steps(amount)) = self.training.work;
        if amount == 0 || self.training.batch == 0 {
            return Some("local work and batch size must be positive".into());
        }
        let rate = self.training.learning_rate.get();
        if !(rate.is_finite() && rate > 0.0) {
            return Some("the learning rate must be positive and finite".into());
        }
        if let Schedule::Step { rounds, factor } = self.training.schedule
            && !(rounds > 0 && factor.get().is_finite() && factor.get() > 0.0)
        {
            return Some(
                "a step schedule needs positive rounds and a positive finite factor".into(),
            );
        }
        let proximal = self.training.proximal.get();
        if !(proximal.is_finite() && proximal >= 0.0) {
            return Some("the proximal μ must be finite and not negative".into());
        }
        None
    }
}
