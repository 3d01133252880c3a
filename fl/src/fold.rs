//! Folding as nodes and offline verifiers call it: a sealed list of updates into
//! a cluster's next model, and cluster models into the global one.
#![deny(clippy::float_arithmetic)]

use crate::{
    Layout, Source,
    check::{check, staleness_factor, update_bytes_max},
    fixed::divide_half_even,
    rule::{
        bulyan,
        coordinate::{self, Centre},
        krum,
        mean::{LANES, Mean, Weighted},
    },
    update::UpdateView,
};
use twinfold_types::{
    BlobDigest, Digest, PublicKey, TaskId,
    limits::FACTOR_ONE,
    round::{FoldRefusal, Outcome},
    task::{AggregationRule, TaskSpec},
};

/// Payload bytes held at once, unless a single payload is larger.
pub const BATCH_BYTES: u64 = 256 << 20;

/// What the ledger says of one entry of a round's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoldInput {
    pub trainer: PublicKey,
    /// Identity of the payload.
    pub payload: BlobDigest,
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
    let round = Round { spec, layout: &layout, task, base, base_version, inputs };
    match spec.rule.is_weighted() {
        true => round.fold_mean(source),
        false => round.fold_together(source),
    }
}

/// What a fold goes by, beside the payloads.
struct Round<'r> {
    spec: &'r TaskSpec,
    layout: &'r Layout,
    task: TaskId,
    base: &'r [i32],
    base_version: u64,
    inputs: &'r [FoldInput],
}

impl Round<'_> {
    /// Batch by batch, as updates are read.
    fn fold_mean<S: Source>(&self, source: &mut S) -> Result<Folded, S::Error> {
        let Self { spec, layout, base, inputs, .. } = *self;
        let mut mean = Mean::new(layout);
        let mut outcomes = Vec::with_capacity(inputs.len());
        let at_once =
            (BATCH_BYTES / update_bytes_max(spec, layout)).clamp(1, LANES as u64) as usize;
        for (batch, inputs) in inputs.chunks(at_once).enumerate() {
            let first = batch * at_once;
            let read = (first..first + inputs.len()).map(|index| source.read(index));
            let payloads = read.collect::<Result<Vec<_>, _>>()?;
            let mut counted = vec![];
            for (input, payload) in inputs.iter().zip(&payloads) {
                let checked = self.weigh(input, payload.as_ref());
                outcomes.push(match &checked {
                    Ok(update) => Outcome::Folded { weight: update.weight },
                    Err(refusal) => Outcome::Refused(*refusal),
                });
                counted.extend(checked.ok());
            }
            mean.add(&counted);
        }
        Ok(finish(mean, base, outcomes))
    }

    /// Rules that need all updates at once; the task bounds how many bytes these are. Each counts 1.
    fn fold_together<S: Source>(&self, source: &mut S) -> Result<Folded, S::Error> {
        let Self { spec, layout, base, inputs, .. } = *self;
        let (mut outcomes, mut kept, mut places) = (vec![], vec![], vec![]);
        for (place, input) in inputs.iter().enumerate() {
            let payload = source.read(place)?;
            let checked = self.weigh(input, payload.as_ref());
            outcomes.push(match &checked {
                Ok(_) => Outcome::Folded { weight: 1 },
                Err(refusal) => Outcome::Refused(*refusal),
            });
            // What is refused is not held: it may be longer than any update.
            if checked.is_ok() {
                kept.push(payload);
                places.push(place);
            }
        }
        let parsed = kept.iter().map(|payload| UpdateView::parse(payload.as_ref()));
        let mut updates: Vec<_> = parsed.map(|update| update.expect("it was checked")).collect();
        if updates.is_empty() || updates.len() < spec.rule.updates_min() as usize {
            refuse(&mut outcomes, &places, FoldRefusal::TooFew);
            return Ok(Folded { steps: None, outcomes, weight: 0, saturations: 0 });
        }
        let digests: Vec<_> = places.iter().map(|place| inputs[*place].payload).collect();
        let chosen = choose(spec.rule, layout, &updates, &digests);
        let others = (0..places.len()).filter(|at| !chosen.contains(at));
        refuse(
            &mut outcomes,
            &others.map(|at| places[at]).collect::<Vec<_>>(),
            FoldRefusal::NotChosen,
        );
        let mut at = 0..;
        updates.retain(|_| at.next().is_some_and(|at| chosen.contains(&at)));
        let Some(centre) = centre(spec.rule, places.len()) else {
            return Ok(mean_of(layout, updates, base, outcomes));
        };
        let (steps, saturations) = coordinate::fold(layout, base, &updates, centre);
        Ok(Folded { steps: Some(steps), outcomes, weight: updates.len() as u64, saturations })
    }

    fn weigh<'a>(&self, input: &FoldInput, payload: &'a [u8]) -> Result<Weighted<'a>, FoldRefusal> {
        let factor = staleness_factor(&self.spec.mode, self.base_version, input.base_version)?;
        let update = check(self.spec, self.layout, self.task, input, payload)?;
        Ok(Weighted { update, weight: input.weight, factor })
    }
}

/// Which updates a rule takes, in their order.
fn choose(
    rule: AggregationRule,
    layout: &Layout,
    updates: &[UpdateView<'_>],
    digests: &[BlobDigest],
) -> Vec<usize> {
    match rule {
        AggregationRule::Krum { faults, chosen } => {
            let distances = krum::distances(layout, updates);
            krum::choose(&distances, digests, faults as usize, chosen as usize)
        }
        AggregationRule::Bulyan { faults } => {
            bulyan::choose(&krum::distances(layout, updates), digests, faults as usize)
        }
        _ => (0..updates.len()).collect(),
    }
}

/// What becomes of each value of the chosen ones, of so many updates; `None` for their mean.
fn centre(rule: AggregationRule, updates: usize) -> Option<Centre> {
    match rule {
        AggregationRule::Mean | AggregationRule::Krum { .. } => None,
        AggregationRule::Median => Some(Centre::Median),
        AggregationRule::TrimmedMean { beta_ppm } => {
            Some(Centre::TrimmedMean { trimmed: AggregationRule::trimmed(beta_ppm, updates) })
        }
        AggregationRule::Bulyan { faults } => {
            Some(Centre::NearMedian { kept: updates - 4 * faults as usize })
        }
    }
}

fn refuse(outcomes: &mut [Outcome], places: &[usize], refusal: FoldRefusal) {
    places.iter().for_each(|place| outcomes[*place] = Outcome::Refused(refusal));
}

/// The mean of updates that all count alike.
fn mean_of(
    layout: &Layout,
    updates: Vec<UpdateView<'_>>,
    base: &[i32],
    outcomes: Vec<Outcome>,
) -> Folded {
    let alike = |update| Weighted { update, weight: 1, factor: FACTOR_ONE };
    let weighted = updates.into_iter().map(alike);
    let mut mean = Mean::new(layout);
    mean.add(&weighted.collect::<Vec<_>>());
    finish(mean, base, outcomes)
}

fn finish(mean: Mean<'_>, base: &[i32], outcomes: Vec<Outcome>) -> Folded {
    let weight = mean.weight();
    let (steps, saturations) = mean.finish(base).unzip();
    Folded { steps, outcomes, weight, saturations: saturations.unwrap_or(0) }
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
