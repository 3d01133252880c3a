//! The networks: softmax regression and one hidden layer of ReLU units, both a list
//! of dense layers over the model's flat values. Which one it is follows from the
//! tensors' names; a weight's shape is [inputs, outputs].

use super::{TrainError, control::without_controls};
use crate::data::{Dataset, normal};
use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut1, ArrayViewMut2, Axis, Slice, linalg};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::ops::Range;
use twinfold_fl::Layout;
use twinfold_types::model::{TensorPolicy, TensorSpec};

/// Rows evaluated at once.
const EVALUATION_ROWS: usize = 1_024;

/// Tensors of a softmax regression.
pub fn softmax_tensors(features: usize, classes: usize, scale: u8) -> Vec<TensorSpec> {
    dense_tensors("", features, classes, scale).into()
}

/// Tensors of a network with one hidden layer.
pub fn mlp_tensors(features: usize, hidden: usize, classes: usize, scale: u8) -> Vec<TensorSpec> {
    let layers = [
        dense_tensors("hidden.", features, hidden, scale),
        dense_tensors("output.", hidden, classes, scale),
    ];
    layers.concat()
}

fn dense_tensors(prefix: &str, inputs: usize, outputs: usize, scale: u8) -> [TensorSpec; 2] {
    let tensor = |name, shape| {
        let policy = TensorPolicy::Train;
        TensorSpec { name: format!("{prefix}{name}"), shape, scale, policy }
    };
    let (inputs, outputs) = (inputs as u64, outputs as u64);
    [tensor("weight", vec![inputs, outputs]), tensor("bias", vec![outputs])]
}

/// First values of a model: zero for softmax regression and all biases, else
/// normal with variance 2/inputs (He et al. 2015).
pub fn initial_values(tensors: &[TensorSpec], seed: u64) -> Result<Vec<f32>, TrainError> {
    let network = Network::infer(tensors)?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut values = vec![0.0; network.values];
    if network.layers.len() > 1 {
        for layer in &network.layers {
            let deviation = (2.0 / layer.inputs as f64).sqrt();
            let draw = |value: &mut f32| *value = (normal(&mut rng) * deviation) as f32;
            values[layer.weight.clone()].iter_mut().for_each(draw);
        }
    }
    Ok(values)
}

#[derive(Clone, Debug, PartialEq)]
struct Layer {
    inputs: usize,
    outputs: usize,
    /// Places in the model's values.
    weight: Range<usize>,
    bias: Range<usize>,
}

/// A network over a model's values in canonical order.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    layers: Vec<Layer>,
    /// Places of tensors that training leaves alone.
    fixed: Vec<Range<usize>>,
    values: usize,
    /// Whether control variates of as many values as the model follow it.
    controlled: bool,
}

/// How a model does on some examples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// Mean cross-entropy.
    pub loss: f64,
    /// Share of examples whose most likely class is right.
    pub accuracy: f64,
    pub examples: usize,
}

impl Network {
    pub fn infer(tensors: &[TensorSpec]) -> Result<Self, TrainError> {
        if let Some(model) = without_controls(tensors) {
            let network = Self::infer(model)?;
            return Ok(Self { values: 2 * network.values, controlled: true, ..network });
        }
        let layout = Layout::of(tensors)?;
        let mut names: Vec<_> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        names.sort();
        let prefixes: &[&str] = match names[..] {
            ["bias", "weight"] => &[""],
            ["hidden.bias", "hidden.weight", "output.bias", "output.weight"] => {
                &["hidden.", "output."]
            }
            _ => return Err(TrainError::UnknownNetwork { found: names.join(", ") }),
        };
        let layers = prefixes.iter().map(|prefix| Layer::find(tensors, &layout, prefix));
        let layers = layers.collect::<Result<Vec<_>, _>>()?;
        for (lower, upper) in layers.iter().zip(layers.iter().skip(1)) {
            if lower.outputs != upper.inputs {
                return Err(TrainError::Shape {
                    name: "output.weight".into(),
                    got: vec![upper.inputs as u64, upper.outputs as u64],
                    expected: format!("[{}, classes]", lower.outputs),
                });
            }
        }
        let fixed = layout.slots().iter().filter(|slot| !slot.trained);
        let fixed = fixed.map(twinfold_fl::layout::Slot::range).collect();
        Ok(Self { layers, fixed, values: layout.values(), controlled: false })
    }

    pub fn features(&self) -> usize {
        self.layers[0].inputs
    }

    pub fn classes(&self) -> usize {
        self.layers[self.layers.len() - 1].outputs
    }

    /// Values of the model alone, where control variates follow it.
    pub fn controlled_values(&self) -> Option<usize> {
        self.controlled.then_some(self.values / 2)
    }

    /// Whether the model and the data fit the network.
    pub fn check(&self, model: &[f32], data: &Dataset) -> Result<(), TrainError> {
        if model.len() != self.values {
            return Err(TrainError::ModelLength { expected: self.values, got: model.len() });
        }
        if data.is_empty() {
            return Err(TrainError::NoExamples);
        }
        if data.features() != self.features() {
            return Err(TrainError::Features { expected: self.features(), got: data.features() });
        }
        match data.y.iter().find(|label| **label as usize >= self.classes()) {
            Some(got) => Err(TrainError::Label { got: *got, largest: self.classes() - 1 }),
            None => Ok(()),
        }
    }

