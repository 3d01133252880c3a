//! A genesis, the nodes on it, and something to order.

use crate::{dice::Dice, disk::Disk, keys, node::Node, plan::Plan, world::START_MS};
use std::collections::VecDeque;
use twinfold_consensus_planted::Config;
use twinfold_types::{
    Committee, Digest, Epoch, SeatIndex, SignedTx, TaskId, TimeMs,
    hash::Tag,
    limits::TX_VALIDITY_MS_MAX,
    quorum::Seat,
    tx::{Action, TxBody},
};

const SKEW_MS_MAX: u64 = 300;

pub fn nodes(plan: &Plan) -> Vec<Node> {
    let mut dice = Dice::new(plan.seed ^ 0x6e6f_6465);
    let chain = Digest::of_bytes(Tag::Genesis, b"simulated");
    let seats = (0..plan.seats).map(|index| Seat {
        key: keys::signer(index, plan.real_signatures).public_key(),
        organisation: format!("organisation {index}"),
    });
    let committee = Committee::new(Epoch(0), seats.collect());
    let count = plan.seats + usize::from(plan.observer);
    let node = |index: usize| Node {
        index,
        config: Config {
            chain,
            genesis_time: TimeMs(START_MS),
            committee: committee.clone(),
            seat: (index < plan.seats).then_some(SeatIndex(index as u16)),
        },
        signer: keys::signer(index, plan.real_signatures),
        verifier: keys::verifier(plan.real_signatures),
        lie: plan.lie(index),
        skew_ms: dice.between(0, 2 * SKEW_MS_MAX) as i64 - SKEW_MS_MAX as i64,
        view_heights: plan.view_heights,
        block_txs: plan.block_txs,
        planted: plan.planted(),
        machine: None,
        disk: Disk::new(chain, TimeMs(START_MS)),
        life: 0,
        inbox: Vec::new(),
        turn: None,
        to_execute: VecDeque::new(),
        wake: None,
        pool: Vec::new(),
        ordered: Default::default(),
        build: None,
        seen_changes: Vec::new(),
    };
    (0..count).map(node).collect()
}

/// Whose transactions they are: nobody's seat.
const CLIENT: usize = 199;

/// Valid transactions; what they do is nobody's business here.
pub fn transactions(plan: &Plan, chain: &Digest) -> Vec<SignedTx> {
    let sender = keys::signer(CLIENT, plan.real_signatures);
    let from = START_MS - 1_000;
    let body = |nonce: usize| TxBody {
        chain: *chain,
        sender: sender.public_key(),
        nonce: nonce as u64,
        valid_from: TimeMs(from),
        valid_until: TimeMs(from + TX_VALIDITY_MS_MAX),
        action: Action::CloseTask(TaskId(Digest::ZERO)),
    };
    (0..plan.txs).map(|nonce| body(nonce).sign(&*sender)).collect()
}
