//! The restart of a chain that lost more than f validators for good: no quorum can end the
//! epoch any more, so m of the admins do it in its place. They name the height that is kept and
//! the committee that goes on from it. No node and no client follows on their word alone: each
//! operator accepts the very statement, by its digest.

use crate::{
    Committee, Digest, Epoch, Height, PublicKey, SeatIndex, Signature, TimeMs,
    genesis::FORMAT_VERSION,
    hash::Tag,
    key::{Purpose, Signer, Statement, Verifier, statement},
    limits,
    vote::Checkpoint,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Digests of the statements that somebody accepted.
pub type Accepted = BTreeSet<Digest>;

/// What the admins sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RecoveryStatement {
    pub format: u32,
    /// Genesis digest.
    pub chain: Digest,
    /// The last height that is kept, as everyone who executed it has it. Nobody's signature is
    /// under it any more: the chain of blocks up to it is certified, and each node compares.
    pub kept: Checkpoint,
    /// Digest of the committee of that height's epoch, which orders nothing any more.
    pub ended: Digest,
    /// Who goes on from the next height.
    pub committee: Committee,
    /// The admins in the state of the kept height, in ascending order, and how many must sign.
    pub admins: Vec<PublicKey>,
    pub threshold: u32,
    /// When it was made: the new epoch's end counts from it.
    pub time: TimeMs,
}

/// A statement with the admins' signatures so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Recovery {
    pub statement: RecoveryStatement,
    /// In ascending order of keys, none twice.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<(String, String)>))]
    pub signatures: Vec<(PublicKey, Signature)>,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RecoveryError {
    #[error("format {found}; this program reads format {FORMAT_VERSION}")]
    Format { found: u32 },
    #[error("it is of chain {found}, this is chain {expected}")]
    OtherChain { found: Digest, expected: Digest },
    #[error(
        "its list of admins is empty, not in order, or shorter than the {threshold} who must sign"
    )]
    Admins { threshold: u32 },
    #[error("its committee of {seats} seats is none: {reason}")]
    Committee { seats: usize, reason: &'static str },
    #[error("its epoch {epoch} does not follow epoch {kept}")]
    Epoch { epoch: Epoch, kept: Epoch },
    #[error(
        "its epoch {epoch} is more than {} above epoch {kept}: name one near it",
        limits::RECOVERY_EPOCHS_MAX
    )]
    EpochFar { epoch: Epoch, kept: Epoch },
    #[error("its committee begins above height {anchor}, it keeps height {kept}")]
    Anchor { anchor: Height, kept: Height },
    #[error(
        "{found} of {needed} admins have signed: let others sign it (`twinfold recovery sign FILE`)"
    )]
    TooFew { found: usize, needed: u32 },
    #[error("its signatures are not in order, or one is there twice")]
    Order,
    #[error("{0} signed it and is none of its admins")]
    NoAdmin(PublicKey),
    #[error("the signature of {0} is wrong")]
    BadSignature(PublicKey),
    #[error("{0} has signed it already")]
    Signed(PublicKey),
}

impl RecoveryStatement {
    /// What operators compare and accept. Whoever signs adds nothing to it.
    pub fn digest(&self) -> Digest {
        Digest::of(Tag::Recovery, self)
    }

    /// What an admin signs.
    pub fn signed(&self) -> Statement {
        statement(Purpose::Recovery, &self.chain, self)
    }

    /// Whether it makes sense by itself, on this chain.
    pub fn check(&self, chain: &Digest) -> Result<(), RecoveryError> {
        if self.format != FORMAT_VERSION {
            return Err(RecoveryError::Format { found: self.format });
        }
        if self.chain != *chain {
            return Err(RecoveryError::OtherChain { found: self.chain, expected: *chain });
        }
        let (threshold, admins) = (self.threshold, &self.admins);
        let enough = threshold > 0 && admins.len() >= threshold as usize;
        if !enough || admins.len() > limits::MEMBERS_MAX || !admins.is_sorted_by(|a, b| a < b) {
            return Err(RecoveryError::Admins { threshold });
        }
        let (epoch, kept) = (self.committee.epoch, self.kept.epoch);
        if epoch <= kept {
            return Err(RecoveryError::Epoch { epoch, kept });
        }
        if epoch.0 - kept.0 > limits::RECOVERY_EPOCHS_MAX {
            return Err(RecoveryError::EpochFar { epoch, kept });
        }
        let (anchor, kept) = (self.committee.anchor, self.kept.height);
        if anchor != kept {
            return Err(RecoveryError::Anchor { anchor, kept });
        }
        check_seats(&self.committee)
    }
}

