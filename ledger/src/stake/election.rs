//! Who sits in the next epoch: a pure function of the committee that ends and the contenders.
//!
//! Contenders rank by stake; of equals the smaller member key is first. An election turns the
//! committee towards the best of them, at most max(1, f) of the old seats at a time in each
//! direction, so that what the old committee knew and stored stays with a quorum. Whoever stays
//! keeps its seat's index; a newcomer takes a leaver's.
//!
//! *The aim.* The largest number of seats, at most the one asked for, in which no organisation
//! has more than its cap (`organisation_seats_max`). Where the fit ones alone hold it in no
//! committee of the floor's size, those jailed for silence count as well, for at most max(1, f)
//! seats: whoever silences a rival must not inherit its seat. Where fewer than four
//! organisations contend, no committee of four can hold the cap; then it rises, by as little as
//! any size from the floor on allows.
//!
//! *The floor.* A committee never falls below four seats, or below its size where that is less:
//! three seats bear no liar at all, four bear one, even when the one is known. Where those
//! within the aim's cap are too few, seats are filled by the fit ones beyond it, then by those
//! jailed for silence, then by sitting ones who no longer want a seat or lack the stake, and
//! last by sitting ones who are guilty or expelled: they go as soon as anyone can replace them.
//! Nobody guilty, expelled, unready or short of stake ever comes in.

use std::{cmp::Reverse, collections::BTreeMap};
use twinfold_types::{
    Committee, Digest, Epoch, PublicKey, SeatIndex, Stake,
    hash::Tag,
    quorum::{Seat, faults, organisation_seats_max},
};

/// Fewest seats that bear a liar.
const SEATS_FLOOR: usize = 4;

/// How far a contender may be elected; the better the smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    Fit,
    /// Fit, but jailed for silence.
    Silent,
    /// Does not want a seat, or has too little stake.
    Unfit,
    /// Guilty, expelled, or no longer a member.
    Barred,
}

/// Someone who may hold a seat, or does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contender {
    pub seat: Seat,
    pub stake: Stake,
    pub standing: Standing,
}

/// Which seats an election may take away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    Anyone,
    /// While a seat that changed hands is not complete: see `takeover`.
    OnlyBarred,
}

/// The seats of the next epoch, in seat order.
pub fn elect(
    old: &[Seat],
    contenders: &[Contender],
    seats: usize,
    replaced: Replaced,
) -> Vec<Seat> {
    let mut ranked: Vec<_> = contenders.iter().cloned().map(|one| Ranked::of(one, old)).collect();
    let known = |seat: &&Seat| contenders.iter().any(|one| one.seat.validator == seat.validator);
    let gone = old.iter().filter(|seat| !known(seat)).map(|seat| Ranked {
        seat: seat.clone(),
        stake: Stake(0),
        standing: Standing::Barred,
        sits: true,
    });
    ranked.extend(gone);
    ranked.sort_by_key(|one| (Reverse(one.stake), one.seat.validator));
    Election::new(old.len(), seats, ranked, replaced).run(old)
}

/// The permutation of leaders: by digest of chain, epoch and member. Nothing that a block
/// carries goes in, so no leader can choose it.
pub fn leaders(chain: &Digest, epoch: Epoch, seats: &[Seat]) -> Vec<SeatIndex> {
    let mut order: Vec<_> = (0..seats.len() as u16).map(SeatIndex).collect();
    order.sort_by_key(|seat| {
        let validator = &seats[seat.index()].validator;
        (Digest::of(Tag::LeaderOrder, &(chain, epoch, validator)), *seat)
    });
    order
}

/// Who leaves a committee and who comes in.
pub fn changes(old: &Committee, new: &Committee) -> (Vec<PublicKey>, Vec<PublicKey>) {
    let missing = |here: &Committee, there: &Committee| {
        let members = here.seats.iter().map(|seat| seat.validator);
        members.filter(|member| there.seat_of(member).is_none()).collect()
    };
    (missing(new, old), missing(old, new))
}

#[derive(Clone)]
struct Ranked {
    seat: Seat,
    stake: Stake,
    standing: Standing,
    sits: bool,
}

