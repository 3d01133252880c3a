//! Who sits, and how many are enough.
//!
//! Of n seats f = ⌊(n−1)/3⌋ may lie. A *quorum* is n−f seats: two quorums share
//! at least 2(n−f)−n > f seats, one of them honest. A *weak quorum* is f+1 seats:
//! one of them is honest.

use crate::{Digest, Epoch, Header, Height, PublicKey, SeatIndex, TimeMs, hash::Tag, limits};
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

/// Fragments of a coded blob that give it back: f seats need not have signed that they hold theirs,
/// and f of those that did may lie.
pub const fn data_fragments(n: usize) -> usize {
    n - 2 * faults(n)
}

/// Seats of one organisation in a committee of so many: it must not be able to stop the others.
pub const fn organisation_seats_max(seats: usize) -> usize {
    if faults(seats) == 0 { 1 } else { faults(seats) }
}

/// One seat: equal to every other, one vote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Seat {
    /// The member who holds it.
    pub validator: PublicKey,
    /// What it signs with in this epoch.
    pub key: PublicKey,
    pub organisation: String,
}

impl Seat {
    /// Of a validator that signs with its member key.
    pub fn of(validator: PublicKey, organisation: &str) -> Self {
        Self { validator, key: validator, organisation: organisation.into() }
    }
}

/// An epoch: its seats in seat order, where it begins and when it ends. `order[view mod n]`
/// leads a view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Committee {
    pub epoch: Epoch,
    pub seats: Vec<Seat>,
    pub order: Vec<SeatIndex>,
    /// The last height of the epoch before; 0 for the first.
    pub anchor: Height,
    /// The first block of this time or later is the epoch's last, unless the admins end it before.
    pub ends: TimeMs,
    /// Version of the rules that its blocks follow.
    pub protocol: u32,
}

/// An epoch that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastEpoch {
    pub committee: Committee,
    /// Time of its last block.
    pub ended: TimeMs,
    /// Evidence about it is taken until then: by the rules as they were at its end, and never
    /// for less long than about the epoch before. Stake that left in it waits beyond that.
    pub accused_until: TimeMs,
}

impl Committee {
    /// The first epoch: seats in the given order, leaders in the same order, without an end.
    pub fn new(epoch: Epoch, seats: Vec<Seat>) -> Self {
        let order = (0..seats.len() as u16).map(SeatIndex).collect();
        let (anchor, ends) = (Height(0), TimeMs(u64::MAX));
        Self { epoch, seats, order, anchor, ends, protocol: limits::PROTOCOL_VERSION }
    }

    /// Whether a block is the epoch's last by its time: none may stand on it in this epoch.
    pub fn is_last(&self, header: &Header) -> bool {
        header.time >= self.ends
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

    /// What a seat signs with.
    pub fn key(&self, seat: SeatIndex) -> Option<&PublicKey> {
        self.seats.get(seat.index()).map(|seat| &seat.key)
    }

    /// The seat that a member holds.
    pub fn seat_of(&self, validator: &PublicKey) -> Option<SeatIndex> {
        let index = self.seats.iter().position(|seat| seat.validator == *validator)?;
        Some(SeatIndex(index as u16))
    }

    /// The member who holds a seat.
    pub fn validator(&self, seat: SeatIndex) -> Option<&PublicKey> {
        self.seats.get(seat.index()).map(|seat| &seat.validator)
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
    fn the_honest_of_any_quorum_hold_enough_fragments() {
        for n in 1..=100 {
            assert!(quorum(n) - faults(n) >= data_fragments(n), "n = {n}");
            assert!(n == 1 || data_fragments(n) > 1, "n = {n}");
        }
    }

    #[test]
    fn four_seats_bear_one_liar() {
        assert_eq!((faults(4), quorum(4), weak_quorum(4)), (1, 3, 2));
        assert_eq!((faults(3), quorum(3), weak_quorum(3)), (0, 3, 1));
        assert_eq!((faults(7), quorum(7), weak_quorum(7)), (2, 5, 3));
    }
}
