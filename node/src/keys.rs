//! The node's keys: consensus, audit and peer are separate, each a key file of its
//! own, encrypted under one passphrase or, when asked for, plain and owner-only.

use rand::RngExt;
use std::{
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};
use twinfold_types::{
    SecretKey,
    keyfile::{KeyFile, KeyFileError},
};
use zeroize::Zeroizing;

pub struct NodeKeys {
    /// Votes, storage receipts, fold results; the member's identity.
    pub consensus: SecretKey,
    /// Long-lived; signs the audit log's checkpoints as notes.
    pub audit: SecretKey,
    /// The libp2p identity.
    pub peer: SecretKey,
}

const NAMES: [&str; 3] = ["consensus", "audit", "peer"];

#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: std::io::Error },
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: KeyFileError },
    #[error("no passphrase: give --passphrase-file or TWINFOLD_PASSPHRASE, or run on a terminal")]
    NoPassphrase,
}

impl NodeKeys {
    /// Draws fresh keys. Randomness comes from the operating system.
    pub fn generate() -> Self {
        let fresh = || SecretKey::from_seed(&rand::rng().random());
        Self { consensus: fresh(), audit: fresh(), peer: fresh() }
    }

    fn all(&self) -> [&SecretKey; 3] {
        [&self.consensus, &self.audit, &self.peer]
    }

    /// Writes the key files, encrypted when there is a passphrase.
    pub fn write(&self, dir: &Path, passphrase: Option<&str>) -> Result<(), KeysError> {
        let io = |error| KeysError::Io { path: dir.into(), error };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io)?;
        for (name, key) in NAMES.into_iter().zip(self.all()) {
            let path = file(dir, name);
            let content = match passphrase {
                None => KeyFile::plain(name, key),
                Some(passphrase) => {
                    let (salt, nonce) = (rand::rng().random(), rand::rng().random());
                    KeyFile::encrypted(name, key, passphrase, salt, nonce)
                        .map_err(|error| KeysError::File { path: path.clone(), error })?
                }
            };
            write_owner_only(&path, content.to_json().as_bytes())
                .map_err(|error| KeysError::Io { path, error })?;
        }
        Ok(())
    }

    /// Reads the key files; asks for a passphrase only when one is needed.
    pub fn read(dir: &Path, passphrase_file: Option<&Path>) -> Result<Self, KeysError> {
        let mut passphrase = None;
        let mut keys = Vec::with_capacity(NAMES.len());
        for name in NAMES {
            let path = file(dir, name);
            let text = std::fs::read_to_string(&path)
                .map_err(|error| KeysError::Io { path: path.clone(), error })?;
            let at = |error| KeysError::File { path: path.clone(), error };
            let content = KeyFile::from_json(&text).map_err(at)?;
            if content.is_encrypted() && passphrase.is_none() {
                passphrase = Some(read_passphrase(passphrase_file)?);
            }
            let secret = passphrase.as_ref().map(|passphrase| passphrase.as_str());
            keys.push(content.open(secret).map_err(at)?);
        }
        let [consensus, audit, peer] = keys.try_into().map_err(|_| KeysError::NoPassphrase)?;
        Ok(Self { consensus, audit, peer })
    }
}

fn file(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.key"))
}

/// Creates a file that only its owner can read; refuses to overwrite.
pub fn write_owner_only(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// From the file, the environment, or a prompt, in this order.
pub fn read_passphrase(path: Option<&Path>) -> Result<Zeroizing<String>, KeysError> {
    if let Some(path) = path {
        let text = std::fs::read_to_string(path)
            .map_err(|error| KeysError::Io { path: path.into(), error })?;
        return Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_string()));
    }
    if let Ok(text) = std::env::var("TWINFOLD_PASSPHRASE") {
        return Ok(Zeroizing::new(text));
    }
    dialoguer::Password::new()
        .with_prompt("Passphrase of the node's keys")
        .interact()
        .map(Zeroizing::new)
        .map_err(|_| KeysError::NoPassphrase)
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfold_types::key::Signer;

    #[test]
    fn keys_survive_the_disk_and_are_for_the_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let keys = NodeKeys::generate();
        keys.write(dir.path(), None).unwrap();
        let read = NodeKeys::read(dir.path(), None).unwrap();
        assert_eq!(read.peer.public_key(), keys.peer.public_key());
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(dir.path().join("consensus.key")).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        assert!(keys.write(dir.path(), None).is_err(), "keys are never overwritten");
    }

    #[test]
    fn a_passphrase_file_opens_encrypted_keys() {
        let dir = tempfile::tempdir().unwrap();
        let passphrase = dir.path().join("passphrase");
        std::fs::write(&passphrase, "secret\n").unwrap();
        let keys = NodeKeys::generate();
        keys.write(&dir.path().join("keys"), Some("secret")).unwrap();
        let read = NodeKeys::read(&dir.path().join("keys"), Some(&passphrase)).unwrap();
        assert_eq!(read.consensus.public_key(), keys.consensus.public_key());
        std::fs::write(&passphrase, "other\n").unwrap();
        assert!(NodeKeys::read(&dir.path().join("keys"), Some(&passphrase)).is_err());
    }
}
