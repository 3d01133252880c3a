//! The map of the state: every key that execution reads or writes, with its
//! value's type. Keys are a one-byte prefix and fixed-width big-endian fields, so
//! that a range scan lists in natural order. The tree hashes the whole key.

use crate::{
    BlobDigest, ClusterId, DatasetId, Digest, Epoch, Height, PublicKey, RegionId, RoundNumber,
    SeatIndex, TaskId, TimeMs, TxId,
    evidence::Offence,
    keeping::{HoldSubject, StorageOwner},
    model::ModelId,
    round::{FoldJob, RoundKey},
};

/// A key of the state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StateKey(Vec<u8>);

impl StateKey {
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// A key that a scan of the state named.
    pub fn of_row(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    fn new(prefix: Prefix, parts: &[&[u8]]) -> Self {
        let mut bytes = vec![prefix as u8];
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        Self(bytes)
    }
}

/// First byte of a key. Numbers are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Prefix {
    Params = 1,
    Member = 2,
    MemberCount = 3,
    Quota = 4,
    TrainerCount = 5,
    Proposal = 6,
    ProposalLapse = 7,
    Epoch = 8,
    PastEpoch = 9,
    EpochEnd = 10,
    Protocol = 11,
    Attested = 12,
    Participation = 13,
    Balance = 40,
    StakeTotal = 41,
    Candidate = 42,
    Delegation = 43,
    Unbonding = 44,
    UnbondingShares = 45,
    UnbondingDue = 46,
    Punished = 47,
    Task = 16,
    TaskName = 17,
    Cluster = 18,
    Round = 19,
    RoundEntry = 20,
    Enrolment = 21,
    Deadline = 22,
    ClusterVersion = 23,
    FoldResult = 24,
    OpenTaskCount = 25,
    Model = 32,
    PublishedName = 33,
    PublishedCount = 34,
    EncryptionKey = 56,
    Sealed = 57,
    SealedWrap = 58,
    BlobReference = 35,
    Dataset = 36,
    DatasetVersion = 37,
    DatasetGrant = 38,
    DatasetCount = 39,
    PublishedVersion = 64,
    Deprecation = 65,
    Metric = 66,
    MetricCount = 67,
    MemberMetricCount = 68,
    Hold = 69,
    RoundEnd = 70,
    StoredBytes = 71,
    StorageQuota = 72,
    Suspicion = 73,
    SuspicionCount = 74,
    Condemned = 75,
    Takeover = 76,
    Evaluation = 77,
    Contribution = 78,
    GlobalVersion = 79,
    Enrolled = 80,
    EnrolledCount = 81,
    DrawDue = 82,
    Drawing = 83,
    FormerlyEnrolled = 84,
    Masking = 85,
    MaskDeal = 86,
    MaskRelease = 87,
    MaskBarred = 88,
    PrivacySpent = 89,
    Formed = 90,
    Region = 91,
}

impl Prefix {
    const ALL: [Prefix; 70] = [
        Prefix::Params,
        Prefix::Member,
        Prefix::MemberCount,
        Prefix::Quota,
        Prefix::TrainerCount,
        Prefix::Proposal,
        Prefix::ProposalLapse,
        Prefix::Epoch,
        Prefix::PastEpoch,
        Prefix::EpochEnd,
        Prefix::Protocol,
        Prefix::Attested,
        Prefix::Participation,
        Prefix::Balance,
        Prefix::StakeTotal,
        Prefix::Candidate,
        Prefix::Delegation,
        Prefix::Unbonding,
        Prefix::UnbondingShares,
        Prefix::UnbondingDue,
        Prefix::Punished,
        Prefix::Task,
        Prefix::TaskName,
        Prefix::Cluster,
        Prefix::Round,
        Prefix::RoundEntry,
        Prefix::Enrolment,
        Prefix::Deadline,
        Prefix::ClusterVersion,
        Prefix::FoldResult,
        Prefix::OpenTaskCount,
        Prefix::Model,
        Prefix::PublishedName,
        Prefix::PublishedCount,
        Prefix::EncryptionKey,
        Prefix::Sealed,
        Prefix::SealedWrap,
        Prefix::BlobReference,
        Prefix::Dataset,
        Prefix::DatasetVersion,
        Prefix::DatasetGrant,
        Prefix::DatasetCount,
        Prefix::PublishedVersion,
        Prefix::Deprecation,
        Prefix::Metric,
        Prefix::MetricCount,
        Prefix::MemberMetricCount,
        Prefix::Hold,
        Prefix::RoundEnd,
        Prefix::StoredBytes,
        Prefix::StorageQuota,
        Prefix::Suspicion,
        Prefix::SuspicionCount,
        Prefix::Condemned,
        Prefix::Takeover,
        Prefix::Evaluation,
        Prefix::Contribution,
        Prefix::GlobalVersion,
        Prefix::Enrolled,
        Prefix::EnrolledCount,
        Prefix::DrawDue,
        Prefix::Drawing,
        Prefix::FormerlyEnrolled,
        Prefix::Masking,
        Prefix::MaskDeal,
        Prefix::MaskRelease,
        Prefix::MaskBarred,
        Prefix::PrivacySpent,
        Prefix::Formed,
        Prefix::Region,
    ];

