//! Votes of views that others have installed before this validator: kept for the
//! moment it does, a few per seat (P18). What falls out is repeated on the next status.

use std::collections::{BTreeMap, VecDeque};
use twinfold_types::{Block, SeatIndex, View, message::ConsensusMessage, vote::Vote};

/// Votes kept per seat.
const EARLY_VOTES_MAX: usize = 16;

#[derive(Clone, Debug, Default)]
pub(crate) struct Early {
    votes: BTreeMap<SeatIndex, VecDeque<Vote>>,
    proposals: BTreeMap<SeatIndex, (Vote, Block)>,
}

impl Early {
    /// Takes a vote whose signature was verified.
    pub fn add_vote(&mut self, vote: Vote) {
        let votes = self.votes.entry(vote.seat).or_default();
        if votes.contains(&vote) {
            return;
        }
        if votes.len() == EARLY_VOTES_MAX {
            votes.pop_front();
        }
        votes.push_back(vote);
    }

    /// Takes a proposal of the view's leader, signature verified: the newest view's only.
    pub fn add_proposal(&mut self, vote: Vote, block: Block) {
        let newer = |(old, _): &(Vote, Block)| old.body.view < vote.body.view;
        if self.proposals.get(&vote.seat).is_none_or(newer) {
            self.proposals.insert(vote.seat, (vote, block));
        }
    }

    /// Everything for a view that is now installed; what is older goes.
    pub fn take(&mut self, view: View) -> Vec<ConsensusMessage> {
        let mut messages = Vec::new();
        for seat in self.proposals.keys().copied().collect::<Vec<_>>() {
            if self.proposals.get(&seat).is_some_and(|(vote, _)| vote.body.view <= view)
                && let Some((vote, block)) = self.proposals.remove(&seat)
            {
                messages.push(ConsensusMessage::PrePrepare { vote, block: Box::new(block) });
            }
        }
        for votes in self.votes.values_mut() {
            let (now, later): (Vec<Vote>, Vec<Vote>) =
                votes.drain(..).partition(|vote| vote.body.view <= view);
            votes.extend(later);
            messages.extend(now.into_iter().map(ConsensusMessage::Vote));
        }
        self.votes.retain(|_, votes| !votes.is_empty());
        messages
    }

    /// Votes and proposals held.
    pub fn counts(&self) -> (usize, usize) {
        (self.votes.values().map(VecDeque::len).sum(), self.proposals.len())
    }

    /// Seats known to be in a later view.
    pub fn seats(&self) -> impl Iterator<Item = SeatIndex> + '_ {
        self.votes.keys().chain(self.proposals.keys()).copied()
    }
}
