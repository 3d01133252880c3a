//! Which members' nodes there are, and where. Addresses come from genesis, then from what
//! validators declare on the chain; the operator's own configuration wins over both.
//!
//! The configuration also *brings* peers: one that neither genesis nor the state so far names
//! is dialled and let in by its peer id alone, since a node that has just come knows nothing
//! of members that came after genesis. It may be asked like anybody, for what it answers is
//! proved; it is served no payloads until the state names its member.

use super::NetworkError;
use crate::config::PeerAddress;
use libp2p::{Multiaddr, PeerId, identity};
use parking_lot::RwLock;
use std::{collections::BTreeMap, str::FromStr, sync::Arc};
use twinfold_types::{PublicKey, genesis::Genesis, member::Member, stake::Candidate};

#[derive(Clone, Debug)]
pub struct Peer {
    pub id: PeerId,
    /// The member's key; the peer's own while no member with this peer is known.
    pub member: PublicKey,
    pub name: String,
    /// Where it is dialled: consensus, payload. None for nodes that only dial.
    pub addresses: Option<(Multiaddr, Multiaddr)>,
    /// Whether genesis or the state names it.
    pub is_member: bool,
}

/// The members with a node, by peer id and by key. Shared; changes with membership.
#[derive(Clone, Default)]
pub struct Peers {
    inner: Arc<RwLock<BTreeMap<PeerId, Peer>>>,
    configured: Arc<BTreeMap<PeerId, (Multiaddr, Multiaddr)>>,
}

impl Peers {
    /// Everyone in genesis and in the configuration but ourselves, at the configuration's
    /// addresses where it has any.
    pub fn from_genesis(
        genesis: &Genesis,
        configured: &[PeerAddress],
        own: PeerId,
    ) -> Result<Self, NetworkError> {
        let peers = Self { inner: Arc::default(), configured: Arc::new(parse_all(configured)?) };
        for validator in &genesis.validators {
            let id = parse_peer(&validator.peer)?;
            let told = || parse_both(&validator.address, &validator.payload_address);
            let addresses = Some(peers.configured(&id).map_or_else(told, Ok)?);
            let (member, name) = (validator.key, validator.name.clone());
            peers.insert(Peer { id, member, name, addresses, is_member: true }, own);
        }
        for member in &genesis.members {
            peers.admit(member, own)?;
        }
        for id in peers.configured.keys().filter(|id| peers.by_id(id).is_none()) {
            let member = key_of(id).map_err(|error| NetworkError::Configured(error.into()))?;
            let name = format!("peer {id}");
            let addresses = peers.configured(id);
            peers.insert(Peer { id: *id, member, name, addresses, is_member: false }, own);
        }
        Ok(peers)
    }

    /// Lets a member's node in. Members without a peer id have none. True where it was in
    /// already as somebody that only the configuration named.
    pub fn admit(&self, member: &Member, own: PeerId) -> Result<bool, NetworkError> {
        let Some(peer) = &member.peer else { return Ok(false) };
        let (id, name) = (parse_peer(peer)?, member.name.clone());
        let known = self.by_id(&id);
        if known.as_ref().is_none_or(|known| !known.is_member) {
            let addresses = self.configured(&id);
            self.insert(Peer { id, member: member.key, name, addresses, is_member: true }, own);
        }
        Ok(known.is_some_and(|known| !known.is_member))
    }

    /// Follows where a validator says that it is dialled.
    pub fn learn(&self, candidate: &Candidate) -> Result<(), NetworkError> {
        let Some((address, payload)) = &candidate.addresses else { return Ok(()) };
        let Some(peer) = self.by_member(&candidate.validator) else { return Ok(()) };
        if self.configured(&peer.id).is_none() {
            let addresses = parse_both(address, payload)?;
            if let Some(known) = self.inner.write().get_mut(&peer.id) {
                known.addresses = Some(addresses);
            }
        }
        Ok(())
    }

    /// What this node's configuration says of a peer.
    fn configured(&self, id: &PeerId) -> Option<(Multiaddr, Multiaddr)> {
        self.configured.get(id).cloned()
    }

    /// Whether the operator says where this peer is.
    pub fn is_configured(&self, id: &PeerId) -> bool {
        self.configured.contains_key(id)
    }

    /// Those that neither genesis nor the state so far names.
    pub fn strangers(&self) -> Vec<Peer> {
        let mut all = self.all();
        all.retain(|peer| !peer.is_member);
        all
    }

    pub fn remove(&self, member: &PublicKey) -> Option<PeerId> {
        let id = self.by_member(member)?.id;
        self.inner.write().remove(&id);
        Some(id)
    }

