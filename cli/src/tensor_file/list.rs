//! The tensors of a safetensors file as its header lists them, whatever their type.

use super::{Loaded, TensorFileError, shape_of};
use crate::model_file::FileTensor;
use std::path::Path;

/// In the order in which they stand in the file.
pub fn list(path: &Path) -> Result<Vec<FileTensor>, TensorFileError> {
    let file = Loaded::read(path)?;
    let (_, metadata) = file.parse()?;
    let names = metadata.offset_keys();
    let tensor = |name: String| {
        let info = metadata.info(&name)?;
        let element = info.dtype.to_string().to_lowercase();
        Some(FileTensor { element, shape: shape_of(&info.shape), name })
    };
    Ok(names.into_iter().filter_map(tensor).collect())
}
