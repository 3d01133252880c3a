//! The simulated world: virtual time, a network that fails, and the nodes in it.

use crate::{
    dice::Dice,
    invariants::{
        agreement::Agreement, durability::Durability, exactly_once::ExactlyOnce, heals,
        single_vote::SingleVote,
    },
    liar,
    node::Node,
    plan::{Plan, Planted},
    setup,
};
use std::collections::{BTreeMap, BTreeSet};
use twinfold_consensus::{Effect, Event, Evidence};
use twinfold_types::{
    Height, PublicKey, SeatIndex, SignedTx, View,
    message::ConsensusMessage,
    vote::{Vote, VoteBody},
};

/// Milliseconds since the Unix epoch when a run starts.
pub const START_MS: u64 = 1_750_000_000_000;
const SYNC_MS_MAX: u64 = 8;
const EXECUTE_MS_MAX: u64 = 30;
const HEALED_DELAY_MS_MAX: u64 = 50;
/// After everything is executed: time to settle, then time in which nothing is said.
const SETTLE_MS: u64 = 40_000;
const SILENCE_MS: u64 = 5_000;

enum Action {
    Deliver { from: usize, to: usize, message: ConsensusMessage },
    Connect { a: usize, b: usize },
    Wake { node: usize, life: u64 },
    Synced { node: usize, life: u64 },
    Execute { node: usize, life: u64 },
    Submit { node: usize, tx: usize },
    Crash { node: usize },
    Restart { node: usize },
    Partition { groups: u64 },
}

pub struct World {
    pub plan: Plan,
    dice: Dice,
    now_ms: u64,
    queue: BTreeMap<(u64, u64), Action>,
    queued: u64,
    nodes: Vec<Node>,
    index_of: BTreeMap<PublicKey, usize>,
    txs: Vec<SignedTx>,
    /// Bit i: the side of node i; messages do not cross.
    groups: u64,
    healed: bool,
    /// Nodes that crash in the middle of their next turn.
    doomed: BTreeSet<usize>,
    /// What equivocators have voted for already.
    echoed: BTreeSet<(usize, VoteBody)>,
    sent: u64,
    trace: bool,
    agreement: Agreement,
    single_vote: SingleVote,
    durability: Durability,
    exactly_once: ExactlyOnce,
    failure: Option<String>,
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Summary {
    pub height: u64,
    pub view: u64,
    pub virtual_ms: u64,
    pub sent: u64,
}

impl World {
    pub fn new(plan: Plan, trace: bool) -> Self {
        let nodes = setup::nodes(&plan);
        let index_of = nodes.iter().map(|node| (node.signer.public_key(), node.index)).collect();
        let txs = setup::transactions(plan.txs, &nodes[0].config.chain);
        let mut world = Self {
            dice: Dice::new(plan.seed ^ 0x7477_696e),
            plan,
            now_ms: START_MS,
            queue: BTreeMap::new(),
            queued: 0,
            nodes,
            index_of,
            txs,
            groups: 0,
            healed: false,
            doomed: BTreeSet::new(),
            echoed: BTreeSet::new(),
            sent: 0,
            trace,
            agreement: Agreement::default(),
            single_vote: SingleVote::default(),
            durability: Durability::default(),
            exactly_once: ExactlyOnce::default(),
            failure: None,
        };
        world.schedule_work();
        world.schedule_faults();
        for node in 0..world.nodes.len() {
            world.at(0, Action::Restart { node });
        }
        world
    }

