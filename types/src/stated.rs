//! A checkpoint that the chain's admins state. A quorum's signatures prove a checkpoint to
//! whoever holds the genesis file, except against keys of committees long gone; with the
//! signatures of m admins beside them a new node's operator has nothing to compare by
//! telephone, and the file may come by any channel.
//!
//! The admins are those that genesis names, and m is its threshold: the operator holds that
//! file and has compared it, and of admins that came later a node that is not there yet knows
//! nothing.

use crate::{
    Digest, Epoch, Height, PublicKey, SecretKey, Signature, TimeMs,
    genesis::Genesis,
    key::{Purpose, Signer, Statement, Verifier, statement},
    member::{Member, Role},
    trust::TrustedCheckpoint,
};
use serde::{Deserialize, Serialize};

/// What an admin signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointStatement {
    /// The chain's name; its genesis digest is in every signature.
    pub name: String,
    pub epoch: Epoch,
    pub height: Height,
    pub block: Digest,
    pub state_root: Digest,
    /// Of all that the committee signed.
    pub fingerprint: Digest,
    /// Whose quorum signed it.
    pub committee: Digest,
    /// Of the block: from here on the statement ages.
    pub time: TimeMs,
}

/// One admin's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminSignature {
    pub admin: PublicKey,
    pub signature: Signature,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum StatementError {
    #[error("the key {0} signed it, which is of no admin in the genesis file")]
    NotAdmin(PublicKey),
    #[error("{0} signs it twice")]
    Twice(String),
    #[error("the signature of {0} is not good for this checkpoint on this chain")]
    Signature(String),
    #[error(
        "{found} of the genesis file's {admins} admins state it and {needed} are needed: have \
         others sign it with `twinfold checkpoint sign`"
    )]
    TooFew { found: usize, needed: u32, admins: usize },
}

impl CheckpointStatement {
    pub fn of(trusted: &TrustedCheckpoint, genesis: &Genesis) -> Self {
        let checkpoint = &trusted.certificate.checkpoint;
        Self {
            name: genesis.chain.clone(),
            epoch: checkpoint.epoch,
            height: checkpoint.height,
            block: checkpoint.block,
            state_root: checkpoint.state_root,
            fingerprint: trusted.fingerprint(),
            committee: trusted.trail.committee.digest(),
            time: trusted.header.time,
        }
    }

    pub fn statement(&self, chain: &Digest) -> Statement {
        statement(Purpose::TrustedCheckpoint, chain, self)
    }
}

/// What an admin says of a checkpoint that is verified, and who has said it so far.
impl TrustedCheckpoint {
    /// Adds an admin's signature.
    pub fn state(&mut self, genesis: &Genesis, key: &SecretKey) -> Result<(), StatementError> {
        let admin = find_admin(genesis, &key.public_key())?;
        if self.statements.iter().any(|stated| stated.admin == admin.key) {
            return Err(StatementError::Twice(admin.name.clone()));
        }
        let statement = CheckpointStatement::of(self, genesis).statement(&genesis.digest());
        self.statements.push(AdminSignature { admin: admin.key, signature: key.sign(&statement) });
        Ok(())
    }

    /// The admins that state it. One signature too many, false or of somebody else spoils the
    /// file: whoever put it there did not put it there by mistake.
    pub fn stated_by<'a>(
        &self,
        genesis: &'a Genesis,
        verifier: &dyn Verifier,
    ) -> Result<Vec<&'a Member>, StatementError> {
        let statement = CheckpointStatement::of(self, genesis).statement(&genesis.digest());
        let mut found: Vec<&Member> = vec![];
        for AdminSignature { admin, signature } in &self.statements {
            let member = find_admin(genesis, admin)?;
            if found.contains(&member) {
                return Err(StatementError::Twice(member.name.clone()));
            }
            if !verifier.verify(admin, &statement, signature) {
                return Err(StatementError::Signature(member.name.clone()));
            }
            found.push(member);
        }
        Ok(found)
    }

    /// As many admins state it as a proposal needs.
    pub fn check_stated<'a>(
        &self,
        genesis: &'a Genesis,
        verifier: &dyn Verifier,
    ) -> Result<Vec<&'a Member>, StatementError> {
        let found = self.stated_by(genesis, verifier)?;
        let needed = genesis.params.threshold;
        if found.len() < needed as usize {
            let admins = admins(genesis).count();
            return Err(StatementError::TooFew { found: found.len(), needed, admins });
        }
        Ok(found)
    }
}

