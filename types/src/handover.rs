//! From a committee that is trusted to a later one, without a block in between: the checkpoint
//! of an epoch's last height names the next committee by digest, and a quorum of the epoch's
//! committee signed it. So a client that holds the genesis file follows the committees one by
//! one, and needs a committee and a certificate for each epoch that has ended.

use crate::{
    Committee, Digest, Epoch,
    key::Verifier,
    vote::{CertificateError, CheckpointCertificate},
};
use serde::{Deserialize, Serialize};

/// The end of an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Handover {
    /// Of the epoch that ends.
    pub committee: Committee,
    /// The checkpoint of its last height.
    pub end: CheckpointCertificate,
}

/// The hand-overs from one committee to another, in order, and the last committee, whose epoch
/// may still run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Trail {
    pub ended: Vec<Handover>,
    pub committee: Committee,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TrailError {
    #[error("the committee of epoch {epoch} is {found}, expected {expected}")]
    OtherCommittee { epoch: Epoch, found: Digest, expected: Digest },
    #[error("epoch {epoch} follows epoch {before}")]
    Order { epoch: Epoch, before: Epoch },
    #[error("the checkpoint of epoch {epoch} names no next committee")]
    NotTheEnd { epoch: Epoch },
    #[error("the end of epoch {epoch}: {reason}")]
    Certificate { epoch: Epoch, reason: CertificateError },
}

impl Trail {
    /// Goes from the committee whose digest is trusted to the last one. Each end is checked
    /// against its own committee, and each committee against the digest that the end before it
    /// names.
    pub fn follow(
        &self,
        chain: &Digest,
        trusted: &Digest,
        verifier: &dyn Verifier,
    ) -> Result<&Committee, TrailError> {
        let mut expected = *trusted;
        let mut before: Option<Epoch> = None;
        for Handover { committee, end } in &self.ended {
            check_committee(committee, &expected, before)?;
            let epoch = committee.epoch;
            end.verify(chain, committee, verifier)
                .map_err(|reason| TrailError::Certificate { epoch, reason })?;
            expected = end.checkpoint.next_committee.ok_or(TrailError::NotTheEnd { epoch })?;
            before = Some(epoch);
        }
        check_committee(&self.committee, &expected, before)?;
        Ok(&self.committee)
    }
}

fn check_committee(
    committee: &Committee,
    expected: &Digest,
    before: Option<Epoch>,
) -> Result<(), TrailError> {
    let (epoch, found) = (committee.epoch, committee.digest());
    if found != *expected {
        return Err(TrailError::OtherCommittee { epoch, found, expected: *expected });
    }
    match before {
        Some(before) if epoch != before.next() => Err(TrailError::Order { epoch, before }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Height, SeatIndex, SecretKey, Signature,
        key::{Signer, StrictEd25519},
        quorum::Seat,
        vote::Checkpoint,
    };

    const CHAIN: Digest = Digest([9; 32]);

    fn key(number: u8) -> SecretKey {
        SecretKey::from_seed(&[number; 32])
    }

    /// Seats of epoch e are e+1 … e+4: one goes and one comes at each end.
    fn committee(epoch: u8) -> Committee {
        let seats = (1..=4).map(|i| Seat::of(key(epoch + i).public_key(), "o")).collect();
        Committee::new(Epoch(u64::from(epoch)), seats)
    }

    fn end(epoch: u8, next: Option<Digest>) -> CheckpointCertificate {
        let digest = Digest([epoch; 32]);
        let checkpoint = Checkpoint {
            epoch: Epoch(u64::from(epoch)),
            height: Height(10 * (u64::from(epoch) + 1)),
            block: digest,
            state_root: digest,
            audit_size: 0,
            audit_root: digest,
            next_committee: next,
        };
        let statement = checkpoint.statement(&CHAIN, &committee(epoch).digest());
        let sign = |seat: u16| {
            let signature: Signature = key(epoch + 1 + seat as u8).sign(&statement);
            (SeatIndex(seat), signature)
        };
        CheckpointCertificate { checkpoint, signatures: (0..3).map(sign).collect() }
    }

    fn trail() -> Trail {
        let link = |epoch: u8| Handover {
            committee: committee(epoch),
            end: end(epoch, Some(committee(epoch + 1).digest())),
        };
        Trail { ended: (0..3).map(link).collect(), committee: committee(3) }
    }

    fn follow(trail: &Trail) -> Result<&Committee, TrailError> {
        trail.follow(&CHAIN, &committee(0).digest(), &StrictEd25519)
    }

    #[test]
    fn a_trail_leads_from_the_first_committee_to_the_last() {
        assert_eq!(follow(&trail()), Ok(&committee(3)));
        let none = Trail { ended: vec![], committee: committee(0) };
        assert_eq!(follow(&none), Ok(&committee(0)), "an epoch that runs needs no hand-over");
    }

    #[test]
    fn a_forged_link_leads_nowhere() {
        let mut stranger = trail();
        stranger.ended[1].committee.seats[0] = Seat::of(key(99).public_key(), "o");
        assert!(matches!(follow(&stranger), Err(TrailError::OtherCommittee { .. })));

        let mut unsigned = trail();
        unsigned.ended[1].end.signatures.pop();
        assert!(matches!(follow(&unsigned), Err(TrailError::Certificate { .. })));

        let mut renamed = trail();
        renamed.ended[2].end.checkpoint.next_committee = Some(committee(8).digest());
        renamed.committee = committee(8);
        assert!(matches!(follow(&renamed), Err(TrailError::Certificate { .. })));

        let mut last = trail();
        last.committee = committee(4);
        assert!(matches!(follow(&last), Err(TrailError::OtherCommittee { .. })));
    }

    #[test]
    fn a_link_that_is_missing_doubled_or_no_end_is_refused() {
        let mut missing = trail();
        missing.ended.remove(1);
        assert!(matches!(follow(&missing), Err(TrailError::OtherCommittee { .. })));
        let mut doubled = trail();
        doubled.ended.insert(1, doubled.ended[1].clone());
        assert!(matches!(follow(&doubled), Err(TrailError::OtherCommittee { .. })));
        let mut middle = trail();
        middle.ended[2].end = end(2, None);
        assert_eq!(follow(&middle), Err(TrailError::NotTheEnd { epoch: Epoch(2) }));
    }

    #[test]
    fn a_trail_of_another_chain_or_from_another_start_is_refused() {
        let trail = trail();
        let other = trail.follow(&Digest([8; 32]), &committee(0).digest(), &StrictEd25519);
        assert!(matches!(other, Err(TrailError::Certificate { .. })));
        let start = trail.follow(&CHAIN, &committee(1).digest(), &StrictEd25519);
        assert!(matches!(start, Err(TrailError::OtherCommittee { .. })));
    }
}
