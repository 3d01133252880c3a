//! Sealed payloads: encryption keys of members, who owns a sealed payload, and who can read it. The
//! ledger cannot look into a wrap. It sees to it that each is for the key that its member has
//! registered, and that only the owner gives, takes and purges.

use super::check_available;
use crate::{
    execute::{Exec, Outcome, require},
    keeping,
};
use twinfold_types::{
    BlobDigest, Code, Event, PublicKey,
    keeping::HoldSubject,
    key::EncryptionKey,
    limits,
    member::{Member, Role},
    sealed::{RegisterSealed, SealedAction, SealedRecord, SealedWrap},
    state_key,
};

pub fn set_encryption_key(exec: &mut Exec<'_>, by: &Member, key: &EncryptionKey) -> Outcome {
    require(key.is_strong(), Code::EncryptionKeyInvalid)?;
    exec.state.put(state_key::encryption_key(&by.key), key);
    exec.event(Event::EncryptionKeySet { member: by.key });
    Ok(())
}

pub fn act(exec: &mut Exec<'_>, by: &Member, action: &SealedAction) -> Outcome {
    match action {
        SealedAction::Register(register) => self::register(exec, by, register),
        SealedAction::Grant { blob, wraps } => grant(exec, by, blob, wraps),
        SealedAction::Revoke { blob, members } => revoke(exec, by, blob, members),
        SealedAction::Destroy(blob) => destroy(exec, by, blob),
    }
}

fn register(exec: &mut Exec<'_>, by: &Member, register: &RegisterSealed) -> Outcome {
    let blob = register.payload.blob;
    let key = state_key::sealed(&blob.digest());
    require(!exec.state.has(&key)?, Code::SealedExists)?;
    check_available(exec, &register.payload)?;
    keeping::refer(exec, &register.payload, by)?;
    let record = SealedRecord {
        owner: by.key,
        blob,
        commitment: register.commitment,
        wraps: 0,
        height: exec.env.height,
        time: exec.env.time,
        destroyed: None,
    };
    exec.state.put(key, &record);
    exec.event(Event::SealedRegistered { blob: blob.digest(), owner: by.key });
    Ok(())
}

fn grant(exec: &mut Exec<'_>, by: &Member, blob: &BlobDigest, wraps: &[SealedWrap]) -> Outcome {
    let members: Vec<_> = wraps.iter().map(|wrap| wrap.member).collect();
    check_list(&members)?;
    let mut record = owned(exec, by, blob)?;
    for wrap in wraps {
        let member = exec.state.has(&state_key::member(&wrap.member))?;
        require(member, Code::MemberUnknown)?;
        let registered: Option<EncryptionKey> =
            exec.state.get(&state_key::encryption_key(&wrap.member))?;
        require(registered == Some(wrap.to), Code::EncryptionKeyOther)?;
        let key = state_key::sealed_wrap(blob, &wrap.member);
        // Who can read already is given the wrap anew: its key was another then.
        record.wraps += u32::from(!exec.state.has(&key)?);
        exec.state.put(key, wrap);
    }
    require(record.wraps <= limits::SEALED_WRAPS_MAX, Code::WrapsInvalid)?;
    exec.state.put(state_key::sealed(blob), &record);
    exec.event(Event::SealedGranted { blob: *blob, members });
    Ok(())
}

fn revoke(exec: &mut Exec<'_>, by: &Member, blob: &BlobDigest, members: &[PublicKey]) -> Outcome {
    check_list(members)?;
    let mut record = owned(exec, by, blob)?;
    for member in members {
        let key = state_key::sealed_wrap(blob, member);
        require(exec.state.has(&key)?, Code::WrapUnknown)?;
        exec.state.delete(key);
        record.wraps = record.wraps.saturating_sub(1);
    }
    exec.state.put(state_key::sealed(blob), &record);
    exec.event(Event::SealedRevoked { blob: *blob, members: members.to_vec() });
    Ok(())
}

/// The owner's; an admin's too, once the owner is no member any more and cannot do it.
fn destroy(exec: &mut Exec<'_>, by: &Member, blob: &BlobDigest) -> Outcome {
    let mut record = standing(exec, blob)?;
    let orphaned = !exec.state.has(&state_key::member(&record.owner))?;
    let may = record.owner == by.key || (orphaned && by.has(Role::Admin));
    require(may, Code::SealedNotOwner)?;
    require(!keeping::is_held(exec, &HoldSubject::Payload(*blob))?, Code::Held)?;
    let most = limits::SEALED_WRAPS_MAX as usize;
    let wraps: Vec<SealedWrap> = exec.state.values(&state_key::sealed_wraps(blob), most)?;
    for wrap in &wraps {
        exec.state.delete(state_key::sealed_wrap(blob, &wrap.member));
    }
    (record.wraps, record.destroyed) = (0, Some(exec.env.time));
    exec.state.put(state_key::sealed(blob), &record);
    keeping::release(exec, blob)?;
    exec.event(Event::SealedDestroyed { blob: *blob, wraps: wraps.len() as u32 });
    Ok(())
}

/// A list of members has one form.
fn check_list(members: &[PublicKey]) -> Outcome {
    let count_ok = (1..=limits::SEALED_WRAPS_PER_TX_MAX).contains(&members.len());
    require(count_ok && members.is_sorted_by(|a, b| a < b), Code::WrapsInvalid)
}

/// A registered payload that was not purged.
fn standing(exec: &Exec<'_>, blob: &BlobDigest) -> Outcome<SealedRecord> {
    let record: Option<SealedRecord> = exec.state.get(&state_key::sealed(blob))?;
    let record = record.ok_or(Code::SealedUnknown)?;
    require(record.destroyed.is_none(), Code::SealedDestroyed)?;
    Ok(record)
}

fn owned(exec: &Exec<'_>, by: &Member, blob: &BlobDigest) -> Outcome<SealedRecord> {
    let record = standing(exec, blob)?;
    require(record.owner == by.key, Code::SealedNotOwner)?;
    Ok(record)
}
