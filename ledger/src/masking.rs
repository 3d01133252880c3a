//! Masked rounds on the ledger: who takes part, what they dealt, whose update counts, and the secrets that
//! the sum is unmasked by. A stage ends when all have spoken, or at the round's deadline with enough of them.
//!
//! Every share is held against its commitment before it is taken, so that what is made of them is right, and
//! whoever brings a wrong one has a receipt that says so.

use crate::{
    action::{self, update::Enrolment},
    error::LedgerError,
    execute::{Exec, Outcome, require},
    forming, round,
};
use twinfold_fl::mask;
use twinfold_types::{
    Code, Event, PublicKey,
    member::Member,
    round::{Round, RoundKey, RoundState, VoidReason},
    state_key,
    task::{
        Cluster, Task, TaskStatus,
        masks::{
            Complaint, Deal, MaskAction, MaskKeys, MaskScalar, MaskStage, MaskStep, Masker, Masking,
        },
    },
};

/// A masked round that runs.
struct Running {
    task: Task,
    cluster: Cluster,
    round: Round,
    masking: Masking,
}

pub fn act(exec: &mut Exec<'_>, by: &Member, action: &MaskAction) -> Outcome {
    let running = find(exec, &action.round)?;
    match &action.step {
        MaskStep::Keys(keys) => join(exec, running, by, keys),
        MaskStep::Deal(dealt) => deal(exec, running, by, dealt),
        MaskStep::Complain(complaint) => complain(exec, running, by, complaint),
        MaskStep::Release(shares) => release(exec, running, by, shares),
    }
}

fn find(exec: &Exec<'_>, key: &RoundKey) -> Outcome<Running> {
    let task: Option<Task> = exec.state.get(&state_key::task(&key.task))?;
    let task = task.ok_or(Code::TaskUnknown)?;
    require(task.spec.masks.is_some(), Code::MasksUnused)?;
    require(task.status == TaskStatus::Open, Code::TaskEnded)?;
    let cluster: Option<Cluster> = exec.state.get(&state_key::cluster(&key.task, key.cluster))?;
    let cluster = cluster.ok_or(Code::ClusterUnknown)?;
    require(cluster.collecting == key.round, Code::RoundOther)?;
    let round: Option<Round> = exec.state.get(&state_key::round(key))?;
    let round = round.ok_or(Code::RoundSealed)?;
    let open = matches!(round.state, RoundState::Open | RoundState::Collecting { .. });
    require(open, Code::RoundSealed)?;
    let masking = exec.state.get(&state_key::masking(key))?.unwrap_or_else(|| Masking::new(*key));
    Ok(Running { task, cluster, round, masking })
}

fn join(exec: &mut Exec<'_>, running: Running, by: &Member, keys: &MaskKeys) -> Outcome {
    let Running { mut task, mut masking, .. } = running;
    let key = masking.round;
    require(masking.stage == MaskStage::Joining, Code::MaskStageOther)?;
    require(masking.index_of(&by.key).is_none(), Code::MaskExists)?;
    require(!exec.state.has(&state_key::mask_barred(&task.id, &by.key))?, Code::MaskBarred)?;
    let enrolment = state_key::enrolment(&task.id, &by.key);
    let row: Option<Enrolment> = exec.state.get(&enrolment)?;
    require(row.is_none_or(|(cluster, ..)| cluster == key.cluster), Code::ClusterOther)?;
    forming::check(exec, &task, by)?;
    require(mask::check_keys(keys), Code::MaskInvalid)?;
    // Somebody else's keys are no keys of one's own.
    let known = |one: &Masker| one.keys.pair == keys.pair || one.keys.sealing == keys.sealing;
    require(!masking.members.iter().any(known), Code::MaskInvalid)?;
    if let Some(noise) = task.spec.noise() {
        let after = spent(exec, &task, &by.key)?.saturating_add(task.spec.round_cost());
        require(after <= noise.budget, Code::PrivacySpent)?;
    }
    if row.is_none() {
        let none: Enrolment = (key.cluster, None, 0);
        exec.state.put(enrolment, &none);
        action::task::take_in(&mut task)?;
        round::put_task(exec, &task);
    }
    let (trainer, keys) = (by.key, *keys);
    masking.members.push(Masker { trainer, keys, dealt: false, sent: false, released: false });
    round::activate(exec, &mut task)?;
    let full = masking.members.len() as u32 >= task.spec.participants_max;
    let round: Round = exec.state.expect(&state_key::round(&key))?;
    Ok(step(exec, &task, masking, round, full.then_some(MaskStage::Dealing))?)
}

