//! One value of every stored, sent or signed type, made from fixed numbers.

use twinfold_types::{
    AvailabilityCertificate, BlobId, Block, ClusterId, Code, Committee, Digest, Epoch, Event,
    Header, Height, PublicKey, Receipt, RoundNumber, SeatIndex, SecretKey, Signature, SignedTx,
    Stake, TaskId, TimeMs, TxId, View,
    blob::{
        Coding, Encoded, Encoder, FragmentList, StorageReceipt, StorageReceiptBody, UploadBody,
    },
    block::body_digest,
    genesis::{ChainParams, FORMAT_VERSION, Genesis, GenesisValidator},
    key::Signer,
    limits::PROTOCOL_VERSION,
    member::{AdminAction, Member, Proposal, ProposalStatus, Role},
    message::{
        self, CommittedBlocks, ConsensusMessage, Hello, PeerMessage, ProposedTx, Signed, Status,
    },
    model::{Level, ModelId, ModelRecord, ModelSource, TensorPolicy, TensorSpec},
    recovery::{Recovery, RecoveryStatement},
    round::{
        Contribution, Entry, FoldJob, FoldRefusal, FoldResult, Metrics, Outcome, Round, RoundKey,
        RoundState, SignedFoldResult, VoidReason,
    },
    stake::StakeParams,
    state_key::{self, StateKey},
    stated::CheckpointStatement,
    store::{
        DeprecateAction, Deprecation, FileForm, MeasureAction, Metric, MetricRecord, MetricValue,
        ModelAbout, OnnxForm, Port, PublishAction, PublishedSteps,
    },
    subtree::{Part, Subtree},
    task::{
        AggregationRule, Cluster, Compression, EvaluationRule, Kept, LocalWork, Mode, Real,
        Regions, Schedule, Screen, Task, TaskSpec, TaskStatus, Training,
        evaluation::{EvaluateAction, Evaluators, Goal, Pooling, Progress},
        forming::{Profile, ProfileAction},
        pace::{Arrivals, Pace, Pacing},
        selection::{Criterion, Draw, EnrolAction, Selection},
    },
    tx::{Action, AggregateAction, RecruitAction, TxBody, UpdateAction},
    vote::{
        Certificate, Checkpoint, CheckpointCertificate, CheckpointVote, NewView, NewViewBody,
        ViewChange, ViewChangeBody, ViewChangeHeader, Vote, VoteBody, VoteKind,
    },
};

pub fn digest(byte: u8) -> Digest {
    Digest([byte; 32])
}

pub fn secret(byte: u8) -> SecretKey {
    SecretKey::from_seed(&[byte; 32])
}

pub fn key(byte: u8) -> PublicKey {
    secret(byte).public_key()
}

pub fn signature(byte: u8) -> Signature {
    Signature([byte; 64])
}

pub fn member() -> Member {
    Member {
        key: key(1),
        name: "ann".into(),
        organisation: "clinic".into(),
        roles: [Role::Admin, Role::Operator].into(),
        peer: Some("12D3KooW".into()),
    }
}

pub fn blob() -> BlobId {
    BlobId::whole_copies(b"payload", 4)
}

/// Content of a length.
pub fn content(length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| ((at * at) >> 7) as u8).collect()
}

pub fn encoded(length: usize, coding: Coding) -> Encoded {
    let (content, mut encoder) = (content(length), Encoder::new(coding));
    let mut rest = &content[..];
    while encoder.push(&mut rest).expect("a short content").is_some() {}
    encoder.finish()
}

pub fn coding(seats: usize) -> Coding {
    Coding::fragments(seats).expect("a committee")
}

/// A coded blob with its fragments.
pub fn fragments() -> (BlobId, FragmentList) {
    let encoded = encoded(1_000, coding(4));
    (encoded.id, encoded.fragments)
}

pub fn availability() -> AvailabilityCertificate {
    let receipt = |seat| StorageReceipt { seat: SeatIndex(seat), signature: signature(seat as u8) };
    AvailabilityCertificate {
        epoch: Epoch(0),
        blob: blob(),
        receipts: vec![receipt(0), receipt(2)],
    }
}

pub fn tensors() -> Vec<TensorSpec> {
    let tensor = |name: &str, shape: &[u64], policy| TensorSpec {
        name: name.into(),
        shape: shape.into(),
        scale: 20,
        policy,
    };
    vec![
        tensor("weight", &[64, 10], TensorPolicy::Train),
        tensor("bias", &[10], TensorPolicy::Frozen),
    ]
}

