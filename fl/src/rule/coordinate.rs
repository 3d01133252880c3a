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

use super::{
    Change, Rows, Weighted,
    network::{LANES, Network},
};
use crate::{Layout, fixed::divide_half_even};
use std::ops::Range;

/// What becomes of the values of one coordinate.
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
    /// Places that count once the values are sorted.
    fn wanted(self, count: usize) -> Range<usize> {
        match self {
            Centre::Median => (count - 1) / 2..count / 2 + 1,
            Centre::TrimmedMean { trimmed } => trimmed..count - trimmed,
            Centre::NearMedian { .. } => 0..count,
        }
    }
}

/// Finds the centres of many coordinates side by side.
pub struct Finder {
    centre: Centre,
    count: usize,
    network: Network,
}

/// A number that is sorted: 16 bits are twice as fast as 32 where they are enough.
pub trait Value: Ord + Copy + Default + Into<i64> {}
impl Value for i16 {}
impl Value for i32 {}

impl Finder {
    /// Of so many values each.
    pub fn new(centre: Centre, count: usize) -> Self {
        let ordered = matches!(centre, Centre::NearMedian { .. });
        let network = Network::new(count, centre.wanted(count), ordered);
        Self { centre, count, network }
    }

    /// `rows[i][l]` is value i of coordinate l, in units of 2^`shift`; they are put in another order.
    /// The result is between the least and the greatest.
    pub fn find<T: Value>(&self, rows: &mut [[T; LANES]], shift: u32, into: &mut [i32]) {
        self.network.sort(rows);
        match self.centre {
            Centre::NearMedian { kept } => {
                let mut sorted = vec![0; self.count];
                for (lane, to) in into.iter_mut().enumerate() {
                    sorted.iter_mut().zip(&*rows).for_each(|(to, row)| *to = row[lane].into());
                    *to = divide_half_even(near_median(&sorted, kept) << shift, kept as i64) as i32;
                }
            }
            Centre::Median | Centre::TrimmedMean { .. } => {
                let wanted = self.centre.wanted(self.count);
                let kept = wanted.len() as i64;
                let mut sums = [0i64; LANES];
                for row in &rows[wanted] {
                    sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += (*value).into());
                }
                let sums = into.iter_mut().zip(sums);
                sums.for_each(|(to, sum)| *to = divide_half_even(sum << shift, kept) as i32);
            }
        }
    }
}

/// The sum of those of a sorted list that are nearest to its median. Distances are compared as
/// |2x − (a + b)|, a and b being the two in the middle, so that nothing is rounded before the mean.
fn near_median(sorted: &[i64], kept: usize) -> i64 {
    let n = sorted.len();
    let twice_median = sorted[(n - 1) / 2] + sorted[n / 2];
    let apart = |at: usize| (2 * sorted[at]).abs_diff(twice_median);
    // The nearest ones stand side by side: the end that is farther away goes.
    let (mut first, mut end) = (0, n);
    while end - first > kept {
        match apart(first) > apart(end - 1) {
            true => first += 1,
            false => end -= 1,
        }
    }
    sorted[first..end].iter().sum()
}

/// The centre of the updates, value by value.
pub fn fold(layout: &Layout, updates: &[Weighted<'_>], centre: Centre) -> Change {
    let finder = Finder::new(centre, updates.len());
    let mut change = vec![0; layout.values()];
    let (mut narrow, mut wide) =
        (vec![[0i16; LANES]; updates.len()], vec![[0i32; LANES]; updates.len()]);
    for (position, slot) in layout.trained().enumerate() {
        let rows = Rows::of(updates, slot, position);
        let change = &mut change[slot.range()];
        for start in (0..slot.len).step_by(LANES) {
            let block = start..slot.len.min(start + LANES);
            let into = &mut change[block.clone()];
            if let Some(shift) = rows.narrow_shift() {
                let places = narrow.iter_mut().enumerate();
                places.for_each(|(update, row)| {
                    rows.read_narrow(update, block.clone(), &mut row[..block.len()]);
                });
                finder.find(&mut narrow, shift, into);
            } else {
                let places = wide.iter_mut().enumerate();
                places.for_each(|(update, row)| {
                    rows.read(update, block.clone(), &mut row[..block.len()]);
                });
                finder.find(&mut wide, 0, into);
            }
        }
    }
    Change::Steps(change)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Of one coordinate, in both widths where they fit.
    fn find(values: &[i32], centre: Centre) -> i32 {
        let finder = Finder::new(centre, values.len());
        let mut into = [0; 3];
        let mut wide: Vec<_> = values.iter().map(|value| [*value; LANES]).collect();
        finder.find(&mut wide, 0, &mut into);
        let found = into[2];
        if values.iter().all(|value| value % 4 == 0 && i16::try_from(value / 4).is_ok()) {
            let mut narrow: Vec<_> =
                values.iter().map(|value| [(value / 4) as i16; LANES]).collect();
            finder.find(&mut narrow, 2, &mut into);
            assert_eq!(into[2], found, "{values:?}");
        }
        found
    }

    #[test]
    fn the_median_of_an_even_number_is_half_of_the_middle_rounded_to_even() {
        let median = |values: &[i32]| find(values, Centre::Median);
        assert_eq!(median(&[5]), 5);
        assert_eq!(median(&[9, 1, 4]), 4);
        assert_eq!(median(&[1, 4, 2, 9]), 3);
        assert_eq!(median(&[2, 3]), 2, "2.5");
        assert_eq!(median(&[3, 4]), 4, "3.5");
        assert_eq!(median(&[i32::MIN, i32::MAX]), 0, "-0.5");
    }

    #[test]
    fn the_mean_near_the_median_leaves_out_what_is_farther_the_greater_of_two_as_far() {
        let near_median = |values: &[i32], kept| find(values, Centre::NearMedian { kept });
        assert_eq!(near_median(&[100, 1, 2, 3, -50], 3), 2);
        assert_eq!(near_median(&[1, 3, 5], 2), 2, "1 and 5 are as near");
        assert_eq!(near_median(&[0, 2, 3, 9], 2), 2, "2.5");
        assert_eq!(near_median(&[i32::MIN, i32::MAX, 0, 7], 1), 0, "3.5 lies between");
    }

    #[test]
    fn a_trimmed_mean_leaves_out_both_ends() {
        let trimmed_mean = |values: &[i32], trimmed| find(values, Centre::TrimmedMean { trimmed });
        assert_eq!(trimmed_mean(&[1_000, 1, 2, 3, -1_000], 1), 2);
        assert_eq!(trimmed_mean(&[4, 1], 0), 2, "2.5");
        assert_eq!(trimmed_mean(&[7, 7, 9], 1), 7);
    }

    proptest! {
        #[test]
        fn both_are_what_sorting_gives(
            values in prop_oneof![
                proptest::collection::vec(any::<i32>(), 1..40),
                proptest::collection::vec((-9_000i32..9_000).prop_map(|value| 4 * value), 1..40),
            ],
            share in 0usize..50,
        ) {
            let mut sorted: Vec<i64> = values.iter().map(|value| i64::from(*value)).collect();
            sorted.sort_unstable();
            let (n, trimmed) = (values.len(), values.len() * share / 100);
            let inner = &sorted[trimmed..n - trimmed];
            prop_assert_eq!(
                i64::from(find(&values, Centre::TrimmedMean { trimmed })),
                divide_half_even(inner.iter().sum(), inner.len() as i64)
            );
            let two = sorted[(n - 1) / 2] + sorted[n / 2];
            prop_assert_eq!(i64::from(find(&values, Centre::Median)), divide_half_even(two, 2));
        }
    }
}
