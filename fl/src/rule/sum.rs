//! Sums of integers: in i64, or, where they stay small enough, in f64, which the baseline instruction
//! sets multiply three times as fast and which is as exact.
//!
//! A term is value · weight, at most B·w in steps; all terms of a sum are at most S = Σ B·w. Where S < 2^53
//! each term and each partial sum is an integer that f64 has, in any order: nothing is ever rounded. The
//! quotient is one division more: see [`quotient`].

use crate::fixed::divide_half_even;

/// From here on not every integer is a number of f64.
const EXACT: u64 = 1 << 53;
/// A quotient by less is rounded right in f64.
const DIVISOR: u64 = 1 << 21;

/// What sums are made of.
pub trait Term: Copy {
    fn of(integer: i64) -> Self;
    /// value · by.
    fn times(value: i32, by: Self) -> Self;
    fn plus(self, other: Self) -> Self;
}

impl Term for i64 {
    #[inline(always)]
    fn of(integer: i64) -> Self {
        integer
    }
    #[inline(always)]
    fn times(value: i32, by: Self) -> Self {
        i64::from(value).wrapping_mul(by)
    }
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
}

impl Term for f64 {
    #[inline(always)]
    fn of(integer: i64) -> Self {
        integer as f64
    }
    #[inline(always)]
    fn times(value: i32, by: Self) -> Self {
        f64::from(value) * by
    }
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self + other
    }
}

/// Of each value of a model.
#[derive(Clone, Debug, PartialEq)]
pub enum Sums {
    Whole(Vec<i64>),
    Exact(Vec<f64>),
}

impl Sums {
    /// Zeros, for terms whose magnitudes add up to at most `most` in each.
    pub fn new(values: usize, most: u64) -> Self {
        match most < EXACT {
            true => Self::Exact(vec![0.0; values]),
            false => Self::Whole(vec![0; values]),
        }
    }

    pub fn values(&self) -> usize {
        match self {
            Self::Whole(sums) => sums.len(),
            Self::Exact(sums) => sums.len(),
        }
    }

    /// Of a range, each divided, half to even; the quotients are below 2^31.
    pub fn divided(&self, range: std::ops::Range<usize>, divisor: u64, into: &mut [i32]) {
        // What the caller proves: a divisor is a sum of weights, or of parts below 2^60.
        let whole = divisor as i64;
        match self {
            Self::Whole(sums) => {
                let sums = into.iter_mut().zip(&sums[range]);
                sums.for_each(|(to, sum)| *to = divide_half_even(*sum, whole) as i32);
            }
            Self::Exact(sums) if divisor < DIVISOR => {
                let sums = into.iter_mut().zip(&sums[range]);
                sums.for_each(|(to, sum)| *to = quotient(*sum, divisor as f64));
            }
            Self::Exact(sums) => {
                let sums = into.iter_mut().zip(&sums[range]);
                sums.for_each(|(to, sum)| *to = divide_half_even(*sum as i64, whole) as i32);
            }
        }
    }
}

/// sum / divisor to the nearest integer, half to even, for integers with a quotient below 2^31 and a
/// divisor below 2^21.
///
/// A quotient that lies between integers is at least 1/(2·divisor) > 2^−22 from the middle of two, or
/// exactly there. f64 has it with an error below 2^−23 (53 bits, 31 of them before the point), so the
/// division puts none in the middle that is not, nor across it. Adding 1.5·2^52 leaves no bits for a
/// fraction: the processor rounds half to even.
#[inline(always)]
fn quotient(sum: f64, divisor: f64) -> i32 {
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    ((sum / divisor + MAGIC) - MAGIC) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn both(sum: i64, divisor: u64) -> (i32, i32) {
        (quotient(sum as f64, divisor as f64), divide_half_even(sum, divisor as i64) as i32)
    }

    proptest! {
        #[test]
        fn a_quotient_in_f64_is_the_one_in_integers(
            whole in -(1i64 << 31) + 1..1 << 31,
            divisor in 1u64..DIVISOR,
            beside in -3i64..=3,
        ) {
            // Near the middle of two integers, where it matters.
            let sum = whole * divisor as i64 + divisor as i64 / 2 + beside;
            if (sum / divisor as i64).abs() < (1 << 31) - 1 {
                let (fast, exact) = both(sum, divisor);
                prop_assert_eq!(fast, exact, "{} / {}", sum, divisor);
            }
        }

        #[test]
        fn sums_are_the_same_in_both(
            terms in proptest::collection::vec((any::<i16>(), 1i64..1 << 17), 1..60),
            divisor in prop_oneof![1u64..1 << 10, (1u64 << 20)..1 << 40],
        ) {
            let mut sums = [Sums::new(1, u64::MAX), Sums::new(1, 0)];
            for (value, weight) in terms {
                for sums in &mut sums {
                    match sums {
                        Sums::Whole(sum) => sum[0] = sum[0].plus(i64::times(value.into(), weight)),
                        Sums::Exact(sum) => {
                            sum[0] = sum[0].plus(f64::times(value.into(), Term::of(weight)));
                        }
                    }
                }
            }
            let divided = sums.map(|sums| {
                let mut into = [0];
                sums.divided(0..1, divisor, &mut into);
                into[0]
            });
            // i16 · 2^17 · 60 over 1 does not fit an i32.
            if divisor > 1 << 12 {
                prop_assert_eq!(divided[0], divided[1]);
            }
        }
    }

    #[test]
    fn middles_go_to_the_even_neighbour() {
        for (sum, divisor, result) in
            [(5, 2, 2), (7, 2, 4), (-5, 2, -2), (-7, 2, -4), (1, 2, 0), (-1, 2, 0)]
        {
            assert_eq!(both(sum, divisor), (result, result), "{sum}/{divisor}");
        }
        let greatest = (1i64 << 31) - 1;
        assert_eq!(both(greatest * 2_000_000, 2_000_000), (i32::MAX, i32::MAX));
    }
}
