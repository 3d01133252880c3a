//! Local training: mini-batch SGD, seeded, with FedProx's proximal term (Li et al.,
//! *Federated Optimization in Heterogeneous Networks*, MLSys 2020).

use super::{Evaluation, Network, TrainError, control::Control};
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
    /// The trainer's next control variate, where the task has some.
    pub control: Vec<f32>,
}

/// Trains from `model` by the task's settings; `round` places it in the learning
/// rate's schedule. `own` is the trainer's control variate, where the task has some and it is not the
/// trainer's first round.
pub fn local_update(
    network: &Network,
    model: &[f32],
    data: &Dataset,
    training: &Training,
    round: u64,
    seed: u64,
    own: &[f32],
) -> Result<LocalUpdate, TrainError> {
    let before = network.evaluate(model, data)?;
    let control = network.controlled_values();
    let control = control.map(|values| Control::of(model, own, values)).transpose()?;
    let trained = train(network, model, data, training, round, seed, control.as_ref())?;
    let changes = trained.model.iter().zip(model).map(|(trained, base)| trained - base);
    let mut delta: Vec<f32> = changes.collect();
    let mut next = vec![];
    if let Some(control) = control {
        let share = rate_share(training, round);
        let change;
        (next, change) = control.next(model, &trained.model, trained.steps, share);
        let values = change.len();
        delta[values..].copy_from_slice(&change);
    }
    let metrics = Metrics::from_reals(before.loss, Some(before.accuracy));
    Ok(LocalUpdate { delta, metrics, control: next })
}

/// The learning rate of a round over the first.
fn rate_share(training: &Training, round: u64) -> f32 {
    (learning_rate(training, round) / training.learning_rate.get()) as f32
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
            model = train(network, &model, train_data, training, round, seed, None)?.model;
            network.evaluate(&model, test)
        })
        .collect()
}

struct Trained {
    model: Vec<f32>,
    steps: u64,
}

fn train(
    network: &Network,
    base: &[f32],
    data: &Dataset,
    training: &Training,
    round: u64,
    seed: u64,
    control: Option<&Control>,
) -> Result<Trained, TrainError> {
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
        if let Some(control) = control {
            control.correct(&mut model, rate_share(training, round));
        }
        if !model.iter().all(|value| value.is_finite()) {
            return Err(TrainError::Diverged { steps: done, rate });
        }
    }
    Ok(Trained { model, steps })
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
