//! Model files as they are given: what kind one is, by its content and never by its name, and
//! what it holds. Nothing of it is executed or unpacked. Pickles are refused, because loading one
//! runs whatever program is in it.

mod onnx;
mod protobuf;

use crate::tensor_file;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};
use twinfold_types::{Digest, store::FileForm};

/// Largest ONNX file: protobuf's own limit, and all of it is read.
const ONNX_BYTES_MAX: u64 = 2 << 30;
const PIECE_BYTES: usize = 1 << 20;
/// What a kind is told by.
const START_BYTES: usize = 16;

#[derive(Debug, thiserror::Error)]
pub enum ModelFileError {
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("{path} is {what}; {hint}")]
    Foreign { path: PathBuf, what: &'static str, hint: &'static str },
    #[error(
        "{path} is not a whole ONNX file: {reason}; write it again, and check it with onnx.checker"
    )]
    Onnx { path: PathBuf, reason: String },
    #[error(transparent)]
    Tensors(#[from] tensor_file::TensorFileError),
}

/// A tensor of a file, as its header says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileTensor {
    pub name: String,
    pub element: String,
    pub shape: Vec<u64>,
}

/// What a file is and holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inspected {
    pub bytes: u64,
    pub sha256: Digest,
    /// Of the same bytes: what a payload's identity has.
    pub blake3: Digest,
    pub form: FileForm,
    pub tensors: Vec<FileTensor>,
}

/// Reads a file through, and says what it is. It is checked as far as its kind can be checked
/// without running it.
pub fn inspect(path: &Path) -> Result<Inspected, ModelFileError> {
    let file = |source| ModelFileError::File { path: path.into(), source };
    let kind = match kind(&start(path).map_err(file)?) {
        // It is told from a damaged one by its name alone.
        Kind::MaybeOnnx if path.extension().is_some_and(|end| end == "safetensors") => {
            Kind::Safetensors
        }
        kind => kind,
    };
    let (form, tensors) = match kind {
        Kind::Safetensors => {
            let tensors = tensor_file::list(path)?;
            let values = tensors.iter().map(|tensor| tensor.shape.iter().product::<u64>()).sum();
            (FileForm::Safetensors { tensors: tensors.len() as u32, values }, tensors)
        }
        Kind::MaybeOnnx => {
            let bytes = crate::files::read(path, ONNX_BYTES_MAX).map_err(file)?;
            let (form, tensors) = onnx::read(&bytes)
                .map_err(|reason| ModelFileError::Onnx { path: path.into(), reason })?;
            (FileForm::Onnx(form), tensors)
        }
        Kind::Foreign(what, hint) => {
            return Err(ModelFileError::Foreign { path: path.into(), what, hint });
        }
    };
    // Last, because this reads all of it.
    let Hashed { bytes, sha256, blake3 } = hash(path).map_err(file)?;
    Ok(Inspected { bytes, sha256, blake3, form, tensors })
}

/// SHA-256 of a file.
pub fn sha256(path: &Path) -> io::Result<Digest> {
    Ok(hash(path)?.sha256)
}

struct Hashed {
    bytes: u64,
    sha256: Digest,
    blake3: Digest,
}

fn hash(path: &Path) -> io::Result<Hashed> {
    let mut file = File::open(path)?;
    let (mut sha256, mut blake3) = (Sha256::new(), blake3::Hasher::new());
    let (mut bytes, mut piece) = (0, vec![0; PIECE_BYTES]);
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            let sha256 = Digest(sha256.finalize().into());
            let blake3 = Digest(*blake3.finalize().as_bytes());
            return Ok(Hashed { bytes, sha256, blake3 });
        }
        sha256.update(&piece[..read]);
        blake3.update(&piece[..read]);
        bytes += read as u64;
    }
}

fn start(path: &Path) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(START_BYTES);
    File::open(path)?.take(START_BYTES as u64).read_to_end(&mut start)?;
    Ok(start)
}

enum Kind {
    Safetensors,
    /// What is none of the others; protobuf has no mark of its own.
    MaybeOnnx,
    Foreign(&'static str, &'static str),
}

const PICKLE_HINT: &str = "loading it would run the program in it, so it is not taken: load it where you trust it and \
    write the weights with safetensors.torch.save_file(model.state_dict(), \"model.safetensors\"), \
    or the graph with torch.onnx.export";
const OTHER_HINT: &str = "convert it to safetensors (weights) or ONNX (graph and weights)";

fn kind(start: &[u8]) -> Kind {
    match start {
        // A header's length in eight bytes, and JSON: first, because the length may look like
        // anything.
        [_, _, _, _, 0, 0, 0, 0, b'{', ..] => Kind::Safetensors,
        // Protocols 2 to 5, which PyTorch's older files and every joblib file begin with.
        [0x80, 2..=5, ..] => Kind::Foreign("a Python pickle", PICKLE_HINT),
        // Protocol 0 or 1 of a mapping, list, tuple or class.
        [b'(', b'd' | b'l' | b'c' | b'i', ..] | [b'c', b'_' | b'a'..=b'z', ..] => {
            Kind::Foreign("a Python pickle", PICKLE_HINT)
        }
        [b'}' | b']', b'q', ..] => Kind::Foreign("a Python pickle", PICKLE_HINT),
        [b'P', b'K', 3..=8, 4..=9, ..] => Kind::Foreign(
            "a zip archive, as PyTorch and Keras write with pickles in it",
            PICKLE_HINT,
        ),
        [0x1f, 0x8b, ..] => Kind::Foreign("a gzip archive", OTHER_HINT),
        [0x89, b'H', b'D', b'F', ..] => Kind::Foreign("an HDF5 file", OTHER_HINT),
        [b'G', b'G', b'U', b'F', ..] => Kind::Foreign("a GGUF file", OTHER_HINT),
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Kind::Foreign("a numpy file", OTHER_HINT),
        [_, _, _, _, b'T', b'F', b'L', b'3', ..] => {
            Kind::Foreign("a TensorFlow Lite file", OTHER_HINT)
        }
        // The same with a length that is none, which is refused there.
        [_, _, _, _, _, _, _, _, b'{', ..] => Kind::Safetensors,
        _ => Kind::MaybeOnnx,
    }
}

#[cfg(test)]
mod tests;
