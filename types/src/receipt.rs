//! What execution says of each transaction: a code and typed events. Receipts are
//! the entries of the audit log. Codes are numbers; texts live here only.

use crate::{
    BlobDigest, ClusterId, DatasetId, Digest, Epoch, Height, PublicKey, RegionId, SeatIndex, Stake,
    TaskId, TimeMs, TxId,
    evidence::Offence,
    keeping::{HoldSubject, StorageOwner},
    model::{Level, ModelId},
    round::{Contribution, Metrics, RoundKey, VoidReason},
    stake::Jail,
    task::{
        Forming,
        masks::MaskStage,
        pace::{Arrivals, Pace},
    },
};
use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// Result of a transaction. Numbers are part of the format.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(rename_all = "snake_case")]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];
            /// The number that stands in tables and logs.
            pub fn number(self) -> u16 {
                match self { $(Code::$name => $number,)* }
            }
            pub fn text(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }
        }
    };
}

codes! {
    Ok = 0, "done";
    UnknownSender = 1, "the sender is no member";
    NotPermitted = 2, "the sender's roles do not allow this";
    Replayed = 3, "already applied";
    NotValidNow = 4, "outside its window of validity";
    InvalidMember = 10, "the member is not acceptable";
    MemberExists = 11, "a member has this key";
    MemberUnknown = 12, "no member has this key";
    OtherOrganisation = 13, "belongs to another organisation";
    QuotaReached = 14, "the organisation's quota of trainers is reached";
    TooManyMembers = 15, "the chain has its maximum of members";
    AdminsTooFew = 16, "fewer admins would remain than signatures are needed";
    HoldsSeat = 17, "the member holds a seat in the committee";
    ProposalUnknown = 20, "no such proposal";
    ProposalEnded = 21, "the proposal is no longer open";
    AlreadySigned = 22, "already signed by this admin";
    TooManyProposals = 23, "too many open proposals";
    ThresholdInvalid = 24, "the threshold must be between 1 and the number of admins";
    TaskInvalid = 30, "the task's settings are refused";
    TaskNameTaken = 31, "a task has this name";
    TaskUnknown = 32, "no such task";
    TaskEnded = 33, "the task takes no more updates";
    TooManyTasks = 34, "the organisation has its maximum of open tasks";
    AvailabilityInvalid = 40, "the availability certificate is not valid";
    PayloadTooLarge = 41, "the payload is larger than such an update can be";
    ClusterUnknown = 42, "the task has no such cluster";
    ClusterOther = 43, "this trainer belongs to another cluster of the task";
    RoundOther = 44, "another round is collecting";
    RoundSealed = 45, "the round is sealed";
    BaseOther = 46, "the delta is against another version of the model";
    BaseStale = 47, "the delta's base is too old";
    UpdateExists = 48, "this trainer's update for the round is already ordered";
    ExamplesInvalid = 49, "the number of examples must be positive";
    FoldUnexpected = 50, "no such folding is due";
    FoldSignatures = 51, "too few valid signatures on the fold result";
    FoldMismatch = 52, "the fold result does not fit the round's list";
    ModelInvalid = 60, "the model's tensors, size or description are refused";
    ModelExists = 61, "the model is already published";
    StakeTooLittle = 70, "there is not so much stake";
    StakeTooMuch = 71, "there would be more stake than 64 bits hold";
    CandidateUnknown = 72, "no such validator";
    DeclarationInvalid = 73, "the commission is above 1,000 thousandths, the new key weak, taken or not its holder's, or an address empty or long";
    NotJailed = 74, "the validator is not jailed";
    JailedStill = 75, "the validator is jailed still: for longer, or until the admins let it out";
    StakeParamsInvalid = 76, "the rules of stake contradict one another";
    EpochEnding = 77, "the epoch is ending already";
    EvidenceInvalid = 78, "the evidence does not hold";
    EvidenceOld = 79, "the evidence is of an epoch that is too long past";
    EvidenceKnown = 80, "the validator was punished for this already";
    AttestationInvalid = 81, "the checkpoint is not one of this epoch, or a signature is wrong";
    AttestationKnown = 82, "these signatures stand on the chain already";
    ProtocolInvalid = 83, "the version of the rules is not above the running one";
    EncryptionKeyInvalid = 100, "the encryption key is weak";
    EncryptionKeyOther = 101, "a wrap is for a key that is not the one its member has registered";
    SealedExists = 102, "the sealed payload is registered already";
    SealedUnknown = 103, "no such sealed payload is registered";
    SealedDestroyed = 104, "the sealed payload was purged";
    SealedNotOwner = 105, "the sender does not own the sealed payload";
    WrapsInvalid = 106, "the members named are none, too many, or not in ascending order";
    WrapUnknown = 107, "a member named cannot read the sealed payload anyway";
    DatasetInvalid = 110, "what is said of the data set or version is refused";
    DatasetNameTaken = 111, "a data set has this name";
    DatasetUnknown = 112, "no such data set";
    AppendNotPermitted = 113, "the data set's rule does not let the sender append";
    DatasetParentUnknown = 114, "the version named as parent is none of the data set's";
    DatasetFull = 115, "the data set has its maximum of versions or granted members";
    GrantsNotUsed = 116, "this data set's rule has no list of members";
    GrantExists = 117, "the member is on the list already";
    GrantUnknown = 118, "the member is not on the list";
    TooManyDatasets = 119, "the member has its maximum of data sets";
    ModelUnknown = 120, "no such model";
    NoteInvalid = 121, "the metric or the reason of the deprecation is refused";
    TooManyMetrics = 122, "the model, or the sender on it, has its maximum of metrics";
    PayloadUnknown = 130, "the ledger keeps no such payload";
    HoldExists = 131, "a hold on it stands already";
    HoldUnknown = 132, "no hold on it stands";
    Held = 133, "a hold keeps it";
    HoldInvalid = 134, "the hold needs a reason, of 2,048 bytes at most";
    StorageFull = 135, "the sender, or its organisation, has as many bytes of payloads stored as it may";
    PayloadWhole = 136, "the payload is whole copies, which nobody can have cut falsely";
    PayloadCondemned = 137, "it is said or settled already that the payload was cut by a liar";
    TooManySuspicions = 138, "the sender suspects its maximum of payloads";
    TakeoverUnknown = 139, "the sender's seat did not change hands, or said so already";
    DatasetPurged = 140, "the data set is being purged, or has no such versions left";
    EvaluationUnused = 150, "the task's models are not measured";
    EvaluatorOther = 151, "the sender is none of those who measure the task's models";
    EvaluationVersion = 152, "the task has no such global version yet, or does not measure it";
    EvaluationLate = 153, "that global version, or a later one, is scored already";
    EvaluationExists = 154, "the sender has measured this global version already";
    EvaluationInvalid = 155, "a measurement needs examples, and the figure that the task goes by";
    EnrolmentUnused = 160, "the task chooses nobody: whoever wants sends an update";
    EnrolmentExists = 161, "the sender is enrolled in the task already";
    EnrolmentUnknown = 162, "the sender is not enrolled in the task";
    EnrolmentFull = 163, "the cluster has its maximum of enrolled trainers";
    NotChosen = 164, "the sender is not chosen for this round";
    RecruitingClosed = 165, "the task takes no more trainers";
    ProfileInvalid = 166, "a profile needs examples, and tells of 128 labels at most";
    MasksUnused = 170, "the task's updates are not masked";
    MaskStageOther = 171, "the masked round is at another stage";
    MaskMemberUnknown = 172, "the sender is not of the masked round, or has not dealt";
    MaskExists = 173, "the sender has said this in the masked round already";
    MaskInvalid = 174, "keys, shares or proof are not what they should be";
    MaskBarred = 175, "the sender has dealt a false share in this task";
    MaskPayload = 176, "a masked update has exactly the task's length";
    PrivacySpent = 177, "the sender has spent its privacy budget in this task";
}

