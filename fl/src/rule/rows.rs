//! One tensor of all updates, read block by block in the model's own steps: what rules work on
//! that need all updates at once. Whatever the number of updates and values, a block is small.

use super::{Weighted, blocks};
use crate::{
    fixed::scale_half_even,
    layout::Slot,
    update::{Bits, DataView, lane},
};
use std::ops::Range;
use twinfold_types::limits::FACTOR_ONE;

/// Values of each update that are looked at together.
pub const BLOCK: usize = 2_048;

/// A tensor of one update. Sparse ones, and those of less than a byte a value, are small and written out.
enum Row<'a> {
    Dense { values: &'a [u8], bits: Bits },
    WrittenOut(Vec<i32>),
}

/// A tensor of all updates. A value in steps of its tensor is within the norm bound, below 2^31.
pub struct Rows<'a> {
    /// With the shift to steps, and the factor over 2^16 that comes after it.
    rows: Vec<(Row<'a>, u32, u32)>,
    len: usize,
}

impl<'a> Rows<'a> {
    /// Of checked updates; `position` counts the trained tensors.
    pub fn of(updates: &[Weighted<'a>], slot: &Slot, position: usize) -> Self {
        let row = |counted: &Weighted<'a>| {
            let tensor = &counted.update.tensors[position];
            let shift = (i32::from(slot.scale) - i32::from(tensor.exponent)) as u32;
            let row = match (tensor.data, tensor.bits) {
                (DataView::Dense { values }, bits @ (Bits::B8 | Bits::B16 | Bits::B32)) => {
                    Row::Dense { values, bits }
                }
                _ => {
                    let mut all = vec![0; slot.len];
                    tensor.for_each(|index, q| all[index] = q);
                    Row::WrittenOut(all)
                }
            };
            (row, shift, counted.factor)
        };
        Self { rows: updates.iter().map(row).collect(), len: slot.len }
    }

    /// Where all are dense, of at most 16 bits, untouched and in one unit: its shift to steps.
    pub fn narrow_shift(&self) -> Option<u32> {
        let (_, shift, _) = self.rows.first()?;
        let alike = |(row, of, factor): &(Row<'_>, u32, u32)| {
            let narrow = matches!(row, Row::Dense { bits: Bits::B8 | Bits::B16, .. });
            narrow && of == shift && *factor == FACTOR_ONE
        };
        self.rows.iter().all(alike).then_some(*shift)
    }

    /// The values of one update in a block as they were sent, where all are narrow.
    pub fn read_narrow(&self, update: usize, block: Range<usize>, into: &mut [i16]) {
        match &self.rows[update].0 {
            Row::Dense { values, bits: Bits::B16 } => {
                let values = &values.as_chunks::<2>().0[block];
                into.iter_mut().zip(values).for_each(|(to, q)| *to = i16::from_le_bytes(*q));
            }
            Row::Dense { values, .. } => {
                into.iter_mut().zip(&values[block]).for_each(|(to, q)| *to = (*q as i8).into());
            }
            Row::WrittenOut(all) => {
                into.iter_mut().zip(&all[block]).for_each(|(to, q)| *to = *q as i16);
            }
        }
    }

    /// Values of the tensor.
    pub fn values(&self) -> usize {
        self.len
    }

    /// The ranges of the blocks, in order.
    pub fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        blocks(self.len)
    }

    /// The values of one update in a block.
    pub fn read(&self, update: usize, block: Range<usize>, into: &mut [i32]) {
        let (row, shift, factor) = &self.rows[update];
        match row {
            Row::WrittenOut(all) => {
                into.iter_mut().zip(&all[block]).for_each(|(to, q)| *to = q << shift);
            }
            Row::Dense { values, bits: Bits::B8 } => copy::<1>(values, block, *shift, into),
            Row::Dense { values, bits: Bits::B16 } => copy::<2>(values, block, *shift, into),
            Row::Dense { values, .. } => copy::<4>(values, block, *shift, into),
        }
        if *factor != FACTOR_ONE {
            into.iter_mut().for_each(|to| *to = scale_half_even(i64::from(*to), *factor) as i32);
        }
    }
}

fn copy<const W: usize>(values: &[u8], block: Range<usize>, shift: u32, into: &mut [i32]) {
    let values = &values.as_chunks::<W>().0[block];
    into.iter_mut().zip(values).for_each(|(to, value)| *to = lane(value) << shift);
}
