//! Giving fragments to their holders: each gets the one of its seat, and answers with a receipt
//! once it is verified and synced. A transfer that breaks goes on where it stopped.

use super::{
    BlobError,
    exchange::Inner,
    fragment::{Body, Header},
    staging::{Outgoing, Staged},
    wire::{Answer, Request, SILENCE_MAX, UploadProof, receive, transfer_time, unexpected},
};
use crate::network::{NetworkError, Peer};
use futures::AsyncWriteExt;
use std::{sync::atomic::Ordering, time::Duration};
use tokio::task::JoinSet;
use twinfold_types::{
    AvailabilityCertificate, BlobId, PublicKey, SeatIndex,
    blob::{Hashes, StorageReceipt},
    limits,
};

/// Groups read and sent at once.
const GROUPS_AT_ONCE: u64 = (limits::BLOB_CHUNK_BYTES / limits::PIECE_BYTES) as u64;
/// How often a broken transfer is taken up again, and after how long.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);

/// One seat's fragment, ready to be sent. Its file goes when nobody sends it any more.
enum Parcel {
    Coded(Outgoing),
    Whole(Body),
}

impl Parcel {
    fn body(&self) -> &Body {
        match self {
            Self::Coded(outgoing) => &outgoing.body,
            Self::Whole(body) => body,
        }
    }
}

/// The fragment that a seat holds: its own, or the one that all whole copies are.
pub fn place(blob: &BlobId, seat: SeatIndex) -> u16 {
    if blob.k == 1 { 0 } else { seat.0 }
}

/// The fragment that a node has to hold of a payload that the ledger names. A committee may have
/// more seats than when it was coded.
pub fn own_fragment(blob: &BlobId, seat: Option<SeatIndex>) -> Option<u16> {
    let whole = (blob.k == 1).then_some(0);
    seat.map(|seat| place(blob, seat)).or(whole).filter(|fragment| *fragment < blob.n)
}

impl Inner {
    /// Keeps this seat's fragment, gives the others theirs, and gathers receipts from a quorum.
    pub(super) async fn disperse(
        self: &std::sync::Arc<Self>,
        mut staged: Staged,
        proof: &UploadProof,
    ) -> Result<AvailabilityCertificate, BlobError> {
        let (blob, committee) = (staged.id, self.reader.committee());
        if usize::from(blob.n) != committee.size() {
            let reason = "another epoch began meanwhile: cut the payload for its committee";
            return Err(BlobError::NotPermitted(reason.into()));
        }
        let own = self.keys.of_seat(&committee).map(|(seat, _)| place(&blob, seat));
        let (inner, key) = (self.clone(), proof.key);
        let staged = tokio::task::spawn_blocking(move || {
            inner.keep_own(&mut staged, own, key).map(|()| staged)
        });
        let mut staged =
            staged.await.map_err(|error| BlobError::NotPermitted(error.to_string()))??;
        let mut receipts: Vec<StorageReceipt> =
            own.and_then(|fragment| self.own_receipt(&blob, fragment)).into_iter().collect();
        let mut pushes = JoinSet::new();
        for peer in self.validators() {
            let Some(seat) = committee.seat_of(&peer.member) else { continue };
            let fragment = place(&blob, seat);
            let Some(parcel) = self.parcel(&mut staged, fragment)? else { continue };
            let (inner, proof) = (self.clone(), proof.clone());
            pushes.spawn(async move {
                let receipt = inner.deliver(&peer, &blob, fragment, &proof, parcel).await;
                receipt.map_err(|error| (peer.name, error))
            });
        }
        while receipts.len() < committee.quorum() {
            match pushes.join_next().await {
                Some(Ok(Ok(receipt))) => receipts.push(receipt),
                Some(Ok(Err((peer, error)))) => tracing::warn!(%peer, %error, "no storage receipt"),
                Some(Err(error)) => tracing::error!(%error, "a push ended badly"),
                None => {
                    let (got, needed) = (receipts.len(), committee.quorum());
                    return Err(BlobError::TooFewReceipts { got, needed });
                }
            }
        }
        // The rest still get theirs, without anyone waiting for it.
        pushes.detach_all();
        receipts.sort_by_key(|receipt| receipt.seat);
        let certificate = AvailabilityCertificate { epoch: committee.epoch, blob, receipts };
        certificate.verify(&self.chain, &committee, &*self.verifier)?;
        Ok(certificate)
    }