    /// Whoever genesis names and the state names no longer is out.
    pub fn keep_members(&self, members: &[Member]) {
        let is_there = |key: &PublicKey| members.iter().any(|member| member.key == *key);
        self.inner.write().retain(|_, peer| !peer.is_member || is_there(&peer.member));
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

fn parse_all(
    configured: &[PeerAddress],
) -> Result<BTreeMap<PeerId, (Multiaddr, Multiaddr)>, NetworkError> {
    let parse = |given: &PeerAddress| {
        Ok((parse_peer(&given.peer)?, parse_both(&given.address, &given.payload_address)?))
    };
    let all: Result<_, NetworkError> = configured.iter().map(parse).collect();
    all.map_err(|error| NetworkError::Configured(error.into()))
}

/// The key that a peer id names: nodes' ids hold it whole.
fn key_of(id: &PeerId) -> Result<PublicKey, NetworkError> {
    let key = identity::PublicKey::try_decode_protobuf(id.as_ref().digest());
    let key = key.ok().and_then(|key| key.try_into_ed25519().ok());
    let key = key.filter(|key| identity::PublicKey::from(key.clone()).to_peer_id() == *id);
    key.map(|key| PublicKey(key.to_bytes())).ok_or_else(|| NetworkError::Address {
        what: "peer id",
        text: id.to_string(),
        reason: "it is not of an Ed25519 key, which every node has".into(),
    })
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
        Stake, TimeMs,
        genesis::{ChainParams, FORMAT_VERSION},
        member::Role,
        stake::{Candidate, StakeParams, StakePool},
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

    fn given(seed: u8) -> PeerAddress {
        PeerAddress {
            peer: peer_id(seed).to_string(),
            address: "/ip4/192.168.0.7/tcp/1".into(),
            payload_address: "/ip4/192.168.0.7/tcp/2".into(),
        }
    }

    fn with(configured: &[PeerAddress]) -> Result<Peers, NetworkError> {
        Peers::from_genesis(&genesis(), configured, peer_id(1))
    }

    /// Nobody in it.
    fn genesis() -> Genesis {
        Genesis {
            format: FORMAT_VERSION,
            chain: "c".into(),
            time: TimeMs(1),
            params: ChainParams { threshold: 1, trainer_quota: 1, stake: StakeParams::default() },
            validators: vec![],
            members: vec![],
            balances: vec![],
            unsafe_size: false,
        }
    }

    #[test]
    fn the_operators_configuration_wins_over_what_is_declared() {
        let peers = with(&[given(5)]).unwrap();
        peers.admit(&newcomer(), peer_id(1)).unwrap();
        peers.learn(&declared("/ip4/10.0.0.7/tcp/1")).unwrap();
        assert_eq!(votes(&peers).unwrap(), "/ip4/192.168.0.7/tcp/1");
    }

    #[test]
    fn a_configured_peer_is_there_before_anything_names_it_and_then_goes_by_its_member() {
        let peers = with(&[given(5), given(1)]).unwrap();
        assert_eq!(peers.all().len(), 1, "the node itself is no peer of it");
        let stranger = peers.by_id(&peer_id(5)).unwrap();
        assert!(!stranger.is_member && peers.is_configured(&stranger.id));
        assert_eq!(votes(&peers).unwrap(), "/ip4/192.168.0.7/tcp/1");
        let own = libp2p::identity::Keypair::ed25519_from_bytes([5; 32]).unwrap();
        let own = own.public().try_into_ed25519().unwrap().to_bytes();
        assert_eq!(stranger.member, PublicKey(own));
        assert!(peers.admit(&newcomer(), peer_id(1)).unwrap(), "it was there as a stranger");
        assert!(!peers.admit(&newcomer(), peer_id(1)).unwrap());
        let known = peers.by_member(&newcomer().key).unwrap();
        assert!(known.is_member && known.id == peer_id(5) && peers.strangers().is_empty());
    }

    #[test]
    fn who_is_a_member_no_longer_is_not_let_in_again() {
        let mut genesis = genesis();
        genesis.members = vec![newcomer()];
        let peers = Peers::from_genesis(&genesis, &[given(6)], peer_id(1)).unwrap();
        peers.keep_members(&[newcomer()]);
        assert_eq!(peers.all().len(), 2);
        peers.keep_members(&[]);
        let left: Vec<_> = peers.all().into_iter().map(|peer| peer.id).collect();
        assert_eq!(left, [peer_id(6)]);
    }

    #[test]
    fn a_mistake_in_a_configured_peer_is_named() {
        let bad = PeerAddress { peer: "12D3KooW".into(), ..given(5) };
        assert!(with(&[bad]).err().unwrap().to_string().contains("12D3KooW"));
        let bad = PeerAddress { payload_address: "10.0.0.7:1".into(), ..given(5) };
        assert!(with(&[bad]).err().unwrap().to_string().contains("10.0.0.7:1"));
        // The id of an RSA key is a hash, which names no key.
        let bad = PeerAddress {
            peer: "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".into(),
            ..given(5)
        };
        assert!(with(&[bad]).err().unwrap().to_string().contains("Ed25519"));
    }
}
