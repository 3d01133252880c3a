//! The keystore: one file a key in `DIR/keys`, readable by its owner only,
//! encrypted under a passphrase unless asked otherwise. The file format is that
//! of [`twinfold_types::keyfile`], shared with the node.

mod encryption;

pub use encryption::OwnCopy;

use crate::files::{self, Access};
use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
};
use twinfold_types::{
    SecretKey,
    key::EncryptionKey,
    keyfile::{KeyFile, KeyFileError},
};
use zeroize::Zeroizing;

/// Environment variable with the passphrase.
pub const PASSPHRASE_VARIABLE: &str = "TWINFOLD_PASSPHRASE";
const KEY_FILE_BYTES_MAX: u64 = 16 << 10;
const PASSPHRASE_BYTES_MAX: u64 = 4 << 10;
const SUFFIX: &str = ".key.json";
/// A node's folder holds keys too: with `--dir` its operator signs as the node's member.
const NODE_SUFFIX: &str = ".key";

#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    #[error("{path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error(
        "no key named {name:?} in {folder}; make one with `twinfold key new {name}`, or list them with `twinfold key list`"
    )]
    Unknown { name: String, folder: PathBuf },
    #[error("a key named {name:?} exists already in {folder}; choose another name")]
    Exists { name: String, folder: PathBuf },
    #[error(
        "{0:?} is no key name: letters, digits, '-', '_' and '.' are allowed, up to 64, not starting with '.'"
    )]
    Name(String),
    #[error("key {name:?}: {error}")]
    Key { name: String, error: KeyFileError },
    #[error(
        "a passphrase is needed: give --passphrase-file FILE, set {PASSPHRASE_VARIABLE}, or run in a terminal"
    )]
    NoPassphrase,
    #[error("the passphrase is empty; give one, or ask for an unencrypted key with --plain")]
    EmptyPassphrase,
    #[error("cannot read the passphrase: {0}")]
    Prompt(String),
    #[error(
        "key {0:?} has no encryption key: make one with `twinfold key encryption new {0}`, and register it with `twinfold key encryption publish {0}`"
    )]
    NoEncryption(String),
    #[error(
        "key {0:?} has an encryption key already; draw another one beside it with `twinfold key encryption new {0} --rotate`"
    )]
    EncryptionExists(String),
    #[error(
        "key {0:?} has its maximum of encryption keys; destroy the old ones with `twinfold key encryption destroy-old {0} --yes`"
    )]
    EncryptionMany(String),
    #[error(
        "key {name:?} has no secret for the encryption key {public}: it was destroyed, or is in another folder (--dir); the payload's owner can grant it for the newest"
    )]
    OtherEncryption { name: String, public: EncryptionKey },
    #[error("{path} can be read by others (mode {mode:o}); run `chmod 600 {path}`")]
    Exposed { path: PathBuf, mode: u32 },
}

/// Where a passphrase comes from: a file, else the environment, else a prompt.
#[derive(Clone, Debug, Default)]
pub struct PassphraseSource {
    pub file: Option<PathBuf>,
    /// Value of the environment variable, read when the program starts.
    pub environment: Option<Zeroizing<String>>,
}

pub struct Keystore {
    folder: PathBuf,
    passphrase: PassphraseSource,
}

impl Keystore {
    /// The keystore inside the folder given by `--dir`.
    pub fn in_dir(dir: &Path, passphrase: PassphraseSource) -> Self {
        Self { folder: dir.join("keys"), passphrase }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        let own = self.folder.join(format!("{name}{SUFFIX}"));
        let of_node = self.folder.join(format!("{name}{NODE_SUFFIX}"));
        if !own.exists() && of_node.exists() { of_node } else { own }
    }

    /// Draws a key and stores it; `plain` leaves it unencrypted.
    pub fn create(&self, name: &str, plain: bool) -> Result<KeyFile, KeystoreError> {
        let key = SecretKey::from_seed(&Zeroizing::new(rand::random::<[u8; 32]>()));
        self.store(name, &key, plain)
    }

