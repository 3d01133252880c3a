//! A network of agreement cores in virtual time: links with a delay, senders with a bandwidth, syncs
//! with a price; signatures and encodings are real. What processors do takes no virtual time: it is
//! measured as the CPU time of the whole run.

use std::{collections::BTreeMap, sync::Arc};
use twinfold_consensus::{Config, Effect, Event, Head, Machine, Recovered};
use twinfold_types::{
    Committee, Digest, Epoch, Height, PublicKey, SecretKey, SignedTx, TimeMs, codec,
    hash::Tag,
    key::{Signer, StrictEd25519},
    message::ConsensusMessage,
    quorum::Seat,
    vote::Checkpoint,
};

const START_MS: u64 = 1_750_000_000_000;
/// One synced write of a turn's records.
const SYNC_US: u64 = 200;

/// What a network is like.
#[derive(Clone, Copy)]
pub struct Shape {
    pub seats: usize,
    /// Nodes in all; those without a seat follow.
    pub nodes: usize,
    pub link_us: u64,
    pub bytes_per_us: u64,
    pub heights: u64,
    /// The next block is proposed when the one before is committed everywhere.
    pub one_by_one: bool,
}

/// What a run came to.
pub struct Outcome {
    /// For each height: from the proposal until half of the seats, and until all, had committed it.
    pub half_us: Vec<f64>,
    pub all_us: Vec<f64>,
    pub messages: u64,
    pub bytes: u64,
    /// Virtual time from the first proposal to the last commit.
    pub took_us: u64,
    pub views: u64,
}

#[expect(clippy::large_enum_variant, reason = "nearly all are events")]
enum Action {
    Event(Event),
    Tick(TimeMs),
}

struct Node {
    machine: Machine,
    key: PublicKey,
    /// When its outgoing link has sent everything so far.
    sent_us: u64,
    tick: Option<TimeMs>,
}

pub struct World {
    shape: Shape,
    txs: Vec<SignedTx>,
    nodes: Vec<Node>,
    index_of: BTreeMap<PublicKey, usize>,
    queue: BTreeMap<(u64, u64), (usize, Action)>,
    queued: u64,
    now_us: u64,
    proposed_us: BTreeMap<u64, u64>,
    committed_us: BTreeMap<u64, Vec<u64>>,
    messages: u64,
    bytes: u64,
}

fn secret(index: usize) -> SecretKey {
    let mut seed = [3; 32];
    seed[..8].copy_from_slice(&(index as u64).to_le_bytes());
    SecretKey::from_seed(&seed)
}

impl World {
    /// Every block carries the same transactions: agreement does not look inside twice.
    pub fn new(shape: Shape, chain: Digest, txs: Vec<SignedTx>) -> Self {
        let seat = |index| Seat::of(secret(index).public_key(), &format!("organisation {index}"));
        let committee = Committee::new(Epoch(0), (0..shape.seats).map(seat).collect());
        let nodes: Vec<Node> =
            (0..shape.nodes).map(|index| node(index, chain, &committee)).collect();
        let index_of = nodes.iter().enumerate().map(|(index, node)| (node.key, index)).collect();
        let mut world = Self {
            shape,
            txs,
            nodes,
            index_of,
            queue: BTreeMap::new(),
            queued: 0,
            now_us: 0,
            proposed_us: BTreeMap::new(),
            committed_us: BTreeMap::new(),
            messages: 0,
            bytes: 0,
        };
        world.everyone_has_work(0);
        world
    }

    pub fn run(mut self) -> Outcome {
        while let Some(entry) = self.queue.first_entry() {
            let ((time, _), (node, action)) = entry.remove_entry();
            self.now_us = time;
            let now = TimeMs(START_MS + time / 1_000);
            let event = match action {
                Action::Event(event) => event,
                Action::Tick(at) if self.nodes[node].tick == Some(at) => Event::Tick,
                Action::Tick(_) => continue,
            };
            let effects = self.nodes[node].machine.step(now, event);
            self.perform(node, effects);
            if self.is_done() {
                break;
            }
        }
        self.outcome()
    }

    fn is_done(&self) -> bool {
        let last = self.committed_us.get(&self.shape.heights);
        last.is_some_and(|times| times.len() == self.shape.seats)
    }

    fn outcome(self) -> Outcome {
        let (mut half_us, mut all_us) = (vec![], vec![]);
        for (height, mut times) in self.committed_us {
            let Some(proposed) = self.proposed_us.get(&height) else { continue };
            if times.len() == self.shape.seats {
                times.sort_unstable();
                half_us.push((times[times.len() / 2] - proposed) as f64);
                all_us.push((times[times.len() - 1] - proposed) as f64);
            }
        }
        let views = self.nodes.iter().map(|node| node.machine.installed_view().0).max();
        Outcome {
            half_us,
            all_us,
            messages: self.messages,
            bytes: self.bytes,
            took_us: self.now_us,
            views: views.unwrap_or(0),
        }
    }

    fn at(&mut self, time_us: u64, node: usize, action: Action) {
        self.queued += 1;
        self.queue.insert((time_us, self.queued), (node, action));
    }