fn check_seats(committee: &Committee) -> Result<(), RecoveryError> {
    let seats = committee.size();
    let wrong = |reason| Err(RecoveryError::Committee { seats, reason });
    if seats == 0 || seats > limits::SEATS_MAX {
        return wrong("1 to 100 may sit");
    }
    let holders: BTreeSet<_> = committee.seats.iter().map(|seat| seat.validator).collect();
    let keys: BTreeSet<_> = committee.seats.iter().map(|seat| seat.key).collect();
    if holders.len() != seats || keys.len() != seats {
        return wrong("a member or a key has two seats");
    }
    let mut order: Vec<SeatIndex> = committee.order.clone();
    order.sort_unstable();
    match order.into_iter().eq(committee.seat_indices()) {
        true => Ok(()),
        false => wrong("not every seat leads once"),
    }
}

impl Recovery {
    pub fn unsigned(statement: RecoveryStatement) -> Self {
        Self { statement, signatures: vec![] }
    }

    pub fn digest(&self) -> Digest {
        self.statement.digest()
    }

    /// Adds an admin's signature.
    pub fn sign(&mut self, signer: &dyn Signer) -> Result<(), RecoveryError> {
        let key = signer.public_key();
        if self.statement.admins.binary_search(&key).is_err() {
            return Err(RecoveryError::NoAdmin(key));
        }
        match self.signatures.binary_search_by_key(&key, |(key, _)| *key) {
            Ok(_) => Err(RecoveryError::Signed(key)),
            Err(place) => {
                let signature = signer.sign(&self.statement.signed());
                self.signatures.insert(place, (key, signature));
                Ok(())
            }
        }
    }

    /// Whether enough of the admins that it names signed a statement that makes sense, and
    /// nobody else did. Whether those are the admins is for whoever has the state, and whether
    /// to follow for whoever accepts.
    pub fn verify(&self, chain: &Digest, verifier: &dyn Verifier) -> Result<(), RecoveryError> {
        self.verify_signed(chain, verifier)?;
        let (found, needed) = (self.signatures.len(), self.statement.threshold);
        match found >= needed as usize {
            true => Ok(()),
            false => Err(RecoveryError::TooFew { found, needed }),
        }
    }

