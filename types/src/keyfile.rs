//! The file of a secret key: JSON, encrypted under a passphrase (Argon2id, RFC 9106;
//! ChaCha20-Poly1305, RFC 8439) or, only when asked for, plain and owner-only.
//! Pure: salts and nonces are drawn, and files written, by the caller.

use crate::{
    Digest, PublicKey, SecretKey,
    hash::{Tag, hex_array},
    key::{EncryptionKey, Signer},
};
use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce, aead::Aead};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Argon2id: 19 MiB, 2 passes, 1 lane (the OWASP minimum), about 30 ms.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const FORMAT: u32 = 2;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    pub format: u32,
    pub name: String,
    pub public: PublicKey,
    pub secret: Sealed,
    /// Over all of the above: a byte that the disk changed is found without the passphrase.
    #[serde(with = "hex_array")]
    checksum: [u8; 16],
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Sealed {
    Plain(#[serde(with = "hex_array")] [u8; 32]),
    Argon2idChacha20poly1305 {
        memory_kib: u32,
        passes: u32,
        #[serde(with = "hex_array")]
        salt: [u8; 16],
        #[serde(with = "hex_array")]
        nonce: [u8; 12],
        /// 32 bytes of key and 16 of tag.
        #[serde(with = "hex_array")]
        ciphertext: [u8; 48],
    },
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Sealed::Plain(_) => "plain",
            Sealed::Argon2idChacha20poly1305 { .. } => "encrypted",
        })
    }
}

impl Sealed {
    /// `salt` and `nonce` must be fresh and random.
    pub fn encrypted(
        seed: &[u8; 32],
        passphrase: &str,
        salt: [u8; 16],
        nonce: [u8; 12],
    ) -> Result<Self, KeyFileError> {
        let derived = derive(passphrase, &salt, MEMORY_KIB, PASSES)?;
        let cipher = ChaCha20Poly1305::new((&*derived).into());
        let sealed = cipher
            .encrypt(&Nonce::from(nonce), seed.as_slice())
            .map_err(|_| KeyFileError::Malformed("cannot encrypt".into()))?;
        let ciphertext = sealed
            .try_into()
            .map_err(|_| KeyFileError::Malformed("unexpected ciphertext length".into()))?;
        let (memory_kib, passes) = (MEMORY_KIB, PASSES);
        Ok(Self::Argon2idChacha20poly1305 { memory_kib, passes, salt, nonce, ciphertext })
    }

    pub fn is_encrypted(&self) -> bool {
        !matches!(self, Self::Plain(_))
    }

    pub fn open(&self, passphrase: Option<&str>) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
        match self {
            Self::Plain(seed) => Ok(Zeroizing::new(*seed)),
            Self::Argon2idChacha20poly1305 { memory_kib, passes, salt, nonce, ciphertext } => {
                let passphrase = passphrase.ok_or(KeyFileError::PassphraseNeeded)?;
                let derived = derive(passphrase, salt, *memory_kib, *passes)?;
                let cipher = ChaCha20Poly1305::new((&*derived).into());
                let plain = cipher
                    .decrypt(&Nonce::from(*nonce), ciphertext.as_slice())
                    .map(Zeroizing::new)
                    .map_err(|_| KeyFileError::Passphrase)?;
                let mut seed = Zeroizing::new([0; 32]);
                seed.copy_from_slice(&plain);
                Ok(seed)
            }
        }
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyFileError {
    #[error("not a key file: {0}")]
    Malformed(String),
    #[error("key file format {0}; this program reads format {FORMAT}")]
    Format(u32),
    #[error("the file was changed since it was written: its checksum is another")]
    Changed,
    #[error("wrong passphrase, or the file was changed")]
    Passphrase,
    #[error("the key is encrypted: a passphrase is needed")]
    PassphraseNeeded,
    #[error("the secret does not belong to the public key {0} in the file")]
    Mismatch(PublicKey),
    #[error("the secret does not belong to the encryption key {0} in the file")]
    OtherEncryptionKey(EncryptionKey),
    #[error("key derivation settings out of range: {memory_kib} KiB, {passes} passes")]
    Settings { memory_kib: u32, passes: u32 },
}

impl KeyFile {
    pub fn plain(name: &str, key: &SecretKey) -> Self {
        Self::with(name, key, Sealed::Plain(*key.seed()))
    }

