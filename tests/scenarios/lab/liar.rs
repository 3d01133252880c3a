//! A validator's machine in the hands of a liar, on the payload connection: it passes on
//! what an honest node answers, except that it moves leaves of the state's parts.

use super::Lab;
use futures::{AsyncWriteExt, StreamExt};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use twinfold_node::{
    blobs::{
        call::Caller,
        wire::{self, Answer, Request},
    },
    keys::NodeKeys,
    network::{
        NetworkError, Peer, Peers, Plane, PlaneConfig, frame::greet, peers::parse_address,
        plane::keypair,
    },
};
use twinfold_types::{
    Digest, codec, limits,
    member::Member,
    subtree::{Part, Subtree},
};

/// Lies as long as it is kept.
pub struct Liar {
    _runtime: tokio::runtime::Runtime,
    lies: Arc<AtomicUsize>,
}

impl Liar {
    /// In the place of a validator that does not run, with its keys and at its address. It
    /// lets this node in.
    pub fn start(lab: &Lab, index: usize, victim: &Member) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let lies = Arc::new(AtomicUsize::new(0));
        runtime.block_on(listen(lab, index, victim, lies.clone()));
        Self { _runtime: runtime, lies }
    }

    /// False answers sent so far.
    pub fn lies(&self) -> usize {
        self.lies.load(Ordering::Relaxed)
    }
}

/// The payload connection of a validator that does not run, with its keys and at its address. It
/// lets in whom genesis names, and this member's node.
pub async fn take_place(lab: &Lab, index: usize, guest: Option<&Member>) -> (Plane, Peers) {
    let keys = NodeKeys::read(&lab.folder_of(index).join("keys"), None).expect("plain keys");
    let genesis = lab.genesis();
    let own = keypair(&keys.peer).expect("its key").public().to_peer_id();
    let peers = Peers::from_genesis(&genesis, &[], own).expect("addresses");
    if let Some(guest) = guest {
        peers.admit(guest, own).expect("a peer id");
    }
    let plane = PlaneConfig {
        name: "lies",
        listen: parse_address(&genesis.validators[index].payload_address).expect("its address"),
        peers: peers.clone(),
        is_dialled: false,
        address: |addresses| addresses.1.clone(),
    };
    let plane = Plane::start(plane, &keys.peer).await.expect("its port is free");
    (plane, peers)
}

async fn listen(lab: &Lab, index: usize, victim: &Member, lies: Arc<AtomicUsize>) {
    let (plane, peers) = take_place(lab, index, Some(victim)).await;
    let genesis = lab.genesis();
    let mut incoming = plane.control.clone().accept(wire::PROTOCOL).expect("nobody else takes it");
    let (caller, chain) = (Caller::new(&plane, genesis.digest()), genesis.digest());
    let honest = peers.by_member(&genesis.validators[0].key).expect("another validator");
    tokio::spawn(async move {
        let _plane = plane;
        while let Some((id, stream)) = incoming.next().await {
            let Some(peer) = peers.by_id(&id) else { continue };
            let (caller, honest, lies) = (caller.clone(), honest.clone(), lies.clone());
            tokio::spawn(async move { answer(&caller, chain, &honest, peer, stream, &lies).await });
        }
    });
}

async fn answer(
    caller: &Caller,
    chain: Digest,
    honest: &Peer,
    peer: Peer,
    mut stream: libp2p::Stream,
    lies: &AtomicUsize,
) -> Result<(), NetworkError> {
    greet(&mut stream, &peer.id, chain).await?;
    let request: Request = wire::receive(&mut stream, &peer.id).await?;
    let limit = limits::DECODE_BYTES_MAX as u64;
    let Ok(mut content) = caller.fetch(honest, request.clone(), limit).await else {
        return wire::send(&mut stream, &Answer::Refused("not stored here".into())).await;
    };
    if let Request::FetchState { nibbles, .. } = &request
        && let Some(lie) = with_a_leaf_moved(&content, nibbles)
    {
        lies.fetch_add(1, Ordering::Relaxed);
        content = lie;
    }
    wire::send(&mut stream, &Answer::Content { length: content.len() as u64 }).await?;
    stream.write_all(&content).await?;
    Ok(stream.close().await?)
}

/// Rows told as the parts that they fall into, one leaf of them beside an empty part moved
/// there: the hash of it all stays as it is.
fn with_a_leaf_moved(content: &[u8], nibbles: &[u8]) -> Option<Vec<u8>> {
    let honest: Subtree = codec::decode(content, limits::DECODE_BYTES_MAX).ok()?;
    let (depth, mut parts) = (nibbles.len(), honest.parts(nibbles.len()));
    let movable =
        |at: &usize| matches!(parts[*at], Part::Leaf { .. }) && parts[at ^ 1] == Part::Empty;
    let at = (0..16).find(movable)?;
    parts.swap(at, at ^ 1);
    let lie = Subtree::Parts(Box::new(parts));
    (lie.hash(depth) == honest.hash(depth)).then(|| codec::encode(&lie))
}
