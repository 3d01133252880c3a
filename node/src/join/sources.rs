//! The peers that a joining node asks, one after the other. Whoever sends what does not fit
//! the digest it must have is named and not asked again.

use super::Progress;
use crate::{
    blobs::{BlobError, call::Caller, wire::Request},
    network::{Peer, Peers, Plane},
};
use libp2p::PeerId;
use parking_lot::Mutex;
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::sync::watch;
use twinfold_ledger::Anchor;
use twinfold_types::{
    Committee, Digest, PublicKey, codec,
    genesis::Genesis,
    handover::{EpochEnd, Trail, TrailError},
    key::StrictEd25519,
    limits,
    recovery::{Accepted, Recovery},
    trust::TrustedCheckpoint,
    vote::Checkpoint,
};

pub struct Sources {
    caller: Caller,
    peers: Peers,
    connected: watch::Receiver<BTreeSet<PeerId>>,
    validators: BTreeSet<PublicKey>,
    avoided: Mutex<BTreeSet<PeerId>>,
    asked: AtomicUsize,
    /// Recoveries that this node's operator accepted.
    accepted: Vec<Recovery>,
    pub progress: Arc<Progress>,
}

/// Nobody who can be asked has it.
#[derive(Debug)]
pub struct Unserved;

impl Sources {
    pub fn new(
        plane: &Plane,
        peers: Peers,
        genesis: &Genesis,
        accepted: Vec<Recovery>,
        progress: Arc<Progress>,
    ) -> Self {
        Self {
            caller: Caller::new(plane, genesis.digest()),
            peers,
            connected: plane.connected.clone(),
            validators: genesis.validators.iter().map(|validator| validator.key).collect(),
            avoided: Mutex::default(),
            asked: AtomicUsize::new(0),
            accepted,
            progress,
        }
    }

    /// Connected peers that have not lied, another one first each time: validators of genesis,
    /// and whom the operator configured.
    pub fn usable(&self) -> Vec<Peer> {
        let (connected, avoided) = (self.connected.borrow().clone(), self.avoided.lock().clone());
        let mut peers = self.peers.all();
        peers.retain(|peer| {
            (self.validators.contains(&peer.member) || self.peers.is_configured(&peer.id))
                && connected.contains(&peer.id)
                && !avoided.contains(&peer.id)
        });
        self.progress.peers(peers.len());
        let first = self.asked.fetch_add(1, Ordering::Relaxed);
        if let Some(first) = first.checked_rem(peers.len()) {
            peers.rotate_left(first);
        }
        peers
    }