    /// The prefix alone, for scans.
    pub fn scan(self) -> StateKey {
        StateKey::new(self, &[])
    }
}

/// What kind of row a key names, for people.
pub fn describe(key: &[u8]) -> String {
    let kind = key.first().and_then(|first| Prefix::ALL.iter().find(|kind| **kind as u8 == *first));
    kind.map_or_else(|| "of no known kind".into(), |kind| format!("{kind:?}"))
}

/// [`crate::genesis::ChainParams`].
pub fn params() -> StateKey {
    StateKey::new(Prefix::Params, &[])
}

/// [`crate::member::Member`].
pub fn member(key: &PublicKey) -> StateKey {
    StateKey::new(Prefix::Member, &[&key.0])
}

/// `u32`: members in all.
pub fn member_count() -> StateKey {
    StateKey::new(Prefix::MemberCount, &[])
}

/// `u32`: trainers an organisation may have.
pub fn quota(organisation: &str) -> StateKey {
    StateKey::new(Prefix::Quota, &[organisation.as_bytes()])
}

/// `u32`: trainers an organisation has.
pub fn trainer_count(organisation: &str) -> StateKey {
    StateKey::new(Prefix::TrainerCount, &[organisation.as_bytes()])
}

/// [`crate::member::Proposal`].
pub fn proposal(id: &TxId) -> StateKey {
    StateKey::new(Prefix::Proposal, &[&id.0.0])
}

/// `()`: an open proposal, by the time it lapses.
pub fn proposal_lapse(expires: TimeMs, id: &TxId) -> StateKey {
    StateKey::new(Prefix::ProposalLapse, &[&expires.0.to_be_bytes(), &id.0.0])
}

/// [`crate::task::Task`].
pub fn task(id: &TaskId) -> StateKey {
    StateKey::new(Prefix::Task, &[&id.0.0])
}

/// `u32`: open tasks of an organisation.
pub fn open_task_count(organisation: &str) -> StateKey {
    StateKey::new(Prefix::OpenTaskCount, &[organisation.as_bytes()])
}

/// `TaskId` of a task's name.
pub fn task_name(name: &str) -> StateKey {
    StateKey::new(Prefix::TaskName, &[name.as_bytes()])
}

/// [`Region`](crate::task::regions::Region).
pub fn region(task: &TaskId, region: RegionId) -> StateKey {
    StateKey::new(Prefix::Region, &[&task.0.0, &region.0.to_be_bytes()])
}

/// [`crate::task::Cluster`].
pub fn cluster(task: &TaskId, cluster: ClusterId) -> StateKey {
    StateKey::new(Prefix::Cluster, &[&task.0.0, &cluster.0.to_be_bytes()])
}

/// [`crate::round::Round`].
pub fn round(key: &RoundKey) -> StateKey {
    StateKey::new(Prefix::Round, &round_parts(key).each_ref().map(|part| part.as_slice()))
}

/// [`crate::round::Entry`].
pub fn round_entry(key: &RoundKey, index: u32) -> StateKey {
    let [task, cluster, round] = round_parts(key);
    StateKey::new(Prefix::RoundEntry, &[&task, &cluster, &round, &index.to_be_bytes()])
}

