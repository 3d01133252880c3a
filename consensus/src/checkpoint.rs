//! Checkpoints: what a quorum says of the state after a height (P14).

use crate::{Effect, HaltReason, Machine, Record};
use std::collections::{BTreeMap, BTreeSet};
use twinfold_types::{
    Digest, Evidence, Height, SeatIndex, TimeMs,
    limits::{CHECKPOINT_INTERVAL_HEIGHTS, CHECKPOINT_QUIET_MS, WATERMARK_HEIGHTS},
    message::ConsensusMessage,
    vote::{Checkpoint, CheckpointCertificate, CheckpointVote},
};

#[derive(Clone, Debug, Default)]
pub(crate) struct Checkpoints {
    stable: Option<CheckpointCertificate>,
    /// What the ledger here says, from the stable height on.
    executed: BTreeMap<Height, Checkpoint>,
    /// Everyone's votes above the stable height, within a window.
    votes: BTreeMap<Height, BTreeMap<SeatIndex, CheckpointVote>>,
    /// Own votes as signed.
    own: BTreeMap<Height, CheckpointVote>,
    /// Seats already named as equivocating.
    accused: BTreeSet<SeatIndex>,
    /// Since when nothing is in flight.
    quiet_since: Option<TimeMs>,
}

impl Checkpoints {
    pub fn new(stable: Option<CheckpointCertificate>) -> Self {
        Self { stable, ..Self::default() }
    }

    pub fn stable(&self) -> Option<&CheckpointCertificate> {
        self.stable.as_ref()
    }

    pub fn stable_height(&self) -> Height {
        self.stable.as_ref().map_or(Height(0), |stable| stable.checkpoint.height)
    }

    pub fn own_votes(&self) -> impl DoubleEndedIterator<Item = &CheckpointVote> {
        self.own.values()
    }

    /// What everyone says of the state above the stable height.
    pub fn roots(&self) -> BTreeMap<Height, BTreeMap<Digest, Vec<SeatIndex>>> {
        let of_height = |votes: &BTreeMap<SeatIndex, CheckpointVote>| {
            let mut roots = BTreeMap::<Digest, Vec<SeatIndex>>::new();
            for (seat, vote) in votes {
                roots.entry(vote.checkpoint.state_root).or_default().push(*seat);
            }
            roots
        };
        self.votes.iter().map(|(height, votes)| (*height, of_height(votes))).collect()
    }

    /// An own vote as read back from the log: it is synced.
    pub fn restore(&mut self, vote: CheckpointVote) {
        let height = vote.checkpoint.height;
        if height > self.stable_height() {
            self.own.insert(height, vote.clone());
            self.votes.entry(height).or_default().insert(vote.seat, vote);
        }
    }

    /// A quorum of equal votes, at the highest height that has one.
    fn newest_quorum(&self, quorum: usize) -> Option<CheckpointCertificate> {
        self.votes.values().rev().find_map(|votes| {
            let checkpoint = majority(votes, quorum)?;
            let equal = votes.values().filter(|vote| vote.checkpoint == *checkpoint);
            let signatures = equal.map(|vote| (vote.seat, vote.signature)).collect();
            Some(CheckpointCertificate { checkpoint: checkpoint.clone(), signatures })
        })
    }

    /// Votes of everyone, and own ones.
    pub fn counts(&self) -> (usize, usize) {
        (self.votes.values().map(BTreeMap::len).sum(), self.own.len())
    }

    fn forget_below_stable(&mut self) {
        let stable = self.stable_height();
        self.executed.retain(|height, _| *height >= stable);
        self.votes.retain(|height, _| *height > stable);
        self.own.retain(|height, _| *height > stable);
    }
}

/// What at least `needed` seats say alike.
fn majority(votes: &BTreeMap<SeatIndex, CheckpointVote>, needed: usize) -> Option<&Checkpoint> {
    if votes.len() < needed {
        return None;
    }
    let mut counts = BTreeMap::<&Checkpoint, usize>::new();
    for vote in votes.values() {
        *counts.entry(&vote.checkpoint).or_default() += 1;
    }
    counts.into_iter().find(|(_, count)| *count >= needed).map(|(checkpoint, _)| checkpoint)
}

impl Machine {
    pub(crate) fn on_executed(&mut self, checkpoint: Checkpoint, ends_at: Option<Height>) {
        let height = checkpoint.height;
        if height > self.head.height || height < self.executed {
            return;
        }
        self.executed = height;
        // A block that elected a committee was the last, whatever the state says of the next epoch.
        let ended = checkpoint.next_committee.is_some() && checkpoint.epoch == self.epoch();
        self.ends_at = if ended { Some(height) } else { ends_at };
        let later = self.unexecuted.split_off(&height.next());
        for digest in std::mem::replace(&mut self.unexecuted, later).values() {
            self.bodies.remove(digest);
        }
        self.settled = true;
        self.attest_executed(&checkpoint);
        self.checkpoints.executed.insert(height, checkpoint);
        // While the stable checkpoint is far ahead (catching up) only the newest matter.
        while self.checkpoints.executed.len() as u64 > 2 * WATERMARK_HEIGHTS {
            self.checkpoints.executed.pop_first();
        }
        self.compare_with_stable();
    }

