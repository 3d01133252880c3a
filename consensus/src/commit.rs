//! Counting votes and committing (P1, P5, P6), and forgetting what is settled (P18).

use crate::{
    Effect, HaltReason, Head, Machine, Record,
    order::PROPOSALS_AHEAD_HEIGHTS,
    planted::Planted,
    votes::{self, Slot},
};
use std::collections::BTreeSet;
use twinfold_types::{
    Block, Committee, Digest, Evidence, Height, SeatIndex,
    limits::WATERMARK_HEIGHTS,
    vote::{Certificate, Vote, VoteBody, VoteKind},
};

/// Collecting votes and committing (P5, P6).
impl Machine {
    pub(crate) fn on_vote(&mut self, vote: Vote) {
        let VoteBody { kind, epoch, view, height, .. } = vote.body;
        if kind == VoteKind::PrePrepare || epoch != self.epoch() || view < self.installed.view {
            return;
        }
        if view > self.installed.view {
            if self.is_signed(&vote) {
                self.newest.vote(&vote);
                self.early.add_vote(vote);
            }
            return;
        }
        let base = self.installed.base.is_some_and(|base| base.height == height);
        if !base && !self.is_in_vote_window(height) {
            return;
        }
        let slot = self.slots.entry(height).or_default();
        if let Some(first) = slot.votes(kind).get(&vote.seat).cloned() {
            return self.check_equivocation(first, vote);
        }
        // A quorum of equal ones needs no more of them.
        let is_prepared = |prepared: &Certificate| prepared.body == vote.body;
        if slot.prepared.as_ref().is_some_and(is_prepared) {
            return;
        }
        if self.is_signed(&vote)
            && let Some(slot) = self.slots.get_mut(&height)
        {
            slot.votes(kind).insert(vote.seat, vote.clone());
            self.newest.vote(&vote);
            if self.is_planted(Planted::VoteNotDurable) && self.seat == Some(vote.seat) {
                self.persist(Record::Vote(vote));
            }
        }
    }

    /// Two different statements at one place, both signed by the seat (P1).
    pub(crate) fn check_equivocation(&mut self, first: Vote, second: Vote) {
        let known = |slot: &Slot| slot.accused.contains(&first.seat);
        let height = first.body.height;
        if first.body == second.body
            || self.slots.get(&height).is_some_and(known)
            || !self.is_signed(&second)
        {
            return;
        }
        self.slots.entry(height).or_default().accused.insert(first.seat);
        self.accuse(Evidence::Votes(Box::new(first), Box::new(second)));
    }

    /// Turns quorums of prepares into certificates and those into commit votes.
    pub(crate) fn commit_prepared(&mut self) -> bool {
        let quorum = self.rules.quorum();
        let mut progress = false;
        for height in self.slots.keys().copied().collect::<Vec<_>>() {
            let Some(slot) = self.slots.get_mut(&height) else { continue };
            if slot.prepared.is_none()
                && let Some(certificate) = votes::certificate(&slot.prepares, quorum)
            {
                slot.prepared = Some(certificate.clone());
                self.raise_claim(&certificate);
            }
            progress |= self.commit_slot(height);
        }
        progress
    }

    fn commit_slot(&mut self, height: Height) -> bool {
        let open = self.slots.get(&height).filter(|slot| slot.own_commit.is_none());
        let Some(prepared) = open.and_then(|slot| slot.prepared.as_ref()) else { return false };
        let (digest, signers) = (prepared.body.digest, signers(prepared));
        if !self.may_vote() || !self.rules.may_commit(&self.standing(), &prepared.body) {
            return false;
        }
        if !self.is_body_safe(&digest, height) {
            self.bodies.want(digest, height, signers, self.now);
            return false;
        }
        self.make_durable(&digest);
        self.cast(VoteKind::Commit, height, digest);
        true
    }

    /// Commits what a quorum of commits decides, ancestors first.
    pub(crate) fn execute_decisions(&mut self) -> bool {
        if self.is_left_out(self.head.height.next()) {
            return false;
        }
        let quorum = self.rules.quorum();
        let above = self.slots.range(self.head.height.next()..).rev();
        let newest = above.into_iter().find_map(|(_, s)| votes::certificate(&s.commits, quorum));
        if let Some(certificate) = newest {
            self.decide(certificate);
        }
        let head = self.head.height;
        let Some(decided) = self.decided.take_if(|decided| decided.body.height > head) else {
            return false;
        };
        match self.path_to(&decided) {
            Ok(path) => {
                self.note_decision(&decided);
                for digest in path {
                    if let Some(block) = self.bodies.get(&digest).cloned() {
                        self.commit(block, &decided);
                    }
                }
                true
            }
            Err(Missing::Body(digest, height)) => {
                // A wide gap is closed from below, by catching up.
                if height.0 - self.head.height.0 <= PROPOSALS_AHEAD_HEIGHTS {
                    self.bodies.want(digest, height, signers(&decided), self.now);
                }
                self.decided = Some(decided);
                false
            }
            Err(Missing::Fork(theirs)) => {
                self.halt(HaltReason::Forked { height: head, ours: self.head.digest, theirs });
                false
            }
        }
    }

