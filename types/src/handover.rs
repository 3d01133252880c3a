//! From a committee that is trusted to a later one, without a block in between: the checkpoint
//! of an epoch's last height names the next committee by digest, and a quorum of the epoch's
//! committee signed it. So a client that holds the genesis file follows the committees one by
//! one, and needs a committee and a certificate for each epoch that has ended. Where the admins
//! ended one because no quorum was left, it follows only what it was told to accept.

use crate::{
    Committee, Digest, Epoch, Height,
    key::Verifier,
    recovery::{Accepted, Recovery, RecoveryError},
    vote::{CertificateError, CheckpointCertificate},
};
use serde::{Deserialize, Serialize};

/// The end of an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Handover {
    /// Of the epoch that ends.
    pub committee: Committee,
    pub end: EpochEnd,
}

/// What ended an epoch, and names the committee that follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum EpochEnd {
    /// The checkpoint of its last height.
    Checkpoint(CheckpointCertificate),
    /// The admins, after more than f of its seats were lost for good.
    Recovery(Box<Recovery>),
}

impl EpochEnd {
    /// The epoch's last height.
    pub fn height(&self) -> Height {
        match self {
            EpochEnd::Checkpoint(certificate) => certificate.checkpoint.height,
            EpochEnd::Recovery(recovery) => recovery.statement.kept.height,
        }
    }
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
    #[error("epoch {epoch} stands where epoch {due} is due")]
    Order { epoch: Epoch, due: Epoch },
    #[error("the checkpoint of epoch {epoch} names no next committee")]
    NotTheEnd { epoch: Epoch },
    #[error("the end of epoch {epoch}: {reason}")]
    Certificate { epoch: Epoch, reason: CertificateError },
    #[error("the recovery after epoch {epoch}: {reason}")]
    Recovery { epoch: Epoch, reason: RecoveryError },
    #[error("the recovery after epoch {epoch} replaces committee {found}, not {expected}")]
    OtherRecovery { epoch: Epoch, found: Digest, expected: Digest },
    #[error(
        "the chain lost too many validators in epoch {epoch} and goes on from height {height} by a \
         recovery that its admins signed, {digest}: nothing but their word proves what follows. \
         Compare this digest with what the operators announced, then give --accept-recovery {digest} \
         (a node: `twinfold-node recover accept`)"
    )]
    NotAccepted { epoch: Epoch, height: Height, digest: Digest },
}

impl Trail {
    /// Goes from the committee whose digest is trusted to the last one. Each end is checked
    /// against its own committee, and each committee against the digest that the end before it
    /// names.
    pub fn follow(
        &self,
        chain: &Digest,
        trusted: &Digest,
        accepted: &Accepted,
        verifier: &dyn Verifier,
    ) -> Result<&Committee, TrailError> {
        let mut expected = *trusted;
        let mut epoch: Option<Epoch> = None;
        for Handover { committee, end } in &self.ended {
            check_committee(committee, &expected, epoch)?;
            (expected, epoch) = match end {
                EpochEnd::Checkpoint(certificate) => {
                    let next = elected(certificate, chain, committee, verifier)?;
                    (next, Some(committee.epoch.next()))
                }
                EpochEnd::Recovery(recovery) => {
                    check_recovery(recovery, chain, committee, accepted, verifier)?;
                    let next = &recovery.statement.committee;
                    (next.digest(), Some(next.epoch))
                }
            };
        }
        check_committee(&self.committee, &expected, epoch)?;
        Ok(&self.committee)
    }
}

/// The next committee as a quorum of an epoch's own certified it.
fn elected(
    end: &CheckpointCertificate,
    chain: &Digest,
    committee: &Committee,
    verifier: &dyn Verifier,
) -> Result<Digest, TrailError> {
    let epoch = committee.epoch;
    end.verify(chain, committee, verifier)
        .map_err(|reason| TrailError::Certificate { epoch, reason })?;
    end.checkpoint.next_committee.ok_or(TrailError::NotTheEnd { epoch })
}

/// Whether a recovery is of this committee, signed, and accepted by whoever follows.
fn check_recovery(
    recovery: &Recovery,
    chain: &Digest,
    committee: &Committee,
    accepted: &Accepted,
    verifier: &dyn Verifier,
) -> Result<(), TrailError> {
    let (epoch, statement) = (committee.epoch, &recovery.statement);
    recovery.verify(chain, verifier).map_err(|reason| TrailError::Recovery { epoch, reason })?;
    let (found, expected) = (statement.ended, committee.digest());
    if found != expected {
        return Err(TrailError::OtherRecovery { epoch, found, expected });
    }
    let (height, digest) = (statement.kept.height, statement.digest());
    match accepted.contains(&digest) {
        true => Ok(()),
        false => Err(TrailError::NotAccepted { epoch, height, digest }),
    }
}

