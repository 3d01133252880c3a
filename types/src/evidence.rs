//! Proof that a seat signed what an honest one never signs: two statements that exclude one
//! another. Whoever holds both can show them; the signatures say whose they are.

use crate::{
    Committee, Digest, Epoch, SeatIndex,
    key::{Statement, Verifier},
    round::SignedFoldResult,
    vote::{CheckpointVote, ViewChangeHeader, Vote, VoteKind},
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Evidence {
    /// Two votes (or proposals) of one kind at one (epoch, view, height).
    Votes(Box<Vote>, Box<Vote>),
    /// Two view changes for one view.
    ViewChanges(Box<ViewChangeHeader>, Box<ViewChangeHeader>),
    /// A commit, and a view change for a later view that claims less.
    Claim(Box<Vote>, Box<ViewChangeHeader>),
    /// Two checkpoints at one height.
    Checkpoints(Box<CheckpointVote>, Box<CheckpointVote>),
    /// A fold result other than the one that the ledger holds for the job: f+1 seats signed
    /// that, and folding it again shows who is right.
    Result { epoch: Epoch, signed: Box<SignedFoldResult> },
}

/// What kind of fault evidence shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Offence {
    /// Two statements of which an honest seat signs one.
    Equivocation,
    /// A wrong fold result.
    WrongResult,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    #[error("of epoch {evidence}, the committee is of epoch {committee}")]
    OtherEpoch { evidence: Epoch, committee: Epoch },
    #[error("the two statements are of different seats")]
    OtherSeat,
    #[error("the two statements do not exclude one another")]
    NoConflict,
    #[error("seat {0} does not exist")]
    UnknownSeat(SeatIndex),
    #[error("a signature of seat {0} is wrong")]
    BadSignature(SeatIndex),
}

impl Evidence {
    /// Epoch and seat of whom it accuses.
    pub fn accused(&self) -> (Epoch, SeatIndex) {
        match self {
            Evidence::Votes(one, _) | Evidence::Claim(one, _) => (one.body.epoch, one.seat),
            Evidence::ViewChanges(one, _) => (one.body.epoch, one.seat),
            Evidence::Checkpoints(one, _) => (one.checkpoint.epoch, one.seat),
            Evidence::Result { epoch, signed } => (*epoch, signed.seat),
        }
    }

    pub fn offence(&self) -> Offence {
        match self {
            Evidence::Result { .. } => Offence::WrongResult,
            _ => Offence::Equivocation,
        }
    }

    /// Both statements are of one seat of this committee and exclude one another. For a fold
    /// result only that the seat signed it: what it must be compared with stands in the state.
    pub fn check(
        &self,
        chain: &Digest,
        committee: &Committee,
        verifier: &dyn Verifier,
    ) -> Result<(), EvidenceError> {
        let (epoch, seat) = self.accused();
        if epoch != committee.epoch {
            return Err(EvidenceError::OtherEpoch { evidence: epoch, committee: committee.epoch });
        }
        self.conflict()?;
        let key = committee.key(seat).ok_or(EvidenceError::UnknownSeat(seat))?;
        let signed = self.statements(chain, &committee.digest());
        match signed.iter().all(|(said, signature)| verifier.verify(key, said, signature)) {
            true => Ok(()),
            false => Err(EvidenceError::BadSignature(seat)),
        }
    }

    fn conflict(&self) -> Result<(), EvidenceError> {
        let (same_seat, exclusive) = match self {
            Evidence::Votes(one, other) => {
                let (a, b) = (&one.body, &other.body);
                let place =
                    |body: &crate::vote::VoteBody| (body.kind, body.epoch, body.view, body.height);
                (one.seat == other.seat, place(a) == place(b) && a.digest != b.digest)
            }
            Evidence::ViewChanges(one, other) => {
                let (a, b) = (&one.body, &other.body);
                (one.seat == other.seat, (a.epoch, a.view) == (b.epoch, b.view) && a != b)
            }
            Evidence::Claim(vote, change) => {
                let (vote_body, change_body) = (&vote.body, &change.body);
                let less = change_body.claim.is_none_or(|claim| claim.rank() < vote_body.rank());
                let left = vote_body.epoch == change_body.epoch
                    && vote_body.kind == VoteKind::Commit
                    && vote_body.view < change_body.view;
                (vote.seat == change.seat, left && less)
            }
            Evidence::Checkpoints(one, other) => {
                let (a, b) = (&one.checkpoint, &other.checkpoint);
                (one.seat == other.seat, (a.epoch, a.height) == (b.epoch, b.height) && a != b)
            }
            Evidence::Result { .. } => (true, true),
        };
        match (same_seat, exclusive) {
            (false, _) => Err(EvidenceError::OtherSeat),
            (_, false) => Err(EvidenceError::NoConflict),
            _ => Ok(()),
        }
    }

