//! safetensors files in and out. What comes in is bounded before it is parsed
//! and checked value by value; what goes out is F32 for people's tools plus an
//! I32 twin of each tensor, which is the exact model.
//!
//! The twin of tensor `w` is named `twinfold.steps.w`; the metadata carries
//! `twinfold.scale.w` (S of 2^−S) and `twinfold.order` (a JSON list of names),
//! because the format itself sorts tensors.

mod delta;
mod export;
mod import;
mod list;

pub use delta::read_delta;
pub use export::{ExportNotes, export};
pub use import::{ImportSettings, ImportedModel, import};
pub use list::list;

use crate::files;
use safetensors::{Dtype, SafeTensorError, SafeTensors, tensor::Metadata};
use std::path::{Path, PathBuf};
use twinfold_types::limits;

const TWIN_PREFIX: &str = "twinfold.steps.";
const SCALE_PREFIX: &str = "twinfold.scale.";
const ORDER_KEY: &str = "twinfold.order";
/// Names and shapes of 2,000 tensors and their twins fit four times over.
const HEADER_BYTES_MAX: u64 = 4 << 20;
/// F64 values and an I32 twin of the largest model.
const FILE_BYTES_MAX: u64 = 3 * limits::BLOB_BYTES_MAX + HEADER_BYTES_MAX;

#[derive(Debug, thiserror::Error)]
pub enum TensorFileError {
    #[error("{path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error(
        "{path} is not a whole safetensors file: {reason}; write it again with the safetensors library"
    )]
    Damaged { path: PathBuf, reason: String },
    #[error("tensor {name:?} has type {found}; expected {expected}")]
    Type { name: String, found: String, expected: &'static str },
    #[error("tensor {name:?} has shape {found:?}; expected {expected:?}")]
    Shape { name: String, found: Vec<u64>, expected: Vec<u64> },
    #[error("tensor {name:?} is missing; expected {expected:?}")]
    Missing { name: String, expected: Vec<String> },
    #[error("tensor {name:?} is unknown; expected {expected:?}")]
    UnknownTensor { name: String, expected: Vec<String> },
    #[error("tensor {name:?} is not trained by this task; leave it out or all zero")]
    Frozen { name: String },
    #[error("tensor {name:?}, value {index}: {reason}")]
    Value { name: String, index: usize, reason: String },
    #[error(
        "the delta's norm is {norm}; the task takes at most {bound}: train less, lower the learning rate, or clip"
    )]
    Norm { norm: f64, bound: f64 },
    #[error("metadata {key:?}: {reason}")]
    Metadata { key: String, reason: String },
    #[error("{0}")]
    Settings(String),
}

/// A file in memory whose header has been checked against its length.
struct Loaded {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Loaded {
    fn read(path: &Path) -> Result<Self, TensorFileError> {
        let bytes = files::read(path, FILE_BYTES_MAX)
            .map_err(|source| TensorFileError::File { path: path.into(), source })?;
        let loaded = Self { path: path.into(), bytes };
        loaded.check_header()?;
        Ok(loaded)
    }

    /// The header's length stands in the first eight bytes: bounded before the
    /// parser sees it.
    fn check_header(&self) -> Result<(), TensorFileError> {
        let Some(first) = self.bytes.first_chunk::<8>() else {
            return Err(self.damaged(format!("{} bytes; at least 8 are needed", self.bytes.len())));
        };
        let header = u64::from_le_bytes(*first);
        if header > HEADER_BYTES_MAX {
            let reason =
                format!("a header of {header} bytes; at most {HEADER_BYTES_MAX} are taken");
            return Err(self.damaged(reason));
        }
        Ok(())
    }

    fn parse(&self) -> Result<(SafeTensors<'_>, Metadata), TensorFileError> {
        let damaged = |error: SafeTensorError| self.damaged(error.to_string());
        let (_, metadata) = SafeTensors::read_metadata(&self.bytes).map_err(damaged)?;
        let tensors = SafeTensors::deserialize(&self.bytes).map_err(damaged)?;
        Ok((tensors, metadata))
    }

    fn damaged(&self, reason: String) -> TensorFileError {
        TensorFileError::Damaged { path: self.path.clone(), reason }
    }
}

/// The values of a floating-point tensor.
fn reals(name: &str, dtype: Dtype, data: &[u8]) -> Result<Vec<f64>, TensorFileError> {
    match dtype {
        Dtype::F32 => Ok(chunks(data).map(|bytes| f64::from(f32::from_le_bytes(bytes))).collect()),
        Dtype::F64 => Ok(chunks(data).map(f64::from_le_bytes).collect()),
        other => Err(TensorFileError::Type {
            name: name.into(),
            found: other.to_string(),
            expected: "F32 or F64",
        }),
    }
}

fn chunks<const N: usize>(data: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    data.as_chunks::<N>().0.iter().copied()
}

fn shape_of(shape: &[usize]) -> Vec<u64> {
    shape.iter().map(|side| *side as u64).collect()
}

#[cfg(test)]
mod tests;