    /// The whole run: faults, then none, then everything must be executed everywhere.
    pub fn run(mut self) -> Result<Summary, String> {
        self.run_until(START_MS + self.plan.faults_ms, |_| false)?;
        self.heal();
        let view = self.highest_view();
        let rotations_before = self.highest_height() / self.plan.view_heights;
        let deadline = self.now_ms + heals::HEAL_MS_MAX;
        let done = self.run_until(deadline, World::is_done)?;
        if !done {
            return Err(format!("heals: {}", self.describe()));
        }
        let rotations = self.highest_height() / self.plan.view_heights - rotations_before + 1;
        heals::views_passed(self.plan.seats, view, self.highest_view(), rotations)?;
        let summary = Summary {
            height: self.highest_height(),
            view: self.highest_view().0,
            virtual_ms: self.now_ms - START_MS,
            sent: self.sent,
        };
        for node in self.nodes.iter().filter(|node| node.is_honest()) {
            self.durability.survives_in(node.index, node.disk.digests())?;
        }
        self.falls_silent()?;
        Ok(summary)
    }

    /// An idle network says nothing. A validator that left its view alone keeps asking.
    fn falls_silent(&mut self) -> Result<(), String> {
        self.run_until(self.now_ms + SETTLE_MS, |_| false)?;
        let sent = self.sent;
        self.run_until(self.now_ms + SILENCE_MS, |_| false)?;
        let changing = self.nodes.iter().filter_map(|node| node.machine.as_ref());
        let changing = changing.filter(|machine| machine.view() > machine.installed_view());
        if sent != self.sent && self.plan.liars.is_empty() && changing.count() == 0 {
            return Err(format!("idle: {} messages. {}", self.sent - sent, self.describe()));
        }
        Ok(())
    }

    fn run_until(&mut self, end_ms: u64, done: fn(&World) -> bool) -> Result<bool, String> {
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > end_ms {
                break;
            }
            let ((time, _), action) = entry.remove_entry();
            self.now_ms = time;
            let check = matches!(action, Action::Execute { .. });
            self.perform(action);
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
            if check && done(self) {
                return Ok(true);
            }
        }
        self.now_ms = end_ms;
        Ok(done(self))
    }

    fn is_done(&self) -> bool {
        let mut honest = self.nodes.iter().filter(|node| node.is_honest());
        honest.all(|node| self.txs.iter().all(|tx| node.disk.has_executed(&tx.id())))
    }

    fn at(&mut self, delay_ms: u64, action: Action) {
        self.queued += 1;
        self.queue.insert((self.now_ms + delay_ms, self.queued), action);
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Deliver { from, to, message } => self.deliver(from, to, message),
            Action::Connect { a, b } => self.connect(a, b),
            Action::Wake { node, life } | Action::Execute { node, life } | Action::Synced { node, life }
                if life != self.nodes[node].life => {}
            Action::Wake { node, .. } => self.start_turn(node),
            Action::Synced { node, .. } => self.finish_turn(node),
            Action::Execute { node, .. } => self.execute(node),
            Action::Submit { node, tx } => {
                self.nodes[node].pool.push(self.txs[tx].clone());
                self.start_turn(node);
            }
            Action::Crash { .. } | Action::Partition { .. } if self.healed => {}
            Action::Crash { node } => self.crash_soon(node),
            Action::Restart { node } => self.restart(node),
            Action::Partition { groups } => self.partition(groups),
        }
    }
}

/// Faults.
impl World {
    fn schedule_work(&mut self) {
        let after = 5;
        for tx in 0..self.txs.len() {
            let late = tx + after >= self.txs.len();
            let faults_ms = self.plan.faults_ms;
            let time =
                if late { faults_ms + self.dice.between(1, 3_000) } else { self.dice.between(0, faults_ms) };
            for node in 0..self.nodes.len() {
                let gossip = self.dice.between(0, 200);
                self.at(time + gossip, Action::Submit { node, tx });
            }
        }
    }

