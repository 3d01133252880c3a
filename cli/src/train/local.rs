//! Local training: mini-batch SGD, seeded, with FedProx's proximal term (Li et al.,
//! *Federated Optimization in Heterogeneous Networks*, MLSys 2020).

use super::{Evaluation, Network, TrainError};
use crate::data::Dataset;
use ndarray::Axis;
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use twinfold_types::{
    round::Metrics,
    task::{LocalWork, Schedule, Training},
};

/// What a trainer learned in a round.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalUpdate {
    /// Change of every value, against exactly the base's bits.
    pub delta: Vec<f32>,
    /// The base model on the trainer's data, before training.
    pub metrics: Metrics,
}

/// Trains from `model` by the task's settings; `round` places it in the learning
/// rate's schedule.
pub fn local_update(
    network: &Network,
    model: &[f32],
    data: &Dataset,
    training: &Training,
    round: u64,
    seed: u64,
) -> Result<LocalUpdate, TrainError> {
    let before = network.evaluate(model, data)?;
    let trained = train(network, model, data, training, round, seed)?;
    let delta = trained.iter().zip(model).map(|(trained, base)| trained - base).collect();
    let metrics = Metrics::from_reals(before.loss, Some(before.accuracy));
    Ok(LocalUpdate { delta, metrics })
}

/// What one machine with all the data reaches in as many rounds of the same local
/// work: the evaluation on `test` after each.
pub fn central(
    network: &Network,
    model: &[f32],
    train_data: &Dataset,
    test: &Dataset,
    training: &Training,
    rounds: u64,
) -> Result<Vec<Evaluation>, TrainError> {
    let mut model = model.to_vec();
    (0..rounds)
        .map(|round| {
            let seed = training.seed.wrapping_add(round);
            model = train(network, &model, train_data, training, round, seed)?;
            network.evaluate(&model, test)
        })
        .collect()
}

fn train(
    network: &Network,
    base: &[f32],
    data: &Dataset,
    training: &Training,
    round: u64,
    seed: u64,
) -> Result<Vec<f32>, TrainError> {
    network.check(base, data)?;
    let rate = learning_rate(training, round);
    let (step, proximal) = (rate as f32, training.proximal.get() as f32);
    let mut batches = Batches::new(data.len(), training.batch, seed);
    let (mut model, mut gradient) = (base.to_vec(), vec![0.0; base.len()]);
    let steps = batches.steps(training.work);
    for done in 1..=steps {
        let rows = batches.next();
        let x = data.x.select(Axis(0), rows);
        let y: Vec<u32> = rows.iter().map(|row| data.y[*row]).collect();
        network.gradient(&model, &x, &y, &mut gradient);
        for ((value, base), slope) in model.iter_mut().zip(base).zip(&gradient) {
            *value -= step * (slope + proximal * (*value - base));
        }
        if !model.iter().all(|value| value.is_finite()) {
            return Err(TrainError::Diverged { steps: done, rate });
        }
    }
    Ok(model)
}

fn learning_rate(training: &Training, round: u64) -> f64 {
    let start = training.learning_rate.get();
    match training.schedule {
        Schedule::Constant => start,
        Schedule::Step { rounds, factor } => {
            let drops = i32::try_from(round / u64::from(rounds.max(1))).unwrap_or(i32::MAX);
            start * factor.get().powi(drops)
        }
    }
}

/// Mini-batches of rows: every epoch in a new order, its last batch may be smaller.
struct Batches {
    order: Vec<usize>,
    at: usize,
    size: usize,
    rng: ChaCha8Rng,
}

impl Batches {
    fn new(rows: usize, size: u32, seed: u64) -> Self {
        let size = (size as usize).clamp(1, rows);
        let rng = ChaCha8Rng::seed_from_u64(seed);
        Self { order: (0..rows).collect(), at: rows, size, rng }
    }

    fn steps(&self, work: LocalWork) -> u64 {
        match work {
            LocalWork::Steps(steps) => steps.into(),
            LocalWork::Epochs(epochs) => {
                u64::from(epochs) * self.order.len().div_ceil(self.size) as u64
            }
        }
    }

    fn next(&mut self) -> &[usize] {
        if self.at == self.order.len() {
            self.order.shuffle(&mut self.rng);
            self.at = 0;
        }
        let start = self.at;
        self.at = self.order.len().min(start + self.size);
        &self.order[start..self.at]
    }
}