/// A fact that execution established.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Event {
    MemberAdded {
        key: PublicKey,
    },
    MemberRemoved {
        key: PublicKey,
    },
    QuotaSet {
        organisation: String,
        trainers: u32,
    },
    ThresholdSet {
        threshold: u32,
    },
    ProposalOpened {
        id: TxId,
    },
    ProposalSigned {
        id: TxId,
        by: PublicKey,
        signatures: u32,
    },
    ProposalPassed {
        id: TxId,
    },
    ProposalFailed {
        id: TxId,
        code: Code,
    },
    ProposalLapsed {
        id: TxId,
    },
    TaskCreated {
        task: TaskId,
    },
    TaskFinished {
        task: TaskId,
    },
    TaskClosed {
        task: TaskId,
    },
    RoundOpened {
        key: RoundKey,
    },
    /// The first update of the task since its last merge, or the first after a
    /// round of an active task opened: the deadline runs.
    RoundStarted {
        key: RoundKey,
        deadline: TimeMs,
    },
    UpdateOrdered {
        key: RoundKey,
        index: u32,
        trainer: PublicKey,
    },
    RoundExtended {
        key: RoundKey,
        deadline: TimeMs,
        extensions: u32,
    },
    RoundSealed {
        key: RoundKey,
        entries: u32,
    },
    RoundVoid {
        key: RoundKey,
        reason: VoidReason,
    },
    /// Indices of the updates left out, if any, are in the round's outcomes.
    RoundAggregated {
        key: RoundKey,
        model: ModelId,
        folded: u32,
        refused: u32,
        saturations: u64,
    },
    /// A cluster's weight reached its cap before the merge.
    WeightCapped {
        task: TaskId,
        cluster: ClusterId,
    },
    MergeDue {
        task: TaskId,
        number: u64,
    },
    Merged {
        task: TaskId,
        number: u64,
        model: ModelId,
        saturations: u64,
    },
    ModelVersion {
        model: ModelId,
        task: Option<TaskId>,
        level: Level,
        version: u64,
    },
    ModelPublished {
        model: ModelId,
        name: String,
    },
    StakeGranted {
        member: PublicKey,
        amount: Stake,
    },
    StakeTransferred {
        from: PublicKey,
        to: PublicKey,
        amount: Stake,
    },
    Delegated {
        delegator: PublicKey,
        validator: PublicKey,
        amount: Stake,
    },
    Undelegated {
        delegator: PublicKey,
        validator: PublicKey,
        amount: Stake,
    },
    /// Undelegated stake is free now.
    StakeFreed {
        delegator: PublicKey,
        validator: PublicKey,
        amount: Stake,
    },
    /// A candidate said what it wants, keeps and signs with.
    CandidateDeclared {
        validator: PublicKey,
        ready: bool,
    },
    /// Its pool and its unbonding stake lost so much together.
    Slashed {
        validator: PublicKey,
        epoch: Epoch,
        offence: Offence,
        burnt: Stake,
    },
    Jailed {
        validator: PublicKey,
        jail: Jail,
    },
    LetOut {
        validator: PublicKey,
    },
    Rewarded {
        validator: PublicKey,
        amount: Stake,
        /// Of that, what it keeps before its delegators share the rest.
        commission: Stake,
    },
    StakeParamsSet,
    ProtocolSet {
        version: u32,
    },
    /// The admins end the epoch early, after this height.
    EpochEnding {
        at: Height,
    },
    /// The last block of an epoch elected the next one's committee.
    EpochEnded {
        epoch: Epoch,
        joined: Vec<PublicKey>,
        left: Vec<PublicKey>,
    },
    /// The admins ended the epoch before, and this one goes on from the height below.
    Recovered {
        epoch: Epoch,
        /// Digest of what they signed.
        statement: Digest,
    },
    EncryptionKeySet {
        member: PublicKey,
    },
    SealedRegistered {
        blob: BlobDigest,
        owner: PublicKey,
    },
    SealedGranted {
        blob: BlobDigest,
        members: Vec<PublicKey>,
    },
    SealedRevoked {
        blob: BlobDigest,
        members: Vec<PublicKey>,
    },
    /// So many members could read it until now.
    SealedDestroyed {
        blob: BlobDigest,
        wraps: u32,
    },
    DatasetCreated {
        dataset: DatasetId,
        name: String,
    },
    DatasetAppended {
        dataset: DatasetId,
        name: String,
        version: u64,
        by: PublicKey,
    },
    DatasetGranted {
        dataset: DatasetId,
        member: PublicKey,
    },
    DatasetRevoked {
        dataset: DatasetId,
        member: PublicKey,
    },
    /// Versions whose content nothing keeps any more for the data set's sake.
    DatasetPurged {
        dataset: DatasetId,
        first: u64,
        last: u64,
    },
    /// A member measured a global version of the task.
    VersionMeasured {
        task: TaskId,
        version: u64,
        by: PublicKey,
    },
    /// Enough did.
    VersionScored {
        task: TaskId,
        version: u64,
        model: ModelId,
        score: Metrics,
        reports: u32,
        /// Better than every version scored before.
        best: bool,
    },
    /// So many scored versions in a row gained nothing; this one is the best.
    TaskStopped {
        task: TaskId,
        best: u64,
    },
    TrainerEnrolled {
        task: TaskId,
        cluster: ClusterId,
        trainer: PublicKey,
    },
    /// By itself, or since rounds waited for it in vain.
    TrainerLeft {
        task: TaskId,
        cluster: ClusterId,
        trainer: PublicKey,
        missed: u32,
    },
    /// So many of the enrolled may send updates to the round; who and why stands in its drawing.
    TrainersChosen {
        key: RoundKey,
        chosen: u32,
        enrolled: u32,
    },
    /// A cluster's rounds close otherwise from the next on, by when the updates of this one came.
    PaceChosen {
        key: RoundKey,
        pace: Pace,
        arrivals: Arrivals,
    },
    /// So many trainers may take part in a task from now on.
    RecruitingSet {
        task: TaskId,
        trainers: Option<u32>,
    },
    /// A region's clusters have run their rounds: they are to merge.
    RegionMergeDue {
        task: TaskId,
        region: RegionId,
        number: u64,
    },
    RegionMerged {
        task: TaskId,
        region: RegionId,
        number: u64,
        model: ModelId,
        saturations: u64,
    },
    /// A region's weight in the next global merge is at its highest.
    RegionWeightCapped {
        task: TaskId,
        region: RegionId,
    },
    /// Clusters were formed of so many trainers, of whom so many are in another one than before.
    ClustersFormed {
        task: TaskId,
        by: Forming,
        trainers: u32,
        moved: u32,
    },
    /// A masked round has so many members, of whom so many dealt or sent as its stage asks.
    MaskStageBegun {
        key: RoundKey,
        stage: MaskStage,
        members: u32,
    },
    /// A trainer was shown to have dealt a false share: the round is void, and it is barred from the task.
    FalseShare {
        key: RoundKey,
        dealer: PublicKey,
        by: PublicKey,
    },
    /// What a trainer's update had in the change that its round came to.
    Contributed {
        key: RoundKey,
        trainer: PublicKey,
        contribution: Contribution,
    },
    ModelDeprecated {
        model: ModelId,
        successor: Option<ModelId>,
    },
    ModelMeasured {
        model: ModelId,
        name: String,
        by: PublicKey,
    },
    /// The retention of these updates of a round is over: nothing keeps their payloads any more,
    /// unless something else names them.
    UpdatesReleased {
        key: RoundKey,
        first: u32,
        updates: u32,
    },
    HoldSet {
        subject: HoldSubject,
    },
    HoldReleased {
        subject: HoldSubject,
    },
    StorageQuotaSet {
        owner: StorageOwner,
        bytes: Option<u64>,
    },
    /// A seat found that a payload was cut by a liar; the others look.
    PayloadSuspected {
        blob: BlobDigest,
        by: PublicKey,
    },
    /// f+1 seats found it: the payload, named first by this member, has no content.
    PayloadCondemned {
        blob: BlobDigest,
        by: PublicKey,
    },
    /// Who has the seat now holds its part of every payload.
    SeatTakenOver {
        seat: SeatIndex,
        by: PublicKey,
    },
    /// It did not say so in time: elections wait for it no longer.
    TakeoverLapsed {
        seat: SeatIndex,
        by: PublicKey,
    },
}

/// What a block's deadlines or one of its transactions came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Receipt {
    pub height: Height,
    /// `None` for what the block itself brought about (deadlines, lapses).
    pub tx: Option<TxId>,
    /// Position in the block; the block's own receipt stands first, where it has one.
    pub index: u32,
    pub code: Code,
    pub events: Vec<Event>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_numbers_are_distinct_and_rise() {
        assert!(Code::ALL.is_sorted_by(|a, b| a.number() < b.number()));
    }
}
