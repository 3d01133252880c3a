//! Which members' nodes there are, and where.

use super::NetworkError;
use crate::config::PeerAddress;
use libp2p::{Multiaddr, PeerId};
use parking_lot::RwLock;
use std::{collections::BTreeMap, str::FromStr, sync::Arc};
use twinfold_types::{PublicKey, genesis::Genesis, member::Member};

#[derive(Clone, Debug)]
pub struct Peer {
    pub id: PeerId,
    pub member: PublicKey,
    pub name: String,
    /// Where it is dialled: consensus, payload. None for nodes that only dial.
    pub addresses: Option<(Multiaddr, Multiaddr)>,
}

/// The members with a node, by peer id and by key. Shared; changes with membership.
#[derive(Clone, Default)]
pub struct Peers {
    inner: Arc<RwLock<BTreeMap<PeerId, Peer>>>,
}

impl Peers {
    /// Everyone in genesis but ourselves, with addresses overridden by configuration.
    pub fn from_genesis(
        genesis: &Genesis,
        overrides: &[PeerAddress],
        own: PeerId,
    ) -> Result<Self, NetworkError> {
        let peers = Self::default();
        for validator in &genesis.validators {
            let id = parse_peer(&validator.peer)?;
            let given = overrides.iter().find(|given| given.peer == validator.peer);
            let (address, payload) = match given {
                Some(given) => (&given.address, &given.payload_address),
                None => (&validator.address, &validator.payload_address),
            };
            let addresses = Some((parse_address(address)?, parse_address(payload)?));
            let (member, name) = (validator.key, validator.name.clone());
            peers.insert(Peer { id, member, name, addresses }, own);
        }
        for member in &genesis.members {
            peers.admit(member, own)?;
        }
        Ok(peers)
    }

    /// Lets a member's node in. Members without a peer id have none.
    pub fn admit(&self, member: &Member, own: PeerId) -> Result<(), NetworkError> {
        let Some(peer) = &member.peer else { return Ok(()) };
        let (id, name) = (parse_peer(peer)?, member.name.clone());
        if self.by_id(&id).is_none() {
            self.insert(Peer { id, member: member.key, name, addresses: None }, own);
        }
        Ok(())
    }

    pub fn remove(&self, member: &PublicKey) -> Option<PeerId> {
        let id = self.by_member(member)?.id;
        self.inner.write().remove(&id);
        Some(id)
    }

    fn insert(&self, peer: Peer, own: PeerId) {
        if peer.id != own {
            self.inner.write().insert(peer.id, peer);
        }
    }

    pub fn by_id(&self, id: &PeerId) -> Option<Peer> {
        self.inner.read().get(id).cloned()
    }

    pub fn by_member(&self, member: &PublicKey) -> Option<Peer> {
        self.inner.read().values().find(|peer| peer.member == *member).cloned()
    }

    pub fn all(&self) -> Vec<Peer> {
        self.inner.read().values().cloned().collect()
    }
}

pub fn parse_peer(text: &str) -> Result<PeerId, NetworkError> {
    PeerId::from_str(text).map_err(|error| NetworkError::Address {
        what: "peer id",
        text: text.into(),
        reason: error.to_string(),
    })
}

pub fn parse_address(text: &str) -> Result<Multiaddr, NetworkError> {
    Multiaddr::from_str(text).map_err(|error| NetworkError::Address {
        what: "multiaddress",
        text: text.into(),
        reason: error.to_string(),
    })
}
