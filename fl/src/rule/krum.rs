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
    for (position, slot) in layout.trained().enumerate() {
        let rows = Rows::of(updates, slot, position);
        let shift = 2 * u32::from(layout.norm_scale() - slot.scale);
        match rows.narrow_shift() {
            Some(narrow) => add_narrow(&mut all, &rows, count, shift + 2 * narrow),
            None => add_wide(&mut all, &rows, count, shift),
        }
    }
    for a in 0..count {
        (0..a).for_each(|b| all[b * count + a] = all[a * count + b]);
    }
    all
}

fn add_wide(all: &mut [u64], rows: &Rows<'_>, count: usize, shift: u32) {
    let mut blocks = vec![0i32; count * BLOCK];
    for block in rows.blocks() {
        for (update, row) in blocks.chunks_exact_mut(BLOCK).enumerate() {
            rows.read(update, block.clone(), &mut row[..block.len()]);
        }
        let row = |update: usize| &blocks[update * BLOCK..][..block.len()];
        for a in 0..count {
            for b in 0..a {
                all[a * count + b] += square_distance(row(a), row(b)) << shift;
            }
        }
    }
}

/// Values of 16 bits that are multiplied side by side.
const SIDE: usize = 256;

/// A block of one update, also in halves: value = 256 · high + low, low from 0 to 255. A product with a
/// half is below 2^23, so that 256 of them stay in i32, where processors multiply several at once.
#[derive(Clone)]
struct Halves {
    whole: [i16; SIDE],
    high: [i16; SIDE],
    low: [i16; SIDE],
    square: u64,
}

impl Halves {
    const NONE: Self = Self { whole: [0; SIDE], high: [0; SIDE], low: [0; SIDE], square: 0 };

    /// Of `whole`.
    fn split(&mut self) {
        for ((whole, high), low) in self.whole.iter().zip(&mut self.high).zip(&mut self.low) {
            (*high, *low) = (whole >> 8, whole & 0xff);
        }
        self.square = self.product(self) as u64;
    }

    /// ‖a − b‖² = ‖a‖² + ‖b‖² − 2⟨a, b⟩.
    #[inline(always)]
    fn square_distance(&self, other: &Self) -> u64 {
        ((self.square + other.square) as i64 - 2 * self.product(other)) as u64
    }

    #[inline(always)]
    fn product(&self, other: &Self) -> i64 {
        256 * i64::from(product(&self.whole, &other.high))
            + i64::from(product(&self.whole, &other.low))
    }
}

#[inline(always)]
fn product(a: &[i16; SIDE], b: &[i16; SIDE]) -> i32 {
    let products = a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b));
    products.fold(0, i32::wrapping_add)
}

fn add_narrow(all: &mut [u64], rows: &Rows<'_>, count: usize, shift: u32) {
    let mut sides = vec![Halves::NONE; count];
    for start in (0..rows.values()).step_by(SIDE) {
        let block = start..rows.values().min(start + SIDE);
        for (update, side) in sides.iter_mut().enumerate() {
            side.whole[block.len()..].fill(0);
            rows.read_narrow(update, block.clone(), &mut side.whole[..block.len()]);
            side.split();
        }
        for (a, side) in sides.iter().enumerate() {
            for (other, sum) in sides[..a].iter().zip(&mut all[a * count..]) {
                *sum += side.square_distance(other) << shift;
            }
        }
    }
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
    fn halves_multiply_exactly_also_at_the_edges() {
        for (a, b) in
            [(i16::MIN, i16::MIN), (i16::MIN, i16::MAX), (-1, 1), (255, -256), (i16::MAX, i16::MAX)]
        {
            let side = |value| {
                let mut side = Halves { whole: [value; SIDE], ..Halves::NONE };
                side.split();
                side
            };
            let (side, other) = (side(a), side(b));
            let exact = SIDE as i64 * i64::from(a) * i64::from(b);
            assert_eq!(side.product(&other), exact, "{a} · {b}");
            assert_eq!(side.square, SIDE as u64 * u64::from(a.unsigned_abs()).pow(2));
        }
    }

    #[test]
    fn the_greatest_distance_that_two_updates_have_fits() {
        let edge = i32::MAX;
        assert_eq!(square_distance(&[edge], &[-edge]), 4 * ((1u64 << 31) - 1).pow(2));
    }
}
