//! How content is cut: pure functions of (length, n, k).
//!
//! A *stripe* is k *pieces* of content. Fragment j < k is made of the j-th data pieces of
//! all stripes, fragment k..n of their parity. All stripes but the last have pieces of
//! [`PIECE_BYTES`]; in the last one a piece is the rest's k-th part, rounded up to what
//! the code wants and padded with zeros. So all fragments have one length, and
//! padding is below 2k bytes a blob: beyond n/k, storage is less than 0.2 %
//! more for 100 KiB and any committee. A whole copy (k = 1) is the content itself, not
//! padded. Empty content is one stripe of empty pieces.

use crate::{limits, limits::PIECE_BYTES, quorum};
use std::ops::Range;

/// Reed–Solomon over 16-bit words takes pieces of whole words.
const CODE_UNIT_BYTES: usize = 2;

/// n fragments, of which k suffice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coding {
    n: u16,
    k: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    #[error(
        "{k} of {n} fragments is no coding that is stored: n is 1 to {}, k is 1 (whole copies) or n − 2f",
        limits::SEATS_MAX
    )]
    Coding { n: u16, k: u16 },
    #[error("a blob of {length} bytes is over the limit of {limit} for its coding")]
    TooLong { length: u64, limit: u64 },
}

impl Coding {
    pub fn new(n: u16, k: u16) -> Result<Self, LayoutError> {
        let seats = usize::from(n);
        let known = (1..=limits::SEATS_MAX).contains(&seats)
            && (k == 1 || usize::from(k) == quorum::data_fragments(seats));
        if known { Ok(Self { n, k }) } else { Err(LayoutError::Coding { n, k }) }
    }

    /// A whole copy for each seat.
    pub fn whole_copies(seats: usize) -> Result<Self, LayoutError> {
        Self::new(u16::try_from(seats).unwrap_or(u16::MAX), 1)
    }

    /// A fragment for each seat: those of any quorum give the content back without f of them.
    pub fn fragments(seats: usize) -> Result<Self, LayoutError> {
        let n = u16::try_from(seats).unwrap_or(u16::MAX);
        Self::new(n, quorum::data_fragments(usize::from(n)) as u16)
    }

    pub fn n(&self) -> u16 {
        self.n
    }

    pub fn k(&self) -> u16 {
        self.k
    }

    pub fn is_whole(&self) -> bool {
        self.k == 1
    }

    /// Longest content.
    pub fn bytes_max(&self) -> u64 {
        if self.is_whole() { limits::BLOB_BYTES_MAX } else { limits::CODED_BLOB_BYTES_MAX }
    }

    /// Content of a full stripe.
    pub fn stripe_bytes(&self) -> usize {
        usize::from(self.k) * PIECE_BYTES
    }

    /// Full stripes that are decoded at once: at least one.
    pub fn run_stripes(&self) -> u64 {
        (limits::DECODE_RUN_BYTES / self.stripe_bytes()).max(1) as u64
    }

    /// Pieces of a stripe that holds so much content.
    fn piece_bytes(&self, content: usize) -> usize {
        if self.is_whole() {
            return content;
        }
        content.div_ceil(usize::from(self.k)).next_multiple_of(CODE_UNIT_BYTES)
    }
}

/// Content of a certain length, cut. Its length is within the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    length: u64,
    coding: Coding,
}

impl Layout {
    pub fn new(length: u64, coding: Coding) -> Result<Self, LayoutError> {
        let limit = coding.bytes_max();
        if length > limit {
            return Err(LayoutError::TooLong { length, limit });
        }
        Ok(Self { length, coding })
    }

    pub fn length(&self) -> u64 {
        self.length
    }

    pub fn coding(&self) -> Coding {
        self.coding
    }

    /// At least one.
    pub fn stripes(&self) -> u64 {
        self.length.div_ceil(self.coding.stripe_bytes() as u64).max(1)
    }

    /// Content of a stripe without its padding; `None` beyond the last.
    pub fn content_bytes(&self, stripe: u64) -> Option<usize> {
        let full = self.coding.stripe_bytes() as u64;
        let left = self.length.checked_sub(stripe.checked_mul(full)?)?;
        (stripe < self.stripes()).then_some(left.min(full) as usize)
    }

    /// Length of each of a stripe's n pieces; `None` beyond the last.
    pub fn piece_bytes(&self, stripe: u64) -> Option<usize> {
        self.content_bytes(stripe).map(|content| self.coding.piece_bytes(content))
    }

