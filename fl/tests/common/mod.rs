//! A task, its trainers and their updates, for the scenes of this folder.
#![allow(dead_code, reason = "each test file uses a part")]

use std::convert::Infallible;
use twinfold_fl::{
    Base, FoldInput, Folded, canonical_bytes, fold_round,
    server::Memory,
    update::{Binding, Bits, TensorData, TensorUpdate, Update},
};
use twinfold_types::{
    AvailabilityCertificate, ClusterId, Digest, Epoch, PublicKey, TaskId,
    blob::BlobId,
    hash::Tag,
    model::{TensorPolicy, TensorSpec, model_digest},
    round::{FoldRefusal, Outcome},
    task::{
        AggregationRule, Compression, LocalWork, Mode, Real, Schedule, Screen, ServerOptimiser,
        TaskSpec, Training,
    },
};

pub const TASK: TaskId = TaskId(Digest([7; 32]));

pub fn tensor(name: &str, len: u64, scale: u8) -> TensorSpec {
    TensorSpec { name: name.into(), shape: vec![len], scale, policy: TensorPolicy::Train }
}

pub fn task(tensors: Vec<TensorSpec>) -> TaskSpec {
    let blob = BlobId::whole_copies(b"", 4);
    TaskSpec {
        name: "task".into(),
        description: String::new(),
        tensors,
        initial_model: Digest::ZERO,
        initial: AvailabilityCertificate { epoch: Epoch(0), blob, receipts: vec![] },
        start: None,
        clusters: 2,
        participants_min: 1,
        participants_max: 64,
        weight_max: 10_000,
        merge_weight_max: 1_000_000,
        norm_bound: 1 << 24,
        clip: 1 << 21,
        screen: Screen::default(),
        rule: AggregationRule::Mean,
        server: ServerOptimiser::None,
        mode: Mode::Sync,
        compression: Compression::dense(32),
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
        deadline_ms: 1_000,
        extensions_max: 3,
        retention_ms: 0,
        training: Training {
            work: LocalWork::Epochs(1),
            batch: 16,
            learning_rate: Real::new(0.1),
            schedule: Schedule::Constant,
            proximal: Real::new(0.0),
            seed: 1,
            code: None,
        },
    }
}

/// A round in the making.
pub struct Scene {
    pub spec: TaskSpec,
    pub base: Vec<i32>,
    pub version: u64,
    pub memory: Option<Memory>,
    /// What the update of a mixing round is against.
    pub against: Option<Vec<i32>>,
    pub inputs: Vec<FoldInput>,
    pub payloads: Vec<Vec<u8>>,
}

impl Scene {
    pub fn new(spec: TaskSpec, base: Vec<i32>) -> Self {
        assert_eq!(spec.fault(), None);
        Self {
            spec,
            base,
            version: 3,
            memory: None,
            against: None,
            inputs: vec![],
            payloads: vec![],
        }
    }

    pub fn binding(&self) -> Binding {
        let base = model_digest(&canonical_bytes(&self.base));
        Binding { task: TASK, trainer: PublicKey([self.inputs.len() as u8; 32]), base }
    }

    /// The next trainer's update, made of the tensors given.
    pub fn update(&self, tensors: Vec<TensorUpdate>) -> Update {
        Update { binding: self.binding(), tensors }
    }

    /// Appends a payload to the round's list.
    pub fn send_bytes(&mut self, weight: u32, base_version: u64, payload: Vec<u8>) {
        let Binding { trainer, base, .. } = self.binding();
        let digest = Digest::of_bytes(Tag::Blob, &payload);
        self.inputs.push(FoldInput {
            trainer,
            payload: digest,
            weight,
            loss: 1 << 16,
            base_version,
            base_digest: base,
        });
        self.payloads.push(payload);
    }

    pub fn send(&mut self, weight: u32, tensors: Vec<TensorUpdate>) {
        let payload = self.update(tensors).encode();
        self.send_bytes(weight, self.version, payload);
    }

    pub fn fold(&self) -> Folded {
        let mut source = self.payloads.as_slice();
        let base = Base {
            cluster: ClusterId(0),
            steps: &self.base,
            version: self.version,
            memory: self.memory.as_ref(),
            against: self.against.as_deref(),
            masking: None,
        };
        let folded: Result<_, Infallible> =
            fold_round(&self.spec, TASK, base, &self.inputs, &mut source);
        folded.unwrap_or_else(|never| match never {})
    }
}

pub fn dense(index: u32, exponent: i8, bits: Bits, values: &[i32]) -> TensorUpdate {
    let len = values.len() as u32;
    TensorUpdate { index, len, exponent, bits, data: TensorData::Dense(values.to_vec()) }
}

pub fn sparse(
    index: u32,
    len: u32,
    exponent: i8,
    bits: Bits,
    pairs: &[(u32, i32)],
) -> TensorUpdate {
    TensorUpdate { index, len, exponent, bits, data: TensorData::Sparse(pairs.to_vec()) }
}

pub fn refused(refusal: FoldRefusal) -> Outcome {
    Outcome::Refused(refusal)
}

pub fn folded(weight: u32) -> Outcome {
    Outcome::Folded { weight }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
