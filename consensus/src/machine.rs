//! The state machine: what it knows, and the one door through which things happen.

use crate::{
    Config, Effect, Event, HaltReason, Head, Record,
    attest::Attested,
    bodies::Bodies,
    checkpoint::Checkpoints,
    early::Early,
    epoch::{self, Ahead},
    planted::Planted,
    rules::{Rules, Standing},
    signed::Newest,
    silence::{Forgotten, Silence},
    sync::Sync,
    timer::Pace,
    view_change::{Installed, ViewChanges},
    votes::Slot,
};
use std::{collections::BTreeMap, sync::Arc};
use twinfold_types::{
    Committee, Digest, Evidence, Height, PublicKey, SeatIndex, TimeMs, View,
    key::{Signer, Verifier},
    message::ConsensusMessage,
    vote::{Certificate, CheckpointCertificate},
};

/// One validator's (or observer's) part in the agreement, epoch after epoch.
pub struct Machine {
    pub(crate) chain: Digest,
    pub(crate) committee: Committee,
    pub(crate) committee_digest: Digest,
    pub(crate) rules: Rules,
    /// This node's member key.
    pub(crate) own: PublicKey,
    pub(crate) seat: Option<SeatIndex>,
    /// The height that the last accepted recovery keeps: nothing is signed before it begins (P21).
    pub(crate) follows_until: Option<Height>,
    pub(crate) signer: Arc<dyn Signer>,
    pub(crate) verifier: Arc<dyn Verifier>,
    /// Heights a view orders above its base before the next leader takes over.
    pub(crate) view_heights: u64,

    /// Time of the running step, and what it has brought about so far.
    pub(crate) now: TimeMs,
    pub(crate) effects: Vec<Effect>,
    pub(crate) halted: Option<HaltReason>,

    /// Newest committed block.
    pub(crate) head: Head,
    /// Newest height executed and synced by the ledger.
    pub(crate) executed: Height,
    /// Committed blocks that are not executed yet.
    pub(crate) unexecuted: BTreeMap<Height, Digest>,
    /// The highest commit certificate above the head, waiting for bodies.
    pub(crate) decided: Option<Certificate>,
    /// The newest commit certificate by which blocks were committed here.
    pub(crate) deciding: Option<Certificate>,
    /// The claim of the next view change (P8).
    pub(crate) highest: Option<Certificate>,

    /// The view moved to; above the installed one while changing.
    pub(crate) view: View,
    pub(crate) installed: Installed,
    /// Votes in the installed view.
    pub(crate) slots: BTreeMap<Height, Slot>,
    pub(crate) early: Early,
    pub(crate) view_changes: ViewChanges,
    pub(crate) bodies: Bodies,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) attested: Attested,
    pub(crate) sync: Sync,
    /// What every seat was seen to sign last.
    pub(crate) newest: Newest,
    /// Records of epochs that the ledger has not come to yet.
    pub(crate) later: Vec<Record>,
    /// What the log says the ledger has, where the ledger has it not.
    pub(crate) lost_up_to: Option<Height>,
    pub(crate) silence: Silence,
    /// What the log once lacked.
    pub(crate) forgotten: Option<Forgotten>,
    pub(crate) pace: Pace,

    /// Whether something waits to be ordered.
    pub(crate) work: bool,
    /// The view and parent for which the driver was asked to build.
    pub(crate) asked: Option<(View, Digest)>,
    /// When a proposal that is too far ahead in time may be prepared.
    pub(crate) held_until: Option<TimeMs>,
    /// The height at which the admins end the epoch (P19).
    pub(crate) ends_at: Option<Height>,
    /// The committee before this one, for a mistake to count with.
    #[cfg(feature = "planted")]
    pub(crate) before: Option<Committee>,
    /// Messages of the next epoch.
    pub(crate) ahead: Ahead,
    /// Something was settled: there may be bodies and slots to forget.
    pub(crate) settled: bool,
    /// The tick last asked for.
    pub(crate) tick: Option<TimeMs>,
}

impl Machine {
    pub fn step(&mut self, now: TimeMs, event: Event) -> Vec<Effect> {
        if self.halted.is_some() {
            return Vec::new();
        }
        self.now = now;
        match event {
            Event::Message { from, message } => self.on_message(from, message),
            Event::Built { view, parent, time, txs } => self.on_built(view, parent, time, txs), // P3
            Event::Executed { checkpoint, ends_at } => self.on_executed(checkpoint, ends_at), // P14 P19
            Event::Connected { peer } => self.greet(peer),                                    // P16
            Event::Work { pending } => self.on_work(pending),                                 // P3
            Event::Tick => self.tick = None,
        }
        self.advance();
        std::mem::take(&mut self.effects)
    }

