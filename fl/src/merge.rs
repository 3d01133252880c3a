//! Merging as nodes and offline verifiers call it: cluster models into the global one.
#![deny(clippy::float_arithmetic)]

use crate::{
    fixed::divide_half_even,
    rule::{
        LANES,
        coordinate::{Centre, Finder},
    },
};
use twinfold_types::task::AggregationRule;

/// A merge's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    pub steps: Vec<i32>,
    pub saturations: u64,
}

/// Merges cluster models by the task's rule: by their weights Σ W·m / Σ W with one division; where no
/// model has weight, all count alike. Or value by value, each model counting alike.
///
/// The models have one length, and their weights keep Σ W·2^31 below 2^63.
pub fn merge(rule: AggregationRule, models: &[(&[i32], u64)]) -> Merged {
    // The mean of one model is that model, whatever its weight.
    if let [(steps, _)] = models {
        return Merged { steps: steps.to_vec(), saturations: 0 };
    }
    // Between the least and the greatest of i32 values: nothing can saturate.
    let steps = match rule {
        AggregationRule::Median => merge_centre(models, Centre::Median),
        AggregationRule::TrimmedMean { beta_ppm } => {
            let trimmed = AggregationRule::trimmed(beta_ppm, models.len());
            merge_centre(models, Centre::TrimmedMean { trimmed })
        }
        _ => merge_mean(models),
    };
    Merged { steps, saturations: 0 }
}

fn merge_mean(models: &[(&[i32], u64)]) -> Vec<i32> {
    let silent = models.iter().all(|(_, weight)| *weight == 0);
    let weighted = models.iter().map(|(steps, weight)| (*steps, if silent { 1 } else { *weight }));
    let mut sum = vec![0i64; length(models)];
    let mut total = 0i64;
    for (steps, weight) in weighted {
        let weight = i64::try_from(weight).expect("weights are capped");
        total += weight;
        assert!(total < 1 << 32, "weights of {total} in all leave i64");
        for (sum, step) in sum.iter_mut().zip(steps) {
            *sum = sum.wrapping_add(i64::from(*step).wrapping_mul(weight));
        }
    }
    sum.iter().map(|sum| divide_half_even(*sum, total) as i32).collect()
}

fn merge_centre(models: &[(&[i32], u64)], centre: Centre) -> Vec<i32> {
    let finder = Finder::new(centre, models.len());
    let mut merged = vec![0; length(models)];
    let mut rows = vec![[0; LANES]; models.len()];
    for (block, into) in merged.chunks_mut(LANES).enumerate() {
        for (row, (steps, _)) in rows.iter_mut().zip(models) {
            row[..into.len()].copy_from_slice(&steps[block * LANES..][..into.len()]);
        }
        finder.find(&mut rows, 0, into);
    }
    merged
}

fn length(models: &[(&[i32], u64)]) -> usize {
    let length = models.first().map_or(0, |(steps, _)| steps.len());
    assert!(
        models.iter().all(|(steps, _)| steps.len() == length),
        "models of one task have one length"
    );
    length
}
