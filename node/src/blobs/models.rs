//! Models in canonical form, by digest. What is read is checked against its name.

use super::BlobError;
use crate::journal::write_whole;
use std::path::{Path, PathBuf};
use twinfold_types::{Digest, model::model_digest};

pub struct ModelStore {
    dir: PathBuf,
}

impl ModelStore {
    pub fn open(dir: &Path) -> Result<Self, BlobError> {
        std::fs::create_dir_all(dir).map_err(|error| io(dir, error))?;
        Ok(Self { dir: dir.into() })
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
        if path.exists() {
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
            return Err(BlobError::Mismatch(format!("stored model {digest} is damaged")));
        }
        Ok(Some(content))
    }
}

fn io(path: &Path, error: std::io::Error) -> BlobError {
    BlobError::Io { path: path.display().to_string(), error }
}
