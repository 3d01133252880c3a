//! Aggregation rules, a file each.

pub mod bulyan;
pub mod coordinate;
pub mod geometric;
pub mod krum;
pub mod losses;
pub mod mean;
mod network;
mod rows;
mod sum;

pub use network::LANES;
pub use rows::{BLOCK, Rows};
pub use sum::Sums;

use crate::update::UpdateView;
use std::ops::Range;

/// A checked update and how much of it counts.
#[derive(Clone, Debug)]
pub struct Weighted<'a> {
    pub update: UpdateView<'a>,
    pub weight: u32,
    /// Over 2^16: what becomes of each value before all else.
    pub factor: u32,
    /// Its part of what the sum is divided by.
    pub part: u64,
}

/// What a rule says the model should change by, for each value of the whole model in steps of its
/// tensor: within the task's norm bound, and so below 2^31.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// To be divided, half to even.
    Quotient {
        sums: Sums,
        divisor: u64,
    },
    Steps(Vec<i32>),
}

impl Change {
    pub fn values(&self) -> usize {
        match self {
            Change::Quotient { sums, .. } => sums.values(),
            Change::Steps(steps) => steps.len(),
        }
    }

    /// The values of a range.
    pub fn read(&self, range: Range<usize>, into: &mut [i32]) {
        match self {
            Change::Quotient { sums, divisor } => sums.divided(range, *divisor, into),
            Change::Steps(steps) => into.copy_from_slice(&steps[range]),
        }
    }

    /// Ranges to read it by.
    pub fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        blocks(self.values())
    }
}

fn blocks(len: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len).step_by(BLOCK).map(move |start| start..len.min(start + BLOCK))
}
