//! Encryption secrets beside the signing keys (`NAME.encryption.json`, protected as the signing key
//! is), and the own copy of the content key of each payload that one sealed (`sealed/DIGEST.json`):
//! a wrap to one's own encryption key, so that it needs no protection of its own.

use super::{KEY_FILE_BYTES_MAX, Keystore, KeystoreError, check_name, refuse_exposed};
use crate::files::{self, Access};
use serde::{Deserialize, Serialize};
use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};
use twinfold_types::{
    BlobDigest, Digest,
    key::EncryptionKey,
    keyfile::KeyFileError,
    sealed::{
        ENCRYPTION_SECRETS_MAX, EncryptionKeyFile, EncryptionSecret, SealedWrap,
        StoredEncryptionKey,
    },
};
use zeroize::Zeroizing;

const SUFFIX: &str = ".encryption.json";
const COPY_FORMAT: u32 = 1;

/// The owner's way back to a content key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnCopy {
    pub format: u32,
    pub chain: Digest,
    pub blob: BlobDigest,
    pub wrap: SealedWrap,
}

impl OwnCopy {
    pub fn new(chain: Digest, blob: BlobDigest, wrap: SealedWrap) -> Self {
        Self { format: COPY_FORMAT, chain, blob, wrap }
    }
}

impl Keystore {
    pub fn encryption_path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}{SUFFIX}"))
    }

    /// Draws a first encryption secret for a key, or with `rotate` one more: the newest is what
    /// others should use.
    pub fn create_encryption(
        &self,
        name: &str,
        rotate: bool,
    ) -> Result<EncryptionKeyFile, KeystoreError> {
        let is_encrypted = self.load(name)?.is_encrypted();
        let before = match self.encryption_file(name) {
            Ok(_) if !rotate => return Err(KeystoreError::EncryptionExists(name.into())),
            Ok(file) if file.keys.len() >= ENCRYPTION_SECRETS_MAX => {
                return Err(KeystoreError::EncryptionMany(name.into()));
            }
            Ok(file) => Some(file),
            Err(KeystoreError::NoEncryption(_)) if !rotate => None,
            Err(error) => return Err(error),
        };
        let seed = Zeroizing::new(rand::random::<[u8; 32]>());
        let secret = EncryptionSecret::from_seed(&seed);
        let key = if is_encrypted {
            // The signing key's own: a second passphrase for one person helps nobody.
            let passphrase = self.passphrase.read(None)?;
            let fault = |error| KeystoreError::Key { name: name.into(), error };
            self.load(name)?.open(Some(&passphrase)).map_err(fault)?;
            let (salt, nonce) = (rand::random(), rand::random());
            StoredEncryptionKey::encrypted(&secret, &passphrase, salt, nonce).map_err(fault)?
        } else {
            StoredEncryptionKey::plain(&secret)
        };
        let file = match before {
            None => EncryptionKeyFile::new(name, key),
            Some(mut file) => {
                file.keys.push(key);
                file
            }
        };
        self.write_encryption(name, &file)?;
        Ok(file)
    }

    /// The file of a key's encryption secrets, none of them opened.
    pub fn encryption_file(&self, name: &str) -> Result<EncryptionKeyFile, KeystoreError> {
        check_name(name)?;
        let path = self.encryption_path(name);
        let text = match files::read_text(&path, KEY_FILE_BYTES_MAX) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(KeystoreError::NoEncryption(name.into()));
            }
            result => Zeroizing::new(result.map_err(file_error(&path))?),
        };
        let fault = |error| KeystoreError::Key { name: name.into(), error };
        let file = EncryptionKeyFile::from_json(&text).map_err(fault)?;
        if file.keys.iter().any(|key| !key.secret.is_encrypted()) {
            refuse_exposed(&path)?;
        }
        Ok(file)
    }

    /// The secret of one of a key's encryption keys, asking for the passphrase where it needs one.
    pub fn open_encryption(
        &self,
        name: &str,
        public: &EncryptionKey,
    ) -> Result<EncryptionSecret, KeystoreError> {
        let file = self.encryption_file(name)?;
        let missing = || KeystoreError::OtherEncryption { name: name.into(), public: *public };
        let key = file.find(public).ok_or_else(missing)?;
        let is_encrypted = key.secret.is_encrypted();
        let passphrase = if is_encrypted { Some(self.passphrase.read(None)?) } else { None };
        key.open(passphrase.as_ref().map(|text| text.as_str()))
            .map_err(|error| KeystoreError::Key { name: name.into(), error })
    }

    /// Destroys all secrets of a key but the newest; how many they were. What is wrapped to them
    /// alone, nobody opens any more.
    pub fn destroy_old_encryption(&self, name: &str) -> Result<usize, KeystoreError> {
        let mut file = self.encryption_file(name)?;
        let old = file.keys.len() - 1;
        file.keys.drain(..old);
        self.write_encryption(name, &file)?;
        Ok(old)
    }

    fn write_encryption(&self, name: &str, file: &EncryptionKeyFile) -> Result<(), KeystoreError> {
        let path = self.encryption_path(name);
        let json = Zeroizing::new(file.to_json());
        files::create_private_folder(&self.folder)
            .and_then(|()| files::write(&path, json.as_bytes(), Access::Owner))
            .map_err(file_error(&path))
    }

    fn copy_path(&self, blob: &BlobDigest) -> PathBuf {
        self.folder.join("sealed").join(format!("{blob}.json"))
    }

    /// Keeps the own copy of a content key.
    pub fn keep_copy(&self, copy: &OwnCopy) -> Result<(), KeystoreError> {
        let path = self.copy_path(&copy.blob);
        let json = serde_json::to_string_pretty(copy).expect("a copy is plain JSON") + "\n";
        files::create_private_folder(&self.folder.join("sealed"))
            .and_then(|()| files::write(&path, json.as_bytes(), Access::Owner))
            .map_err(file_error(&path))
    }

    /// The own copy of a payload's content key, if one is kept here.
    pub fn own_copy(&self, blob: &BlobDigest) -> Result<Option<OwnCopy>, KeystoreError> {
        let path = self.copy_path(blob);
        let text = match files::read_text(&path, KEY_FILE_BYTES_MAX) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            result => result.map_err(file_error(&path))?,
        };
        let malformed = |reason: String| {
            let error = KeyFileError::Malformed(reason);
            KeystoreError::Key { name: format!("sealed/{blob}"), error }
        };
        let copy: OwnCopy =
            serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        if copy.format != COPY_FORMAT || copy.blob != *blob {
            return Err(malformed("of another format or payload".into()));
        }
        Ok(Some(copy))
    }

    /// Removes the own copy; whether there was one.
    pub fn destroy_copy(&self, blob: &BlobDigest) -> Result<bool, KeystoreError> {
        let path = self.copy_path(blob);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(source) => Err(KeystoreError::File { path, source }),
            Ok(()) => {
                // Gone for good only once the folder says so on the disk.
                let folder = self.folder.join("sealed");
                let synced = std::fs::File::open(&folder).and_then(|folder| folder.sync_all());
                synced.map_err(file_error(&folder)).map(|()| true)
            }
        }
    }
}