    fn schedule_faults(&mut self) {
        let end = self.plan.faults_ms;
        for _ in 0..self.plan.crashes {
            let node = self.dice.index(self.nodes.len());
            let (time, pause) = (self.dice.between(0, end), self.dice.between(200, 8_000));
            self.at(time, Action::Crash { node });
            self.at(time + pause, Action::Restart { node });
        }
        for _ in 0..self.plan.kills_of_all {
            let time = self.dice.between(0, end);
            for node in 0..self.nodes.len() {
                let pause = self.dice.between(100, 3_000);
                self.at(time, Action::Crash { node });
                self.at(time + pause, Action::Restart { node });
            }
        }
        for _ in 0..self.plan.partitions {
            let (time, length) = (self.dice.between(0, end), self.dice.between(1_000, 10_000));
            let groups = self.dice.number();
            self.at(time, Action::Partition { groups });
            self.at(time + length, Action::Partition { groups: 0 });
        }
    }

    /// Half of the crashes hit in the middle of a turn.
    fn crash_soon(&mut self, node: usize) {
        if self.nodes[node].turn.is_none() && self.dice.chance(50) {
            self.doomed.insert(node);
        } else {
            self.crash(node);
        }
    }

    fn crash(&mut self, node: usize) {
        self.note(|| format!("crash {node}"));
        self.nodes[node].crash();
    }

    fn restart(&mut self, node: usize) {
        if self.nodes[node].is_up() {
            return;
        }
        self.doomed.remove(&node);
        self.nodes[node].start();
        let head = self.nodes[node].disk.head();
        self.note(|| format!("start {node} at height {}", head.height));
        self.exactly_once.started(node, head.height);
        for peer in 0..self.nodes.len() {
            let delay = self.delay();
            self.at(delay, Action::Connect { a: node, b: peer });
        }
        self.start_turn(node);
    }

    fn partition(&mut self, groups: u64) {
        self.note(|| format!("partition {groups:b}"));
        self.groups = groups;
        self.connect_all();
    }

    fn connect_all(&mut self) {
        for a in 0..self.nodes.len() {
            for b in 0..a {
                let delay = self.delay();
                self.at(delay, Action::Connect { a, b });
            }
        }
    }

    fn connect(&mut self, a: usize, b: usize) {
        if a == b || !self.is_open(a, b) {
            return;
        }
        for (node, peer) in [(a, b), (b, a)] {
            let peer = self.nodes[peer].signer.public_key();
            self.nodes[node].inbox.push(Event::Connected { peer });
            self.start_turn(node);
        }
    }

    fn is_open(&self, a: usize, b: usize) -> bool {
        let side = |node: usize| self.groups >> node & 1;
        self.nodes[a].is_up() && self.nodes[b].is_up() && side(a) == side(b)
    }

    fn heal(&mut self) {
        self.note(|| "heal".into());
        self.healed = true;
        self.groups = 0;
        self.doomed.clear();
        for node in 0..self.nodes.len() {
            self.restart(node);
        }
        self.connect_all();
    }

    fn delay(&mut self) -> u64 {
        let most = if self.healed { HEALED_DELAY_MS_MAX } else { self.plan.delay_ms_max };
        self.dice.between(1, most)
    }
}

/// Turns and effects.
impl World {
    fn start_turn(&mut self, node: usize) {
        if !self.nodes[node].is_up() || self.nodes[node].turn.is_some() {
            return;
        }
        self.nodes[node].take_turn(self.now_ms);
        if self.plan.planted == Some(Planted::SpokenBeforeDurable) {
            let effects = self.nodes[node].turn.as_mut().map(|(_, effects)| std::mem::take(effects));
            self.let_out(node, effects.unwrap_or_default());
        }
        if self.doomed.remove(&node) {
            return self.crash(node);
        }
        let life = self.nodes[node].life;
        let delay = self.dice.between(0, SYNC_MS_MAX);
        self.at(delay, Action::Synced { node, life });
    }

    fn finish_turn(&mut self, node: usize) {
        let Some((records, effects)) = self.nodes[node].turn.take() else { return };
        if self.plan.planted != Some(Planted::RecordsLost) {
            self.nodes[node].disk.log.extend(records);
            let compact = self.dice.chance(2);
            if let Some(machine) = self.nodes[node].machine.as_ref().filter(|_| compact) {
                self.nodes[node].disk.log = machine.durable_records();
            }
        }
        self.let_out(node, effects);
        if !self.nodes[node].inbox.is_empty() || self.nodes[node].build.is_some() {
            let life = self.nodes[node].life;
            self.at(0, Action::Wake { node, life });
        }
    }

