//! Who the members are, and what they want of the ledger.
//!
//! Execution has a committee of its own, of the same seats: what it verifies itself (storage
//! receipts) is Ed25519 always, whatever the agreement signs with.

use crate::{dice::Dice, keys, learning, plan::Plan, setup, world::START_MS};
use std::{collections::BTreeMap, sync::Arc};
use twinfold_ledger::pure::{Writes, genesis_state};
use twinfold_types::{
    Action, Committee, Digest, Epoch, PublicKey, SecretKey, SignedTx, Stake, TaskId, TimeMs, TxId,
    genesis::{ChainParams, FORMAT_VERSION, Genesis, GenesisValidator},
    key::Signer,
    limits::TX_VALIDITY_MS_MAX,
    member::{AdminAction, Member, Role},
    stake::StakeParams,
    tx::TxBody,
};

/// Numbers of keys, beyond all seats.
pub const TRAINERS: usize = 100;
pub const TRAINERS_MAX: usize = 60;
const ADMINS: [usize; 3] = [180, 181, 182];
const OPERATOR: usize = 190;
const STRANGER: usize = 199;
/// Keys that are added as members and removed again.
const NEWCOMERS: u64 = 12;
/// The last transactions never lapse before they are ordered: a network that stands still is seen.
const LASTING: usize = 5;
const BRIEF_MS: u64 = 12_000;

pub struct Consortium {
    pub chain: Digest,
    /// Real keys, for what execution verifies.
    pub committee: Committee,
    pub state: Writes,
    /// What was sent with each update.
    pub payloads: BTreeMap<TxId, learning::Payload>,
    real_signatures: bool,
}

pub fn secret(index: usize) -> SecretKey {
    SecretKey::from_seed(&[index as u8 + 1; 32])
}

impl Consortium {
    /// The members, and all transactions of a run.
    pub fn new(plan: &Plan) -> (Arc<Self>, Vec<SignedTx>) {
        let mut consortium = Self {
            chain: setup::chain(),
            committee: setup::committee(plan.seats, Epoch(0), true),
            state: Writes::new(),
            payloads: BTreeMap::new(),
            real_signatures: plan.real_signatures,
        };
        consortium.state = genesis_state(&consortium.genesis(plan.seats));
        let mut dice = Dice::new(plan.seed ^ 0x7478_7321);
        let mut txs = Vec::<SignedTx>::new();
        for nonce in 0..plan.txs {
            let (sender, action, payload) = consortium.wish(nonce, &txs, plan, &mut dice);
            let tx = consortium.tx(nonce, sender, action, validity(nonce, plan, &mut dice));
            consortium.payloads.extend(payload.map(|payload| (tx.id(), payload)));
            txs.push(tx);
        }
        (Arc::new(consortium), txs)
    }

    pub fn key(&self, index: usize) -> PublicKey {
        keys::signer(index, self.real_signatures).public_key()
    }

    fn genesis(&self, seats: usize) -> Genesis {
        let member = |index: usize, role: Role| Member {
            key: self.key(index),
            name: format!("member {index}"),
            organisation: format!("organisation {}", index % 3),
            roles: [role].into(),
            peer: None,
        };
        let mut members: Vec<Member> = ADMINS.map(|index| member(index, Role::Admin)).into();
        members.push(member(OPERATOR, Role::Operator));
        members.extend((TRAINERS..TRAINERS + TRAINERS_MAX).map(|i| member(i, Role::Trainer)));
        let validator = |index: usize| GenesisValidator {
            name: format!("site {index}"),
            organisation: format!("organisation {index}"),
            key: secret(index).public_key(),
            audit_key: secret(index).public_key(),
            peer: format!("peer {index}"),
            address: String::new(),
            payload_address: String::new(),
            stake: Stake(1_000),
        };
        Genesis {
            format: FORMAT_VERSION,
            chain: "simulated".into(),
            time: TimeMs(START_MS),
            params: ChainParams {
                threshold: 2,
                trainer_quota: TRAINERS_MAX as u32,
                stake: StakeParams::default(),
            },
            validators: (0..seats).map(validator).collect(),
            members,
            balances: vec![],
            unsafe_size: false,
        }
    }

    /// Who wants what: a round of wishes that meet one another in the state, in an order that
    /// the network decides.
    fn wish(
        &self,
        nonce: usize,
        before: &[SignedTx],
        plan: &Plan,
        dice: &mut Dice,
    ) -> (usize, Action, Option<learning::Payload>) {
        let newcomer = dice.between(0, NEWCOMERS) as u8;
        let earlier = |back: usize| {
            let tx = nonce.checked_sub(back).and_then(|at| before.get(at));
            Action::SignProposal(tx.map_or(TxId(Digest::ZERO), SignedTx::id))
        };
        if plan.learns && nonce == 0 {
            let spec = learning::spec(self);
            return (OPERATOR, Action::CreateTask(Box::new(spec)), None);
        }
        let (sender, action) = match nonce % 8 {
            1 => (OPERATOR, Action::AddTrainer(newcomer_member(newcomer))),
            2 => (ADMINS[0], Action::Propose(quota(nonce))),
            3 => (ADMINS[1], earlier(1)),
            4 => (OPERATOR, Action::RemoveTrainer(newcomer_member(newcomer).key)),
            5 => (ADMINS[2], Action::Propose(AdminAction::AddMember(newcomer_member(newcomer)))),
            6 => (ADMINS[0], earlier(1)),
            _ if plan.learns => {
                let task = TaskId(before[0].id().0);
                let (trainer, update, payload) = learning::update(self, task, nonce);
                return (trainer, Action::Update(Box::new(update)), Some(payload));
            }
            _ => (STRANGER, Action::CloseTask(TaskId(Digest::ZERO))),
        };
        (sender, action, None)
    }

    fn tx(&self, nonce: usize, sender: usize, action: Action, until: TimeMs) -> SignedTx {
        let signer = keys::signer(sender, self.real_signatures);
        let body = TxBody {
            chain: self.chain,
            sender: signer.public_key(),
            nonce: nonce as u64,
            valid_from: TimeMs(until.0 - TX_VALIDITY_MS_MAX),
            valid_until: until,
            action,
        };
        body.sign(&*signer)
    }
}

/// In some runs many transactions lapse soon after they could be ordered.
fn validity(nonce: usize, plan: &Plan, dice: &mut Dice) -> TimeMs {
    let brief = plan.brief_validity && nonce > 0 && nonce + LASTING < plan.txs;
    let until = match brief {
        true => dice.between(2_000, plan.faults_ms + BRIEF_MS),
        false => TX_VALIDITY_MS_MAX - 2_000,
    };
    TimeMs(START_MS + until)
}

fn newcomer_member(number: u8) -> Member {
    Member {
        key: secret(200 + usize::from(number)).public_key(),
        name: format!("newcomer {number}"),
        organisation: "organisation 1".into(),
        roles: [Role::Trainer].into(),
        peer: None,
    }
}

fn quota(nonce: usize) -> AdminAction {
    AdminAction::SetQuota {
        organisation: format!("organisation {}", nonce % 5),
        trainers: (nonce % 90) as u32,
    }
}
