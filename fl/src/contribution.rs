//! What each update had in the change that its round came to: its norm, its cosine with the change, and
//! its share of it, the part of Σ w·⟨update, change⟩ that is its own. For a mean this is how far the
//! update alone moved the model along the way that all together went, so shares of a round come to one.
//! (Shapley values, as in Wang et al., *A Principled Approach to Data Valuation for Federated Learning*,
//! 2020, say what the others would have come to without it, and need a model trained for every subset.)
//!
//! It tells effort and agreement, not truth: who sends what the crowd sends scores well. Integers
//! throughout; the scalar products are exact.
#![deny(clippy::float_arithmetic)]

use crate::{
    Layout,
    rule::{BLOCK, Change, Rows, Weighted},
};
use twinfold_types::round::Contribution;

const MILLION: i128 = 1_000_000;

/// The scalar products of one update, in squares of a step of the finest trained scale.
#[derive(Clone, Copy, Debug, Default)]
struct Products {
    weight: u32,
    /// ‖update‖².
    square: i128,
    /// ⟨update, change⟩.
    product: i128,
}

/// A round's updates beside the change they came to, as they are read.
pub struct Contributions<'c> {
    layout: &'c Layout,
    change: &'c Change,
    /// ‖change‖².
    square: i128,
    products: Vec<Products>,
}

impl<'c> Contributions<'c> {
    pub fn to(layout: &'c Layout, change: &'c Change) -> Self {
        let mut block = vec![0; BLOCK];
        let mut square = 0;
        for slot in layout.trained() {
            let shift = 2 * u32::from(layout.norm_scale() - slot.scale);
            for start in slot.range().step_by(BLOCK) {
                let range = start..slot.range().end.min(start + BLOCK);
                let block = &mut block[..range.len()];
                change.read(range, block);
                square += dot(block, block) << shift;
            }
        }
        Self { layout, change, square, products: vec![] }
    }

    /// Of updates as the rule took them, in the order of the round's list.
    pub fn add(&mut self, updates: &[Weighted<'_>]) {
        let first = self.products.len();
        let of = |update: &Weighted| Products { weight: update.weight, ..Products::default() };
        self.products.extend(updates.iter().map(of));
        let (mut change, mut row) = (vec![0; BLOCK], vec![0; BLOCK]);
        for (position, slot) in self.layout.trained().enumerate() {
            let rows = Rows::of(updates, slot, position);
            let shift = 2 * u32::from(self.layout.norm_scale() - slot.scale);
            for block in rows.blocks() {
                let (change, row) = (&mut change[..block.len()], &mut row[..block.len()]);
                let start = slot.range().start;
                self.change.read(start + block.start..start + block.end, change);
                for (update, products) in self.products[first..].iter_mut().enumerate() {
                    rows.read(update, block.clone(), row);
                    products.square += dot(row, row) << shift;
                    products.product += dot(row, change) << shift;
                }
            }
        }
    }

    pub fn finish(self) -> Vec<Contribution> {
        let weighted = |of: &Products| i128::from(of.weight) * of.product;
        let all = self.products.iter().map(weighted).sum();
        let (change_norm, change_bits) = fine_root(self.square);
        let of = |products: &Products| {
            let (norm, bits) = fine_root(products.square);
            let product = products.product << (bits + change_bits);
            Contribution {
                norm: u64::try_from(norm >> bits).unwrap_or(u64::MAX),
                // Both norms are rounded down, so that the quotient may come out above one.
                cosine_ppm: millionths(product, norm * change_norm)
                    .clamp(-MILLION as i32, MILLION as i32),
                share_ppm: millionths(weighted(products), all),
            }
        };
        self.products.iter().map(of).collect()
    }
}

/// ⟨a, b⟩ of at most [`BLOCK`] values, below 2^31 each: in halves of 16 bits, 2^46 · 2^11 fits i64.
fn dot(a: &[i32], b: &[i32]) -> i128 {
    let (mut high, mut low) = (0i64, 0i64);
    for (a, b) in a.iter().zip(b) {
        high += i64::from(*a) * i64::from(*b >> 16);
        low += i64::from(*a) * i64::from(*b & 0xffff);
    }
    (i128::from(high) << 16) + i128::from(low)
}

/// A root, rounded down, with so many more bits. An admitted update's square is below 2^62 and a
/// change's below 2^62 for each of fewer than 2^30 values, so that with these bits neither the product of
/// two roots nor a scalar product leaves i128.
fn fine_root(square: i128) -> (i128, u32) {
    let bits = (square.leading_zeros().saturating_sub(2) / 2).min(20);
    ((square << (2 * bits)).isqrt(), bits)
}

/// part / whole, towards zero; nothing of nothing, and of a whole that is not positive.
fn millionths(part: i128, whole: i128) -> i32 {
    if whole <= 0 {
        return 0;
    }
    let quotient = match part.checked_mul(MILLION) {
        Some(millions) => millions / whole,
        None => part / (whole / MILLION).max(1),
    };
    quotient.clamp(i32::MIN.into(), i32::MAX.into()) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_the_largest_values_are_exact() {
        let most = vec![i32::MAX; BLOCK];
        let least = vec![-i32::MAX; BLOCK];
        let square = i128::from(i32::MAX).pow(2) * BLOCK as i128;
        assert_eq!(dot(&most, &most), square);
        assert_eq!(dot(&least, &most), -square);
        assert_eq!(dot(&most, &least), -square);
        assert_eq!(dot(&[3, -5], &[-7, 1 << 20]), -21 - (5 << 20));
    }

    #[test]
    fn shares_of_nothing_are_nothing_and_large_ones_do_not_overflow() {
        assert_eq!(millionths(5, 0), 0);
        assert_eq!(millionths(5, -1), 0);
        assert_eq!(millionths(1, 3), 333_333);
        assert_eq!(millionths(-1, 3), -333_333);
        assert_eq!(millionths(i128::MAX / 2, i128::MAX), 500_000);
        assert_eq!(millionths(i128::MAX, 1), i32::MAX);
    }
}
