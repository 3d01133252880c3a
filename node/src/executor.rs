//! Executes committed blocks in order on a thread of its own, so that votes never
//! wait for execution, and tells everyone who waits for the result.

use crate::{
    blobs::BlobStore,
    driver::{FromExecutor, ToExecutor},
    network::{Peers, Plane},
    pruning::Pruning,
};
use libp2p::PeerId;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use twinfold_ledger::{Executed, Ledger, LedgerError, Reader};
use twinfold_types::{
    Block, Code, Event as LedgerEvent, Height, state_key, vote::CheckpointCertificate,
};

pub struct Executor {
    pub ledger: Ledger,
    pub reader: Reader,
    pub agreement: mpsc::UnboundedSender<FromExecutor>,
    pub heads: watch::Sender<Height>,
    pub stable: watch::Sender<Height>,
    pub membership: Membership,
    pub blobs: Arc<BlobStore>,
    /// Newest stable checkpoint beyond the executed height.
    pub early: Option<CheckpointCertificate>,
    pub pruning: Option<Pruning>,
}

/// What lets members' nodes in and keeps others out.
pub struct Membership {
    pub peers: Peers,
    pub own: PeerId,
    pub planes: Arc<[Plane; 2]>,
}

impl Executor {
    /// Runs until the driver is gone. An error means that this node must stop.
    pub fn run(mut self, mut work: mpsc::Receiver<ToExecutor>) -> Result<(), LedgerError> {
        while let Some(work) = self.next(&mut work)? {
            self.perform(work)?;
        }
        Ok(())
    }

    /// The next work; while none waits, old blocks are dropped.
    fn next(
        &mut self,
        work: &mut mpsc::Receiver<ToExecutor>,
    ) -> Result<Option<ToExecutor>, LedgerError> {
        while let Some(pruning) = &mut self.pruning
            && work.is_empty()
        {
            if !pruning.step(&mut self.ledger)? {
                break;
            }
        }
        Ok(work.blocking_recv())
    }

    pub fn perform(&mut self, work: ToExecutor) -> Result<(), LedgerError> {
        match work {
            ToExecutor::Commit(block, certificate) => {
                let executed = self.ledger.commit(&block, &certificate)?;
                self.after(&block, executed);
            }
            ToExecutor::Stable(certificate) => self.early = Some(certificate),
        }
        self.note_stable()
    }

    /// A checkpoint can be stable before this node executed its height.
    fn note_stable(&mut self) -> Result<(), LedgerError> {
        let head = self.reader.head().height;
        let Some(certificate) = self.early.take_if(|early| early.checkpoint.height <= head) else {
            return Ok(());
        };
        self.ledger.set_stable(&certificate)?;
        self.stable.send_replace(certificate.checkpoint.height);
        let next = self.reader.committee();
        if certificate.checkpoint.next_committee == Some(next.digest()) {
            self.tell(FromExecutor::NextEpoch(next));
        }
        // Also under load, when there is never a moment without work.
        match &mut self.pruning {
            Some(pruning) => pruning.step(&mut self.ledger).map(drop),
            None => Ok(()),
        }
    }

    fn after(&mut self, block: &Block, executed: Executed) {
        let height = executed.checkpoint.height;
        for receipt in &executed.receipts {
            receipt.events.iter().for_each(|event| self.membership.follow(event, &self.reader));
            let tx = (receipt.index as usize).checked_sub(1).and_then(|at| block.txs.get(at));
            if let (Some(tx), Code::Ok) = (tx, receipt.code) {
                let named = tx.payloads().into_iter().map(|payload| payload.blob.digest());
                named.for_each(|blob| self.blobs.mark_named(&blob));
            }
        }
        self.heads.send_replace(height);
        let Executed { checkpoint, ends_at, recovered, .. } = executed;
        self.tell(FromExecutor::Executed { checkpoint, ends_at });
        if let Some(committee) = recovered {
            self.tell(FromExecutor::Recovered(Arc::new(committee)));
        }
    }

    fn tell(&self, what: FromExecutor) {
        if self.agreement.send(what).is_err() {
            tracing::debug!("agreement has ended");
        }
    }
}

impl Membership {
    fn follow(&self, event: &LedgerEvent, reader: &Reader) {
        match event {
            LedgerEvent::MemberAdded { key } => {
                let Ok(Some(member)) = reader.get(&state_key::member(key)) else { return };
                let was_stranger = self.peers.admit(&member, self.own).unwrap_or_else(|error| {
                    tracing::warn!(%error, "a new member's peer id is unusable");
                    false
                });
                if let Some(peer) = self.peers.by_member(key) {
                    for plane in self.planes.iter() {
                        // Connected anew it goes by its member's key.
                        if was_stranger {
                            plane.disallow(peer.id);
                        }
                        plane.allow(peer.id);
                    }
                }
            }
            LedgerEvent::CandidateDeclared { validator, .. } => {
                let Ok(Some(candidate)) = reader.candidate(validator) else { return };
                if let Err(error) = self.peers.learn(&candidate) {
                    tracing::warn!(%error, "a validator declared an address that is none");
                }
            }
            LedgerEvent::MemberRemoved { key } => {
                if let Some(id) = self.peers.remove(key) {
                    self.planes.iter().for_each(|plane| plane.disallow(id));
                }
            }
            _ => {}
        }
    }
}