/// `(ClusterId, Option<RoundNumber>, u64)`: a trainer's cluster in a task, the last
/// round it has an update in, and that update's base version.
pub fn enrolment(task: &TaskId, trainer: &PublicKey) -> StateKey {
    StateKey::new(Prefix::Enrolment, &[&task.0.0, &trainer.0])
}

/// [`crate::task::selection::Enrolled`].
pub fn enrolled(task: &TaskId, cluster: ClusterId, trainer: &PublicKey) -> StateKey {
    StateKey::new(Prefix::Enrolled, &[&task.0.0, &cluster.0.to_be_bytes(), &trainer.0])
}

/// [`crate::task::selection::Enrolled`] as it was when the trainer left: it does not begin anew.
pub fn formerly_enrolled(task: &TaskId, trainer: &PublicKey) -> StateKey {
    StateKey::new(Prefix::FormerlyEnrolled, &[&task.0.0, &trainer.0])
}

/// All of a cluster, in the order of keys.
pub fn enrolled_in(task: &TaskId, cluster: ClusterId) -> StateKey {
    StateKey::new(Prefix::Enrolled, &[&task.0.0, &cluster.0.to_be_bytes()])
}

/// `u32`: how many these are.
pub fn enrolled_count(task: &TaskId, cluster: ClusterId) -> StateKey {
    StateKey::new(Prefix::EnrolledCount, &[&task.0.0, &cluster.0.to_be_bytes()])
}

/// `()`: a round whose enrolment closed with this height.
pub fn draw_due(closed: Height, key: &RoundKey) -> StateKey {
    let [task, cluster, round] = round_parts(key);
    StateKey::new(Prefix::DrawDue, &[&closed.0.to_be_bytes(), &task, &cluster, &round])
}

/// Reads a key made by [`draw_due`] back.
pub fn parse_draw_due(key: &[u8]) -> Option<(Height, RoundKey)> {
    let (TimeMs(height), round) =
        parse_time_and_round(key.strip_prefix(&[Prefix::DrawDue as u8])?)?;
    Some((Height(height), round))
}

/// [`crate::task::selection::Drawing`].
pub fn drawing(key: &RoundKey) -> StateKey {
    StateKey::new(Prefix::Drawing, &round_parts(key).each_ref().map(|part| part.as_slice()))
}

/// [`crate::task::masks::Masking`] of a masked round.
pub fn masking(key: &RoundKey) -> StateKey {
    StateKey::new(Prefix::Masking, &round_parts(key).each_ref().map(|part| part.as_slice()))
}

/// [`crate::task::masks::Deal`] of a member, until the round is unmasked or void.
pub fn mask_deal(key: &RoundKey, index: u32) -> StateKey {
    let [task, cluster, round] = round_parts(key);
    StateKey::new(Prefix::MaskDeal, &[&task, &cluster, &round, &index.to_be_bytes()])
}

/// `Vec<MaskScalar>`: shares that a member released, as long.
pub fn mask_release(key: &RoundKey, index: u32) -> StateKey {
    let [task, cluster, round] = round_parts(key);
    StateKey::new(Prefix::MaskRelease, &[&task, &cluster, &round, &index.to_be_bytes()])
}

/// `RoundNumber` in which a trainer dealt a false share: it takes no part in the task any more.
pub fn mask_barred(task: &TaskId, trainer: &PublicKey) -> StateKey {
    StateKey::new(Prefix::MaskBarred, &[&task.0.0, &trainer.0])
}

/// `u64`: ρ that a trainer has spent in a task, in 1/2^32.
pub fn privacy_spent(task: &TaskId, trainer: &PublicKey) -> StateKey {
    StateKey::new(Prefix::PrivacySpent, &[&task.0.0, &trainer.0])
}

/// All of a task, in the order of keys.
pub fn privacy_spent_in(task: &TaskId) -> StateKey {
    StateKey::new(Prefix::PrivacySpent, &[&task.0.0])
}

/// Reads a key made by [`privacy_spent`] back.
pub fn parse_privacy_spent(key: &[u8]) -> Option<PublicKey> {
    let fields = key.strip_prefix(&[Prefix::PrivacySpent as u8])?;
    Some(PublicKey(fields.get(32..)?.try_into().ok()?))
}

