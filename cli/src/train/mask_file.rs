//! What a trainer must not lose in a masked round: the secret that its keys, shares and masks follow from,
//! whether it has masked an update with it, and for which list it released shares. One file for each task,
//! key and round at a time: an older round's secret is gone with it.
//!
//! ```text
//! magic "TFM1" · content, canonically encoded · BLAKE3 of all before
//! ```

use super::StateError;
use crate::files::{self, Access};
use serde::{Deserialize, Serialize};
use std::{
    io,
    path::{Path, PathBuf},
};
use twinfold_fl::mask::RoundSecret;
use twinfold_types::{Digest, PublicKey, codec, round::RoundKey};

const MAGIC: [u8; 4] = *b"TFM1";
const DIGEST_BYTES: usize = 32;
const FILE_BYTES_MAX: u64 = 1 << 10;

/// The secret of one round, and what was done with it.
#[derive(Debug)]
pub struct MaskFile {
    path: PathBuf,
    content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    round: RoundKey,
    trainer: PublicKey,
    secret: [u8; 32],
    masked: bool,
    released: Option<Digest>,
}

impl MaskFile {
    /// The secret of a round, drawn anew where the file has another round's or none.
    pub fn open(dir: &Path, round: &RoundKey, trainer: &PublicKey) -> Result<Self, StateError> {
        let name = format!(
            "{}-{}-{}.mask",
            &round.task.to_string()[..16],
            round.cluster,
            &trainer.to_string()[..16]
        );
        let path = dir.join(name);
        if let Some(content) = read(&path)?
            && (content.round, content.trainer) == (*round, *trainer)
        {
            return Ok(Self { path, content });
        }
        let (round, trainer, secret) = (*round, *trainer, rand::random());
        let content = Content { round, trainer, secret, masked: false, released: None };
        let file = Self { path, content };
        file.save()?;
        Ok(file)
    }

    pub fn secret(&self) -> RoundSecret {
        RoundSecret::new(self.content.secret, self.content.round)
    }

    /// Whether an update was masked with it. The difference of two would show.
    pub fn is_masked(&self) -> bool {
        self.content.masked
    }

    /// Before any byte of a masked update leaves.
    pub fn set_masked(&mut self) -> Result<(), StateError> {
        self.content.masked = true;
        self.save()
    }

    /// Before shares are released for a list of updates; false where they were for another one.
    pub fn release_for(&mut self, list: Digest) -> Result<bool, StateError> {
        if let Some(before) = self.content.released {
            return Ok(before == list);
        }
        self.content.released = Some(list);
        self.save()?;
        Ok(true)
    }

    /// The round has ended: nobody can unmask its updates by this file any more.
    pub fn remove(self) -> Result<(), StateError> {
        let path = self.path;
        std::fs::remove_file(&path).map_err(|source| StateError::File { path, source })
    }

    fn save(&self) -> Result<(), StateError> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(codec::encode(&self.content));
        let digest = blake3::hash(&bytes);
        bytes.extend_from_slice(digest.as_bytes());
        let path = || self.path.clone();
        files::write(&self.path, &bytes, Access::Owner)
            .map_err(|source| StateError::File { path: path(), source })
    }
}

fn read(path: &Path) -> Result<Option<Content>, StateError> {
    let bytes = match files::read(path, FILE_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StateError::File { path: path.into(), source }),
    };
    let damaged = |reason| StateError::Damaged { path: path.into(), reason };
    let end = bytes.len().checked_sub(DIGEST_BYTES).ok_or_else(|| damaged("it is too short"))?;
    let (content, digest) = bytes.split_at(end);
    if blake3::hash(content).as_bytes() != digest {
        return Err(damaged("its digest does not match its content"));
    }
    let content = content
        .strip_prefix(&MAGIC)
        .ok_or_else(|| damaged("it is no mask file of this version"))?;
    let content = codec::decode(content, FILE_BYTES_MAX as usize);
    content.map(Some).map_err(|_| damaged("its content does not decode"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfold_types::{ClusterId, RoundNumber, TaskId};

    fn round(number: u64) -> RoundKey {
        let task = TaskId(Digest([5; 32]));
        RoundKey { task, cluster: ClusterId(1), round: RoundNumber(number) }
    }

    #[test]
    fn a_secret_outlives_its_process_but_not_its_round() {
        let dir = tempfile::tempdir().unwrap();
        let me = PublicKey([3; 32]);
        let open = |number| MaskFile::open(dir.path(), &round(number), &me).unwrap();
        let mut file = open(4);
        let secret = file.secret();
        assert!(!file.is_masked());
        file.set_masked().unwrap();
        let again = open(4);
        assert!(again.secret() == secret && again.is_masked());
        let next = open(5);
        assert!(next.secret().bytes() != secret.bytes() && !next.is_masked());
        assert!(open(4).secret() != secret, "gone for good");
    }

    #[test]
    fn shares_are_released_for_one_list() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = MaskFile::open(dir.path(), &round(4), &PublicKey([3; 32])).unwrap();
        assert!(file.release_for(Digest([1; 32])).unwrap());
        let mut file = MaskFile::open(dir.path(), &round(4), &PublicKey([3; 32])).unwrap();
        assert!(file.release_for(Digest([1; 32])).unwrap());
        assert!(!file.release_for(Digest([2; 32])).unwrap(), "another list");
    }

    #[test]
    fn a_flipped_or_cut_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let me = PublicKey([3; 32]);
        let file = MaskFile::open(dir.path(), &round(4), &me).unwrap();
        let bytes = std::fs::read(&file.path).unwrap();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            std::fs::write(&file.path, &flipped).unwrap();
            assert!(MaskFile::open(dir.path(), &round(4), &me).is_err(), "byte {at}");
            std::fs::write(&file.path, &bytes[..at]).unwrap();
            assert!(MaskFile::open(dir.path(), &round(4), &me).is_err(), "cut at {at}");
        }
    }
}
