//! What the committee signs: votes, view changes, new views, checkpoints, and
//! the certificates that a quorum of them makes.

use crate::{
    Committee, Digest, Epoch, Height, SeatIndex, Signature, View,
    key::{Purpose, Statement, Verifier, statement},
};
use serde::{Deserialize, Serialize};

/// Kind of a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum VoteKind {
    PrePrepare,
    Prepare,
    Commit,
}

/// What a vote says. Digest is the block's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct VoteBody {
    pub kind: VoteKind,
    pub epoch: Epoch,
    pub view: View,
    pub height: Height,
    pub digest: Digest,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    pub body: VoteBody,
    pub seat: SeatIndex,
    pub signature: Signature,
}

/// A quorum of equal votes: *prepared* (kind prepare) or *committed* (kind commit).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    pub body: VoteBody,
    /// In ascending order of seats, none twice.
    pub signatures: Vec<(SeatIndex, Signature)>,
}

/// The sender's highest certificate by (view, height), as a view change claims it.
/// `None` for a sender that has none in this epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewChangeBody {
    pub epoch: Epoch,
    /// The view moved to.
    pub view: View,
    pub claim: Option<VoteBody>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewChangeHeader {
    pub body: ViewChangeBody,
    pub seat: SeatIndex,
    pub signature: Signature,
}

/// A view change with the full certificate of its claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewChange {
    pub header: ViewChangeHeader,
    pub certificate: Option<Certificate>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewViewBody {
    pub epoch: Epoch,
    pub view: View,
    /// A quorum of view changes for this view, from distinct seats, ascending.
    pub headers: Vec<ViewChangeHeader>,
    /// The certificate of the highest claim; `None` when nobody claims any.
    pub certificate: Option<Certificate>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewView {
    pub body: NewViewBody,
    /// The leader's.
    pub signature: Signature,
}

/// What a validator says of the state after executing a height: watermark, anchor
/// of state proofs, agreed size and root of the audit log, hand-over of an epoch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Checkpoint {
    pub epoch: Epoch,
    pub height: Height,
    pub block: Digest,
    pub state_root: Digest,
    pub audit_size: u64,
    pub audit_root: Digest,
    /// Digest of the next committee where the height ends an epoch.
    pub next_committee: Option<Digest>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointVote {
    pub checkpoint: Checkpoint,
    pub seat: SeatIndex,
    pub signature: Signature,
}

/// A stable checkpoint: a quorum signed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CheckpointCertificate {
    pub checkpoint: Checkpoint,
    /// In ascending order of seats, none twice.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<(u16, String)>))]
    pub signatures: Vec<(SeatIndex, Signature)>,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CertificateError {
    #[error("of epoch {certificate_epoch}, the committee is of epoch {committee_epoch}")]
    WrongEpoch { certificate_epoch: Epoch, committee_epoch: Epoch },
    #[error("{signatures} signatures, a quorum is {quorum}")]
    NoQuorum { signatures: usize, quorum: usize },
    #[error("seats are not in ascending order or a seat signs twice")]
    SeatOrder,
    #[error("seat {0} does not exist")]
    UnknownSeat(SeatIndex),
    #[error("the signature of seat {0} is wrong")]
    BadSignature(SeatIndex),
}

impl VoteBody {
    pub fn statement(&self, chain: &Digest, committee: &Digest) -> Statement {
        statement(Purpose::Vote, chain, &(committee, self))
    }

    /// In the order in which an honest seat signs inside one epoch, but that a view may
    /// begin below where the last one ended.
    pub fn order(&self) -> (View, Height, VoteKind) {
        (self.view, self.height, self.kind)
    }

    /// Claims compare by (view, height) inside one epoch.
    pub fn rank(&self) -> (View, Height) {
        (self.view, self.height)
    }
}

impl ViewChangeBody {
    pub fn statement(&self, chain: &Digest, committee: &Digest) -> Statement {
        statement(Purpose::ViewChange, chain, &(committee, self))
    }
}

impl NewViewBody {
    pub fn statement(&self, chain: &Digest, committee: &Digest) -> Statement {
        statement(Purpose::NewView, chain, &(committee, self))
    }
}

impl Checkpoint {
    pub fn statement(&self, chain: &Digest, committee: &Digest) -> Statement {
        statement(Purpose::Checkpoint, chain, &(committee, self))
    }
}

impl Certificate {
    /// A quorum of the committee signed the body. The caller knows which kind it needs.
    pub fn verify(
        &self,
        chain: &Digest,
        committee: &Committee,
        verifier: &dyn Verifier,
    ) -> Result<(), CertificateError> {
        let statement = self.body.statement(chain, &committee.digest());
        check_epoch(self.body.epoch, committee)?;
        verify_signatures(&self.signatures, committee.quorum(), &statement, committee, verifier)
    }
}

impl CheckpointCertificate {
    pub fn verify(
        &self,
        chain: &Digest,
        committee: &Committee,
        verifier: &dyn Verifier,
    ) -> Result<(), CertificateError> {
        let statement = self.checkpoint.statement(chain, &committee.digest());
        check_epoch(self.checkpoint.epoch, committee)?;
        verify_signatures(&self.signatures, committee.quorum(), &statement, committee, verifier)
    }
}

fn check_epoch(epoch: Epoch, committee: &Committee) -> Result<(), CertificateError> {
    if epoch != committee.epoch {
        return Err(CertificateError::WrongEpoch {
            certificate_epoch: epoch,
            committee_epoch: committee.epoch,
        });
    }
    Ok(())
}

/// At least `needed` distinct seats, in ascending order, signed the statement.
pub fn verify_signatures(
    signatures: &[(SeatIndex, Signature)],
    needed: usize,
    statement: &Statement,
    committee: &Committee,
    verifier: &dyn Verifier,
) -> Result<(), CertificateError> {
    if signatures.len() < needed || signatures.len() > committee.size() {
        return Err(CertificateError::NoQuorum { signatures: signatures.len(), quorum: needed });
    }
    if !signatures.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(CertificateError::SeatOrder);
    }
    for (seat, signature) in signatures {
        let key = committee.key(*seat).ok_or(CertificateError::UnknownSeat(*seat))?;
        if !verifier.verify(key, statement, signature) {
            return Err(CertificateError::BadSignature(*seat));
        }
    }
    Ok(())
}
