//! Machines joined by hand: messages arrive at once unless a scene holds them back,
//! syncs succeed, blocks execute as soon as they are committed.

use std::{collections::VecDeque, sync::Arc};
use twinfold_consensus::{
    Config, Effect, Event, HaltReason, Head, Machine, Record, Recovered, RecoveryError,
};
use twinfold_types::{
    Block, Committee, Digest, Epoch, Evidence, Height, PublicKey, SeatIndex, SecretKey, TimeMs,
    View,
    hash::Tag,
    key::{Signer, StrictEd25519},
    limits::{PROTOCOL_VERSION, VIEW_TIMEOUT_MS_MAX},
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
    /// Stable checkpoints that ended epochs.
    pub epoch_ends: Vec<CheckpointCertificate>,
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
    /// Length of epochs from the second on; the first lasts until `committee.ends`.
    pub epoch_ms: u64,
    /// Where the admins end the first epoch.
    pub ends_at: Option<Height>,
    /// Who goes on by a recovery, and the nodes that accepted it.
    pub recovery: Option<(Committee, Vec<usize>)>,
    /// Version of the rules from the second epoch on.
    pub protocol: u32,
    /// Messages that left a node, loop-backs not counted.
    pub sent: usize,
    /// Decides what arrives: (from, to, message).
    pub passes: fn(usize, usize, &ConsensusMessage) -> bool,
    queue: VecDeque<(usize, Event)>,
}

pub fn secret(index: usize) -> SecretKey {
    SecretKey::from_seed(&[index as u8 + 1; 32])
}

pub fn seat(index: usize) -> Seat {
    Seat::of(secret(index).public_key(), &format!("organisation {index}"))
}

pub fn everything(_: usize, _: usize, _: &ConsensusMessage) -> bool {
    true
}

/// A log, a chain, and its newest stable checkpoint.
pub type Disk = (Vec<Record>, Vec<(Block, Certificate)>, Option<CheckpointCertificate>);

impl TestNet {
    /// Seats, and one observer after them.
    pub fn new(seats: usize) -> Self {
        Self::with_first_epoch(seats, TimeMs(u64::MAX))
    }

