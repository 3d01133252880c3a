//! What the parts of a running node share: the API, the folder and the router all
//! act through it.

use crate::{
    blobs::{BlobError, BlobStore, Exchange, ModelStore, Staging, exchange::UploadProof},
    clock,
    network::{Links, Peers},
    pool::{Pool, PoolError, Source},
    proposals::Proposals,
    recover::heard::Heard,
    seat_keys::SeatKeys,
    verified::Verified,
};
use parking_lot::Mutex;
use std::{path::PathBuf, sync::Arc};
use tokio::sync::{Notify, mpsc, watch};
use twinfold_consensus::{Diagnosis, Event};
use twinfold_ledger::{LedgerError, Reader};
use twinfold_types::{
    AvailabilityCertificate, BlobDigest, Code, Digest, Evidence, Height, PublicKey, SeatIndex,
    SecretKey, SignedTx, TimeMs, TxId, View,
    api::{Level, TxStatus},
    genesis::Genesis,
    key::{Signer, Verifier},
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

/// Why a state would refuse a transaction now, if it would.
pub type Admit = fn(&Reader, &SignedTx, TimeMs) -> Result<Result<(), Code>, LedgerError>;

/// What decides whether a transaction comes in. The product has one door; measuring
/// agreement alone takes another.
#[derive(Clone)]
pub struct Door {
    /// Shared by everything that checks signatures here.
    pub verifier: Arc<dyn Verifier>,
    /// What the newest state says of a transaction.
    pub admit: Admit,
}

impl Default for Door {
    fn default() -> Self {
        Self { verifier: Arc::new(Verified::default()), admit: Reader::admit }
    }
}

pub struct Node {
    pub genesis: Genesis,
    pub chain: Digest,
    pub own: PublicKey,
    /// The member key: signs transactions.
    pub key: Arc<SecretKey>,
    /// Consensus keys: sign votes, receipts, fold results.
    pub keys: Arc<SeatKeys>,
    pub door: Door,
    pub data: PathBuf,
    pub reader: Reader,
    pub pool: Arc<Pool>,
    /// Tells that there came something into the pool.
    pub arrivals: Notify,
    /// What the peers are to hear of.
    pub outgoing: mpsc::Sender<Vec<SignedTx>>,
    pub proposals: Arc<Proposals>,
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
    pub heard: Heard,
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
    Ledger(#[from] LedgerError),
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

    /// Checks a client's transaction, keeps it in the pool and passes it on.
    pub fn submit(&self, tx: SignedTx) -> Result<TxId, SubmitError> {
        let id = tx.id();
        self.submit_all(vec![tx], Source::Client).pop().unwrap_or(Ok(id))
    }

    /// The same for many at once, which wake the driver and reach the peers together.
    /// One answer for each, in their order.
    pub fn submit_all(&self, txs: Vec<SignedTx>, from: Source) -> Vec<Result<TxId, SubmitError>> {
        let mut taken = Vec::new();
        let take = |tx: SignedTx| {
            let id = tx.id();
            if self.take(&tx, &id, from)? {
                taken.push(tx);
            }
            Ok(id)
        };
        let answers = txs.into_iter().map(take).collect();
        if !taken.is_empty() {
            // Wakes the driver; a full queue means that it is awake.
            self.events.try_send(Event::Tick).ok();
            self.arrivals.notify_one();
            if from == Source::Client
                && let Err(full) = self.outgoing.try_send(taken)
            {
                self.tell_all(full.into_inner());
            }
        }
        answers
    }

    /// What peers tell of a recovery that is not accepted here.
    pub fn recovery_told(&self) -> Option<String> {
        self.heard.notice(self.reader.head().height)
    }

    /// The leader of the view moved to.
    pub fn leader(&self) -> Option<PublicKey> {
        let leader = self.agreement.borrow().leader;
        self.reader.committee().validator(leader).copied()
    }

    /// Tells the leader alone, whose block will tell everyone.
    pub fn forward(&self, leader: &PublicKey, txs: Vec<SignedTx>) {
        if *leader != self.own {
            self.links.send(leader, &PeerMessage::Forward(txs));
        }
    }

    pub fn tell_all(&self, txs: Vec<SignedTx>) {
        let message = PeerMessage::Transactions(txs);
        self.links.broadcast(&message);
        if let PeerMessage::Transactions(txs) = &message {
            self.pool.note_known(txs);
        }
    }

    /// Whether a transaction is new here and may wait for a block.
    fn take(&self, tx: &SignedTx, id: &TxId, from: Source) -> Result<bool, SubmitError> {
        if let Some(reason) = self.halted.lock().clone() {
            return Err(SubmitError::Halted(reason));
        }
        // Sent again: the sender may ask for its receipt.
        if self.pool.contains(id) || (from == Source::Client && self.reader.tx(id)?.is_some()) {
            return Ok(false);
        }
        // Refused before anything is worked out for it.
        self.pool.check_room(tx, from)?;
        tx.check(&self.chain, &*self.door.verifier)?;
        let now = clock::now();
        let (start, until) = (tx.body.valid_from, tx.body.valid_until);
        if start > now.plus(limits::DRIFT_MS_MAX) || until < now {
            return Err(SubmitError::NotNow { from: start, until, now });
        }
        match (self.door.admit)(&self.reader, tx, now)? {
            Ok(()) => Ok(self.pool.add(tx.clone(), from)?),
            Err(code) => Err(SubmitError::Refused(code)),
        }
    }

    /// Signs and submits an action of this node's own member.
    pub fn submit_own(&self, action: Action) -> Result<TxId, SubmitError> {
        self.submit(own_tx(&self.chain, &self.key, clock::now(), action))
    }

    /// How far a transaction has come.
    pub fn tx_status(&self, id: &TxId) -> Result<TxStatus, LedgerError> {
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

    /// Gives every seat its fragment of an uploaded payload, whose signature for the identity
    /// `signed` was checked, and gathers a quorum of receipts.
    pub async fn accept_upload(
        &self,
        staging: Staging,
        signed: BlobDigest,
        proof: UploadProof,
    ) -> Result<AvailabilityCertificate, BlobError> {
        let staged = tokio::task::spawn_blocking(move || staging.finish()).await;
        let staged = staged.map_err(|_| BlobError::Stopped)??;
        if staged.id.digest() != signed {
            return Err(BlobError::OtherContent { came: staged.id.digest(), signed });
        }
        self.exchange.check_upload(&staged.id, &proof)?;
        self.exchange.disperse(staged, &proof).await
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