    fn let_out(&mut self, node: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Persist(_) | Effect::Returned(_) => {}
                Effect::Broadcast(message) => self.broadcast(node, message),
                Effect::Send { to, message } => self.send_to_key(node, to, message),
                Effect::Build { view, parent, parent_time, .. } => {
                    self.nodes[node].build = Some((view, parent, parent_time));
                }
                Effect::Commit { block, certificate } => self.commit(node, block, certificate),
                Effect::Stable(certificate) => self.nodes[node].disk.stable = Some(certificate),
                Effect::ServeCommitted { to, from } => {
                    if let Some(blocks) = self.nodes[node].disk.committed(from) {
                        self.send_to_key(node, to, ConsensusMessage::Committed(Box::new(blocks)));
                    }
                }
                Effect::ServeBlock { to, height, digest } => {
                    if let Some(block) = self.nodes[node].disk.block(height, &digest) {
                        self.send_to_key(node, to, ConsensusMessage::Block(Box::new(block)));
                    }
                }
                Effect::Timer(time) => {
                    self.nodes[node].wake = Some(time);
                    let clock = self.nodes[node].clock(self.now_ms);
                    let life = self.nodes[node].life;
                    self.at(time.0.saturating_sub(clock.0), Action::Wake { node, life });
                }
                Effect::Evidence(evidence) => self.check_evidence(&evidence),
                Effect::Halt(reason) => self.fail(format!("node {node} halts: {reason}")),
            }
        }
    }

    fn commit(
        &mut self,
        node: usize,
        block: twinfold_types::Block,
        certificate: twinfold_types::vote::Certificate,
    ) {
        let (height, digest) = (block.header.height, block.digest());
        self.note(|| format!("{node} commits {height} {digest:?} by view {}", certificate.body.view));
        if self.nodes[node].is_honest() {
            let agreement = self.agreement.committed(node, height, digest);
            let once = self.exactly_once.committed(node, height);
            self.durability.acknowledged(height, digest);
            self.check(agreement.and(once));
        }
        self.nodes[node].to_execute.push_back((block, certificate));
        if self.nodes[node].to_execute.len() == 1 {
            self.execute_later(node);
        }
    }

    fn execute_later(&mut self, node: usize) {
        let life = self.nodes[node].life;
        let delay = self.dice.between(1, EXECUTE_MS_MAX);
        self.at(delay, Action::Execute { node, life });
    }

    fn execute(&mut self, node: usize) {
        let Some((block, certificate)) = self.nodes[node].to_execute.pop_front() else { return };
        let checkpoint = self.nodes[node].disk.execute(block, certificate);
        self.nodes[node].inbox.push(Event::Executed { checkpoint });
        if !self.nodes[node].to_execute.is_empty() {
            self.execute_later(node);
        }
        self.start_turn(node);
    }

    fn check_evidence(&mut self, evidence: &Evidence) {
        let seat = match evidence {
            Evidence::Votes(vote, _) => vote.seat,
            Evidence::ViewChanges(header, _) => header.seat,
            Evidence::Checkpoints(vote, _) => vote.seat,
        };
        if self.nodes[seat.index()].is_honest() && self.plan.planted.is_none() {
            self.fail(format!("evidence names the honest seat {seat}: {evidence:?}"));
        }
    }
}

