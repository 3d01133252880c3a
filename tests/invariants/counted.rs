//! An honest seat counts its own vote only when the vote was synced in an earlier turn.

use std::collections::BTreeSet;
use twinfold_types::{
    SeatIndex,
    vote::{Certificate, VoteBody},
};

#[derive(Default)]
pub struct Counted(BTreeSet<(SeatIndex, VoteBody)>);

impl Counted {
    /// A turn of this seat made or took a certificate, before the turn's sync.
    pub fn made(&self, seat: SeatIndex, certificate: &Certificate) -> Result<(), String> {
        let own = certificate.signatures.iter().any(|(signer, _)| *signer == seat);
        if own && !self.0.contains(&(seat, certificate.body)) {
            return Err(format!(
                "counted: seat {seat} counts its vote for {:?} before its sync",
                certificate.body
            ));
        }
        Ok(())
    }

    pub fn synced(&mut self, seat: SeatIndex, vote: VoteBody) {
        self.0.insert((seat, vote));
    }
}
