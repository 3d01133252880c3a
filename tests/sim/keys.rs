//! Cheap signatures for the simulator: a keyed hash that everyone can check because
//! everyone can compute it. Nobody in the simulator forges; one seed in a hundred
//! runs with real Ed25519.

use std::sync::Arc;
use twinfold_types::{
    Digest, PublicKey, SecretKey, Signature,
    hash::Tag,
    key::{Signer, Statement, StrictEd25519, Verifier},
};

struct HashKey(PublicKey);

fn keyed_hash(key: &PublicKey, statement: &Statement) -> Signature {
    let mut message = [0; 64];
    message[..32].copy_from_slice(&key.0);
    message[32..].copy_from_slice(statement.bytes());
    let digest = Digest::of_bytes(Tag::Sign, &message);
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&digest.0);
    Signature(bytes)
}

impl Signer for HashKey {
    fn public_key(&self) -> PublicKey {
        self.0
    }
    fn sign(&self, statement: &Statement) -> Signature {
        keyed_hash(&self.0, statement)
    }
}

struct HashVerifier;

impl Verifier for HashVerifier {
    fn verify(&self, key: &PublicKey, statement: &Statement, signature: &Signature) -> bool {
        *signature == keyed_hash(key, statement)
    }
}

pub fn signer(index: usize, real: bool) -> Arc<dyn Signer> {
    let seed = [index as u8 + 1; 32];
    if real { Arc::new(SecretKey::from_seed(&seed)) } else { Arc::new(HashKey(PublicKey(seed))) }
}

pub fn verifier(real: bool) -> Arc<dyn Verifier> {
    if real { Arc::new(StrictEd25519) } else { Arc::new(HashVerifier) }
}
