//! Data sets: created by their owner, versions appended as their rule says. A version names
//! payloads that a quorum holds; what they contain is not read here.

use super::check_available;
use crate::{
    execute::{Exec, Outcome, require},
    keeping,
};
use twinfold_types::{
    Code, Event, PublicKey, TxId,
    dataset::{
        AppendAction, AppendRule, Dataset, DatasetAction, DatasetId, DatasetSpec, DatasetVersion,
        is_name,
    },
    limits,
    member::{Member, Role},
    state_key,
};

pub fn act(exec: &mut Exec<'_>, tx: &TxId, sender: &Member, action: &DatasetAction) -> Outcome {
    match action {
        DatasetAction::Create(spec) => create(exec, tx, sender, spec),
        DatasetAction::Append(append) => self::append(exec, tx, sender, append),
        DatasetAction::Grant { dataset, member } => grant(exec, sender, dataset, member),
        DatasetAction::Revoke { dataset, member } => revoke(exec, sender, dataset, member),
        DatasetAction::Purge { dataset, versions } => purge(exec, sender, dataset, *versions),
    }
}

fn create(exec: &mut Exec<'_>, tx: &TxId, owner: &Member, spec: &DatasetSpec) -> Outcome {
    require(spec.fault().is_none(), Code::DatasetInvalid)?;
    require(!exec.state.has(&state_key::dataset(&spec.name))?, Code::DatasetNameTaken)?;
    let count_key = state_key::dataset_count(&owner.key);
    let count: u32 = exec.state.get(&count_key)?.unwrap_or(0);
    require(count < limits::DATASETS_MAX, Code::TooManyDatasets)?;

    let dataset = Dataset {
        id: DatasetId(tx.0),
        owner: owner.key,
        spec: spec.clone(),
        created: exec.env.time,
        versions: 0,
        granted: 0,
        purged: 0,
    };
    exec.state.put(count_key, &(count + 1));
    put(exec, &dataset);
    exec.event(Event::DatasetCreated { dataset: dataset.id, name: spec.name.clone() });
    Ok(())
}

fn append(exec: &mut Exec<'_>, tx: &TxId, by: &Member, append: &AppendAction) -> Outcome {
    require(append.fault().is_none(), Code::DatasetInvalid)?;
    let mut dataset = find(exec, &append.dataset)?;
    let listed = exec.state.has(&state_key::dataset_grant(&dataset.id, &by.key))?;
    require(dataset.takes_from(by, listed), Code::AppendNotPermitted)?;
    require(dataset.purged == 0, Code::DatasetPurged)?;
    let parent_known = match append.parent {
        None => dataset.versions == 0,
        Some(parent) => (1..=dataset.versions).contains(&parent),
    };
    require(parent_known, Code::DatasetParentUnknown)?;
    require(dataset.versions < limits::DATASET_VERSIONS_MAX, Code::DatasetFull)?;
    let payloads = || std::iter::once(&append.manifest).chain(&append.packs);
    for payload in payloads() {
        check_available(exec, payload)?;
    }

    for payload in payloads() {
        keeping::refer(exec, payload, by)?;
    }
    dataset.versions += 1;
    let version = DatasetVersion {
        dataset: dataset.id,
        number: dataset.versions,
        parent: append.parent,
        by: by.key,
        tx: *tx,
        height: exec.env.height,
        time: exec.env.time,
        manifest: append.manifest.blob,
        packs: append.packs.iter().map(|pack| pack.blob).collect(),
        content: append.content.clone(),
    };
    exec.state.put(state_key::dataset_version(&dataset.id, version.number), &version);
    put(exec, &dataset);
    exec.event(Event::DatasetAppended {
        dataset: dataset.id,
        name: append.dataset.clone(),
        version: version.number,
        by: by.key,
    });
    Ok(())
}

fn grant(exec: &mut Exec<'_>, sender: &Member, name: &str, member: &PublicKey) -> Outcome {
    let mut dataset = owned(exec, sender, name)?;
    require(dataset.spec.rule == AppendRule::Listed, Code::GrantsNotUsed)?;
    require(exec.state.has(&state_key::member(member))?, Code::MemberUnknown)?;
    let key = state_key::dataset_grant(&dataset.id, member);
    require(!exec.state.has(&key)?, Code::GrantExists)?;
    require(dataset.granted < limits::DATASET_GRANTS_MAX, Code::DatasetFull)?;
    dataset.granted += 1;
    exec.state.put(key, member);
    put(exec, &dataset);
    exec.event(Event::DatasetGranted { dataset: dataset.id, member: *member });
    Ok(())
}

/// Also of a key that is no member any more.
fn revoke(exec: &mut Exec<'_>, sender: &Member, name: &str, member: &PublicKey) -> Outcome {
    let mut dataset = owned(exec, sender, name)?;
    let key = state_key::dataset_grant(&dataset.id, member);
    require(exec.state.has(&key)?, Code::GrantUnknown)?;
    dataset.granted = dataset.granted.saturating_sub(1);
    exec.state.delete(key);
    put(exec, &dataset);
    exec.event(Event::DatasetRevoked { dataset: dataset.id, member: *member });
    Ok(())
}

/// From the newest on: a manifest names packs that came with older versions, never with newer ones.
fn purge(exec: &mut Exec<'_>, sender: &Member, name: &str, versions: u32) -> Outcome {
    let mut dataset = find(exec, name)?;
    let orphaned = !exec.state.has(&state_key::member(&dataset.owner))?;
    let may = dataset.owner == sender.key || (orphaned && sender.has(Role::Admin));
    require(may, Code::NotPermitted)?;
    let last = dataset.versions - dataset.purged;
    let fits = (1..=limits::DATASET_PURGED_MAX).contains(&versions) && u64::from(versions) <= last;
    require(fits, Code::DatasetPurged)?;
    let first = last - u64::from(versions) + 1;
    for number in first..=last {
        let key = state_key::dataset_version(&dataset.id, number);
        let version: DatasetVersion = exec.state.expect(&key)?;
        for blob in std::iter::once(&version.manifest).chain(&version.packs) {
            keeping::release(exec, &blob.digest())?;
        }
    }
    dataset.purged += u64::from(versions);
    put(exec, &dataset);
    exec.event(Event::DatasetPurged { dataset: dataset.id, first, last });
    Ok(())
}

fn find(exec: &Exec<'_>, name: &str) -> Outcome<Dataset> {
    require(is_name(name), Code::DatasetUnknown)?;
    let dataset: Option<Dataset> = exec.state.get(&state_key::dataset(name))?;
    Ok(dataset.ok_or(Code::DatasetUnknown)?)
}

fn owned(exec: &Exec<'_>, sender: &Member, name: &str) -> Outcome<Dataset> {
    let dataset = find(exec, name)?;
    require(dataset.owner == sender.key, Code::NotPermitted)?;
    Ok(dataset)
}

fn put(exec: &mut Exec<'_>, dataset: &Dataset) {
    exec.state.put(state_key::dataset(&dataset.spec.name), dataset);
}
