//! What a trainer does beside training: it measures global models, and finds out whether it is chosen.

use super::{Session, SessionEvent};
use crate::{
    error::{CliError, Result},
    update::{cluster_of, say},
};
use twinfold_types::{
    Action, Code, RoundNumber,
    api::TaskView,
    key::Signer,
    task::{
        evaluation::Evaluators,
        selection::{Draw, EnrolAction, Reason},
    },
};

impl Session<'_> {
    /// Measures a global version that waits for it, where the task's trainers do: those with an update
    /// in it.
    pub(super) fn measure(
        &mut self,
        task: &TaskView,
        report: &mut dyn FnMut(&SessionEvent) -> Result<()>,
    ) -> Result<()> {
        let rule = task.spec.evaluation.as_ref();
        let by_trainers = rule.is_some_and(|rule| rule.by == Evaluators::Trainers);
        if !by_trainers || self.summary.rounds == 0 {
            return Ok(());
        }
        let Some(measured) = self.evaluator.measure(task)? else { return Ok(()) };
        self.summary.measured += u64::from(measured.refused.is_none());
        report(&SessionEvent::Measured(measured))
    }

    /// Whether this trainer may send to the collecting round; enrols where that is missing.
    pub(super) fn is_chosen(
        &mut self,
        task: &TaskView,
        report: &mut dyn FnMut(&SessionEvent) -> Result<()>,
    ) -> Result<bool> {
        let Some(rule) = task.spec.selection else { return Ok(true) };
        let view = cluster_of(task, self.cluster)?;
        let (round, draw) = (view.round, view.draw);
        if self.enrolled.is_none() || (draw == Draw::Awaited && self.enrolled != Some(round)) {
            self.enrol(task, round)?;
        }
        if draw != Draw::Done {
            return Ok(false);
        }
        if let Some((_, chosen)) = self.drawn.filter(|(known, _)| *known == round) {
            return Ok(chosen);
        }
        let drawing = self.client.drawing(&self.summary.task, self.cluster, round)?;
        let candidate = drawing.of(&self.key.public_key());
        let chosen = candidate.is_some_and(|candidate| candidate.reason != Reason::NotChosen);
        self.drawn = Some((round, chosen));
        if !chosen {
            if candidate.is_none() {
                self.enrol(task, round)?;
            }
            report(&SessionEvent::NotChosen { round, by: rule.by, candidate })?;
        }
        Ok(chosen)
    }

    fn enrol(&mut self, task: &TaskView, round: RoundNumber) -> Result<()> {
        let action = EnrolAction { task: task.id, cluster: self.cluster };
        self.enrolled = Some(round);
        self.say(Action::Enrol(action), &[Code::EnrolmentExists, Code::TaskEnded])
    }

    /// Sends an action; some refusals only say that it has been said.
    pub(super) fn say(&self, action: Action, fine: &[Code]) -> Result<()> {
        let (tx, code) = say(self.client, self.key, action, self.options.timeout)?;
        match code == Code::Ok || fine.contains(&code) {
            true => Ok(()),
            false => Err(CliError::Chain { tx, code }),
        }
    }
}
