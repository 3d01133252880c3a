//! The file of a member's encryption secrets: JSON, each protected as a signing key is. The newest
//! is the one that others should use; older ones still open what was wrapped to them, until they
//! are destroyed.

use super::EncryptionSecret;
use crate::{
    key::EncryptionKey,
    keyfile::{KeyFileError, Sealed},
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

const FORMAT: u32 = 1;
/// Secrets in one file: who rotates its key every month destroys those of years ago.
pub const ENCRYPTION_SECRETS_MAX: usize = 24;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncryptionKeyFile {
    pub format: u32,
    pub name: String,
    /// The newest last; never empty.
    pub keys: Vec<StoredEncryptionKey>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredEncryptionKey {
    pub public: EncryptionKey,
    pub secret: Sealed,
}

impl EncryptionKeyFile {
    pub fn new(name: &str, first: StoredEncryptionKey) -> Self {
        Self { format: FORMAT, name: name.into(), keys: vec![first] }
    }

    /// The key that others should use.
    pub fn newest(&self) -> &StoredEncryptionKey {
        self.keys.last().expect("a file with no key is refused when it is read")
    }

    pub fn find(&self, public: &EncryptionKey) -> Option<&StoredEncryptionKey> {
        self.keys.iter().find(|key| key.public == *public)
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
        if !(1..=ENCRYPTION_SECRETS_MAX).contains(&file.keys.len()) {
            let reason = format!("{} keys, 1 to {ENCRYPTION_SECRETS_MAX} fit", file.keys.len());
            return Err(KeyFileError::Malformed(reason));
        }
        Ok(file)
    }
}

impl StoredEncryptionKey {
    pub fn plain(secret: &EncryptionSecret) -> Self {
        Self { public: secret.public(), secret: Sealed::Plain(**secret.seed()) }
    }

    /// `salt` and `nonce` must be fresh and random.
    pub fn encrypted(
        secret: &EncryptionSecret,
        passphrase: &str,
        salt: [u8; 16],
        nonce: [u8; 12],
    ) -> Result<Self, KeyFileError> {
        let sealed = Sealed::encrypted(secret.seed(), passphrase, salt, nonce)?;
        Ok(Self { public: secret.public(), secret: sealed })
    }

    pub fn open(&self, passphrase: Option<&str>) -> Result<EncryptionSecret, KeyFileError> {
        let seed: Zeroizing<[u8; 32]> = self.secret.open(passphrase)?;
        let secret = EncryptionSecret::from_seed(&seed);
        if secret.public() != self.public {
            return Err(KeyFileError::OtherEncryptionKey(self.public));
        }
        Ok(secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(byte: u8) -> EncryptionSecret {
        EncryptionSecret::from_seed(&[byte; 32])
    }

    #[test]
    fn a_secret_opens_with_its_passphrase_and_no_other() {
        let key = StoredEncryptionKey::encrypted(&secret(9), "right", [1; 16], [2; 12]).unwrap();
        let file = EncryptionKeyFile::new("edge", key);
        let read = EncryptionKeyFile::from_json(&file.to_json()).unwrap();
        assert_eq!(read.newest().open(Some("right")).unwrap().public(), secret(9).public());
        assert_eq!(read.newest().open(Some("wrong")).unwrap_err(), KeyFileError::Passphrase);
        assert_eq!(read.newest().open(None).unwrap_err(), KeyFileError::PassphraseNeeded);
    }

    #[test]
    fn a_file_whose_public_key_was_swapped_or_that_holds_none_is_refused() {
        let mut file = EncryptionKeyFile::new("edge", StoredEncryptionKey::plain(&secret(9)));
        file.keys[0].public = secret(8).public();
        let error = file.newest().open(None).unwrap_err();
        assert_eq!(error, KeyFileError::OtherEncryptionKey(secret(8).public()));
        file.keys.clear();
        assert!(EncryptionKeyFile::from_json(&file.to_json()).is_err());
    }
}