pub fn spec(mode: Mode) -> TaskSpec {
    let selection = selection(&mode);
    TaskSpec {
        name: "digits".into(),
        description: "handwritten digits".into(),
        tensors: tensors(),
        initial_model: digest(3),
        initial: availability(),
        start: Some(ModelId(digest(11))),
        clusters: 2,
        participants_min: 3,
        participants_max: 4,
        weight_max: 1_000,
        merge_weight_max: 100_000,
        norm_bound: 1 << 26,
        clip: 1 << 23,
        screen: Screen {
            clip_ppm: Some(1_500_000).filter(|_| mode == Mode::Sync),
            cosine_ppm: None,
        },
        rule: AggregationRule::Mean,
        server: "fedadam:lr=0.5,beta1=0.9,beta2=0.99,tau=0.001,correct".parse().unwrap(),
        mode,
        compression: Compression { bits: 8, kept: Kept::Top { ppm: 20_000 }, stochastic: true },
        regions: Some(Regions { sizes: vec![1, 2], merge_every: 4 }),
        merge_every: 2,
        merge_rule: AggregationRule::Mean,
        rounds_max: 10,
        assigned: false,
        selection,
        late: vec![],
        switch: None,
        forming: None,
        down: None,
        masks: None,
        evaluation: Some(evaluation_rules().remove(1).1),
        contributions: true,
        deadline_ms: 10_000,
        extensions_max: 2,
        retention_ms: 86_400_000,
        training: Training {
            work: LocalWork::Epochs(2),
            batch: 16,
            learning_rate: Real::new(0.1),
            schedule: Schedule::Step { rounds: 5, factor: Real::new(0.5) },
            proximal: Real::new(0.0),
            seed: 7,
            code: None,
        },
    }
}

pub fn asynchronous() -> Mode {
    Mode::Async { buffer: 3, staleness: vec![65_536, 46_341, 37_837], mix: None }
}

pub fn round_key() -> RoundKey {
    RoundKey { task: TaskId(digest(5)), cluster: ClusterId(1), round: RoundNumber(6) }
}

pub fn metrics() -> Metrics {
    Metrics { loss: 65_536, accuracy: Some(32_768) }
}

pub fn entry() -> Entry {
    Entry {
        tx: TxId(digest(7)),
        trainer: key(2),
        blob: blob(),
        base_version: 3,
        weight: 90,
        metrics: metrics(),
        height: Height(8),
    }
}

/// Of synchronous tasks alone.
fn selection(mode: &Mode) -> Option<Selection> {
    let selection = Selection { trainers: 4, by: Criterion::Utility, chance_ppm: 250_000 };
    (*mode == Mode::Sync).then_some(selection)
}

/// Measuring, by each kind of evaluator.
pub fn evaluation_rules() -> Vec<(&'static str, EvaluationRule)> {
    let rule = |by, goal, pooling| EvaluationRule {
        by,
        reports: 2,
        every: 3,
        goal,
        pooling,
        gain: 66,
        patience: 4,
    };
    vec![
        ("by trainers", rule(Evaluators::Trainers, Goal::Loss, Pooling::Mean)),
        (
            "by members",
            rule(Evaluators::Members(vec![key(1), key(2)]), Goal::Accuracy, Pooling::Median),
        ),
    ]
}

pub fn contribution() -> Contribution {
    Contribution { norm: 9_000, cosine_ppm: -250_000, share_ppm: 1_000_000 }
}

pub fn fold_result() -> FoldResult {
    FoldResult {
        job: FoldJob::Round(round_key()),
        model: Some(digest(9)),
        optimiser: Some(digest(8)),
        outcomes: vec![Outcome::Folded { weight: 90 }, Outcome::Refused(FoldRefusal::Norm)],
        contributions: vec![contribution()],
        weight: 90,
        saturations: 0,
    }
}

