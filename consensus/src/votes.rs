//! The votes of one height in the installed view.

use std::collections::{BTreeMap, BTreeSet};
use twinfold_types::{
    Digest, SeatIndex,
    vote::{Certificate, Vote, VoteKind},
};

/// One place per seat and kind (P18): the first vote stays, a different second one
/// is evidence.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slot {
    /// The leader's, valid by itself; its body is held.
    pub pre_prepare: Option<Vote>,
    /// The leader signed an invalid block here: no other of its is looked at.
    pub refused: bool,
    pub prepares: BTreeMap<SeatIndex, Vote>,
    pub commits: BTreeMap<SeatIndex, Vote>,
    /// Own votes as signed; they are counted above only after their sync.
    pub own_prepare: Option<Vote>,
    pub own_commit: Option<Vote>,
    pub prepared: Option<Certificate>,
    /// Seats already named as equivocating here.
    pub accused: BTreeSet<SeatIndex>,
}

impl Slot {
    pub fn votes(&mut self, kind: VoteKind) -> &mut BTreeMap<SeatIndex, Vote> {
        match kind {
            VoteKind::Commit => &mut self.commits,
            VoteKind::Prepare | VoteKind::PrePrepare => &mut self.prepares,
        }
    }

    /// The own vote of a kind, as signed.
    pub fn own(&mut self, kind: VoteKind) -> &mut Option<Vote> {
        match kind {
            VoteKind::PrePrepare => &mut self.pre_prepare,
            VoteKind::Prepare => &mut self.own_prepare,
            VoteKind::Commit => &mut self.own_commit,
        }
    }

    /// Something here was proposed, or others are at it.
    pub fn is_active(&self, weak_quorum: usize) -> bool {
        self.pre_prepare.is_some()
            || self.own_prepare.is_some()
            || self.prepares.len().max(self.commits.len()) >= weak_quorum
    }

    /// Blocks that this slot's own votes or proposal name.
    pub fn digests(&self) -> impl Iterator<Item = Digest> + '_ {
        let votes = [&self.pre_prepare, &self.own_prepare, &self.own_commit];
        votes.into_iter().flatten().map(|vote| vote.body.digest)
    }

    /// What this seat itself signed here.
    pub fn own_votes(&self, seat: SeatIndex) -> impl Iterator<Item = &Vote> {
        let own_proposal = self.pre_prepare.iter().filter(move |vote| vote.seat == seat);
        own_proposal.chain(&self.own_prepare).chain(&self.own_commit)
    }
}

/// The certificate that the votes make, if a quorum of them is equal.
pub(crate) fn certificate(votes: &BTreeMap<SeatIndex, Vote>, quorum: usize) -> Option<Certificate> {
    if votes.len() < quorum {
        return None;
    }
    let mut counts = BTreeMap::<Digest, usize>::new();
    for vote in votes.values() {
        *counts.entry(vote.body.digest).or_default() += 1;
    }
    let (digest, _) = counts.into_iter().find(|(_, count)| *count >= quorum)?;
    let equal: Vec<&Vote> = votes.values().filter(|vote| vote.body.digest == digest).collect();
    let signatures = equal.iter().map(|vote| (vote.seat, vote.signature)).collect();
    Some(Certificate { body: equal.first()?.body, signatures })
}
