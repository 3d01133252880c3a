//! The first word of a chain: who is a member, who sits, what the rules are.
//! Operators compare its fingerprint before they start their nodes; it is the
//! chain's identity in every signature.

use crate::{
    Committee, Digest, Epoch, PublicKey, TimeMs,
    hash::Tag,
    limits,
    member::{Member, Role},
    quorum::Seat,
    stake::{Stake, StakeParams},
};
use serde::{Deserialize, Serialize};

/// Format version of genesis and of everything under it.
pub const FORMAT_VERSION: u32 = 3;

/// A validator of the first committee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisValidator {
    pub name: String,
    pub organisation: String,
    /// Consensus key: votes, receipts, fold results, and the member's identity.
    pub key: PublicKey,
    /// Long-lived key that signs the audit log's checkpoints as notes.
    pub audit_key: PublicKey,
    /// libp2p peer id of the node.
    pub peer: String,
    /// Multiaddress of the consensus connection.
    pub address: String,
    /// Multiaddress of the payload connection.
    pub payload_address: String,
    /// What it has bonded to itself.
    pub stake: Stake,
}

/// Parameters that the state carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ChainParams {
    /// Admin signatures a proposal needs.
    pub threshold: u32,
    /// Trainers an organisation may have unless the admins set another number.
    pub trainer_quota: u32,
    pub stake: StakeParams,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    pub format: u32,
    /// A name for people; part of the digest.
    pub chain: String,
    pub time: TimeMs,
    pub params: ChainParams,
    /// In seat order.
    pub validators: Vec<GenesisValidator>,
    /// Everyone else: admins, operators, trainers, auditors.
    pub members: Vec<Member>,
    /// Free stake of members, ascending by key.
    pub balances: Vec<(PublicKey, Stake)>,
    /// Fewer than four validators tolerate no fault; must be asked for.
    pub unsafe_size: bool,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum GenesisError {
    #[error("format {found}; this program reads format {FORMAT_VERSION}")]
    Format { found: u32 },
    #[error("{found} validators; 4 to {max} are needed (fewer only with --allow-unsafe-size)", max = limits::SEATS_MAX)]
    Size { found: usize },
    #[error("{name}: {reason}")]
    Member { name: String, reason: String },
    #[error("the key {0} stands twice")]
    KeyTwice(PublicKey),
    #[error("the peer id {0} stands twice")]
    PeerTwice(String),
    #[error("{admins} admins cannot give {threshold} signatures")]
    Threshold { admins: usize, threshold: u32 },
    #[error("the chain's name takes 1 to 128 bytes")]
    Name,
    #[error("stake: {0}")]
    Stake(&'static str),
}

impl Genesis {
    /// Reads a genesis file, which may still be incomplete: [`Genesis::check`] says. One of
    /// another format is refused by its number, before its fields are looked at.
    pub fn from_json(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let fault = |error: serde_json::Error| format!("not a genesis file: {error}");
        let Format { format } = serde_json::from_str(text).map_err(fault)?;
        if format != FORMAT_VERSION {
            let other = GenesisError::Format { found: format };
            return Err(format!(
                "{other}. A chain keeps the format it began with: use the program of its version, \
                 or make a new chain with `twinfold-node genesis new`"
            ));
        }
        serde_json::from_str(text).map_err(fault)
    }

    /// The chain's identity; operators compare it.
    pub fn digest(&self) -> Digest {
        Digest::of(Tag::Genesis, self)
    }

    pub fn committee(&self) -> Committee {
        let seat = |validator: &GenesisValidator| Seat::of(validator.key, &validator.organisation);
        Committee {
            ends: self.time.plus(self.params.stake.epoch_ms),
            ..Committee::new(Epoch(0), self.validators.iter().map(seat).collect())
        }
    }

    /// Every member: validators first, then the rest.
    pub fn all_members(&self) -> Vec<Member> {
        let validator = |validator: &GenesisValidator| Member {
            key: validator.key,
            name: validator.name.clone(),
            organisation: validator.organisation.clone(),
            roles: [Role::Validator].into(),
            peer: Some(validator.peer.clone()),
        };
        let validators = self.validators.iter().map(validator);
        validators.chain(self.members.iter().cloned()).collect()
    }

    pub fn check(&self) -> Result<(), GenesisError> {
        if self.format != FORMAT_VERSION {
            return Err(GenesisError::Format { found: self.format });
        }
        if self.chain.is_empty() || self.chain.len() > limits::NAME_BYTES_MAX {
            return Err(GenesisError::Name);
        }
        let seats = self.validators.len();
        let seats_min = if self.unsafe_size { 1 } else { 4 };
        if seats < seats_min || seats > limits::SEATS_MAX {
            return Err(GenesisError::Size { found: seats });
        }
        self.check_members()?;
        self.check_stake()?;
        let admins = self.members.iter().filter(|member| member.has(Role::Admin)).count();
        let threshold = self.params.threshold;
        if threshold == 0 || threshold as usize > admins {
            return Err(GenesisError::Threshold { admins, threshold });
        }
        Ok(())
    }

    fn check_stake(&self) -> Result<(), GenesisError> {
        if let Some(fault) = self.params.stake.fault() {
            return Err(GenesisError::Stake(fault));
        }
        if !self.balances.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(GenesisError::Stake(
                "balances stand in ascending order of keys, none twice",
            ));
        }
        let members = self.all_members();
        if !self.balances.iter().all(|(key, _)| members.iter().any(|member| member.key == *key)) {
            return Err(GenesisError::Stake("a balance belongs to no member"));
        }
        if self.validators.iter().any(|validator| validator.stake < self.params.stake.stake_min) {
            return Err(GenesisError::Stake("a validator has less than the minimum"));
        }
        let amounts = self.validators.iter().map(|validator| validator.stake);
        let mut amounts = amounts.chain(self.balances.iter().map(|(_, amount)| *amount));
        match amounts.try_fold(Stake(0), Stake::plus) {
            Some(_) => Ok(()),
            None => Err(GenesisError::Stake("all stake together is more than 64 bits hold")),
        }
    }

    fn check_members(&self) -> Result<(), GenesisError> {
        let (mut keys, mut peers) =
            (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
        let members = self.all_members();
        let fault = |name: &str, reason: &str| GenesisError::Member {
            name: name.into(),
            reason: reason.into(),
        };
        if members.len() > limits::MEMBERS_MAX {
            return Err(fault("members", "more than 16,000"));
        }
        for member in members {
            if let Some(reason) = member.fault() {
                return Err(fault(&member.name, reason));
            }
            if !keys.insert(member.key) {
                return Err(GenesisError::KeyTwice(member.key));
            }
            if let Some(peer) = member.peer
                && !peers.insert(peer.clone())
            {
                return Err(GenesisError::PeerTwice(peer));
            }
        }
        for member in &self.members {
            if member.has(Role::Validator) {
                return Err(fault(&member.name, "validators stand in the validators' list"));
            }
        }
        match self.validators.iter().find(|validator| !validator.audit_key.is_strong()) {
            Some(validator) => {
                Err(fault(&validator.name, "the audit key is weak or no Ed25519 key"))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_no_genesis_has_is_refused_also_where_the_true_one_may_be_missing() {
        let member = r#"{"key": "KEY", "name": "ann", "organisation": "board", "roles": ["admin"], "FIELD": null}"#;
        let member = member.replace("KEY", &"01".repeat(32));
        let read = |field: &str| serde_json::from_str::<Member>(&member.replace("FIELD", field));
        assert_eq!(read("peer").unwrap().peer, None);
        assert!(read("pear").unwrap_err().to_string().contains("pear"));
    }
}