    pub(crate) fn on_message(&mut self, from: PublicKey, message: ConsensusMessage) {
        if self.keep_for_next_epoch(from, &message) {
            return;
        }
        match message {
            ConsensusMessage::PrePrepare { vote, block } => self.on_pre_prepare(vote, *block), // P4
            ConsensusMessage::Vote(vote) => self.on_vote(vote), // P5 P6
            ConsensusMessage::ViewChange(change) => self.on_view_change(*change), // P12
            ConsensusMessage::NewView(new_view) => self.on_new_view(*new_view), // P9
            ConsensusMessage::Checkpoint(vote) => self.on_checkpoint(vote), // P14
            ConsensusMessage::Stable(certificate) => self.on_stable(*certificate), // P14
            // What remains speaks of others only.
            _ if from == self.own => {}
            ConsensusMessage::Status(status) => self.on_status(from, status), // P16
            ConsensusMessage::GetBlock { height, digest } => {
                self.on_get_block(from, height, digest)
            }
            ConsensusMessage::Block(block) => self.on_block(*block), // P17
            ConsensusMessage::GetCommitted { from: height } => self.on_get_committed(from, height),
            ConsensusMessage::Committed(blocks) => self.on_committed(from, *blocks), // P17
            ConsensusMessage::GetSigned => self.on_get_signed(from),                 // P20
            ConsensusMessage::Signed(signed) => self.on_signed(from, *signed),       // P20
            ConsensusMessage::KeptFrom { first } => self.on_kept_from(from, first),  // P17
        }
    }

    /// Does whatever the state now allows. Each part looks at the state alone, so it
    /// does not matter which event made it possible.
    pub(crate) fn advance(&mut self) {
        while self.halted.is_none()
            && (self.settle_silence()            // P20
                || self.prepare_base()           // P11
                || self.prepare_proposals()      // P4
                || self.commit_prepared()        // P5
                || self.execute_decisions()      // P6
                || self.make_new_view()          // P9
                || self.renew_change()           // P12 P20
                || self.rotate()                 // P13
                || self.time_out())
        // P13
        {}
        if self.halted.is_some() {
            return;
        }
        self.settle_checkpoints(); // P14
        self.ask_to_build(); // P3
        self.fetch_bodies(); // P17
        self.tell_status(); // P16
        self.forget_settled(); // P18
        self.rearm();
    }

    fn on_work(&mut self, pending: bool) {
        self.work = pending;
        if !pending {
            self.asked = None;
        }
    }

    /// Asks for the next tick where one is needed and none is on its way.
    fn rearm(&mut self) {
        let wanted = self.has_timed_view();
        self.pace.run(wanted, self.now, self.committee.leader(self.view));
        let times = [
            self.pace.deadline(),
            self.sync.status_due,
            self.held_until.take(),
            self.bodies.fetch_due(),
            self.silence_due(),
            self.checkpoint_due(),
        ];
        let next = times.into_iter().flatten().min();
        if let Some(time) = next
            && self.tick != next
        {
            self.effects.push(Effect::Timer(time));
            self.tick = next;
        }
    }

    /// Another number of heights per view than the limit: the simulator has short views.
    #[must_use]
    pub fn rotating_every(mut self, heights: u64) -> Self {
        self.view_heights = heights.max(1);
        self
    }

    /// A machine with a mistake in it, for the checks to find.
    #[cfg(feature = "planted")]
    #[must_use]
    pub fn with_planted(mut self, mistake: Planted) -> Self {
        self.rules = self.rules.with_planted(mistake);
        self
    }
}

/// Helpers that every part uses.
impl Machine {
    /// What the guards need to know of this validator.
    pub(crate) fn standing(&self) -> Standing {
        Standing {
            view: self.view,
            installed: self.installed.view,
            base: self.rules.base_to_vote(self.installed.base),
            head: (self.head.height, self.head.digest),
            stable: self.settled_height(),
            executed: self.executed,
        }
    }

    /// Whether this validator may sign votes in the installed view (P7, P20).
    pub(crate) fn may_vote(&self) -> bool {
        self.seat.is_some() && !self.is_silent() && self.rules.may_vote(&self.standing())
    }

    pub(crate) fn is_planted(&self, mistake: Planted) -> bool {
        self.rules.planted.is(mistake)
    }

    /// Something is ordered and not committed yet.
    pub(crate) fn is_in_flight(&self) -> bool {
        let weak_quorum = self.committee.weak_quorum();
        self.standing().base_height() > self.head.height
            || self
                .slots
                .range(self.head.height.next()..)
                .any(|(_, slot)| slot.is_active(weak_quorum))
    }

