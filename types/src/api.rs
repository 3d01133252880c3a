//! JSON shapes of the HTTP API (version 1). Digests, keys and signatures are
//! lower-case hexadecimal; times are milliseconds since the Unix epoch.
//!
//! | method and path | answer |
//! |---|---|
//! | `GET /healthz`, `GET /readyz`, `GET /metrics`, `GET /openapi.json` | |
//! | `GET /v1/status` | [`StatusView`] |
//! | `GET /v1/genesis` | the genesis file |
//! | `GET /v1/checkpoint` | `TrustedCheckpoint`, the file that a joining node is given |
//! | `GET /v1/validators` | `[ValidatorView]`: seats in their order, then candidates by rank |
//! | `GET /v1/epochs?from=E&limit=N` | `[EpochView]`, oldest first; the running one is the last |
//! | `GET /v1/stake/{member}` | [`StakeView`] |
//! | `GET /v1/stake-params` | `StakeParams` |
//! | `GET /v1/blocks?before=H&limit=N` | `[BlockSummary]`, newest first |
//! | `GET /v1/blocks/{height}` | [`BlockView`] |
//! | `POST /v1/txs` (canonical encoding, `application/octet-stream`) | [`TxStatus`] |
//! | `GET /v1/txs/{id}?wait=LEVEL&timeout_ms=N` | [`TxStatus`] |
//! | `GET /v1/members`, `GET /v1/proposals` | [`Page`] of `Member`, `Proposal` |
//! | `GET /v1/tasks` | [`Page`] of [`TaskView`] |
//! | `GET /v1/tasks/{id or name}` | [`TaskView`] |
//! | `GET /v1/tasks/{id or name}/rounds?cluster=C&before=R&limit=N` | `[RoundView]`, newest first |
//! | `GET /v1/tasks/{id or name}/evaluations?after=V&limit=N` | [`Page`] of `Evaluation`, oldest first |
//! | `GET /v1/tasks/{id or name}/drawing?cluster=C&round=R` | `Drawing`: who was chosen, and why |
//! | `GET /v1/tasks/{id or name}/contributions` | [`Page`] of [`ContributionView`] |
//! | `GET /v1/tasks/{id or name}/trainers`, `…/trainers/{key}` | [`Page`] of `Formed`, or one |
//! | `GET /v1/tasks/{id or name}/privacy` | [`Page`] of [`PrivacyView`] |
//! | `GET /v1/tasks/{id or name}/masking?cluster=C&round=R` | `Masking`: who takes part in a masked round |
//! | `GET /v1/tasks/{id or name}/shares?cluster=C&round=R&member=I` | `[DealtShares]` of one member of it |
//! | `GET /v1/proofs/masking/{id or name}?cluster=C&round=R` | [`crate::proof::Bundle`], canonical |
//! | `GET /v1/models?task=T&level=L&before=V&limit=N` | `[ModelView]`, newest first |
//! | `GET /v1/models/search?text=X&tag=T&scenario=S&licence=L&kind=K&deprecated=true&after=V&limit=N` | [`Page`] of [`ModelView`]: published ones, newest first |
//! | `GET /v1/models/{id}` | [`ModelView`] |
//! | `GET /v1/models/{id}/metrics` | `[MetricRecord]`, oldest first |
//! | `GET /v1/models/{id}/content` | canonical form, bytes |
//! | `GET /v1/models/{id}/change?from={id}` | what it is more than another of its task, bytes |
//! | `GET /v1/models/{id}/lineage` | [`LineageView`] |
//! | `GET /v1/sealed/{digest}` | [`SealedView`] |
//! | `GET /v1/datasets` | [`Page`] of `Dataset`, by name |
//! | `GET /v1/datasets/{name}` | [`DatasetView`] |
//! | `GET /v1/datasets/{name}/versions?before=V&limit=N` | `[DatasetVersion]`, newest first |
//! | `GET /v1/datasets/{name}/versions/{v}` | `DatasetVersion` |
//! | `POST /v1/blobs` (bytes; headers below) | `AvailabilityCertificate` |
//! | `GET /v1/blobs/{digest}` | bytes |
//! | `GET /v1/blobs/{digest}/holders` | [`HoldersView`] |
//! | `GET /v1/holds` | [`Page`] of `Hold` |
//! | `GET /v1/storage` | [`Page`] of [`StorageView`] |
//! | `GET /v1/proofs/tx/{id}`, `GET /v1/proofs/model/{id}`, `GET /v1/proofs/encryption-key/{member}` | `Bundle`, canonical encoding |
//! | `GET /v1/events?after=CURSOR` | server-sent events, [`EventView`] each |

