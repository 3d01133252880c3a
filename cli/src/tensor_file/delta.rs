//! A delta from outside, checked against the task before anything is sent.

use super::{Loaded, TWIN_PREFIX, TensorFileError, reals, shape_of};
use std::path::Path;
use twinfold_fl::{Layout, fixed};
use twinfold_types::{
    model::{TensorPolicy, TensorSpec},
    task::TaskSpec,
};

/// Reads a delta in the task's order, one value for each of the model's. Tensors
/// that are not trained may be left out; twins of an export are ignored.
pub fn read_delta(path: &Path, spec: &TaskSpec) -> Result<Vec<f32>, TensorFileError> {
    let file = Loaded::read(path)?;
    let (found, _) = file.parse()?;
    let layout =
        Layout::of(&spec.tensors).map_err(|error| TensorFileError::Settings(error.to_string()))?;
    let expected = || -> Vec<String> {
        spec.tensors
            .iter()
            .filter(|tensor| tensor.policy == TensorPolicy::Train)
            .map(|tensor| tensor.name.clone())
            .collect()
    };
    for name in found.names() {
        let known = spec.tensors.iter().any(|tensor| tensor.name == *name);
        if !known && !name.starts_with(TWIN_PREFIX) {
            let name = name.to_string();
            return Err(TensorFileError::UnknownTensor { name, expected: expected() });
        }
    }
    let mut delta = vec![0f32; layout.values()];
    for (tensor, slot) in spec.tensors.iter().zip(layout.slots()) {
        let name = &tensor.name;
        let Ok(view) = found.tensor(name) else {
            if slot.trained {
                return Err(TensorFileError::Missing { name: name.clone(), expected: expected() });
            }
            continue;
        };
        let shape = shape_of(view.shape());
        if shape != tensor.shape {
            let expected = tensor.shape.clone();
            return Err(TensorFileError::Shape { name: name.clone(), found: shape, expected });
        }
        let values = reals(name, view.dtype(), view.data())?;
        if !slot.trained && values.iter().any(|value| *value != 0.0) {
            return Err(TensorFileError::Frozen { name: name.clone() });
        }
        fill(&mut delta[slot.range()], tensor, &values)?;
    }
    check_norm(&delta, spec, &layout)?;
    Ok(delta)
}

fn fill(place: &mut [f32], tensor: &TensorSpec, values: &[f64]) -> Result<(), TensorFileError> {
    for (index, (place, value)) in place.iter_mut().zip(values).enumerate() {
        fixed::real_to_steps(*value, tensor.scale).map_err(|error| TensorFileError::Value {
            name: tensor.name.clone(),
            index,
            reason: error.to_string(),
        })?;
        *place = *value as f32;
    }
    Ok(())
}

/// A delta over the bound is refused here, where its maker can read why.
fn check_norm(delta: &[f32], spec: &TaskSpec, layout: &Layout) -> Result<(), TensorFileError> {
    let squares = delta.iter().map(|value| f64::from(*value) * f64::from(*value));
    let norm = squares.sum::<f64>().sqrt();
    let bound = spec.norm_bound as f64 * fixed::power_of_two(-i32::from(layout.norm_scale()));
    if norm > bound {
        return Err(TensorFileError::Norm { norm, bound });
    }
    Ok(())
}
