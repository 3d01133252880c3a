//! The whole way in one process: trainers of two clusters train, compress and send;
//! rounds are folded and merged exactly; the result is held against one machine
//! that has all the data.

use crate::{
    data::{Dataset, LoadOptions, Partition, load, partition, split_train_test},
    train::{
        Held, Network, Settlement, central, initial_values, mlp_tensors, model_reals, model_steps,
        prepare, softmax_tensors,
    },
};
use std::{collections::BTreeMap, convert::Infallible, path::Path};
use twinfold_fl::{Base, FoldInput, canonical_bytes, fold_round, merge, update::Binding};
use twinfold_types::{
    AvailabilityCertificate, ClusterId, Digest, Epoch, PublicKey, TaskId,
    blob::BlobId,
    model::{TensorSpec, model_digest},
    task::{
        AggregationRule, Compression, LocalWork, Mode, Real, Schedule, Screen, ServerOptimiser,
        TaskSpec, Training,
    },
};

const TASK: TaskId = TaskId(Digest([5; 32]));
const TRAINERS: usize = 8;
const CLUSTERS: usize = 2;
const ROUNDS: u64 = 10;
const SEEDS: std::ops::Range<u64> = 1..4;

fn task(tensors: Vec<TensorSpec>, compression: Compression) -> TaskSpec {
    let blob = BlobId::whole_copies(b"", 4);
    TaskSpec {
        name: "digits".into(),
        description: String::new(),
        tensors,
        initial_model: Digest::ZERO,
        initial: AvailabilityCertificate { epoch: Epoch(0), blob, receipts: vec![] },
        start: None,
        clusters: CLUSTERS as u16,
        participants_min: 1,
        participants_max: 8,
        weight_max: 2_000,
        merge_weight_max: 100_000,
        norm_bound: 80 << 20,
        clip: 10 << 20,
        screen: Screen::default(),
        rule: AggregationRule::Mean,
        server: ServerOptimiser::None,
        mode: Mode::Sync,
        compression,
        merge_rule: AggregationRule::Mean,
        regions: None,
        merge_every: 1,
        rounds_max: ROUNDS,
        assigned: false,
        selection: None,
        late: vec![],
        switch: None,
        forming: None,
        down: None,
        masks: None,
        evaluation: None,
        contributions: false,
        deadline_ms: 1_000,
        extensions_max: 0,
        retention_ms: 0,
        training: Training {
            work: LocalWork::Epochs(5),
            batch: 4,
            learning_rate: Real::new(0.3),
            schedule: Schedule::Constant,
            proximal: Real::new(0.0),
            seed: 11,
            code: None,
        },
    }
}

struct Federation {
    spec: TaskSpec,
    shards: Vec<Dataset>,
    residuals: BTreeMap<usize, Vec<f32>>,
    controls: BTreeMap<usize, Vec<f32>>,
}

impl Federation {
    /// One cluster's round: every trainer's residual moves as its outcome says.
    fn round(&mut self, cluster: usize, base: &[i32], round: u64) -> (Vec<i32>, u64) {
        let digest = model_digest(&canonical_bytes(base));
        let (mut inputs, mut payloads, mut prepared) = (vec![], vec![], vec![]);
        for trainer in (cluster..TRAINERS).step_by(CLUSTERS) {
            let key = PublicKey([trainer as u8; 32]);
            let binding = Binding { task: TASK, trainer: key, base: digest };
            let of =
                |kept: &BTreeMap<usize, Vec<f32>>| kept.get(&trainer).cloned().unwrap_or_default();
            let (residual, control) = (of(&self.residuals), of(&self.controls));
            let held = Held { residual: &residual, control: &control };
            let data = &self.shards[trainer];
            let update = prepare(&self.spec, binding, base, data, held, round, round).unwrap();
            let weight = update.examples;
            let (trainer_key, base_version) = (key, round);
            inputs.push(FoldInput {
                trainer: trainer_key,
                payload: Digest([trainer as u8; 32]),
                weight,
                loss: update.metrics.loss,
                base_version,
                base_digest: digest,
            });
            payloads.push(update.payload.clone());
            prepared.push((trainer, update));
        }
        let mut source = payloads.as_slice();
        let before = Base {
            cluster: ClusterId(cluster as u16),
            steps: base,
            version: round,
            memory: None,
            against: None,
            masking: None,
        };
        let folded: Result<_, Infallible> =
            fold_round(&self.spec, TASK, before, &inputs, &mut source);
        let Ok(folded) = folded;
        for ((trainer, update), outcome) in prepared.into_iter().zip(folded.outcomes) {
            let counted = Settlement::of(Some(outcome)) == Settlement::Counted;
            assert!(counted, "{outcome:?}");
            self.residuals.insert(trainer, update.rest);
            self.controls.insert(trainer, update.control);
        }
        (folded.steps.unwrap(), folded.weight)
    }
}

