//! Machines joined by hand: messages arrive at once unless a scene holds them back,
//! syncs succeed, blocks execute as soon as they are committed.

use std::{collections::VecDeque, sync::Arc};
use twinfold_consensus::{
    Config, Effect, Event, Evidence, HaltReason, Head, Machine, Record, Recovered,
};
use twinfold_types::{
    Block, Committee, Digest, Epoch, Height, PublicKey, SeatIndex, SecretKey, TimeMs, View,
    hash::Tag,
    key::{Signer, StrictEd25519},
    limits::VIEW_TIMEOUT_MS_MAX,
    message::{CommittedBlocks, ConsensusMessage},
    quorum::Seat,
    vote::{Certificate, Checkpoint, CheckpointCertificate, Vote, VoteBody, VoteKind},
};

pub const START: TimeMs = TimeMs(1_000_000);

pub struct TestNode {
    pub machine: Machine,
    pub log: Vec<Record>,
    pub chain: Vec<(Block, Certificate)>,
    pub stable: Option<CheckpointCertificate>,
    pub evidence: Vec<Evidence>,
    pub halt: Option<HaltReason>,
    /// Down: hears and says nothing.
    pub down: bool,
    /// Added to the time of what this node proposes.
    pub proposal_ahead_ms: u64,
}

pub struct TestNet {
    pub nodes: Vec<TestNode>,
    pub now: TimeMs,
    pub chain: Digest,
    pub committee: Committee,
    /// Messages that left a node, loop-backs not counted.
    pub sent: usize,
    /// Decides what arrives: (from, to, message).
    pub passes: fn(usize, usize, &ConsensusMessage) -> bool,
    queue: VecDeque<(usize, Event)>,
}

pub fn secret(index: usize) -> SecretKey {
    SecretKey::from_seed(&[index as u8 + 1; 32])
}

pub fn everything(_: usize, _: usize, _: &ConsensusMessage) -> bool {
    true
}

/// A log, a chain, and its newest stable checkpoint.
pub type Disk = (Vec<Record>, Vec<(Block, Certificate)>, Option<CheckpointCertificate>);

impl TestNet {
    /// Seats, and one observer after them.
    pub fn new(seats: usize) -> Self {
        let seat = |index| Seat {
            key: secret(index).public_key(),
            organisation: format!("organisation {index}"),
        };
        let committee = Committee::new(Epoch(0), (0..seats).map(seat).collect());
        let mut net = Self {
            nodes: Vec::new(),
            now: START,
            chain: Digest::of_bytes(Tag::Genesis, b"scene"),
            committee,
            sent: 0,
            passes: everything,
            queue: VecDeque::new(),
        };
        for index in 0..=seats {
            let machine = net.machine(index, &[], None, Vec::new());
            net.nodes.push(TestNode {
                machine,
                log: Vec::new(),
                chain: Vec::new(),
                stable: None,
                evidence: Vec::new(),
                halt: None,
                down: false,
                proposal_ahead_ms: 0,
            });
        }
        net
    }

    fn machine(
        &self,
        index: usize,
        chain: &[(Block, Certificate)],
        stable: Option<CheckpointCertificate>,
        records: Vec<Record>,
    ) -> Machine {
        let seat = (index < self.committee.size()).then_some(SeatIndex(index as u16));
        let config = Config {
            chain: self.chain,
            genesis_time: START,
            committee: self.committee.clone(),
            seat,
        };
        let head = chain.last().map_or(
            Head { height: Height(0), digest: self.chain, time: START },
            |(block, _)| Head {
                height: block.header.height,
                digest: block.digest(),
                time: block.header.time,
            },
        );
        let recovered = Recovered { head, stable, records };
        Machine::new(config, Arc::new(secret(index)), Arc::new(StrictEd25519), recovered).unwrap()
    }

    /// Kills a node and starts it from its log and chain, the log compacted on request.
    pub fn restart(&mut self, index: usize, compact: bool) {
        let node = &mut self.nodes[index];
        if compact {
            node.log = node.machine.durable_records();
        }
        let (log, chain, stable) = (node.log.clone(), node.chain.clone(), node.stable.clone());
        let machine = self.machine(index, &chain, stable, log);
        self.nodes[index].machine = machine;
        self.nodes[index].down = false;
        self.event(index, Event::Tick);
    }

    /// What is on a node's disk.
    pub fn copy(&self, index: usize) -> Disk {
        self.copy_of(index, false)
    }

    pub fn copy_of(&self, index: usize, compact: bool) -> Disk {
        let node = &self.nodes[index];
        let log = if compact { node.machine.durable_records() } else { node.log.clone() };
        (log, node.chain.clone(), node.stable.clone())
    }

    /// Starts a node from a copy of its disk, as a driver would.
    pub fn restore(&mut self, index: usize, (log, chain, stable): Disk) {
        let machine = self.machine(index, &chain, stable.clone(), log.clone()).asking_first();
        let node = &mut self.nodes[index];
        (node.machine, node.log, node.chain, node.stable) = (machine, log, chain, stable);
        node.down = false;
        self.event(index, Event::Tick);
    }

