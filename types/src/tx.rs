//! Transactions: one signed action, valid inside a window of block time and
//! applied once. Identity is the digest of the body without the signature.

use crate::{
    AvailabilityCertificate, BlobDigest, ClusterId, Digest, Evidence, PublicKey, RoundNumber,
    SeatIndex, Signature, SignedTx, TaskId, TimeMs,
    codec::CodecError,
    dataset::DatasetAction,
    hash::Tag,
    key::{EncryptionKey, Purpose, Signer, Statement, statement},
    member::{AdminAction, Member},
    round::{FoldResult, Metrics},
    sealed::SealedAction,
    stake::StakeAction,
    store::{DeprecateAction, MeasureAction, PublishAction},
    task::{
        TaskSpec, evaluation::EvaluateAction, forming::ProfileAction, masks::MaskAction,
        selection::EnrolAction,
    },
    vote::CheckpointCertificate,
};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Identity of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct TxId(pub Digest);

impl fmt::Display for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TxId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// An admin opens a proposal (and signs it thereby).
    Propose(AdminAction),
    /// An admin signs an open proposal.
    SignProposal(TxId),
    /// An operator adds a trainer of its own organisation.
    AddTrainer(Member),
    /// An operator removes a trainer of its own organisation.
    RemoveTrainer(PublicKey),
    CreateTask(Box<TaskSpec>),
    CloseTask(TaskId),
    Update(Box<UpdateAction>),
    /// f+1 equal fold results of the committee: carried by any of its seats.
    Aggregate(Box<AggregateAction>),
    PublishModel(Box<PublishAction>),
    Stake(StakeAction),
    /// Anyone shows that a validator signed what excludes one another.
    Accuse(Box<Evidence>),
    /// A seat shows who signed a checkpoint of the running epoch: what participation is counted from.
    Attest(Box<CheckpointCertificate>),
    /// A member says to which key the content keys of sealed payloads are wrapped for it.
    SetEncryptionKey(EncryptionKey),
    Sealed(SealedAction),
    Dataset(DatasetAction),
    DeprecateModel(Box<DeprecateAction>),
    MeasureModel(Box<MeasureAction>),
    /// A seat found that a payload was cut by a liar.
    Condemn(BlobDigest),
    /// A seat that changed hands holds its part of every payload now.
    TakeOver,
    /// A member's figures of a task's global version.
    Evaluate(EvaluateAction),
    /// A trainer may be chosen for a task's rounds from now on.
    Enrol(EnrolAction),
    /// It may not any more.
    Leave(TaskId),
    /// Who owns a task, or an admin, says how many trainers may take part in it; those who do stay.
    Recruit(RecruitAction),
    /// A trainer joins a task that forms its clusters.
    Profile(Box<ProfileAction>),
    /// A trainer's part in a masked round, beside its update.
    Mask(Box<MaskAction>),
}

impl Action {
    /// Every payload that the action names.
    pub fn payloads(&self) -> Vec<&AvailabilityCertificate> {
        match self {
            Action::Update(update) => vec![&update.payload],
            Action::PublishModel(publish) => publish.payloads().collect(),
            Action::CreateTask(spec) => vec![&spec.initial],
            Action::Sealed(SealedAction::Register(sealed)) => vec![&sealed.payload],
            Action::Dataset(DatasetAction::Append(append)) => {
                std::iter::once(&append.manifest).chain(&append.packs).collect()
            }
            _ => vec![],
        }
    }
}

/// A model update: the payload is named, not carried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateAction {
    pub task: TaskId,
    pub cluster: ClusterId,
    /// The round meant; `None` in asynchronous tasks, where the open buffer takes it.
    pub round: Option<RoundNumber>,
    /// Version of the cluster model the delta is against.
    pub base_version: u64,
    /// Training examples behind the update: its weight, capped by the task.
    pub examples: u32,
    /// The trainer's own figures.
    pub metrics: Metrics,
    pub payload: AvailabilityCertificate,
}

/// How many trainers may take part in a task; `None`: whoever comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecruitAction {
    pub task: TaskId,
    pub trainers: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AggregateAction {
    pub result: FoldResult,
    pub signatures: Vec<(SeatIndex, Signature)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxBody {
    pub chain: Digest,
    pub sender: PublicKey,
    /// Makes equal actions different transactions.
    pub nonce: u64,
    pub valid_from: TimeMs,
    /// Last block time at which it may be applied.
    pub valid_until: TimeMs,
    pub action: Action,
}

/// Why a transaction is not well formed: found without looking at any state.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TxError {
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("made for chain {tx_chain}, this is chain {our_chain}")]
    WrongChain { tx_chain: Digest, our_chain: Digest },
    #[error("valid from {from} until {until}: the window must be positive and at most {max} ms")]
    Window { from: TimeMs, until: TimeMs, max: u64 },
    #[error("the signature does not match sender {sender}")]
    Signature { sender: PublicKey },
}

impl TxBody {
    pub fn id(&self) -> TxId {
        TxId(Digest::of(Tag::Transaction, self))
    }

    /// What its sender signs; `id` is its own.
    pub fn statement(&self, id: &TxId) -> Statement {
        statement(Purpose::Transaction, &self.chain, id)
    }

    pub fn sign(self, signer: &dyn Signer) -> SignedTx {
        let signature = signer.sign(&self.statement(&self.id()));
        SignedTx::new(self, signature)
    }
}
