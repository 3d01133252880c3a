//! Learning tasks: created with their first model, closed by their owner or an
//! admin.

use super::check_available;
use crate::{
    execute::{Exec, Outcome, require},
    keeping, region, round,
};
use twinfold_types::{
    ClusterId, Code, Event, RoundNumber, TaskId, TxId, limits,
    member::{Member, Role},
    model::{self, Level, ModelId, ModelRecord, ModelSource, TensorPolicy},
    state_key,
    task::{Cluster, Task, TaskSpec, TaskStatus, evaluation::Progress, pace::Pacing},
    tx::RecruitAction,
};

pub fn create(exec: &mut Exec<'_>, tx: &TxId, owner: &Member, spec: &TaskSpec) -> Outcome {
    require(spec.fault().is_none(), Code::TaskInvalid)?;
    require(!exec.state.has(&state_key::task_name(&spec.name))?, Code::TaskNameTaken)?;
    let bytes = model::model_values(&spec.tensors).and_then(|values| values.checked_mul(4));
    require(bytes == Some(spec.initial.blob.length), Code::ModelInvalid)?;
    check_start(exec, spec)?;
    check_available(exec, &spec.initial)?;
    let open = round::open_tasks(exec, &owner.organisation)?;
    require(open < limits::TASKS_OPEN_MAX, Code::TooManyTasks)?;
    keeping::refer(exec, &spec.initial, owner)?;

    let id = TaskId(tx.0);
    exec.event(Event::TaskCreated { task: id });
    let global = put_initial_model(exec, tx, owner, spec);
    let task = Task {
        id,
        owner: owner.key,
        organisation: owner.organisation.clone(),
        spec: spec.clone(),
        status: TaskStatus::Open,
        created: exec.env.time,
        global,
        global_version: 0,
        merges: 0,
        merge_wanted: None,
        merge_due: false,
        active: false,
        progress: Progress::default(),
        trainers: 0,
        trainers_max: None,
        unformed: false,
    };
    exec.state.put(state_key::global_version(&id, 0), &global);
    for cluster in (0..spec.clusters).map(ClusterId) {
        let cluster = first_cluster(&task, cluster);
        round::open(exec, &task, &cluster)?;
        round::put_cluster(exec, &cluster);
    }
    region::begin(exec, &task);
    exec.state.put(state_key::open_task_count(&owner.organisation), &(open + 1));
    exec.state.put(state_key::task_name(&spec.name), &id);
    round::put_task(exec, &task);
    Ok(())
}

pub fn close(exec: &mut Exec<'_>, id: &TaskId, sender: &Member) -> Outcome {
    let task: Option<Task> = exec.state.get(&state_key::task(id))?;
    let mut task = task.ok_or(Code::TaskUnknown)?;
    let theirs = task.owner == sender.key;
    require(sender.has(Role::Admin) || theirs, Code::NotPermitted)?;
    require(task.status == TaskStatus::Open, Code::TaskEnded)?;
    halt(exec, &mut task, TaskStatus::Closed)?;
    round::put_task(exec, &task);
    exec.event(Event::TaskClosed { task: *id });
    Ok(())
}

/// How many trainers may take part from now on. Those who do stay, however many.
pub fn recruit(exec: &mut Exec<'_>, action: &RecruitAction, sender: &Member) -> Outcome {
    let RecruitAction { task: id, trainers } = action;
    let task: Option<Task> = exec.state.get(&state_key::task(id))?;
    let mut task = task.ok_or(Code::TaskUnknown)?;
    let theirs = task.owner == sender.key;
    require(sender.has(Role::Admin) || theirs, Code::NotPermitted)?;
    require(task.status == TaskStatus::Open, Code::TaskEnded)?;
    task.trainers_max = *trainers;
    round::put_task(exec, &task);
    exec.event(Event::RecruitingSet { task: *id, trainers: *trainers });
    Ok(())
}

/// A trainer takes part in a task for the first time, where that takes more. The caller stores the task, and
/// the trainer's enrolment.
pub fn take_in(task: &mut Task) -> Outcome {
    require(task.trainers_max.is_none_or(|max| task.trainers < max), Code::RecruitingClosed)?;
    task.trainers = task.trainers.saturating_add(1);
    Ok(())
}

/// Ends an open task before its rounds are run. The caller stores it.
pub fn halt(exec: &mut Exec<'_>, task: &mut Task, status: TaskStatus) -> Outcome {
    round::void_all(exec, task)?;
    round::end_task(exec, task, status)?;
    task.active = false;
    task.merge_due = false;
    task.merge_wanted = None;
    Ok(())
}

/// A task that starts from a model of the ledger has its content, and its tensors, of which it may
/// train fewer.
fn check_start(exec: &Exec<'_>, spec: &TaskSpec) -> Outcome {
    let Some(start) = &spec.start else { return Ok(()) };
    let record: Option<ModelRecord> = exec.state.get(&state_key::model(start))?;
    let record = record.ok_or(Code::ModelUnknown)?;
    let mut all_trained = spec.tensors.clone();
    all_trained.iter_mut().for_each(|tensor| tensor.policy = TensorPolicy::Train);
    let alike = [&spec.tensors, &all_trained].map(|tensors| model::tensors_digest(tensors));
    let same = record.digest == spec.initial_model && alike.contains(&record.tensors);
    require(same, Code::ModelInvalid)?;
    Ok(())
}

fn put_initial_model(exec: &mut Exec<'_>, tx: &TxId, owner: &Member, spec: &TaskSpec) -> ModelId {
    let record = ModelRecord {
        task: Some(TaskId(tx.0)),
        level: Level::Global,
        version: 0,
        digest: spec.initial_model,
        tensors: model::tensors_digest(&spec.tensors),
        parents: spec.start.into_iter().collect(),
        source: ModelSource::Initial { tx: *tx, by: owner.key },
        blob: Some(spec.initial.blob),
        height: exec.env.height,
        time: exec.env.time,
    };
    super::model::put(exec, &record)
}

fn first_cluster(task: &Task, cluster: ClusterId) -> Cluster {
    Cluster {
        task: task.id,
        cluster,
        model: task.global,
        model_digest: task.spec.initial_model,
        version: 0,
        optimiser: None,
        weight: 0,
        rounds_since_merge: 0,
        folding: RoundNumber(0),
        collecting: RoundNumber(0),
        pacing: Pacing::default(),
    }
}
