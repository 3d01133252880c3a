//! Rounds: which updates count, and what the committee says they fold into.

use crate::{
    ClusterId, Digest, Height, PublicKey, RegionId, RoundNumber, SeatIndex, Signature, TaskId,
    TimeMs, TxId,
    blob::BlobId,
    key::{Purpose, Statement, statement},
    model::ModelId,
    task::selection::Draw,
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RoundKey {
    pub task: TaskId,
    pub cluster: ClusterId,
    pub round: RoundNumber,
}

/// A trainer's own figures, in 1/2^16, saturating: nobody checks them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Metrics {
    /// Mean loss of the base model on the trainer's data, before training.
    pub loss: u32,
    /// Share of the trainer's examples that the base model gets right.
    pub accuracy: Option<u32>,
}

impl Metrics {
    pub fn from_reals(loss: f64, accuracy: Option<f64>) -> Self {
        // What is no number is as bad as can be, not zero.
        let fixed = |x: f64| match x.is_nan() {
            true => u32::MAX,
            false => (x * 65_536.0).round_ties_even() as u32,
        };
        Self { loss: fixed(loss), accuracy: accuracy.map(fixed) }
    }
    pub fn loss(&self) -> f64 {
        f64::from(self.loss) / 65_536.0
    }
    pub fn accuracy(&self) -> Option<f64> {
        self.accuracy.map(|x| f64::from(x) / 65_536.0)
    }
}

/// One ordered update of a round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Entry {
    pub tx: TxId,
    pub trainer: PublicKey,
    pub blob: BlobId,
    pub base_version: u64,
    /// Examples, capped by the task.
    pub weight: u32,
    pub metrics: Metrics,
    pub height: Height,
}

/// Where a round stands. `Open` has no update and no deadline yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RoundState {
    Open,
    Collecting {
        deadline: TimeMs,
        extensions: u32,
    },
    /// Exactly the entries listed count.
    Sealed {
        height: Height,
    },
    Aggregated {
        model: ModelId,
        outcomes: Vec<Outcome>,
        /// One for each update that counts, in list order; empty where the task asks for none.
        contributions: Vec<Contribution>,
        height: Height,
    },
    Void {
        reason: VoidReason,
        height: Height,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum VoidReason {
    /// Too few updates after the last extension.
    TooFew,
    /// Every update was refused by the fold.
    AllRefused,
    /// The task was closed.
    TaskClosed,
    /// In a masked round somebody was dealt a false share.
    FalseShare,
}

/// A round as the state keeps it; its entries stand under keys of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Round {
    pub key: RoundKey,
    pub state: RoundState,
    /// Entries so far.
    pub entries: u32,
    pub opened: TimeMs,
    /// Whether its trainers are chosen, where they are.
    pub draw: Draw,
}

/// What the fold did with one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Folded { weight: u32 },
    Refused(FoldRefusal),
}

/// Why the fold left an update out: the same at the same index everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum FoldRefusal {
    /// The payload is no canonical update.
    Malformed,
    /// Made for another task, trainer or base model.
    WrongBinding,
    /// Tensors do not match the task's.
    WrongShape,
    /// Over the task's norm bound.
    Norm,
    /// More bits or more values than the task's compression allows.
    Compression,
    /// Older than the staleness table.
    Stale,
    /// An update for a tensor that is not trained.
    FrozenTensor,
    /// Fewer updates count than the rule needs.
    TooFew,
    /// The rule took others.
    NotChosen,
    /// Points away from the cluster's other updates.
    Direction,
    /// With it the server optimiser's numbers are no longer finite: the round does not count.
    Diverged,
}

impl FoldRefusal {
    pub fn text(self) -> &'static str {
        match self {
            FoldRefusal::Malformed => "the payload is not a canonical update",
            FoldRefusal::WrongBinding => "made for another task, trainer or base model",
            FoldRefusal::WrongShape => "tensors do not match the task's",
            FoldRefusal::Norm => "over the task's norm bound",
            FoldRefusal::Compression => "more bits or values than the task's compression allows",
            FoldRefusal::Stale => "older than the task's staleness table",
            FoldRefusal::FrozenTensor => "changes a tensor that is not trained",
            FoldRefusal::TooFew => "fewer updates of the round count than the task's rule needs",
            FoldRefusal::NotChosen => "the task's rule took other updates of the round",
            FoldRefusal::Direction => "points away from the cluster's other updates",
            FoldRefusal::Diverged => {
                "the server optimiser's numbers left the finite ones: lower its rate"
            }
        }
    }
}

/// What an update had in the change that its round's rule made, before any server optimiser. Inner
/// products are of trained values; an update stands in them as the rule took it, cut norms and
/// staleness included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Contribution {
    /// The update's norm in steps of the finest trained scale, rounded down.
    pub norm: u64,
    /// Its cosine with the change, in millionths.
    pub cosine_ppm: i32,
    /// w·⟨update, change⟩ of the sum of these over the round, in millionths: what it moved the model by
    /// along the way that all together went. Shares of a round come to a million, less what is rounded
    /// off; below zero it pulled the other way.
    pub share_ppm: i32,
}

/// What a trainer has contributed to a task, as the state adds it up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ContributionTotal {
    /// Updates that counted.
    pub updates: u64,
    /// Their weights.
    pub weight: u64,
    /// Sums over them.
    pub share_ppm: i64,
    pub cosine_ppm: i64,
    /// The trainer's own figures, with its newest such update.
    pub metrics: Metrics,
}

/// A piece of folding that the ledger asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum FoldJob {
    Round(RoundKey),
    Merge {
        task: TaskId,
        number: u64,
    },
    /// Of a region's clusters.
    RegionMerge {
        task: TaskId,
        region: RegionId,
        number: u64,
    },
}

impl FoldJob {
    pub fn task(&self) -> TaskId {
        match self {
            FoldJob::Round(key) => key.task,
            FoldJob::Merge { task, .. } | FoldJob::RegionMerge { task, .. } => *task,
        }
    }
}

/// What a validator signs after folding. Equal signatures of f+1 seats prove it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FoldResult {
    pub job: FoldJob,
    /// Digest of the result; `None` when nothing was folded.
    pub model: Option<Digest>,
    /// Digest of what the task's server optimiser remembers now, where it has one.
    pub optimiser: Option<Digest>,
    /// One for each entry of a round, in list order; empty for a merge.
    pub outcomes: Vec<Outcome>,
    /// One for each update that counts, where the task asks for them.
    pub contributions: Vec<Contribution>,
    /// Sum of the weights folded.
    pub weight: u64,
    /// Values that were clamped to the range of i32.
    pub saturations: u64,
}

impl FoldResult {
    pub fn statement(&self, chain: &Digest, committee: &Digest) -> Statement {
        statement(Purpose::FoldResult, chain, &(committee, self))
    }
}

/// One seat's signature on a fold result, as validators exchange it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedFoldResult {
    pub result: FoldResult,
    pub seat: SeatIndex,
    pub signature: Signature,
}