    /// From the first peer whose answer passes the check.
    pub async fn ask<T>(
        &self,
        request: &Request,
        limit: usize,
        check: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<(Vec<u8>, T), Unserved> {
        for peer in self.usable() {
            match self.ask_one(&peer, request, limit, &check).await {
                Some(answer) => return Ok(answer),
                None => continue,
            }
        }
        Err(Unserved)
    }

    async fn ask_one<T>(
        &self,
        peer: &Peer,
        request: &Request,
        limit: usize,
        check: &impl Fn(&[u8]) -> Result<T, String>,
    ) -> Option<(Vec<u8>, T)> {
        let answer = self.caller.fetch(peer, request.clone(), limit as u64).await;
        let bytes = match answer {
            Ok(bytes) => bytes,
            Err(error) => {
                self.note_failure(peer, &error);
                return None;
            }
        };
        self.progress.received(bytes.len());
        match check(&bytes) {
            Ok(value) => Some((bytes, value)),
            Err(reason) => {
                self.avoid(peer, &reason);
                None
            }
        }
    }

    fn note_failure(&self, peer: &Peer, error: &BlobError) {
        tracing::debug!(peer = %peer.name, %error, "cannot help with joining");
    }

    fn avoid(&self, peer: &Peer, reason: &str) {
        tracing::warn!(peer = %peer.name, reason, "sent what is not so: it is not asked again");
        self.avoided.lock().insert(peer.id);
        self.progress.avoided(&peer.name);
    }

    /// What every peer has to begin from, as far as a quorum certifies it whose committee comes
    /// from the trusted one.
    pub async fn anchors(&self, trusted: &TrustedCheckpoint, genesis: &Genesis) -> Vec<Anchor> {
        let (chain, first) = (genesis.digest(), genesis.committee().digest());
        let limit = limits::CHECKPOINT_FILE_BYTES_MAX;
        let accepted = digests(&self.accepted);
        let check = |bytes: &[u8]| {
            let anchor: Anchor = codec::decode(bytes, limit).map_err(|error| error.to_string())?;
            let committee = anchor.trail.follow(&chain, &first, &accepted, &StrictEd25519);
            let committee = match committee {
                Ok(committee) => committee,
                // Not false: it is for this node's operator to accept.
                Err(error @ TrailError::NotAccepted { .. }) => {
                    tracing::error!(%error, "cannot join from what this peer has");
                    return Ok(None);
                }
                Err(error) => return Err(format!("hand-overs: {error}")),
            };
            let certified = anchor.certificate.verify(&chain, committee, &StrictEd25519);
            certified.map_err(|error| format!("a checkpoint: {error}"))?;
            let checkpoint = &anchor.certificate.checkpoint;
            if let Some(recovery) = left_out(&anchor.trail, checkpoint, &self.accepted) {
                // Not false: it has not followed the recovery, or not yet.
                let statement = recovery.digest();
                tracing::warn!(%statement, "a peer has the chain that the accepted recovery ended");
                return Ok(None);
            }
            if !passes_through(&anchor.trail, &trusted.trail.committee) {
                // Not false by itself: it may only be older.
                return Ok(None);
            }
            let (theirs, ours) = (&anchor.certificate.checkpoint, &trusted.certificate.checkpoint);
            if theirs.height == ours.height && theirs != ours {
                return Err("another checkpoint at the trusted one's height".into());
            }
            match anchor.is_edge_whole() {
                true => Ok(Some(anchor)),
                false => Err("an audit log's edge that its checkpoint does not name".into()),
            }
        };
        let mut anchors = Vec::new();
        for peer in self.usable() {
            let answer = self.ask_one(&peer, &Request::FetchAnchor, limit, &check).await;
            anchors.extend(answer.and_then(|(_, anchor)| anchor));
        }
        anchors
    }
}

pub fn digests(recoveries: &[Recovery]) -> Accepted {
    recoveries.iter().map(Recovery::digest).collect()
}

/// An accepted recovery without which a trail leads to a checkpoint above the height that it
/// keeps, or to another one at that height: the chain that it ended went on, or it forked.
pub fn left_out<'r>(
    trail: &Trail,
    checkpoint: &Checkpoint,
    accepted: &'r [Recovery],
) -> Option<&'r Recovery> {
    let through = |digest: Digest| {
        trail.ended.iter().any(|handover| match &handover.end {
            EpochEnd::Recovery(recovery) => recovery.digest() == digest,
            EpochEnd::Checkpoint(_) => false,
        })
    };
    let leaves_out = |recovery: &&Recovery| {
        let kept = &recovery.statement.kept;
        match checkpoint.height.cmp(&kept.height) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => checkpoint.block != kept.block,
            std::cmp::Ordering::Greater => !through(recovery.digest()),
        }
    };
    accepted.iter().find(leaves_out)
}

/// Whether a committee is one of those that the hand-overs lead through.
fn passes_through(trail: &Trail, committee: &Committee) -> bool {
    let ended = trail.ended.iter().map(|handover| &handover.committee);
    let mut all = ended.chain([&trail.committee]);
    all.any(|passed| passed.digest() == committee.digest())
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfold_types::{
        Epoch, Height, TimeMs, genesis::FORMAT_VERSION, handover::Handover,
        recovery::RecoveryStatement,
    };

    fn checkpoint(epoch: u64, height: u64, block: u8) -> Checkpoint {
        Checkpoint {
            epoch: Epoch(epoch),
            height: Height(height),
            block: Digest([block; 32]),
            state_root: Digest::ZERO,
            audit_size: 0,
            audit_root: Digest::ZERO,
            next_committee: None,
        }
    }

    #[test]
    fn no_checkpoint_of_the_chain_that_an_accepted_recovery_ended_is_begun_from() {
        let committee = |epoch: u64| Committee::new(Epoch(epoch), vec![]);
        let recovery = Recovery::unsigned(RecoveryStatement {
            format: FORMAT_VERSION,
            chain: Digest::ZERO,
            kept: checkpoint(0, 40, 1),
            ended: committee(0).digest(),
            committee: committee(1),
            admins: vec![],
            threshold: 1,
            time: TimeMs(1),
        });
        let end = EpochEnd::Recovery(Box::new(recovery.clone()));
        let ended = vec![Handover { committee: committee(0), end }];
        let through = Trail { ended, committee: committee(1) };
        let without = Trail { ended: vec![], committee: committee(0) };
        let accepted = [recovery];
        let is_left_out = |trail, checkpoint| left_out(trail, &checkpoint, &accepted).is_some();
        assert!(!is_left_out(&through, checkpoint(1, 41, 2)));
        assert!(is_left_out(&without, checkpoint(0, 41, 2)), "it was ended below");
        assert!(!is_left_out(&without, checkpoint(0, 40, 1)), "what is kept");
        assert!(is_left_out(&without, checkpoint(0, 40, 2)), "another block in its place");
        assert!(!is_left_out(&without, checkpoint(0, 39, 2)), "an older one of the same chain");
        assert!(left_out(&without, &checkpoint(0, 41, 2), &[]).is_none());
    }
}
