//! Coordinate by coordinate: the median, and the mean without the smallest and largest (Yin, Chen,
//! Kannan and Bartlett, *Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates*,
//! ICML 2018).
//!
//! The median bears less than half of the updates being poisoned; the trimmed mean as many as it
//! leaves out at each end. Both pay for it where honest trainers differ much from one another, and
//! neither sees a coordinated shift that stays among honest values. Every update counts the same.
//!
//! Of an even number the median is half of the two in the middle, rounded to even. Rounding aside
//! nothing is lost: all is integer.
#![deny(clippy::float_arithmetic)]

use super::{BLOCK, Change, Rows, Weighted};
use crate::{Layout, fixed::divide_half_even};

/// What becomes of the values of one coordinate; they may be put in another order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Centre {
    Median,
    /// Without so many at each end, fewer than half.
    TrimmedMean {
        trimmed: usize,
    },
    /// The mean of so many that are nearest to the median; of two as near the smaller is first.
    NearMedian {
        kept: usize,
    },
}

impl Centre {
    pub fn of(self, values: &mut [i32]) -> i64 {
        match self {
            Centre::Median => median(values),
            Centre::TrimmedMean { trimmed } => trimmed_mean(values, trimmed),
            Centre::NearMedian { kept } => near_median(values, kept),
        }
    }
}

fn median(values: &mut [i32]) -> i64 {
    let half = values.len() / 2;
    let odd = values.len() % 2 == 1;
    let (below, middle, _) = values.select_nth_unstable(half);
    match below.iter().max().filter(|_| !odd) {
        Some(lower) => divide_half_even(i64::from(*lower) + i64::from(*middle), 2),
        None => i64::from(*middle),
    }
}

fn trimmed_mean(values: &mut [i32], trimmed: usize) -> i64 {
    let kept = values.len() - 2 * trimmed;
    let rest = match trimmed {
        0 => values,
        trimmed => {
            let (_, _, above) = values.select_nth_unstable(trimmed - 1);
            let (inner, _, _) = above.select_nth_unstable(kept);
            inner
        }
    };
    let sum: i64 = rest.iter().map(|value| i64::from(*value)).sum();
    divide_half_even(sum, kept as i64)
}

/// Distances are compared as |2x − (a + b)|, a and b being the two in the middle, so that nothing is
/// rounded before the mean.
fn near_median(values: &mut [i32], kept: usize) -> i64 {
    values.sort_unstable();
    let (n, value) = (values.len(), |at: usize| i64::from(values[at]));
    let twice_median = value((n - 1) / 2) + value(n / 2);
    let apart = |at: usize| (2 * value(at)).abs_diff(twice_median);
    // Sorted, the nearest ones stand side by side: the end that is farther away goes.
    let (mut first, mut end) = (0, n);
    while end - first > kept {
        match apart(first) > apart(end - 1) {
            true => first += 1,
            false => end -= 1,
        }
    }
    let sum: i64 = (first..end).map(value).sum();
    divide_half_even(sum, kept as i64)
}

/// The centre of the updates, value by value.
pub fn fold(layout: &Layout, updates: &[Weighted<'_>], centre: Centre) -> Change {
    let mut change = vec![0; layout.values()];
    let count = updates.len();
    let mut columns = vec![0; count * BLOCK];
    let mut row = vec![0; BLOCK];
    for (position, slot) in layout.trained().enumerate() {
        let rows = Rows::of(updates, slot, position);
        let change = &mut change[slot.range()];
        for block in rows.blocks() {
            for update in 0..count {
                rows.read(update, block.clone(), &mut row[..block.len()]);
                let of_update = columns.iter_mut().skip(update).step_by(count);
                of_update.zip(&row[..block.len()]).for_each(|(to, value)| *to = *value);
            }
            for (to, values) in change[block].iter_mut().zip(columns.chunks_exact_mut(count)) {
                // Between the least and the greatest of them.
                *to = centre.of(values) as i32;
            }
        }
    }
    Change::Steps(change)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_median_of_an_even_number_is_half_of_the_middle_rounded_to_even() {
        assert_eq!(median(&mut [5]), 5);
        assert_eq!(median(&mut [9, 1, 4]), 4);
        assert_eq!(median(&mut [1, 4, 2, 9]), 3);
        assert_eq!(median(&mut [2, 3]), 2, "2.5");
        assert_eq!(median(&mut [3, 4]), 4, "3.5");
        assert_eq!(median(&mut [i32::MIN, i32::MAX]), 0, "-0.5");
    }

    #[test]
    fn the_mean_near_the_median_leaves_out_what_is_farther_the_greater_of_two_as_far() {
        assert_eq!(near_median(&mut [100, 1, 2, 3, -50], 3), 2);
        assert_eq!(near_median(&mut [1, 3, 5], 2), 2, "1 and 5 are as near");
        assert_eq!(near_median(&mut [0, 2, 3, 9], 2), 2, "2.5");
        assert_eq!(near_median(&mut [i32::MIN, i32::MAX, 0, 7], 1), 0, "3.5 lies between");
    }

    #[test]
    fn a_trimmed_mean_leaves_out_both_ends() {
        assert_eq!(trimmed_mean(&mut [1_000, 1, 2, 3, -1_000], 1), 2);
        assert_eq!(trimmed_mean(&mut [4, 1], 0), 2, "2.5");
        assert_eq!(trimmed_mean(&mut [7, 7, 9], 1), 7);
    }

    proptest! {
        #[test]
        fn both_are_what_sorting_gives(mut values in proptest::collection::vec(any::<i32>(), 1..40), share in 0usize..50) {
            let mut sorted: Vec<i64> = values.iter().map(|value| i64::from(*value)).collect();
            sorted.sort_unstable();
            let (n, trimmed) = (values.len(), values.len() * share / 100);
            let inner = &sorted[trimmed..n - trimmed];
            prop_assert_eq!(
                trimmed_mean(&mut values, trimmed),
                divide_half_even(inner.iter().sum(), inner.len() as i64)
            );
            let two = sorted[(n - 1) / 2] + sorted[n / 2];
            prop_assert_eq!(median(&mut values), divide_half_even(two, 2));
        }
    }
}
