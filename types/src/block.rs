//! Blocks. A header holds no view and no certificate, so the digest of a block
//! stays the same when a later view proposes it again.

use crate::{Digest, Epoch, Height, SignedTx, TimeMs, hash::Tag, key::Verifier, limits};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub chain: Digest,
    /// Version of the rules: the epoch's.
    pub protocol: u32,
    pub epoch: Epoch,
    pub height: Height,
    /// Digest of the parent's header; the genesis digest at height 1.
    pub parent: Digest,
    /// Above the parent's.
    pub time: TimeMs,
    /// Commits to every transaction's identity and signature, in order.
    pub body: Digest,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    pub header: Header,
    pub txs: Vec<SignedTx>,
}

/// Why a block is invalid. Depends on the block, its parent's header and the
/// epoch only, never on executed state.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BlockError {
    #[error("the header's body digest does not match the transactions")]
    Body,
    #[error("{txs} transactions of {bytes} bytes are over the limits")]
    TooLarge { txs: usize, bytes: usize },
    #[error("payloads of {bytes} bytes are over the limit of a block")]
    Payload { bytes: u64 },
    #[error("transaction {index} is malformed: {reason}")]
    Tx { index: usize, reason: String },
    #[error("transaction {index} is not valid at block time {time}")]
    TxTime { index: usize, time: TimeMs },
    #[error("transaction {index} stands twice in the block")]
    TxTwice { index: usize },
}

impl Header {
    pub fn digest(&self) -> Digest {
        Digest::of(Tag::Header, self)
    }
}

/// What a header's `body` must be for these transactions.
pub fn body_digest(txs: &[SignedTx]) -> Digest {
    // The canonical encoding of a list of (identity, signature).
    let mut items = Vec::with_capacity(8 + txs.len() * 96);
    items.extend_from_slice(&(txs.len() as u64).to_le_bytes());
    for tx in txs {
        items.extend_from_slice(&tx.id().0.0);
        items.extend_from_slice(&tx.signature.0);
    }
    Digest::of_bytes(Tag::BlockBody, &items)
}

impl Block {
    pub fn digest(&self) -> Digest {
        self.header.digest()
    }

    /// Length of the encoded transactions.
    pub fn txs_bytes(&self) -> usize {
        8 + self.txs.iter().map(SignedTx::encoded_bytes).sum::<usize>()
    }

    /// The place of a transaction that stands in the block before.
    fn repeated(&self) -> Option<usize> {
        let mut places: Vec<_> = (0..).zip(&self.txs).map(|(at, tx)| (tx.id(), at)).collect();
        places.sort_unstable();
        places.windows(2).find(|pair| pair[0].0 == pair[1].0).map(|pair| pair[1].1)
    }

    /// Everything about a block that needs no ancestor and no state.
    pub fn check(&self, verifier: &dyn Verifier) -> Result<(), BlockError> {
        let bytes = self.txs_bytes();
        if self.txs.len() > limits::BLOCK_TXS_MAX || bytes > limits::BLOCK_BYTES_MAX {
            return Err(BlockError::TooLarge { txs: self.txs.len(), bytes });
        }
        if body_digest(&self.txs) != self.header.body {
            return Err(BlockError::Body);
        }
        let payload = self.txs.iter().map(SignedTx::payload_bytes).fold(0u64, u64::saturating_add);
        if payload > limits::BLOCK_PAYLOAD_BYTES_MAX {
            return Err(BlockError::Payload { bytes: payload });
        }
        if let Some(index) = self.repeated() {
            return Err(BlockError::TxTwice { index });
        }
        for (index, tx) in self.txs.iter().enumerate() {
            if !tx.is_valid_at(self.header.time) {
                return Err(BlockError::TxTime { index, time: self.header.time });
            }
            tx.check(&self.header.chain, verifier)
                .map_err(|error| BlockError::Tx { index, reason: error.to_string() })?;
        }
        Ok(())
    }
}
