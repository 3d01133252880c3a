//! The newest that each seat was seen to sign, for the seat's own sake: one that comes back
//! from an older copy of its disk learns from the others what it has forgotten (P20).

use crate::Machine;
use std::collections::BTreeMap;
use twinfold_types::{
    Epoch, PublicKey, SeatIndex,
    message::{ConsensusMessage, Signed},
    vote::{Certificate, CheckpointCertificate, CheckpointVote, NewView, ViewChangeHeader, Vote},
};

/// By seat: one vote, one view change, one checkpoint (P18).
#[derive(Clone, Debug, Default)]
pub(crate) struct Newest(BTreeMap<SeatIndex, Signed>);

impl Newest {
    pub fn of(&self, seat: SeatIndex, epoch: Epoch) -> Signed {
        let signed = self.0.get(&seat).cloned().unwrap_or_default();
        Signed { epoch, ..signed }
    }

    /// The caller has verified the signature, here and below.
    pub fn vote(&mut self, vote: &Vote) {
        let newest = &mut self.0.entry(vote.seat).or_default().vote;
        if newest.as_ref().is_none_or(|newest| newest.body.order() < vote.body.order()) {
            *newest = Some(vote.clone());
        }
    }

    pub fn view_change(&mut self, header: &ViewChangeHeader) {
        let newest = &mut self.0.entry(header.seat).or_default().view_change;
        if newest.as_ref().is_none_or(|newest| newest.body.view < header.body.view) {
            *newest = Some(header.clone());
        }
    }

    pub fn checkpoint(&mut self, vote: &CheckpointVote) {
        let newest = &mut self.0.entry(vote.seat).or_default().checkpoint;
        let height = |vote: &CheckpointVote| vote.checkpoint.height;
        if newest.as_ref().is_none_or(|newest| height(newest) < height(vote)) {
            *newest = Some(vote.clone());
        }
    }

    pub fn certificate(&mut self, certificate: &Certificate) {
        for (seat, signature) in &certificate.signatures {
            let (body, seat, signature) = (certificate.body, *seat, *signature);
            self.vote(&Vote { body, seat, signature });
        }
    }

    pub fn new_view(&mut self, new_view: &NewView) {
        new_view.body.headers.iter().for_each(|header| self.view_change(header));
        new_view.body.certificate.iter().for_each(|certificate| self.certificate(certificate));
    }

    pub fn stable(&mut self, certificate: &CheckpointCertificate) {
        for (seat, signature) in &certificate.signatures {
            let checkpoint = certificate.checkpoint.clone();
            self.checkpoint(&CheckpointVote { checkpoint, seat: *seat, signature: *signature });
        }
    }
}

impl Machine {
    /// Tells a seat what it was last seen to sign. Answered whatever this validator itself
    /// still waits for: a committee that starts all at once answers each other.
    pub(crate) fn on_get_signed(&mut self, from: PublicKey) {
        if let Some(seat) = self.committee.seat_of(&from) {
            let signed = Box::new(self.newest.of(seat, self.epoch()));
            self.send(from, ConsensusMessage::Signed(signed));
        }
    }
}
