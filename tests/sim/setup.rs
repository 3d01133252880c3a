//! A genesis, the nodes on it, and something to order.

use crate::{
    dice::Dice, disk::Disk, keys, liar::Liar, lie::Lie, node::Node, plan::Plan, world::START_MS,
};
use std::{collections::VecDeque, sync::Arc};
use twinfold_consensus_planted::{Config, Machine, Planted, Recovered, RecoveryError};
use twinfold_types::{
    Committee, Digest, Epoch, SignedTx, TaskId, TimeMs,
    hash::Tag,
    key::{Signer, Verifier},
    limits::TX_VALIDITY_MS_MAX,
    quorum::Seat,
    tx::{Action, TxBody},
};

/// Everything that a machine is made of, apart from its disk.
pub struct MachineSetup {
    pub config: Config,
    pub signer: Arc<dyn Signer>,
    pub verifier: Arc<dyn Verifier>,
    pub view_heights: u64,
    /// A mistake in the machine.
    pub planted: Option<Planted>,
}

impl MachineSetup {
    fn new(plan: &Plan, chain: Digest, committee: &Committee, seat: Option<usize>) -> Self {
        // An observer has a key of its own.
        let key = seat.unwrap_or(OBSERVER);
        let signer = keys::signer(key, plan.real_signatures);
        let config = Config {
            chain,
            genesis_time: TimeMs(START_MS),
            committee: committee.clone(),
            own: signer.public_key(),
        };
        Self {
            config,
            signer,
            verifier: keys::verifier(plan.real_signatures),
            view_heights: plan.view_heights,
            planted: plan.planted(),
        }
    }

    pub fn machine(&self, recovered: Recovered) -> Result<Machine, RecoveryError> {
        let (signer, verifier) = (self.signer.clone(), self.verifier.clone());
        let machine = Machine::new(self.config.clone(), signer, verifier, recovered)?;
        let machine = machine.rotating_every(self.view_heights);
        Ok(match self.planted {
            Some(mistake) => machine.with_planted(mistake),
            None => machine,
        })
    }
}

pub fn chain() -> Digest {
    Digest::of_bytes(Tag::Genesis, b"simulated")
}

pub fn committee(seats: usize, epoch: Epoch, real: bool) -> Committee {
    let seats = (0..seats).map(|index| {
        Seat::of(keys::signer(index, real).public_key(), &format!("organisation {index}"))
    });
    Committee::new(epoch, seats.collect())
}

/// The seats in order, the observer, then the second of each pair of twins.
pub fn nodes(plan: &Plan) -> Vec<Node> {
    let mut dice = Dice::new(plan.seed ^ 0x6e6f_6465);
    let (chain, committee) = (chain(), committee(plan.seats, Epoch(0), plan.real_signatures));
    let mut seats: Vec<Option<usize>> = (0..plan.seats).map(Some).collect();
    seats.extend(plan.observer.then_some(None));
    let twins = plan.liars.iter().filter(|(_, lie)| *lie == Lie::Twins);
    seats.extend(twins.map(|(seat, _)| Some(*seat)));
    let slow = dice.index(plan.seats);
    let node = |(index, seat): (usize, Option<usize>)| Node {
        index,
        setup: MachineSetup::new(plan, chain, &committee, seat),
        liar: seat.and_then(|seat| plan.lie(seat)).map(|lie| Liar::new(lie, plan)),
        skew_ms: draw_skew(plan, &mut dice),
        block_txs: plan.block_txs,
        sync_ms_max: if index == slow { plan.slow_sync_ms_max } else { plan.sync_ms_max },
        machine: None,
        disk: Disk::new(chain, TimeMs(START_MS)),
        life: 0,
        inbox: Vec::new(),
        turn: None,
        to_execute: VecDeque::new(),
        wake: None,
        pool: Default::default(),
        build: None,
    };
    seats.into_iter().enumerate().map(node).collect()
}

pub fn draw_skew(plan: &Plan, dice: &mut Dice) -> i64 {
    dice.between(0, 2 * plan.skew_ms_max) as i64 - plan.skew_ms_max as i64
}

/// Nobody's seats: an observer's key, whose transactions they are, and who is censored.
const OBSERVER: usize = 197;
const VICTIM: usize = 198;
const CLIENT: usize = 199;
/// Every so many transactions one is the victim's.
const VICTIM_EVERY: usize = 7;

pub fn is_victim(tx: &SignedTx) -> bool {
    // Real keys or not: the nonce says whose it is.
    (tx.body.nonce as usize).is_multiple_of(VICTIM_EVERY)
}

/// Valid transactions; what they do is nobody's business here.
pub fn transactions(plan: &Plan, chain: &Digest) -> Vec<SignedTx> {
    let victim = keys::signer(VICTIM, plan.real_signatures);
    let client = keys::signer(CLIENT, plan.real_signatures);
    let from = START_MS - 1_000;
    let tx = |nonce: usize| {
        let sender = if nonce.is_multiple_of(VICTIM_EVERY) { &victim } else { &client };
        let body = TxBody {
            chain: *chain,
            sender: sender.public_key(),
            nonce: nonce as u64,
            valid_from: TimeMs(from),
            valid_until: TimeMs(from + TX_VALIDITY_MS_MAX),
            action: Action::CloseTask(TaskId(Digest::ZERO)),
        };
        body.sign(&**sender)
    };
    (0..plan.txs).map(tx).collect()
}