fn file_error(path: &Path) -> impl Fn(std::io::Error) -> KeystoreError + '_ {
    move |source| KeystoreError::File { path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keystore::PassphraseSource;
    use twinfold_types::{
        PublicKey,
        sealed::{ContentKey, WrapPlace},
    };

    fn keystore(dir: &Path, passphrase: &str) -> Keystore {
        let environment = Some(Zeroizing::new(passphrase.to_string()));
        Keystore::in_dir(dir, PassphraseSource { file: None, environment })
    }

    #[test]
    fn a_secret_is_protected_as_the_signing_key_is() {
        let dir = tempfile::tempdir().unwrap();
        let (wrong, keystore) = (keystore(dir.path(), "wrong"), keystore(dir.path(), "right"));
        keystore.create("edge", false).unwrap();
        let public = keystore.create_encryption("edge", false).unwrap().newest().public;
        assert_eq!(keystore.open_encryption("edge", &public).unwrap().public(), public);
        let error = wrong.open_encryption("edge", &public).unwrap_err().to_string();
        assert!(error.contains("wrong passphrase"), "{error}");
        assert!(wrong.create_encryption("edge", true).is_err(), "a second passphrase");
        keystore.create("lab", true).unwrap();
        let file = keystore.create_encryption("lab", false).unwrap();
        assert!(!file.newest().secret.is_encrypted());
        assert_eq!(keystore.names().unwrap(), ["edge", "lab"], "no names of their own");
    }

    #[test]
    fn after_a_rotation_the_old_secret_opens_until_it_is_destroyed() {
        let dir = tempfile::tempdir().unwrap();
        let keystore = keystore(dir.path(), "p");
        keystore.create("edge", true).unwrap();
        let rotate = |rotate| keystore.create_encryption("edge", rotate);
        assert!(matches!(rotate(true), Err(KeystoreError::NoEncryption(_))));
        let old = rotate(false).unwrap().newest().public;
        assert!(matches!(rotate(false), Err(KeystoreError::EncryptionExists(_))));
        let new = rotate(true).unwrap().newest().public;
        assert!(keystore.open_encryption("edge", &old).is_ok());
        assert_eq!(keystore.destroy_old_encryption("edge").unwrap(), 1);
        assert!(keystore.open_encryption("edge", &new).is_ok());
        let error = keystore.open_encryption("edge", &old).unwrap_err();
        assert!(matches!(error, KeystoreError::OtherEncryption { public, .. } if public == old));
    }

    #[test]
    fn an_own_copy_is_there_until_it_is_destroyed() {
        let dir = tempfile::tempdir().unwrap();
        let keystore = keystore(dir.path(), "p");
        let (chain, blob, member) = (Digest([1; 32]), Digest([2; 32]), PublicKey([3; 32]));
        let (key, to) = (ContentKey::from_bytes(&[4; 32]), EncryptionSecret::from_seed(&[5; 32]));
        let place = WrapPlace { chain: &chain, blob: &blob };
        let wrap = SealedWrap::new(&key, place, member, to.public(), &[6; 32]).unwrap();
        let copy = OwnCopy::new(chain, blob, wrap);
        assert_eq!(keystore.own_copy(&blob).unwrap(), None);
        keystore.keep_copy(&copy).unwrap();
        assert_eq!(keystore.own_copy(&blob).unwrap(), Some(copy));
        let path = keystore.copy_path(&blob);
        std::fs::write(&path, "{").unwrap();
        assert!(keystore.own_copy(&blob).is_err());
        assert!(keystore.destroy_copy(&blob).unwrap());
        assert!(!keystore.destroy_copy(&blob).unwrap());
    }
}
