//! A chain of four validators, three admins (two signatures decide), an operator
//! and four trainers of one organisation, driven block by block.

use std::path::{Path, PathBuf};
use tempfile::TempDir;
use twinfold_ledger::{Executed, Ledger, Reader, Rederived, rederive};
use twinfold_types::{
    Action, AvailabilityCertificate, BlobId, Block, ClusterId, Code, Digest, Event, Header,
    PublicKey, Receipt, RoundNumber, SeatIndex, SecretKey, SignedTx, Stake, TaskId, TimeMs, TxId,
    View,
    blob::{BlobReference, StorageReceipt, StorageReceiptBody},
    block::body_digest,
    genesis::{ChainParams, FORMAT_VERSION, Genesis, GenesisValidator},
    key::Signer,
    member::{AdminAction, Member, Role},
    model::{TensorPolicy, TensorSpec},
    quorum::Committee,
    recovery::Accepted,
    round::{Contribution, FoldJob, FoldResult, Metrics, Outcome, RoundKey},
    stake::StakeParams,
    state_key,
    store::{FileForm, ModelAbout, PublishAction, PublishedSteps},
    task::{
        AggregationRule, Cluster, Compression, LocalWork, Mode, Real, Schedule, Screen,
        ServerOptimiser, TaskSpec, Training,
    },
    tx::{AggregateAction, TxBody, UpdateAction},
    vote::{Certificate, CheckpointCertificate, VoteBody, VoteKind},
};

/// No recovery is accepted.
pub const NONE: Accepted = Accepted::new();
pub const START: u64 = 1_000_000;
pub const DEADLINE_MS: u64 = 10_000;

pub const VALIDATOR: u8 = 1;
pub const ADMIN: u8 = 10;
pub const ADMIN_TWO: u8 = 11;
pub const ADMIN_THREE: u8 = 12;
pub const OPERATOR: u8 = 20;
pub const OTHER_OPERATOR: u8 = 21;
pub const TRAINER: u8 = 30;
pub const AUDITOR: u8 = 40;
pub const STRANGER: u8 = 99;

pub fn secret(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}

pub fn public(number: u8) -> PublicKey {
    secret(number).public_key()
}

pub fn member(number: u8, organisation: &str, roles: &[Role]) -> Member {
    Member {
        key: public(number),
        name: format!("member {number}"),
        organisation: organisation.into(),
        roles: roles.iter().copied().collect(),
        peer: None,
    }
}

/// Who signs with a key.
pub fn secret_of(key: &PublicKey) -> SecretKey {
    (0..=u8::MAX).map(secret).find(|secret| secret.public_key() == *key).expect("a known key")
}

pub fn genesis() -> Genesis {
    let validator = |number: u8| GenesisValidator {
        name: format!("site {number}"),
        organisation: format!("organisation {number}"),
        key: public(number),
        audit_key: public(number + 100),
        peer: format!("peer {number}"),
        address: "/ip4/127.0.0.1/tcp/1".into(),
        payload_address: "/ip4/127.0.0.1/tcp/2".into(),
        stake: Stake(1_000),
    };
    let mut members = vec![
        member(ADMIN, "organisation 1", &[Role::Admin]),
        member(ADMIN_TWO, "organisation 2", &[Role::Admin]),
        member(ADMIN_THREE, "organisation 3", &[Role::Admin]),
        member(OPERATOR, "hospital", &[Role::Operator]),
        member(OTHER_OPERATOR, "plant", &[Role::Operator]),
        member(AUDITOR, "auditors", &[Role::Auditor]),
    ];
    members.extend((0..4).map(|i| member(TRAINER + i, "hospital", &[Role::Trainer])));
    Genesis {
        format: FORMAT_VERSION,
        chain: "scenes".into(),
        time: TimeMs(START),
        params: ChainParams { threshold: 2, trainer_quota: 6, stake: StakeParams::default() },
        validators: (1..=4).map(validator).collect(),
        members,
        balances: vec![],
        unsafe_size: false,
    }
}

pub struct Chain {
    pub ledger: Ledger,
    pub reader: Reader,
    pub genesis: Genesis,
    pub chain: Digest,
    pub last: Option<Executed>,
    nonce: u64,
    pub dir: PathBuf,
    /// Removed at the end, unless the folder belongs to the caller.
    _dir: Option<TempDir>,
}

