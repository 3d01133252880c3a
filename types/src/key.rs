//! Keys, and what each signature is for.
//!
//! A signature is over the digest of (purpose, chain, statement); the purpose is
//! an enum, so a signature given for one purpose verifies for no other, and the
//! chain is the genesis digest, so none is good on another chain. A signature is
//! valid iff Ed25519's strict rule accepts it (RFC 8032, small-order keys refused).

use crate::hash::{Digest, Tag, hex_array, parse_hex};
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// An Ed25519 verification key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PublicKey(#[serde(with = "hex_array")] pub [u8; 32]);

/// A member's X25519 key, to which content keys of sealed payloads are wrapped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EncryptionKey(#[serde(with = "hex_array")] pub [u8; 32]);

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Signature(#[serde(with = "hex_array")] pub [u8; 64]);

/// What a signature is for. The number is part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u32)]
pub enum Purpose {
    Transaction,
    Vote,
    ViewChange,
    NewView,
    Checkpoint,
    StorageReceipt,
    FoldResult,
    Upload,
    ConsensusKey,
    TrustedCheckpoint,
    Recovery,
}

/// The digest that a signer signs. Only [`statement`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement(Digest);

impl Statement {
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0.0
    }
}

/// Binds a value to a purpose and a chain.
pub fn statement<T: Serialize>(purpose: Purpose, chain: &Digest, value: &T) -> Statement {
    Statement(Digest::of(Tag::Sign, &(purpose, chain, value)))
}

/// Signs with one key. The simulator has a cheap implementation of its own;
/// a socket to a remote signer would be another.
pub trait Signer: Send + Sync {
    fn public_key(&self) -> PublicKey;
    fn sign(&self, statement: &Statement) -> Signature;
}

/// Decides which signatures are valid.
pub trait Verifier: Send + Sync {
    fn verify(&self, key: &PublicKey, statement: &Statement, signature: &Signature) -> bool;
}

/// The product's rule: strict Ed25519.
#[derive(Clone, Copy, Debug, Default)]
pub struct StrictEd25519;

impl Verifier for StrictEd25519 {
    fn verify(&self, key: &PublicKey, statement: &Statement, signature: &Signature) -> bool {
        key.verify(statement, signature)
    }
}

impl PublicKey {
    pub fn verify(&self, statement: &Statement, signature: &Signature) -> bool {
        self.verify_bytes(statement.bytes(), signature)
    }

    /// A signature over a text: for [`crate::signed_read`] alone, whose texts are no statements.
    pub(crate) fn verify_text(&self, text: &str, signature: &Signature) -> bool {
        self.verify_bytes(text.as_bytes(), signature)
    }

    fn verify_bytes(&self, bytes: &[u8], signature: &Signature) -> bool {
        let Ok(key) = VerifyingKey::from_bytes(&self.0) else {
            return false;
        };
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        key.verify_strict(bytes, &signature).is_ok()
    }

    /// False for keys that are no curve point or of small order: such a key is
    /// refused when it is registered.
    pub fn is_strong(&self) -> bool {
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| !key.is_weak())
    }

    /// The first eight hexadecimal digits, for people.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..4])
    }
}

/// An Ed25519 signing key; its memory is cleared when dropped.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// From 32 bytes of good randomness (drawn by the caller).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The 32 bytes to store, encrypted or owner-only.
    pub fn seed(&self) -> zeroize::Zeroizing<[u8; 32]> {
        zeroize::Zeroizing::new(self.0.to_bytes())
    }

    /// For [`crate::signed_read`] alone, whose texts are no statements.
    pub(crate) fn sign_text(&self, text: &str) -> Signature {
        Signature(self.0.sign(text.as_bytes()).to_bytes())
    }
}

impl Signer for SecretKey {
    fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }
    fn sign(&self, statement: &Statement) -> Signature {
        Signature(self.0.sign(statement.bytes()).to_bytes())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.public_key().short())
    }
}

macro_rules! hex_text {
    ($name:ident, $bytes:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(&self.0[..4]))
            }
        }
        impl FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                parse_hex(text).map(Self)
            }
        }
        #[cfg(feature = "openapi")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                crate::hash::hex_string($bytes)
            }
        }
        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for $name {}
    };
}
hex_text!(PublicKey, 32);
hex_text!(EncryptionKey, 32);
hex_text!(Signature, 64);

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SecretKey {
        SecretKey::from_seed(&[7; 32])
    }

    #[test]
    fn a_signature_is_good_for_its_purpose_and_chain_only() {
        let (one, other) = (Digest([1; 32]), Digest([2; 32]));
        let signature = key().sign(&statement(Purpose::Vote, &one, &5u64));
        let public = key().public_key();
        assert!(public.verify(&statement(Purpose::Vote, &one, &5u64), &signature));
        assert!(!public.verify(&statement(Purpose::Checkpoint, &one, &5u64), &signature));
        assert!(!public.verify(&statement(Purpose::Vote, &other, &5u64), &signature));
        assert!(!public.verify(&statement(Purpose::Vote, &one, &6u64), &signature));
    }

    #[test]
    fn a_small_order_key_is_weak() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert!(!PublicKey(identity).is_strong());
        assert!(key().public_key().is_strong());
    }
}
