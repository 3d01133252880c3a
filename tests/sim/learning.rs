//! A task, updates for it, and what a sealed round of them folds into.

use crate::{
    consortium::{Consortium, TRAINERS, TRAINERS_MAX},
    dice::Dice,
};
use twinfold_fl::{
    Base, FoldInput, fold_round,
    update::{Binding, Bits, TensorData, TensorUpdate, Update},
};
use twinfold_types::{
    AvailabilityCertificate, BlobId, ClusterId, Digest, Epoch, SeatIndex, TaskId,
    blob::{StorageReceipt, StorageReceiptBody},
    hash::Tag,
    limits::FACTOR_ONE,
    model::{TensorPolicy, TensorSpec},
    round::{Entry, Metrics},
    task::{
        AggregationRule, Compression, LocalWork, Mode, Real, Schedule, Screen, ServerOptimiser,
        TaskSpec, Training,
    },
    tx::UpdateAction,
};

const VALUES: usize = 6;
const BUFFER: u32 = 3;
const INITIAL: Digest = Digest([1; 32]);

/// The values that an update sends, and their bytes.
#[derive(Clone, Debug)]
pub struct Payload {
    pub values: Vec<i32>,
    pub bytes: Vec<u8>,
}

pub fn spec(consortium: &Consortium) -> TaskSpec {
    let tensor = TensorSpec {
        name: "weight".into(),
        shape: vec![VALUES as u64],
        scale: 20,
        policy: TensorPolicy::Train,
    };
    TaskSpec {
        name: "simulated".into(),
        description: String::new(),
        tensors: vec![tensor],
        initial_model: INITIAL,
        initial: availability(consortium, 4 * VALUES as u64, INITIAL),
        start: None,
        clusters: 1,
        participants_min: 1,
        participants_max: 2 * BUFFER,
        weight_max: 1_000,
        merge_weight_max: 100_000,
        norm_bound: 1 << 24,
        clip: 1 << 20,
        screen: Screen::default(),
        rule: AggregationRule::Mean,
        server: ServerOptimiser::None,
        mode: Mode::Async { buffer: BUFFER, staleness: vec![FACTOR_ONE; 100], mix: None },
        compression: Compression::dense(32),
        merge_rule: AggregationRule::Mean,
        regions: None,
        merge_every: 1,
        rounds_max: 0,
        assigned: false,
        selection: None,
        late: vec![],
        switch: None,
        forming: None,
        down: None,
        masks: None,
        evaluation: None,
        contributions: false,
        deadline_ms: 8_000,
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

/// An update of a trainer's own, against the first model.
pub fn update(
    consortium: &Consortium,
    task: TaskId,
    nonce: usize,
) -> (usize, UpdateAction, Payload) {
    let mut dice = Dice::new(nonce as u64);
    let trainer = TRAINERS + (nonce / 6) % TRAINERS_MAX;
    let values: Vec<i32> =
        (0..VALUES).map(|_| dice.between(0, 1 << 21) as i32 - (1 << 20)).collect();
    let binding = Binding { task, trainer: consortium.key(trainer), base: INITIAL };
    let data = TensorData::Dense(values.clone());
    let tensor = TensorUpdate { index: 0, len: VALUES as u32, exponent: 20, bits: Bits::B32, data };
    let bytes = Update { binding, tensors: vec![tensor] }.encode();
    let content = Digest::of_bytes(Tag::Blob, &bytes);
    let update = UpdateAction {
        task,
        cluster: ClusterId(0),
        round: None,
        base_version: 0,
        examples: dice.between(1, 1_000) as u32,
        metrics: Metrics::default(),
        payload: availability(consortium, bytes.len() as u64, content),
    };
    (trainer, update, Payload { values, bytes })
}

/// Storage receipts of a quorum.
fn availability(consortium: &Consortium, length: u64, content: Digest) -> AvailabilityCertificate {
    let committee = &consortium.committee;
    let blob = BlobId::of_whole_copies(length, content, committee.size());
    let receipt = |seat: u16| {
        let (epoch, seat) = (Epoch(0), SeatIndex(seat));
        let body = StorageReceiptBody { epoch, blob: blob.digest(), seat };
        let statement = body.statement(&consortium.chain, &committee.digest());
        StorageReceipt { seat, signature: consortium.signer(seat.index()).sign(&statement) }
    };
    let receipts = (0..committee.quorum() as u16).map(receipt).collect();
    AvailabilityCertificate { epoch: Epoch(0), blob, receipts }
}

/// Folds a sealed list as a validator does: in the order of the list, in exact arithmetic.
pub fn fold(consortium: &Consortium, task: TaskId, entries: &[Entry]) -> Digest {
    let inputs: Vec<_> = entries.iter().map(|entry| FoldInput::of(entry, INITIAL)).collect();
    let payload = |entry: &Entry| consortium.payloads[&entry.tx].bytes.clone();
    let payloads: Vec<Vec<u8>> = entries.iter().map(payload).collect();
    let spec = spec(consortium);
    let base = Base {
        cluster: ClusterId(0),
        steps: &[0; VALUES],
        version: 0,
        memory: None,
        against: None,
        masking: None,
    };
    let Ok(folded) = fold_round(&spec, task, base, &inputs, &mut payloads.as_slice());
    assert!(folded.steps.is_some(), "honest updates count: {:?}", folded.outcomes);
    Digest::of(Tag::ModelBlock, &(folded.steps, folded.outcomes, folded.weight))
}

/// The mistake: a running mean in floating point, in the order in which updates arrived here.
pub fn fold_by_arrival(
    consortium: &Consortium,
    entries: &[Entry],
    arrived: impl Fn(&Entry) -> u64,
) -> Digest {
    let mut entries = entries.to_vec();
    entries.sort_by_key(arrived);
    let mut mean = [0f32; VALUES];
    let mut weight = 0f32;
    for entry in &entries {
        weight += entry.weight as f32;
        for (mean, value) in mean.iter_mut().zip(&consortium.payloads[&entry.tx].values) {
            *mean += (*value as f32 - *mean) * entry.weight as f32 / weight;
        }
    }
    Digest::of(Tag::ModelBlock, &mean.map(f32::to_bits).to_vec())
}
