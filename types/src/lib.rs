//! What every other crate speaks: numbers, keys, digests, the one canonical
//! encoding, transactions, blocks, certificates, limits, the JSON shapes of the
//! HTTP API, and the *verification* of every proof. Nothing here does I/O,
//! reads a clock or draws randomness.

pub mod api;
pub mod blob;
pub mod block;
pub mod codec;
pub mod dataset;
pub mod evidence;
pub mod genesis;
pub mod handover;
pub mod hash;
pub mod id;
pub mod keeping;
pub mod key;
pub mod keyfile;
pub mod limits;
pub mod member;
pub mod merkle;
pub mod message;
pub mod model;
pub mod proof;
pub mod quorum;
pub mod receipt;
pub mod recovery;
pub mod round;
pub mod sealed;
pub mod signed;
pub mod signed_read;
pub mod stake;
pub mod state_key;
pub mod stated;
pub mod store;
pub mod subtree;
pub mod task;
pub mod text;
pub mod trust;
pub mod tx;
pub mod vote;

pub use blob::{AvailabilityCertificate, BlobDigest, BlobId};
pub use block::{Block, Header};
pub use dataset::DatasetId;
pub use evidence::Evidence;
pub use hash::Digest;
pub use id::{ClusterId, Epoch, Height, RegionId, RoundNumber, SeatIndex, TaskId, TimeMs, View};
pub use key::{PublicKey, SecretKey, Signature};
pub use quorum::Committee;
pub use receipt::{Code, Event, Receipt};
pub use signed::SignedTx;
pub use stake::Stake;
pub use tx::{Action, TxId};
