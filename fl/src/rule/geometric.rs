//! The geometric median: the point z with the least sum of distances to all updates, by a fixed number
//! of steps of Weiszfeld's method with smoothing (RFA; Pillutla, Kakade and Harchaoui, *Robust Aggregation
//! for Federated Learning*, IEEE Transactions on Signal Processing 2022).
//!
//! It bears less than half of the updates being poisoned, wherever these lie, and needs no number of
//! them; it keeps more of honest ones that differ than the median of each value does. It starts at the
//! mean, and each step is a mean with the weights ⌊2^k·ν / max(ν, ‖x − z‖)⌋, where ν is 1/256 of the
//! median distance of that step, at least one step of the finest trained scale, and k the greatest power
//! that keeps sums in i64. All is integer.
#![deny(clippy::float_arithmetic)]

use super::{BLOCK, Change, Rows, Weighted, mean::Mean};
use crate::Layout;
use twinfold_types::task::TaskSpec;

/// Moves between updates of norm below `spec.norm_bound` < 2^30. They are not none.
pub fn fold(spec: &TaskSpec, layout: &Layout, mut updates: Vec<Weighted<'_>>, steps: u8) -> Change {
    let one = weight_of_one(spec, updates.len());
    weigh(&mut updates, |_| 1);
    let mut centre = mean(layout, &updates);
    for _ in 0..steps {
        let apart = distances(layout, &updates, &centre);
        let near = (median(&apart) >> 8).max(1);
        let weight = |at: usize| u64::from(one) * near / apart[at].max(near);
        weigh(&mut updates, |at| weight(at) as u32);
        centre = mean(layout, &updates);
    }
    centre
}

/// 2^k: N·2^k·B < 2^63 and k ≤ 31.
fn weight_of_one(spec: &TaskSpec, updates: usize) -> u32 {
    let most = (updates as u64).saturating_mul(spec.norm_bound).max(1);
    let room = (u64::MAX >> 1) / most;
    1 << room.ilog2().min(31)
}

/// The lower one of an even number.
fn median(apart: &[u64]) -> u64 {
    let mut sorted = apart.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() - 1) / 2]
}

fn weigh(updates: &mut [Weighted<'_>], weight: impl Fn(usize) -> u32) {
    for (at, update) in updates.iter_mut().enumerate() {
        update.weight = weight(at);
        update.part = update.weight.into();
    }
}

fn mean(layout: &Layout, updates: &[Weighted<'_>]) -> Change {
    // By far more than 2^53, and below 2^63 by the choice of the weights.
    let mut mean = Mean::new(layout, u64::MAX);
    mean.add(updates);
    mean.finish().expect("half of them are within 256 times the smoothing")
}

/// ‖x − z‖ of each, in steps of the finest trained scale, rounded down.
fn distances(layout: &Layout, updates: &[Weighted<'_>], centre: &Change) -> Vec<u64> {
    let mut squares = vec![0u128; updates.len()];
    let (mut row, mut middle) = (vec![0; BLOCK], vec![0; BLOCK]);
    for (position, slot) in layout.trained().enumerate() {
        let rows = Rows::of(updates, slot, position);
        let shift = 2 * u32::from(layout.norm_scale() - slot.scale);
        for block in rows.blocks() {
            let middle = &mut middle[..block.len()];
            centre.read(slot.start + block.start..slot.start + block.end, middle);
            for (update, square) in squares.iter_mut().enumerate() {
                let row = &mut row[..block.len()];
                rows.read(update, block.clone(), row);
                *square += u128::from(square_distance(row, middle)) << shift;
            }
        }
    }
    squares.into_iter().map(|square| square.isqrt() as u64).collect()
}

/// Both are within a norm of 2^30 and half a step a value, so the sum is below 2^64.
fn square_distance(a: &[i32], b: &[i32]) -> u64 {
    let squares = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2));
    squares.fold(0, u64::wrapping_add)
}
