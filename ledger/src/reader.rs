//! What everyone but the writer sees: consistent views of the executed state. Each
//! call reads at one instant; a call after it may see a newer height.

use crate::{
    Anchor,
    audit::{self, AuditRead},
    error::LedgerError,
    execute::{self, Env},
    ledger::{Head, Published, Shared},
    look::Look,
    merge, open,
    proof::{self, Prover},
    rocks::Order,
    round,
    store::{self, Column},
    term::Term,
    tree,
};
use serde::{Serialize, de::DeserializeOwned};
use std::sync::{Arc, atomic::Ordering};
use twinfold_types::{
    BlobDigest, Block, ClusterId, Code, Committee, Digest, Height, PublicKey, Receipt, RegionId,
    SignedTx, TaskId, TimeMs, TxId,
    genesis::Genesis,
    limits,
    member::{Member, Proposal},
    model::{Level, ModelId, ModelRecord},
    proof::{Bundle, StateProof},
    round::{Entry, FoldJob, Round, RoundKey},
    sealed::{SealedRecord, SealedWrap},
    state_key::{self, Prefix, StateKey},
    subtree::{self, Subtree},
    task::{
        Cluster, Task,
        masks::{Deal, DealtShares, Masking},
        regions::Region,
    },
    vote::{Certificate, Checkpoint, CheckpointCertificate},
};

type Result<T> = std::result::Result<T, LedgerError>;

/// A handle for reading; cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct Reader {
    shared: Arc<Shared>,
}

/// Everything that a fold job works on, as of one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoldBasis {
    pub task: Task,
    /// Every cluster of the task, in order.
    pub clusters: Vec<Cluster>,
    /// Every region, in order, where there are any.
    pub regions: Vec<Region>,
    /// The round's list; empty for a merge.
    pub entries: Vec<Entry>,
    /// What a masked round is unmasked by.
    pub masking: Option<Masking>,
}

impl FoldBasis {
    /// The models that a merge is of, and their weights: a region's, or the global one.
    pub fn merging(&self, of: Option<RegionId>) -> Vec<(ModelId, u64)> {
        merge::parts(&self.task, &self.clusters, &self.regions, of)
    }
}

