//! An honest seat signs one vote of each kind at each (view, height), one view change
//! for each view, and no vote below a view that it has left for good.

use std::collections::BTreeMap;
use twinfold_types::{
    Digest, Epoch, Height, SeatIndex, View,
    vote::{ViewChange, ViewChangeBody, Vote, VoteBody, VoteKind},
};

#[derive(Default)]
pub struct SingleVote {
    votes: BTreeMap<(SeatIndex, Epoch, VoteKind, View, Height), Digest>,
    changes: BTreeMap<(SeatIndex, Epoch, View), ViewChangeBody>,
    left: BTreeMap<(SeatIndex, Epoch), View>,
}

impl SingleVote {
    /// A vote that an honest node synced or said, perhaps not for the first time.
    pub fn signed(&mut self, vote: &Vote) -> Result<(), String> {
        let VoteBody { kind, epoch, view, height, digest } = vote.body;
        let key = (vote.seat, epoch, kind, view, height);
        match self.votes.get(&key) {
            Some(first) if *first != digest => {
                Err(format!("single vote: {key:?} is signed for {first:?} and {digest:?}"))
            }
            None if self.left.get(&(vote.seat, epoch)).is_some_and(|left| *left > view) => {
                Err(format!("single vote: {key:?} after a view change for {:?}", self.left))
            }
            _ => {
                self.votes.insert(key, digest);
                Ok(())
            }
        }
    }

    pub fn changed(&mut self, change: &ViewChange) -> Result<(), String> {
        let (seat, body) = (change.header.seat, change.header.body.clone());
        let first =
            self.changes.entry((seat, body.epoch, body.view)).or_insert_with(|| body.clone());
        if *first != body {
            return Err(format!("single vote: seat {seat} signed {first:?} and {body:?}"));
        }
        let left = self.left.entry((seat, body.epoch)).or_default();
        *left = body.view.max(*left);
        Ok(())
    }
}