/// [`crate::task::forming::Formed`].
pub fn formed(task: &TaskId, trainer: &PublicKey) -> StateKey {
    StateKey::new(Prefix::Formed, &[&task.0.0, &trainer.0])
}

/// All of a task, in the order of keys.
pub fn formed_in(task: &TaskId) -> StateKey {
    StateKey::new(Prefix::Formed, &[&task.0.0])
}

/// `ModelId` that a cluster's version names: deltas may be against older versions.
pub fn cluster_version(task: &TaskId, cluster: ClusterId, version: u64) -> StateKey {
    let (cluster, version) = (cluster.0.to_be_bytes(), version.to_be_bytes());
    StateKey::new(Prefix::ClusterVersion, &[&task.0.0, &cluster, &version])
}

/// `ModelId` of a task's global version.
pub fn global_version(task: &TaskId, version: u64) -> StateKey {
    StateKey::new(Prefix::GlobalVersion, &[&task.0.0, &version.to_be_bytes()])
}

/// `Digest` of the fold result that the ledger took for a job: what others signed is compared
/// with it.
pub fn fold_result(job: &FoldJob) -> StateKey {
    match job {
        FoldJob::Round(key) => {
            let [task, cluster, round] = round_parts(key);
            StateKey::new(Prefix::FoldResult, &[&[0], &task, &cluster, &round])
        }
        FoldJob::Merge { task, number } => {
            StateKey::new(Prefix::FoldResult, &[&[1], &task.0.0, &number.to_be_bytes()])
        }
        FoldJob::RegionMerge { task, region, number } => {
            let (region, number) = (region.0.to_be_bytes(), number.to_be_bytes());
            StateKey::new(Prefix::FoldResult, &[&[2], &task.0.0, &region, &number])
        }
    }
}

/// `()`: a collecting round, by its deadline.
pub fn deadline(at: TimeMs, key: &RoundKey) -> StateKey {
    let [task, cluster, round] = round_parts(key);
    StateKey::new(Prefix::Deadline, &[&at.0.to_be_bytes(), &task, &cluster, &round])
}

/// Reads a key made by [`deadline`] back.
pub fn parse_deadline(key: &[u8]) -> Option<(TimeMs, RoundKey)> {
    parse_time_and_round(key.strip_prefix(&[Prefix::Deadline as u8])?)
}

/// `u32`: a round whose updates are kept until this time, and how many of them are released already.
pub fn round_end(at: TimeMs, key: &RoundKey) -> StateKey {
    let [task, cluster, round] = round_parts(key);
    StateKey::new(Prefix::RoundEnd, &[&at.0.to_be_bytes(), &task, &cluster, &round])
}

/// Reads a key made by [`round_end`] back.
pub fn parse_round_end(key: &[u8]) -> Option<(TimeMs, RoundKey)> {
    parse_time_and_round(key.strip_prefix(&[Prefix::RoundEnd as u8])?)
}

fn parse_time_and_round(fields: &[u8]) -> Option<(TimeMs, RoundKey)> {
    let (time, fields) = fields.split_first_chunk::<8>()?;
    let (task, fields) = fields.split_first_chunk::<32>()?;
    let (cluster, round) = fields.split_first_chunk::<2>()?;
    let key = RoundKey {
        task: TaskId(Digest(*task)),
        cluster: ClusterId(u16::from_be_bytes(*cluster)),
        round: RoundNumber(u64::from_be_bytes(round.try_into().ok()?)),
    };
    Some((TimeMs(u64::from_be_bytes(*time)), key))
}

/// Reads a key made by [`proposal_lapse`] back.
pub fn parse_proposal_lapse(key: &[u8]) -> Option<(TimeMs, TxId)> {
    let fields = key.strip_prefix(&[Prefix::ProposalLapse as u8])?;
    let (time, id) = fields.split_first_chunk::<8>()?;
    Some((TimeMs(u64::from_be_bytes(*time)), TxId(Digest(id.try_into().ok()?))))
}

/// [`crate::task::evaluation::Evaluation`] of a global version.
pub fn evaluation(task: &TaskId, version: u64) -> StateKey {
    StateKey::new(Prefix::Evaluation, &[&task.0.0, &version.to_be_bytes()])
}

