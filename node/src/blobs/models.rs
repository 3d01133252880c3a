//! Models in canonical form, by digest. What is read is checked against its name. A version that is
//! no longer new may stand as the difference to its parent (`delta`): reading it reads the parent.

use super::{BlobError, delta};
use crate::journal::{sync_parent, write_whole};
use parking_lot::Mutex;
use std::{
    fs::File,
    io::{Error, ErrorKind},
    path::{Path, PathBuf},
};
use twinfold_types::{Digest, model::model_digest};

/// Of a version that stands as a difference.
pub const DELTA_EXTENSION: &str = "delta";
/// Differences between a version that is made one and a whole model.
const DEPTH_MAX: usize = 16;

pub struct ModelStore {
    dir: PathBuf,
    /// One writer at a time: two would share a temporary name.
    writing: Mutex<()>,
}

impl ModelStore {
    pub fn open(dir: &Path) -> Result<Self, BlobError> {
        std::fs::create_dir_all(dir).map_err(|error| io(dir, error))?;
        Ok(Self { dir: dir.into(), writing: Mutex::default() })
    }

    pub fn has(&self, digest: &Digest) -> bool {
        path(&self.dir, digest).exists() || delta_path(&self.dir, digest).exists()
    }

    /// Whether it stands there whole, and since when.
    pub fn whole_since(&self, digest: &Digest) -> Option<std::time::SystemTime> {
        std::fs::metadata(path(&self.dir, digest)).and_then(|about| about.modified()).ok()
    }

    /// Stores content whose digest the caller computed; synced when this returns.
    pub fn put(&self, digest: &Digest, content: &[u8]) -> Result<(), BlobError> {
        let path = path(&self.dir, digest);
        let _writing = self.writing.lock();
        // A copy of another length is damaged, and written anew.
        if std::fs::metadata(&path).is_ok_and(|found| found.len() == content.len() as u64) {
            return Ok(());
        }
        write_whole(&path, content).map_err(|error| io(&path, error))
    }