    fn everyone_has_work(&mut self, time_us: u64) {
        for node in 0..self.shape.nodes {
            self.at(time_us, node, Action::Event(Event::Work { pending: true }));
        }
    }

    fn perform(&mut self, node: usize, effects: Vec<Effect>) {
        let synced = effects.iter().any(|effect| matches!(effect, Effect::Persist(_)));
        let ready_us = self.now_us + if synced { SYNC_US } else { 0 };
        for effect in effects {
            match effect {
                Effect::Broadcast(message) => self.broadcast(node, ready_us, message),
                Effect::Send { to, message } => {
                    if let Some(to) = self.index_of.get(&to).copied() {
                        let size = codec::encode(&message).len() as u64;
                        self.send(node, to, ready_us, size, message);
                    }
                }
                Effect::Build { view, parent, parent_time, .. } => {
                    let now = TimeMs(START_MS + self.now_us / 1_000);
                    let (time, txs) = (now.max(parent_time.plus(1)), self.txs.clone());
                    self.at(
                        ready_us,
                        node,
                        Action::Event(Event::Built { view, parent, time, txs }),
                    );
                }
                Effect::Commit { block, .. } => self.committed(node, ready_us, &block),
                Effect::Timer(at) => {
                    self.nodes[node].tick = Some(at);
                    let due_us = at.0.saturating_sub(START_MS).saturating_mul(1_000);
                    self.at(due_us.max(self.now_us), node, Action::Tick(at));
                }
                _ => {}
            }
        }
    }

    fn broadcast(&mut self, node: usize, ready_us: u64, message: ConsensusMessage) {
        if let ConsensusMessage::PrePrepare { block, .. } = &message {
            self.proposed_us.entry(block.header.height.0).or_insert(self.now_us);
        }
        let size = codec::encode(&message).len() as u64;
        // Seats first: who only follows can wait.
        for to in (0..self.shape.nodes).filter(|to| *to != node) {
            self.send(node, to, ready_us, size, message.clone());
        }
        let from = self.nodes[node].key;
        self.at(ready_us, node, Action::Event(Event::Message { from, message }));
    }

    fn send(
        &mut self,
        from: usize,
        to: usize,
        ready_us: u64,
        size: u64,
        message: ConsensusMessage,
    ) {
        let sender = &mut self.nodes[from];
        sender.sent_us = sender.sent_us.max(ready_us) + size / self.shape.bytes_per_us;
        let (arrives_us, from) = (sender.sent_us + self.shape.link_us, sender.key);
        self.messages += 1;
        self.bytes += size;
        self.at(arrives_us, to, Action::Event(Event::Message { from, message }));
    }

    fn committed(&mut self, node: usize, ready_us: u64, block: &twinfold_types::Block) {
        let height = block.header.height;
        if node < self.shape.seats {
            self.committed_us.entry(height.0).or_default().push(self.now_us);
        }
        let checkpoint = Checkpoint {
            epoch: block.header.epoch,
            height,
            block: block.digest(),
            state_root: Digest::ZERO,
            audit_size: height.0,
            audit_root: Digest::ZERO,
            next_committee: None,
        };
        let executed = Event::Executed { checkpoint, ends_at: None };
        self.at(ready_us, node, Action::Event(executed));
        if self.shape.one_by_one {
            self.at(ready_us, node, Action::Event(Event::Work { pending: false }));
            let done = self.committed_us.get(&height.0).map_or(0, Vec::len);
            if node < self.shape.seats && done == self.shape.seats {
                self.everyone_has_work(ready_us + 1);
            }
        }
    }
}

fn node(index: usize, chain: Digest, committee: &Committee) -> Node {
    let (signer, genesis_time) = (secret(index), TimeMs(START_MS));
    let key = signer.public_key();
    let config = Config { chain, genesis_time, committee: committee.clone(), own: key };
    let head = Head { height: Height(0), digest: chain, time: genesis_time };
    let recovered = Recovered { head, certificate: None, stable: None, records: vec![] };
    let machine = Machine::new(config, Arc::new(signer), Arc::new(StrictEd25519), recovered)
        .expect("a machine without a past begins");
    Node { machine, key, sent_us: 0, tick: None }
}

/// An identity for the simulated chain.
pub fn chain() -> Digest {
    Digest::of_bytes(Tag::Genesis, b"scale")
}

/// Transactions that fill a block to about so many bytes.
pub fn transactions(bytes: usize) -> Vec<SignedTx> {
    use twinfold_types::{Action, member::AdminAction, tx::TxBody};
    const PIECE: usize = 200_000;
    let key = secret(1_000_000);
    let sizes = (0..bytes.div_ceil(PIECE)).map(|at| PIECE.min(bytes - at * PIECE));
    let tx = |(nonce, size): (usize, usize)| {
        let organisation = "x".repeat(size);
        let body = TxBody {
            chain: chain(),
            sender: key.public_key(),
            nonce: nonce as u64,
            valid_from: TimeMs(START_MS - 1_000),
            valid_until: TimeMs(START_MS + 500_000),
            action: Action::Propose(AdminAction::SetQuota { organisation, trainers: 1 }),
        };
        body.sign(&key)
    };
    sizes.enumerate().map(tx).collect()
}
