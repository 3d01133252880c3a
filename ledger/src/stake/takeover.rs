//! Fragments of seats that change hands. Whoever takes over a seat makes the seat's fragments from
//! the others' and then says so. Until it does, elections replace nobody: else so many seats could
//! change hands before their fragments are made that k of them are nowhere. What a newcomer does
//! not do within some epochs is waited for no longer: it is one of the f that may fail. The
//! guilty and the expelled go at once, for they count among those f.

use crate::{
    error::LedgerError,
    execute::{Exec, Outcome, require},
};
use twinfold_types::{
    Code, Committee, Event, PublicKey, SeatIndex,
    keeping::Takeover,
    limits,
    member::Member,
    quorum::Seat,
    state_key::{self, Prefix, StateKey},
};

/// Whether a seat that changed hands is not made complete yet.
pub fn is_pending(exec: &Exec<'_>) -> Result<bool, LedgerError> {
    Ok(!exec.state.keys(&Prefix::Takeover.scan(), 1)?.is_empty())
}

/// The member of a seat says that it holds the seat's part of every payload.
pub fn taken_over(exec: &mut Exec<'_>, by: &Member) -> Outcome {
    let seat = exec.env.committee.seat_of(&by.key).ok_or(Code::NotPermitted)?;
    let key = state_key::takeover(seat);
    let waiting: Option<Takeover> = exec.state.get(&key)?;
    require(waiting.is_some_and(|waiting| waiting.by == by.key), Code::TakeoverUnknown)?;
    exec.state.delete(key);
    exec.event(Event::SeatTakenOver { seat, by: by.key });
    Ok(())
}

/// Seats change hands at the end of an epoch. Without payloads there is nothing to be taken over.
pub fn begin(exec: &mut Exec<'_>, old: &Committee, next: &Committee) -> Result<(), LedgerError> {
    let payloads = !exec.state.keys(&Prefix::BlobReference.scan(), 1)?.is_empty();
    for row in exec.state.keys(&Prefix::Takeover.scan(), limits::SEATS_MAX)? {
        settle(exec, &StateKey::of_row(row), next, payloads)?;
    }
    if !payloads {
        return Ok(());
    }
    let epoch = next.epoch;
    for (seat, member) in changed(&old.seats, &next.seats) {
        exec.state.put(state_key::takeover(seat), &Takeover { by: member, epoch });
    }
    Ok(())
}

/// Of a seat that changed hands earlier.
fn settle(
    exec: &mut Exec<'_>,
    key: &StateKey,
    next: &Committee,
    payloads: bool,
) -> Result<(), LedgerError> {
    let waiting: Takeover = exec.state.expect(key)?;
    let Some(seat) = state_key::parse_takeover(key.bytes()) else { return Ok(()) };
    let sits = next.validator(seat) == Some(&waiting.by);
    let late = next.epoch.0 >= waiting.epoch.0 + limits::TAKEOVER_EPOCHS_MAX;
    if sits && payloads && late {
        exec.event(Event::TakeoverLapsed { seat, by: waiting.by });
    }
    if !sits || !payloads || late {
        exec.state.delete(StateKey::of_row(key.bytes().to_vec()));
    }
    Ok(())
}

/// Seats whose member had another one before, or none.
fn changed(old: &[Seat], next: &[Seat]) -> Vec<(SeatIndex, PublicKey)> {
    let before = |at: usize| old.get(at).map(|seat| seat.validator);
    let seats = next.iter().enumerate();
    let changed = seats.filter(|(at, seat)| before(*at) != Some(seat.validator));
    changed.map(|(at, seat)| (SeatIndex(at as u16), seat.validator)).collect()
}