    pub fn evaluate(&self, model: &[f32], data: &Dataset) -> Result<Evaluation, TrainError> {
        self.check(model, data)?;
        let (mut loss, mut right) = (0.0, 0usize);
        for start in (0..data.len()).step_by(EVALUATION_ROWS) {
            let rows = start..data.len().min(start + EVALUATION_ROWS);
            let mut outputs =
                self.forward(model, data.x.slice_axis(Axis(0), Slice::from(rows.clone())));
            let mut logits = outputs.pop().expect("a network has a layer");
            let y = &data.y[rows];
            right += logits.rows().into_iter().zip(y).filter(|(row, y)| is_right(row, **y)).count();
            loss += softmax(&mut logits, y);
        }
        let examples = data.len();
        let accuracy = right as f64 / examples as f64;
        Ok(Evaluation { loss: loss / examples as f64, accuracy, examples })
    }

    /// Outputs of every layer, the last without ReLU.
    fn forward(&self, model: &[f32], x: ArrayView2<f32>) -> Vec<Array2<f32>> {
        let mut outputs: Vec<Array2<f32>> = Vec::with_capacity(self.layers.len());
        for (depth, layer) in self.layers.iter().enumerate() {
            let input = outputs.last().map_or(x, |output| output.view());
            let mut output = input.dot(&layer.weight(model)) + layer.bias(model);
            if depth + 1 < self.layers.len() {
                output.mapv_inplace(|value| value.max(0.0));
            }
            outputs.push(output);
        }
        outputs
    }

    /// Writes the gradient of the mean loss over a batch into `gradient`.
    pub(super) fn gradient(&self, model: &[f32], x: &Array2<f32>, y: &[u32], gradient: &mut [f32]) {
        let mut outputs = self.forward(model, x.view());
        let mut error = outputs.pop().expect("a network has a layer");
        softmax(&mut error, y);
        for (mut row, y) in error.rows_mut().into_iter().zip(y) {
            row[*y as usize] -= 1.0;
        }
        error /= y.len() as f32;
        for (depth, layer) in self.layers.iter().enumerate().rev() {
            let input = if depth == 0 { x.view() } else { outputs[depth - 1].view() };
            layer.bias_mut(gradient).assign(&error.sum_axis(Axis(0)));
            let mut weight = layer.weight_mut(gradient);
            linalg::general_mat_mul(1.0, &input.t(), &error, 0.0, &mut weight);
            if depth > 0 {
                let mut below = error.dot(&layer.weight(model).t());
                below.zip_mut_with(&input, |error, output| *error *= f32::from(*output > 0.0));
                error = below;
            }
        }
        for range in &self.fixed {
            gradient[range.clone()].fill(0.0);
        }
    }
}

impl Layer {
    fn find(tensors: &[TensorSpec], layout: &Layout, prefix: &str) -> Result<Self, TrainError> {
        let find = |name: &str| {
            let name = format!("{prefix}{name}");
            let at = tensors.iter().position(|tensor| tensor.name == name);
            let at = at.ok_or_else(|| TrainError::UnknownNetwork { found: "others".into() })?;
            Ok::<_, TrainError>((&tensors[at], layout.slots()[at].range()))
        };
        let ((weight, weight_range), (bias, bias_range)) = (find("weight")?, find("bias")?);
        let wrong = |tensor: &TensorSpec, expected: String| TrainError::Shape {
            name: tensor.name.clone(),
            got: tensor.shape.clone(),
            expected,
        };
        let [inputs, outputs] = weight.shape[..] else {
            return Err(wrong(weight, "[inputs, outputs]".into()));
        };
        if bias.shape != [outputs] {
            return Err(wrong(bias, format!("[{outputs}]")));
        }
        let (inputs, outputs) = (inputs as usize, outputs as usize);
        Ok(Self { inputs, outputs, weight: weight_range, bias: bias_range })
    }

    fn weight<'m>(&self, model: &'m [f32]) -> ArrayView2<'m, f32> {
        ArrayView2::from_shape((self.inputs, self.outputs), &model[self.weight.clone()])
            .expect("a weight has inputs × outputs values")
    }

    fn weight_mut<'m>(&self, model: &'m mut [f32]) -> ArrayViewMut2<'m, f32> {
        ArrayViewMut2::from_shape((self.inputs, self.outputs), &mut model[self.weight.clone()])
            .expect("a weight has inputs × outputs values")
    }

    fn bias<'m>(&self, model: &'m [f32]) -> ArrayView1<'m, f32> {
        ArrayView1::from(&model[self.bias.clone()])
    }

    fn bias_mut<'m>(&self, model: &'m mut [f32]) -> ArrayViewMut1<'m, f32> {
        ArrayViewMut1::from(&mut model[self.bias.clone()])
    }
}

/// Whether the label's logit is the first largest.
fn is_right(logits: &ArrayView1<f32>, y: u32) -> bool {
    let chosen = logits[y as usize];
    logits
        .iter()
        .enumerate()
        .all(|(class, logit)| if class < y as usize { *logit < chosen } else { *logit <= chosen })
}

/// Turns logits into probabilities; returns the sum of the cross-entropies.
fn softmax(logits: &mut Array2<f32>, y: &[u32]) -> f64 {
    let mut loss = 0.0;
    for (mut row, y) in logits.rows_mut().into_iter().zip(y) {
        let largest = row.fold(f32::NEG_INFINITY, |largest, logit| largest.max(*logit));
        let label = row[*y as usize] - largest;
        row.mapv_inplace(|logit| (logit - largest).exp());
        let sum = row.sum();
        row /= sum;
        loss += f64::from(sum).ln() - f64::from(label);
    }
    loss
}