impl Chain {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut chain = Self::at(dir.path());
        chain._dir = Some(dir);
        chain
    }

    /// A chain whose genesis differs.
    pub fn with(change: impl FnOnce(&mut Genesis)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut genesis = genesis();
        change(&mut genesis);
        let mut chain = Self::of(dir.path(), genesis);
        chain._dir = Some(dir);
        chain
    }

    pub fn at(dir: &Path) -> Self {
        Self::of(dir, genesis())
    }

    pub fn of(dir: &Path, genesis: Genesis) -> Self {
        let ledger = Ledger::open(dir, None, &genesis).unwrap();
        let (reader, chain) = (ledger.reader(), genesis.digest());
        Self { ledger, reader, genesis, chain, last: None, nonce: 0, dir: dir.into(), _dir: None }
    }

    /// What the ledger keeps of a payload.
    pub fn reference(&self, blob: &BlobId) -> Option<BlobReference> {
        self.reader.get(&state_key::blob_reference(&blob.digest())).unwrap()
    }

    pub fn now(&self) -> u64 {
        self.reader.head().time.0
    }

    pub fn tx(&mut self, sender: u8, action: Action) -> SignedTx {
        // A function of the height and the order within it, whatever ran before.
        self.nonce = self.nonce.max(self.reader.head().height.0 << 32) + 1;
        let (from, until) = (TimeMs(self.now()), TimeMs(self.now() + 60_000));
        let (chain, sender_key) = (self.chain, public(sender));
        TxBody {
            chain,
            sender: sender_key,
            nonce: self.nonce,
            valid_from: from,
            valid_until: until,
            action,
        }
        .sign(&secret(sender))
    }

    /// The block that would follow, at a time.
    pub fn draft(&self, time: u64, txs: Vec<SignedTx>) -> Block {
        let (head, committee) = (self.reader.head(), self.reader.committee());
        let header = Header {
            chain: self.chain,
            protocol: committee.protocol,
            epoch: committee.epoch,
            height: head.height.next(),
            parent: head.digest,
            time: TimeMs(time),
            body: body_digest(&txs),
        };
        Block { header, txs }
    }

    pub fn commit(&mut self, block: &Block) -> Executed {
        let executed = self.ledger.commit(block, &self.certificate(block)).unwrap();
        self.last = Some(executed.clone());
        executed
    }

    pub fn block_at(&mut self, time: u64, txs: Vec<SignedTx>) -> Vec<Receipt> {
        let block = self.draft(time, txs);
        let executed = self.commit(&block);
        // The next epoch begins when the checkpoint that ends this one is stable.
        if executed.checkpoint.next_committee.is_some() {
            self.certify();
        }
        executed.receipts
    }

    /// A block a second after the last one.
    pub fn block(&mut self, txs: Vec<SignedTx>) -> Vec<Receipt> {
        self.block_at(self.now() + 1_000, txs)
    }

    /// One transaction in a block of its own; its receipt.
    pub fn apply(&mut self, sender: u8, action: Action) -> Receipt {
        let tx = self.tx(sender, action);
        let id = tx.id();
        let receipts = self.block(vec![tx]);
        receipts.into_iter().find(|receipt| receipt.tx == Some(id)).unwrap()
    }

    pub fn code(&mut self, sender: u8, action: Action) -> Code {
        self.apply(sender, action).code
    }

    /// One transaction that must be applied; its events.
    pub fn ok(&mut self, sender: u8, action: Action) -> Vec<Event> {
        let receipt = self.apply(sender, action);
        assert_eq!(receipt.code, Code::Ok);
        receipt.events
    }

    /// A proposal signed by two admins; the events of the second signature.
    pub fn decide(&mut self, action: AdminAction) -> Vec<Event> {
        let id = TxId(self.apply(ADMIN, Action::Propose(action)).tx.unwrap().0);
        self.ok(ADMIN_TWO, Action::SignProposal(id))
    }

    pub fn availability(&self, length: u64, seats: u16) -> AvailabilityCertificate {
        let size = self.reader.committee().size();
        let blob = BlobId::of_whole_copies(length, Digest([7; 32]), size);
        self.availability_of(blob, seats)
    }

    pub fn availability_of(&self, blob: BlobId, seats: u16) -> AvailabilityCertificate {
        let committee = self.reader.committee();
        let (epoch, digest) = (committee.epoch, committee.digest());
        let receipt = |seat: u16| {
            let seat = SeatIndex(seat);
            let body = StorageReceiptBody { epoch, blob: blob.digest(), seat };
            let statement = body.statement(&self.chain, &digest);
            let signature = seat_secret(&committee, seat).sign(&statement);
            StorageReceipt { seat, signature }
        };
        AvailabilityCertificate { epoch, blob, receipts: (0..seats).map(receipt).collect() }
    }

    pub fn spec(&self) -> TaskSpec {
        let tensor = |name: &str, shape: &[u64]| TensorSpec {
            name: name.into(),
            shape: shape.to_vec(),
            scale: 20,
            policy: TensorPolicy::Train,
        };
        TaskSpec {
            name: "digits".into(),
            description: String::new(),
            tensors: vec![tensor("weight", &[64, 10]), tensor("bias", &[10])],
            initial_model: Digest([1; 32]),
            initial: self.availability(650 * 4, 3),
            start: None,
            clusters: 1,
            participants_min: 1,
            participants_max: 2,
            weight_max: 1_000,
            merge_weight_max: 100_000,
            norm_bound: 1 << 24,
            clip: 1 << 20,
            screen: Screen::default(),
            rule: AggregationRule::Mean,
            server: ServerOptimiser::None,
            mode: Mode::Sync,
            compression: Compression::dense(8),
            down: None,
            regions: None,
            merge_every: 1,
            merge_rule: AggregationRule::Mean,
            rounds_max: 0,
            assigned: false,
            selection: None,
            late: vec![],
            switch: None,
            forming: None,
            masks: None,
            evaluation: None,
            contributions: false,
            deadline_ms: DEADLINE_MS,
            extensions_max: 1,
            retention_ms: 0,
            training: Training {
                work: LocalWork::Epochs(1),
                batch: 32,
                learning_rate: Real::new(0.1),
                schedule: Schedule::Constant,
                proximal: Real::new(0.0),
                seed: 1,
                code: None,
            },
        }
    }

    /// A model with a canonical form, to be published.
    pub fn publishing(&self, name: &str) -> PublishAction {
        let tensors = self.spec().tensors;
        let payload = self.availability(650 * 4, 3);
        PublishAction {
            about: ModelAbout {
                name: name.into(),
                version: "1.0.0".into(),
                description: "from elsewhere".into(),
                licence: "Apache-2.0".into(),
                tags: vec![],
                scenario: String::new(),
                datasets: vec![],
                sha256: Digest([6; 32]),
                form: FileForm::Safetensors { tensors: 2, values: 650 },
            },
            parents: vec![],
            file: self.availability(2_900, 3),
            steps: Some(PublishedSteps { tensors, model: Digest([8; 32]), payload }),
        }
    }

    /// Creates the task with some settings changed.
    pub fn task(&mut self, change: impl FnOnce(&mut TaskSpec)) -> TaskId {
        let mut spec = self.spec();
        change(&mut spec);
        let receipt = self.apply(OPERATOR, Action::CreateTask(Box::new(spec)));
        assert_eq!(receipt.code, Code::Ok);
        TaskId(receipt.tx.unwrap().0)
    }

    /// An update for the cluster's collecting round against its newest model.
    pub fn update(&self, task: TaskId, cluster: u16) -> UpdateAction {
        let row = self.reader.cluster(&task, ClusterId(cluster)).unwrap().unwrap();
        let mode = self.reader.task(&task).unwrap().unwrap().spec.mode;
        UpdateAction {
            task,
            cluster: ClusterId(cluster),
            round: (mode == Mode::Sync).then_some(row.collecting),
            base_version: row.version,
            examples: 50,
            metrics: Metrics { loss: 3 << 16, accuracy: Some(1 << 15) },
            payload: self.availability(900, 3),
        }
    }

    pub fn clusters(&self, task: TaskId) -> Vec<Cluster> {
        let read = self.reader.task_with_clusters(&task).unwrap().unwrap();
        read.clusters.into_iter().map(|(cluster, _)| cluster).collect()
    }

    pub fn send(&mut self, trainer: u8, task: TaskId, cluster: u16) -> Vec<Event> {
        let update = self.update(task, cluster);
        self.ok(trainer, Action::Update(Box::new(update)))
    }

    pub fn result(&self, job: FoldJob, model: u8) -> FoldResult {
        let entries = match job {
            FoldJob::Round(key) => self.reader.round_with_entries(&key).unwrap().unwrap().1,
            FoldJob::Merge { .. } | FoldJob::RegionMerge { .. } => vec![],
        };
        let outcomes: Vec<_> =
            entries.iter().map(|entry| Outcome::Folded { weight: entry.weight }).collect();
        let weight = entries.iter().map(|entry| u64::from(entry.weight)).sum();
        let task = self.reader.task(&job.task()).unwrap().unwrap();
        let remembers = matches!(job, FoldJob::Round(_)) && task.spec.stepping().remembers();
        let optimiser = remembers.then_some(Digest([!model; 32]));
        let model = Some(Digest([model; 32]));
        let contribution = Contribution { norm: 9, cosine_ppm: 900_000, share_ppm: 500_000 };
        let contributions = match task.spec.contributions {
            true => vec![contribution; outcomes.len()],
            false => vec![],
        };
        let saturations = 0;
        FoldResult { job, model, optimiser, outcomes, contributions, weight, saturations }
    }

    pub fn signed(&self, result: FoldResult, seats: &[u16]) -> Action {
        let committee = self.reader.committee();
        let statement = result.statement(&self.chain, &committee.digest());
        let sign = |seat: &u16| {
            let seat = SeatIndex(*seat);
            (seat, seat_secret(&committee, seat).sign(&statement))
        };
        let signatures = seats.iter().map(sign).collect();
        Action::Aggregate(Box::new(AggregateAction { result, signatures }))
    }

    pub fn fold(&mut self, job: FoldJob, model: u8) -> Vec<Event> {
        let action = self.signed(self.result(job, model), &[0, 2]);
        self.ok(VALIDATOR, action)
    }

    pub fn jobs(&self) -> Vec<FoldJob> {
        self.reader.fold_jobs().unwrap()
    }

    /// Makes the newest height's checkpoint stable.
    pub fn certify(&mut self) {
        let checkpoint = self.reader.checkpoint(self.reader.head().height).unwrap().unwrap();
        let certificate = self.stable(checkpoint);
        self.ledger.set_stable(&certificate).unwrap();
    }

    /// By which a quorum committed a block.
    pub fn certificate(&self, block: &Block) -> Certificate {
        let Header { epoch, height, .. } = block.header;
        let (kind, view, digest) = (VoteKind::Commit, View(0), block.digest());
        let body = VoteBody { kind, epoch, view, height, digest };
        let known = self.reader.past_committee(epoch).unwrap();
        let committee = known.unwrap_or_else(|| (*self.reader.committee()).clone());
        let statement = body.statement(&self.chain, &committee.digest());
        let quorum = committee.seat_indices().take(committee.quorum());
        let sign = |seat| (seat, seat_secret(&committee, seat).sign(&statement));
        Certificate { body, signatures: quorum.map(sign).collect() }
    }

    /// Everything in a folder is what it rests on.
    pub fn audit(&self) -> Rederived {
        let logs = tempfile::tempdir().unwrap();
        rederive(&self.dir, logs.path(), &self.genesis, &mut |_, _| ()).unwrap()
    }

    pub fn stable(&self, checkpoint: twinfold_types::vote::Checkpoint) -> CheckpointCertificate {
        let committee = self.reader.past_committee(checkpoint.epoch).unwrap().unwrap();
        let quorum: Vec<_> = committee.seat_indices().take(committee.quorum()).collect();
        self.checkpoint_signed(checkpoint, &quorum)
    }

    /// A checkpoint with the signatures of some seats of its epoch.
    pub fn checkpoint_signed(
        &self,
        checkpoint: twinfold_types::vote::Checkpoint,
        seats: &[SeatIndex],
    ) -> CheckpointCertificate {
        let committee = self.reader.past_committee(checkpoint.epoch).unwrap().unwrap();
        let statement = checkpoint.statement(&self.chain, &committee.digest());
        let sign = |seat: &SeatIndex| (*seat, seat_secret(&committee, *seat).sign(&statement));
        CheckpointCertificate { checkpoint, signatures: seats.iter().map(sign).collect() }
    }
}

/// Every scene ends with an audit of its folder.
impl Drop for Chain {
    fn drop(&mut self) {
        if std::thread::panicking() || !self.dir.exists() {
            return;
        }
        // Closed first: the database goes on tidying its tables while it is open.
        let other = tempfile::tempdir().unwrap();
        self.ledger = Ledger::open(other.path(), None, &self.genesis).unwrap();
        self.reader = self.ledger.reader();
        let found = self.audit().findings;
        assert!(found.is_empty(), "{:?}", &found[..found.len().min(3)]);
    }
}

pub fn seat_secret(committee: &Committee, seat: SeatIndex) -> SecretKey {
    secret_of(committee.key(seat).expect("a seat"))
}

pub fn round_key(task: TaskId, cluster: u16, round: u64) -> RoundKey {
    RoundKey { task, cluster: ClusterId(cluster), round: RoundNumber(round) }
}

pub fn round_job(task: TaskId, cluster: u16, round: u64) -> FoldJob {
    FoldJob::Round(round_key(task, cluster, round))
}