    /// The same, with an end of the first epoch.
    pub fn with_first_epoch(seats: usize, ends: TimeMs) -> Self {
        let committee = Committee::new(Epoch(0), (0..seats).map(seat).collect());
        let committee = Committee { ends, ..committee };
        let mut net = Self {
            nodes: Vec::new(),
            now: START,
            chain: Digest::of_bytes(Tag::Genesis, b"scene"),
            committee,
            epoch_ms: u64::MAX,
            ends_at: None,
            recovery: None,
            protocol: PROTOCOL_VERSION,
            sent: 0,
            passes: everything,
            queue: VecDeque::new(),
        };
        for index in 0..=seats {
            let machine = net.machine(index, &[], None, Vec::new()).unwrap();
            net.nodes.push(TestNode {
                machine,
                log: Vec::new(),
                chain: Vec::new(),
                stable: None,
                epoch_ends: Vec::new(),
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
    ) -> Result<Machine, RecoveryError> {
        let config = Config {
            chain: self.chain,
            genesis_time: START,
            committee: self.voting_committee(index, chain, stable.as_ref()),
            own: self.key(index),
        };
        let head = chain.last().map_or(
            Head { height: Height(0), digest: self.chain, time: START },
            |(block, _)| Head {
                height: block.header.height,
                digest: block.digest(),
                time: block.header.time,
            },
        );
        let certificate = chain.last().map(|(_, certificate)| certificate.clone());
        let recovered = Recovered { head, certificate, stable, records };
        let signer = Arc::new(secret(index));
        let machine = Machine::new(config, signer, Arc::new(StrictEd25519), recovered)?;
        let kept = self.accepted(index).map(|committee| committee.anchor);
        Ok(match kept.filter(|kept| *kept > head.height) {
            Some(kept) => machine.following_until(kept),
            None => machine,
        })
    }

    /// The committee of the recovery, where this node accepted it.
    fn accepted(&self, index: usize) -> Option<&Committee> {
        let (committee, accepted) = self.recovery.as_ref()?;
        accepted.contains(&index).then_some(committee)
    }

    /// The committee that follows an epoch's last block: the observer takes seat 0 in odd epochs.
    fn committee_after(&self, epoch: Epoch, last: &Block) -> Committee {
        let holder = if epoch.0.is_multiple_of(2) { self.nodes.len() - 1 } else { 0 };
        let others = (1..self.committee.size()).map(seat);
        let seats = std::iter::once(seat(holder)).chain(others).collect();
        let (anchor, ends) = (last.header.height, last.header.time.plus(self.epoch_ms));
        Committee { anchor, ends, protocol: self.protocol, ..Committee::new(epoch.next(), seats) }
    }

    /// The committee of a block's epoch, and the next one's where the block is the last.
    fn committees(&self, chain: &[(Block, Certificate)]) -> (Committee, Option<Committee>) {
        let (mut running, mut next) = (self.committee.clone(), None);
        for (block, _) in chain {
            running = next.take().unwrap_or(running);
            if let Some((recovered, _)) = &self.recovery
                && recovered.epoch == block.header.epoch
            {
                running = recovered.clone();
            }
            let last = running.is_last(&block.header) || self.ends_at == Some(block.header.height);
            next = last.then(|| self.committee_after(running.epoch, block));
        }
        (running, next)
    }

    fn voting_committee(
        &self,
        index: usize,
        chain: &[(Block, Certificate)],
        stable: Option<&CheckpointCertificate>,
    ) -> Committee {
        let height = chain.last().map_or(Height(0), |(block, _)| block.header.height);
        if let Some(recovered) = self.accepted(index).filter(|it| it.anchor == height) {
            return recovered.clone();
        }
        let (running, next) = self.committees(chain);
        let handed_over =
            |next: &Committee| stable.is_some_and(|stable| stable.checkpoint.height == next.anchor);
        next.filter(handed_over).unwrap_or(running)
    }

    /// Takes a node into the next epoch once its ledger may.
    fn open_epoch(&mut self, index: usize) {
        let node = &self.nodes[index];
        let committee = self.voting_committee(index, &node.chain, node.stable.as_ref());
        if committee.epoch == node.machine.epoch().next()
            && node.machine.executed() == committee.anchor
        {
            let (now, signer) = (self.now, Arc::new(secret(index)));
            let recovered = self.accepted(index) == Some(&committee);
            let machine = &mut self.nodes[index].machine;
            let effects = match recovered {
                true => machine.open_recovered(now, committee, signer),
                false => machine.open_epoch(now, committee, signer),
            };
            effects.into_iter().for_each(|effect| self.perform(index, effect));
        }
    }

    /// Kills a node and starts it from its log and chain, the log compacted on request.
    pub fn restart(&mut self, index: usize, compact: bool) {
        let node = &mut self.nodes[index];
        if compact {
            node.log = node.machine.durable_records();
        }
        let (log, chain, stable) = (node.log.clone(), node.chain.clone(), node.stable.clone());
        let machine = self.machine(index, &chain, stable, log).unwrap();
        self.nodes[index].machine = machine;
        self.begin(index);
    }

    /// What a driver says first: what the ledger holds of its head, and that time passes.
    fn begin(&mut self, index: usize) {
        self.nodes[index].down = false;
        let chain = &self.nodes[index].chain;
        if let Some((block, _)) = chain.last() {
            let (_, next) = self.committees(chain);
            let next_committee = next.map(|next| next.digest());
            let checkpoint = Checkpoint { next_committee, ..checkpoint(block, Digest::ZERO) };
            let ends_at = self.ends_at.filter(|at| checkpoint.height < *at);
            self.queue.push_back((index, Event::Executed { checkpoint, ends_at }));
        }
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
        let machine =
            self.machine(index, &chain, stable.clone(), log.clone()).unwrap().asking_first();
        let node = &mut self.nodes[index];
        (node.machine, node.log, node.chain, node.stable) = (machine, log, chain, stable);
        self.begin(index);
    }

    /// A machine of this node's on an empty ledger, with records of a log.
    pub fn start_afresh(
        &self,
        index: usize,
        records: Vec<Record>,
    ) -> Result<Machine, RecoveryError> {
        self.machine(index, &[], None, records)
    }

    /// A node's connections come up.
    pub fn greet(&mut self, index: usize) {
        for other in (0..self.nodes.len()).filter(|other| *other != index) {
            let (peer, own) = (self.key(other), self.key(index));
            self.event(index, Event::Connected { peer });
            self.event(other, Event::Connected { peer: own });
        }
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
        let step = ms.clamp(1, 50);
        for _ in 0..ms.div_ceil(step) {
            self.now = self.now.plus(step);
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
            self.open_epoch(index);
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
                let mut checkpoint = checkpoint(&block, Digest::ZERO);
                node.chain.push((block, certificate));
                let (_, next) = self.committees(&self.nodes[index].chain);
                checkpoint.next_committee = next.map(|next| next.digest());
                let ends_at = self.ends_at.filter(|at| checkpoint.height < *at);
                self.queue.push_back((index, Event::Executed { checkpoint, ends_at }));
                // One block at a time, unless a scene wants more.
                self.queue.push_back((index, Event::Work { pending: false }));
            }
            Effect::Stable(certificate) => {
                if certificate.checkpoint.next_committee.is_some() {
                    node.epoch_ends.push(certificate.clone());
                }
                node.stable = Some(certificate);
            }
            Effect::ServeEpochEnd { to, epoch } => {
                let ended = node.epoch_ends.iter().find(|end| end.checkpoint.epoch == epoch);
                if let Some(end) = ended.cloned() {
                    let message = ConsensusMessage::Stable(Box::new(end));
                    self.perform(index, Effect::Send { to, message });
                }
            }
            Effect::ServeCommitted { to, from } => {
                let wanted = &node.chain[from.0 as usize - 1..];
                let epoch = wanted[0].0.header.epoch;
                let of_epoch = wanted.iter().take_while(|(block, _)| block.header.epoch == epoch);
                let (blocks, certificates): (Vec<_>, Vec<_>) = of_epoch.cloned().unzip();
                let certificate = certificates.last().unwrap().clone();
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
            protocol: self.committee.protocol,
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
        epoch: block.header.epoch,
        height: block.header.height,
        block: block.digest(),
        state_root,
        audit_size: block.header.height.0,
        audit_root: Digest::ZERO,
        next_committee: None,
    }
}