pub fn actions() -> Vec<(&'static str, Action)> {
    let enrol = EnrolAction { task: TaskId(digest(5)), cluster: ClusterId(1) };
    let (task, version, examples) = (enrol.task, 6, 90);
    let evaluate = EvaluateAction { task, version, examples, metrics: metrics() };
    let update = |round| UpdateAction {
        task: TaskId(digest(5)),
        cluster: ClusterId(1),
        round,
        base_version: 3,
        examples: 90,
        metrics: metrics(),
        payload: availability(),
    };
    let aggregate =
        AggregateAction { result: fold_result(), signatures: vec![(SeatIndex(1), signature(1))] };
    let steps = PublishedSteps { tensors: tensors(), model: digest(3), payload: availability() };
    let publish = |form, steps| PublishAction {
        about: about(form),
        parents: vec![ModelId(digest(11))],
        file: availability(),
        steps,
    };
    let (model, successor) = (ModelId(digest(11)), Some(ModelId(digest(12))));
    let deprecate = DeprecateAction { model, reason: "drifts".into(), successor };
    let measure = MeasureAction { model, metric: metric_record().metric };
    let quota = AdminAction::SetQuota { organisation: "clinic".into(), trainers: 20 };
    vec![
        ("propose add member", Action::Propose(AdminAction::AddMember(member()))),
        ("propose remove member", Action::Propose(AdminAction::RemoveMember(key(1)))),
        ("propose quota", Action::Propose(quota)),
        ("propose threshold", Action::Propose(AdminAction::SetThreshold(2))),
        ("sign proposal", Action::SignProposal(TxId(digest(4)))),
        ("add trainer", Action::AddTrainer(member())),
        ("remove trainer", Action::RemoveTrainer(key(1))),
        ("create task", Action::CreateTask(Box::new(spec(Mode::Sync)))),
        ("create asynchronous task", Action::CreateTask(Box::new(spec(asynchronous())))),
        ("close task", Action::CloseTask(TaskId(digest(5)))),
        ("update", Action::Update(Box::new(update(Some(RoundNumber(6)))))),
        ("asynchronous update", Action::Update(Box::new(update(None)))),
        ("aggregate", Action::Aggregate(Box::new(aggregate))),
        ("publish model", Action::PublishModel(Box::new(publish(safetensors(), Some(steps))))),
        ("publish an ONNX file", Action::PublishModel(Box::new(publish(onnx(), None)))),
        ("deprecate model", Action::DeprecateModel(Box::new(deprecate))),
        ("measure model", Action::MeasureModel(Box::new(measure))),
        ("evaluate", Action::Evaluate(evaluate)),
        ("enrol", Action::Enrol(enrol)),
        ("leave", Action::Leave(enrol.task)),
        ("profile", Action::Profile(Box::new(ProfileAction { task, profile: profile() }))),
        ("recruit", Action::Recruit(RecruitAction { task, trainers: Some(9) })),
    ]
}

/// Signed for real: the signature is part of what is frozen.
pub fn tx() -> SignedTx {
    let body = TxBody {
        chain: digest(1),
        sender: key(1),
        nonce: 11,
        valid_from: TimeMs(1_000),
        valid_until: TimeMs(61_000),
        action: Action::CloseTask(TaskId(digest(5))),
    };
    body.sign(&secret(1))
}

pub fn block() -> Block {
    let txs = vec![tx()];
    let header = Header {
        chain: digest(1),
        protocol: PROTOCOL_VERSION,
        epoch: Epoch(0),
        height: Height(8),
        parent: digest(2),
        time: TimeMs(2_000),
        body: body_digest(&txs),
    };
    Block { header, txs }
}

pub fn vote_body() -> VoteBody {
    VoteBody {
        kind: VoteKind::Prepare,
        epoch: Epoch(0),
        view: View(3),
        height: Height(8),
        digest: digest(6),
    }
}

pub fn vote() -> Vote {
    Vote { body: vote_body(), seat: SeatIndex(2), signature: signature(2) }
}

pub fn certificate() -> Certificate {
    let signatures = (0..3).map(|seat| (SeatIndex(seat), signature(seat as u8))).collect();
    Certificate { body: vote_body(), signatures }
}

pub fn view_change() -> ViewChange {
    let body = ViewChangeBody { epoch: Epoch(0), view: View(4), claim: Some(vote_body()) };
    let header = ViewChangeHeader { body, seat: SeatIndex(1), signature: signature(1) };
    ViewChange { header, certificate: Some(certificate()) }
}

pub fn new_view() -> NewView {
    let body = NewViewBody {
        epoch: Epoch(0),
        view: View(4),
        headers: vec![view_change().header],
        certificate: Some(certificate()),
    };
    NewView { body, signature: signature(4) }
}

pub fn checkpoint() -> Checkpoint {
    Checkpoint {
        epoch: Epoch(0),
        height: Height(8),
        block: digest(6),
        state_root: digest(7),
        audit_size: 20,
        audit_root: digest(8),
        next_committee: None,
    }
}

