//! Who the members are, what stake they have, and which transactions they send.

use crate::{
    dice::Dice,
    keys, learning,
    plan::Plan,
    setup::{self, OBSERVER},
    wishes,
    world::START_MS,
};
use std::{collections::BTreeMap, sync::Arc};
use twinfold_ledger::pure::{Writes, genesis_state};
use twinfold_types::{
    Action, Committee, Digest, PublicKey, SecretKey, SignedTx, Stake, TimeMs, TxId, codec,
    genesis::{ChainParams, FORMAT_VERSION, Genesis, GenesisValidator},
    key::Signer,
    limits::{DECODE_BYTES_MAX, TX_VALIDITY_MS_MAX},
    member::{Member, Role},
    stake::{Candidate, StakeParams, StakePool},
    state_key::{self, StateKey},
    tx::TxBody,
};

/// Numbers of keys, beyond all seats.
pub const TRAINERS: usize = 100;
pub const TRAINERS_MAX: usize = 60;
pub const ADMINS: [usize; 3] = [180, 181, 182];
pub const OPERATOR: usize = 190;
pub const STRANGER: usize = 199;
/// Trainers with free stake.
pub const DELEGATORS: [usize; 3] = [TRAINERS, TRAINERS + 1, TRAINERS + 2];
/// The last transactions never lapse before they are ordered: a network that stands still is seen.
const LASTING: usize = 5;
const BRIEF_MS: u64 = 12_000;
/// An epoch that no run sees the end of.
const LONG_MS: u64 = 3_600_000;
/// Stake of each seat, free stake of each delegator, and what the observer begins with: with a
/// little from others it takes a seat.
const STAKE: Stake = Stake(1_000);
const OBSERVERS_STAKE: Stake = Stake(900);

pub struct Consortium {
    pub chain: Digest,
    /// The first.
    pub committee: Committee,
    pub state: Writes,
    /// What was sent with each update.
    pub payloads: BTreeMap<TxId, learning::Payload>,
    pub real_signatures: bool,
}

impl Consortium {
    /// The members, and all transactions of a run.
    pub fn new(plan: &Plan) -> (Arc<Self>, Vec<SignedTx>) {
        let genesis = genesis(plan);
        let mut consortium = Self {
            chain: setup::chain(),
            committee: genesis.committee(),
            state: genesis_state(&genesis),
            payloads: BTreeMap::new(),
            real_signatures: plan.real_signatures,
        };
        if plan.observer {
            consortium.put_observer();
        }
        let mut dice = Dice::new(plan.seed ^ 0x7478_7321);
        let mut txs = Vec::<SignedTx>::new();
        for nonce in 0..plan.txs {
            let (sender, action, payload) = wishes::wish(&consortium, nonce, &txs, plan, &mut dice);
            let tx = consortium.tx(nonce, sender, action, validity(nonce, plan, &mut dice));
            consortium.payloads.extend(payload.map(|payload| (tx.id(), payload)));
            txs.push(tx);
        }
        (Arc::new(consortium), txs)
    }

    pub fn key(&self, index: usize) -> PublicKey {
        self.signer(index).public_key()
    }

    pub fn signer(&self, index: usize) -> Arc<dyn Signer> {
        keys::signer(index, self.real_signatures)
    }

    /// The observer has been a candidate before the run, with stake of its own.
    fn put_observer(&mut self) {
        let validator = self.key(OBSERVER);
        let mut pool = StakePool::default();
        let shares = pool.join(OBSERVERS_STAKE).expect("the first takes any amount");
        let candidate = Candidate {
            validator,
            key: validator,
            ready: true,
            commission_permille: 0,
            commission_next_permille: 0,
            pool,
            jail: None,
            addresses: None,
        };
        let total = self.state[state_key::stake_total().bytes()].as_ref();
        let total: Stake =
            codec::decode(total.expect("genesis has it"), DECODE_BYTES_MAX).expect("it is one");
        let total = total.plus(OBSERVERS_STAKE).expect("a little");
        let mut put = |key: StateKey, row| self.state.insert(key.into_bytes(), Some(row));
        put(state_key::candidate(&validator), codec::encode(&candidate));
        put(state_key::delegation(&validator, &validator), codec::encode(&shares));
        put(state_key::stake_total(), codec::encode(&total));
    }

    pub fn tx(&self, nonce: usize, sender: usize, action: Action, until: TimeMs) -> SignedTx {
        let signer = self.signer(sender);
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

fn genesis(plan: &Plan) -> Genesis {
    let key = |index: usize| keys::signer(index, plan.real_signatures).public_key();
    let member = |index: usize, role: Role| Member {
        key: key(index),
        name: format!("member {index}"),
        organisation: format!("organisation {}", index % 3),
        roles: [role].into(),
        peer: None,
    };
    let mut members: Vec<Member> = ADMINS.map(|index| member(index, Role::Admin)).into();
    members.push(member(OPERATOR, Role::Operator));
    members.extend((TRAINERS..TRAINERS + TRAINERS_MAX).map(|i| member(i, Role::Trainer)));
    let organisation = "organisation of the observer".into();
    members.extend(
        plan.observer.then(|| Member { organisation, ..member(OBSERVER, Role::Validator) }),
    );
    let validator = |index: usize| GenesisValidator {
        name: format!("site {index}"),
        organisation: format!("organisation {index}"),
        key: key(index),
        audit_key: key(index),
        peer: format!("peer {index}"),
        address: String::new(),
        payload_address: String::new(),
        stake: STAKE,
    };
    Genesis {
        format: FORMAT_VERSION,
        chain: "simulated".into(),
        time: TimeMs(START_MS),
        params: ChainParams {
            threshold: 2,
            trainer_quota: TRAINERS_MAX as u32,
            stake: stake_params(plan),
        },
        validators: (0..plan.seats).map(validator).collect(),
        members,
        balances: DELEGATORS.map(|index| (key(index), STAKE)).into(),
        unsafe_size: false,
    }
}

fn stake_params(plan: &Plan) -> StakeParams {
    let epoch_ms = plan.epoch_ms.unwrap_or(LONG_MS);
    let params = StakeParams {
        seats: plan.seats as u16,
        epoch_ms,
        evidence_ms: epoch_ms + plan.evidence_ms,
        unbonding_ms: epoch_ms + plan.evidence_ms + 1_000,
        reward: Stake(plan.reward),
        ..StakeParams::default()
    };
    assert_eq!(params.fault(), None);
    params
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

pub fn newcomer_member(number: u8) -> Member {
    Member {
        key: SecretKey::from_seed(&[201 + number; 32]).public_key(),
        name: format!("newcomer {number}"),
        organisation: "organisation 1".into(),
        roles: [Role::Trainer].into(),
        peer: None,
    }
}