/// All of a task, in order.
pub fn evaluations(task: &TaskId) -> StateKey {
    StateKey::new(Prefix::Evaluation, &[&task.0.0])
}

/// [`crate::round::ContributionTotal`] of a trainer.
pub fn contribution(task: &TaskId, trainer: &PublicKey) -> StateKey {
    StateKey::new(Prefix::Contribution, &[&task.0.0, &trainer.0])
}

/// Reads a key made by [`contribution`] back.
pub fn parse_contribution(key: &[u8]) -> Option<PublicKey> {
    let fields = key.strip_prefix(&[Prefix::Contribution as u8])?;
    Some(PublicKey(fields.get(32..)?.try_into().ok()?))
}

/// All of a task, in the order of keys.
pub fn contributions(task: &TaskId) -> StateKey {
    StateKey::new(Prefix::Contribution, &[&task.0.0])
}

/// [`crate::model::ModelRecord`].
pub fn model(id: &ModelId) -> StateKey {
    StateKey::new(Prefix::Model, &[&id.0.0])
}

/// `String`: the organisation that first published under the name, and alone adds versions.
pub fn published_name(name: &str) -> StateKey {
    StateKey::new(Prefix::PublishedName, &[name.as_bytes()])
}

/// `ModelId` of a name's version. The name's length, which one byte holds, keeps pairs apart.
pub fn published_version(name: &str, version: &str) -> StateKey {
    let length = [name.len().min(usize::from(u8::MAX)) as u8];
    StateKey::new(Prefix::PublishedVersion, &[&length, name.as_bytes(), version.as_bytes()])
}

/// [`crate::store::Deprecation`] of a model, where there is one.
pub fn deprecation(id: &ModelId) -> StateKey {
    StateKey::new(Prefix::Deprecation, &[&id.0.0])
}

/// [`crate::store::MetricRecord`], in the order in which they were measured.
pub fn metric(id: &ModelId, index: u32) -> StateKey {
    StateKey::new(Prefix::Metric, &[&id.0.0, &index.to_be_bytes()])
}

/// Every metric of a model.
pub fn metrics_of(id: &ModelId) -> StateKey {
    StateKey::new(Prefix::Metric, &[&id.0.0])
}

/// `u32`: metrics of a model.
pub fn metric_count(id: &ModelId) -> StateKey {
    StateKey::new(Prefix::MetricCount, &[&id.0.0])
}

/// `u32`: metrics of a model that one member measured.
pub fn member_metric_count(id: &ModelId, member: &PublicKey) -> StateKey {
    StateKey::new(Prefix::MemberMetricCount, &[&id.0.0, &member.0])
}

/// `u64`: published models so far, which is the next one's version.
pub fn published_count() -> StateKey {
    StateKey::new(Prefix::PublishedCount, &[])
}

/// [`crate::blob::BlobReference`]: a payload that is wanted.
pub fn blob_reference(blob: &BlobDigest) -> StateKey {
    StateKey::new(Prefix::BlobReference, &[&blob.0])
}

/// `BTreeSet<PublicKey>`: members of seats who say that a payload was cut by a liar.
pub fn suspicion(blob: &BlobDigest) -> StateKey {
    StateKey::new(Prefix::Suspicion, &[&blob.0])
}

/// Reads a key made by [`suspicion`] back.
pub fn parse_suspicion(key: &[u8]) -> Option<BlobDigest> {
    Some(Digest(key.strip_prefix(&[Prefix::Suspicion as u8])?.try_into().ok()?))
}

/// `u32`: suspicions of a member that are not settled.
pub fn suspicion_count(member: &PublicKey) -> StateKey {
    StateKey::new(Prefix::SuspicionCount, &[&member.0])
}

/// [`crate::keeping::Takeover`].
pub fn takeover(seat: SeatIndex) -> StateKey {
    StateKey::new(Prefix::Takeover, &[&seat.0.to_be_bytes()])
}

/// Reads a key made by [`takeover`] back.
pub fn parse_takeover(key: &[u8]) -> Option<SeatIndex> {
    let seat = key.strip_prefix(&[Prefix::Takeover as u8])?.try_into().ok()?;
    Some(SeatIndex(u16::from_be_bytes(seat)))
}