pub fn checkpoint_certificate() -> CheckpointCertificate {
    CheckpointCertificate { checkpoint: checkpoint(), signatures: certificate().signatures }
}

pub fn checkpoint_vote() -> CheckpointVote {
    CheckpointVote { checkpoint: checkpoint(), seat: SeatIndex(1), signature: signature(1) }
}

pub fn signed() -> Signed {
    Signed {
        epoch: Epoch(0),
        vote: Some(vote()),
        view_change: Some(view_change().header),
        checkpoint: Some(checkpoint_vote()),
    }
}

pub fn messages() -> Vec<(&'static str, ConsensusMessage)> {
    let status = Status {
        epoch: Epoch(0),
        view: View(3),
        installed: true,
        committed: Height(8),
        stable: Height(7),
        reply: false,
    };
    let committed = CommittedBlocks { blocks: vec![block()], certificate: certificate() };
    vec![
        ("pre-prepare", ConsensusMessage::PrePrepare { vote: vote(), block: Box::new(block()) }),
        ("vote", ConsensusMessage::Vote(vote())),
        ("view change", ConsensusMessage::ViewChange(Box::new(view_change()))),
        ("new view", ConsensusMessage::NewView(Box::new(new_view()))),
        ("checkpoint", ConsensusMessage::Checkpoint(checkpoint_vote())),
        ("status", ConsensusMessage::Status(status)),
        ("get block", ConsensusMessage::GetBlock { height: Height(8), digest: digest(6) }),
        ("block", ConsensusMessage::Block(Box::new(block()))),
        ("get committed", ConsensusMessage::GetCommitted { from: Height(3) }),
        ("kept from", ConsensusMessage::KeptFrom { first: Height(900) }),
        ("get signed", ConsensusMessage::GetSigned),
        ("signed", ConsensusMessage::Signed(Box::new(signed()))),
        ("committed", ConsensusMessage::Committed(Box::new(committed))),
        ("stable", ConsensusMessage::Stable(Box::new(checkpoint_certificate()))),
    ]
}

pub fn recovery() -> Recovery {
    let committee = Committee { epoch: Epoch(4), ..genesis().committee() };
    let statement = RecoveryStatement {
        format: FORMAT_VERSION,
        chain: digest(1),
        kept: checkpoint(),
        ended: digest(8),
        committee,
        admins: vec![key(1), key(4)],
        threshold: 2,
        time: TimeMs(98_000),
    };
    let signatures = vec![(key(1), signature(3)), (key(4), signature(4))];
    Recovery { statement, signatures }
}

pub fn peer_messages() -> Vec<(&'static str, PeerMessage)> {
    let fold =
        SignedFoldResult { result: fold_result(), seat: SeatIndex(1), signature: signature(1) };
    let txs = vec![ProposedTx::Known(tx().id()), ProposedTx::Whole(tx())];
    let proposal = message::Proposal { vote: vote(), header: block().header, txs };
    vec![
        ("consensus", PeerMessage::Consensus(ConsensusMessage::Vote(vote()))),
        ("transactions", PeerMessage::Transactions(vec![tx()])),
        ("fold", PeerMessage::Fold(Box::new(fold))),
        ("proposal", PeerMessage::Proposal(Box::new(proposal))),
        ("get proposal", PeerMessage::GetProposal(digest(3))),
        ("forward", PeerMessage::Forward(vec![tx()])),
        ("recovered", PeerMessage::Recovered(Box::new(recovery()))),
    ]
}

pub fn hello() -> Hello {
    Hello { format: FORMAT_VERSION, chain: digest(1), version: "0.0.1".into() }
}

fn safetensors() -> FileForm {
    FileForm::Safetensors { tensors: 2, values: 650 }
}

fn onnx() -> FileForm {
    let port = |name: &str| Port {
        name: name.into(),
        element: "float32".into(),
        shape: vec!["batch".into(), "64".into()],
    };
    FileForm::Onnx(OnnxForm {
        ir_version: 8,
        opsets: vec![(String::new(), 17)],
        inputs: vec![port("x")],
        outputs: vec![port("y")],
        operators: vec![("Gemm".into(), 2), ("Relu".into(), 1)],
        initialisers: 4,
        values: 2_410,
    })
}

pub fn about(form: FileForm) -> ModelAbout {
    ModelAbout {
        name: "digits-base".into(),
        version: "1.2.0-rc.1".into(),
        description: "from outside".into(),
        licence: "Apache-2.0".into(),
        tags: vec!["vision".into()],
        scenario: "handwriting".into(),
        datasets: vec!["optdigits@1".into()],
        sha256: digest(13),
        form,
    }
}