use crate::{
    BlobId, ClusterId, Committee, Digest, Epoch, Event, Height, PublicKey, Receipt, RoundNumber,
    SeatIndex, Stake, TaskId, TimeMs, TxId, View,
    blob::BlobReference,
    dataset::Dataset,
    handover::EpochEnd,
    keeping::{Hold, StorageOwner},
    model::{ModelId, ModelRecord},
    round::{ContributionTotal, Entry, Metrics, Round},
    sealed::{SealedRecord, SealedWrap},
    stake::Jail,
    store::Deprecation,
    task::{Pace, TaskSpec, TaskStatus, evaluation::Progress, regions::Region, selection::Draw},
    vote::Checkpoint,
};
use serde::{Deserialize, Serialize};

/// Headers of `POST /v1/blobs`: the payload's identity, who uploads it, and a signature over
/// [`crate::blob::UploadBody`].
pub const HEADER_BLOB: &str = "x-twinfold-blob";
pub const HEADER_KEY: &str = "x-twinfold-key";
pub const HEADER_TIME: &str = "x-twinfold-time-ms";
pub const HEADER_SIGNATURE: &str = "x-twinfold-signature";
/// Of a fragment that a client cut itself: the payload's identity, canonical, in hexadecimal digits.
pub const HEADER_IDENTITY: &str = "x-twinfold-identity";
/// How an upload is to be cut: `whole` or `fragments`.
pub const HEADER_CODING: &str = "x-twinfold-coding";

macro_rules! view {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
            #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
            pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }
        )*
    };
}

/// How far a transaction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = TxLevel))]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Not known to this node, or older than the blocks it keeps.
    Unknown,
    /// In this node's pool.
    Admitted,
    /// In a committed block.
    Committed,
    /// Executed by this node: there is a receipt.
    Executed,
    /// Under a stable checkpoint: the receipt can be proved.
    Certified,
}

impl std::str::FromStr for Level {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "admitted" => Ok(Level::Admitted),
            "committed" => Ok(Level::Committed),
            "executed" => Ok(Level::Executed),
            "certified" => Ok(Level::Certified),
            other => {
                Err(format!("expected admitted, committed, executed or certified, got {other:?}"))
            }
        }
    }
}