/// [`crate::blob::Condemned`].
pub fn condemned(blob: &BlobDigest) -> StateKey {
    StateKey::new(Prefix::Condemned, &[&blob.0])
}

/// [`crate::keeping::Hold`].
pub fn hold(subject: &HoldSubject) -> StateKey {
    match subject {
        HoldSubject::Task(task) => StateKey::new(Prefix::Hold, &[&[0], &task.0.0]),
        HoldSubject::Payload(blob) => StateKey::new(Prefix::Hold, &[&[1], &blob.0]),
    }
}

/// `u64`: bytes of the payloads that are wanted and that an account named first.
pub fn stored_bytes(owner: &StorageOwner) -> StateKey {
    of_owner(Prefix::StoredBytes, owner)
}

/// Reads a key made by [`stored_bytes`] back.
pub fn parse_stored_bytes(key: &[u8]) -> Option<StorageOwner> {
    match key.strip_prefix(&[Prefix::StoredBytes as u8])?.split_first()? {
        (0, member) => Some(StorageOwner::Member(PublicKey(member.try_into().ok()?))),
        (1, name) => Some(StorageOwner::Organisation(std::str::from_utf8(name).ok()?.into())),
        _ => None,
    }
}

/// `u64`: how many of them the account may have, where the admins said so.
pub fn storage_quota(owner: &StorageOwner) -> StateKey {
    of_owner(Prefix::StorageQuota, owner)
}

fn of_owner(prefix: Prefix, owner: &StorageOwner) -> StateKey {
    match owner {
        StorageOwner::Member(key) => StateKey::new(prefix, &[&[0], &key.0]),
        StorageOwner::Organisation(name) => StateKey::new(prefix, &[&[1], name.as_bytes()]),
    }
}

/// [`crate::dataset::Dataset`].
pub fn dataset(name: &str) -> StateKey {
    StateKey::new(Prefix::Dataset, &[name.as_bytes()])
}

/// [`crate::dataset::DatasetVersion`].
pub fn dataset_version(dataset: &DatasetId, number: u64) -> StateKey {
    StateKey::new(Prefix::DatasetVersion, &[&dataset.0.0, &number.to_be_bytes()])
}

/// All versions of a data set, in order.
pub fn dataset_versions(dataset: &DatasetId) -> StateKey {
    StateKey::new(Prefix::DatasetVersion, &[&dataset.0.0])
}

/// [`PublicKey`] of a member who may append to a data set by its owner's word.
pub fn dataset_grant(dataset: &DatasetId, member: &PublicKey) -> StateKey {
    StateKey::new(Prefix::DatasetGrant, &[&dataset.0.0, &member.0])
}

/// All such members.
pub fn dataset_grants(dataset: &DatasetId) -> StateKey {
    StateKey::new(Prefix::DatasetGrant, &[&dataset.0.0])
}

/// `u32`: data sets that a member owns.
pub fn dataset_count(owner: &PublicKey) -> StateKey {
    StateKey::new(Prefix::DatasetCount, &[&owner.0])
}

/// [`crate::Committee`] of the running epoch; after an epoch's last block, of the next.
pub fn epoch() -> StateKey {
    StateKey::new(Prefix::Epoch, &[])
}

/// [`crate::quorum::PastEpoch`]: an epoch that has ended. Kept while evidence about it is taken,
/// the newest in any case.
pub fn past_epoch(epoch: Epoch) -> StateKey {
    StateKey::new(Prefix::PastEpoch, &[&epoch.0.to_be_bytes()])
}

/// `Height`: where the admins end the running epoch.
pub fn epoch_end() -> StateKey {
    StateKey::new(Prefix::EpochEnd, &[])
}

/// `u32`: version of the rules from the next epoch on.
pub fn protocol() -> StateKey {
    StateKey::new(Prefix::Protocol, &[])
}

/// `(Digest, BTreeSet<SeatIndex>)`: digest of the checkpoint of a height of the running epoch,
/// and the seats whose signatures on it stand on the chain. The newest heights only; what is
/// left of an earlier epoch means nothing and goes by and by.
pub fn attested(height: Height) -> StateKey {
    StateKey::new(Prefix::Attested, &[&height.0.to_be_bytes()])
}