impl Ranked {
    fn of(one: Contender, old: &[Seat]) -> Self {
        let sits = old.iter().any(|seat| seat.validator == one.seat.validator);
        Self { seat: one.seat, stake: one.stake, standing: one.standing, sits }
    }
}

/// What an election turns the committee towards.
struct Aim {
    seats: usize,
    /// What an organisation may have where the proper cap cannot hold.
    soft_cap: Option<usize>,
    /// Who is picked within the cap, in this order.
    picked: &'static [Standing],
}

/// An election under way: contenders by rank, and which of them are in.
struct Election {
    ranked: Vec<Ranked>,
    elected: Vec<bool>,
    /// Seats that may leave, and as many that may join.
    moves_max: usize,
    floor: usize,
    aim: Aim,
    replaced: Replaced,
}

impl Election {
    fn new(size: usize, seats: usize, ranked: Vec<Ranked>, replaced: Replaced) -> Self {
        let (moves_max, floor) = (faults(size).max(1), size.min(SEATS_FLOOR));
        let aim = aim(&ranked, seats.max(floor), floor);
        let elected = vec![false; ranked.len()];
        Self { ranked, elected, moves_max, floor, aim, replaced }
    }

    fn run(mut self, old: &[Seat]) -> Vec<Seat> {
        self.elected = self.stayers();
        self.fill_within_cap();
        self.fill_to_floor();
        self.arrange(old)
    }

    /// Everyone who sits, but for those with the least right to stay: by standing, then those
    /// outside the aim, the lowest ranks first.
    fn stayers(&self) -> Vec<bool> {
        let aimed = self.pick(&vec![false; self.ranked.len()], self.aim.seats, usize::MAX);
        let mut leaving: Vec<usize> =
            (0..self.ranked.len()).filter(|at| self.ranked[*at].sits && !aimed[*at]).collect();
        if self.replaced == Replaced::OnlyBarred {
            leaving.retain(|at| self.ranked[*at].standing == Standing::Barred);
        }
        leaving.sort_by_key(|at| Reverse((self.ranked[*at].standing, *at)));
        leaving.truncate(self.moves_max);
        (0..self.ranked.len()).map(|at| self.ranked[at].sits && !leaving.contains(&at)).collect()
    }

    /// As many seats up to the aim as are filled within the cap for that number.
    fn fill_within_cap(&mut self) {
        let stay = count(&self.elected);
        for size in (stay + 1..=self.aim.seats).rev() {
            let filled = self.pick(&self.elected, size, self.moves_max);
            if count(&filled) == size {
                self.elected = filled;
                return;
            }
        }
    }

    /// Adds those the aim allows, by rank, to those who are in, within the cap, to a number of
    /// seats.
    fn pick(&self, elected: &[bool], size: usize, joins_max: usize) -> Vec<bool> {
        let cap = self.aim.soft_cap.unwrap_or(organisation_seats_max(size));
        let (mut elected, mut joins) = (elected.to_vec(), 0);
        let mut held: BTreeMap<&str, usize> = BTreeMap::new();
        for (one, _) in self.ranked.iter().zip(&elected).filter(|(_, elected)| **elected) {
            *held.entry(&one.seat.organisation).or_default() += 1;
        }
        let mut free = size.saturating_sub(count(&elected));
        let ranked = || self.ranked.iter().enumerate();
        let of = |standing| ranked().filter(move |(_, one)| one.standing == standing);
        for (at, one) in self.aim.picked.iter().flat_map(|standing| of(*standing)) {
            let held = held.entry(&one.seat.organisation).or_default();
            let may_join = one.sits || joins < joins_max;
            if free > 0 && !elected[at] && may_join && *held < cap {
                (elected[at], *held) = (true, *held + 1);
                (free, joins) = (free - 1, joins + usize::from(!one.sits));
            }
        }
        elected
    }

    /// Fills the floor with whoever is the least harm.
    fn fill_to_floor(&mut self) {
        let mut joins = self.joins();
        for standing in [Standing::Fit, Standing::Silent, Standing::Unfit, Standing::Barred] {
            for at in 0..self.ranked.len() {
                let one = &self.ranked[at];
                let may_join = standing <= Standing::Silent && joins < self.moves_max;
                let may = one.standing == standing && (one.sits || may_join);
                if may && !self.elected[at] && count(&self.elected) < self.floor {
                    self.elected[at] = true;
                    joins += usize::from(!one.sits);
                }
            }
        }
    }