fn deal(exec: &mut Exec<'_>, running: Running, by: &Member, dealt: &Deal) -> Outcome {
    let Running { task, round, mut masking, .. } = running;
    require(masking.stage == MaskStage::Dealing, Code::MaskStageOther)?;
    let me = masking.index_of(&by.key).ok_or(Code::MaskMemberUnknown)?;
    require(!masking.members[me].dealt, Code::MaskExists)?;
    let good = mask::check_deal(&masking.round, &keys(&masking), me, dealt);
    require(good, Code::MaskInvalid)?;
    exec.state.put(state_key::mask_deal(&masking.round, me as u32), dealt);
    masking.members[me].dealt = true;
    let all = masking.members.iter().all(|member| member.dealt);
    Ok(step(exec, &task, masking, round, all.then_some(MaskStage::Updating))?)
}

/// The round cannot be unmasked for certain any more: it is void, and who spoilt it is barred.
fn complain(exec: &mut Exec<'_>, running: Running, by: &Member, complaint: &Complaint) -> Outcome {
    let Running { mut task, cluster, round, masking } = running;
    require(masking.stage == MaskStage::Updating, Code::MaskStageOther)?;
    let me = masking.index_of(&by.key).ok_or(Code::MaskMemberUnknown)?;
    let deal: Option<Deal> =
        exec.state.get(&state_key::mask_deal(&masking.round, complaint.dealer))?;
    let deal = deal.ok_or(Code::MaskInvalid)?;
    let shown = mask::check_complaint(&masking.round, &keys(&masking), me, &deal, complaint);
    require(shown, Code::MaskInvalid)?;
    let (key, dealer) = (masking.round, masking.members[complaint.dealer as usize].trainer);
    exec.state.put(state_key::mask_barred(&task.id, &dealer), &key.round);
    exec.event(Event::FalseShare { key, dealer, by: by.key });
    round::void(exec, &task, round, VoidReason::FalseShare)?;
    Ok(round::end(exec, &mut task, cluster, key.round)?)
}

fn release(
    exec: &mut Exec<'_>,
    running: Running,
    by: &Member,
    shares: &Vec<MaskScalar>,
) -> Outcome {
    let Running { task, mut cluster, round, mut masking } = running;
    require(masking.stage == MaskStage::Releasing, Code::MaskStageOther)?;
    let me = masking.index_of(&by.key).ok_or(Code::MaskMemberUnknown)?;
    require(!masking.members[me].released, Code::MaskExists)?;
    let mut commitments = vec![];
    for (index, dealer) in masking.dealers() {
        let deal: Deal = exec.state.expect(&state_key::mask_deal(&masking.round, index as u32))?;
        commitments.push(if dealer.sent { deal.own[me] } else { deal.pair[me] });
    }
    require(mask::check_release(&commitments, shares), Code::MaskInvalid)?;
    exec.state.put(state_key::mask_release(&masking.round, me as u32), shares);
    masking.members[me].released = true;
    if released(&masking).count() < masking.threshold() {
        return Ok(step(exec, &task, masking, round, None)?);
    }
    unmask(exec, &task, masking)?;
    Ok(round::seal(exec, &task, &mut cluster, round)?)
}

fn released(masking: &Masking) -> impl Iterator<Item = usize> {
    let members = masking.members.iter().enumerate();
    members.filter(|(_, member)| member.released).map(|(index, _)| index)
}

/// Makes the secrets from as many shares as are needed.
fn unmask(exec: &mut Exec<'_>, task: &Task, mut masking: Masking) -> Outcome {
    let places: Vec<_> = released(&masking).collect();
    let rows = places.iter().map(|index| state_key::mask_release(&masking.round, *index as u32));
    let shares = rows.map(|row| exec.state.expect(&row)).collect::<Result<Vec<_>, _>>()?;
    masking.secrets = mask::reconstruct(&places, &shares).ok_or(Code::MaskInvalid)?;
    charge(exec, task, &masking)?;
    masking.stage = MaskStage::Unmasked;
    exec.state.put(state_key::masking(&masking.round), &masking);
    forget_shares(exec, task, &masking.round)?;
    let members = places.len() as u32;
    exec.event(Event::MaskStageBegun { key: masking.round, stage: masking.stage, members });
    Ok(())
}

/// ρ that a trainer has spent in a task.
fn spent(exec: &Exec<'_>, task: &Task, trainer: &PublicKey) -> Result<u64, LedgerError> {
    Ok(exec.state.get(&state_key::privacy_spent(&task.id, trainer))?.unwrap_or(0))
}