    pub fn read(&self, digest: &Digest) -> Result<Option<Vec<u8>>, BlobError> {
        match read_in(&self.dir, digest) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                // Gone, so that it can be had anew from whoever has it whole.
                tracing::error!(%digest, %error, "a stored model is damaged");
                self.remove(digest)?;
                Ok(None)
            }
            Err(error) => Err(io(&self.dir, error)),
        }
    }

    /// However it stands there; where it does not, nothing happens.
    pub fn remove(&self, digest: &Digest) -> Result<(), BlobError> {
        for path in [path(&self.dir, digest), delta_path(&self.dir, digest)] {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(&path, error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Puts the difference to its parent in a whole version's place, where that saves something.
    /// Whenever the process dies, one of the two is there.
    pub fn shrink(&self, digest: &Digest, parent: &Digest) -> Result<bool, BlobError> {
        if depth(&self.dir, parent).map_err(|error| io(&self.dir, error))? >= DEPTH_MAX {
            return Ok(false);
        }
        let (Some(content), Some(base)) = (self.read(digest)?, self.read(parent)?) else {
            return Ok(false);
        };
        let Some(bytes) = delta::encode(parent, &base, &content) else { return Ok(false) };
        let (whole, path) = (path(&self.dir, digest), delta_path(&self.dir, digest));
        let _writing = self.writing.lock();
        write_whole(&path, &bytes).map_err(|error| io(&path, error))?;
        std::fs::remove_file(&whole).map_err(|error| io(&whole, error))?;
        sync_parent(&whole).map_err(|error| io(&whole, error))?;
        Ok(true)
    }
}

/// A model in a folder of them, checked; changes nothing. What is there and is not it is `InvalidData`.
pub fn read_in(dir: &Path, digest: &Digest) -> std::io::Result<Vec<u8>> {
    let (whole, differences) = way(dir, digest)?;
    let mut content = std::fs::read(path(dir, &whole))?;
    for difference in differences.iter().rev() {
        content = delta::apply(&std::fs::read(delta_path(dir, difference))?, &content)?;
    }
    match model_digest(&content) == *digest {
        true => Ok(content),
        false => Err(delta::damaged("its content is another than it is called after")),
    }
}

/// The whole model that a version rests on, and the differences on the way there, its own first.
fn way(dir: &Path, digest: &Digest) -> std::io::Result<(Digest, Vec<Digest>)> {
    let (mut at, mut differences) = (*digest, vec![]);
    while !path(dir, &at).exists() {
        if differences.contains(&at) {
            return Err(delta::damaged("differences lead in a circle"));
        }
        differences.push(at);
        at = delta::parent(&mut File::open(delta_path(dir, &at))?)?;
    }
    Ok((at, differences))
}

/// How many differences lead to a whole model; of one that is not here, none do.
fn depth(dir: &Path, digest: &Digest) -> std::io::Result<usize> {
    match way(dir, digest) {
        Ok((_, differences)) => Ok(differences.len()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => Ok(0),
        Err(error) => Err(error),
    }
}

fn path(dir: &Path, digest: &Digest) -> PathBuf {
    dir.join(digest.to_string())
}

fn delta_path(dir: &Path, digest: &Digest) -> PathBuf {
    dir.join(digest.to_string()).with_extension(DELTA_EXTENSION)
}

fn io(path: &Path, error: Error) -> BlobError {
    BlobError::Io { path: path.display().to_string(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many versions in a row: each changes one value in fifty.
    fn versions(count: usize) -> Vec<(Digest, Vec<u8>)> {
        let mut steps: Vec<i32> = (0..20_000).map(|at: i32| at.wrapping_mul(7_919)).collect();
        let mut found = vec![];
        for version in 0..count {
            for at in (version..steps.len()).step_by(50) {
                steps[at] = steps[at].wrapping_add(version as i32 * 31 - 400);
            }
            let content = twinfold_fl::canonical_bytes(&steps);
            found.push((model_digest(&content), content));
        }
        found
    }

    fn stored(versions: &[(Digest, Vec<u8>)]) -> (tempfile::TempDir, ModelStore) {
        let dir = tempfile::tempdir().unwrap();
        let store = ModelStore::open(dir.path()).unwrap();
        versions.iter().for_each(|(digest, content)| store.put(digest, content).unwrap());
        for pair in versions.windows(2) {
            assert!(store.shrink(&pair[1].0, &pair[0].0).unwrap());
        }
        (dir, store)
    }

    fn bytes_in(dir: &Path) -> u64 {
        let entries = std::fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
    }

    #[test]
    fn versions_that_stand_as_differences_come_back_to_the_bit_and_take_little() {
        let versions = versions(16);
        let (dir, store) = stored(&versions);
        for (digest, content) in &versions {
            assert!(store.has(digest));
            assert_eq!(store.read(digest).unwrap().as_ref(), Some(content));
        }
        assert!(store.whole_since(&versions[0].0).is_some());
        assert!(store.whole_since(&versions[1].0).is_none());
        let whole = versions.len() as u64 * 80_000;
        assert!(bytes_in(dir.path()) < whole / 8, "{} of {whole}", bytes_in(dir.path()));
    }

    #[test]
    fn a_damaged_difference_is_found_and_goes_and_only_what_needs_it_is_missing() {
        let versions = versions(4);
        let (dir, store) = stored(&versions);
        let path = delta_path(dir.path(), &versions[2].0);
        let good = std::fs::read(&path).unwrap();
        for at in [0, 9, 40, good.len() / 2, good.len() - 1] {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(store.read(&versions[2].0).unwrap(), None, "byte {at}");
            std::fs::write(&path, &good).unwrap();
        }
        std::fs::write(&path, &good[..good.len() / 2]).unwrap();
        assert_eq!(store.read(&versions[2].0).unwrap(), None);
        assert!(!store.has(&versions[2].0));
        assert_eq!(store.read(&versions[1].0).unwrap().as_ref(), Some(&versions[1].1));
        assert_eq!(store.read(&versions[3].0).unwrap(), None, "its parent is missing");
        store.put(&versions[2].0, &versions[2].1).unwrap();
        assert_eq!(store.read(&versions[3].0).unwrap().as_ref(), Some(&versions[3].1));
    }

    /// However the versions of a lineage are numbered, none rests on more than so many others.
    #[test]
    fn a_long_lineage_has_whole_models_in_between() {
        let versions = versions(40);
        let dir = tempfile::tempdir().unwrap();
        let store = ModelStore::open(dir.path()).unwrap();
        versions.iter().for_each(|(digest, content)| store.put(digest, content).unwrap());
        for pair in versions.windows(2) {
            store.shrink(&pair[1].0, &pair[0].0).unwrap();
        }
        let depths = versions.iter().map(|(digest, _)| depth(dir.path(), digest).unwrap());
        assert_eq!(depths.max(), Some(DEPTH_MAX));
        let whole = versions.iter().filter(|(digest, _)| store.whole_since(digest).is_some());
        assert_eq!(whole.count(), 3);
        for (digest, content) in &versions {
            assert_eq!(store.read(digest).unwrap().as_ref(), Some(content));
        }
    }

    #[test]
    fn a_circle_of_differences_ends() {
        let versions = versions(2);
        let (dir, store) = stored(&versions);
        let [(first, content), (second, other)] = &versions[..] else { panic!() };
        let bytes = delta::encode(second, other, content).unwrap();
        std::fs::remove_file(path(dir.path(), first)).unwrap();
        std::fs::write(delta_path(dir.path(), first), bytes).unwrap();
        assert_eq!(store.read(second).unwrap(), None);
    }
}