    /// Stores a key under a new name.
    pub fn store(
        &self,
        name: &str,
        key: &SecretKey,
        plain: bool,
    ) -> Result<KeyFile, KeystoreError> {
        check_name(name)?;
        let path = self.path(name);
        if path.exists() {
            return Err(KeystoreError::Exists { name: name.into(), folder: self.folder.clone() });
        }
        let file = if plain {
            KeyFile::plain(name, key)
        } else {
            let passphrase = self.passphrase.read(Some(name))?;
            KeyFile::encrypted(name, key, &passphrase, rand::random(), rand::random())
                .map_err(|error| KeystoreError::Key { name: name.into(), error })?
        };
        let json = Zeroizing::new(file.to_json());
        files::create_private_folder(&self.folder)
            .and_then(|()| files::write(&path, json.as_bytes(), Access::Owner))
            .map_err(|source| KeystoreError::File { path, source })?;
        Ok(file)
    }

    /// The file of a key, not opened.
    pub fn load(&self, name: &str) -> Result<KeyFile, KeystoreError> {
        check_name(name)?;
        let path = self.path(name);
        let text = match files::read_text(&path, KEY_FILE_BYTES_MAX) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let folder = self.folder.clone();
                return Err(KeystoreError::Unknown { name: name.into(), folder });
            }
            result => Zeroizing::new(
                result.map_err(|source| KeystoreError::File { path: path.clone(), source })?,
            ),
        };
        let file = KeyFile::from_json(&text)
            .map_err(|error| KeystoreError::Key { name: name.into(), error })?;
        if !file.is_encrypted() {
            refuse_exposed(&path)?;
        }
        Ok(file)
    }

    /// The secret key, asking for the passphrase where it needs one.
    pub fn open(&self, name: &str) -> Result<SecretKey, KeystoreError> {
        let file = self.load(name)?;
        let passphrase = if file.is_encrypted() { Some(self.passphrase.read(None)?) } else { None };
        file.open(passphrase.as_ref().map(|text| text.as_str()))
            .map_err(|error| KeystoreError::Key { name: name.into(), error })
    }

    /// Names of all keys, sorted.
    pub fn names(&self) -> Result<Vec<String>, KeystoreError> {
        let fault = |source| KeystoreError::File { path: self.folder.clone(), source };
        let entries = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
            entries => entries.map_err(fault)?,
        };
        let mut names = vec![];
        for entry in entries {
            let name = entry.map_err(fault)?.file_name();
            if let Some(name) = name.to_str().and_then(|name| name.strip_suffix(SUFFIX))
                && check_name(name).is_ok()
            {
                names.push(name.to_string());
            }
        }
        names.sort();
        Ok(names)
    }
}

impl PassphraseSource {
    /// Reads the passphrase; for a new key it is prompted for twice.
    fn read(&self, new_key: Option<&str>) -> Result<Zeroizing<String>, KeystoreError> {
        let passphrase = if let Some(path) = &self.file {
            let text = files::read_text(path, PASSPHRASE_BYTES_MAX)
                .map_err(|source| KeystoreError::File { path: path.clone(), source })?;
            let text = Zeroizing::new(text);
            Zeroizing::new(text.strip_suffix('\n').unwrap_or(&text).trim_end_matches('\r').into())
        } else if let Some(text) = &self.environment {
            text.clone()
        } else if std::io::stdin().is_terminal() {
            prompt(new_key)?
        } else {
            return Err(KeystoreError::NoPassphrase);
        };
        if passphrase.is_empty() {
            return Err(KeystoreError::EmptyPassphrase);
        }
        Ok(passphrase)
    }
}

fn prompt(new_key: Option<&str>) -> Result<Zeroizing<String>, KeystoreError> {
    let password = dialoguer::Password::new();
    let password = match new_key {
        Some(name) => password
            .with_prompt(format!("Passphrase for the new key {name}"))
            .with_confirmation("The same again", "The two differ; once more"),
        None => password.with_prompt("Passphrase"),
    };
    let text = password.interact().map_err(|error| KeystoreError::Prompt(error.to_string()))?;
    Ok(Zeroizing::new(text))
}

fn check_name(name: &str) -> Result<(), KeystoreError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.chars().all(allowed) {
        return Err(KeystoreError::Name(name.into()));
    }
    Ok(())
}

