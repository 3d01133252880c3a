//! Who may store what, and the receipts for it.

use super::{
    BlobError,
    exchange::Inner,
    push::place,
    wire::{UploadProof, transfer_time},
};
use crate::network::Peer;
use twinfold_types::{
    BlobDigest, BlobId, SeatIndex, Signature,
    blob::{StorageReceipt, StorageReceiptBody, UploadBody},
    key::Signer,
    member::{Member, Role},
    state_key,
};

/// An upload's signature is good for so long.
const UPLOAD_AGE_MS_MAX: u64 = 10 * 60 * 1_000;

impl Inner {
    /// Whether a payload is cut as this committee's are, and a member signed for it who may.
    pub(super) fn check_proof(
        &self,
        blob: &BlobId,
        proof: &UploadProof,
        now_ms: u64,
    ) -> Result<(), BlobError> {
        self.check_cut(blob)?;
        self.check_signed(&blob.digest(), blob.length, proof, now_ms)
    }

    pub(super) fn check_cut(&self, blob: &BlobId) -> Result<(), BlobError> {
        blob.layout().map_err(|error| BlobError::NotPermitted(error.to_string()))?;
        if !blob.is_supported() || usize::from(blob.n) != self.reader.committee().size() {
            let reason = "the payload must be cut for as many seats as the committee has";
            return Err(BlobError::NotPermitted(reason.into()));
        }
        Ok(())
    }

    /// Whether a member who may upload signed for a payload of this identity, not long ago.
    pub(super) fn check_signed(
        &self,
        digest: &BlobDigest,
        length: u64,
        proof: &UploadProof,
        now_ms: u64,
    ) -> Result<(), BlobError> {
        let refuse = |reason: &str| Err(BlobError::NotPermitted(reason.into()));
        // Signed before the content was on its way.
        let age_ms_max = UPLOAD_AGE_MS_MAX + transfer_time(length).as_millis() as u64;
        if proof.time_ms.abs_diff(now_ms) > age_ms_max {
            return refuse(
                "the upload's signature is over 10 minutes older than the transfer may take: check the clock and sign again",
            );
        }
        let body = UploadBody { blob: *digest, time_ms: proof.time_ms };
        if !proof.key.verify(&body.statement(&self.chain), &proof.signature) {
            return refuse(
                "the upload's signature does not match its key, content, time and chain",
            );
        }
        let member: Option<Member> = self
            .reader
            .get(&state_key::member(&proof.key))
            .map_err(|error| BlobError::NotPermitted(error.to_string()))?;
        let may = |member: &Member| {
            [Role::Trainer, Role::Operator, Role::Admin].iter().any(|role| member.has(*role))
        };
        match member {
            None => {
                refuse("the uploader is no member: ask an admin or your operator to add the key")
            }
            Some(member) if !may(&member) => refuse("the uploader's roles do not allow uploads"),
            Some(_) => Ok(()),
        }
    }

    /// Whether a fragment is the one that this node's seat holds.
    pub(super) fn check_place(&self, blob: &BlobId, fragment: u16) -> Result<(), BlobError> {
        let refuse = |reason: String| Err(BlobError::NotPermitted(reason));
        let Some((seat, _)) = self.keys.of_seat(&self.reader.committee()) else {
            return refuse("this node holds no seat".into());
        };
        match place(blob, seat) == fragment {
            true => Ok(()),
            false => refuse(format!("fragment {fragment} is not that of seat {seat}")),
        }
    }

    /// This seat's receipt for a fragment that is stored and synced here: none where another epoch
    /// has begun meanwhile and the seat holds another one.
    pub(super) fn own_receipt(&self, blob: &BlobId, fragment: u16) -> Option<StorageReceipt> {
        let committee = self.reader.committee();
        let (seat, key) = self.keys.of_seat(&committee)?;
        if place(blob, seat) != fragment || usize::from(blob.n) != committee.size() {
            return None;
        }
        let body = StorageReceiptBody { epoch: committee.epoch, blob: blob.digest(), seat };
        let signature = key.sign(&body.statement(&self.chain, &committee.digest()));
        Some(StorageReceipt { seat, signature })
    }

    /// A receipt as a validator sent it.
    pub(super) fn checked_receipt(
        &self,
        peer: &Peer,
        blob: &BlobId,
        seat: SeatIndex,
        signature: Signature,
    ) -> Result<StorageReceipt, BlobError> {
        let committee = self.reader.committee();
        let body = StorageReceiptBody { epoch: committee.epoch, blob: blob.digest(), seat };
        let statement = body.statement(&self.chain, &committee.digest());
        let theirs = committee.seat_of(&peer.member) == Some(seat);
        let key = committee.key(seat).filter(|_| theirs);
        if !key.is_some_and(|key| self.verifier.verify(key, &statement, &signature)) {
            return Err(BlobError::Mismatch(format!("{} sent a false storage receipt", peer.name)));
        }
        Ok(StorageReceipt { seat, signature })
    }
}
