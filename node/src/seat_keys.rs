//! Consensus keys: what this node's seat signs with. The member key is the first one. Later ones are
//! drawn on a schedule, declared on the ledger, used from the next election on, and erased when
//! another is in use: whoever takes the machine later cannot sign for an epoch that is over.
//!
//! Each stands in a file of its own in the key folder, sealed under a key that comes from the member
//! key: who can open that one can open them, and nobody else.

use crate::{
    journal::sync_parent,
    keys::{KeysError, write_owner_only},
};
use parking_lot::RwLock;
use rand::RngExt;
use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};
use twinfold_types::{Committee, PublicKey, SeatIndex, SecretKey, key::Signer, keyfile::KeyFile};
use zeroize::Zeroizing;

const PREFIX: &str = "seat-";
/// What a file is called before it is whole, and once it is to go.
const UNFINISHED: &str = ".unfinished";
const CONTEXT: &str = "twinfold 1 seat key file";

pub struct SeatKeys {
    dir: PathBuf,
    member: Arc<SecretKey>,
    drawn: RwLock<BTreeMap<PublicKey, Arc<SecretKey>>>,
}

impl SeatKeys {
    /// The member key and whatever was drawn before.
    pub fn open(dir: &Path, member: Arc<SecretKey>) -> Result<Self, KeysError> {
        let keys = Self { dir: dir.into(), member, drawn: RwLock::default() };
        let io = |error| KeysError::Io { path: dir.into(), error };
        for entry in fs::read_dir(dir).map_err(io)? {
            let path = entry.map_err(io)?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let name = name.filter(|name| name.starts_with(PREFIX)).unwrap_or_default();
            if name.ends_with(".key") {
                let key = keys.read(&path)?;
                keys.drawn.write().insert(key.public_key(), Arc::new(key));
            } else if name.ends_with(UNFINISHED) {
                // A kill came while it was written, or while it was erased.
                overwrite(&path).map_err(|error| KeysError::Io { path, error })?;
            }
        }
        Ok(keys)
    }

    fn read(&self, path: &Path) -> Result<SecretKey, KeysError> {
        let text =
            fs::read_to_string(path).map_err(|error| KeysError::Io { path: path.into(), error })?;
        let opened = KeyFile::from_json(&text).and_then(|file| file.open(Some(&self.passphrase())));
        opened.map_err(|error| KeysError::File { path: path.into(), error })
    }

    fn passphrase(&self) -> Zeroizing<String> {
        let derived = Zeroizing::new(blake3::derive_key(CONTEXT, self.member.seed().as_slice()));
        Zeroizing::new(hex::encode(*derived))
    }

    /// The secret of a public key, if it is one of this node's.
    pub fn get(&self, key: &PublicKey) -> Option<Arc<SecretKey>> {
        if *key == self.member.public_key() {
            return Some(self.member.clone());
        }
        self.drawn.read().get(key).cloned()
    }

    /// What this node signs with in an epoch: the seat's key, if it holds a seat and has the key.
    pub fn of_seat(&self, committee: &Committee) -> Option<(SeatIndex, Arc<SecretKey>)> {
        let seat = committee.seat_of(&self.member.public_key())?;
        Some((seat, self.get(committee.key(seat)?)?))
    }

    /// The key for an epoch's agreement; who holds no seat signs nothing with it.
    pub fn signer(&self, committee: &Committee) -> Arc<SecretKey> {
        self.of_seat(committee).map_or_else(|| self.member.clone(), |(_, key)| key)
    }

    /// A key that is neither of these: one drawn before, or a new one, synced before it is returned.
    pub fn another(&self, than: &[PublicKey]) -> Result<Arc<SecretKey>, KeysError> {
        let unused =
            self.drawn.read().iter().find(|(key, _)| !than.contains(key)).map(|(_, k)| k.clone());
        if let Some(key) = unused {
            return Ok(key);
        }
        let key = SecretKey::from_seed(&rand::rng().random());
        let path = self.path(&key.public_key());
        let (salt, nonce) = (rand::rng().random(), rand::rng().random());
        let file = KeyFile::encrypted("seat", &key, &self.passphrase(), salt, nonce)
            .map_err(|error| KeysError::File { path: path.clone(), error })?;
        let unfinished = unfinished(&path);
        write_owner_only(&unfinished, file.to_json().as_bytes())
            .and_then(|()| fs::rename(&unfinished, &path))
            .and_then(|()| sync_parent(&path))
            .map_err(|error| KeysError::Io { path, error })?;
        let key = Arc::new(key);
        self.drawn.write().insert(key.public_key(), key.clone());
        Ok(key)
    }

    /// Erases what is there of these keys. Overwritten before it is unlinked; what a copying file
    /// system or a backup keeps is beyond a program's reach.
    pub fn erase(&self, retired: &[PublicKey]) -> Result<(), KeysError> {
        for key in retired {
            if self.drawn.read().contains_key(key) {
                let path = self.path(key);
                erase(&path).map_err(|error| KeysError::Io { path, error })?;
                self.drawn.write().remove(key);
                tracing::info!(key = %key.short(), "a retired consensus key is erased");
            }
        }
        Ok(())
    }

    fn path(&self, key: &PublicKey) -> PathBuf {
        self.dir.join(format!("{PREFIX}{}.key", hex::encode(&key.0[..8])))
    }
}

fn unfinished(path: &Path) -> PathBuf {
    path.with_extension(&UNFINISHED[1..])
}

/// First by its name, so that a kill in between leaves no file that cannot be read.
fn erase(path: &Path) -> std::io::Result<()> {
    let unfinished = unfinished(path);
    fs::rename(path, &unfinished)?;
    sync_parent(path)?;
    overwrite(&unfinished)
}

fn overwrite(path: &Path) -> std::io::Result<()> {
    let length = fs::metadata(path)?.len() as usize;
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    file.write_all(&vec![0; length])?;
    file.sync_all()?;
    fs::remove_file(path)?;
    sync_parent(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member() -> Arc<SecretKey> {
        Arc::new(SecretKey::from_seed(&[1; 32]))
    }

    #[test]
    fn a_drawn_key_survives_a_restart_until_it_is_erased() {
        let dir = tempfile::tempdir().unwrap();
        let keys = SeatKeys::open(dir.path(), member()).unwrap();
        let first = keys.another(&[member().public_key()]).unwrap().public_key();
        assert_eq!(keys.another(&[]).unwrap().public_key(), first, "drawn and not used yet");
        let second = keys.another(&[first]).unwrap().public_key();
        assert_ne!(first, second);
        drop(keys);
        let keys = SeatKeys::open(dir.path(), member()).unwrap();
        assert!(keys.get(&first).is_some() && keys.get(&second).is_some());
        keys.erase(&[first, member().public_key()]).unwrap();
        assert!(keys.get(&first).is_none() && keys.get(&member().public_key()).is_some());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_kill_left_behind_is_cleared_away_and_stops_nobody() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("seat-0011.unfinished"), b"half a key").unwrap();
        SeatKeys::open(dir.path(), member()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn another_members_key_opens_no_file() {
        let dir = tempfile::tempdir().unwrap();
        SeatKeys::open(dir.path(), member()).unwrap().another(&[]).unwrap();
        let other = Arc::new(SecretKey::from_seed(&[2; 32]));
        assert!(SeatKeys::open(dir.path(), other).is_err());
    }
}
