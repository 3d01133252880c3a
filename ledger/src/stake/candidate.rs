//! Candidates: validators by role, whose node says when it is ready. A candidate's row stays
//! as long as stake is in its pool, even when its member is gone, so that everybody can take
//! theirs out.

use super::{candidate, put_candidate};
use crate::{
    error::LedgerError,
    execute::{Exec, Outcome, require},
};
use twinfold_types::{
    Code, Event, PublicKey, limits,
    member::Member,
    stake::{Candidate, Declaration, Jail, StakePool, key_statement},
    state_key::{self, Prefix},
};

/// A new candidate: nothing is bonded to it yet, and it does not say that it is ready.
pub fn new(validator: &PublicKey) -> Candidate {
    Candidate {
        validator: *validator,
        key: *validator,
        ready: false,
        commission_permille: 0,
        commission_next_permille: 0,
        pool: StakePool::default(),
        jail: None,
        addresses: None,
    }
}

pub fn all(exec: &Exec<'_>) -> Result<Vec<Candidate>, LedgerError> {
    // Those that left with stake behind them stand beside those of all members.
    exec.state.values(&Prefix::Candidate.scan(), 2 * limits::MEMBERS_MAX)
}

/// A member may be elected from now on. One that was here before keeps its pool and its jail.
pub fn add(exec: &mut Exec<'_>, member: &Member) -> Outcome {
    let taken =
        all(exec)?.iter().any(|other| other.validator != member.key && other.key == member.key);
    require(!taken, Code::InvalidMember)?;
    let known = candidate(exec, &member.key)?;
    let fresh = Candidate { ready: false, ..known.unwrap_or_else(|| new(&member.key)) };
    put_candidate(exec, &fresh);
    Ok(())
}

pub fn declare(exec: &mut Exec<'_>, validator: &PublicKey, said: &Declaration) -> Outcome {
    let mut candidate = candidate(exec, validator)?.ok_or(Code::CandidateUnknown)?;
    let fits = said.commission_permille <= 1_000 && said.has_good_addresses();
    require(fits, Code::DeclarationInvalid)?;
    if let Some((key, signature)) = &said.key {
        require(is_free(exec, validator, key)?, Code::DeclarationInvalid)?;
        let statement = key_statement(exec.env.chain, validator, key);
        let held = key.is_strong() && exec.env.verifier.verify(key, &statement, signature);
        require(held, Code::DeclarationInvalid)?;
        candidate.key = *key;
    }
    candidate.ready = said.ready;
    candidate.addresses = said.addresses.clone().or(candidate.addresses);
    candidate.commission_next_permille = said.commission_permille;
    put_candidate(exec, &candidate);
    exec.event(Event::CandidateDeclared { validator: *validator, ready: said.ready });
    Ok(())
}

/// Whether a consensus key is nobody else's: no member's, no candidate's, no seat's.
fn is_free(exec: &Exec<'_>, validator: &PublicKey, key: &PublicKey) -> Result<bool, LedgerError> {
    let of_member = key != validator && exec.state.has(&state_key::member(key))?;
    let seats = &exec.env.committee.seats;
    let of_seat = seats.iter().any(|seat| seat.key == *key && seat.validator != *validator);
    let others = all(exec)?;
    let of_candidate = others.iter().any(|one| one.key == *key && one.validator != *validator);
    Ok(!of_member && !of_seat && !of_candidate)
}

/// A candidate that was silent comes back when its time is over.
pub fn release(exec: &mut Exec<'_>, validator: &PublicKey) -> Outcome {
    let candidate = candidate(exec, validator)?.ok_or(Code::CandidateUnknown)?;
    match candidate.jail {
        None => Err(Code::NotJailed.into()),
        Some(Jail::Silent { until }) if until <= exec.env.committee.epoch => {
            let_out(exec, candidate);
            Ok(())
        }
        Some(_) => Err(Code::JailedStill.into()),
    }
}

pub fn let_out(exec: &mut Exec<'_>, mut candidate: Candidate) {
    candidate.jail = None;
    put_candidate(exec, &candidate);
    exec.event(Event::LetOut { validator: candidate.validator });
}

/// Keeps a candidate from being elected. The graver reason stays.
pub fn jail(exec: &mut Exec<'_>, mut candidate: Candidate, jail: Jail) {
    let stays = matches!(candidate.jail, Some(Jail::Expelled))
        || (candidate.jail == Some(Jail::Guilty) && jail != Jail::Expelled);
    if stays {
        return;
    }
    candidate.jail = Some(jail);
    put_candidate(exec, &candidate);
    exec.event(Event::Jailed { validator: candidate.validator, jail });
}
