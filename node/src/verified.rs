//! Signatures that were found valid lately. A transaction is checked when it comes and is part
//! of a block soon after; votes come back in certificates. None of them is checked twice.

use parking_lot::Mutex;
use std::{collections::HashSet, mem};
use twinfold_types::{
    PublicKey, Signature,
    key::{Statement, StrictEd25519, Verifier},
};

/// Signatures remembered in each of two generations: the blocks in flight and the pool.
const REMEMBERED: usize = 65_536;

/// Strict Ed25519 with a memory. Only what was valid is remembered, by a digest over all of
/// key, statement and signature, so that an answer from memory is the answer of the check.
#[derive(Default)]
pub struct Verified {
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    new: HashSet<[u8; 32]>,
    old: HashSet<[u8; 32]>,
}

impl Verifier for Verified {
    fn verify(&self, key: &PublicKey, statement: &Statement, signature: &Signature) -> bool {
        let digest = digest(key, statement, signature);
        if self.memory.lock().knows(&digest) {
            return true;
        }
        let valid = StrictEd25519.verify(key, statement, signature);
        if valid {
            self.memory.lock().remember(digest);
        }
        valid
    }
}

impl Memory {
    fn knows(&self, digest: &[u8; 32]) -> bool {
        self.new.contains(digest) || self.old.contains(digest)
    }

    fn remember(&mut self, digest: [u8; 32]) {
        if self.new.len() >= REMEMBERED {
            self.old = mem::take(&mut self.new);
        }
        self.new.insert(digest);
    }
}

fn digest(key: &PublicKey, statement: &Statement, signature: &Signature) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&key.0).update(statement.bytes()).update(&signature.0);
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfold_types::{
        Digest, SecretKey,
        key::{Purpose, Signer, statement},
    };

    #[test]
    fn only_what_was_valid_as_a_whole_is_remembered_and_the_oldest_is_forgotten() {
        let (verified, secret) = (Verified::default(), SecretKey::from_seed(&[1; 32]));
        let (key, other) = (secret.public_key(), SecretKey::from_seed(&[2; 32]).public_key());
        let say = |value: u64| statement(Purpose::Vote, &Digest::ZERO, &value);
        let signature = secret.sign(&say(1));
        for _ in 0..2 {
            assert!(verified.verify(&key, &say(1), &signature));
            assert!(!verified.verify(&key, &say(2), &signature));
            assert!(!verified.verify(&other, &say(1), &signature));
        }
        assert_eq!(verified.memory.lock().new.len(), 1);
        let known = digest(&key, &say(1), &signature);
        let mut memory = verified.memory.lock();
        for number in 0..2 * REMEMBERED {
            let mut filler = [0; 32];
            filler[..8].copy_from_slice(&(number as u64).to_le_bytes());
            memory.remember(filler);
        }
        assert!(!memory.knows(&known), "two generations later");
        assert!(memory.new.len() + memory.old.len() <= 2 * REMEMBERED);
    }
}
