//! Krum and Multi-Krum (Blanchard, El Mhamdi, Guerraoui and Stainer, *Machine Learning with
//! Adversaries: Byzantine Tolerant Gradient Descent*, NeurIPS 2017).
//!
//! An update's score is the sum of its squared distances to its n − f − 2 nearest; the smallest is
//! chosen, or the mean of the m smallest. It bears f poisoned of n ≥ 2f + 3 that lie apart from the
//! others. It does not see poison that stays as near to honest updates as they are to one another
//! (Baruch et al. 2019), and where trainers have different data it prefers those in the middle.
//!
//! Distances are squares of integers in steps of the finest trained scale. A checked update's norm is
//! below 2^31 in these, so a squared distance is at most 4·2^62 − 1 < 2^64: u64 holds it exactly. Of
//! equal scores the smaller identity of the payload is first.
#![deny(clippy::float_arithmetic)]

use super::{BLOCK, Rows, Weighted};
use crate::Layout;
use twinfold_types::BlobDigest;

/// Squared distances of all pairs, at `a · n + b`.
pub fn distances(layout: &Layout, updates: &[Weighted<'_>]) -> Vec<u64> {
    let count = updates.len();
    let mut all = vec![0u64; count * count];
    let mut blocks = vec![0i32; count * BLOCK];
    for (position, slot) in layout.trained().enumerate() {
        let rows = Rows::of(updates, slot, position);
        let shift = 2 * u32::from(layout.norm_scale() - slot.scale);
        for block in rows.blocks() {
            for update in 0..count {
                rows.read(update, block.clone(), &mut blocks[update * BLOCK..][..block.len()]);
            }
            let row = |update: usize| &blocks[update * BLOCK..][..block.len()];
            for a in 0..count {
                for b in 0..a {
                    all[a * count + b] += square_distance(row(a), row(b)) << shift;
                }
            }
        }
    }
    for a in 0..count {
        (0..a).for_each(|b| all[b * count + a] = all[a * count + b]);
    }
    all
}

fn square_distance(a: &[i32], b: &[i32]) -> u64 {
    let square = |(a, b): (&i32, &i32)| {
        let apart = u64::from(a.abs_diff(*b));
        apart.wrapping_mul(apart)
    };
    a.iter().zip(b).map(square).fold(0, u64::wrapping_add)
}

/// Which updates are chosen, in their order. There are 2f + 3 at least.
pub fn choose(
    distances: &[u64],
    digests: &[BlobDigest],
    faults: usize,
    chosen: usize,
) -> Vec<usize> {
    let all: Vec<usize> = (0..digests.len()).collect();
    let mut best = ranked(distances, digests, &all, faults);
    best.truncate(chosen);
    best.sort_unstable();
    best
}

/// Where the best of some stands among them.
pub fn best(distances: &[u64], digests: &[BlobDigest], some: &[usize], faults: usize) -> usize {
    let best = ranked(distances, digests, some, faults)[0];
    some.iter().position(|update| *update == best).expect("it is one of them")
}

/// Some updates, the best first.
fn ranked(distances: &[u64], digests: &[BlobDigest], some: &[usize], faults: usize) -> Vec<usize> {
    let score = |update: usize| {
        let others = some.iter().filter(|other| **other != update);
        let mut apart: Vec<u64> =
            others.map(|other| distances[update * digests.len() + other]).collect();
        apart.sort_unstable();
        let near = some.len().saturating_sub(faults + 2);
        apart.iter().take(near).map(|apart| u128::from(*apart)).sum::<u128>()
    };
    let mut ranked: Vec<_> = some.iter().map(|at| (score(*at), digests[*at], *at)).collect();
    ranked.sort_unstable();
    ranked.into_iter().map(|(.., at)| at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfold_types::Digest;

    fn chosen(points: &[i64], faults: usize, many: usize) -> Vec<usize> {
        let digests: Vec<_> = (0..points.len()).map(|at| Digest([at as u8; 32])).collect();
        let apart = |a: &i64, b: &i64| a.abs_diff(*b).pow(2);
        let all: Vec<u64> =
            points.iter().flat_map(|a| points.iter().map(move |b| apart(a, b))).collect();
        choose(&all, &digests, faults, many)
    }

    #[test]
    fn the_one_in_the_middle_of_the_crowd_is_chosen() {
        assert_eq!(chosen(&[10, 11, 12, 900, 13], 1, 1), [1]);
        assert_eq!(chosen(&[900, 10, 11, 12, 13], 1, 2), [2, 3]);
    }

    #[test]
    fn of_equal_scores_the_smaller_identity_is_first() {
        assert_eq!(chosen(&[7; 5], 1, 1), [0]);
        assert_eq!(chosen(&[7; 5], 1, 2), [0, 1]);
    }

    #[test]
    fn the_greatest_distance_that_two_updates_have_fits() {
        let edge = i32::MAX;
        assert_eq!(square_distance(&[edge], &[-edge]), 4 * ((1u64 << 31) - 1).pow(2));
    }
}
