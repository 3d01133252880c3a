//! Payloads that were cut by a liar: no content has their identity. Whoever decodes one and codes it
//! again sees that, whichever fragments it read. A seat's member says so in a transaction; the others
//! look for themselves, and when f+1 of the running committee say it, one of them honest, it stands on
//! the ledger, with whose payload it is: from then on every reader is told the same.

use crate::{
    error::LedgerError,
    execute::{Exec, Outcome, require},
};
use std::collections::BTreeSet;
use twinfold_types::{
    BlobDigest, Code, Event, PublicKey,
    blob::{BlobReference, Condemned},
    limits,
    member::Member,
    state_key,
};

pub fn condemn(exec: &mut Exec<'_>, by: &Member, blob: &BlobDigest) -> Outcome {
    let reference: Option<BlobReference> = exec.state.get(&state_key::blob_reference(blob))?;
    let reference = reference.ok_or(Code::PayloadUnknown)?;
    // Whole copies are the content itself.
    require(reference.blob.k > 1, Code::PayloadWhole)?;
    require(!exec.state.has(&state_key::condemned(blob))?, Code::PayloadCondemned)?;
    let key = state_key::suspicion(blob);
    let mut says: BTreeSet<PublicKey> = exec.state.get(&key)?.unwrap_or_default();
    require(says.insert(by.key), Code::PayloadCondemned)?;
    let open = suspicions(exec, &by.key)?;
    require(open < limits::SUSPICIONS_OPEN_MAX, Code::TooManySuspicions)?;
    exec.state.put(state_key::suspicion_count(&by.key), &(open + 1));
    exec.state.put(key, &says);
    exec.event(Event::PayloadSuspected { blob: *blob, by: by.key });
    let seated = says.iter().filter(|member| exec.env.committee.seat_of(member).is_some()).count();
    if seated >= exec.env.committee.weak_quorum() {
        settle(exec, blob, &reference, says)?;
    }
    Ok(())
}

fn settle(
    exec: &mut Exec<'_>,
    blob: &BlobDigest,
    reference: &BlobReference,
    found_by: BTreeSet<PublicKey>,
) -> Outcome {
    forget(exec, blob)?;
    let condemned = Condemned {
        by: reference.by,
        organisation: reference.organisation.clone(),
        found_by,
        height: exec.env.height,
        time: exec.env.time,
    };
    exec.state.put(state_key::condemned(blob), &condemned);
    exec.event(Event::PayloadCondemned { blob: *blob, by: reference.by });
    Ok(())
}

/// What was said of a payload counts no more: it is settled, or the payload is gone.
pub fn forget(exec: &mut Exec<'_>, blob: &BlobDigest) -> Result<(), LedgerError> {
    let key = state_key::suspicion(blob);
    let Some(says) = exec.state.get::<BTreeSet<PublicKey>>(&key)? else { return Ok(()) };
    exec.state.delete(key);
    for member in says {
        let row = state_key::suspicion_count(&member);
        match suspicions(exec, &member)?.saturating_sub(1) {
            0 => exec.state.delete(row),
            left => exec.state.put(row, &left),
        }
    }
    Ok(())
}

fn suspicions(exec: &Exec<'_>, member: &PublicKey) -> Result<u32, LedgerError> {
    Ok(exec.state.get(&state_key::suspicion_count(member))?.unwrap_or(0))
}
