//! Who may do what: members, their roles, organisations, and the proposals by
//! which m of n admins change them.

use crate::{
    PublicKey, TimeMs, TxId,
    keeping::{HoldSubject, StorageOwner},
    limits,
    stake::{Stake, StakeParams},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a key may do. A member may have several roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Signs proposals; creates and closes tasks.
    Admin,
    /// May hold a seat.
    Validator,
    /// Sends updates.
    Trainer,
    /// Adds and removes the trainers of its own organisation; creates tasks.
    Operator,
    /// Follows the chain with a node of its own, holds no seat.
    Auditor,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Member {
    pub key: PublicKey,
    pub name: String,
    pub organisation: String,
    pub roles: BTreeSet<Role>,
    /// libp2p peer id of the member's node (validators and auditors).
    pub peer: Option<String>,
}

impl Member {
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Why this member cannot be registered, if it cannot.
    pub fn fault(&self) -> Option<&'static str> {
        let name_ok = |name: &str| !name.is_empty() && name.len() <= limits::NAME_BYTES_MAX;
        if !self.key.is_strong() {
            return Some("the key is weak or no Ed25519 key");
        }
        if !name_ok(&self.name) || !name_ok(&self.organisation) {
            return Some("name and organisation take 1 to 128 bytes");
        }
        if self.roles.is_empty() {
            return Some("a member needs a role");
        }
        if self.peer.as_ref().is_some_and(|peer| !name_ok(peer)) {
            return Some("a peer id takes 1 to 128 bytes");
        }
        None
    }
}

/// What m of n admins may decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AdminAction {
    AddMember(Member),
    RemoveMember(PublicKey),
    /// Trainers the organisation's operator may have at once.
    SetQuota {
        organisation: String,
        trainers: u32,
    },
    /// Signatures a proposal needs from now on.
    SetThreshold(u32),
    /// Makes stake and gives it to a member.
    GrantStake {
        member: PublicKey,
        amount: Stake,
    },
    /// Rules of stake and election from now on; the length of an epoch from the next one on.
    SetStakeParams(StakeParams),
    /// Ends the epoch early: an election is held.
    EndEpoch,
    /// Keeps a validator out of every election, and ends the epoch early.
    Expel(PublicKey),
    /// Lets a validator that was guilty or expelled be elected again.
    Readmit(PublicKey),
    /// Version of the rules from the next epoch on: programs that do not know it stop there.
    SetProtocol(u32),
    /// Payload bytes that a member or an organisation may have on its account; `None`: the usual
    /// (no limit of a member's own).
    SetStorageQuota {
        owner: StorageOwner,
        bytes: Option<u64>,
    },
    /// Keeps payloads whatever ends their retention.
    Hold {
        subject: HoldSubject,
        reason: String,
    },
    ReleaseHold(HoldSubject),
}

/// An admin action on its way; it is carried out by the signature that makes m.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Proposal {
    pub id: TxId,
    pub action: AdminAction,
    pub signers: BTreeSet<PublicKey>,
    pub expires: TimeMs,
    pub status: ProposalStatus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum ProposalStatus {
    Open,
    Passed,
    /// Enough signatures came, but the state had changed and refused it.
    Failed,
    /// Its lifetime ended first.
    Lapsed,
}