    /// Where in each of the n fragments a run of stripes stands; `None` if it is empty or reaches
    /// beyond the last.
    pub fn fragment_range(&self, run: &Range<u64>) -> Option<Range<u64>> {
        let last = run.end.checked_sub(1).filter(|last| run.start <= *last)?;
        let bytes = self.piece_bytes(last)? as u64;
        Some(run.start * PIECE_BYTES as u64..last * PIECE_BYTES as u64 + bytes)
    }

    /// Length of each of the n fragments.
    pub fn fragment_bytes(&self) -> u64 {
        let before = self.stripes() - 1;
        let last = self.length - before * self.coding.stripe_bytes() as u64;
        before * PIECE_BYTES as u64 + self.coding.piece_bytes(last as usize) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(length: u64, seats: usize) -> Layout {
        Layout::new(length, Coding::fragments(seats).unwrap()).unwrap()
    }

    #[test]
    fn the_pieces_add_up_to_the_fragment_and_the_stripes_to_the_content() {
        for seats in 1..=limits::SEATS_MAX {
            let full = Coding::fragments(seats).unwrap().stripe_bytes() as u64;
            for length in [0, 1, 2, 3, full - 1, full, full + 1, 5 * full + 17] {
                let layout = layout(length, seats);
                let sum = |of: &dyn Fn(u64) -> Option<usize>| {
                    (0..layout.stripes()).map(|at| of(at).unwrap() as u64).sum::<u64>()
                };
                assert_eq!(sum(&|at| layout.content_bytes(at)), length);
                assert_eq!(sum(&|at| layout.piece_bytes(at)), layout.fragment_bytes());
                assert_eq!(layout.content_bytes(layout.stripes()), None);
                assert_eq!(layout.piece_bytes(u64::MAX), None);
            }
        }
    }

    #[test]
    fn runs_of_stripes_follow_each_other_in_the_fragment() {
        let full = Coding::fragments(4).unwrap().stripe_bytes() as u64;
        let layout = layout(3 * full + 100, 4);
        let s = PIECE_BYTES as u64;
        assert_eq!(layout.fragment_range(&(0..2)), Some(0..2 * s));
        assert_eq!(layout.fragment_range(&(2..4)), Some(2 * s..3 * s + 50));
        assert_eq!(layout.fragment_range(&(0..4)), Some(0..layout.fragment_bytes()));
        #[expect(clippy::reversed_empty_ranges, reason = "as someone hostile asks")]
        let others = [0..0, 3..3, 3..2, 3..5, 4..5, 0..u64::MAX, u64::MAX..0];
        assert!(others.iter().all(|run| layout.fragment_range(run).is_none()));
    }

    #[test]
    fn padding_is_below_two_thousandths_from_a_hundred_kibibytes_on() {
        for seats in 1..=limits::SEATS_MAX {
            let k = u64::from(Coding::fragments(seats).unwrap().k());
            for length in (100 << 10..400 << 10).step_by(997) {
                let stored = layout(length, seats).fragment_bytes() * k;
                assert!(stored >= length && (stored - length) * 1_000 < length * 2, "n = {seats}");
            }
        }
    }

    #[test]
    fn a_whole_copy_is_the_content_itself() {
        let coding = Coding::whole_copies(4).unwrap();
        for length in [0, 1, 65_536, 65_537, limits::BLOB_BYTES_MAX] {
            assert_eq!(Layout::new(length, coding).unwrap().fragment_bytes(), length);
        }
    }

    #[test]
    fn other_codings_and_lengths_over_the_limit_are_refused() {
        for (n, k) in [(0, 0), (0, 1), (4, 0), (4, 3), (4, 4), (10, 2), (101, 1), (u16::MAX, 1)] {
            assert_eq!(Coding::new(n, k), Err(LayoutError::Coding { n, k }));
        }
        assert!(Coding::fragments(0).is_err() && Coding::fragments(70_000).is_err());
        for coding in [Coding::whole_copies(4).unwrap(), Coding::fragments(4).unwrap()] {
            let limit = coding.bytes_max();
            assert!(Layout::new(limit, coding).is_ok());
            for length in [limit + 1, u64::MAX] {
                let refused = Err(LayoutError::TooLong { length, limit });
                assert_eq!(Layout::new(length, coding), refused);
            }
        }
    }

    #[test]
    fn the_longest_fragments_have_lists_within_the_limit() {
        for seats in 1..=limits::SEATS_MAX {
            let coding = Coding::fragments(seats).unwrap();
            let longest = Layout::new(coding.bytes_max(), coding).unwrap().fragment_bytes();
            let list = crate::blob::GroupHashes::list_bytes(longest);
            assert!(list <= limits::GROUP_LIST_BYTES_MAX, "n = {seats}");
        }
    }
}
