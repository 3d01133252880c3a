//! Proofs and their verification, without I/O: what an auditor holds against
//! nothing but the genesis file.
//!
//! The chain of trust: genesis names the first committee; each epoch's committee names the
//! next one; a committee's quorum signs a checkpoint (state root, audit root); the state root
//! proves values, the audit root proves receipts; a receipt names a transaction; its signature
//! names a key.

use crate::{
    Committee, Digest, Receipt, SignedTx, codec,
    genesis::Genesis,
    handover::{Trail, TrailError},
    key::StrictEd25519,
    merkle,
    recovery::Accepted,
    state_key::StateKey,
    vote::{CertificateError, CheckpointCertificate},
};
use jmt::{KeyHash, RootHash, proof::SparseMerkleProof};
use serde::{Deserialize, Serialize};

/// BLAKE3 as the state tree's hash.
#[derive(Clone, Debug)]
pub struct TreeHasher(blake3::Hasher);

impl jmt::SimpleHasher for TreeHasher {
    fn new() -> Self {
        Self(blake3::Hasher::new())
    }
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }
    fn finalize(self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

/// Where a key stands in the tree.
pub fn key_hash(key: &[u8]) -> KeyHash {
    KeyHash(Digest::of_bytes(crate::hash::Tag::StateKey, key).0)
}

/// A value of the state (or its absence) under a checkpoint's state root.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StateProof {
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
    pub path: SparseMerkleProof<TreeHasher>,
}

/// A receipt's place in the audit log of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditProof {
    pub receipt: Receipt,
    pub index: u64,
    pub path: Vec<Digest>,
}

/// Everything an offline check needs beside the genesis file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bundle {
    pub format: u32,
    pub chain: Digest,
    /// From the first committee to the checkpoint's.
    pub trail: Trail,
    pub checkpoint: CheckpointCertificate,
    /// Transactions with their receipts' proofs.
    pub transactions: Vec<(SignedTx, AuditProof)>,
    pub states: Vec<StateProof>,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProofError {
    #[error("the bundle is of chain {bundle}, the genesis file of {genesis}")]
    WrongChain { bundle: Digest, genesis: Digest },
    #[error("format {0} is not known to this program")]
    Format(u32),
    #[error("the way from genesis to the checkpoint's committee: {0}")]
    Trail(#[from] TrailError),
    #[error("the checkpoint's certificate: {0}")]
    Checkpoint(#[from] CertificateError),
    #[error("the value of state key {key} is not under the checkpoint's state root: {reason}")]
    State { key: String, reason: String },
    #[error("receipt {index} is not under the checkpoint's audit root")]
    Audit { index: u64 },
    #[error("a receipt is of another transaction than the one beside it")]
    WrongReceipt,
    #[error("a transaction: {0}")]
    Tx(String),
}

impl StateProof {
    pub fn verify(&self, state_root: &Digest) -> Result<(), ProofError> {
        let hash = key_hash(&self.key);
        self.path.verify(RootHash(state_root.0), hash, self.value.as_ref()).map_err(|error| {
            let key = self.key.iter().map(|byte| format!("{byte:02x}")).collect();
            ProofError::State { key, reason: error.to_string() }
        })
    }

    /// Whether the proof speaks of this key.
    pub fn is_of(&self, key: &StateKey) -> bool {
        self.key == key.bytes()
    }
}

impl AuditProof {
    pub fn verify(&self, audit_size: u64, audit_root: &Digest) -> Result<(), ProofError> {
        let leaf = merkle::leaf_hash(&codec::encode(&self.receipt));
        let root = merkle::root_from_inclusion(leaf, self.index, audit_size, &self.path);
        if root != Some(*audit_root) {
            return Err(ProofError::Audit { index: self.index });
        }
        Ok(())
    }
}

impl Bundle {
    /// Checks every part against the genesis file and nothing else but the recoveries that the
    /// caller accepted.
    pub fn verify(&self, genesis: &Genesis, accepted: &Accepted) -> Result<(), ProofError> {
        if self.format != crate::genesis::FORMAT_VERSION {
            return Err(ProofError::Format(self.format));
        }
        let chain = genesis.digest();
        if self.chain != chain {
            return Err(ProofError::WrongChain { bundle: self.chain, genesis: chain });
        }
        let first = genesis.committee().digest();
        let committee = self.trail.follow(&chain, &first, accepted, &StrictEd25519)?;
        self.verify_under(&chain, committee)
    }

    fn verify_under(&self, chain: &Digest, committee: &Committee) -> Result<(), ProofError> {
        self.checkpoint.verify(chain, committee, &StrictEd25519)?;
        let checkpoint = &self.checkpoint.checkpoint;
        for (tx, audit) in &self.transactions {
            if audit.receipt.tx != Some(tx.id()) {
                return Err(ProofError::WrongReceipt);
            }
            tx.check(chain, &StrictEd25519).map_err(|error| ProofError::Tx(error.to_string()))?;
            audit.verify(checkpoint.audit_size, &checkpoint.audit_root)?;
        }
        self.states.iter().try_for_each(|state| state.verify(&checkpoint.state_root))
    }

    /// The proved value of a key: `None` when the bundle does not speak of it,
    /// `Some(None)` when it proves the key absent.
    pub fn state(&self, key: &StateKey) -> Option<Option<&[u8]>> {
        let proof = self.states.iter().find(|proof| proof.is_of(key))?;
        Some(proof.value.as_deref())
    }
}
