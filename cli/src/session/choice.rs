//! What a trainer does beside training: it measures global models, and finds out whether it is chosen.

use super::{Session, SessionEvent};
use crate::{
    error::{CliError, Result},
    update::{cluster_of, say},
};
use std::time::Instant;
use twinfold_types::{
    Action, Code, RoundNumber,
    api::TaskView,
    key::Signer,
    limits,
    task::{
        evaluation::Evaluators,
        forming::{Profile, ProfileAction},
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

    /// In a task that forms its clusters: joins, and finds out which one this trainer is in after each merge.
    pub(super) fn find_cluster(
        &mut self,
        task: &TaskView,
        report: &mut dyn FnMut(&SessionEvent) -> Result<()>,
    ) -> Result<()> {
        if task.spec.forming.is_none() || self.formed == Some(task.merges) {
            return Ok(());
        }
        let (name, me) = (&self.summary.task, self.key.public_key());
        let mut found = self.client.formed_trainer(name, &me)?;
        if found.is_none() {
            let profile = self.profile()?;
            let action = ProfileAction { task: task.id, profile };
            self.say(Action::Profile(Box::new(action)), &[Code::TaskEnded])?;
            found = self.client.formed_trainer(name, &me)?;
        }
        let Some(formed) = found else { return Ok(()) };
        if self.formed.is_none() || formed.cluster != self.cluster {
            (self.cluster, self.summary.cluster, self.last) =
                (formed.cluster, formed.cluster, None);
            report(&SessionEvent::Formed { cluster: formed.cluster })?;
        }
        self.formed = Some(task.merges);
        Ok(())
    }

    /// What this trainer says of itself: counts of its labels, and the best of three answers' times.
    fn profile(&self) -> Result<Profile> {
        let mut labels = vec![0; self.data.classes.min(limits::PROFILE_LABELS_MAX)];
        for label in &self.data.y {
            if let Some(count) = labels.get_mut(*label as usize) {
                *count += 1;
            }
        }
        let mut best = u128::from(u32::MAX);
        for _ in 0..3 {
            let started = Instant::now();
            self.client.status()?;
            best = best.min(started.elapsed().as_millis());
        }
        let examples = u32::try_from(self.data.len()).unwrap_or(u32::MAX);
        Ok(Profile { examples, latency_ms: best as u32, labels })
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
