//! What payloads are kept for, and on whose account. A payload has a reason to be kept for each
//! transaction that names it and for a hold. The reason of an update ends with its task's retention
//! after the end of its round, those of a sealed payload and of a data set's version with their purge;
//! models have no end. Without a reason the row goes, which nodes see and collect the payload.

use crate::{
    condemn,
    error::LedgerError,
    execute::{Exec, Outcome, require},
};
use twinfold_types::{
    AvailabilityCertificate, BlobDigest, Code, Event, TimeMs,
    blob::BlobReference,
    keeping::{Hold, HoldSubject, StorageOwner},
    limits,
    member::Member,
    round::{Entry, Round, RoundKey},
    state_key::{self, Prefix},
    task::Task,
};

/// A transaction of this member names a payload.
pub fn refer(exec: &mut Exec<'_>, payload: &AvailabilityCertificate, by: &Member) -> Outcome {
    let key = state_key::blob_reference(&payload.blob.digest());
    let known: Option<BlobReference> = exec.state.get(&key)?;
    let mut reference = match known {
        Some(known) => known,
        None => first_reference(exec, payload, by)?,
    };
    reference.reasons = reference.reasons.saturating_add(1);
    exec.state.put(key, &reference);
    Ok(())
}

/// Who names a payload first has it on its account.
fn first_reference(
    exec: &mut Exec<'_>,
    payload: &AvailabilityCertificate,
    by: &Member,
) -> Outcome<BlobReference> {
    let reference = BlobReference {
        blob: payload.blob,
        by: by.key,
        organisation: by.organisation.clone(),
        height: exec.env.height,
        epoch: payload.epoch,
        reasons: 0,
    };
    for owner in owners(&reference) {
        let stored = stored_bytes(exec, &owner)?.saturating_add(reference.blob.length);
        let quota: Option<u64> = exec.state.get(&state_key::storage_quota(&owner))?;
        let most = quota.or(owner.usual_bytes());
        require(most.is_none_or(|most| stored <= most), Code::StorageFull)?;
        exec.state.put(state_key::stored_bytes(&owner), &stored);
    }
    Ok(reference)
}

fn owners(reference: &BlobReference) -> [StorageOwner; 2] {
    let organisation = reference.organisation.clone();
    [StorageOwner::Member(reference.by), StorageOwner::Organisation(organisation)]
}

fn stored_bytes(exec: &Exec<'_>, owner: &StorageOwner) -> Result<u64, LedgerError> {
    Ok(exec.state.get(&state_key::stored_bytes(owner))?.unwrap_or(0))
}

/// One reason to keep a payload is over.
pub fn release(exec: &mut Exec<'_>, blob: &BlobDigest) -> Result<(), LedgerError> {
    let key = state_key::blob_reference(blob);
    let mut reference: BlobReference = exec.state.expect(&key)?;
    reference.reasons = reference.reasons.saturating_sub(1);
    if reference.reasons > 0 {
        exec.state.put(key, &reference);
        return Ok(());
    }
    exec.state.delete(key);
    condemn::forget(exec, blob)?;
    for owner in owners(&reference) {
        let left = stored_bytes(exec, &owner)?.saturating_sub(reference.blob.length);
        match left {
            0 => exec.state.delete(state_key::stored_bytes(&owner)),
            left => exec.state.put(state_key::stored_bytes(&owner), &left),
        }
    }
    Ok(())
}

/// A round was aggregated or is void: its updates are kept for the task's retention from now on.
pub fn round_ended(exec: &mut Exec<'_>, task: &Task, round: &Round) {
    if round.entries > 0 {
        let until = exec.env.time.plus(task.spec.retention_ms);
        exec.state.put(state_key::round_end(until, &round.key), &0u32);
    }
}

