//! Sealed payloads, and nothing of disk, network or randomness: a payload that only its readers
//! can read, whoever stores it. By step:
//!
//! - a *content key* of 32 random bytes, drawn for one payload and for no other;
//! - `stream`: content in, a sealed stream out, segment by segment, and back; what is cut off,
//!   put in another order or changed is refused before a byte of it is given out;
//! - `wrap`: the content key for one reader, under the reader's encryption key (HPKE);
//! - `record`: what the ledger keeps: who sealed it, for whom, and that it was purged;
//! - `keyfile`: the file of a member's encryption secrets.
//!
//! Sealing comes before the payload's identity: what is cut, coded, stored and named is the sealed
//! stream. What this promises, and what it cannot, stands in docs/privacy.md.

mod keyfile;
mod record;
#[cfg(test)]
mod scenes;
mod stream;
mod wrap;

pub use keyfile::{ENCRYPTION_SECRETS_MAX, EncryptionKeyFile, StoredEncryptionKey};
pub use record::{RegisterSealed, SealedAction, SealedRecord};
pub use stream::{
    ContentKey, Drawn, Header, Opener, PREAMBLE_BYTES, SEALED_SEGMENT_BYTES, SealError, Sealer,
};
pub use wrap::{EncryptionSecret, SealedWrap, WrapError, WrapPlace};
