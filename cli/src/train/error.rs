//! Why training cannot go on.

use twinfold_fl::{compress::CompressError, layout::LayoutError};

#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    #[error(
        "no network is known for tensors {found}: expected weight and bias (softmax regression), or \
         hidden.weight, hidden.bias, output.weight and output.bias (one hidden layer); train such a \
         model outside and send its deltas with `twinfold update submit`"
    )]
    UnknownNetwork { found: String },
    #[error("tensor {name:?} has shape {got:?}, expected {expected}")]
    Shape { name: String, got: Vec<u64>, expected: String },
    #[error("the model has {expected} values, got {got}")]
    ModelLength { expected: usize, got: usize },
    #[error("the data has {got} features, the model takes {expected}: is the label column right?")]
    Features { expected: usize, got: usize },
    #[error("the data has label {got}, the model knows the classes 0 to {largest}")]
    Label { got: u32, largest: usize },
    #[error("the data holds no example")]
    NoExamples,
    #[error(
        "training left the range of numbers after {steps} steps: lower the task's learning rate of {rate}"
    )]
    Diverged { steps: u64, rate: f64 },
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Compress(#[from] CompressError),
    #[error("tensor {tensor:?}, value {index}: {source}")]
    Range { tensor: String, index: usize, source: twinfold_fl::fixed::RangeError },
}
