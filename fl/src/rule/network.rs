//! Many short lists sorted side by side by a network of comparisons that is the same for all of them:
//! Batcher's merge exchange (Batcher 1968; Knuth, *The Art of Computer Programming* 3, algorithm
//! 5.2.2M). No branch depends on a value, so a processor does as many lists at once as fit its registers.
//!
//! Comparisons that decide nothing are left out: between places that no later one looks at and that
//! are both thrown away, or whose order among themselves does not matter.
#![deny(clippy::float_arithmetic)]

use std::ops::Range;

/// Lists sorted at once.
pub const LANES: usize = 64;

/// For lists of one length of which the places in a range are wanted, as a set.
pub struct Network {
    pairs: Vec<(u32, u32)>,
}

impl Network {
    /// Where `ordered`, the wanted ones come in order.
    pub fn new(count: usize, wanted: Range<usize>, ordered: bool) -> Self {
        let mut touched = vec![false; count];
        let mut pairs: Vec<_> = merge_exchange(count);
        pairs.reverse();
        pairs.retain(|(a, b)| {
            let (a, b) = (*a as usize, *b as usize);
            let both = wanted.contains(&a) && wanted.contains(&b);
            let neither = !wanted.contains(&a) && !wanted.contains(&b);
            let idle = !touched[a] && !touched[b] && (neither || both && !ordered);
            (touched[a], touched[b]) = (touched[a] || !idle, touched[b] || !idle);
            !idle
        });
        pairs.reverse();
        Self { pairs }
    }

    /// `rows[i][l]` is value i of list l.
    #[inline(always)]
    pub fn sort<T: Ord + Copy>(&self, rows: &mut [[T; LANES]]) {
        for (a, b) in &self.pairs {
            let (lower, upper) = rows.split_at_mut(*b as usize);
            let (low, high) = (&mut lower[*a as usize], &mut upper[0]);
            for (low, high) in low.iter_mut().zip(high) {
                (*low, *high) = ((*low).min(*high), (*low).max(*high));
            }
        }
    }
}

fn merge_exchange(count: usize) -> Vec<(u32, u32)> {
    let mut pairs = vec![];
    let top = count.next_power_of_two() / 2;
    let mut p = top;
    while p > 0 {
        let (mut q, mut r, mut d) = (top, 0, p);
        loop {
            let firsts = (0..count.saturating_sub(d)).filter(|i| i & p == r);
            pairs.extend(firsts.map(|i| (i as u32, (i + d) as u32)));
            if q == p {
                break;
            }
            (d, q, r) = (q - p, q / 2, p);
        }
        p /= 2;
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A network that sorts all lists of zeros and ones sorts all lists (Knuth, theorem 5.3.4Z).
    #[test]
    fn every_list_of_zeros_and_ones_is_sorted() {
        for count in 1..=12 {
            let network = Network::new(count, 0..count, true);
            for number in 0u32..1 << count {
                let mut rows: Vec<_> =
                    (0..count).map(|at| [(number >> at & 1) as i16; LANES]).collect();
                network.sort(&mut rows);
                assert!(rows.is_sorted_by_key(|row| row[0]), "{number:b} of {count}");
            }
        }
    }

    #[test]
    fn what_decides_nothing_is_left_out() {
        let all = merge_exchange(100).len();
        assert_eq!(Network::new(100, 0..100, true).pairs.len(), all);
        let median = Network::new(100, 49..51, false).pairs.len();
        let trimmed = Network::new(100, 20..80, false).pairs.len();
        assert!(
            median < all * 85 / 100 && trimmed < all * 90 / 100,
            "{median}, {trimmed} of {all}"
        );
    }

    proptest! {
        #[test]
        fn what_is_wanted_is_what_sorting_gives(
            values in proptest::collection::vec(any::<i16>(), 1..70),
            ends in any::<(prop::sample::Index, prop::sample::Index)>(),
        ) {
            let n = values.len();
            let (a, b) = (ends.0.index(n), ends.1.index(n));
            let wanted = a.min(b)..a.max(b) + 1;
            let mut sorted = values.clone();
            sorted.sort_unstable();
            for ordered in [false, true] {
                let mut rows: Vec<_> = values.iter().map(|value| [*value; LANES]).collect();
                Network::new(n, wanted.clone(), ordered).sort(&mut rows);
                let mut found: Vec<_> = rows[wanted.clone()].iter().map(|row| row[LANES - 1]).collect();
                if !ordered {
                    found.sort_unstable();
                }
                prop_assert_eq!(&found, &sorted[wanted.clone()]);
            }
        }
    }
}