/// Test accuracy of the federation and of central training, in points.
fn compare(spec: TaskSpec, how: Partition, seed: u64) -> (f64, f64) {
    assert_eq!(spec.fault(), None);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testnet/data/optdigits.csv");
    let data = load(&path, &LoadOptions::default()).unwrap();
    let (train, test) = split_train_test(&data, 0.2, seed).unwrap();
    let shards = partition(&train, TRAINERS, how, seed).unwrap();
    let shards = shards.iter().map(|rows| train.select(rows)).collect();

    let network = Network::infer(&spec.tensors).unwrap();
    let first = initial_values(&spec.tensors, seed).unwrap();
    let central = central(&network, &first, &train, &test, &spec.training, ROUNDS).unwrap();

    let mut global = model_steps(&first, &spec.tensors).unwrap();
    let (residuals, controls) = (BTreeMap::new(), BTreeMap::new());
    let mut federation = Federation { spec, shards, residuals, controls };
    for round in 0..ROUNDS {
        let models: Vec<_> =
            (0..CLUSTERS).map(|cluster| federation.round(cluster, &global, round)).collect();
        let models: Vec<_> =
            models.iter().map(|(steps, weight)| (steps.as_slice(), *weight)).collect();
        global = merge(AggregationRule::Mean, &models).steps;
    }
    let global = model_reals(&global, &federation.spec.tensors).unwrap();
    let federated = network.evaluate(&global, &test).unwrap();
    (100.0 * federated.accuracy, 100.0 * central.last().unwrap().accuracy)
}

/// The mean over seeds of the federation is at most `points` below central training.
fn assert_close(tensors: Vec<TensorSpec>, compression: Compression, how: Partition, points: f64) {
    let (mut federated, mut central) = (0.0, 0.0);
    for seed in SEEDS {
        let (one, all) = compare(task(tensors.clone(), compression), how, seed);
        federated += one / SEEDS.count() as f64;
        central += all / SEEDS.count() as f64;
    }
    println!("federated {federated:.2} central {central:.2}");
    assert!(central > 96.0, "central {central:.2}");
    assert!(federated > central - points, "federated {federated:.2}, central {central:.2}");
}

const Q8: Compression = Compression::dense(8);

#[test]
fn softmax_regression_in_eight_bits_is_within_a_point_of_central_training() {
    assert_close(softmax_tensors(64, 10, 20), Q8, Partition::Iid, 1.0);
}

#[test]
fn a_hidden_layer_in_eight_bits_is_within_a_point_of_central_training() {
    assert_close(mlp_tensors(64, 32, 10, 20), Q8, Partition::Iid, 1.0);
}

#[test]
fn a_tenth_of_the_values_is_enough_with_error_feedback() {
    let sparse = Compression::top(100_000, 8);
    assert_close(mlp_tensors(64, 32, 10, 20), sparse, Partition::Iid, 2.0);
}

#[test]
fn trainers_with_uneven_classes_still_learn_together() {
    assert_close(softmax_tensors(64, 10, 20), Q8, Partition::Dirichlet(0.5), 3.0);
}
