//! Telling where one stands, answering with what others lack, catching up (P16, P17).

use crate::{Effect, HaltReason, Machine, votes::Slot};
use std::collections::{BTreeMap, BTreeSet};
use twinfold_types::{
    Block, Digest, Height, PublicKey, SeatIndex, TimeMs,
    block::body_digest,
    limits::{STATUS_INTERVAL_MS, SYNC_BLOCKS_MAX},
    message::{CommittedBlocks, ConsensusMessage, Status},
    vote::{VoteBody, VoteKind},
};

/// Between two requests for one body, each to another signer.
const FETCH_INTERVAL_MS: u64 = STATUS_INTERVAL_MS / 2;
/// Between two full answers to one peer, which may carry a block.
const ANSWER_INTERVAL_MS: u64 = STATUS_INTERVAL_MS / 5;
/// Rounds of status sent for the sake of a height that peers only tell of.
const TOLD_ROUNDS_MAX: u32 = 8;
/// Peers remembered for that; there are no more connections than this.
const PEERS_MAX: usize = 4_096;

#[derive(Clone, Debug, Default)]
pub(crate) struct Sync {
    pub status_due: Option<TimeMs>,
    /// Whom committed blocks were asked of, and when.
    asked: Option<(PublicKey, TimeMs)>,
    /// The highest committed height a peer told of. Nobody signed it, so it is
    /// believed for a few rounds of status only.
    told: Height,
    told_rounds: u32,
    answered: BTreeMap<PublicKey, TimeMs>,
    /// Who has dropped blocks that were asked for, and keeps those from a height on.
    kept: BTreeMap<PublicKey, Height>,
}

impl Sync {
    /// Whoever lags asks at once again.
    pub fn begin_epoch(&mut self, now: TimeMs) {
        (self.asked, self.status_due) = (None, Some(now));
    }
}

/// Speaking (P16).
impl Machine {
    fn status(&self, reply: bool) -> ConsensusMessage {
        ConsensusMessage::Status(Status {
            epoch: self.epoch(),
            view: self.view,
            installed: self.view == self.installed.view,
            committed: self.head.height,
            stable: self.checkpoints.stable_height(),
            reply,
        })
    }

    pub(crate) fn greet(&mut self, peer: PublicKey) {
        self.sync.answered.remove(&peer);
        self.sync.kept.remove(&peer);
        self.send(peer, self.status(false));
    }

    /// While something is missing or under way: status to everyone, now and then.
    pub(crate) fn tell_status(&mut self) {
        if !self.has_news() {
            self.sync.status_due = None;
            return;
        }
        let due = *self.sync.status_due.get_or_insert(self.now.plus(STATUS_INTERVAL_MS));
        if due > self.now {
            return;
        }
        self.sync.status_due = Some(self.now.plus(STATUS_INTERVAL_MS));
        self.sync.told_rounds += 1;
        if self.sync.told_rounds >= TOLD_ROUNDS_MAX {
            (self.sync.told, self.sync.told_rounds) = (Height(0), 0);
        }
        self.broadcast(self.status(false));
        if self.view > self.installed.view
            && let Some(change) = self.view_changes.own.clone()
        {
            self.broadcast(ConsensusMessage::ViewChange(Box::new(change)));
        }
    }

    fn has_news(&self) -> bool {
        self.view > self.installed.view
            || self.is_in_flight()
            || self.is_behind()
            || self.is_over()
            || self.checkpoints.own_votes().next().is_some()
    }

    fn is_behind(&self) -> bool {
        let mut ahead: BTreeSet<SeatIndex> = self.early.seats().collect();
        for slot in self.slots.range(self.head.height.next().next()..).map(|(_, slot)| slot) {
            ahead.extend(slot.prepares.keys().chain(slot.commits.keys()));
        }
        self.checkpoints.stable_height() > self.head.height
            || self.sync.told > self.head.height
            || self.decided.is_some()
            || self.highest.as_ref().is_some_and(|highest| highest.body.view > self.view)
            || ahead.len() >= self.committee.weak_quorum()
    }
}

