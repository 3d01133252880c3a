//! Model records, models published from outside, and what is said of models later.

use super::check_available;
use crate::{
    execute::{Exec, Outcome, require},
    keeping,
};
use twinfold_types::{
    Code, Event, TxId, limits,
    member::{Member, Role},
    model::{self, Level, ModelId, ModelRecord, ModelSource},
    state_key::{self, StateKey},
    store::{DeprecateAction, Deprecation, MeasureAction, MetricRecord, PublishAction},
};

pub fn publish(exec: &mut Exec<'_>, tx: &TxId, by: &Member, publish: &PublishAction) -> Outcome {
    require(publish.fault().is_none(), Code::ModelInvalid)?;
    let (name, release) = (&publish.about.name, &publish.about.version);
    let released = state_key::published_version(name, release);
    require(!exec.state.has(&released)?, Code::ModelExists)?;
    let owner: Option<String> = exec.state.get(&state_key::published_name(name))?;
    let owns = owner.is_none_or(|owner| owner == by.organisation);
    require(owns, Code::OtherOrganisation)?;
    for parent in &publish.parents {
        require(exec.state.has(&state_key::model(parent))?, Code::ModelUnknown)?;
    }
    for payload in publish.payloads() {
        check_available(exec, payload)?;
        keeping::refer(exec, payload, by)?;
    }

    let version: u64 = exec.state.get(&state_key::published_count())?.unwrap_or(0);
    let record = record(exec, tx, by, publish, version);
    let id = put(exec, &record);
    exec.state.put(state_key::published_count(), &(version + 1));
    exec.state.put(state_key::published_name(name), &by.organisation);
    exec.state.put(released, &id);
    exec.event(Event::ModelPublished { model: id, name: name.clone() });
    Ok(())
}

fn record(
    exec: &Exec<'_>,
    tx: &TxId,
    by: &Member,
    publish: &PublishAction,
    version: u64,
) -> ModelRecord {
    let (about, file) = (Box::new(publish.about.clone()), publish.file.blob);
    ModelRecord {
        task: None,
        level: Level::Global,
        version,
        digest: publish.digest(),
        tensors: model::tensors_digest(publish.tensors()),
        parents: publish.parents.clone(),
        source: ModelSource::Published { tx: *tx, by: by.key, about, file },
        blob: publish.steps.as_ref().map(|steps| steps.payload.blob),
        height: exec.env.height,
        time: exec.env.time,
    }
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

/// A published model should no longer be used: its publisher's word, or an admin's. A later
/// one stands instead of an earlier one.
pub fn deprecate(exec: &mut Exec<'_>, by: &Member, action: &DeprecateAction) -> Outcome {
    require(action.fault().is_none(), Code::NoteInvalid)?;
    let DeprecateAction { model, reason, successor } = action;
    let record: Option<ModelRecord> = exec.state.get(&state_key::model(model))?;
    let Some(ModelSource::Published { by: publisher, .. }) = record.map(|record| record.source)
    else {
        return Err(Code::ModelUnknown.into());
    };
    require(by.has(Role::Admin) || by.key == publisher, Code::NotPermitted)?;
    if let Some(successor) = successor {
        require(exec.state.has(&state_key::model(successor))?, Code::ModelUnknown)?;
    }
    let deprecation = Deprecation {
        by: by.key,
        reason: reason.clone(),
        successor: *successor,
        height: exec.env.height,
        time: exec.env.time,
    };
    exec.state.put(state_key::deprecation(model), &deprecation);
    exec.event(Event::ModelDeprecated { model: *model, successor: *successor });
    Ok(())
}

/// A member's figure of any model, published or folded. It is appended, never replaced.
pub fn measure(exec: &mut Exec<'_>, tx: &TxId, by: &Member, action: &MeasureAction) -> Outcome {
    let MeasureAction { model, metric } = action;
    require(metric.fault().is_none(), Code::NoteInvalid)?;
    require(exec.state.has(&state_key::model(model))?, Code::ModelUnknown)?;
    let own = state_key::member_metric_count(model, &by.key);
    count(exec, own, limits::MEMBER_METRICS_MAX)?;
    let index = count(exec, state_key::metric_count(model), limits::MODEL_METRICS_MAX)?;
    let record = MetricRecord {
        metric: metric.clone(),
        by: by.key,
        organisation: by.organisation.clone(),
        tx: *tx,
        height: exec.env.height,
        time: exec.env.time,
    };
    exec.state.put(state_key::metric(model, index), &record);
    let name = metric.name.clone();
    exec.event(Event::ModelMeasured { model: *model, name, by: by.key });
    Ok(())
}

/// Counts one more, and gives how many there were.
fn count(exec: &mut Exec<'_>, key: StateKey, max: u32) -> Outcome<u32> {
    let there: u32 = exec.state.get(&key)?.unwrap_or(0);
    require(there < max, Code::TooManyMetrics)?;
    exec.state.put(key, &(there + 1));
    Ok(there)
}
