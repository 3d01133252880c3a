//! Who holds what. A validator's *storage receipt* says that it holds its fragment,
//! verified and synced; a quorum of receipts is the *availability certificate*
//! without which no transaction may name the blob.

use super::{BlobDigest, BlobId};
use crate::{
    Committee, Digest, Epoch, SeatIndex, Signature,
    key::{Purpose, Statement, Verifier, statement},
    vote::{CertificateError, verify_signatures},
};
use serde::{Deserialize, Serialize};

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
