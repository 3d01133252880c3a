//! Which committee follows which, and where epochs end. In odd epochs the observer holds the seat of
//! one honest validator, who follows meanwhile; who lies keeps its seat.

use crate::{keys, plan::Plan, setup::OBSERVER, world::START_MS};
use twinfold_types::{
    Committee, Epoch, Header, Height, TimeMs, limits::EPOCH_END_HEIGHTS, quorum::Seat,
};

pub struct Epochs {
    seats: usize,
    real_signatures: bool,
    /// The seat that changes hands.
    rotating: Option<usize>,
    epoch_ms: Option<u64>,
    /// The block in which the admins end its epoch.
    early_end: Option<Height>,
}

impl Epochs {
    pub fn new(plan: &Plan) -> Self {
        let honest = (0..plan.seats).find(|seat| plan.lie(*seat).is_none());
        Self {
            seats: plan.seats,
            real_signatures: plan.real_signatures,
            rotating: honest.filter(|_| plan.observer),
            epoch_ms: plan.epoch_ms,
            early_end: plan.early_end.map(Height),
        }
    }

    pub fn first(&self) -> Committee {
        self.committee(Epoch(0), Height(0), TimeMs(START_MS))
    }

    /// The committee that an epoch's last block hands over to.
    pub fn after(&self, running: &Committee, last: &Header) -> Option<Committee> {
        let ended = running.is_last(last) || self.end_in(running) == Some(last.height);
        ended.then(|| self.committee(running.epoch.next(), last.height, last.time))
    }

    /// What the state of a height says of an early end: nothing any more once it is there.
    pub fn ends_at(&self, running: &Committee, executed: Height) -> Option<Height> {
        let end = self.end_in(running)?;
        (executed < end && executed.0 + EPOCH_END_HEIGHTS >= end.0).then_some(end)
    }

    fn end_in(&self, running: &Committee) -> Option<Height> {
        let ordered = self.early_end.filter(|height| *height > running.anchor)?;
        Some(Height(ordered.0 + EPOCH_END_HEIGHTS))
    }

    fn committee(&self, epoch: Epoch, anchor: Height, since: TimeMs) -> Committee {
        let holder = |seat: usize| match self.rotating {
            Some(rotating) if rotating == seat && epoch.0 % 2 == 1 => OBSERVER,
            _ => seat,
        };
        let seat = |seat: usize| {
            let key = keys::signer(holder(seat), self.real_signatures).public_key();
            Seat::of(key, &format!("organisation {seat}"))
        };
        let ends = self.epoch_ms.map_or(TimeMs(u64::MAX), |epoch_ms| since.plus(epoch_ms));
        let seats = (0..self.seats).map(seat).collect();
        Committee { anchor, ends, ..Committee::new(epoch, seats) }
    }
}
