//! The newest model that a trainer has. The next one is fetched as what it is more than that, where the task's
//! changes are short; the result has the next one's digest, or all of it is fetched.

use crate::{client::Client, error::Result, task::fetch_steps};
use twinfold_fl::{Layout, canonical_bytes, down};
use twinfold_types::{
    Digest,
    api::TaskView,
    model::{ModelId, model_digest},
    task::TaskSpec,
};

#[derive(Default)]
pub struct HeldModel(Option<Held>);

struct Held {
    id: ModelId,
    digest: Digest,
    steps: Vec<i32>,
}

impl HeldModel {
    /// The steps of one of the task's models.
    pub fn fetch(
        &mut self,
        client: &Client,
        task: &TaskView,
        id: &ModelId,
        digest: &Digest,
    ) -> Result<Vec<i32>> {
        let changed = match &self.0 {
            Some(held) if held.digest == *digest => Some(held.steps.clone()),
            Some(held) if changes_are_short(&task.spec) => changed(client, task, held, id, digest),
            _ => None,
        };
        let steps = match changed {
            Some(steps) => steps,
            None => fetch_steps(client, &task.spec, id, digest)?,
        };
        self.0 = Some(Held { id: *id, digest: *digest, steps: steps.clone() });
        Ok(steps)
    }
}

/// Whether a change is worth asking for: it is compressed, or of few values.
fn changes_are_short(spec: &TaskSpec) -> bool {
    spec.down.is_some() || spec.compression.chooses_by_value()
}

/// What the node tells of the change may be nothing, or false: then the whole model is fetched.
fn changed(
    client: &Client,
    task: &TaskView,
    held: &Held,
    id: &ModelId,
    digest: &Digest,
) -> Option<Vec<i32>> {
    let payload = client.model_change(id, &held.id, 4 * held.steps.len() as u64).ok()?;
    let layout = Layout::of(&task.spec.tensors).ok()?;
    let mut steps = held.steps.clone();
    let applied = down::apply(&layout, task.id, held.digest, &payload, &mut steps);
    (applied && model_digest(&canonical_bytes(&steps)) == *digest).then_some(steps)
}
