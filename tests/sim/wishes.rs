//! What the members want of the ledger: a round of wishes that meet one another in the state, in an
//! order that the network decides.

use crate::{
    consortium::{ADMINS, Consortium, DELEGATORS, OPERATOR, STRANGER, newcomer_member},
    dice::Dice,
    learning,
    plan::Plan,
    setup::OBSERVER,
};
use twinfold_types::{
    Action, Digest, Epoch, Evidence, Height, SeatIndex, Signature, SignedTx, Stake, TaskId, TxId,
    View,
    keeping::StorageOwner,
    member::AdminAction,
    stake::{Declaration, StakeAction},
    vote::{Vote, VoteBody, VoteKind},
};

/// Wishes of one round.
const ROUND: usize = 12;
/// Keys that are added as members and removed again.
const NEWCOMERS: u64 = 12;

/// Who wants what.
pub type Wish = (usize, Action, Option<learning::Payload>);

pub fn wish(
    consortium: &Consortium,
    nonce: usize,
    before: &[SignedTx],
    plan: &Plan,
    dice: &mut Dice,
) -> Wish {
    if plan.learns && nonce == 0 {
        let spec = learning::spec(consortium);
        return (OPERATOR, Action::CreateTask(Box::new(spec)), None);
    }
    let newcomer = newcomer_member(dice.between(0, NEWCOMERS) as u8);
    let earlier = || {
        let tx = nonce.checked_sub(1).and_then(|at| before.get(at));
        Action::SignProposal(tx.map_or(TxId(Digest::ZERO), SignedTx::id))
    };
    let (sender, action) = match nonce % ROUND {
        1 => (OPERATOR, Action::AddTrainer(newcomer)),
        2 => (ADMINS[0], Action::Propose(proposal(consortium, nonce, plan, dice))),
        3 => (ADMINS[1], earlier()),
        4 => (OPERATOR, Action::RemoveTrainer(newcomer.key)),
        5 => (ADMINS[2], Action::Propose(AdminAction::AddMember(newcomer))),
        6 => (ADMINS[0], earlier()),
        8..=11 => stake(consortium, nonce, plan, dice),
        _ if plan.learns => {
            let task = TaskId(before[0].id().0);
            let (trainer, update, payload) = learning::update(consortium, task, nonce);
            return (trainer, Action::Update(Box::new(update)), Some(payload));
        }
        0 => (STRANGER, Action::CloseTask(TaskId(Digest::ZERO))),
        _ => (OPERATOR, Action::Accuse(Box::new(false_evidence(plan, dice)))),
    };
    (sender, action, None)
}

/// Admins end an epoch where the plan says so; else they set quotas, make stake, or let a liar
/// sit again.
fn proposal(consortium: &Consortium, nonce: usize, plan: &Plan, dice: &mut Dice) -> AdminAction {
    if plan.ends_early && nonce < 3 * ROUND {
        return AdminAction::EndEpoch;
    }
    match dice.between(0, 3) {
        0 => AdminAction::GrantStake {
            member: consortium.key(dice.pick(&DELEGATORS)),
            amount: Stake(dice.between(1, 300)),
        },
        1 if !plan.liars.is_empty() => AdminAction::Readmit(consortium.key(plan.liars[0].0)),
        _ if nonce.is_multiple_of(3) => AdminAction::SetStorageQuota {
            owner: StorageOwner::Member(consortium.key(DELEGATORS[nonce % DELEGATORS.len()])),
            bytes: nonce.is_multiple_of(2).then_some(nonce as u64),
        },
        _ => AdminAction::SetQuota {
            organisation: format!("organisation {}", nonce % 5),
            trainers: (nonce % 90) as u32,
        },
    }
}

/// Delegators back a few candidates and leave them again; the observer says what it wants; liars
/// take their own stake away, which does not save it.
fn stake(consortium: &Consortium, nonce: usize, plan: &Plan, dice: &mut Dice) -> (usize, Action) {
    let delegator = dice.pick(&DELEGATORS);
    let liar = plan.liars.first().map_or(0, |(seat, _)| *seat);
    let backed = dice.pick(&[OBSERVER, liar, nonce % plan.seats, plan.seats - 1]);
    let (validator, amount) = (consortium.key(backed), Stake(dice.between(1, 400)));
    let undelegate = StakeAction::Undelegate { validator, amount };
    let (sender, action) = match (nonce % ROUND, dice.between(0, 2)) {
        (8 | 9, 0..=1) => (delegator, StakeAction::Delegate { validator, amount }),
        (8..=10, _) if !plan.liars.is_empty() && dice.chance(20) => {
            let validator = consortium.key(liar);
            (liar, StakeAction::Undelegate { validator, amount })
        }
        (8..=10, _) => (delegator, undelegate),
        (_, 0) => {
            let (ready, commission_permille) = (dice.chance(80), dice.between(0, 500) as u16);
            let (key, addresses) = (None, None);
            let said = Declaration { ready, commission_permille, key, addresses };
            (OBSERVER, StakeAction::Declare(said))
        }
        _ => {
            let to = consortium.key(dice.pick(&DELEGATORS));
            (delegator, StakeAction::Transfer { to, amount })
        }
    };
    (sender, Action::Stake(action))
}

/// Two votes under an honest seat's name, which it never signed.
fn false_evidence(plan: &Plan, dice: &mut Dice) -> Evidence {
    let seat = SeatIndex(dice.index(plan.seats) as u16);
    let mut vote = || {
        let (kind, view, height) = (VoteKind::Prepare, View(0), Height(1));
        let digest = Digest([dice.number() as u8; 32]);
        let body = VoteBody { kind, epoch: Epoch(0), view, height, digest };
        Box::new(Vote { body, seat, signature: Signature([1; 64]) })
    };
    Evidence::Votes(vote(), vote())
}
