//! Training as a library: no network, no clock. A trainer gets a cluster model in
//! steps, trains on its own data from exactly f32(q·2^−S), and prepares an update
//! by the task's settings; its residual and the update it last sent live in a file
//! that survives a kill at any instant.
//!
//! Local training runs in f32 on whatever kernels the processor has. Nobody
//! recomputes it: what counts is the update's integers, and those are exact.

mod control;
mod error;
mod local;
mod mask_file;
mod network;
mod prepare;
mod state;

#[cfg(test)]
mod tests;

pub use control::{fault as control_fault, with_controls};
pub use error::TrainError;
pub use local::{LocalUpdate, central, local_update};
pub use mask_file::MaskFile;
pub use network::{Evaluation, Network, initial_values, mlp_tensors, softmax_tensors};
pub use prepare::{Held, Made, Prepared, draw_seed, integers, model_reals, model_steps, prepare};
pub use state::{Pending, Settlement, StateError, TrainerState};