/// Releases updates whose retention is over, the oldest first: so many in one block, the rest in
/// the next.
pub fn release_due(exec: &mut Exec<'_>) -> Result<(), LedgerError> {
    let mut left = limits::UPDATES_RELEASED_MAX;
    while left > 0 {
        let first = exec.state.keys(&Prefix::RoundEnd.scan(), 1)?;
        let first = first.first().and_then(|key| state_key::parse_round_end(key));
        let Some((until, round)) = first.filter(|(until, _)| *until <= exec.env.time) else {
            return Ok(());
        };
        left -= release_round(exec, until, &round, left)?.clamp(1, left);
    }
    Ok(())
}

/// At most so many updates of a round; how many.
fn release_round(
    exec: &mut Exec<'_>,
    until: TimeMs,
    round: &RoundKey,
    most: u32,
) -> Result<u32, LedgerError> {
    let row = state_key::round_end(until, round);
    let first: u32 = exec.state.expect(&row)?;
    if is_held(exec, &HoldSubject::Task(round.task))? {
        exec.state.delete(row);
        let later = exec.env.time.plus(limits::HOLD_LOOK_MS);
        exec.state.put(state_key::round_end(later, round), &first);
        return Ok(0);
    }
    let entries = exec.state.expect::<Round>(&state_key::round(round))?.entries;
    let end = entries.min(first.saturating_add(most));
    for index in first..end {
        let entry: Entry = exec.state.expect(&state_key::round_entry(round, index))?;
        release(exec, &entry.blob.digest())?;
    }
    match end == entries {
        true => exec.state.delete(row),
        false => exec.state.put(row, &end),
    }
    let updates = end - first;
    exec.event(Event::UpdatesReleased { key: *round, first, updates });
    Ok(updates)
}

pub fn is_held(exec: &Exec<'_>, subject: &HoldSubject) -> Result<bool, LedgerError> {
    exec.state.has(&state_key::hold(subject))
}

/// By the admins' decision. A payload's hold is a reason to keep it; a task's stops its rounds.
pub fn hold(exec: &mut Exec<'_>, subject: &HoldSubject, reason: &str) -> Outcome {
    require((1..=limits::DESCRIPTION_BYTES_MAX).contains(&reason.len()), Code::HoldInvalid)?;
    require(!is_held(exec, subject)?, Code::HoldExists)?;
    match subject {
        HoldSubject::Task(task) => {
            require(exec.state.has(&state_key::task(task))?, Code::TaskUnknown)?;
        }
        HoldSubject::Payload(blob) => {
            let key = state_key::blob_reference(blob);
            let reference: Option<BlobReference> = exec.state.get(&key)?;
            let mut reference = reference.ok_or(Code::PayloadUnknown)?;
            reference.reasons = reference.reasons.saturating_add(1);
            exec.state.put(key, &reference);
        }
    }
    let (height, time) = (exec.env.height, exec.env.time);
    let hold = Hold { subject: *subject, reason: reason.into(), height, time };
    exec.state.put(state_key::hold(subject), &hold);
    exec.event(Event::HoldSet { subject: *subject });
    Ok(())
}

pub fn release_hold(exec: &mut Exec<'_>, subject: &HoldSubject) -> Outcome {
    require(is_held(exec, subject)?, Code::HoldUnknown)?;
    exec.state.delete(state_key::hold(subject));
    if let HoldSubject::Payload(blob) = subject {
        release(exec, blob)?;
    }
    exec.event(Event::HoldReleased { subject: *subject });
    Ok(())
}

/// How much an account may have from now on; what it has beyond it stays.
pub fn set_storage_quota(exec: &mut Exec<'_>, owner: &StorageOwner, bytes: Option<u64>) -> Outcome {
    match owner {
        StorageOwner::Member(key) => {
            require(exec.state.has(&state_key::member(key))?, Code::MemberUnknown)?;
        }
        StorageOwner::Organisation(name) => {
            require((1..=limits::NAME_BYTES_MAX).contains(&name.len()), Code::InvalidMember)?;
        }
    }
    let key = state_key::storage_quota(owner);
    match bytes {
        Some(bytes) => exec.state.put(key, &bytes),
        None => exec.state.delete(key),
    }
    exec.event(Event::StorageQuotaSet { owner: owner.clone(), bytes });
    Ok(())
}
