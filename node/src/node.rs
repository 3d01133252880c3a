//! What the parts of a running node share: the API, the folder and the router all
//! act through it.

use crate::{
    blobs::{BlobError, BlobStore, Exchange, Incoming, ModelStore, exchange::UploadProof},
    clock,
    network::{Links, Peers},
    pool::{Pool, PoolError},
    seat_keys::SeatKeys,
    verified::Verified,
};
use parking_lot::Mutex;
use std::{path::PathBuf, sync::Arc};
use tokio::sync::{mpsc, watch};
use twinfold_consensus::{Diagnosis, Event};
use twinfold_ledger::Reader;
use twinfold_types::{
    AvailabilityCertificate, BlobDigest, Code, Digest, Evidence, Height, PublicKey, SeatIndex,
    SecretKey, SignedTx, TimeMs, TxId, View,
    api::{Level, TxStatus},
    genesis::Genesis,
    key::Signer,
    limits,
    message::PeerMessage,
    tx::{Action, TxBody, TxError},
};

/// Where agreement stands, as the driver last published it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgreementStatus {
    pub view: View,
    pub leader: SeatIndex,
    pub committed: Height,
}

pub struct Node {
    pub genesis: Genesis,
    pub chain: Digest,
    pub own: PublicKey,
    /// The member key: signs transactions.
    pub key: Arc<SecretKey>,
    /// Consensus keys: sign votes, receipts, fold results.
    pub keys: Arc<SeatKeys>,
    /// Shared by everything that checks signatures here.
    pub verified: Arc<Verified>,
    pub data: PathBuf,
    pub reader: Reader,
    pub pool: Arc<Pool>,
    pub peers: Peers,
    pub links: Links,
    pub blobs: Arc<BlobStore>,
    pub models: Arc<ModelStore>,
    pub exchange: Exchange,
    pub agreement: watch::Receiver<AgreementStatus>,
    pub diagnosis: watch::Receiver<Diagnosis>,
    /// Newest executed height.
    pub heads: watch::Receiver<Height>,
    /// Height of the newest stable checkpoint.
    pub stable: watch::Receiver<Height>,
    pub events: mpsc::Sender<Event>,
    pub accuser: mpsc::Sender<Evidence>,
    /// Why the node no longer takes part, if so.
    pub halted: Mutex<Option<String>>,
    pub metrics: Arc<crate::metrics::Metrics>,
}

/// Why a transaction is not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    #[error(transparent)]
    Malformed(#[from] TxError),
    #[error("refused: {}", .0.text())]
    Refused(Code),
    #[error("valid from {from} until {until}, the time is {now}: make it anew")]
    NotNow { from: TimeMs, until: TimeMs, now: TimeMs },
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error(transparent)]
    Ledger(#[from] twinfold_ledger::LedgerError),
    #[error("this node has stopped taking part: {0}")]
    Halted(String),
}

/// A transaction of this node's own member, valid from a little before a time on.
pub fn own_tx(chain: &Digest, key: &SecretKey, time: TimeMs, action: Action) -> SignedTx {
    use rand::RngExt;
    let body = TxBody {
        chain: *chain,
        sender: key.public_key(),
        nonce: rand::rng().random(),
        valid_from: TimeMs(time.0.saturating_sub(60_000)),
        valid_until: time.plus(5 * 60_000),
        action,
    };
    body.sign(key)
}

impl Node {
    /// The seat that this node holds in the running epoch.
    pub fn seat(&self) -> Option<SeatIndex> {
        self.reader.committee().seat_of(&self.own)
    }

    /// Checks a transaction, keeps it in the pool and passes it on. `local` when a
    /// client of this node brought it.
    pub fn submit(&self, tx: SignedTx, local: bool) -> Result<TxId, SubmitError> {
        if let Some(reason) = self.halted.lock().clone() {
            return Err(SubmitError::Halted(reason));
        }
        let id = tx.id();
        // Sent again: the sender may ask for its receipt.
        if self.pool.contains(&id) || (local && self.reader.tx(&id)?.is_some()) {
            return Ok(id);
        }
        tx.check(&self.chain, &*self.verified)?;
        let now = clock::now();
        let (from, until) = (tx.body.valid_from, tx.body.valid_until);
        if from > now.plus(limits::DRIFT_MS_MAX) || until < now {
            return Err(SubmitError::NotNow { from, until, now });
        }
        match self.reader.admit(&tx, now)? {
            Ok(()) => {}
            Err(code) => return Err(SubmitError::Refused(code)),
        }
        if self.pool.add(tx.clone(), local)? {
            // Wakes the driver; a full queue means that it is awake.
            self.events.try_send(Event::Tick).ok();
            if local {
                self.links.broadcast(&PeerMessage::Transactions(vec![tx]));
            }
        }
        Ok(id)
    }

    /// Signs and submits an action of this node's own member.
    pub fn submit_own(&self, action: Action) -> Result<TxId, SubmitError> {
        self.submit(own_tx(&self.chain, &self.key, clock::now(), action), true)
    }

    /// How far a transaction has come.
    pub fn tx_status(&self, id: &TxId) -> Result<TxStatus, twinfold_ledger::LedgerError> {
        let (level, receipt) = match self.reader.tx(id)? {
            Some((_, height, receipt)) => {
                let certified = *self.stable.borrow() >= height;
                (if certified { Level::Certified } else { Level::Executed }, Some(receipt))
            }
            None if self.pool.contains(id) => (Level::Admitted, None),
            None => (Level::Unknown, None),
        };
        let result = receipt.as_ref().map(|receipt| receipt.code.text().to_string());
        Ok(TxStatus { id: *id, level, receipt, result })
    }

    /// Keeps an uploaded payload and gathers a quorum of storage receipts for it.
    pub async fn accept_upload(
        &self,
        incoming: Incoming,
        proof: UploadProof,
    ) -> Result<AvailabilityCertificate, BlobError> {
        let blob = incoming.identity(self.reader.committee().size());
        self.exchange.check_upload(&blob, &proof, clock::now().0)?;
        let (blobs, uploader) = (self.blobs.clone(), proof.key);
        tokio::task::spawn_blocking(move || blobs.keep(incoming, &blob, uploader))
            .await
            .map_err(|error| BlobError::NotPermitted(error.to_string()))??;
        self.exchange.certify(&blob, &proof).await
    }

    /// A payload's content, from here or from another node.
    pub async fn blob(&self, digest: &BlobDigest) -> Result<Vec<u8>, BlobError> {
        self.exchange.blob(digest).await
    }

    /// A model's canonical form by content digest. Models that came from outside are
    /// payloads; folded ones stand in the model store of whoever folded them.
    pub async fn model(
        &self,
        digest: &Digest,
        blob: Option<BlobDigest>,
    ) -> Result<Vec<u8>, BlobError> {
        if let Some(content) = self.models.read(digest)? {
            return Ok(content);
        }
        let Some(blob) = blob else { return self.exchange.model(digest).await };
        let content = self.exchange.blob(&blob).await?;
        if twinfold_types::model::model_digest(&content) != *digest {
            return Err(BlobError::Mismatch(format!("the payload named for model {digest}")));
        }
        self.models.put(digest, &content)?;
        Ok(content)
    }
}