    /// The same with as many signatures as there are so far.
    pub fn verify_signed(
        &self,
        chain: &Digest,
        verifier: &dyn Verifier,
    ) -> Result<(), RecoveryError> {
        self.statement.check(chain)?;
        if !self.signatures.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(RecoveryError::Order);
        }
        let signed = self.statement.signed();
        for (key, signature) in &self.signatures {
            if self.statement.admins.binary_search(key).is_err() {
                return Err(RecoveryError::NoAdmin(*key));
            }
            if !verifier.verify(key, &signed, signature) {
                return Err(RecoveryError::BadSignature(*key));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SecretKey, key::StrictEd25519, quorum::Seat};

    const CHAIN: Digest = Digest([9; 32]);

    fn key(number: u8) -> SecretKey {
        SecretKey::from_seed(&[number; 32])
    }

    fn statement() -> RecoveryStatement {
        let seats = (3..7).map(|i| Seat::of(key(i).public_key(), "o")).collect();
        let committee = Committee { anchor: Height(40), ..Committee::new(Epoch(3), seats) };
        let kept = Checkpoint {
            epoch: Epoch(2),
            height: Height(40),
            block: Digest([1; 32]),
            state_root: Digest([2; 32]),
            audit_size: 7,
            audit_root: Digest([3; 32]),
            next_committee: None,
        };
        let mut admins: Vec<_> = (20..23).map(|i| key(i).public_key()).collect();
        admins.sort_unstable();
        let (format, ended, time) = (FORMAT_VERSION, Digest([4; 32]), TimeMs(5_000));
        RecoveryStatement {
            format,
            chain: CHAIN,
            kept,
            ended,
            committee,
            admins,
            threshold: 2,
            time,
        }
    }

    fn signed(by: &[u8]) -> Recovery {
        let mut recovery = Recovery::unsigned(statement());
        by.iter().for_each(|number| recovery.sign(&key(*number)).unwrap());
        recovery
    }

    fn verify(recovery: &Recovery) -> Result<(), RecoveryError> {
        recovery.verify(&CHAIN, &StrictEd25519)
    }

    #[test]
    fn two_of_three_admins_are_enough_in_whatever_order_they_signed() {
        assert_eq!(verify(&signed(&[22, 20])), Ok(()));
        assert_eq!(verify(&signed(&[20, 21, 22])), Ok(()));
        assert_eq!(signed(&[20]).digest(), signed(&[21, 22]).digest(), "signing adds nothing");
    }

    #[test]
    fn one_admin_is_not_enough_and_the_same_twice_is_one() {
        let few = Err(RecoveryError::TooFew { found: 1, needed: 2 });
        assert_eq!(verify(&signed(&[21])), few);
        let again = signed(&[21]).sign(&key(21));
        assert_eq!(again, Err(RecoveryError::Signed(key(21).public_key())));
        let mut doubled = signed(&[21]);
        doubled.signatures.push(doubled.signatures[0]);
        assert_eq!(verify(&doubled), Err(RecoveryError::Order));
    }

    #[test]
    fn a_stranger_cannot_sign_and_a_signature_is_of_one_statement_only() {
        let stranger = key(30).public_key();
        assert_eq!(signed(&[]).sign(&key(30)), Err(RecoveryError::NoAdmin(stranger)));
        let mut smuggled = signed(&[20, 21]);
        smuggled.signatures.push((stranger, smuggled.signatures[0].1));
        smuggled.signatures.sort_unstable();
        assert_eq!(verify(&smuggled), Err(RecoveryError::NoAdmin(stranger)));
        let mut other = signed(&[20, 21]);
        other.statement.kept.state_root = Digest([8; 32]);
        assert!(matches!(verify(&other), Err(RecoveryError::BadSignature(_))));
        let elsewhere = signed(&[20, 21]).verify(&Digest([8; 32]), &StrictEd25519);
        assert!(matches!(elsewhere, Err(RecoveryError::OtherChain { .. })));
    }

    #[test]
    fn a_statement_that_makes_no_sense_is_refused_whoever_signed_it() {
        let refused = |change: &dyn Fn(&mut RecoveryStatement)| {
            let mut statement = statement();
            change(&mut statement);
            statement.check(&CHAIN).expect_err("a refusal")
        };
        let nobody = refused(&|s| s.threshold = 0);
        assert!(matches!(nobody, RecoveryError::Admins { .. }));
        let doubled = refused(&|s| s.admins[1] = s.admins[0]);
        assert!(matches!(doubled, RecoveryError::Admins { .. }));
        let twice = refused(&|s| s.committee.seats[1] = s.committee.seats[0].clone());
        assert!(matches!(twice, RecoveryError::Committee { .. }));
        let leaders = refused(&|s| s.committee.order[0] = SeatIndex(1));
        assert!(matches!(leaders, RecoveryError::Committee { .. }));
        let empty = refused(&|s| (s.committee.seats, s.committee.order) = (vec![], vec![]));
        assert!(matches!(empty, RecoveryError::Committee { seats: 0, .. }));
        let back = refused(&|s| s.committee.epoch = Epoch(2));
        assert!(matches!(back, RecoveryError::Epoch { .. }));
        let far = refused(&|s| s.committee.epoch = Epoch(2 + limits::RECOVERY_EPOCHS_MAX + 1));
        assert!(matches!(far, RecoveryError::EpochFar { .. }));
        let last = refused(&|s| s.committee.epoch = Epoch(u64::MAX));
        assert!(matches!(last, RecoveryError::EpochFar { .. }));
        let gap = refused(&|s| s.committee.anchor = Height(41));
        assert!(matches!(gap, RecoveryError::Anchor { .. }));
    }
}