/// Reads a key made by [`attested`] back.
pub fn parse_attested(key: &[u8]) -> Option<Height> {
    let height = key.strip_prefix(&[Prefix::Attested as u8])?;
    Some(Height(u64::from_be_bytes(height.try_into().ok()?)))
}

/// [`crate::stake::Participation`] of the running epoch, once a quorum's signatures stand on the chain.
pub fn participation() -> StateKey {
    StateKey::new(Prefix::Participation, &[])
}

/// `Stake`: what a member has free.
pub fn balance(member: &PublicKey) -> StateKey {
    StateKey::new(Prefix::Balance, &[&member.0])
}

/// `Stake`: all there is, free, bonded and unbonding.
pub fn stake_total() -> StateKey {
    StateKey::new(Prefix::StakeTotal, &[])
}

/// [`crate::stake::Candidate`].
pub fn candidate(validator: &PublicKey) -> StateKey {
    StateKey::new(Prefix::Candidate, &[&validator.0])
}

/// `u64`: shares of a candidate's pool that a member owns.
pub fn delegation(delegator: &PublicKey, validator: &PublicKey) -> StateKey {
    StateKey::new(Prefix::Delegation, &[&delegator.0, &validator.0])
}

/// All delegations of a member.
pub fn delegations(delegator: &PublicKey) -> StateKey {
    StateKey::new(Prefix::Delegation, &[&delegator.0])
}

/// Reads the validator from a key made by [`delegation`].
pub fn parse_delegation(key: &[u8]) -> Option<PublicKey> {
    let fields = key.strip_prefix(&[Prefix::Delegation as u8])?;
    let (_, validator) = fields.split_first_chunk::<32>()?;
    Some(PublicKey(validator.try_into().ok()?))
}

/// [`crate::stake::Unbonding`]: what was undelegated from a validator in an epoch.
pub fn unbonding(validator: &PublicKey, epoch: Epoch) -> StateKey {
    StateKey::new(Prefix::Unbonding, &[&validator.0, &epoch.0.to_be_bytes()])
}

/// All unbonding pools of a validator, in order of their epochs.
pub fn unbondings(validator: &PublicKey) -> StateKey {
    StateKey::new(Prefix::Unbonding, &[&validator.0])
}

/// Reads a key made by [`unbonding`] back.
pub fn parse_unbonding(key: &[u8]) -> Option<(PublicKey, Epoch)> {
    let fields = key.strip_prefix(&[Prefix::Unbonding as u8])?;
    let (validator, epoch) = fields.split_first_chunk::<32>()?;
    Some((PublicKey(*validator), Epoch(u64::from_be_bytes(epoch.try_into().ok()?))))
}

/// `u64`: shares of an unbonding pool that a member owns. Listed by pool.
pub fn unbonding_shares(validator: &PublicKey, epoch: Epoch, delegator: &PublicKey) -> StateKey {
    let epoch = epoch.0.to_be_bytes();
    StateKey::new(Prefix::UnbondingShares, &[&validator.0, &epoch, &delegator.0])
}

/// Everyone's shares of an unbonding pool.
pub fn unbonding_owners(validator: &PublicKey, epoch: Epoch) -> StateKey {
    StateKey::new(Prefix::UnbondingShares, &[&validator.0, &epoch.0.to_be_bytes()])
}

/// Reads the delegator from a key made by [`unbonding_shares`].
pub fn parse_unbonding_owner(key: &[u8]) -> Option<PublicKey> {
    let fields = key.strip_prefix(&[Prefix::UnbondingShares as u8])?;
    Some(PublicKey(fields.get(40..)?.try_into().ok()?))
}

/// `()`: an unbonding pool, by the time it is free.
pub fn unbonding_due(at: TimeMs, validator: &PublicKey, epoch: Epoch) -> StateKey {
    let (at, epoch) = (at.0.to_be_bytes(), epoch.0.to_be_bytes());
    StateKey::new(Prefix::UnbondingDue, &[&at, &validator.0, &epoch])
}

