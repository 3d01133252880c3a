//! What a validator waits for, for people who ask why a network stands still.

use crate::{Machine, Silent};
use std::collections::BTreeMap;
use twinfold_types::{Digest, Height, PublicKey, SeatIndex, View};

/// Heights looked at above the head.
const HEIGHTS_MAX: usize = 8;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnosis {
    /// The view moved to, and the newest one installed.
    pub view: View,
    pub installed: View,
    pub committed: Height,
    pub executed: Height,
    pub stable: Height,
    /// Something waits to be ordered.
    pub work: bool,
    /// Seats whose newest view change asks for the view moved to or a later one.
    pub changing: Vec<SeatIndex>,
    /// What is in flight in the installed view, lowest first.
    pub heights: Vec<InFlight>,
    /// Votes for the state above the stable height: for each height the roots and who signed them.
    pub roots: BTreeMap<Height, BTreeMap<Digest, Vec<SeatIndex>>>,
    /// Peers that have dropped the blocks this node needs next, and from where on they keep them.
    pub kept: BTreeMap<PublicKey, Height>,
    /// Why this validator signs nothing, if it does not.
    pub silent: Option<Silent>,
}

/// One height above the head, or a base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InFlight {
    pub height: Height,
    pub proposed: bool,
    /// The body of what is proposed or voted on is here.
    pub body_held: bool,
    pub prepared_by: Vec<SeatIndex>,
    pub committed_by: Vec<SeatIndex>,
}

/// How much a machine holds of what others sent. Each number has a limit, whatever is sent (P18).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    pub slots: usize,
    pub votes: usize,
    pub bodies: usize,
    pub wanted: usize,
    pub early_votes: usize,
    pub early_proposals: usize,
    pub view_changes: usize,
    pub checkpoint_votes: usize,
    pub own_checkpoints: usize,
}

impl Machine {
    pub fn holdings(&self) -> Holdings {
        let (bodies, wanted) = self.bodies.counts();
        let (early_votes, early_proposals) = self.early.counts();
        let (checkpoint_votes, own_checkpoints) = self.checkpoints.counts();
        let votes = self.slots.values().map(|slot| slot.prepares.len() + slot.commits.len());
        Holdings {
            slots: self.slots.len(),
            votes: votes.sum(),
            bodies,
            wanted,
            early_votes,
            early_proposals,
            view_changes: self.view_changes.count(),
            checkpoint_votes,
            own_checkpoints,
        }
    }

    pub fn diagnosis(&self) -> Diagnosis {
        let seats = (0..self.committee.size() as u16).map(SeatIndex);
        let asks = |seat: &SeatIndex| {
            let change = self.view_changes.get(*seat);
            change.is_some_and(|change| change.header.body.view >= self.view)
        };
        let changing = match self.view > self.installed.view {
            true => seats.filter(asks).collect(),
            false => vec![],
        };
        Diagnosis {
            view: self.view,
            installed: self.installed.view,
            committed: self.head.height,
            executed: self.executed,
            stable: self.checkpoints.stable_height(),
            work: self.work,
            changing,
            heights: self.heights_in_flight(),
            roots: self.checkpoints.roots(),
            kept: self.kept_elsewhere(),
            silent: self.silent(),
        }
    }

    fn heights_in_flight(&self) -> Vec<InFlight> {
        let in_flight = |(height, slot): (&Height, &crate::votes::Slot)| {
            let mut votes = slot.prepares.values().chain(slot.commits.values());
            let digest = slot.pre_prepare.as_ref().or_else(|| votes.next());
            InFlight {
                height: *height,
                proposed: slot.pre_prepare.is_some(),
                body_held: digest.is_some_and(|vote| self.bodies.holds(&vote.body.digest)),
                prepared_by: slot.prepares.keys().copied().collect(),
                committed_by: slot.commits.keys().copied().collect(),
            }
        };
        let above = self.slots.range(self.head.height.next()..);
        above.take(HEIGHTS_MAX).map(in_flight).collect()
    }
}
