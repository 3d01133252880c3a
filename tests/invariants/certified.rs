//! What an honest node commits rests on commit votes of n − ⌊(n−1)/3⌋ different seats, and each
//! honest one among them did sign and sync its vote.

use std::collections::BTreeSet;
use twinfold_types::{
    SeatIndex,
    vote::{Certificate, VoteBody, VoteKind},
};

#[derive(Default)]
pub struct Certified(BTreeSet<(SeatIndex, VoteBody)>);

impl Certified {
    pub fn synced(&mut self, seat: SeatIndex, vote: VoteBody) {
        self.0.insert((seat, vote));
    }

    pub fn committed(
        &self,
        certificate: &Certificate,
        seats: usize,
        is_honest: impl Fn(SeatIndex) -> bool,
    ) -> Result<(), String> {
        let body = certificate.body;
        let signers = certificate.signatures.iter().map(|(seat, _)| *seat);
        let signers: BTreeSet<SeatIndex> = signers.collect();
        let never = |seat: &&SeatIndex| is_honest(**seat) && !self.0.contains(&(**seat, body));
        if body.kind != VoteKind::Commit || 3 * signers.len() < 2 * seats + 1 {
            return Err(format!("certified: {} seats of {seats} say {body:?}", signers.len()));
        }
        match signers.iter().find(never) {
            Some(seat) => Err(format!("certified: seat {seat} never said {body:?}")),
            None => Ok(()),
        }
    }
}