/// Reads a key made by [`unbonding_due`] back.
pub fn parse_unbonding_due(key: &[u8]) -> Option<(TimeMs, PublicKey, Epoch)> {
    let fields = key.strip_prefix(&[Prefix::UnbondingDue as u8])?;
    let (at, fields) = fields.split_first_chunk::<8>()?;
    let (validator, epoch) = fields.split_first_chunk::<32>()?;
    let epoch = Epoch(u64::from_be_bytes(epoch.try_into().ok()?));
    Some((TimeMs(u64::from_be_bytes(*at)), PublicKey(*validator), epoch))
}

/// `()`: a validator was slashed for an offence in an epoch; once is enough.
pub fn punished(epoch: Epoch, validator: &PublicKey, offence: Offence) -> StateKey {
    let epoch = epoch.0.to_be_bytes();
    StateKey::new(Prefix::Punished, &[&epoch, &validator.0, &[offence as u8]])
}

/// Reads a key made by [`punished`] back.
pub fn parse_punished(key: &[u8]) -> Option<(Epoch, PublicKey, Offence)> {
    let fields = key.strip_prefix(&[Prefix::Punished as u8])?;
    let (epoch, fields) = fields.split_first_chunk::<8>()?;
    let (validator, offence) = fields.split_first_chunk::<32>()?;
    let offence = match offence {
        [0] => Offence::Equivocation,
        [1] => Offence::WrongResult,
        _ => return None,
    };
    Some((Epoch(u64::from_be_bytes(*epoch)), PublicKey(*validator), offence))
}

/// Everyone who was slashed for something in an epoch.
pub fn punished_in(epoch: Epoch) -> StateKey {
    StateKey::new(Prefix::Punished, &[&epoch.0.to_be_bytes()])
}

/// [`crate::key::EncryptionKey`] that a member registered last.
pub fn encryption_key(member: &PublicKey) -> StateKey {
    StateKey::new(Prefix::EncryptionKey, &[&member.0])
}

/// [`crate::sealed::SealedRecord`].
pub fn sealed(blob: &BlobDigest) -> StateKey {
    StateKey::new(Prefix::Sealed, &[&blob.0])
}

/// [`crate::sealed::SealedWrap`] of a sealed payload for one of its readers.
pub fn sealed_wrap(blob: &BlobDigest, member: &PublicKey) -> StateKey {
    StateKey::new(Prefix::SealedWrap, &[&blob.0, &member.0])
}

/// All wraps of a sealed payload, in the order of their members.
pub fn sealed_wraps(blob: &BlobDigest) -> StateKey {
    StateKey::new(Prefix::SealedWrap, &[&blob.0])
}

fn round_parts(key: &RoundKey) -> [Vec<u8>; 3] {
    [
        key.task.0.0.to_vec(),
        key.cluster.0.to_be_bytes().to_vec(),
        key.round.0.to_be_bytes().to_vec(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_key_reads_back() {
        let key = RoundKey {
            task: TaskId(Digest([4; 32])),
            cluster: ClusterId(3),
            round: RoundNumber(9),
        };
        let bytes = deadline(TimeMs(77), &key).into_bytes();
        assert_eq!(parse_deadline(&bytes), Some((TimeMs(77), key)));
        assert_eq!(parse_deadline(&bytes[1..]), None);
    }

    #[test]
    fn a_punished_key_reads_back() {
        let (epoch, validator) = (Epoch(7), PublicKey([3; 32]));
        for offence in [Offence::Equivocation, Offence::WrongResult] {
            let key = punished(epoch, &validator, offence);
            assert_eq!(parse_punished(key.bytes()), Some((epoch, validator, offence)));
        }
    }

    #[test]
    fn a_key_says_what_it_is_and_a_foreign_one_that_it_is_none() {
        assert_eq!(describe(trainer_count("lab").bytes()), "TrainerCount");
        assert_eq!(describe(&[200, 1]), "of no known kind");
    }

    #[test]
    fn a_scan_of_deadlines_is_in_order_of_time() {
        let key = RoundKey {
            task: TaskId(Digest([4; 32])),
            cluster: ClusterId(3),
            round: RoundNumber(9),
        };
        assert!(deadline(TimeMs(255), &key) < deadline(TimeMs(256), &key));
    }
}