/// The network.
impl World {
    fn broadcast(&mut self, node: usize, message: ConsensusMessage) {
        let mut message = message;
        if self.plan.planted == Some(Planted::ClaimsForgotten)
            && let ConsensusMessage::ViewChange(change) = &mut message
        {
            **change = liar::without_claim(&self.nodes[node], change);
        }
        self.observe(node, &message);
        let from = self.nodes[node].signer.public_key();
        self.nodes[node].inbox.push(Event::Message { from, message: message.clone() });
        let peers = self.nodes.len();
        let messages = liar::distort(&self.nodes[node], &message, peers, &mut self.dice);
        for (to, message) in messages {
            self.send(node, to, message);
        }
    }

    fn send_to_key(&mut self, from: usize, to: PublicKey, message: ConsensusMessage) {
        self.observe(from, &message);
        if let Some(to) = self.index_of.get(&to).copied() {
            self.send(from, to, message);
        }
    }

    fn send(&mut self, from: usize, to: usize, message: ConsensusMessage) {
        if from == to {
            return;
        }
        self.sent += 1;
        let drop = !self.healed && self.dice.chance(self.plan.drop_percent);
        let copies = if self.dice.chance(self.plan.duplicate_percent) { 2 } else { 1 };
        for _ in 0..if drop { 0 } else { copies } {
            let (delay, message) = (self.delay(), message.clone());
            self.at(delay, Action::Deliver { from, to, message });
        }
    }

    fn deliver(&mut self, from: usize, to: usize, message: ConsensusMessage) {
        if !self.is_open(from, to) {
            return;
        }
        for echo in liar::echo(&self.nodes[to], &message) {
            if let ConsensusMessage::Vote(vote) = &echo
                && self.echoed.insert((to, vote.body))
            {
                for peer in 0..self.nodes.len() {
                    self.send(to, peer, echo.clone());
                }
            }
        }
        let from = self.nodes[from].signer.public_key();
        self.nodes[to].inbox.push(Event::Message { from, message });
        self.start_turn(to);
    }

    /// What an honest node says.
    fn observe(&mut self, node: usize, message: &ConsensusMessage) {
        if self.trace && !matches!(message, ConsensusMessage::Status(_)) {
            let text = format!("{message:?}");
            self.note(|| format!("{node} says {}", text.chars().take(170).collect::<String>()));
        }
        let honest = self.nodes[node].is_honest();
        let own = |seat: SeatIndex| honest && seat.index() == node;
        let spoke: Option<Vote> = match message {
            ConsensusMessage::PrePrepare { vote, .. } | ConsensusMessage::Vote(vote) => {
                own(vote.seat).then(|| vote.clone())
            }
            _ => None,
        };
        if let Some(vote) = spoke {
            let result = self.single_vote.spoke(&vote);
            self.check(result);
        }
        if let ConsensusMessage::ViewChange(change) = message
            && own(change.header.seat)
        {
            let result = self.single_vote.changed(change);
            self.check(result);
        }
    }

    fn check(&mut self, result: Result<(), String>) {
        if let Err(failure) = result {
            self.fail(failure);
        }
    }

    fn fail(&mut self, failure: String) {
        self.failure.get_or_insert(failure);
    }

    fn note(&self, text: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>7} {}", self.now_ms - START_MS, text());
        }
    }

    fn highest_view(&self) -> View {
        let machines = self.nodes.iter().filter_map(|node| node.machine.as_ref());
        machines.map(|machine| machine.view()).max().unwrap_or_default()
    }

    fn highest_height(&self) -> u64 {
        let honest = self.nodes.iter().filter(|node| node.is_honest());
        honest.map(|node| node.disk.head().height).max().unwrap_or(Height(0)).0
    }

    fn describe(&self) -> String {
        let states = self.nodes.iter().map(|node| {
            let machine = node.machine.as_ref().map(|machine| {
                format!(
                    "view {}/{} committed {} stable {:?}",
                    machine.installed_view(),
                    machine.view(),
                    machine.committed().height,
                    machine.stable().map(|stable| stable.checkpoint.height),
                )
            });
            format!("node {} {:?} {machine:?} waiting {}", node.index, node.lie, node.waiting().len())
        });
        states.collect::<Vec<_>>().join("; ")
    }
}