    fn statements(&self, chain: &Digest, committee: &Digest) -> Vec<(Statement, crate::Signature)> {
        let vote = |vote: &Vote| (vote.body.statement(chain, committee), vote.signature);
        let change =
            |header: &ViewChangeHeader| (header.body.statement(chain, committee), header.signature);
        let checkpoint =
            |vote: &CheckpointVote| (vote.checkpoint.statement(chain, committee), vote.signature);
        match self {
            Evidence::Votes(one, other) => vec![vote(one), vote(other)],
            Evidence::ViewChanges(one, other) => vec![change(one), change(other)],
            Evidence::Claim(one, other) => vec![vote(one), change(other)],
            Evidence::Checkpoints(one, other) => vec![checkpoint(one), checkpoint(other)],
            Evidence::Result { signed, .. } => {
                vec![(signed.result.statement(chain, committee), signed.signature)]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Height, SecretKey, View,
        key::{Signer, StrictEd25519},
        quorum::Seat,
        vote::{ViewChangeBody, VoteBody},
    };

    const CHAIN: Digest = Digest([9; 32]);

    fn keys() -> Vec<SecretKey> {
        (1..=4).map(|number| SecretKey::from_seed(&[number; 32])).collect()
    }

    fn committee() -> Committee {
        let seat = |key: &SecretKey| Seat::of(key.public_key(), "o");
        Committee::new(Epoch(3), keys().iter().map(seat).collect())
    }

    fn vote(seat: u16, kind: VoteKind, view: u64, digest: u8) -> Box<Vote> {
        let digest = Digest([digest; 32]);
        let body = VoteBody { kind, epoch: Epoch(3), view: View(view), height: Height(7), digest };
        let statement = body.statement(&CHAIN, &committee().digest());
        let signature = keys()[usize::from(seat)].sign(&statement);
        Box::new(Vote { body, seat: SeatIndex(seat), signature })
    }

    fn change(seat: u16, view: u64, claim: Option<VoteBody>) -> Box<ViewChangeHeader> {
        let body = ViewChangeBody { epoch: Epoch(3), view: View(view), claim };
        let signature =
            keys()[usize::from(seat)].sign(&body.statement(&CHAIN, &committee().digest()));
        Box::new(ViewChangeHeader { body, seat: SeatIndex(seat), signature })
    }

    fn check(evidence: Evidence) -> Result<(), EvidenceError> {
        evidence.check(&CHAIN, &committee(), &StrictEd25519)
    }

    #[test]
    fn two_votes_of_a_kind_at_one_place_convict_and_nothing_less_does() {
        use VoteKind::{Commit, Prepare};
        let votes = |one, other| check(Evidence::Votes(one, other));
        assert_eq!(votes(vote(1, Commit, 2, 1), vote(1, Commit, 2, 2)), Ok(()));
        let innocent = Err(EvidenceError::NoConflict);
        assert_eq!(votes(vote(1, Commit, 2, 1), vote(1, Commit, 2, 1)), innocent);
        assert_eq!(votes(vote(1, Commit, 2, 1), vote(1, Commit, 3, 2)), innocent);
        assert_eq!(votes(vote(1, Commit, 2, 1), vote(1, Prepare, 2, 2)), innocent);
        let other_seat = Err(EvidenceError::OtherSeat);
        assert_eq!(votes(vote(1, Commit, 2, 1), vote(2, Commit, 2, 2)), other_seat);
        let mut forged = vote(1, Commit, 2, 2);
        forged.signature = vote(1, Commit, 2, 1).signature;
        assert_eq!(
            votes(vote(1, Commit, 2, 1), forged),
            Err(EvidenceError::BadSignature(SeatIndex(1)))
        );
    }

    #[test]
    fn a_view_change_that_claims_less_than_an_earlier_commit_convicts() {
        let commit = || vote(1, VoteKind::Commit, 2, 1);
        let claim = |claim| check(Evidence::Claim(commit(), change(1, 5, claim)));
        assert_eq!(claim(None), Ok(()));
        let lower = VoteBody { view: View(1), ..commit().body };
        assert_eq!(claim(Some(lower)), Ok(()));
        assert_eq!(claim(Some(commit().body)), Err(EvidenceError::NoConflict));
        let before = check(Evidence::Claim(commit(), change(1, 2, None)));
        assert_eq!(before, Err(EvidenceError::NoConflict), "the commit may have come after");
    }

    #[test]
    fn evidence_is_of_one_epoch() {
        let evidence = Evidence::ViewChanges(change(0, 4, None), change(0, 4, None));
        let later = Committee { epoch: Epoch(4), ..committee() };
        assert!(matches!(
            evidence.check(&CHAIN, &later, &StrictEd25519),
            Err(EvidenceError::OtherEpoch { .. })
        ));
    }
}