/// Answering (P16).
impl Machine {
    pub(crate) fn on_status(&mut self, from: PublicKey, status: Status) {
        if status.committed > self.head.height {
            self.sync.told = self.sync.told.max(status.committed);
            self.ask_committed(from);
        }
        let recent = |time: &TimeMs| time.plus(ANSWER_INTERVAL_MS) > self.now && *time <= self.now;
        if self.sync.answered.get(&from).is_some_and(recent) {
            return;
        }
        if self.sync.answered.len() >= PEERS_MAX {
            self.sync.answered.clear();
        }
        self.sync.answered.insert(from, self.now);
        if status.epoch > self.epoch() {
            // It answers with the end of this epoch.
            if !status.reply {
                self.send(from, self.status(true));
            }
            return;
        }
        if status.epoch < self.epoch() {
            self.effects.push(Effect::ServeEpochEnd { to: from, epoch: status.epoch });
            return self.send(from, self.status(true));
        }
        for message in self.lacking(&status) {
            self.send(from, message);
        }
        let installed = self.view == self.installed.view;
        let alike = (status.view, status.installed) == (self.view, installed)
            && status.committed == self.head.height
            && status.stable == self.checkpoints.stable_height();
        if !status.reply && !alike {
            self.send(from, self.status(true));
        }
    }

    /// What a peer that stands there cannot have.
    fn lacking(&self, status: &Status) -> Vec<ConsensusMessage> {
        let mut messages = Vec::new();
        if (status.view, status.installed) < (self.installed.view, true) {
            let new_view = self.installed.new_view.clone();
            messages.extend(new_view.map(|new_view| ConsensusMessage::NewView(new_view.into())));
        }
        if self.view > self.installed.view && (status.view, status.installed) < (self.view, true) {
            let change = self.view_changes.own.clone();
            messages.extend(change.map(|change| ConsensusMessage::ViewChange(change.into())));
        }
        if status.installed && status.view == self.installed.view {
            let base = self.installed.base_height();
            let slots = self.slots.iter();
            let lacking =
                slots.filter(|(height, _)| **height > status.committed || **height == base);
            messages.extend(lacking.flat_map(|(_, slot)| self.own_messages(slot)));
        }
        match self.checkpoints.stable() {
            Some(stable) if stable.checkpoint.height > status.stable => {
                messages.push(ConsensusMessage::Stable(Box::new(stable.clone())));
            }
            _ => {}
        }
        let checkpoints = self.checkpoints.own_votes().cloned();
        messages.extend(checkpoints.map(ConsensusMessage::Checkpoint));
        messages
    }

    /// Own votes of a slot, the proposal with its body.
    fn own_messages(&self, slot: &Slot) -> Vec<ConsensusMessage> {
        let Some(seat) = self.seat else { return Vec::new() };
        let message = |vote: &twinfold_types::vote::Vote| match vote.body {
            VoteBody { kind: VoteKind::PrePrepare, digest, .. } => {
                let block = Box::new(self.bodies.get(&digest)?.clone());
                Some(ConsensusMessage::PrePrepare { vote: vote.clone(), block })
            }
            _ => Some(ConsensusMessage::Vote(vote.clone())),
        };
        slot.own_votes(seat).filter_map(message).collect()
    }

    pub(crate) fn on_get_block(&mut self, from: PublicKey, height: Height, digest: Digest) {
        match self.bodies.get(&digest).cloned() {
            Some(block) => self.send(from, ConsensusMessage::Block(Box::new(block))),
            None if height <= self.head.height => {
                self.effects.push(Effect::ServeBlock { to: from, height, digest });
            }
            None => {}
        }
    }

    pub(crate) fn on_get_committed(&mut self, to: PublicKey, from: Height) {
        if from <= self.head.height {
            self.effects.push(Effect::ServeCommitted { to, from });
        }
    }
}

