//! Evidence, and what it costs. Everything that backed the validator in the accused epoch pays:
//! its pool, and what was undelegated from it in that epoch or later. Once for each epoch and
//! kind of offence, whoever shows it.

use super::{burn, candidate, params, put_candidate, unbonding};
use crate::{
    error::LedgerError,
    execute::{Exec, Outcome, require},
};
use twinfold_types::{
    Code, Committee, Digest, Epoch, Event, Evidence, PublicKey, Stake,
    evidence::Offence,
    hash::Tag,
    quorum::PastEpoch,
    round::FoldResult,
    stake::{Candidate, Jail},
    state_key,
};

pub fn accuse(exec: &mut Exec<'_>, evidence: &Evidence) -> Outcome {
    let (epoch, seat) = evidence.accused();
    let committee = committee_of(exec, epoch)?;
    let validator = *committee.validator(seat).ok_or(Code::EvidenceInvalid)?;
    let punished = state_key::punished(epoch, &validator, evidence.offence());
    require(!exec.state.has(&punished)?, Code::EvidenceKnown)?;
    if let Evidence::Result { signed, .. } = evidence {
        require(is_wrong(exec, &signed.result)?, Code::EvidenceInvalid)?;
    }
    let holds = evidence.check(exec.env.chain, &committee, exec.env.verifier);
    require(holds.is_ok(), Code::EvidenceInvalid)?;
    exec.state.put(punished, &());
    Ok(punish(exec, &validator, epoch, evidence.offence())?)
}

/// The committee of the running epoch, or of one about which evidence is still taken.
fn committee_of(exec: &Exec<'_>, epoch: Epoch) -> Outcome<Committee> {
    let running = exec.env.committee;
    require(epoch <= running.epoch, Code::EvidenceInvalid)?;
    if epoch == running.epoch {
        return Ok(running.clone());
    }
    let past: Option<PastEpoch> = exec.state.get(&state_key::past_epoch(epoch))?;
    let past = past.ok_or(Code::EvidenceOld)?;
    require(exec.env.time <= past.accused_until, Code::EvidenceOld)?;
    Ok(past.committee)
}

/// Whether the ledger took another result for the job.
fn is_wrong(exec: &Exec<'_>, result: &FoldResult) -> Result<bool, LedgerError> {
    let taken: Option<Digest> = exec.state.get(&state_key::fold_result(&result.job))?;
    Ok(taken.is_some_and(|taken| taken != Digest::of(Tag::FoldResult, result)))
}

fn punish(
    exec: &mut Exec<'_>,
    validator: &PublicKey,
    epoch: Epoch,
    offence: Offence,
) -> Result<(), LedgerError> {
    let params = params(exec)?;
    let thousandths = match offence {
        Offence::Equivocation => params.slash_equivocation_permille,
        Offence::WrongResult => params.slash_result_permille,
    };
    let mut burnt = unbonding::slash(exec, validator, epoch, thousandths)?;
    let accused: Option<Candidate> = candidate(exec, validator)?;
    if let Some(mut accused) = accused {
        burnt = Stake(burnt.0 + accused.pool.slash(thousandths).0);
        put_candidate(exec, &accused);
        burn(exec, burnt)?;
        exec.event(Event::Slashed { validator: *validator, epoch, offence, burnt });
        if offence == Offence::Equivocation {
            super::candidate::jail(exec, accused, Jail::Guilty);
        }
        return Ok(());
    }
    burn(exec, burnt)?;
    exec.event(Event::Slashed { validator: *validator, epoch, offence, burnt });
    Ok(())
}
