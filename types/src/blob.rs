//! Payloads beside the chain. A blob's identity commits to its length, content,
//! coding (n, k) and fragment root; a whole copy is k = 1, whose n equal leaves
//! make the root. A validator's *storage receipt* says it holds its fragment,
//! verified and synced; a quorum of receipts is the *availability certificate*
//! without which no transaction may name the blob.

use crate::{
    Committee, Digest, Epoch, SeatIndex, Signature,
    hash::Tag,
    key::{Purpose, Statement, Verifier, statement},
    limits,
    vote::{CertificateError, verify_signatures},
};
use serde::{Deserialize, Serialize};

/// Digest of a [`BlobId`].
pub type BlobDigest = Digest;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BlobId {
    /// Bytes.
    pub length: u64,
    /// Plain BLAKE3 of the content.
    pub content: Digest,
    /// Fragments in all.
    pub n: u16,
    /// Fragments that suffice.
    pub k: u16,
    pub fragment_root: Digest,
}

impl BlobId {
    /// Identity of content stored whole by each of n seats.
    pub fn whole_copies(content: &[u8], n: usize) -> Self {
        let hash = Digest(*blake3::hash(content).as_bytes());
        Self::of_whole_copies(content.len() as u64, hash, n)
    }

    /// The same from the content's length and BLAKE3.
    pub fn of_whole_copies(length: u64, content: Digest, n: usize) -> Self {
        let leaf = Digest::of(Tag::BlobLeaf, &(length, content));
        let leaves = vec![leaf; n];
        Self { length, content, n: n as u16, k: 1, fragment_root: fragment_root(&leaves) }
    }

    pub fn digest(&self) -> BlobDigest {
        Digest::of(Tag::Blob, self)
    }

    /// Whether content is what a digest names, as whole copies for a committee of any size: a blob
    /// keeps the number of seats that it was stored for.
    pub fn is_whole_copy(content: &[u8], digest: &BlobDigest) -> bool {
        let hash = Digest(*blake3::hash(content).as_bytes());
        let length = content.len() as u64;
        (1..=limits::SEATS_MAX).any(|n| Self::of_whole_copies(length, hash, n).digest() == *digest)
    }

    /// Whether the identity is one that this version can store: whole copies
    /// only, at most the size limit, root consistent.
    pub fn is_supported(&self) -> bool {
        self.length <= limits::BLOB_BYTES_MAX
            && (1..=limits::SEATS_MAX).contains(&usize::from(self.n))
            && *self == Self::of_whole_copies(self.length, self.content, usize::from(self.n))
    }
}

/// Merkle root over fragment leaves (RFC 6962's tree shape, BLAKE3 tagged).
fn fragment_root(leaves: &[Digest]) -> Digest {
    crate::merkle::root_with(leaves, &|left, right| Digest::of(Tag::BlobLeaf, &(left, right)))
        .unwrap_or(Digest::ZERO)
}

/// What a seat signs when it has stored its fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageReceiptBody {
    pub epoch: Epoch,
    pub blob: BlobDigest,
    pub seat: SeatIndex,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StorageReceipt {
    pub seat: SeatIndex,
    pub signature: Signature,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AvailabilityCertificate {
    pub epoch: Epoch,
    pub blob: BlobId,
    /// In ascending order of seats, none twice.
    pub receipts: Vec<StorageReceipt>,
}

impl StorageReceiptBody {
    pub fn statement(&self, chain: &Digest, committee: &Digest) -> Statement {
        statement(Purpose::StorageReceipt, chain, &(committee, self))
    }
}

impl AvailabilityCertificate {
    /// A quorum of the committee holds the blob.
    pub fn verify(
        &self,
        chain: &Digest,
        committee: &Committee,
        verifier: &dyn Verifier,
    ) -> Result<(), CertificateError> {
        if self.epoch != committee.epoch {
            return Err(CertificateError::WrongEpoch {
                certificate_epoch: self.epoch,
                committee_epoch: committee.epoch,
            });
        }
        // Each seat signs a statement of its own (its index is inside), so the
        // count and order are checked here and each signature alone.
        let needed = committee.quorum();
        if self.receipts.len() < needed || self.receipts.len() > committee.size() {
            return Err(CertificateError::NoQuorum {
                signatures: self.receipts.len(),
                quorum: needed,
            });
        }
        if !self.receipts.is_sorted_by(|a, b| a.seat < b.seat) {
            return Err(CertificateError::SeatOrder);
        }
        let (blob, committee_digest) = (self.blob.digest(), committee.digest());
        for receipt in &self.receipts {
            let body = StorageReceiptBody { epoch: self.epoch, blob, seat: receipt.seat };
            let one = [(receipt.seat, receipt.signature)];
            verify_signatures(
                &one,
                1,
                &body.statement(chain, &committee_digest),
                committee,
                verifier,
            )?;
        }
        Ok(())
    }
}

/// What an uploader signs before a node takes its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadBody {
    pub blob: BlobDigest,
    /// Milliseconds since the Unix epoch; refused when far from the node's clock.
    pub time_ms: u64,
}

impl UploadBody {
    pub fn statement(&self, chain: &Digest) -> Statement {
        statement(Purpose::Upload, chain, self)
    }
}