fn admins(genesis: &Genesis) -> impl Iterator<Item = &Member> {
    genesis.members.iter().filter(|member| member.has(Role::Admin))
}

fn find_admin<'a>(genesis: &'a Genesis, key: &PublicKey) -> Result<&'a Member, StatementError> {
    admins(genesis).find(|admin| admin.key == *key).ok_or(StatementError::NotAdmin(*key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        genesis::{ChainParams, FORMAT_VERSION},
        key::StrictEd25519,
        stake::StakeParams,
        trust::tests::trusted,
    };

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed(&[seed; 32])
    }

    /// Two of the admins 11, 12 and 13 decide; 14 is an operator.
    fn genesis() -> Genesis {
        let member = |seed: u8, role| Member {
            key: key(seed).public_key(),
            name: format!("member-{seed}"),
            organisation: "board".into(),
            roles: [role].into(),
            peer: None,
        };
        let mut members: Vec<_> = (11..14).map(|seed| member(seed, Role::Admin)).collect();
        members.push(member(14, Role::Operator));
        Genesis {
            format: FORMAT_VERSION,
            chain: "clinics".into(),
            time: TimeMs(1),
            params: ChainParams { threshold: 2, trainer_quota: 1, stake: StakeParams::default() },
            validators: vec![],
            members,
            balances: vec![],
            unsafe_size: false,
        }
    }

    fn stated(seeds: &[u8]) -> TrustedCheckpoint {
        let mut stated = trusted();
        seeds.iter().for_each(|seed| stated.state(&genesis(), &key(*seed)).unwrap());
        stated
    }

    fn check(stated: &TrustedCheckpoint) -> Result<usize, StatementError> {
        stated.check_stated(&genesis(), &StrictEd25519).map(|admins| admins.len())
    }

    #[test]
    fn as_many_admins_as_a_proposal_needs_state_it() {
        assert_eq!(check(&stated(&[11, 13])), Ok(2));
        assert_eq!(check(&stated(&[13, 12, 11])), Ok(3));
        let few = StatementError::TooFew { found: 1, needed: 2, admins: 3 };
        assert_eq!(check(&stated(&[12])), Err(few));
    }

    #[test]
    fn nobody_else_and_nobody_twice() {
        let error = trusted().state(&genesis(), &key(14)).unwrap_err();
        assert_eq!(error, StatementError::NotAdmin(key(14).public_key()));
        let error = stated(&[11]).state(&genesis(), &key(11)).unwrap_err();
        assert_eq!(error, StatementError::Twice("member-11".into()));
        let mut twice = stated(&[11, 12]);
        twice.statements[1] = twice.statements[0].clone();
        assert_eq!(check(&twice), Err(StatementError::Twice("member-11".into())));
        let mut foreign = stated(&[11, 12]);
        foreign.statements[1].admin = key(14).public_key();
        assert_eq!(check(&foreign), Err(StatementError::NotAdmin(key(14).public_key())));
        // Two good signatures do not make up for it.
        let mut more = stated(&[11, 12, 13]);
        more.statements[2].signature = more.statements[0].signature;
        assert_eq!(check(&more), Err(StatementError::Signature("member-13".into())));
    }

    #[test]
    fn a_statement_is_good_for_what_it_names_only() {
        let false_one = Err(StatementError::Signature("member-11".into()));
        let mut other = stated(&[11, 12]);
        other.certificate.checkpoint.state_root = Digest([9; 32]);
        assert_eq!(check(&other), false_one);
        let mut younger = stated(&[11, 12]);
        younger.header.time = TimeMs(5_000);
        assert_eq!(check(&younger), false_one);
        let mut committee = stated(&[11, 12]);
        committee.trail.committee.seats.pop();
        assert_eq!(check(&committee), false_one);
        // A chain with the same admins and another first word.
        let mut elsewhere = genesis();
        elsewhere.time = TimeMs(2);
        let error = stated(&[11, 12]).check_stated(&elsewhere, &StrictEd25519).unwrap_err();
        assert_eq!(error, StatementError::Signature("member-11".into()));
    }
}
