//! Weighted mean by examples: FedAvg (McMahan et al., *Communication-Efficient
//! Learning of Deep Networks from Decentralized Data*, AISTATS 2017); in
//! asynchronous buffers Σ s·w·Δ / Σ w with the staleness factor s (Nguyen et al.,
//! *Federated Learning with Buffered Asynchronous Aggregation*, AISTATS 2022).
//!
//! The sum is exact in i64, so the order of updates does not matter. Every value,
//! in steps of its tensor, is at most the norm bound B; a round has at most N
//! updates of weight at most w; the task states N·w·B < 2^63. The hot loops use
//! wrapping operations only because that proof stands.
#![deny(clippy::float_arithmetic)]

use super::{Change, Weighted};
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
    sum: Vec<i64>,
    divisor: u64,
}

impl<'l> Mean<'l> {
    pub fn new(layout: &'l Layout) -> Self {
        Self { layout, sum: vec![0; layout.values()], divisor: 0 }
    }

    /// Adds checked updates, whose tensors are exactly the trained ones.
    pub fn add(&mut self, updates: &[Weighted]) {
        for (position, slot) in self.layout.trained().enumerate() {
            let sum = &mut self.sum[slot.range()];
            add_tensor(sum, slot, updates, position);
        }
        self.divisor += updates.iter().map(|update| update.part).sum::<u64>();
    }

    /// The sum over its divisor. `None` when nothing was added that counts.
    pub fn finish(self) -> Option<Change> {
        let divisor = i64::try_from(self.divisor).ok().filter(|divisor| *divisor > 0)?;
        Some(Change::Quotient { sum: self.sum, divisor })
    }
}

fn add_tensor(sum: &mut [i64], slot: &Slot, updates: &[Weighted], position: usize) {
    let (mut b8, mut b16, mut b32) = (vec![], vec![], vec![]);
    for Weighted { update, weight, factor, .. } in updates {
        let tensor = &update.tensors[position];
        let shift = (i32::from(slot.scale) - i32::from(tensor.exponent)) as u32;
        match (tensor.data, tensor.bits) {
            // weight < 2^32 and shift ≤ 31: the multiplier is below 2^63.
            (DataView::Dense { values }, bits) if *factor == FACTOR_ONE => match bits {
                Bits::B8 => b8.push((values, i64::from(*weight) << shift)),
                Bits::B16 => b16.push((values, i64::from(*weight) << shift)),
                Bits::B32 => b32.push((values, i64::from(*weight) << shift)),
                Bits::B1 | Bits::B2 | Bits::B4 => {
                    add_each(sum, tensor, shift, *factor, *weight);
                }
            },
            _ => add_each(sum, tensor, shift, *factor, *weight),
        }
    }
    b8.chunks(AT_ONCE).for_each(|lanes| add_dense::<1>(sum, lanes));
    b16.chunks(AT_ONCE).for_each(|lanes| add_dense::<2>(sum, lanes));
    b32.chunks(AT_ONCE).for_each(|lanes| add_dense::<4>(sum, lanes));
}

/// Value by value: sparse updates touch only what they name, stale ones are
/// scaled with a rounding per value.
fn add_each(sum: &mut [i64], tensor: &TensorView, shift: u32, factor: u32, weight: u32) {
    let weight = i64::from(weight);
    tensor.for_each(|index, q| {
        let value = scale_half_even(i64::from(q) << shift, factor);
        sum[index] += value * weight;
    });
}

/// sum += Σ value · multiplier over up to [`AT_ONCE`] dense tensors.
fn add_dense<const W: usize>(sum: &mut [i64], lanes: &[(&[u8], i64)]) {
    let mut padded = [(lanes[0].0, 0i64); AT_ONCE];
    padded[..lanes.len()].copy_from_slice(lanes);
    let [a, b, c, d] = padded.map(|(values, _)| values.as_chunks::<W>().0);
    let [ma, mb, mc, md] = padded.map(|(_, multiplier)| multiplier);
    let term = |value: &[u8; W], by: i64| i64::from(lane(value)).wrapping_mul(by);
    for ((((sum, a), b), c), d) in sum.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        let four = term(a, ma)
            .wrapping_add(term(b, mb))
            .wrapping_add(term(c, mc))
            .wrapping_add(term(d, md));
        *sum = sum.wrapping_add(four);
    }
}
