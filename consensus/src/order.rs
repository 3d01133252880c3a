//! Ordering in an installed view: propose and prepare (P3, P4, P11, P15).

use crate::{Effect, Head, Machine, Record, planted::Planted};
use std::collections::BTreeSet;
use twinfold_types::{
    Block, Digest, Height, SignedTx, TimeMs, TxId, View,
    block::{Header, body_digest},
    limits::{DRIFT_MS_MAX, PIPELINE_HEIGHTS},
    message::ConsensusMessage,
    vote::{Vote, VoteBody, VoteKind},
};

/// Proposals whose bodies are taken ahead of the committed head: others' heads may be ahead
/// of this validator's.
pub(crate) const PROPOSALS_AHEAD_HEIGHTS: u64 = 2 * PIPELINE_HEIGHTS;

/// Proposing (P3).
impl Machine {
    /// What the next proposal of the installed view stands on: the committed head or the
    /// base, or the last of the proposals above it.
    pub fn tip(&self) -> Head {
        let mut tip = self.head;
        let base = self.standing().base.filter(|base| base.height > tip.height);
        if let Some(base) = base
            && let Some(block) = self.bodies.get(&base.digest)
        {
            tip = Head { height: base.height, digest: base.digest, time: block.header.time };
        }
        while let Some(proposal) = self.proposal_at(tip.height.next())
            && let Some(block) = self.bodies.get(&proposal.body.digest)
            && block.header.parent == tip.digest
        {
            let (digest, time) = (proposal.body.digest, block.header.time);
            tip = Head { height: tip.height.next(), digest, time };
        }
        tip
    }

    fn proposal_at(&self, height: Height) -> Option<&Vote> {
        self.slots.get(&height)?.pre_prepare.as_ref()
    }

    fn may_propose_on(&self, tip: &Head) -> bool {
        let next = tip.height.next();
        let ahead = Height(self.head.height.0.saturating_add(PIPELINE_HEIGHTS));
        self.may_vote()
            && self.seat == Some(self.committee.leader(self.view))
            && self.is_base_done()
            && tip.height >= self.standing().base_height()
            && self.proposal_at(next).is_none()
            && next <= ahead.max(self.standing().base_height().next())
            && next <= self.rules.watermark(&self.standing())
            && next <= self.last_of_view()
            && !self.is_head_last(tip)
    }

    pub(crate) fn ask_to_build(&mut self) {
        if !self.work {
            return;
        }
        let tip = self.tip();
        let ask = (self.view, tip.digest);
        if self.asked != Some(ask) && self.may_propose_on(&tip) {
            self.asked = Some(ask);
            self.effects.push(Effect::Build {
                view: self.view,
                height: tip.height.next(),
                parent: tip.digest,
                parent_time: tip.time,
            });
        }
    }

    /// Transactions of blocks between the head and the tip: they are ordered already.
    fn in_flight(&self, tip: &Head) -> BTreeSet<TxId> {
        let line = self.bodies.ancestry(tip.digest, self.head.height);
        let blocks = line.iter().filter_map(|digest| self.bodies.get(digest));
        blocks.flat_map(|block| &block.txs).map(SignedTx::id).collect()
    }

    pub(crate) fn on_built(
        &mut self,
        view: View,
        parent: Digest,
        time: TimeMs,
        txs: Vec<SignedTx>,
    ) {
        let asked = self.asked == Some((view, parent)) && self.view == view;
        let tip = self.tip();
        let ordered = self.in_flight(&tip);
        let txs: Vec<_> = txs.into_iter().filter(|tx| !ordered.contains(&tx.id())).collect();
        let header = Header {
            chain: self.chain,
            protocol: self.committee.protocol,
            epoch: self.epoch(),
            height: tip.height.next(),
            parent,
            time: time.max(tip.time.plus(1)),
            body: body_digest(&txs),
        };
        let block = Block { header, txs };
        let current = asked && parent == tip.digest && self.may_propose_on(&tip);
        if !current || block.check(&*self.verifier).is_err() {
            self.effects.push(Effect::Returned(block.txs));
            return;
        }
        self.asked = None;
        self.propose(block);
    }

    fn propose(&mut self, block: Block) {
        let (height, digest) = (block.header.height, block.digest());
        let Some(vote) = self.sign_vote(VoteKind::PrePrepare, height, digest) else { return };
        self.slots.entry(height).or_default().pre_prepare = Some(vote.clone());
        self.bodies.insert(block.clone(), false);
        self.make_durable(&digest);
        self.persist(Record::Vote(vote.clone()));
        self.broadcast(ConsensusMessage::PrePrepare { vote, block: Box::new(block) });
    }

    pub(crate) fn sign_vote(&self, kind: VoteKind, height: Height, digest: Digest) -> Option<Vote> {
        let view = self.installed.view;
        let body = VoteBody { kind, epoch: self.epoch(), view, height, digest };
        let statement = body.statement(&self.chain, &self.committee_digest);
        Some(Vote { body, seat: self.seat?, signature: self.signer.sign(&statement) })
    }
}

