//! Weighted mean by examples: FedAvg (McMahan et al., *Communication-Efficient
//! Learning of Deep Networks from Decentralized Data*, AISTATS 2017); in
//! asynchronous buffers Σ s·w·Δ / Σ w with the staleness factor s (Nguyen et al.,
//! *Federated Learning with Buffered Asynchronous Aggregation*, AISTATS 2022).
//!
//! The sum is exact ([`super::sum`]), so the order of updates does not matter. Every value,
//! in steps of its tensor, is at most the norm bound B; a round has at most N
//! updates of weight at most w; the task states N·w·B < 2^63. The hot loops use
//! wrapping operations only because that proof stands.
#![deny(clippy::float_arithmetic)]

use super::{
    Change, Weighted,
    sum::{Sums, Term},
};
use crate::{
    Layout,
    fixed::scale_half_even,
    layout::Slot,
    update::{Bits, DataView, TensorView, lane},
};
use twinfold_types::limits::FACTOR_ONE;

/// Dense updates added in one pass over the sum: reading and writing the sum
/// costs more memory traffic than an update does.
pub const AT_ONCE: usize = 4;

/// The sum so far.
pub struct Mean<'l> {
    layout: &'l Layout,
    sums: Sums,
    divisor: u64,
}

impl<'l> Mean<'l> {
    /// For updates whose values, times their weights, add up to at most `most` in magnitude.
    pub fn new(layout: &'l Layout, most: u64) -> Self {
        Self { layout, sums: Sums::new(layout.values(), most), divisor: 0 }
    }

    /// Adds checked updates, whose tensors are exactly the trained ones.
    pub fn add(&mut self, updates: &[Weighted]) {
        for (position, slot) in self.layout.trained().enumerate() {
            match &mut self.sums {
                Sums::Whole(sums) => add_tensor(&mut sums[slot.range()], slot, updates, position),
                Sums::Exact(sums) => add_tensor(&mut sums[slot.range()], slot, updates, position),
            }
        }
        self.divisor += updates.iter().map(|update| update.part).sum::<u64>();
    }

    /// The sum over its divisor. `None` when nothing was added that counts.
    pub fn finish(self) -> Option<Change> {
        assert!(self.divisor < 1 << 63, "a divisor of {}", self.divisor);
        (self.divisor > 0).then_some(Change::Quotient { sums: self.sums, divisor: self.divisor })
    }
}

fn add_tensor<T: Term>(sum: &mut [T], slot: &Slot, updates: &[Weighted], position: usize) {
    let (mut b8, mut b16, mut b32) = (vec![], vec![], vec![]);
    for Weighted { update, weight, factor, .. } in updates {
        let tensor = &update.tensors[position];
        let shift = (i32::from(slot.scale) - i32::from(tensor.exponent)) as u32;
        match (tensor.data, tensor.bits) {
            // weight < 2^32 and shift ≤ 31: the multiplier is below 2^63.
            (DataView::Dense { values }, bits) if *factor == FACTOR_ONE => match bits {
                Bits::B8 => b8.push((values, T::of(i64::from(*weight) << shift))),
                Bits::B16 => b16.push((values, T::of(i64::from(*weight) << shift))),
                Bits::B32 => b32.push((values, T::of(i64::from(*weight) << shift))),
                Bits::B1 | Bits::B2 | Bits::B4 => {
                    add_each(sum, tensor, shift, *factor, *weight);
                }
            },
            _ => add_each(sum, tensor, shift, *factor, *weight),
        }
    }
    b8.chunks(AT_ONCE).for_each(|lanes| add_dense::<1, T>(sum, lanes));
    b16.chunks(AT_ONCE).for_each(|lanes| add_dense::<2, T>(sum, lanes));
    b32.chunks(AT_ONCE).for_each(|lanes| add_dense::<4, T>(sum, lanes));
}

/// Value by value: sparse updates touch only what they name, stale ones are
/// scaled with a rounding per value.
fn add_each<T: Term>(sum: &mut [T], tensor: &TensorView, shift: u32, factor: u32, weight: u32) {
    let weight = i64::from(weight);
    tensor.for_each(|index, q| {
        let value = scale_half_even(i64::from(q) << shift, factor);
        sum[index] = sum[index].plus(T::of(value * weight));
    });
}

/// sum += Σ value · multiplier over up to [`AT_ONCE`] dense tensors.
fn add_dense<const W: usize, T: Term>(sum: &mut [T], lanes: &[(&[u8], T)]) {
    let mut padded = [(lanes[0].0, T::of(0)); AT_ONCE];
    padded[..lanes.len()].copy_from_slice(lanes);
    let [a, b, c, d] = padded.map(|(values, _)| values.as_chunks::<W>().0);
    let [ma, mb, mc, md] = padded.map(|(_, multiplier)| multiplier);
    let term = |value: &[u8; W], by: T| T::times(lane(value), by);
    for ((((sum, a), b), c), d) in sum.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        let four = term(a, ma).plus(term(b, mb)).plus(term(c, mc).plus(term(d, md)));
        *sum = sum.plus(four);
    }
}
