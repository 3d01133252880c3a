//! From a cluster model in steps to the payload of an update.

use super::{LocalUpdate, Network, TrainError, local_update};
use crate::data::Dataset;
use twinfold_fl::{
    Layout,
    compress::{Integers, compress, compress_masked},
    fixed::{real_to_steps, steps_to_f32},
    layout::LayoutError,
    update::Binding,
};
use twinfold_types::{model::TensorSpec, round::Metrics, task::TaskSpec};

/// An update ready to be sent, and what its outcome makes of the residual.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    pub payload: Vec<u8>,
    pub examples: u32,
    pub metrics: Metrics,
    /// The next residual when the update does not count.
    pub carried: Vec<f32>,
    /// The next residual when it does.
    pub rest: Vec<f32>,
    /// The trainer's next control variate when it does, where the task has some.
    pub control: Vec<f32>,
}

/// What is to be masked.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    pub integers: Integers,
    /// Where they stand.
    pub layout: Layout,
    pub examples: u32,
    pub metrics: Metrics,
    pub control: Vec<f32>,
}

/// What a trainer has from its rounds before; empty where that is nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Held<'h> {
    pub residual: &'h [f32],
    pub control: &'h [f32],
}

/// Trains from `base`, the cluster model that `binding` names, and compresses the
/// delta. `round` places it in the schedule; `sequence` counts this trainer's
/// updates, so that each draws from a generator of its own.
pub fn prepare(
    spec: &TaskSpec,
    binding: Binding,
    base: &[i32],
    data: &Dataset,
    held: Held<'_>,
    round: u64,
    sequence: u64,
) -> Result<Prepared, TrainError> {
    let (local, seed) = trained(spec, &binding, base, data, held, round, sequence)?;
    let sent = compress(spec, binding, &local.delta, held.residual, seed)?;
    Ok(Prepared {
        payload: sent.update.encode(),
        examples: examples(data),
        metrics: local.metrics,
        carried: sent.carried,
        rest: sent.rest,
        control: local.control,
    })
}

/// The same for a masked round: integers that the masks are still to be added to.
pub fn integers(
    spec: &TaskSpec,
    binding: Binding,
    base: &[i32],
    data: &Dataset,
    held: Held<'_>,
    round: u64,
    sequence: u64,
) -> Result<Made, TrainError> {
    let (local, seed) = trained(spec, &binding, base, data, held, round, sequence)?;
    let (integers, layout) = compress_masked(spec, binding, &local.delta, held.residual, seed)?;
    let LocalUpdate { metrics, control, .. } = local;
    Ok(Made { integers, layout, examples: examples(data), metrics, control })
}

fn examples(data: &Dataset) -> u32 {
    u32::try_from(data.len()).unwrap_or(u32::MAX)
}

/// What local training came to, and the seed of all that is drawn.
fn trained(
    spec: &TaskSpec,
    binding: &Binding,
    base: &[i32],
    data: &Dataset,
    held: Held<'_>,
    round: u64,
    sequence: u64,
) -> Result<(LocalUpdate, u64), TrainError> {
    let network = Network::infer(&spec.tensors)?;
    let model = model_reals(base, &spec.tensors)?;
    let seed = draw_seed(spec.training.seed, binding, sequence);
    let training = &spec.training;
    let local = local_update(&network, &model, data, training, round, seed, held.control)?;
    Ok((local, seed))
}

/// Of everything that is drawn for a trainer's update.
pub fn draw_seed(task_seed: u64, binding: &Binding, sequence: u64) -> u64 {
    let mut hasher = blake3::Hasher::new_derive_key("twinfold 1 local training");
    hasher.update(&task_seed.to_le_bytes());
    hasher.update(&binding.task.0.0);
    hasher.update(&binding.trainer.0);
    hasher.update(&sequence.to_le_bytes());
    let mut seed = [0; 8];
    hasher.finalize_xof().fill(&mut seed);
    u64::from_le_bytes(seed)
}

/// A model's values as trainers see them: f32(q·2^−S), one rounding.
pub fn model_reals(steps: &[i32], tensors: &[TensorSpec]) -> Result<Vec<f32>, TrainError> {
    let layout = Layout::of(tensors)?;
    check_length(&layout, steps.len())?;
    let slots = layout.slots().iter();
    let reals = slots
        .flat_map(|slot| steps[slot.range()].iter().map(|step| steps_to_f32(*step, slot.scale)));
    Ok(reals.collect())
}

/// Real values to the nearest steps.
pub fn model_steps(values: &[f32], tensors: &[TensorSpec]) -> Result<Vec<i32>, TrainError> {
    let layout = Layout::of(tensors)?;
    check_length(&layout, values.len())?;
    let mut steps = Vec::with_capacity(values.len());
    for slot in layout.slots() {
        for (index, value) in values[slot.range()].iter().enumerate() {
            let step = real_to_steps(f64::from(*value), slot.scale).map_err(|source| {
                let tensor = tensors[slot.tensor].name.clone();
                TrainError::Range { tensor, index, source }
            })?;
            steps.push(step);
        }
    }
    Ok(steps)
}

fn check_length(layout: &Layout, got: usize) -> Result<(), LayoutError> {
    match layout.values() {
        expected if expected == got => Ok(()),
        expected => Err(LayoutError::Length { expected: expected * 4, got: got * 4 }),
    }
}
