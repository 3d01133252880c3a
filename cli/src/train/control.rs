//! Control variates (SCAFFOLD, Karimireddy et al., *Stochastic Controlled Averaging for Federated Learning*,
//! ICML 2020): each trainer keeps what its own gradient usually is, c_i, and all together the mean of these, c;
//! every local step goes by g − c_i + c, so that trainers with different data do not drift apart.
//!
//! c is part of the model: for every tensor X there is one named `control.X` behind all others, which the fold
//! averages like any other tensor. Both are kept times the task's first learning rate, so that they are as
//! small beside the model as one step is. c_i lies with the trainer.

use super::TrainError;
use twinfold_types::model::{TensorPolicy, TensorSpec};

const PREFIX: &str = "control.";

/// The tensors of a model, and after them those of its control variates.
pub fn with_controls(tensors: &[TensorSpec]) -> Vec<TensorSpec> {
    let control = |tensor: &TensorSpec| {
        let name = format!("{PREFIX}{}", tensor.name);
        TensorSpec { name, ..tensor.clone() }
    };
    tensors.iter().cloned().chain(tensors.iter().map(control)).collect()
}

/// The tensors of the model alone, where there are control variates beside it.
pub fn without_controls(tensors: &[TensorSpec]) -> Option<&[TensorSpec]> {
    let model = &tensors[..tensors.len() / 2];
    (!model.is_empty() && with_controls(model) == tensors).then_some(model)
}

/// What a trainer's steps are corrected by.
pub struct Control<'c> {
    /// c, from the model.
    all: &'c [f32],
    /// c_i; nothing before the first round.
    own: &'c [f32],
}

impl<'c> Control<'c> {
    /// From a model with control variates behind it, of `values` values each.
    pub fn of(model: &'c [f32], own: &'c [f32], values: usize) -> Result<Self, TrainError> {
        if !own.is_empty() && own.len() != values {
            return Err(TrainError::ModelLength { expected: values, got: own.len() });
        }
        Ok(Self { all: &model[values..], own })
    }

    fn own(&self, at: usize) -> f32 {
        self.own.get(at).copied().unwrap_or(0.0)
    }

    /// c_i − c times the learning rate: added in every step. `share` is the rate over the first.
    pub fn correct(&self, model: &mut [f32], share: f32) {
        for (at, (value, all)) in model.iter_mut().zip(self.all).enumerate() {
            *value += share * (self.own(at) - all);
        }
    }

    /// After so many steps, at least one, from x to y: the next c_i = c_i − c + (x − y) / (steps · rate),
    /// and what of it is new, which is sent.
    pub fn next(
        &self,
        before: &[f32],
        after: &[f32],
        steps: u64,
        share: f32,
    ) -> (Vec<f32>, Vec<f32>) {
        let by = 1.0 / (steps as f32 * share);
        let values = before.iter().zip(after).zip(self.all).enumerate();
        let next = values.map(|(at, ((x, y), all))| self.own(at) - all + (x - y) * by);
        let next: Vec<_> = next.collect();
        let change = next.iter().enumerate().map(|(at, next)| next - self.own(at)).collect();
        (next, change)
    }
}

/// Why tensors cannot have control variates, if so.
pub fn fault(tensors: &[TensorSpec]) -> Option<String> {
    if tensors.iter().any(|tensor| tensor.name.starts_with(PREFIX)) {
        return Some(format!("a tensor's name begins with {PREFIX:?} already"));
    }
    let trained = tensors.iter().all(|tensor| tensor.policy == TensorPolicy::Train);
    (!trained).then(|| "control variates are for models that are trained whole".into())
}
