//! Models in canonical form, by digest. What is read is checked against its name.

use super::BlobError;
use crate::journal::write_whole;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use twinfold_types::{Digest, model::model_digest};

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

    fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(digest.to_string())
    }

    pub fn has(&self, digest: &Digest) -> bool {
        self.path(digest).exists()
    }

    /// Stores content whose digest the caller computed; synced when this returns.
    pub fn put(&self, digest: &Digest, content: &[u8]) -> Result<(), BlobError> {
        let path = self.path(digest);
        let _writing = self.writing.lock();
        // A copy of another length is damaged, and written anew.
        if std::fs::metadata(&path).is_ok_and(|found| found.len() == content.len() as u64) {
            return Ok(());
        }
        write_whole(&path, content).map_err(|error| io(&path, error))
    }

    pub fn read(&self, digest: &Digest) -> Result<Option<Vec<u8>>, BlobError> {
        let path = self.path(digest);
        let content = match std::fs::read(&path) {
            Ok(content) => content,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(&path, error)),
        };
        if model_digest(&content) != *digest {
            // Gone, so that it can be had anew from whoever has it whole.
            tracing::error!(%digest, "a stored model is damaged");
            std::fs::remove_file(&path).map_err(|error| io(&path, error))?;
            return Ok(None);
        }
        Ok(Some(content))
    }
}

fn io(path: &Path, error: std::io::Error) -> BlobError {
    BlobError::Io { path: path.display().to_string(), error }
}