    fn attest_executed(&mut self, checkpoint: &Checkpoint) {
        if checkpoint.epoch != self.epoch() {
            return;
        }
        self.attested.begin(checkpoint);
        let votes = self.checkpoints.votes.get(&checkpoint.height);
        votes.into_iter().flat_map(|votes| votes.values()).for_each(|vote| self.attested.add(vote));
        if let Some(stable) = &self.checkpoints.stable {
            self.attested.add_all(stable);
        }
    }

    pub(crate) fn on_checkpoint(&mut self, vote: CheckpointVote) {
        let height = vote.checkpoint.height;
        let lowest = Height(self.head.height.0.saturating_sub(2 * WATERMARK_HEIGHTS));
        let highest = Height(self.head.height.0.saturating_add(WATERMARK_HEIGHTS));
        let settled = height <= self.settled_height().max(lowest);
        if vote.checkpoint.epoch != self.epoch()
            || height > highest
            || (settled && !self.attested.lacks(&vote))
        {
            return;
        }
        let votes = self.checkpoints.votes.get(&height);
        let known = votes.and_then(|votes| votes.get(&vote.seat)).cloned();
        let differs = known.as_ref().is_none_or(|known| known.checkpoint != vote.checkpoint);
        let statement = vote.checkpoint.statement(&self.chain, &self.committee_digest);
        if !differs || !self.is_seat_signature(vote.seat, &statement, &vote.signature) {
            return;
        }
        self.attested.add(&vote);
        match known {
            _ if settled => {}
            Some(known) => {
                if self.checkpoints.accused.insert(known.seat) {
                    self.accuse(Evidence::Checkpoints(Box::new(known), Box::new(vote)));
                }
            }
            None => {
                self.newest.checkpoint(&vote);
                self.checkpoints.votes.entry(height).or_default().insert(vote.seat, vote);
            }
        }
    }

    pub(crate) fn on_stable(&mut self, certificate: CheckpointCertificate) {
        let newer = certificate.checkpoint.height > self.checkpoints.stable_height();
        if newer && certificate.verify(&self.chain, &self.committee, &*self.verifier).is_ok() {
            self.set_stable(certificate);
        }
    }

    /// Signs what is due and takes what a quorum signed.
    pub(crate) fn settle_checkpoints(&mut self) {
        let quiet = !self.work && !self.is_in_flight();
        let since = self.checkpoints.quiet_since.unwrap_or(self.now);
        self.checkpoints.quiet_since = quiet.then_some(since);
        for checkpoint in self.due_checkpoints() {
            self.sign_checkpoint(checkpoint);
        }
        if let Some(certificate) = self.checkpoints.newest_quorum(self.committee.quorum()) {
            self.set_stable(certificate);
        }
    }

    fn due_checkpoints(&self) -> Vec<Checkpoint> {
        if self.seat.is_none() || self.is_silent() {
            return Vec::new();
        }
        let quiet = self.quiet_at().is_some_and(|at| at <= self.now);
        let last = self.is_over() || quiet;
        let weak_quorum = self.committee.weak_quorum();
        let unsigned = self.checkpoints.executed.range(self.settled_height().next()..);
        let unsigned = unsigned.filter(|(height, _)| !self.checkpoints.own.contains_key(*height));
        let due = unsigned.filter(|(height, _)| {
            let votes = self.checkpoints.votes.get(*height);
            height.0 % CHECKPOINT_INTERVAL_HEIGHTS == 0
                || (last && **height == self.head.height)
                || votes.is_some_and(|votes| majority(votes, weak_quorum).is_some())
        });
        due.map(|(_, checkpoint)| checkpoint.clone()).collect()
    }

    /// When it is quiet enough to sign the newest height.
    fn quiet_at(&self) -> Option<TimeMs> {
        self.checkpoints.quiet_since.map(|since| since.plus(CHECKPOINT_QUIET_MS))
    }

    /// The same, where a signature waits for it.
    pub(crate) fn checkpoint_due(&self) -> Option<TimeMs> {
        let newest = self.checkpoints.executed.contains_key(&self.head.height)
            && self.head.height > self.settled_height()
            && !self.checkpoints.own.contains_key(&self.head.height);
        let signs = self.seat.is_some() && !self.is_silent();
        self.quiet_at().filter(|at| signs && newest && *at > self.now)
    }

    fn sign_checkpoint(&mut self, checkpoint: Checkpoint) {
        let Some(seat) = self.seat else { return };
        let statement = checkpoint.statement(&self.chain, &self.committee_digest);
        let signature = self.signer.sign(&statement);
        let vote = CheckpointVote { checkpoint, seat, signature };
        self.checkpoints.own.insert(vote.checkpoint.height, vote.clone());
        self.persist(Record::Checkpoint(vote.clone()));
        self.broadcast(ConsensusMessage::Checkpoint(vote));
    }

    fn set_stable(&mut self, certificate: CheckpointCertificate) {
        self.newest.stable(&certificate);
        self.attested.add_all(&certificate);
        self.checkpoints.stable = Some(certificate.clone());
        self.effects.push(Effect::Stable(certificate));
        self.compare_with_stable();
        self.checkpoints.forget_below_stable();
        self.settled = true;
    }

    fn compare_with_stable(&mut self) {
        let Some(stable) = self.checkpoints.stable.clone() else { return };
        let ours = self.checkpoints.executed.get(&stable.checkpoint.height).cloned();
        if let Some(ours) = ours
            && ours != stable.checkpoint
        {
            let (ours, stable) = (Box::new(ours), Box::new(stable));
            self.halt(HaltReason::Diverged { ours, stable });
        }
    }
}