fn check_committee(
    committee: &Committee,
    expected: &Digest,
    due: Option<Epoch>,
) -> Result<(), TrailError> {
    let (epoch, found) = (committee.epoch, committee.digest());
    if found != *expected {
        return Err(TrailError::OtherCommittee { epoch, found, expected: *expected });
    }
    match due {
        Some(due) if epoch != due => Err(TrailError::Order { epoch, due }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        SeatIndex, SecretKey, Signature, TimeMs,
        genesis::FORMAT_VERSION,
        key::{Signer, StrictEd25519},
        quorum::Seat,
        recovery::RecoveryStatement,
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
            end: EpochEnd::Checkpoint(end(epoch, Some(committee(epoch + 1).digest()))),
        };
        Trail { ended: (0..3).map(link).collect(), committee: committee(3) }
    }

    fn certificate(trail: &mut Trail, at: usize) -> &mut CheckpointCertificate {
        match &mut trail.ended[at].end {
            EpochEnd::Checkpoint(certificate) => certificate,
            EpochEnd::Recovery(_) => panic!("an elected hand-over"),
        }
    }

    fn follow(trail: &Trail) -> Result<&Committee, TrailError> {
        trail.follow(&CHAIN, &committee(0).digest(), &Accepted::new(), &StrictEd25519)
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
        certificate(&mut unsigned, 1).signatures.pop();
        assert!(matches!(follow(&unsigned), Err(TrailError::Certificate { .. })));

        let mut renamed = trail();
        let named = Some(committee(8).digest());
        certificate(&mut renamed, 2).checkpoint.next_committee = named;
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
        middle.ended[2].end = EpochEnd::Checkpoint(end(2, None));
        assert_eq!(follow(&middle), Err(TrailError::NotTheEnd { epoch: Epoch(2) }));
    }

    #[test]
    fn a_trail_of_another_chain_or_from_another_start_is_refused() {
        let trail = trail();
        let none = Accepted::new();
        let other = trail.follow(&Digest([8; 32]), &committee(0).digest(), &none, &StrictEd25519);
        assert!(matches!(other, Err(TrailError::Certificate { .. })));
        let start = trail.follow(&CHAIN, &committee(1).digest(), &none, &StrictEd25519);
        assert!(matches!(start, Err(TrailError::OtherCommittee { .. })));
    }

    /// Epoch 1 was never ended by its committee; the admins go on with that of epoch 3.
    fn recovered() -> (Trail, Digest) {
        let admins = vec![key(50).public_key()];
        let Checkpoint { height, .. } = end(1, None).checkpoint;
        let statement = RecoveryStatement {
            format: FORMAT_VERSION,
            chain: CHAIN,
            kept: end(1, None).checkpoint,
            ended: committee(1).digest(),
            committee: Committee { anchor: height, ..committee(3) },
            admins,
            threshold: 1,
            time: TimeMs(7),
        };
        let mut recovery = Recovery::unsigned(statement);
        recovery.sign(&key(50)).unwrap();
        let (digest, last) = (recovery.digest(), recovery.statement.committee.clone());
        let mut trail = Trail { committee: last, ..trail() };
        trail.ended.truncate(2);
        trail.ended[1].end = EpochEnd::Recovery(Box::new(recovery));
        (trail, digest)
    }

    #[test]
    fn a_recovery_is_followed_only_by_who_accepted_that_very_one() {
        let (trail, digest) = recovered();
        let refused = follow(&trail).unwrap_err();
        let height = Height(20);
        assert_eq!(refused, TrailError::NotAccepted { epoch: Epoch(1), height, digest });
        assert!(refused.to_string().contains(&format!("--accept-recovery {digest}")));
        let accepted = |digest| Accepted::from([digest]);
        let first = committee(0).digest();
        let with = |digest| trail.follow(&CHAIN, &first, &accepted(digest), &StrictEd25519);
        assert_eq!(with(digest), Ok(&trail.committee));
        assert!(matches!(with(Digest([6; 32])), Err(TrailError::NotAccepted { .. })));
    }

    #[test]
    fn a_recovery_that_few_signed_or_of_another_committee_leads_nowhere() {
        let (mut unsigned, digest) = recovered();
        let EpochEnd::Recovery(recovery) = &mut unsigned.ended[1].end else { panic!() };
        recovery.signatures.clear();
        let (first, accepted) = (committee(0).digest(), Accepted::from([digest]));
        let followed = unsigned.follow(&CHAIN, &first, &accepted, &StrictEd25519);
        assert!(matches!(followed, Err(TrailError::Recovery { .. })));

        let (mut moved, digest) = recovered();
        moved.ended.remove(0);
        moved.ended[0].committee = committee(0);
        let accepted = Accepted::from([digest]);
        let followed = moved.follow(&CHAIN, &first, &accepted, &StrictEd25519);
        assert!(matches!(followed, Err(TrailError::OtherRecovery { .. })));
    }
}
