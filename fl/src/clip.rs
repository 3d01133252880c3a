//! The norm bound, exact: the sum of squares of an update in integer steps of the
//! finest trained scale, compared with the bound's square.

use crate::update::{Bits, TensorView, UpdateView, lane};

/// Whether the update's Euclidean norm is at most `bound` steps of 2^−`norm_scale`.
///
/// Each tensor's sum is held against the bound before it is shifted into the common
/// unit, so the total stays near bound² and no update, however coarse its
/// exponents, overflows it. One finer than the unit has no norm in it and is not within.
pub fn within_norm(update: &UpdateView, norm_scale: u8, bound: u64) -> bool {
    assert!(bound < 1 << 31, "norm bound {bound}");
    let square_bound = u128::from(bound).pow(2);
    let mut total = 0;
    for tensor in &update.tensors {
        let Ok(shift) = u32::try_from(i32::from(norm_scale) - i32::from(tensor.exponent)) else {
            return false;
        };
        let sum = square_sum(tensor);
        // s·4^shift > B² exactly where s > ⌊B²/4^shift⌋.
        if sum > square_bound.checked_shr(2 * shift).unwrap_or(0) {
            return false;
        }
        if sum > 0 {
            total += sum << (2 * shift);
        }
    }
    total <= square_bound
}

/// The norm's square, in steps of 2^−`norm_scale`, of an update that is within a bound: below 2^62.
pub fn square_norm(update: &UpdateView, norm_scale: u8) -> u128 {
    let square = |tensor: &TensorView| {
        let shift = i32::from(norm_scale) - i32::from(tensor.exponent);
        square_sum(tensor) << (2 * shift as u32)
    };
    update.tensors.iter().map(square).sum()
}

fn square_sum(tensor: &TensorView) -> u128 {
    let (bytes, _) = tensor.values();
    match tensor.bits {
        Bits::B8 => squares_of::<1>(bytes),
        Bits::B16 => squares_of::<2>(bytes),
        Bits::B32 => squares_of::<4>(bytes),
        Bits::B1 | Bits::B2 | Bits::B4 => {
            let mut sum = 0u64;
            tensor.for_each(|_, q| sum += u64::from(q.unsigned_abs().pow(2)));
            sum.into()
        }
    }
}

/// Values looked at together.
const RUN: usize = 1_024;

/// Squares are summed in u64 over runs in which none is over 2^27, so that 1,024 of them stay below
/// 2^64; in u128 over others.
fn squares_of<const W: usize>(bytes: &[u8]) -> u128 {
    let run = |run: &[[u8; W]]| {
        let magnitude = |value: &[u8; W]| lane(value).unsigned_abs();
        match run.iter().fold(0, |bits, value| bits | magnitude(value)) < 1 << 27 {
            true => {
                let squares = run.iter().map(|value| u64::from(magnitude(value)).pow(2));
                u128::from(squares.fold(0u64, u64::wrapping_add))
            }
            false => run.iter().map(|value| u128::from(magnitude(value)).pow(2)).sum(),
        }
    };
    bytes.as_chunks::<W>().0.chunks(RUN).map(run).sum()
}