pub fn deprecation() -> Deprecation {
    Deprecation {
        by: key(1),
        reason: "drifts".into(),
        successor: Some(ModelId(digest(12))),
        height: Height(8),
        time: TimeMs(2_000),
    }
}

pub fn metric_record() -> MetricRecord {
    MetricRecord {
        metric: Metric {
            name: "accuracy".into(),
            value: MetricValue(-953_001),
            dataset: "optdigits@1".into(),
        },
        by: key(1),
        organisation: "hospital".into(),
        tx: TxId(digest(7)),
        height: Height(8),
        time: TimeMs(2_000),
    }
}

pub fn model_keys() -> Vec<(&'static str, StateKey)> {
    let (model, member) = (ModelId(digest(11)), key(1));
    vec![
        ("published name", state_key::published_name("digits-base")),
        ("published version", state_key::published_version("digits-base", "1.2.0")),
        ("deprecation", state_key::deprecation(&model)),
        ("metric", state_key::metric(&model, 3)),
        ("metric count", state_key::metric_count(&model)),
        ("member metric count", state_key::member_metric_count(&model, &member)),
    ]
}

pub fn model_records() -> Vec<(&'static str, ModelRecord)> {
    let record = |level, source, blob| ModelRecord {
        task: Some(TaskId(digest(5))),
        level,
        version: 3,
        digest: digest(9),
        tensors: digest(10),
        parents: vec![ModelId(digest(11))],
        source,
        blob,
        height: Height(8),
        time: TimeMs(2_000),
    };
    let (tx, by) = (TxId(digest(7)), key(1));
    let (about, file) = (Box::new(about(onnx())), blob());
    let (cluster, round) = (ClusterId(1), RoundNumber(6));
    let folded = ModelSource::Round {
        cluster,
        round,
        folded: 2,
        weight: 90,
        saturations: 0,
        optimiser: Some(digest(8)),
    };
    let merged = ModelSource::Merge { number: 2, weights: vec![90, 80], saturations: 0 };
    vec![
        ("initial", record(Level::Global, ModelSource::Initial { tx, by }, Some(blob()))),
        (
            "published",
            record(Level::Global, ModelSource::Published { tx, by, about, file }, Some(blob())),
        ),
        ("folded", record(Level::Cluster(cluster), folded, None)),
        ("merged", record(Level::Global, merged, None)),
    ]
}

pub fn task() -> Task {
    Task {
        id: TaskId(digest(5)),
        owner: key(1),
        organisation: "hospital".into(),
        spec: spec(Mode::Sync),
        status: TaskStatus::Open,
        created: TimeMs(1_000),
        global: ModelId(digest(11)),
        global_version: 2,
        merges: 2,
        merge_wanted: None,
        merge_due: false,
        active: true,
        progress: Progress::default(),
        trainers: 4,
        trainers_max: Some(9),
        unformed: true,
    }
}

pub fn profile() -> Profile {
    Profile { examples: 90, latency_ms: 12, labels: vec![40, 0, 50] }
}

pub fn pacing() -> Pacing {
    let round = |number, updates| Arrivals {
        round: RoundNumber(number),
        opened: TimeMs(9_000),
        updates,
        enough_ms: Some(400),
        last_ms: 900,
    };
    Pacing { pace: Pace::Enough, votes: 1, current: Some(round(6, 2)), before: Some(round(5, 4)) }
}

pub fn cluster() -> Cluster {
    Cluster {
        task: TaskId(digest(5)),
        cluster: ClusterId(1),
        model: ModelId(digest(11)),
        model_digest: digest(9),
        version: 3,
        optimiser: Some(digest(8)),
        weight: 90,
        rounds_since_merge: 1,
        folding: RoundNumber(6),
        collecting: RoundNumber(6),
        pacing: pacing(),
    }
}

pub fn rounds() -> Vec<(&'static str, Round)> {
    let height = Height(8);
    let FoldResult { outcomes, contributions, .. } = fold_result();
    let model = ModelId(digest(11));
    let draw = Draw::Closed { at: height };
    let round = |state| Round { key: round_key(), state, entries: 2, opened: TimeMs(1_000), draw };
    vec![
        ("open", round(RoundState::Open)),
        ("collecting", round(RoundState::Collecting { deadline: TimeMs(11_000), extensions: 1 })),
        ("sealed", round(RoundState::Sealed { height })),
        ("aggregated", round(RoundState::Aggregated { model, outcomes, contributions, height })),
        ("void", round(RoundState::Void { reason: VoidReason::TooFew, height })),
    ]
}

