//! Actions, and who may do what:
//!
//! | action | who |
//! |---|---|
//! | `Propose`, `SignProposal` | admins |
//! | `AddTrainer`, `RemoveTrainer` | operators, for their own organisation |
//! | `CreateTask` | admins, operators |
//! | `CloseTask`, `Recruit` | admins; operators their own |
//! | `Update`, `Enrol`, `Leave`, `Profile`, `Mask` | trainers; updates those chosen, where a task chooses |
//! | `Aggregate` | members who hold a seat |
//! | `PublishModel` | admins, operators, trainers |
//! | `Stake`, `Accuse` | every member |
//! | `SetEncryptionKey`, `Sealed` | every member; what is sealed, its owner |
//! | `Attest`, `Condemn`, `TakeOver` | members who hold a seat |
//! | `Dataset` | admins, operators, trainers; appending as the data set's rule says, granting its owner |
//! | `DeprecateModel` | admins; who published it |
//! | `MeasureModel` | every member |
//! | `Evaluate` | whom the task names: trainers with an update in it, or certain members |
//!
//! A key that is no member can do nothing. Checks go from cheap to dear:
//! permission, then the state, then signatures; writes come last.

pub mod aggregate;
pub mod dataset;
pub mod evaluation;
pub mod member;
pub mod model;
pub mod proposal;
pub mod sealed;
pub mod task;
pub mod update;

use crate::{
    condemn,
    execute::{Exec, Outcome, require},
    forming, masking, selection, stake,
};
use twinfold_types::{
    Action, AvailabilityCertificate, Code, TxId,
    member::{Member, Role},
    state_key,
    tx::TxBody,
};

pub fn apply(exec: &mut Exec<'_>, body: &TxBody, id: &TxId) -> Outcome {
    let sender: Option<Member> = exec.state.get(&state_key::member(&body.sender))?;
    let sender = sender.ok_or(Code::UnknownSender)?;
    require(may(exec, &sender, &body.action), Code::NotPermitted)?;
    match &body.action {
        Action::Propose(action) => proposal::propose(exec, id, &sender, action),
        Action::SignProposal(proposal) => proposal::sign(exec, proposal, &sender),
        Action::AddTrainer(member) => member::add_trainer(exec, &sender, member),
        Action::RemoveTrainer(key) => member::remove_trainer(exec, &sender, key),
        Action::CreateTask(spec) => task::create(exec, id, &sender, spec),
        Action::CloseTask(task) => task::close(exec, task, &sender),
        Action::Recruit(action) => task::recruit(exec, action, &sender),
        Action::Update(update) => update::update(exec, id, &sender, update),
        Action::Aggregate(aggregate) => aggregate::aggregate(exec, aggregate),
        Action::PublishModel(publish) => model::publish(exec, id, &sender, publish),
        Action::Stake(action) => stake::act(exec, &sender, action),
        Action::Accuse(evidence) => stake::slashing::accuse(exec, evidence),
        Action::Attest(shown) => stake::participation::attest(exec, shown),
        Action::SetEncryptionKey(key) => sealed::set_encryption_key(exec, &sender, key),
        Action::Sealed(action) => sealed::act(exec, &sender, action),
        Action::Dataset(action) => dataset::act(exec, id, &sender, action),
        Action::DeprecateModel(action) => model::deprecate(exec, &sender, action),
        Action::MeasureModel(action) => model::measure(exec, id, &sender, action),
        Action::Condemn(blob) => condemn::condemn(exec, &sender, blob),
        Action::TakeOver => stake::takeover::taken_over(exec, &sender),
        Action::Evaluate(action) => evaluation::evaluate(exec, id, &sender, action),
        Action::Enrol(action) => selection::enrol(exec, &sender, action),
        Action::Leave(task) => selection::leave(exec, &sender, task),
        Action::Profile(action) => forming::join(exec, &sender, action),
        Action::Mask(action) => masking::act(exec, &sender, action),
    }
}

fn may(exec: &Exec<'_>, sender: &Member, action: &Action) -> bool {
    let one_of = |roles: &[Role]| roles.iter().any(|role| sender.has(*role));
    match action {
        Action::Propose(_) | Action::SignProposal(_) => one_of(&[Role::Admin]),
        Action::AddTrainer(_) | Action::RemoveTrainer(_) => one_of(&[Role::Operator]),
        Action::CreateTask(_) | Action::CloseTask(_) | Action::Recruit(_) => {
            one_of(&[Role::Admin, Role::Operator])
        }
        Action::Update(_)
        | Action::Enrol(_)
        | Action::Leave(_)
        | Action::Profile(_)
        | Action::Mask(_) => one_of(&[Role::Trainer]),
        Action::Aggregate(_) | Action::Attest(_) | Action::Condemn(_) | Action::TakeOver => {
            exec.env.committee.seat_of(&sender.key).is_some()
        }
        Action::PublishModel(_) | Action::Dataset(_) => {
            one_of(&[Role::Admin, Role::Operator, Role::Trainer])
        }
        Action::Stake(_) | Action::Accuse(_) => true,
        Action::SetEncryptionKey(_) | Action::Sealed(_) => true,
        // Whose model it is, and who measures a task's, stands in the state.
        Action::DeprecateModel(_) | Action::MeasureModel(_) | Action::Evaluate(_) => true,
    }
}

/// A quorum of the running committee, or of the one before, holds the payload: whole, or a fragment
/// each.
fn check_available(exec: &Exec<'_>, payload: &AvailabilityCertificate) -> Outcome {
    let committee = exec.env.committees().find(|committee| committee.epoch == payload.epoch);
    let committee = committee.ok_or(Code::AvailabilityInvalid)?;
    let coded_for_it = usize::from(payload.blob.n) == committee.size();
    require(coded_for_it && payload.blob.is_supported(), Code::AvailabilityInvalid)?;
    let verified = payload.verify(exec.env.chain, committee, exec.env.verifier);
    require(verified.is_ok(), Code::AvailabilityInvalid)
}
