//! Who sits, and how many are enough.
//!
//! Of n seats f = ⌊(n−1)/3⌋ may lie. A *quorum* is n−f seats: two quorums share
//! at least 2(n−f)−n > f seats, one of them honest. A *weak quorum* is f+1 seats:
//! one of them is honest.

use crate::{Digest, Epoch, PublicKey, SeatIndex, hash::Tag};
use serde::{Deserialize, Serialize};

/// Seats that may lie.
pub const fn faults(n: usize) -> usize {
    n.saturating_sub(1) / 3
}

/// Seats whose agreement binds everyone.
pub const fn quorum(n: usize) -> usize {
    n - faults(n)
}

/// Seats of which at least one is honest.
pub const fn weak_quorum(n: usize) -> usize {
    faults(n) + 1
}

/// One seat: equal to every other, one vote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Seat {
    pub key: PublicKey,
    pub organisation: String,
}

/// The seats of one epoch, in seat order. `order[view mod n]` leads a view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committee {
    pub epoch: Epoch,
    pub seats: Vec<Seat>,
    pub order: Vec<SeatIndex>,
}

impl Committee {
    /// Seats in the given order, leaders in the same order.
    pub fn new(epoch: Epoch, seats: Vec<Seat>) -> Self {
        let order = (0..seats.len() as u16).map(SeatIndex).collect();
        Self { epoch, seats, order }
    }

    pub fn size(&self) -> usize {
        self.seats.len()
    }

    pub fn faults(&self) -> usize {
        faults(self.size())
    }

    pub fn quorum(&self) -> usize {
        quorum(self.size())
    }

    pub fn weak_quorum(&self) -> usize {
        weak_quorum(self.size())
    }

    pub fn digest(&self) -> Digest {
        Digest::of(Tag::Committee, self)
    }

    pub fn key(&self, seat: SeatIndex) -> Option<&PublicKey> {
        self.seats.get(seat.index()).map(|seat| &seat.key)
    }

    pub fn seat_of(&self, key: &PublicKey) -> Option<SeatIndex> {
        let index = self.seats.iter().position(|seat| seat.key == *key)?;
        Some(SeatIndex(index as u16))
    }

    /// The leader of a view. The committee is never empty.
    pub fn leader(&self, view: crate::View) -> SeatIndex {
        self.order[(view.0 % self.order.len() as u64) as usize]
    }

    pub fn seat_indices(&self) -> impl Iterator<Item = SeatIndex> + use<> {
        (0..self.seats.len() as u16).map(SeatIndex)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_quorums_share_an_honest_seat_for_every_size() {
        for n in 1..=100 {
            let f = faults(n);
            assert!(2 * quorum(n) - n > f, "n = {n}");
            assert!(3 * f < n, "n = {n}");
            assert!(weak_quorum(n) <= quorum(n), "n = {n}");
        }
    }

    #[test]
    fn four_seats_bear_one_liar() {
        assert_eq!((faults(4), quorum(4), weak_quorum(4)), (1, 3, 2));
        assert_eq!((faults(3), quorum(3), weak_quorum(3)), (0, 3, 1));
        assert_eq!((faults(7), quorum(7), weak_quorum(7)), (2, 5, 3));
    }
}
