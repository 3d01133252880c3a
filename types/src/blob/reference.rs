//! What the ledger knows of a payload: a row for each that is wanted, so that whoever stores, mends
//! or collects payloads need not read blocks.

use super::BlobId;
use crate::{Epoch, Height, PublicKey, TimeMs};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BlobReference {
    pub blob: BlobId,
    /// Whose transaction named it first, at which height, and the epoch whose seats certified it.
    pub by: PublicKey,
    /// Its organisation then: both have the bytes on their account.
    pub organisation: String,
    pub height: Height,
    pub epoch: Epoch,
    /// Reasons to keep it: each naming by a transaction until what that says is over (an update's
    /// retention; models and data sets have no end), and a hold. Without one the row goes, and
    /// after it the payload.
    pub reasons: u64,
}

/// A payload that was cut by a liar: no content has its identity, and every reader is told so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condemned {
    /// Whose transaction named it first, and its organisation then.
    pub by: PublicKey,
    pub organisation: String,
    /// Members of seats who each decoded it and coded it again.
    pub found_by: BTreeSet<PublicKey>,
    pub height: Height,
    pub time: TimeMs,
}