/// With the secrets the sum is known: whoever is in it has spent what a round costs.
fn charge(exec: &mut Exec<'_>, task: &Task, masking: &Masking) -> Result<(), LedgerError> {
    let cost = task.spec.round_cost();
    for member in masking.members.iter().filter(|member| member.sent && cost > 0) {
        let after = spent(exec, task, &member.trainer)?.saturating_add(cost);
        exec.state.put(state_key::privacy_spent(&task.id, &member.trainer), &after);
    }
    Ok(())
}

/// Stores where the round stands, at the next stage where it goes there; each has the whole deadline.
fn step(
    exec: &mut Exec<'_>,
    task: &Task,
    mut masking: Masking,
    round: Round,
    next: Option<MaskStage>,
) -> Result<(), LedgerError> {
    if let Some(stage) = next {
        masking.stage = stage;
        let members = masking.members.iter().filter(|member| match stage {
            MaskStage::Updating => member.dealt,
            MaskStage::Releasing => member.sent,
            _ => true,
        });
        let (key, members) = (masking.round, members.count() as u32);
        exec.event(Event::MaskStageBegun { key, stage, members });
        round::restart_deadline(exec, task, round);
    }
    exec.state.put(state_key::masking(&masking.round), &masking);
    Ok(())
}

/// Whether a trainer may send its masked update; then it has. Nothing where the task has no masks.
pub fn take(
    exec: &Exec<'_>,
    task: &Task,
    round: &Round,
    trainer: &PublicKey,
) -> Outcome<Option<Masking>> {
    if task.spec.masks.is_none() {
        return Ok(None);
    }
    let masking: Option<Masking> = exec.state.get(&state_key::masking(&round.key))?;
    let mut masking = masking.ok_or(Code::MaskStageOther)?;
    require(masking.stage == MaskStage::Updating, Code::MaskStageOther)?;
    let me = masking.index_of(trainer).filter(|index| masking.members[*index].dealt);
    masking.members[me.ok_or(Code::MaskMemberUnknown)?].sent = true;
    Ok(Some(masking))
}

/// The list is final when every dealer has sent.
pub fn close_if_all_sent(
    exec: &mut Exec<'_>,
    task: &Task,
    masking: Masking,
    round: Round,
) -> Result<(), LedgerError> {
    let all = masking.dealers().all(|(_, dealer)| dealer.sent);
    step(exec, task, masking, round, all.then_some(MaskStage::Releasing))
}

/// A stage's time is over: with enough of its members the next begins, else the round is void.
pub fn run_deadline(
    exec: &mut Exec<'_>,
    mut task: Task,
    cluster: Cluster,
    round: Round,
) -> Result<(), LedgerError> {
    let key = round.key;
    let masking: Option<Masking> = exec.state.get(&state_key::masking(&key))?;
    let masking = masking.unwrap_or_else(|| Masking::new(key));
    let count =
        |said: fn(&Masker) -> bool| masking.members.iter().filter(|member| said(member)).count();
    let (spoke, next) = match masking.stage {
        MaskStage::Joining => (masking.members.len(), Some(MaskStage::Dealing)),
        MaskStage::Dealing => (count(|member| member.dealt), Some(MaskStage::Updating)),
        MaskStage::Updating => (count(|member| member.sent), Some(MaskStage::Releasing)),
        // With enough it would be unmasked.
        MaskStage::Releasing | MaskStage::Unmasked => (0, None),
    };
    let enough = (task.spec.participants_min as usize).max(masking.threshold());
    if next.is_some() && spoke >= enough {
        return step(exec, &task, masking, round, next);
    }
    round::void(exec, &task, round, VoidReason::TooFew)?;
    round::end(exec, &mut task, cluster, key.round)
}

/// What was dealt and released in a round is of no use after it.
pub fn forget_shares(exec: &mut Exec<'_>, task: &Task, key: &RoundKey) -> Result<(), LedgerError> {
    if task.spec.masks.is_none() {
        return Ok(());
    }
    let masking: Option<Masking> = exec.state.get(&state_key::masking(key))?;
    let members = masking.map_or(0, |masking| masking.members.len() as u32);
    for index in 0..members {
        exec.state.delete(state_key::mask_deal(key, index));
        exec.state.delete(state_key::mask_release(key, index));
    }
    Ok(())
}

fn keys(masking: &Masking) -> Vec<MaskKeys> {
    masking.members.iter().map(|member| member.keys).collect()
}