/// Catching up (P17).
impl Machine {
    /// Asks one peer at a time. One that does not answer has to wait a while until
    /// it is asked again, so that others come first.
    fn ask_committed(&mut self, peer: PublicKey) {
        // Beyond the end of the epoch nothing can be verified yet.
        if self.is_over() || self.is_left_out(self.head.height.next()) {
            return;
        }
        if self.sync.kept.get(&peer).is_some_and(|first| *first > self.head.height.next()) {
            return;
        }
        if let Some((asked, time)) = self.sync.asked {
            let patience = if asked == peer { 2 * STATUS_INTERVAL_MS } else { STATUS_INTERVAL_MS };
            if time.plus(patience) > self.now && time <= self.now {
                return;
            }
        }
        self.sync.asked = Some((peer, self.now));
        self.send(peer, ConsensusMessage::GetCommitted { from: self.head.height.next() });
    }

    /// A peer cannot help; whoever keeps more can. Until it connects again it is not asked for
    /// what it said it lacks.
    pub(crate) fn on_kept_from(&mut self, from: PublicKey, first: Height) {
        if self.sync.kept.len() < PEERS_MAX {
            self.sync.kept.insert(from, first);
        }
        self.sync.asked = self.sync.asked.filter(|(asked, _)| *asked != from);
    }

    /// Who keeps no block that follows the head, and from where on they do.
    pub(crate) fn kept_elsewhere(&self) -> BTreeMap<PublicKey, Height> {
        let next = self.head.height.next();
        let lacking = self.sync.kept.iter().filter(|(_, first)| **first > next);
        lacking.map(|(peer, first)| (*peer, *first)).collect()
    }

    pub(crate) fn on_committed(&mut self, from: PublicKey, committed: CommittedBlocks) {
        let CommittedBlocks { blocks, certificate } = committed;
        let head = self.head;
        let Some(last) = blocks.last() else { return };
        let body = certificate.body;
        let fits = body.kind == VoteKind::Commit
            && (body.height, body.digest) == (last.header.height, last.digest())
            && body.height > head.height
            && blocks.len() <= SYNC_BLOCKS_MAX
            && is_chain(&blocks);
        let new = blocks.iter().position(|block| block.header.height == head.height.next());
        let Some(new) = new.filter(|_| fits) else { return };
        if !self.is_certified(&certificate) {
            return;
        }
        let parent = blocks[new].header.parent;
        if parent != head.digest {
            let (height, ours) = (head.height, head.digest);
            return self.halt(HaltReason::Forked { height, ours, theirs: parent });
        }
        self.note_decision(&certificate);
        for block in blocks.into_iter().skip(new) {
            self.commit(block, &certificate);
        }
        // There may be more where this came from.
        (self.sync.asked, self.sync.told_rounds) = (None, 0);
        self.ask_committed(from);
    }

    pub(crate) fn on_block(&mut self, block: Block) {
        let wanted = self.bodies.is_wanted(&block.digest());
        if wanted && body_digest(&block.txs) == block.header.body {
            self.bodies.insert(block, false);
        }
    }

    /// Asks for missing bodies, one signer after another.
    pub(crate) fn fetch_bodies(&mut self) {
        let (now, own) = (self.now, self.seat);
        let mut requests = Vec::new();
        for (digest, wanted) in self.bodies.wanted() {
            let others: Vec<_> = wanted.signers.iter().filter(|seat| Some(**seat) != own).collect();
            if wanted.due > now || others.is_empty() {
                continue;
            }
            requests.push((*others[wanted.turn % others.len()], wanted.height, *digest));
            wanted.turn += 1;
            wanted.due = now.plus(FETCH_INTERVAL_MS);
        }
        for (seat, height, digest) in requests {
            if let Some(key) = self.committee.validator(seat).copied() {
                self.send(key, ConsensusMessage::GetBlock { height, digest });
            }
        }
    }
}

/// Whether each block holds its transactions and stands on the one before.
fn is_chain(blocks: &[Block]) -> bool {
    let linked = blocks.windows(2).all(|pair| {
        pair[1].header.parent == pair[0].digest()
            && pair[0].header.height.0.checked_add(1) == Some(pair[1].header.height.0)
    });
    linked && blocks.iter().all(|block| body_digest(&block.txs) == block.header.body)
}
