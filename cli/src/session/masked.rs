//! A trainer's rounds in a task with masks.

use super::{Session, SessionEvent};
use crate::{
    error::Result,
    masked::{MaskedEvent, MaskedRound},
    train::{Held, TrainerState, integers},
    update::{cluster_of, residual_age_max},
};
use twinfold_fl::update::Binding;
use twinfold_types::{api::TaskView, key::Signer, round::RoundKey};

impl Session<'_> {
    /// Goes through the collecting round, or through what is left of it after a restart.
    pub(super) fn masked_round(
        &mut self,
        task: &TaskView,
        report: &mut dyn FnMut(&SessionEvent) -> Result<()>,
    ) -> Result<()> {
        let view = cluster_of(task, self.cluster)?;
        let (round, version) = (view.round, view.version);
        self.last = Some((round, version));
        let masked = MaskedRound {
            route: self.route(task),
            spec: &task.spec,
            key: RoundKey { task: task.id, cluster: self.cluster, round },
            base_version: version,
            timeout: self.options.round_timeout,
        };
        let (client, data, trainer) = (self.client, self.data, self.key.public_key());
        let held_model = &mut self.held;
        let mut make = |state: &TrainerState| {
            let steps = held_model.fetch(client, task, &view.model, &view.model_digest)?;
            let binding = Binding { task: task.id, trainer, base: view.model_digest };
            let residual = state.residual(version, residual_age_max(&task.spec));
            let held = Held { residual, control: state.control() };
            let sequence = state.sequence();
            Ok(integers(&task.spec, binding, &steps, data, held, round.0, sequence)?)
        };
        let mut tell = |what: MaskedEvent| report(&SessionEvent::Masked { round, what });
        let dir = &self.options.state_dir;
        match masked.run(dir, &mut self.state, &mut make, &mut tell)? {
            Some(sent) => self.settle(task, sent, report),
            None => Ok(()),
        }
    }
}
