//! What the ledger knows of a sealed payload. It never sees the content key, and of the content no
//! digest but the salted one.

use super::wrap::SealedWrap;
use crate::{AvailabilityCertificate, BlobDigest, BlobId, Digest, Height, PublicKey, TimeMs};
use serde::{Deserialize, Serialize};

/// What the owner of a sealed payload says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SealedAction {
    /// Makes the sender its owner.
    Register(Box<RegisterSealed>),
    /// Lets these members read, or read with another key than before.
    Grant { blob: BlobDigest, wraps: Vec<SealedWrap> },
    /// Takes these members' wraps away.
    Revoke { blob: BlobDigest, members: Vec<PublicKey> },
    /// Takes all wraps away, for good: the purge.
    Destroy(BlobDigest),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterSealed {
    pub payload: AvailabilityCertificate,
    /// BLAKE3 of the content, keyed by the salt inside the sealed stream.
    pub commitment: Digest,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SealedRecord {
    pub owner: PublicKey,
    pub blob: BlobId,
    /// To the content; salted.
    pub commitment: Digest,
    /// Members who can read.
    pub wraps: u32,
    pub height: Height,
    pub time: TimeMs,
    /// When it was purged.
    pub destroyed: Option<TimeMs>,
}