    pub fn key(&self, index: usize) -> PublicKey {
        secret(index).public_key()
    }

    pub fn event(&mut self, index: usize, event: Event) {
        self.queue.push_back((index, event));
        self.run();
    }

    /// Everyone has something to order, or nobody has.
    pub fn work(&mut self, pending: bool) {
        for index in 0..self.nodes.len() {
            self.queue.push_back((index, Event::Work { pending }));
        }
        self.run();
    }

    /// Time passes in small steps, with a tick for everyone at each.
    pub fn pass(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(50) {
            self.now = self.now.plus(50);
            for index in 0..self.nodes.len() {
                self.event(index, Event::Tick);
            }
        }
    }

    /// Every view's timer runs out.
    pub fn pass_time_out(&mut self) {
        self.pass(VIEW_TIMEOUT_MS_MAX / 20);
    }

    pub fn deliver(&mut self, from: usize, to: usize, message: ConsensusMessage) {
        let from = self.key(from);
        self.event(to, Event::Message { from, message });
    }

    fn run(&mut self) {
        while let Some((index, event)) = self.queue.pop_front() {
            if self.nodes[index].down {
                continue;
            }
            let effects = self.nodes[index].machine.step(self.now, event);
            for effect in effects {
                self.perform(index, effect);
            }
        }
    }

    fn perform(&mut self, index: usize, effect: Effect) {
        let node = &mut self.nodes[index];
        match effect {
            Effect::Persist(record) => node.log.push(record),
            Effect::Broadcast(message) => {
                for to in 0..self.nodes.len() {
                    self.send(index, to, message.clone());
                }
            }
            Effect::Send { to, message } => {
                let to = (0..self.nodes.len()).find(|node| self.key(*node) == to).unwrap();
                self.send(index, to, message);
            }
            Effect::Build { view, parent, parent_time, .. } => {
                let time = self.now.max(parent_time.plus(1)).plus(node.proposal_ahead_ms);
                self.queue.push_back((index, Event::Built { view, parent, time, txs: vec![] }));
                // What it carries waits no more.
                self.queue.push_back((index, Event::Work { pending: false }));
            }
            Effect::Commit { block, certificate } => {
                let checkpoint = checkpoint(&block, Digest::ZERO);
                node.chain.push((block, certificate));
                self.queue.push_back((index, Event::Executed { checkpoint }));
                // One block at a time, unless a scene wants more.
                self.queue.push_back((index, Event::Work { pending: false }));
            }
            Effect::Stable(certificate) => node.stable = Some(certificate),
            Effect::ServeCommitted { to, from } => {
                let blocks: Vec<Block> = node
                    .chain
                    .iter()
                    .skip(from.0 as usize - 1)
                    .map(|(block, _)| block.clone())
                    .collect();
                let certificate = node.chain.last().unwrap().1.clone();
                let message =
                    ConsensusMessage::Committed(Box::new(CommittedBlocks { blocks, certificate }));
                self.perform(index, Effect::Send { to, message });
            }
            Effect::Evidence(evidence) => node.evidence.push(*evidence),
            Effect::Halt(reason) => node.halt = Some(reason),
            Effect::ServeBlock { .. } | Effect::Timer(_) | Effect::Returned(_) => {}
        }
    }

    fn send(&mut self, from: usize, to: usize, message: ConsensusMessage) {
        self.sent += usize::from(from != to);
        if from == to || (!self.nodes[from].down && (self.passes)(from, to, &message)) {
            let from = self.key(from);
            self.queue.push_back((to, Event::Message { from, message }));
        }
    }

    pub fn heights(&self) -> Vec<u64> {
        self.nodes.iter().map(|node| node.machine.committed().height.0).collect()
    }

    pub fn views(&self) -> Vec<u64> {
        self.nodes.iter().map(|node| node.machine.installed_view().0).collect()
    }

    /// A vote signed by whom the scene wants.
    pub fn vote(
        &self,
        index: usize,
        kind: VoteKind,
        view: u64,
        height: u64,
        digest: Digest,
    ) -> Vote {
        let body =
            VoteBody { kind, epoch: Epoch(0), view: View(view), height: Height(height), digest };
        let statement = body.statement(&self.chain, &self.committee.digest());
        let signature = secret(index).sign(&statement);
        Vote { body, seat: SeatIndex(index as u16), signature }
    }

    /// A block at height 1, valid by itself.
    pub fn first_block(&self, time: TimeMs) -> Block {
        let header = twinfold_types::Header {
            chain: self.chain,
            epoch: Epoch(0),
            height: Height(1),
            parent: self.chain,
            time,
            body: twinfold_types::block::body_digest(&[]),
        };
        Block { header, txs: Vec::new() }
    }
}

pub fn checkpoint(block: &Block, state_root: Digest) -> Checkpoint {
    Checkpoint {
        epoch: Epoch(0),
        height: block.header.height,
        block: block.digest(),
        state_root,
        audit_size: block.header.height.0,
        audit_root: Digest::ZERO,
        next_committee: None,
    }
}
