//! Model records, and models published from outside.

use super::{check_available, refer};
use crate::execute::{Exec, Outcome, require};
use twinfold_types::{
    Code, Event, TxId,
    blob::Kept,
    limits,
    member::Member,
    model::{self, Level, ModelId, ModelRecord, ModelSource},
    state_key,
    tx::PublishAction,
};

pub fn publish(exec: &mut Exec<'_>, tx: &TxId, by: &Member, publish: &PublishAction) -> Outcome {
    let PublishAction { name, description, tensors, model, payload } = publish;
    let name_ok = (1..=limits::NAME_BYTES_MAX).contains(&name.len());
    let texts_ok = name_ok && description.len() <= limits::DESCRIPTION_BYTES_MAX;
    require(texts_ok && model::tensors_fault(tensors).is_none(), Code::ModelInvalid)?;
    let bytes = model::model_values(tensors).and_then(|values| values.checked_mul(4));
    require(bytes == Some(payload.blob.length), Code::ModelInvalid)?;
    require(!exec.state.has(&state_key::published_name(name))?, Code::ModelExists)?;
    check_available(exec, payload)?;
    refer(exec, payload, &by.key, Kept::ForGood)?;

    let version: u64 = exec.state.get(&state_key::published_count())?.unwrap_or(0);
    let source = ModelSource::Published {
        tx: *tx,
        by: by.key,
        name: name.clone(),
        description: description.clone(),
    };
    let record = ModelRecord {
        task: None,
        level: Level::Global,
        version,
        digest: *model,
        tensors: model::tensors_digest(tensors),
        parents: vec![],
        source,
        blob: Some(payload.blob),
        height: exec.env.height,
        time: exec.env.time,
    };
    let id = put(exec, &record);
    exec.state.put(state_key::published_count(), &(version + 1));
    exec.state.put(state_key::published_name(name), &id);
    exec.event(Event::ModelPublished { model: id, name: name.clone() });
    Ok(())
}

/// Stores a new version and says so.
pub fn put(exec: &mut Exec<'_>, record: &ModelRecord) -> ModelId {
    let id = record.id();
    exec.state.put(state_key::model(&id), record);
    exec.event(Event::ModelVersion {
        model: id,
        task: record.task,
        level: record.level,
        version: record.version,
    });
    id
}