/// An unencrypted key that others can read is no secret.
fn refuse_exposed(path: &Path) -> Result<(), KeystoreError> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = std::fs::metadata(path)
        .map_err(|source| KeystoreError::File { path: path.into(), source })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeystoreError::Exposed { path: path.into(), mode });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use twinfold_types::key::Signer;

    fn keystore(dir: &Path, passphrase: &str) -> Keystore {
        let environment = Some(Zeroizing::new(passphrase.to_string()));
        Keystore::in_dir(dir, PassphraseSource { file: None, environment })
    }

    #[test]
    fn a_key_opens_with_its_passphrase_and_a_wrong_one_is_a_clear_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = keystore(dir.path(), "right").create("edge", false).unwrap();
        assert!(file.is_encrypted());
        let key = keystore(dir.path(), "right").open("edge").unwrap();
        assert_eq!(key.public_key(), file.public);
        let error = keystore(dir.path(), "wrong").open("edge").unwrap_err().to_string();
        assert!(error.contains("\"edge\"") && error.contains("wrong passphrase"), "{error}");
    }

    #[test]
    fn key_files_and_their_folder_are_for_the_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let keystore = keystore(dir.path(), "p");
        keystore.create("edge", false).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&keystore.path("edge")), 0o600);
        assert_eq!(mode(&dir.path().join("keys")), 0o700);
    }

    #[test]
    fn no_flipped_byte_of_the_file_yields_another_key() {
        let dir = tempfile::tempdir().unwrap();
        let keystore = keystore(dir.path(), "p");
        let public = keystore.create("edge", true).unwrap().public;
        let path = keystore.path("edge");
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            files::write(&path, &bad, Access::Owner).unwrap();
            if let Ok(key) = keystore.open("edge") {
                // A flip in the name only, or in the case of a hexadecimal digit.
                assert_eq!(key.public_key(), public, "byte {at}");
            }
        }
    }

    #[test]
    fn a_flipped_byte_of_an_encrypted_secret_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let keystore = keystore(dir.path(), "p");
        keystore.create("edge", false).unwrap();
        let path = keystore.path("edge");
        let text = std::fs::read_to_string(&path).unwrap();
        let at = text.find("\"ciphertext\": \"").unwrap() + 15;
        let mut bytes = text.into_bytes();
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        files::write(&path, &bytes, Access::Owner).unwrap();
        let error = keystore.open("edge").unwrap_err();
        let expected = KeyFileError::Changed;
        assert!(matches!(error, KeystoreError::Key { error, .. } if error == expected));
    }

    #[test]
    fn a_plain_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let keystore = keystore(dir.path(), "");
        keystore.create("edge", true).unwrap();
        let path = keystore.path("edge");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(keystore.open("edge"), Err(KeystoreError::Exposed { .. })));
    }

    #[test]
    fn names_are_listed_and_neither_reused_nor_allowed_to_leave_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let keystore = keystore(dir.path(), "p");
        keystore.create("b", true).unwrap();
        keystore.create("a", true).unwrap();
        assert_eq!(keystore.names().unwrap(), ["a", "b"]);
        assert!(matches!(keystore.create("a", true), Err(KeystoreError::Exists { .. })));
        assert!(matches!(keystore.create("../a", true), Err(KeystoreError::Name(_))));
        assert!(matches!(keystore.open("c"), Err(KeystoreError::Unknown { .. })));
    }

    #[test]
    fn the_key_of_a_nodes_folder_is_found_under_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let keystore = keystore(dir.path(), "p");
        let public = keystore.create("edge", false).unwrap().public;
        let folder = dir.path().join("keys");
        std::fs::rename(folder.join("edge.key.json"), folder.join("consensus.key")).unwrap();
        assert_eq!(keystore.open("consensus").unwrap().public_key(), public);
        assert_eq!(keystore.names().unwrap(), Vec::<String>::new(), "it must be asked for");
    }

    #[test]
    fn an_empty_passphrase_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let error = keystore(dir.path(), "").create("edge", false).unwrap_err();
        assert!(matches!(error, KeystoreError::EmptyPassphrase));
    }
}
