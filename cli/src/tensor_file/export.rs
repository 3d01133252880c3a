//! A model for other tools: F32, its exact twin, and what it is.

use super::{ORDER_KEY, SCALE_PREFIX, TWIN_PREFIX, TensorFileError};
use safetensors::{Dtype, View};
use std::{borrow::Cow, collections::HashMap};
use twinfold_fl::{Layout, canonical_bytes, fixed};
use twinfold_types::model::TensorSpec;

/// Metadata beside the tensors: `twinfold.model`, `twinfold.digest` and so on.
pub type ExportNotes = Vec<(&'static str, String)>;

struct Out {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl View for Out {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.data)
    }
    fn data_len(&self) -> usize {
        self.data.len()
    }
}

/// The bytes of the file.
pub fn export(
    tensors: &[TensorSpec],
    steps: &[i32],
    notes: ExportNotes,
) -> Result<Vec<u8>, TensorFileError> {
    let fault = |error: String| TensorFileError::Settings(error);
    let layout = Layout::of(tensors).map_err(|error| fault(error.to_string()))?;
    if layout.values() != steps.len() {
        let message = format!("the model has {} values, got {}", layout.values(), steps.len());
        return Err(fault(message));
    }
    let names: Vec<_> = tensors.iter().map(|tensor| &tensor.name).collect();
    let order = serde_json::to_string(&names).map_err(|error| fault(error.to_string()))?;
    let mut metadata = HashMap::from([(ORDER_KEY.to_string(), order)]);
    metadata.extend(notes.into_iter().map(|(key, value)| (key.to_string(), value)));
    let mut out = vec![];
    for (spec, slot) in tensors.iter().zip(layout.slots()) {
        let steps = &steps[slot.range()];
        let shape: Vec<_> = spec.shape.iter().map(|side| *side as usize).collect();
        let real = steps.iter().flat_map(|q| fixed::steps_to_f32(*q, spec.scale).to_le_bytes());
        let real = Out { dtype: Dtype::F32, shape: shape.clone(), data: real.collect() };
        let twin = Out { dtype: Dtype::I32, shape, data: canonical_bytes(steps) };
        metadata.insert(format!("{SCALE_PREFIX}{}", spec.name), spec.scale.to_string());
        out.push((spec.name.clone(), real));
        out.push((format!("{TWIN_PREFIX}{}", spec.name), twin));
    }
    safetensors::serialize(out, Some(metadata)).map_err(|error| fault(error.to_string()))
}
