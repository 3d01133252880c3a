//! Which members' nodes there are, and where. Addresses come from genesis, then from what
//! validators declare on the chain; the operator's own configuration wins over both.

use super::NetworkError;
use crate::config::PeerAddress;
use libp2p::{Multiaddr, PeerId};
use parking_lot::RwLock;
use std::{collections::BTreeMap, str::FromStr, sync::Arc};
use twinfold_types::{PublicKey, genesis::Genesis, member::Member, stake::Candidate};

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
    overrides: Arc<[PeerAddress]>,
}

impl Peers {
    /// Everyone in genesis but ourselves, with addresses overridden by configuration.
    pub fn from_genesis(
        genesis: &Genesis,
        overrides: &[PeerAddress],
        own: PeerId,
    ) -> Result<Self, NetworkError> {
        let peers = Self { overrides: overrides.into(), ..Self::default() };
        for validator in &genesis.validators {
            let id = parse_peer(&validator.peer)?;
            let told = parse_both(&validator.address, &validator.payload_address);
            let addresses = Some(peers.configured(&validator.peer).unwrap_or(told)?);
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
            let addresses = self.configured(peer).transpose()?;
            self.insert(Peer { id, member: member.key, name, addresses }, own);
        }
        Ok(())
    }

    /// Follows where a validator says that it is dialled.
    pub fn learn(&self, candidate: &Candidate) -> Result<(), NetworkError> {
        let Some((address, payload)) = &candidate.addresses else { return Ok(()) };
        let Some(peer) = self.by_member(&candidate.validator) else { return Ok(()) };
        if self.configured(&peer.id.to_string()).is_none() {
            let addresses = parse_both(address, payload)?;
            if let Some(known) = self.inner.write().get_mut(&peer.id) {
                known.addresses = Some(addresses);
            }
        }
        Ok(())
    }

    /// What this node's configuration says of a peer.
    fn configured(&self, peer: &str) -> Option<Result<(Multiaddr, Multiaddr), NetworkError>> {
        let given = self.overrides.iter().find(|given| given.peer == peer)?;
        Some(parse_both(&given.address, &given.payload_address))
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

fn parse_both(address: &str, payload: &str) -> Result<(Multiaddr, Multiaddr), NetworkError> {
    Ok((parse_address(address)?, parse_address(payload)?))
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

#[cfg(test)]
mod tests {
    use super::*;
    use twinfold_types::{
        Stake,
        member::Role,
        stake::{Candidate, StakePool},
    };

    fn peer_id(seed: u8) -> PeerId {
        let key = libp2p::identity::Keypair::ed25519_from_bytes([seed; 32]).unwrap();
        key.public().to_peer_id()
    }

    fn newcomer() -> Member {
        Member {
            key: PublicKey([5; 32]),
            name: "site-5".into(),
            organisation: "clinic-5".into(),
            roles: [Role::Validator].into(),
            peer: Some(peer_id(5).to_string()),
        }
    }

    fn declared(address: &str) -> Candidate {
        Candidate {
            validator: newcomer().key,
            key: newcomer().key,
            ready: true,
            commission_permille: 0,
            commission_next_permille: 0,
            pool: StakePool { stake: Stake(1), shares: 1 },
            jail: None,
            addresses: Some((address.into(), "/ip4/10.0.0.7/tcp/2".into())),
        }
    }

    fn votes(peers: &Peers) -> Option<String> {
        let peer = peers.by_id(&peer_id(5)).unwrap();
        peer.addresses.map(|(votes, _)| votes.to_string())
    }

    #[test]
    fn a_validator_that_came_later_is_dialled_where_it_declares() {
        let peers = Peers::default();
        peers.admit(&newcomer(), peer_id(1)).unwrap();
        assert_eq!(votes(&peers), None);
        peers.learn(&declared("/ip4/10.0.0.7/tcp/1")).unwrap();
        assert_eq!(votes(&peers).unwrap(), "/ip4/10.0.0.7/tcp/1");
        peers.learn(&declared("/dns4/site-5/tcp/1")).unwrap();
        assert_eq!(votes(&peers).unwrap(), "/dns4/site-5/tcp/1");
        assert!(peers.learn(&declared("10.0.0.7:1")).is_err());
        assert_eq!(votes(&peers).unwrap(), "/dns4/site-5/tcp/1", "what was good stays");
    }

    #[test]
    fn the_operators_configuration_wins_over_what_is_declared() {
        let given = PeerAddress {
            peer: peer_id(5).to_string(),
            address: "/ip4/192.168.0.7/tcp/1".into(),
            payload_address: "/ip4/192.168.0.7/tcp/2".into(),
        };
        let peers = Peers { overrides: [given].into(), ..Peers::default() };
        peers.admit(&newcomer(), peer_id(1)).unwrap();
        peers.learn(&declared("/ip4/10.0.0.7/tcp/1")).unwrap();
        assert_eq!(votes(&peers).unwrap(), "/ip4/192.168.0.7/tcp/1");
    }
}
