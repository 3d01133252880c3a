//! What the ledger knows of a payload: a row for each that a transaction names, so that whoever
//! stores, mends or collects payloads need not read blocks.

use super::BlobId;
use crate::{Epoch, Height, PublicKey, round::RoundKey};
use serde::{Deserialize, Serialize};

/// How long a payload is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kept {
    /// Models, data sets, sealed payloads: nothing ends it.
    ForGood,
    /// An update: until its task's retention after the end of this round, the newest that it is in.
    Round(RoundKey),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobReference {
    pub blob: BlobId,
    /// Whose transaction named it first, at which height, and the epoch whose seats certified it.
    pub by: PublicKey,
    pub height: Height,
    pub epoch: Epoch,
    /// Times that a transaction named it.
    pub references: u64,
    pub kept: Kept,
}

impl Kept {
    /// How long a payload is wanted that is wanted for two reasons, the second the newer one.
    #[must_use]
    pub fn and(self, newer: Self) -> Self {
        match self {
            Kept::ForGood => self,
            Kept::Round(_) => newer,
        }
    }
}