/// A task at one instant, with every cluster in order and the round that collects there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskWithClusters {
    pub task: Task,
    pub clusters: Vec<(Cluster, Option<Round>)>,
    pub regions: Vec<Region>,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    pub(crate) fn look(&self) -> Look<'_> {
        Look(self.shared.rocks.view())
    }

    pub fn head(&self) -> Head {
        self.shared.published().head
    }

    /// The newest stable checkpoint.
    pub fn stable(&self) -> Option<CheckpointCertificate> {
        self.shared.published().stable
    }

    pub fn genesis(&self) -> &Genesis {
        &self.shared.genesis
    }

    /// The genesis digest.
    pub fn chain(&self) -> Digest {
        self.shared.chain
    }

    /// The committee of the epoch that the next height belongs to.
    pub fn committee(&self) -> Arc<Committee> {
        self.shared.published().committee
    }

    // Blocks and transactions.

    /// The lowest height whose block and receipts are here; one above the head where none are.
    pub fn first_block(&self) -> Height {
        self.shared.published().first
    }

    /// A block that this node keeps.
    pub fn block(&self, height: Height) -> Result<Option<Block>> {
        proof::block(&self.look().0, height)
    }

    pub fn certificate(&self, height: Height) -> Result<Option<Certificate>> {
        self.look().value(Column::Certificates, &store::height_key(height), "certificate")
    }

    /// This node's own checkpoint of an executed height (0 included).
    pub fn checkpoint(&self, height: Height) -> Result<Option<Checkpoint>> {
        crate::ledger::checkpoint(&self.look().0, height)
    }

    /// Digest of the block of a height; at 0 the genesis digest.
    pub fn block_digest(&self, height: Height) -> Result<Option<Digest>> {
        Ok(self.checkpoint(height)?.map(|checkpoint| checkpoint.block))
    }

    pub fn height_of(&self, block: &Digest) -> Result<Option<Height>> {
        let look = self.look();
        let Some(bytes) = look.0.get(Column::BlockIndex, &block.0)? else { return Ok(None) };
        let height = <[u8; 8]>::try_from(bytes);
        let height = height.map_err(|_| look.0.damaged(format!("index of block {block}")))?;
        Ok(Some(Height(u64::from_be_bytes(height))))
    }

    /// Receipts of a height; the block's own stands first where it has one.
    pub fn receipts(&self, height: Height) -> Result<Vec<Receipt>> {
        let look = self.look();
        let most = limits::BLOCK_TXS_MAX + 1;
        let prefix = store::height_key(height);
        let rows = look.0.rows(Column::Receipts, &prefix, None, Order::Forward, most)?;
        rows.iter().map(|(_, bytes)| look.decode(bytes, "receipt")).collect()
    }

    /// A transaction, the height that applied it, and its receipt.
    pub fn tx(&self, id: &TxId) -> Result<Option<(SignedTx, Height, Receipt)>> {
        let found = proof::tx(&self.look().0, id)?;
        Ok(found.map(|(tx, receipt, place)| (tx, place.height, receipt)))
    }

    // The state.

    pub fn get<T: Serialize + DeserializeOwned>(&self, key: &StateKey) -> Result<Option<T>> {
        self.look().state(key)
    }

    /// Up to `limit` rows with this prefix in the order of their keys, beyond `after`.
    pub fn scan<T: Serialize + DeserializeOwned>(
        &self,
        prefix: &StateKey,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, T)>> {
        self.look().scan(prefix, after, Order::Forward, limit)
    }

    /// The same from the last key down, below `before`.
    pub fn scan_back<T: Serialize + DeserializeOwned>(
        &self,
        prefix: &StateKey,
        before: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, T)>> {
        self.look().scan(prefix, before, Order::Backward, limit)
    }

    /// Whether a transaction would be applied now. The same functions decide here
    /// and in execution; a refusal is named by its code.
    pub fn admit(&self, tx: &SignedTx, now: TimeMs) -> Result<std::result::Result<(), Code>> {
        let look = self.look();
        let head = open::load(&look)?.head;
        let term = Term::load(&look, &head)?;
        let (height, time) = (head.height.next(), now.max(head.time));
        let env = Env::new(&self.shared.chain, &term, height, time);
        match execute::admit(&look.0, env, tx)? {
            Code::Ok => Ok(Ok(())),
            code => Ok(Err(code)),
        }
    }

    /// The earliest round deadline, draw or lapse of a proposal; for what the head's block left undone,
    /// the first moment after it.
    pub fn next_deadline(&self) -> Result<Option<TimeMs>> {
        let look = self.look();
        let after_head = open::load(&look)?.head.time.plus(1);
        let first = |prefix: Prefix| {
            look.0.rows(Column::State, prefix.scan().bytes(), None, Order::Forward, 1)
        };
        let (deadline, lapse) = (first(Prefix::Deadline)?, first(Prefix::ProposalLapse)?);
        let deadline = deadline.first().and_then(|(key, _)| state_key::parse_deadline(key));
        let lapse = lapse.first().and_then(|(key, _)| state_key::parse_proposal_lapse(key));
        // A draw is due as soon as there is a block for it.
        let draw = first(Prefix::DrawDue)?.first().map(|_| after_head);
        let times =
            deadline.map(|(at, _)| at).into_iter().chain(lapse.map(|(at, _)| at)).chain(draw);
        Ok(times.min().map(|at| at.max(after_head)))
    }

    /// The folding that waits for a result. A job's inputs do not change while it
    /// is listed.
    pub fn fold_jobs(&self) -> Result<Vec<FoldJob>> {
        let look = self.look();
        let mut jobs = Vec::new();
        for task in look.all::<Task>(&Prefix::Task.scan())? {
            jobs.extend(look.jobs(&task)?);
        }
        Ok(jobs)
    }

    /// What a job works on, or none when it is not due (any more). All of it is read at
    /// one instant: rows read one by one might belong to different heights, and a
    /// result signed over such a mixture would be wrong.
    pub fn fold_basis(&self, job: &FoldJob) -> Result<Option<FoldBasis>> {
        let look = self.look();
        let task: Option<Task> = look.state(&state_key::task(&job.task()))?;
        let Some(task) = task else { return Ok(None) };
        if !look.jobs(&task)?.contains(job) {
            return Ok(None);
        }
        let clusters = look.clusters(&task)?;
        let (entries, masking) = match job {
            FoldJob::Round(key) => (look.entries(key)?, look.state(&state_key::masking(key))?),
            FoldJob::Merge { .. } | FoldJob::RegionMerge { .. } => (vec![], None),
        };
        let regions = look.regions(&task)?;
        Ok(Some(FoldBasis { task, clusters, regions, entries, masking }))
    }

    pub fn round(&self, key: &RoundKey) -> Result<Option<Round>> {
        self.get(&state_key::round(key))
    }

    /// A round with its list, in order, as of one instant.
    pub fn round_with_entries(&self, key: &RoundKey) -> Result<Option<(Round, Vec<Entry>)>> {
        let look = self.look();
        let round: Option<Round> = look.state(&state_key::round(key))?;
        round.map(|round| Ok((round, look.entries(key)?))).transpose()
    }

    /// What each dealer of a masked round gave to a member, in order, as long as that is kept.
    pub fn dealt_shares(&self, key: &RoundKey, member: u32) -> Result<Option<Vec<DealtShares>>> {
        let look = self.look();
        let masking: Option<Masking> = look.state(&state_key::masking(key))?;
        let Some(masking) = masking.filter(|it| (member as usize) < it.members.len()) else {
            return Ok(None);
        };
        let mut shares = vec![];
        for (dealer, _) in masking.dealers() {
            let deal: Option<Deal> = look.state(&state_key::mask_deal(key, dealer as u32))?;
            shares.extend(deal.and_then(|deal| deal.to(dealer as u32, member)));
        }
        Ok(Some(shares))
    }

    pub fn task(&self, id: &TaskId) -> Result<Option<Task>> {
        self.get(&state_key::task(id))
    }

    pub fn task_by_name(&self, name: &str) -> Result<Option<Task>> {
        let look = self.look();
        let id: Option<TaskId> = look.state(&state_key::task_name(name))?;
        id.map(|id| look.expect(&state_key::task(&id))).transpose()
    }

    pub fn cluster(&self, task: &TaskId, cluster: ClusterId) -> Result<Option<Cluster>> {
        self.get(&state_key::cluster(task, cluster))
    }

    /// A task, and every cluster of it with the round that collects there, as of one
    /// instant: a trainer that took the round of one height and the model of another
    /// would train for nothing.
    pub fn task_with_clusters(&self, id: &TaskId) -> Result<Option<TaskWithClusters>> {
        let look = self.look();
        let task: Option<Task> = look.state(&state_key::task(id))?;
        let Some(task) = task else { return Ok(None) };
        let with_round = |cluster: Cluster| {
            let round = look.state(&state_key::round(&round::collecting_key(&cluster)))?;
            Ok((cluster, round))
        };
        let clusters = look.clusters(&task)?.into_iter().map(with_round).collect::<Result<_>>()?;
        let regions = look.regions(&task)?;
        Ok(Some(TaskWithClusters { task, clusters, regions }))
    }

    pub fn model(&self, id: &ModelId) -> Result<Option<ModelRecord>> {
        self.get(&state_key::model(id))
    }

    /// A task's models (`None`: published ones) at a level, newest first, with
    /// versions below `before`.
    pub fn models(
        &self,
        task: Option<&TaskId>,
        level: Level,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(ModelId, ModelRecord)>> {
        let look = self.look();
        let prefix = store::models_prefix(task, level);
        let below = before.map(|version| [prefix.as_slice(), &version.to_be_bytes()].concat());
        let rows =
            look.0.rows(Column::Models, &prefix, below.as_deref(), Order::Backward, limit)?;
        let record = |(key, _): &(Vec<u8>, Vec<u8>)| {
            let id = look.model_of(key)?;
            Ok((id, look.expect(&state_key::model(&id))?))
        };
        rows.iter().map(record).collect()
    }

    /// A model with this content, the oldest if there are several.
    pub fn model_by_digest(&self, digest: &Digest) -> Result<Option<ModelId>> {
        let look = self.look();
        let rows = look.0.rows(Column::ModelDigests, &digest.0, None, Order::Forward, 1)?;
        rows.first().map(|(key, _)| look.model_of(key)).transpose()
    }

    /// Every value with this prefix, in the order of their keys.
    pub fn all<T: Serialize + DeserializeOwned>(&self, prefix: &StateKey) -> Result<Vec<T>> {
        self.look().all(prefix)
    }

    /// A sealed payload with the wraps of its readers, as of one instant.
    pub fn sealed(&self, blob: &BlobDigest) -> Result<Option<(SealedRecord, Vec<SealedWrap>)>> {
        let look = self.look();
        let record: Option<SealedRecord> = look.state(&state_key::sealed(blob))?;
        record.map(|record| Ok((record, look.all(&state_key::sealed_wraps(blob))?))).transpose()
    }

    pub fn members(&self) -> Result<Vec<Member>> {
        self.look().all(&Prefix::Member.scan())
    }

    pub fn proposals(&self) -> Result<Vec<Proposal>> {
        self.look().all(&Prefix::Proposal.scan())
    }

    pub fn tasks(&self) -> Result<Vec<Task>> {
        self.look().all(&Prefix::Task.scan())
    }

    // Proofs, under the newest stable checkpoint.

    pub fn prove_tx(&self, id: &TxId) -> Result<Bundle> {
        self.with_prover(|prover| prover.tx(id))
    }

    /// A model's record, its round with entries, and the transactions behind them.
    pub fn prove_model(&self, id: &ModelId) -> Result<Bundle> {
        self.with_prover(|prover| prover.model(id))
    }

    /// A member and its encryption key, or that there is none.
    pub fn prove_encryption_key(&self, member: &PublicKey) -> Result<Bundle> {
        self.with_prover(|prover| prover.encryption_key(member))
    }

    /// Who takes part in a masked round, and how far it is; and what a member dealt, where that is asked for.
    pub fn prove_masking(&self, key: &RoundKey, dealer: Option<u32>) -> Result<Bundle> {
        self.with_prover(|prover| prover.masking(key, dealer))
    }

    pub fn prove_state(&self, keys: &[StateKey]) -> Result<Vec<StateProof>> {
        self.with_prover(|prover| keys.iter().map(|key| prover.state(key)).collect())
    }

    /// Keeps the state's tree of this height and all later ones until something else is said.
    /// Whoever holds must let go: stale rows pile up meanwhile.
    pub fn hold(&self, version: Option<Height>) {
        let held = version.map_or(u64::MAX, |height| height.0);
        self.shared.held.store(held, Ordering::Release);
    }

    /// What another node can begin its ledger from, if there is a stable checkpoint.
    pub fn anchor(&self) -> Result<Option<Anchor>> {
        let look = self.look();
        let Some(certificate) = open::load(&look)?.stable else { return Ok(None) };
        let trail = proof::trail(&look, certificate.checkpoint.epoch)?;
        let places = audit::peaks(certificate.checkpoint.audit_size);
        let peaks = places.into_iter().map(|(level, index)| look.0.node(level, index));
        let peaks = peaks.collect::<Result<_>>()?;
        Ok(Some(Anchor { trail, certificate, peaks }))
    }

    // The disk.

    /// Gives the room of dropped blocks back to the file system. Takes its time; others
    /// read and write meanwhile.
    pub fn compact_dropped(&self) -> Result<()> {
        let end = Some(store::height_key(self.first_block()).to_vec());
        let by_height =
            [Column::Blocks, Column::Certificates, Column::Receipts, Column::Checkpoints];
        let by_height = by_height.map(|column| (column, end.clone()));
        let by_digest = [Column::BlockIndex, Column::Txs].map(|column| (column, None));
        self.shared.rocks.compact(&[by_height.as_slice(), &by_digest].concat())
    }

    // The whole state, part by part.

    /// What stands `nibbles` below the state root of a height: none where that height's
    /// tree is not here (any more).
    pub fn subtree(&self, height: Height, nibbles: &[u8]) -> Result<Option<Subtree>> {
        let look = self.look();
        let Published { head, stable, .. } = open::load(&look)?;
        let stable = stable.map_or(Height(0), |stable| stable.checkpoint.height);
        let held = self.shared.held.load(Ordering::Acquire);
        let kept = stable.0.saturating_sub(tree::VERSIONS_KEPT).min(held);
        if !(kept..=head.height.0).contains(&height.0) || nibbles.len() > subtree::NIBBLES_MAX {
            return Ok(None);
        }
        tree::subtree(&look.0, height.0, nibbles).map(Some)
    }

    fn with_prover<T>(&self, prove: impl FnOnce(&Prover<'_>) -> Result<T>) -> Result<T> {
        let look = self.look();
        let Published { stable, first, .. } = open::load(&look)?;
        let stable = stable
            .ok_or_else(|| LedgerError::NotCertified("the chain's first checkpoint".into()))?;
        let chain = self.shared.chain;
        prove(&Prover { look: &look, view: &look.0, chain, stable, first })
    }
}