    pub(crate) fn persist(&mut self, record: Record) {
        self.effects.push(Effect::Persist(record));
    }

    pub(crate) fn broadcast(&mut self, message: ConsensusMessage) {
        self.effects.push(Effect::Broadcast(message));
    }

    pub(crate) fn send(&mut self, to: PublicKey, message: ConsensusMessage) {
        self.effects.push(Effect::Send { to, message });
    }

    pub(crate) fn accuse(&mut self, evidence: Evidence) {
        self.effects.push(Effect::Evidence(Box::new(evidence)));
    }

    pub(crate) fn halt(&mut self, reason: HaltReason) {
        self.halted = Some(reason.clone());
        self.effects.push(Effect::Halt(reason));
    }

    /// Persists a body before a vote names it (P2).
    pub(crate) fn make_durable(&mut self, digest: &Digest) {
        if let Some(block) = self.bodies.make_durable(digest) {
            self.persist(Record::Block(Box::new(block)));
        }
    }

    /// Keeps the highest certificate as the next claim (P8).
    pub(crate) fn raise_claim(&mut self, certificate: &Certificate) {
        let rank = certificate.body.rank();
        if self.highest.as_ref().is_none_or(|highest| highest.body.rank() < rank) {
            self.newest.certificate(certificate);
            self.highest = Some(certificate.clone());
            self.persist(Record::Certificate(certificate.clone()));
        }
    }

    /// Keeps the certificate by which blocks are committed, before the ledger has executed them:
    /// whoever makes a recovery from this node's folder must see that they are (P21). As a claim
    /// it often ranks no higher than what was prepared on the way to it.
    pub(crate) fn note_decision(&mut self, certificate: &Certificate) {
        if self.is_left_out(certificate.body.height) {
            return;
        }
        self.raise_claim(certificate);
        if self.highest.as_ref() != Some(certificate) {
            self.persist(Record::Certificate(certificate.clone()));
        }
        self.deciding = Some(certificate.clone());
    }
}

/// What status pages and metrics show.
impl Machine {
    pub fn seat(&self) -> Option<SeatIndex> {
        self.seat
    }
    pub fn committee(&self) -> &Committee {
        &self.committee
    }
    /// The view moved to, installed or not.
    pub fn view(&self) -> View {
        self.view
    }
    pub fn installed_view(&self) -> View {
        self.installed.view
    }
    /// Leader of the view moved to.
    pub fn leader(&self) -> SeatIndex {
        self.committee.leader(self.view)
    }
    /// The newest committed block.
    pub fn committed(&self) -> Head {
        self.head
    }
    /// The newest height that the ledger reported executed.
    pub fn executed(&self) -> Height {
        self.executed
    }
    pub fn stable(&self) -> Option<&CheckpointCertificate> {
        self.checkpoints.stable()
    }
    pub fn halted(&self) -> Option<&HaltReason> {
        self.halted.as_ref()
    }
}

/// What [`Machine::new`] needs apart from the log's records.
impl Machine {
    pub(crate) fn blank(
        config: Config,
        signer: Arc<dyn Signer>,
        verifier: Arc<dyn Verifier>,
        head: Head,
        stable: Option<CheckpointCertificate>,
    ) -> Self {
        Self {
            chain: config.chain,
            committee_digest: config.committee.digest(),
            rules: Rules::new(config.committee.size()),
            seat: epoch::seat_of(&config.committee, &config.own, &*signer),
            follows_until: None,
            own: config.own,
            committee: config.committee,
            signer,
            verifier,
            view_heights: twinfold_types::limits::VIEW_HEIGHTS_MAX,
            now: TimeMs(0),
            effects: Vec::new(),
            halted: None,
            head,
            executed: head.height,
            unexecuted: BTreeMap::new(),
            decided: None,
            deciding: None,
            highest: None,
            view: View(0),
            installed: Installed::default(),
            slots: BTreeMap::new(),
            early: Early::default(),
            view_changes: ViewChanges::default(),
            bodies: Bodies::default(),
            checkpoints: Checkpoints::new(stable),
            attested: Attested::default(),
            sync: Sync::default(),
            newest: Newest::default(),
            later: Vec::new(),
            lost_up_to: None,
            silence: Silence::default(),
            forgotten: None,
            pace: Pace::default(),
            work: false,
            asked: None,
            held_until: None,
            ends_at: None,
            #[cfg(feature = "planted")]
            before: None,
            ahead: Ahead::default(),
            settled: false,
            tick: None,
        }
    }
}
