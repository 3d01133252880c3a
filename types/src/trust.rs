//! A checkpoint that an operator trusts and a new node begins from, as a file: what a quorum
//! signed, and the header of its block, which proves its age.
//!
//! Whoever signed it must still have something to lose. Keys of a committee that is long gone
//! may have been sold and can sign any history, so an old checkpoint proves nothing by itself.
//! The admins may vouch for one beside ([`crate::stated`]).

use crate::{
    Committee, Digest, Header, Height, TimeMs, codec,
    genesis::FORMAT_VERSION,
    handover::{Trail, TrailError},
    key::Verifier,
    recovery::Accepted,
    stated::AdminSignature,
    vote::{CertificateError, CheckpointCertificate},
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedCheckpoint {
    pub format: u32,
    /// Genesis digest.
    pub chain: Digest,
    /// From genesis' committee to the one that signed.
    pub trail: Trail,
    pub certificate: CheckpointCertificate,
    /// Of the checkpoint's block.
    pub header: Header,
    /// Of admins that state it; none where an operator trusts it by hand.
    #[serde(default)]
    pub statements: Vec<AdminSignature>,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TrustError {
    #[error("format {found}; this program reads format {FORMAT_VERSION}")]
    Format { found: u32 },
    #[error("it is of chain {found}, the genesis file of {genesis}")]
    OtherChain { found: Digest, genesis: Digest },
    #[error("its header is that of block {found}, the checkpoint names {named}")]
    OtherBlock { found: Digest, named: Digest },
    #[error("its hand-overs: {0}")]
    Trail(#[from] TrailError),
    #[error("its certificate: {0}")]
    Certificate(#[from] CertificateError),
    #[error(
        "it is {age_ms} ms old and at most {limit_ms} ms are trusted: take a newer one, or say that \
         an old one is meant"
    )]
    Old { age_ms: u64, limit_ms: u64 },
}

impl TrustedCheckpoint {
    pub fn new(
        chain: Digest,
        trail: Trail,
        certificate: CheckpointCertificate,
        header: Header,
    ) -> Self {
        Self { format: FORMAT_VERSION, chain, trail, certificate, header, statements: vec![] }
    }

    pub fn height(&self) -> Height {
        self.certificate.checkpoint.height
    }

    /// What two operators compare: a digest over all that is certified.
    pub fn fingerprint(&self) -> Digest {
        let certified = codec::encode(&(self.chain, &self.certificate.checkpoint));
        Digest::of_bytes(crate::hash::Tag::TrustedCheckpoint, &certified)
    }

    /// A quorum of the committee that genesis' leads to signed it, and the header is its block's.
    pub fn verify(
        &self,
        genesis: &Digest,
        first: &Committee,
        accepted: &Accepted,
        verifier: &dyn Verifier,
    ) -> Result<(), TrustError> {
        if self.format != FORMAT_VERSION {
            return Err(TrustError::Format { found: self.format });
        }
        if self.chain != *genesis {
            return Err(TrustError::OtherChain { found: self.chain, genesis: *genesis });
        }
        let (found, named) = (self.header.digest(), self.certificate.checkpoint.block);
        if found != named {
            return Err(TrustError::OtherBlock { found, named });
        }
        let committee = self.trail.follow(genesis, &first.digest(), accepted, verifier)?;
        Ok(self.certificate.verify(genesis, committee, verifier)?)
    }

    /// Whether it is young enough by this clock.
    pub fn check_age(&self, now: TimeMs, limit_ms: u64) -> Result<(), TrustError> {
        let age_ms = now.0.saturating_sub(self.header.time.0);
        match age_ms <= limit_ms {
            true => Ok(()),
            false => Err(TrustError::Old { age_ms, limit_ms }),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        Epoch, SeatIndex, SecretKey,
        key::{Signer, StrictEd25519},
        quorum::Seat,
        vote::Checkpoint,
    };

    const CHAIN: Digest = Digest([1; 32]);

    fn key(number: u8) -> SecretKey {
        SecretKey::from_seed(&[number; 32])
    }

    fn committee() -> Committee {
        let seat = |n| Seat::of(key(n).public_key(), "o");
        Committee::new(Epoch(0), (0..4).map(seat).collect())
    }

    pub fn trusted() -> TrustedCheckpoint {
        let header = Header {
            chain: CHAIN,
            protocol: crate::limits::PROTOCOL_VERSION,
            epoch: Epoch(0),
            height: Height(9),
            parent: Digest([2; 32]),
            time: TimeMs(1_000),
            body: Digest([3; 32]),
        };
        let checkpoint = Checkpoint {
            epoch: Epoch(0),
            height: Height(9),
            block: header.digest(),
            state_root: Digest([4; 32]),
            audit_size: 0,
            audit_root: Digest([5; 32]),
            next_committee: None,
        };
        let statement = checkpoint.statement(&CHAIN, &committee().digest());
        let sign = |seat: u16| (SeatIndex(seat), key(seat as u8).sign(&statement));
        let certificate =
            CheckpointCertificate { checkpoint, signatures: (0..3).map(sign).collect() };
        let trail = Trail { ended: vec![], committee: committee() };
        TrustedCheckpoint::new(CHAIN, trail, certificate, header)
    }

    fn verify(trusted: &TrustedCheckpoint) -> Result<(), TrustError> {
        trusted.verify(&CHAIN, &committee(), &Accepted::new(), &StrictEd25519)
    }

    #[test]
    fn what_a_quorum_signed_is_taken_and_nothing_else() {
        assert_eq!(verify(&trusted()), Ok(()));
        let mut short = trusted();
        short.certificate.signatures.pop();
        assert!(matches!(verify(&short), Err(TrustError::Certificate(_))));
        let mut other = trusted();
        other.certificate.checkpoint.state_root = Digest([9; 32]);
        assert!(matches!(verify(&other), Err(TrustError::Certificate(_))));
        assert_ne!(other.fingerprint(), trusted().fingerprint());
        let mut younger = trusted();
        younger.header.time = TimeMs(5_000);
        assert!(matches!(verify(&younger), Err(TrustError::OtherBlock { .. })));
        let mut elsewhere = trusted();
        elsewhere.chain = Digest([7; 32]);
        assert!(matches!(verify(&elsewhere), Err(TrustError::OtherChain { .. })));
    }

    #[test]
    fn an_old_one_is_refused_with_its_age() {
        assert_eq!(trusted().check_age(TimeMs(3_000), 2_000), Ok(()));
        let old = TrustError::Old { age_ms: 2_001, limit_ms: 2_000 };
        assert_eq!(trusted().check_age(TimeMs(3_001), 2_000), Err(old));
    }
}