/// Preparing (P4, P11).
impl Machine {
    pub(crate) fn on_pre_prepare(&mut self, vote: Vote, block: Block) {
        let VoteBody { kind, epoch, view, height, digest } = vote.body;
        let known = kind == VoteKind::PrePrepare && epoch == self.epoch();
        if !known || vote.seat != self.committee.leader(view) || view < self.installed.view {
            return;
        }
        if view > self.installed.view {
            if self.is_signed(&vote) {
                self.early.add_proposal(vote, block);
            }
            return;
        }
        let last = self.head.height.0.saturating_add(PROPOSALS_AHEAD_HEIGHTS);
        if height <= self.standing().floor() || height > self.last_of_view().min(Height(last)) {
            return;
        }
        let slot = self.slots.get(&height);
        if let Some(first) = slot.and_then(|slot| slot.pre_prepare.clone()) {
            return self.check_equivocation(first, vote);
        }
        if slot.is_some_and(|slot| slot.refused) || !self.is_signed(&vote) {
            return;
        }
        let header = &block.header;
        let matches = header.chain == self.chain
            && header.epoch == epoch
            && header.protocol == self.committee.protocol
            && header.height == height
            && block.digest() == digest;
        let valid = matches && block.check(&*self.verifier).is_ok();
        let slot = self.slots.entry(height).or_default();
        if valid {
            self.newest.vote(&vote);
            slot.pre_prepare = Some(vote);
            self.bodies.insert(block, false);
        } else {
            slot.refused = true;
        }
    }

    /// Whether the base asks nothing of this validator any more (P11).
    fn is_base_done(&self) -> bool {
        self.rules.is_base_done(&self.standing(), self.is_base_prepared())
    }

    fn is_base_prepared(&self) -> bool {
        let slot = self.slots.get(&self.installed.base_height());
        slot.is_some_and(|slot| slot.own_prepare.is_some())
    }

    pub(crate) fn prepare_base(&mut self) -> bool {
        let next = self.rules.next_base(&self.standing(), self.is_base_prepared());
        let silent = self.seat.is_none() || self.is_silent();
        let Some(base) = next.filter(|_| !silent) else { return false };
        if !self.is_body_safe(&base.digest, base.height) {
            let signers = self.installed.base_signers();
            self.bodies.want(base.digest, base.height, signers, self.now);
            return false;
        }
        self.prepare(base.height, base.digest);
        true
    }

    pub(crate) fn prepare_proposals(&mut self) -> bool {
        if !self.may_vote() || !self.is_base_done() {
            return false;
        }
        let above = self.standing().floor().next();
        let ready = self.slots.range(above..).find_map(|(height, slot)| {
            let proposal = slot.pre_prepare.as_ref().filter(|_| slot.own_prepare.is_none())?;
            Some((*height, proposal.body.digest))
        });
        // In order of height: a later one waits for its parent anyway.
        let Some((height, digest)) = ready else { return false };
        if !self.is_acceptable(height, &digest) {
            return false;
        }
        self.prepare(height, digest);
        true
    }

    /// Place and time of a proposal that is valid by itself (P4).
    fn is_acceptable(&mut self, height: Height, digest: &Digest) -> bool {
        let Some(header) = self.bodies.get(digest).map(|block| &block.header) else {
            return false;
        };
        let (at, base_prepared) = (self.standing(), self.is_base_prepared());
        let below = height.prev().and_then(|below| self.slots.get(&below)?.own_prepare.as_ref());
        let own_below = below.map(|vote| vote.body.digest);
        if !self.rules.may_prepare(&at, base_prepared, height, header.parent, own_below) {
            return false;
        }
        let Some(parent_time) = self.time_of(&header.parent) else { return false };
        if height.prev().is_some_and(|parent| self.is_last(parent, parent_time)) {
            return false;
        }
        let time = header.time;
        let ahead = time > self.now.plus(DRIFT_MS_MAX);
        if ahead {
            self.held_until = Some(TimeMs(time.0.saturating_sub(DRIFT_MS_MAX)));
        }
        time > parent_time && !ahead
    }

    /// Time of a block that another may stand on: the head, or one whose body is held.
    fn time_of(&self, parent: &Digest) -> Option<TimeMs> {
        if *parent == self.head.digest {
            return Some(self.head.time);
        }
        let time = self.bodies.get(parent).map(|block| block.header.time);
        time.or(self.is_planted(Planted::GapFilled).then_some(TimeMs(0)))
    }

    fn prepare(&mut self, height: Height, digest: Digest) {
        if !self.is_planted(Planted::BodyNotDurable) {
            self.make_durable(&digest);
        }
        self.cast(VoteKind::Prepare, height, digest);
    }

    /// Signs a prepare or a commit, has it persisted and says it; it is counted when it comes
    /// back (P2).
    pub(crate) fn cast(&mut self, kind: VoteKind, height: Height, digest: Digest) {
        let Some(vote) = self.sign_vote(kind, height, digest) else { return };
        let counted_early = self.is_planted(Planted::OwnVoteCountedEarly);
        let slot = self.slots.entry(height).or_default();
        if counted_early {
            slot.votes(kind).insert(vote.seat, vote.clone());
        }
        *slot.own(kind) = Some(vote.clone());
        if !self.is_planted(Planted::VoteNotDurable) {
            self.persist(Record::Vote(vote.clone()));
        }
        self.broadcast(ConsensusMessage::Vote(vote));
    }

    /// Whether the body is here for good, or will be by the end of the turn.
    pub(crate) fn is_body_safe(&self, digest: &Digest, height: Height) -> bool {
        let in_ledger = height == self.executed && height == self.head.height;
        self.bodies.holds(digest) || (in_ledger && *digest == self.head.digest)
    }
}