    fn joins(&self) -> usize {
        let both = self.ranked.iter().zip(&self.elected);
        both.filter(|(one, elected)| **elected && !one.sits).count()
    }

    /// Gives everyone a seat: stayers their own, newcomers a leaver's or one at the end; holes
    /// that remain are filled from the end.
    fn arrange(self, old: &[Seat]) -> Vec<Seat> {
        let elected = self.ranked.into_iter().zip(self.elected);
        let (stay, join): (Vec<_>, Vec<_>) =
            elected.filter(|(_, elected)| *elected).map(|(one, _)| one).partition(|one| one.sits);
        let mut join = join.into_iter().map(|one| one.seat);
        let mut seats: Vec<Option<Seat>> = old
            .iter()
            .map(|seat| {
                let own = stay.iter().find(|one| one.seat.validator == seat.validator);
                own.map(|one| one.seat.clone()).or_else(|| join.next())
            })
            .collect();
        seats.extend(join.map(Some));
        while let Some(hole) = seats.iter().position(Option::is_none) {
            seats.swap_remove(hole);
        }
        seats.into_iter().flatten().collect()
    }
}

fn count(elected: &[bool]) -> usize {
    elected.iter().filter(|elected| **elected).count()
}

fn aim(ranked: &[Ranked], seats: usize, floor: usize) -> Aim {
    let supply =
        Supply::of(ranked.iter().map(|one| (one.seat.organisation.as_str(), one.standing)));
    let fills = |n: &usize, silent| supply.fills(*n, organisation_seats_max(*n), silent);
    if let Some(seats) = (floor..=seats).rev().find(|n| fills(n, false)) {
        return Aim { seats, soft_cap: None, picked: &[Standing::Fit] };
    }
    let picked = &[Standing::Fit, Standing::Silent];
    if let Some(seats) = (floor..=seats).rev().find(|n| fills(n, true)) {
        return Aim { seats, soft_cap: None, picked };
    }
    let beyond = |(n, cap): &(usize, usize)| *cap - organisation_seats_max(*n).min(*cap);
    let soft = |n| Some((n, (1..=n).find(|cap| supply.fills(n, *cap, true))?));
    let least = (floor..=seats).rev().filter_map(soft).min_by_key(beyond);
    let (seats, cap) = least.unwrap_or((floor, floor));
    Aim { seats, soft_cap: Some(cap), picked }
}

/// The smallest cap, the proper one at least, within which the fit ones fill so many seats.
pub fn cap_needed(contenders: &[Contender], seats: usize) -> Option<usize> {
    let all = contenders.iter().map(|one| (one.seat.organisation.as_str(), one.standing));
    let supply = Supply::of(all);
    (organisation_seats_max(seats)..=seats).find(|cap| supply.fills(seats, *cap, false))
}

/// How many an organisation has who are fit, and how many who were silent.
#[derive(Default)]
struct Supply<'a>(BTreeMap<&'a str, (usize, usize)>);

impl<'a> Supply<'a> {
    fn of(all: impl Iterator<Item = (&'a str, Standing)>) -> Self {
        let mut supply = Self::default();
        for (organisation, standing) in all {
            let (fit, silent) = supply.0.entry(organisation).or_default();
            *fit += usize::from(standing == Standing::Fit);
            *silent += usize::from(standing == Standing::Silent);
        }
        supply
    }

    /// Whether so many seats are filled within a cap; by silent ones no more than a committee of
    /// that size can do without.
    fn fills(&self, seats: usize, cap: usize, with_silent: bool) -> bool {
        let fit: usize = self.0.values().map(|(fit, _)| (*fit).min(cap)).sum();
        let all: usize = self.0.values().map(|(fit, silent)| (fit + silent).min(cap)).sum();
        let silent = if with_silent { (all - fit).min(faults(seats).max(1)) } else { 0 };
        fit + silent >= seats
    }
}

#[cfg(test)]
mod tests;