    /// `salt` and `nonce` must be fresh and random.
    pub fn encrypted(
        name: &str,
        key: &SecretKey,
        passphrase: &str,
        salt: [u8; 16],
        nonce: [u8; 12],
    ) -> Result<Self, KeyFileError> {
        let secret = Sealed::encrypted(&key.seed(), passphrase, salt, nonce)?;
        Ok(Self::with(name, key, secret))
    }

    fn with(name: &str, key: &SecretKey, secret: Sealed) -> Self {
        let (format, name, public) = (FORMAT, name.into(), key.public_key());
        let mut file = Self { format, name, public, secret, checksum: [0; 16] };
        file.checksum = file.sum();
        file
    }

    fn sum(&self) -> [u8; 16] {
        let said = (self.format, &self.name, self.public, &self.secret);
        let hash = Digest::of(Tag::KeyFile, &said);
        std::array::from_fn(|at| hash.0[at])
    }

    pub fn is_encrypted(&self) -> bool {
        self.secret.is_encrypted()
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a key file is plain JSON") + "\n"
    }

    pub fn from_json(text: &str) -> Result<Self, KeyFileError> {
        let file: Self = serde_json::from_str(text)
            .map_err(|error| KeyFileError::Malformed(error.to_string()))?;
        if file.format != FORMAT {
            return Err(KeyFileError::Format(file.format));
        }
        if file.sum() != file.checksum {
            return Err(KeyFileError::Changed);
        }
        Ok(file)
    }

    pub fn open(&self, passphrase: Option<&str>) -> Result<SecretKey, KeyFileError> {
        let seed = self.secret.open(passphrase)?;
        let key = SecretKey::from_seed(&seed);
        if key.public_key() != self.public {
            return Err(KeyFileError::Mismatch(self.public));
        }
        Ok(key)
    }
}

fn derive(
    passphrase: &str,
    salt: &[u8; 16],
    memory_kib: u32,
    passes: u32,
) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    let settings = KeyFileError::Settings { memory_kib, passes };
    // A hostile file must not make us allocate or spin without bound.
    if memory_kib > 1 << 20 || passes > 64 {
        return Err(settings);
    }
    let Ok(params) = Params::new(memory_kib, passes, 1, Some(32)) else { return Err(settings) };
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, key.as_mut_slice())
        .map_err(|_| settings)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> (SecretKey, KeyFile) {
        let key = SecretKey::from_seed(&[9; 32]);
        let file = KeyFile::encrypted("edge", &key, "correct horse", [1; 16], [2; 12]).unwrap();
        (key, file)
    }

    #[test]
    fn the_passphrase_opens_the_file_and_no_other_does() {
        let (key, file) = file();
        let read = KeyFile::from_json(&file.to_json()).unwrap();
        assert_eq!(read.open(Some("correct horse")).unwrap().public_key(), key.public_key());
        assert_eq!(read.open(Some("wrong")).unwrap_err(), KeyFileError::Passphrase);
        assert_eq!(read.open(None).unwrap_err(), KeyFileError::PassphraseNeeded);
    }

    #[test]
    fn a_file_whose_public_key_was_swapped_is_refused() {
        let (_, mut file) = file();
        file.public = SecretKey::from_seed(&[8; 32]).public_key();
        let error = file.open(Some("correct horse")).unwrap_err();
        assert_eq!(error, KeyFileError::Mismatch(file.public));
    }

    #[test]
    fn absurd_derivation_settings_are_refused() {
        let (_, mut file) = file();
        if let Sealed::Argon2idChacha20poly1305 { memory_kib, .. } = &mut file.secret {
            *memory_kib = u32::MAX;
        }
        assert!(matches!(file.open(Some("x")), Err(KeyFileError::Settings { .. })));
    }
}
