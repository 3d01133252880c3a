//! A genesis and the nodes on it.

use crate::{
    consortium::Consortium,
    dice::Dice,
    disk::Disk,
    keys,
    ledger::Ledger,
    liar::Liar,
    lie::{Lie, WorldFault},
    node::Node,
    plan::Plan,
    world::START_MS,
};
use std::{collections::VecDeque, sync::Arc};
use twinfold_consensus_planted::{Config, Docket, Machine, Planted, Recovered, RecoveryError};
use twinfold_types::{
    Committee, Digest, PublicKey, Signature, SignedTx, TimeMs,
    hash::Tag,
    key::{Signer, Statement, Verifier},
};

/// A mistake: takes whatever it is given.
struct TakesAll;

impl Verifier for TakesAll {
    fn verify(&self, _: &PublicKey, _: &Statement, _: &Signature) -> bool {
        true
    }
}

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
    fn new(plan: &Plan, chain: Digest, committee: Committee, seat: Option<usize>) -> Self {
        // An observer has a key of its own.
        let key = seat.unwrap_or(OBSERVER);
        let signer = keys::signer(key, plan.real_signatures);
        let config =
            Config { chain, genesis_time: TimeMs(START_MS), committee, own: signer.public_key() };
        Self {
            config,
            signer,
            verifier: match plan.has(WorldFault::SignaturesUnchecked) {
                true => Arc::new(TakesAll),
                false => keys::verifier(plan.real_signatures),
            },
            view_heights: plan.view_heights,
            planted: plan.planted(),
        }
    }

    pub fn machine(&self, recovered: Recovered) -> Result<Machine, RecoveryError> {
        let (signer, verifier) = (self.signer.clone(), self.verifier.clone());
        let machine = Machine::new(self.config.clone(), signer, verifier, recovered)?;
        let machine = machine.rotating_every(self.view_heights).asking_first();
        Ok(match self.planted {
            Some(mistake) => machine.with_planted(mistake),
            None => machine,
        })
    }
}

pub fn chain() -> Digest {
    Digest::of_bytes(Tag::Genesis, b"simulated")
}

/// The seats in order, the observer, then the second of each pair of twins.
pub fn nodes(plan: &Plan, consortium: &Arc<Consortium>) -> Vec<Node> {
    let mut dice = Dice::new(plan.seed ^ 0x6e6f_6465);
    let chain = chain();
    let mut seats: Vec<Option<usize>> = (0..plan.seats).map(Some).collect();
    seats.extend(plan.observer.then_some(None));
    let twins = plan.liars.iter().filter(|(_, lie)| *lie == Lie::Twins);
    seats.extend(twins.map(|(seat, _)| Some(*seat)));
    let slow = dice.index(plan.seats);
    let node = |(index, seat): (usize, Option<usize>)| Node {
        index,
        setup: MachineSetup::new(plan, chain, consortium.committee.clone(), seat),
        liar: seat.and_then(|seat| plan.lie(seat)).map(|lie| Liar::new(lie, plan)),
        skew_ms: draw_skew(plan, &mut dice),
        block_txs: plan.block_txs,
        sync_ms_max: if index == slow { plan.slow_sync_ms_max } else { plan.sync_ms_max },
        machine: None,
        disk: Disk::new(chain, TimeMs(START_MS), Ledger::new(consortium.clone(), plan.flaw())),
        life: 0,
        inbox: Vec::new(),
        turn: None,
        to_execute: VecDeque::new(),
        wake: None,
        pool: Default::default(),
        build: None,
        docket: docket(plan.planted()),
        tending: false,
        absent: plan.joins_ms.is_some() && seat.is_none(),
        lost: false,
    };
    seats.into_iter().enumerate().map(node).collect()
}

/// Evidence on its way to the ledger; none yet.
pub fn docket(planted: Option<Planted>) -> Docket {
    match planted {
        Some(mistake) => Docket::default().with_planted(mistake),
        None => Docket::default(),
    }
}

pub fn draw_skew(plan: &Plan, dice: &mut Dice) -> i64 {
    dice.between(0, 2 * plan.skew_ms_max) as i64 - plan.skew_ms_max as i64
}

/// A key that has no seat.
pub const OBSERVER: usize = 197;
/// One transaction in so many is a victim of censors.
const VICTIM_EVERY: u64 = 7;

pub fn is_victim(tx: &SignedTx) -> bool {
    tx.body.nonce.is_multiple_of(VICTIM_EVERY)
}

/// Whoever has a seat signs for it here: some lies are true signatures of everybody.
pub fn signer_of(key: &PublicKey, real: bool) -> Arc<dyn Signer> {
    let mut all = (0..=OBSERVER).map(|index| keys::signer(index, real));
    all.find(|signer| signer.public_key() == *key).expect("every seat's key is one of these")
}