    /// A node without a seat keeps a whole copy, for others to have, and no fragment.
    fn keep_own(
        &self,
        staged: &mut Staged,
        own: Option<u16>,
        uploader: PublicKey,
    ) -> Result<(), BlobError> {
        let whole = (staged.id.k == 1).then_some(0);
        let Some(fragment) = own.or(whole) else { return Ok(()) };
        let hashes = staged.hashes(fragment);
        let Some(draft) = staged.take(fragment) else { return Ok(()) };
        let header = Header { blob: staged.id, uploader, fragment };
        self.blobs.keep(draft, &header, &hashes)
    }

    fn parcel(&self, staged: &mut Staged, fragment: u16) -> Result<Option<Parcel>, BlobError> {
        if staged.id.k == 1 {
            let digest = staged.id.digest();
            let stored = self.blobs.stored(&digest).ok_or(BlobError::NotFound(digest))?;
            return Ok(Some(Parcel::Whole(stored.body)));
        }
        Ok(staged.outgoing(fragment)?.map(Parcel::Coded))
    }

    /// Takes a broken transfer up again.
    async fn deliver(
        &self,
        peer: &Peer,
        blob: &BlobId,
        fragment: u16,
        proof: &UploadProof,
        parcel: Parcel,
    ) -> Result<StorageReceipt, BlobError> {
        let mut attempt = 1;
        loop {
            let pushed = self.push(peer, blob, fragment, proof, parcel.body()).await;
            match pushed {
                Err(BlobError::Network(error)) if attempt < ATTEMPTS => {
                    tracing::debug!(peer = %peer.name, %error, "a push broke off");
                    tokio::time::sleep(PAUSE * attempt).await;
                    attempt += 1;
                }
                pushed => return pushed,
            }
        }
    }

    async fn push(
        &self,
        peer: &Peer,
        blob: &BlobId,
        fragment: u16,
        proof: &UploadProof,
        body: &Body,
    ) -> Result<StorageReceipt, BlobError> {
        let work = async {
            let request = Request::Store { blob: *blob, fragment, proof: proof.clone() };
            let behind = self.behind(blob, body)?;
            let (mut stream, mut answer) = self.caller.ask(peer, &request, &behind).await?;
            if let Answer::Continue { group } = answer {
                self.send_groups(&mut stream, body, group).await?;
                answer = receive(&mut stream, &peer.id).await?;
            }
            match answer {
                Answer::Stored { seat, signature } => {
                    self.caller.keep(peer, stream);
                    self.checked_receipt(peer, blob, seat, signature)
                }
                Answer::Refused(reason) => Err(BlobError::NotPermitted(reason)),
                other => Err(unexpected(peer, &other).into()),
            }
        };
        tokio::time::timeout(transfer_time(body.hashes.groups.length()), work)
            .await
            .map_err(|_| NetworkError::TimedOut { peer: peer.name.clone() })?
    }

    /// What goes right behind the request: the hashes, and the bytes if they are few.
    fn behind(&self, blob: &BlobId, body: &Body) -> Result<Vec<u8>, BlobError> {
        let mut behind = body.hashes.encode(blob);
        if Hashes::goes_with_bytes(blob) {
            behind.extend(body.read(0..body.groups()).map_err(NetworkError::Io)?);
        }
        self.sent_bytes.fetch_add(behind.len() as u64, Ordering::Relaxed);
        Ok(behind)
    }

    /// The groups from one on, to the last.
    async fn send_groups(
        &self,
        stream: &mut libp2p::Stream,
        body: &Body,
        from: u64,
    ) -> Result<(), NetworkError> {
        let mut next = from;
        while next < body.groups() {
            let end = (next + GROUPS_AT_ONCE).min(body.groups());
            let bytes = body.read(next..end)?;
            tokio::time::timeout(SILENCE_MAX, stream.write_all(&bytes))
                .await
                .map_err(|_| NetworkError::TimedOut { peer: "a holder".into() })??;
            self.sent_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            next = end;
        }
        Ok(stream.flush().await?)
    }
}
