//! Payloads beside the chain, and nothing of disk or network: what a blob's identity is,
//! how its content is cut into n fragments of which k give it back, and how a
//! fragment's stream is checked while it comes. By step:
//!
//! - `id`: the identity, and the list of fragment hashes it commits to;
//! - `layout`: lengths of stripes, pieces and fragments from (length, n, k);
//! - `code`: Reed–Solomon over k equal pieces;
//! - `encoder`: content in, stripes and hashes out; `decoder`: any k pieces of some stripes in,
//!   content or a lost piece out;
//! - `hashes`: what a fragment is held against, as it is stored and sent;
//! - `reencode`: whether the encoder was honest;
//! - `stream`: verified streaming by groups of BLAKE3's own tree;
//! - `receipt`: who holds what, signed; `reference`: what the ledger knows of it.

mod code;
mod decoder;
mod encoder;
mod hashes;
mod id;
mod layout;
mod receipt;
mod reencode;
mod reference;
#[cfg(test)]
mod scenes;
mod stream;

pub use decoder::{DecodeError, Decoder, Piece};
pub use encoder::{Encoded, Encoder, Stripe};
pub use hashes::Hashes;
pub use id::{BlobDigest, BlobId, FragmentError, FragmentList};
pub use layout::{Coding, Layout, LayoutError};
pub use receipt::{AvailabilityCertificate, StorageReceipt, StorageReceiptBody, UploadBody};
pub use reencode::{Misencoded, Reencoding, ReencodingError};
pub use reference::{BlobReference, Condemned};
pub use stream::{GroupHasher, GroupHashes, StreamError};
