//! Who takes part in agreement, counted from checkpoint signatures that stand on the chain. A
//! seat may show anyone's signatures, its own among them, in any later block of the epoch, so
//! no leader can make another look silent. Only heights that a checkpoint is due at count, and
//! only from a quorum's signatures on: nobody makes the others look silent by showing its own.
//!
//! A row for each height holds the digest that a signature must be on. It is written in the
//! block above, which is the first to know it. Of the rows only the newest stay; what they
//! showed is kept as counts.

use crate::{
    error::LedgerError,
    execute::{Exec, Outcome, require},
};
use std::collections::BTreeSet;
use twinfold_types::{
    Code, Committee, Digest, SeatIndex,
    hash::Tag,
    limits,
    stake::Participation,
    state_key::{self, Prefix, StateKey},
    vote::{CheckpointCertificate, verify_signatures},
};

type Seats = BTreeSet<SeatIndex>;

/// Digest of a height's checkpoint, and the seats that are known to have signed it.
type Attested = (Digest, Seats);

/// Rows removed when one is added: the leftovers of an epoch go without a long block.
const REMOVED_AT_ONCE: usize = 4;

/// Makes room for signatures on the checkpoint of the height below, where one is due there.
pub fn open_parent(exec: &mut Exec<'_>) -> Result<(), LedgerError> {
    let (parent, committee) = (exec.env.parent, exec.env.committee);
    let interval = limits::CHECKPOINT_INTERVAL_HEIGHTS;
    if parent.height <= committee.anchor || !parent.height.0.is_multiple_of(interval) {
        return Ok(());
    }
    let row: Attested = (Digest::of(Tag::Checkpoint, parent), BTreeSet::new());
    exec.state.put(state_key::attested(parent.height), &row);
    let window = limits::ATTESTED_HEIGHTS_MAX * interval;
    let oldest = parent.height.0.saturating_sub(window).max(committee.anchor.0);
    for row in exec.state.keys(&Prefix::Attested.scan(), REMOVED_AT_ONCE)? {
        if state_key::parse_attested(&row).is_some_and(|height| height.0 <= oldest) {
            exec.state.delete(StateKey::of_row(row));
        }
    }
    Ok(())
}

/// Takes signatures on a checkpoint of the running epoch.
pub fn attest(exec: &mut Exec<'_>, shown: &CheckpointCertificate) -> Outcome {
    let (checkpoint, committee) = (&shown.checkpoint, exec.env.committee);
    let fits = checkpoint.epoch == committee.epoch && checkpoint.height > committee.anchor;
    require(fits && !shown.signatures.is_empty(), Code::AttestationInvalid)?;
    let key = state_key::attested(checkpoint.height);
    let (digest, mut seats): Attested = exec.state.get(&key)?.ok_or(Code::AttestationInvalid)?;
    require(Digest::of(Tag::Checkpoint, checkpoint) == digest, Code::AttestationInvalid)?;
    let known = seats.clone();
    seats.extend(shown.signatures.iter().map(|(seat, _)| *seat));
    require(seats != known, Code::AttestationKnown)?;
    let statement = checkpoint.statement(exec.env.chain, &committee.digest());
    let signed = verify_signatures(&shown.signatures, 1, &statement, committee, exec.env.verifier);
    require(signed.is_ok(), Code::AttestationInvalid)?;

    count(exec, &known, &seats)?;
    exec.state.put(key, &(digest, seats));
    Ok(())
}

/// Adds what a height shows now beyond what it showed before.
fn count(exec: &mut Exec<'_>, known: &Seats, shown: &Seats) -> Result<(), LedgerError> {
    let quorum = exec.env.committee.quorum();
    if shown.len() < quorum {
        return Ok(());
    }
    let mut counts = counts(exec)?;
    let counted = known.len() >= quorum;
    counts.checkpoints += u32::from(!counted);
    for seat in shown.iter().filter(|seat| !counted || !known.contains(seat)) {
        counts.signed[seat.index()] += 1;
    }
    exec.state.put(state_key::participation(), &counts);
    Ok(())
}

/// What the blocks of the running epoch show so far.
pub fn counts(exec: &Exec<'_>) -> Result<Participation, LedgerError> {
    let stored: Option<Participation> = exec.state.get(&state_key::participation())?;
    Ok(stored.unwrap_or_else(|| none(exec.env.committee)))
}

pub fn none(committee: &Committee) -> Participation {
    Participation { checkpoints: 0, signed: vec![0; committee.size()] }
}

/// The seats that signed fewer than half of the checkpoints, the most silent first.
pub fn silent(counts: &Participation) -> Vec<SeatIndex> {
    if counts.checkpoints < limits::JUDGED_CHECKPOINTS_MIN {
        return vec![];
    }
    let few = |(_, signed): &(u16, &u32)| 2 * u64::from(**signed) < u64::from(counts.checkpoints);
    let mut silent: Vec<_> = (0..).zip(&counts.signed).filter(few).collect();
    silent.sort_by_key(|(seat, signed)| (**signed, *seat));
    silent.into_iter().map(|(seat, _)| SeatIndex(seat)).collect()
}
