//! Folding as nodes and offline verifiers call it: a sealed list of updates into
//! a cluster's next model, and cluster models into the global one.
#![deny(clippy::float_arithmetic)]

use crate::{
    Layout, Source,
    check::{check, staleness_factor, update_bytes_max},
    fixed::divide_half_even,
    rule::mean::{LANES, Mean, Weighted},
};
use twinfold_types::{
    Digest, PublicKey, TaskId,
    round::{FoldRefusal, Outcome},
    task::TaskSpec,
};

/// Payload bytes held at once, unless a single payload is larger.
pub const BATCH_BYTES: u64 = 256 << 20;

/// What the ledger says of one entry of a round's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoldInput {
    pub trainer: PublicKey,
    /// Examples, capped by the task.
    pub weight: u32,
    /// Version of the cluster model that the delta is against.
    pub base_version: u64,
    /// Digest of the cluster model of that version.
    pub base_digest: Digest,
}

/// What a round came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folded {
    /// The next model; `None` when no update counted.
    pub steps: Option<Vec<i32>>,
    /// One for each entry, in list order.
    pub outcomes: Vec<Outcome>,
    /// Sum of the weights folded.
    pub weight: u64,
    /// Values that were clamped to the range of i32.
    pub saturations: u64,
}

/// Folds a round's list into `base`, the cluster's model of `base_version`.
///
/// The task is one the ledger admitted: its tensors fit `base`, and its bounds
/// keep every sum in i64.
pub fn fold_round<S: Source>(
    spec: &TaskSpec,
    task: TaskId,
    base: &[i32],
    base_version: u64,
    inputs: &[FoldInput],
    source: &mut S,
) -> Result<Folded, S::Error> {
    let layout = Layout::of(&spec.tensors).expect("an admitted task has a layout");
    assert_weights(spec, inputs);
    let mut mean = Mean::new(&layout);
    let mut outcomes = Vec::with_capacity(inputs.len());
    let at_once = (BATCH_BYTES / update_bytes_max(spec, &layout)).clamp(1, LANES as u64) as usize;
    for (batch, inputs) in inputs.chunks(at_once).enumerate() {
        let first = batch * at_once;
        let read = (first..first + inputs.len()).map(|index| source.read(index));
        let payloads = read.collect::<Result<Vec<_>, _>>()?;
        let mut counted = vec![];
        for (input, payload) in inputs.iter().zip(&payloads) {
            let checked = weigh(spec, &layout, task, base_version, input, payload.as_ref());
            outcomes.push(match &checked {
                Ok(update) => Outcome::Folded { weight: update.weight },
                Err(refusal) => Outcome::Refused(*refusal),
            });
            counted.extend(checked.ok());
        }
        mean.add(&counted);
    }
    let weight = mean.weight();
    let (steps, saturations) = mean.finish(base).unzip();
    Ok(Folded { steps, outcomes, weight, saturations: saturations.unwrap_or(0) })
}

fn weigh<'a>(
    spec: &TaskSpec,
    layout: &Layout,
    task: TaskId,
    version: u64,
    input: &FoldInput,
    payload: &'a [u8],
) -> Result<Weighted<'a>, FoldRefusal> {
    let factor = staleness_factor(&spec.mode, version, input.base_version)?;
    let update = check(spec, layout, task, input, payload)?;
    Ok(Weighted { update, weight: input.weight, factor })
}

/// Σ w·B < 2^63: what execution admitted, and the sums rely on.
fn assert_weights(spec: &TaskSpec, inputs: &[FoldInput]) {
    let weight: u64 = inputs.iter().map(|input| u64::from(input.weight)).sum();
    let bound = weight.checked_mul(spec.norm_bound);
    assert!(
        bound.is_some_and(|bound| bound < 1 << 63),
        "weights of {weight} in all with norm bound {} leave i64",
        spec.norm_bound
    );
}

/// A merge's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    pub steps: Vec<i32>,
    pub saturations: u64,
}

/// Merges models by their weights: Σ W·m / Σ W with one division. Where no model
/// has weight, all count alike.
///
/// The models have one length, and their weights keep Σ W·2^31 below 2^63.
pub fn merge(models: &[(&[i32], u64)]) -> Merged {
    // The mean of one model is that model, whatever its weight.
    if let [(steps, _)] = models {
        return Merged { steps: steps.to_vec(), saturations: 0 };
    }
    let silent = models.iter().all(|(_, weight)| *weight == 0);
    let weighted = models.iter().map(|(steps, weight)| (*steps, if silent { 1 } else { *weight }));
    let mut sum = vec![0i64; models.first().map_or(0, |(steps, _)| steps.len())];
    let mut total = 0i64;
    for (steps, weight) in weighted {
        assert_eq!(steps.len(), sum.len(), "models of one task have one length");
        let weight = i64::try_from(weight).expect("weights are capped");
        total += weight;
        assert!(total < 1 << 32, "weights of {total} in all leave i64");
        for (sum, step) in sum.iter_mut().zip(steps) {
            *sum = sum.wrapping_add(i64::from(*step).wrapping_mul(weight));
        }
    }
    // A mean of i32 is within i32: nothing can saturate.
    let steps = sum.iter().map(|sum| divide_half_even(*sum, total) as i32).collect();
    Merged { steps, saturations: 0 }
}