pub fn proposal() -> Proposal {
    Proposal {
        id: TxId(digest(4)),
        action: AdminAction::SetThreshold(2),
        signers: [key(1), key(2)].into(),
        expires: TimeMs(9_000),
        status: ProposalStatus::Open,
    }
}

pub fn events() -> Vec<Event> {
    let (key, task, cluster) = (round_key(), TaskId(digest(5)), ClusterId(1));
    let (id, model) = (TxId(digest(4)), ModelId(digest(11)));
    let member = self::key(1);
    vec![
        Event::MemberAdded { key: member },
        Event::MemberRemoved { key: member },
        Event::QuotaSet { organisation: "clinic".into(), trainers: 20 },
        Event::ThresholdSet { threshold: 2 },
        Event::ProposalOpened { id },
        Event::ProposalSigned { id, by: member, signatures: 2 },
        Event::ProposalPassed { id },
        Event::ProposalFailed { id, code: Code::AdminsTooFew },
        Event::ProposalLapsed { id },
        Event::TaskCreated { task },
        Event::TaskFinished { task },
        Event::TaskClosed { task },
        Event::RoundOpened { key },
        Event::RoundStarted { key, deadline: TimeMs(11_000) },
        Event::UpdateOrdered { key, index: 1, trainer: member },
        Event::RoundExtended { key, deadline: TimeMs(21_000), extensions: 1 },
        Event::RoundSealed { key, entries: 2 },
        Event::RoundVoid { key, reason: VoidReason::AllRefused },
        Event::RoundAggregated { key, model, folded: 1, refused: 1, saturations: 0 },
        Event::WeightCapped { task, cluster },
        Event::MergeDue { task, number: 2 },
        Event::Merged { task, number: 2, model, saturations: 0 },
        Event::ModelVersion { model, task: Some(task), level: Level::Cluster(cluster), version: 3 },
        Event::ModelPublished { model, name: "digits-base".into() },
        Event::ModelDeprecated { model, successor: Some(model) },
        Event::ModelMeasured { model, name: "accuracy".into(), by: member },
    ]
}

pub fn receipt() -> Receipt {
    Receipt {
        height: Height(8),
        tx: Some(TxId(digest(7))),
        index: 1,
        code: Code::Ok,
        events: events(),
    }
}

pub fn genesis() -> Genesis {
    let validator = |seat: u8| GenesisValidator {
        name: format!("edge-{seat}"),
        organisation: format!("org-{seat}"),
        key: key(20 + seat),
        audit_key: key(40 + seat),
        peer: format!("peer-{seat}"),
        address: format!("/ip4/127.0.0.1/tcp/{}", 7_000 + u16::from(seat)),
        payload_address: format!("/ip4/127.0.0.1/tcp/{}", 8_000 + u16::from(seat)),
        stake: Stake(1_000),
    };
    Genesis {
        format: FORMAT_VERSION,
        chain: "golden".into(),
        time: TimeMs(1),
        params: ChainParams { threshold: 1, trainer_quota: 100, stake: StakeParams::default() },
        validators: (0..4).map(validator).collect(),
        members: vec![member()],
        balances: vec![],
        unsafe_size: false,
    }
}

pub fn checkpoint_statement() -> CheckpointStatement {
    CheckpointStatement {
        name: "golden".into(),
        epoch: Epoch(3),
        height: Height(64),
        block: digest(1),
        state_root: digest(2),
        fingerprint: digest(3),
        committee: digest(4),
        time: TimeMs(1_000),
    }
}

pub fn subtrees() -> [(&'static str, Subtree); 2] {
    let row = |byte: u8| (vec![byte; 3], vec![byte; 5]);
    let mut parts = Box::new([Part::Empty; 16]);
    (parts[2], parts[9]) = (Part::of_row(&row(1)), Part::Inner(digest(4)));
    [("rows", Subtree::Rows(vec![row(1), row(2)])), ("parts", Subtree::Parts(parts))]
}

pub fn storage_receipt_body() -> StorageReceiptBody {
    StorageReceiptBody { epoch: Epoch(0), blob: blob().digest(), seat: SeatIndex(1) }
}

pub fn upload_body() -> UploadBody {
    UploadBody { blob: blob().digest(), time_ms: 1_000 }
}