view! {
    /// Every refusal: what is wrong, and what to do next.
    ErrorView {
        error: String,
        hint: String,
    }
    StatusView {
        /// Name of the chain.
        chain: String,
        /// Genesis digest: the chain's identity.
        genesis: Digest,
        version: String,
        /// Public key of this node's member.
        node: PublicKey,
        /// Seat of this node in the committee; none for an observer.
        seat: Option<SeatIndex>,
        epoch: Epoch,
        view: View,
        /// Seat that leads the view.
        leader: SeatIndex,
        /// Newest committed height.
        committed: Height,
        /// Newest executed height, its block time and state root.
        height: Height,
        time: TimeMs,
        state_root: Digest,
        /// Lowest height whose block this node keeps: 1 where it keeps everything.
        first_block: Height,
        /// Newest stable checkpoint.
        checkpoint: Option<Checkpoint>,
        /// How far the node has come while it joins from a checkpoint.
        join: Option<JoinView>,
        peers: Vec<PeerView>,
        pool_txs: u64,
        pool_bytes: u64,
        /// Bytes this node sent to other nodes since it started.
        relayed_bytes: u64,
        /// Median and 99th percentile of the time from admission here to commit, over
        /// the newest transactions admitted by this node, in milliseconds.
        commit_ms_p50: Option<f64>,
        commit_ms_p99: Option<f64>,
        /// Why the node has stopped taking part, if it has.
        halted: Option<String>,
    }
    #[derive(Default)]
    /// A node that joins: until it is done it serves nothing else.
    JoinView {
        /// What it is doing.
        phase: String,
        /// The height at which its ledger will begin.
        height: Option<Height>,
        /// Of the state, as far as it is known already.
        percent: f64,
        rows: u64,
        /// Received since it started.
        bytes: u64,
        /// Peers that are asked.
        peers: u32,
        /// Peers that sent what is not so, and are not asked again.
        avoided: Vec<String>,
    }
    /// Why this node's chain moves or stands still, as far as it can tell.
    DiagnosisView {
        /// Sentences for people, the gravest first; empty when nothing is wrong.
        findings: Vec<String>,
        /// What this node is doing.
        doing: String,
        /// The view moved to, and the newest one installed.
        view: View,
        installed: View,
        leader: String,
        committed: Height,
        executed: Height,
        stable: Height,
        /// Validators that this node hears, itself included, and those that must be.
        reachable: Vec<String>,
        unreachable: Vec<String>,
        quorum: u32,
        /// Who votes on what is in flight.
        heights: Vec<InFlightView>,
    }
    InFlightView {
        height: Height,
        proposed: bool,
        body_held: bool,
        prepared_by: Vec<String>,
        committed_by: Vec<String>,
    }
    PeerView {
        name: String,
        peer: String,
        connected: bool,
        /// Newest committed height the peer told of.
        height: Option<Height>,
    }
    /// Who holds a seat in the running epoch, or may hold one in the next.
    ValidatorView {
        /// None for a candidate without a seat.
        seat: Option<SeatIndex>,
        /// Place among the candidates by stake, from 1; none for one that is a candidate no longer.
        rank: Option<u32>,
        name: String,
        organisation: String,
        /// The member.
        validator: PublicKey,
        /// Consensus key: the seat's in this epoch, or what the candidate declared.
        key: PublicKey,
        peer: String,
        /// Whether this node is connected to it (always for itself).
        connected: bool,
        leader: bool,
        /// All stake behind it, and what of that is its own.
        stake: Stake,
        own_stake: Stake,
        /// Thousandths of its rewards that it keeps before its delegators share the rest.
        commission_permille: u16,
        /// The same from the next election on.
        commission_next_permille: u16,
        /// Whether it wants a seat from the next election on.
        ready: bool,
        /// Why it will not be elected, if so.
        jail: Option<Jail>,
        /// Checkpoints of the running epoch that stand on the chain, and those this seat signed.
        checkpoints: Option<u32>,
        signed: Option<u32>,
        /// Where it said that others dial it: consensus and payload connection.
        addresses: Option<(String, String)>,
    }
    /// An epoch: what a client needs to follow the committees from genesis on.
    EpochView {
        committee: Committee,
        /// Members who hold a seat in it and held none in the epoch before.
        joined: Vec<PublicKey>,
        /// Members who held a seat in the epoch before and hold none in it.
        left: Vec<PublicKey>,
        /// What its last height came to, signed by its committee, or the admins' recovery: it names
        /// the next one. None while the epoch runs.
        end: Option<EpochEnd>,
    }
    /// What a member owns.
    StakeView {
        member: PublicKey,
        name: String,
        free: Stake,
        delegated: Vec<DelegationView>,
        unbonding: Vec<UnbondingView>,
    }
    DelegationView {
        validator: PublicKey,
        name: String,
        /// What its part of the validator's pool is worth now.
        worth: Stake,
    }
    /// Undelegated, and not free yet.
    UnbondingView {
        validator: PublicKey,
        name: String,
        /// Epoch in which it was undelegated.
        epoch: Epoch,
        worth: Stake,
        /// None while that epoch has not ended.
        free_at: Option<TimeMs>,
    }
    BlockSummary {
        height: Height,
        digest: Digest,
        time: TimeMs,
        txs: u32,
        bytes: u64,
    }
    BlockView {
        height: Height,
        digest: Digest,
        parent: Digest,
        epoch: Epoch,
        time: TimeMs,
        bytes: u64,
        txs: Vec<TxView>,
        /// Receipt of what the block itself brought about, if anything.
        receipt: Option<Receipt>,
        /// What the node came to by executing it, as far as it kept that.
        checkpoint: Option<Checkpoint>,
    }
    TxView {
        id: TxId,
        sender: PublicKey,
        /// Name of the action.
        action: String,
        receipt: Option<Receipt>,
    }
    TxStatus {
        id: TxId,
        level: Level,
        /// From level executed on.
        receipt: Option<Receipt>,
        /// Text of the receipt's code.
        result: Option<String>,
    }
    TaskView {
        id: TaskId,
        owner: PublicKey,
        status: TaskStatus,
        created: TimeMs,
        global: ModelId,
        global_version: u64,
        /// Merges done.
        merges: u64,
        /// What its measured global models came to.
        progress: Progress,
        /// Trainers that take part, and most that may; null: whoever comes.
        trainers: u32,
        trainers_max: Option<u32>,
        clusters: Vec<ClusterView>,
        /// The regions that clusters are grouped in, where they are.
        regions: Vec<Region>,
        spec: TaskSpec,
    }
    /// What a trainer needs to know before it trains.
    ClusterView {
        cluster: ClusterId,
        model: ModelId,
        model_digest: Digest,
        version: u64,
        /// The round that takes updates.
        round: RoundNumber,
        /// False while a sealed round or a merge is being folded in a synchronous task.
        collecting: bool,
        entries: u32,
        deadline: Option<TimeMs>,
        /// Whether the round's trainers are chosen, where they are.
        draw: Draw,
        /// When its rounds close.
        pace: Pace,
    }
    /// What a trainer has contributed to a task that keeps contributions.
    ContributionView {
        trainer: PublicKey,
        total: ContributionTotal,
    }
    /// What a trainer's updates have revealed in a task with declared noise.
    PrivacyView {
        trainer: PublicKey,
        /// ρ of zero-concentrated differential privacy, in 1/2^32.
        spent: u64,
    }
    RoundView {
        round: Round,
        entries: Vec<Entry>,
        /// Means of the trainers' own figures, weighted by examples.
        metrics: Option<Metrics>,
    }
    ModelView {
        id: ModelId,
        /// Name of the task, or of the published model.
        name: String,
        record: ModelRecord,
        /// That it should no longer be used, where somebody said so.
        deprecation: Option<Deprecation>,
    }
    /// A model, and everything it was made from.
    LineageView {
        /// From the model asked for back to the first: each model stands after
        /// those made from it.
        models: Vec<ModelView>,
        /// The rounds among their sources, in the same order.
        rounds: Vec<RoundView>,
        /// Whether the list ends at a first or published model (and not at the limit).
        complete: bool,
    }
    /// A data set, and who may append beside its owner where the rule is a list.
    DatasetView {
        dataset: Dataset,
        granted: Vec<PublicKey>,
    }
    /// A payload, and who answers for its fragments.
    HoldersView {
        blob: BlobId,
        /// Length of each fragment.
        fragment_bytes: u64,
        holders: Vec<HolderView>,
        /// Who named it first and how many reasons keep it; without one it goes when its lease is over.
        kept: Option<BlobReference>,
        hold: Option<Hold>,
    }
    /// Bytes of the payloads that an account named first and that are kept.
    StorageView {
        owner: StorageOwner,
        stored_bytes: u64,
        /// `null`: no limit of its own.
        quota_bytes: Option<u64>,
    }
    HolderView {
        /// Member whose node holds it.
        member: PublicKey,
        /// Of whole copies all are alike.
        fragment: u16,
    }
    /// A sealed payload, and the content key wrapped for each of its readers.
    SealedView {
        record: SealedRecord,
        wraps: Vec<SealedWrap>,
    }
    EventView {
        /// Resume after it: `HEIGHT-RECEIPT-EVENT`.
        cursor: String,
        height: Height,
        time: TimeMs,
        /// Transaction behind it, if one is.
        tx: Option<TxId>,
        event: Notice,
    }
}

impl JoinView {
    pub fn text(&self) -> String {
        let mut text = self.phase.clone();
        if let Some(height) = self.height {
            text += &format!(
                ", height {height}: {:.1} % of the state, {} rows, {} bytes, from {} peers",
                self.percent, self.rows, self.bytes, self.peers
            );
        }
        if !self.avoided.is_empty() {
            text += &format!("; {} sent false answers", self.avoided.join(", "));
        }
        text
    }
}

/// What the event stream carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    Block(BlockSummary),
    Receipt(Receipt),
    /// One typed event of a receipt.
    Event(Event),
}

/// One page of a listing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Page<T> {
    pub rows: Vec<T>,
    /// Pass as `after` for the next page; none on the last.
    pub next: Option<String>,
}