    pub(crate) fn decide(&mut self, certificate: Certificate) {
        let height = certificate.body.height;
        if self.decided.as_ref().is_none_or(|decided| decided.body.height < height) {
            self.decided = Some(certificate);
        }
    }

    /// The blocks from above the head to the decided one, in order.
    fn path_to(&self, decided: &Certificate) -> Result<Vec<Digest>, Missing> {
        let (mut digest, mut height) = (decided.body.digest, decided.body.height);
        let mut path = Vec::new();
        while height > self.head.height {
            let block = self.bodies.get(&digest).ok_or(Missing::Body(digest, height))?;
            path.push(digest);
            digest = block.header.parent;
            height = Height(height.0 - 1);
        }
        if digest != self.head.digest {
            return Err(Missing::Fork(digest));
        }
        path.reverse();
        Ok(path)
    }

    /// The next block of the chain is final.
    pub(crate) fn commit(&mut self, block: Block, certificate: &Certificate) {
        let (height, digest, time) = (block.header.height, block.digest(), block.header.time);
        if self.is_left_out(height) {
            return;
        }
        self.head = Head { height, digest, time };
        self.unexecuted.insert(height, digest);
        self.settled = true;
        self.asked = None;
        if self.view == self.installed.view {
            self.pace.committed(self.now, self.committee.leader(self.view));
        }
        self.effects.push(Effect::Commit { block, certificate: certificate.clone() });
    }
}

enum Missing {
    Body(Digest, Height),
    Fork(Digest),
}

/// What may be in flight above the own head, or above a stable checkpoint that is ahead of it.
/// What lies between is caught up with, and may be any number of heights.
fn is_in_window(height: Height, head: Height, stable: Height) -> bool {
    let above = |from: Height| height > from && height.0 - from.0 <= WATERMARK_HEIGHTS;
    above(head) || (stable > head && above(stable))
}

pub(crate) fn signers(certificate: &Certificate) -> Vec<SeatIndex> {
    certificate.signatures.iter().map(|(seat, _)| *seat).collect()
}

/// Bounds, and forgetting what is settled (P18).
impl Machine {
    /// Whether its seat signed a vote. An own one as it was signed here needs no check.
    pub(crate) fn is_signed(&self, vote: &Vote) -> bool {
        let slot = self.slots.get(&vote.body.height).filter(|_| self.seat == Some(vote.seat));
        if slot.is_some_and(|slot| slot.own_votes(vote.seat).any(|own| own == vote)) {
            return true;
        }
        let statement = vote.body.statement(&self.chain, &self.committee_digest);
        let key = self.committee.key(vote.seat);
        key.is_some_and(|key| self.verifier.verify(key, &statement, &vote.signature))
    }

    /// Whether a quorum of this epoch's committee signed a certificate.
    pub(crate) fn is_certified(&self, certificate: &Certificate) -> bool {
        let signed_by = |committee: &Committee| {
            certificate.verify(&self.chain, committee, &*self.verifier).is_ok()
        };
        #[cfg(feature = "planted")]
        if self.is_planted(Planted::NeighbourEpoch) && self.before.as_ref().is_some_and(signed_by) {
            return true;
        }
        signed_by(&self.committee)
    }

    /// The last height that the installed view orders (P13).
    pub(crate) fn last_of_view(&self) -> Height {
        let from = self.installed.base_height().max(self.committee.anchor);
        Height(from.0.saturating_add(self.view_heights))
    }

    fn is_in_vote_window(&self, height: Height) -> bool {
        is_in_window(height, self.head.height, self.settled_height())
    }

    /// Bodies and votes stay until the ledger has the height; bodies that no chain
    /// of interest leads to go, and their transactions return to the pool.
    pub(crate) fn forget_settled(&mut self) {
        if !std::mem::take(&mut self.settled) {
            return;
        }
        let (executed, head) = (self.executed, self.head);
        let base = self.installed.base;
        let base_height = base.map(|base| base.height).filter(|height| *height >= executed);
        let (stable, seat) = (self.settled_height(), self.seat);
        self.slots.retain(|height, slot| {
            let own = seat.is_some_and(|seat| slot.own_votes(seat).next().is_some());
            let open = *height <= head.height || own || is_in_window(*height, head.height, stable);
            (*height > executed && open) || Some(*height) == base_height
        });
        self.decided = self.decided.take().filter(|decided| decided.body.height > head.height);
        let is_base = |digest: &Digest| base.is_some_and(|base| base.digest == *digest);
        self.bodies.forget_wanted(|digest, height| {
            height < head.height
                || (height == head.height && (height == executed || !is_base(digest)))
        });
        let mut needed: BTreeSet<Digest> = self.unexecuted.values().copied().collect();
        for (height, slot) in &self.slots {
            if *height > head.height {
                needed.extend(slot.digests());
            }
        }
        for body in self.decided.iter().map(|certificate| certificate.body).chain(base) {
            needed.extend(self.bodies.ancestry(body.digest, executed));
        }
        let highest = self.highest.as_ref().map(|certificate| certificate.body.digest);
        let claimed = highest.map(|digest| self.bodies.ancestry(digest, executed));
        let claimed = claimed.into_iter().flatten().collect();
        let dropped = self.bodies.keep(&needed, &claimed, head.height);
        if !dropped.is_empty() {
            self.effects.push(Effect::Returned(dropped));
        }
    }
}
