//! A model from outside: twins where the file has them, else the real values
//! rounded half to even.

use super::{
    Loaded, ORDER_KEY, SCALE_PREFIX, TWIN_PREFIX, TensorFileError, chunks, reals, shape_of,
};
use safetensors::{Dtype, SafeTensors, tensor::Metadata};
use std::{collections::BTreeMap, path::Path};
use twinfold_fl::fixed;
use twinfold_types::{
    limits,
    model::{TensorPolicy, TensorSpec, tensors_fault},
};

/// What the file does not say.
#[derive(Clone, Debug)]
pub struct ImportSettings {
    /// Scale of tensors that are named neither here nor in the file.
    pub scale: u8,
    pub scales: BTreeMap<String, u8>,
    pub policies: BTreeMap<String, TensorPolicy>,
}

impl Default for ImportSettings {
    fn default() -> Self {
        Self { scale: limits::SCALE_DEFAULT, scales: BTreeMap::new(), policies: BTreeMap::new() }
    }
}

impl ImportSettings {
    /// Sets scales and policies of tensors that come from no file.
    pub fn apply(&self, tensors: &mut [TensorSpec]) -> Result<(), TensorFileError> {
        let names: Vec<_> = tensors.iter().map(|tensor| tensor.name.clone()).collect();
        self.check_names(&names)?;
        for tensor in tensors {
            tensor.scale = self.scales.get(&tensor.name).copied().unwrap_or(tensor.scale);
            tensor.policy = self.policies.get(&tensor.name).copied().unwrap_or(tensor.policy);
        }
        Ok(())
    }

    fn check_names(&self, names: &[String]) -> Result<(), TensorFileError> {
        match self.scales.keys().chain(self.policies.keys()).find(|name| !names.contains(name)) {
            None => Ok(()),
            Some(name) => {
                let (name, expected) = (name.clone(), names.to_vec());
                Err(TensorFileError::UnknownTensor { name, expected })
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedModel {
    pub tensors: Vec<TensorSpec>,
    pub steps: Vec<i32>,
}

pub fn import(path: &Path, settings: &ImportSettings) -> Result<ImportedModel, TensorFileError> {
    let file = Loaded::read(path)?;
    let (tensors, metadata) = file.parse()?;
    let names = ordered_names(&metadata)?;
    settings.check_names(&names)?;
    let (mut specs, mut steps) = (vec![], vec![]);
    for name in names {
        let (spec, values) = read_tensor(&tensors, &metadata, settings, &name)?;
        specs.push(spec);
        steps.extend(values);
    }
    match tensors_fault(&specs) {
        Some(fault) => Err(TensorFileError::Settings(fault)),
        None => Ok(ImportedModel { tensors: specs, steps }),
    }
}

/// Names in the order of the model: as the file's metadata says, else as the
/// tensors stand in the file. Twins are no tensors of their own.
fn ordered_names(metadata: &Metadata) -> Result<Vec<String>, TensorFileError> {
    let mut present = metadata.offset_keys();
    present.retain(|name| !name.starts_with(TWIN_PREFIX));
    let Some(text) = note(metadata, ORDER_KEY) else { return Ok(present) };
    let fault = |reason: String| TensorFileError::Metadata { key: ORDER_KEY.into(), reason };
    let order: Vec<String> =
        serde_json::from_str(text).map_err(|error| fault(error.to_string()))?;
    let (mut expected, mut named) = (present, order.clone());
    expected.sort();
    named.sort();
    if expected != named {
        return Err(fault(format!("names {named:?}, the file holds {expected:?}")));
    }
    Ok(order)
}

fn read_tensor(
    file: &SafeTensors,
    metadata: &Metadata,
    settings: &ImportSettings,
    name: &str,
) -> Result<(TensorSpec, Vec<i32>), TensorFileError> {
    let tensor = view(file, name)?;
    let shape = shape_of(tensor.shape());
    let noted = noted_scale(metadata, name)?;
    let scale = settings.scales.get(name).copied().or(noted).unwrap_or(settings.scale);
    if scale > limits::SCALE_MAX {
        return Err(TensorFileError::Settings(format!(
            "tensor {name:?}: scale {scale}; 0 to {} are allowed",
            limits::SCALE_MAX
        )));
    }
    let twin = file.tensor(&format!("{TWIN_PREFIX}{name}")).ok();
    // A twin is exact, but only at the scale it was written with.
    let steps = match twin {
        Some(twin) if noted == Some(scale) => {
            twin_steps(name, &shape, twin.dtype(), twin.shape(), twin.data())?
        }
        _ => rounded(name, &reals(name, tensor.dtype(), tensor.data())?, scale)?,
    };
    let policy = settings.policies.get(name).copied().unwrap_or(TensorPolicy::Train);
    Ok((TensorSpec { name: name.into(), shape, scale, policy }, steps))
}

fn view<'a>(
    file: &SafeTensors<'a>,
    name: &str,
) -> Result<safetensors::tensor::TensorView<'a>, TensorFileError> {
    file.tensor(name).map_err(|_| TensorFileError::Missing {
        name: name.into(),
        expected: file.names().iter().map(|name| name.to_string()).collect(),
    })
}

fn twin_steps(
    name: &str,
    shape: &[u64],
    dtype: Dtype,
    twin_shape: &[usize],
    data: &[u8],
) -> Result<Vec<i32>, TensorFileError> {
    let name = format!("{TWIN_PREFIX}{name}");
    if dtype != Dtype::I32 {
        return Err(TensorFileError::Type { name, found: dtype.to_string(), expected: "I32" });
    }
    if shape_of(twin_shape) != shape {
        let found = shape_of(twin_shape);
        return Err(TensorFileError::Shape { name, found, expected: shape.to_vec() });
    }
    Ok(chunks(data).map(i32::from_le_bytes).collect())
}

fn rounded(name: &str, values: &[f64], scale: u8) -> Result<Vec<i32>, TensorFileError> {
    let step = |(index, value): (usize, &f64)| {
        fixed::real_to_steps(*value, scale).map_err(|error| TensorFileError::Value {
            name: name.into(),
            index,
            reason: error.to_string(),
        })
    };
    values.iter().enumerate().map(step).collect()
}

fn noted_scale(metadata: &Metadata, name: &str) -> Result<Option<u8>, TensorFileError> {
    let key = format!("{SCALE_PREFIX}{name}");
    let Some(text) = note(metadata, &key) else { return Ok(None) };
    match text.parse::<u8>() {
        Ok(scale) => Ok(Some(scale)),
        Err(_) => {
            let reason = format!("expected a number up to {}, got {text:?}", limits::SCALE_MAX);
            Err(TensorFileError::Metadata { key, reason })
        }
    }
}

fn note<'a>(metadata: &'a Metadata, key: &str) -> Option<&'a String> {
    metadata.metadata().as_ref()?.get(key)
}
