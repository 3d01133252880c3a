//! From one committee to the next (P19): where an epoch ends, what waits for the next one, and the
//! step into it.

use crate::{
    Effect, HaltReason, Head, Machine,
    attest::Attested,
    bodies::Bodies,
    checkpoint::Checkpoints,
    early::Early,
    planted::Planted,
    signed::Newest,
    view_change::{Installed, ViewChanges},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};
use twinfold_types::{
    Committee, Epoch, Height, PublicKey, SeatIndex, SignedTx, TimeMs, View,
    key::Signer,
    limits::{PROTOCOL_VERSION, SEATS_MAX},
    message::ConsensusMessage,
    vote::Certificate,
};

/// Messages of the next epoch kept for each peer until it is opened here.
const AHEAD_PER_PEER_MAX: usize = 16;
/// Peers for whom that is done, and proposals in all: each may be as large as a message.
const AHEAD_PEERS_MAX: usize = 2 * SEATS_MAX;
const AHEAD_PROPOSALS_MAX: usize = 8;

/// What peers say in the next epoch already. Nothing in it is verified before the epoch is open; a
/// few messages a peer, and one proposal of each, are all it can hold (P18).
#[derive(Default)]
pub(crate) struct Ahead {
    messages: BTreeMap<PublicKey, VecDeque<ConsensusMessage>>,
}

impl Ahead {
    fn add(&mut self, from: PublicKey, message: ConsensusMessage) {
        let full = self.messages.len() >= AHEAD_PEERS_MAX && !self.messages.contains_key(&from);
        if full || !self.has_room_for(&message) {
            return;
        }
        let kept = self.messages.entry(from).or_default();
        let is_large = |message: &ConsensusMessage| {
            matches!(message, ConsensusMessage::PrePrepare { .. } | ConsensusMessage::NewView(_))
        };
        let same = |other: &ConsensusMessage| {
            std::mem::discriminant(other) == std::mem::discriminant(&message)
        };
        if is_large(&message) && kept.iter().any(same) {
            return;
        }
        if kept.len() == AHEAD_PER_PEER_MAX {
            kept.pop_front();
        }
        kept.push_back(message);
    }

    /// Lists as long as a committee can be, and a few blocks.
    fn has_room_for(&self, message: &ConsensusMessage) -> bool {
        let fits = |certificate: &Option<Certificate>| {
            certificate.as_ref().is_none_or(|it| it.signatures.len() <= SEATS_MAX)
        };
        match message {
            ConsensusMessage::PrePrepare { .. } => {
                let kept = self.messages.values().flatten();
                let blocks = kept.filter(|it| matches!(it, ConsensusMessage::PrePrepare { .. }));
                blocks.count() < AHEAD_PROPOSALS_MAX
            }
            ConsensusMessage::NewView(new_view) => {
                new_view.body.headers.len() <= SEATS_MAX && fits(&new_view.body.certificate)
            }
            ConsensusMessage::ViewChange(change) => fits(&change.certificate),
            _ => true,
        }
    }

    fn take(&mut self) -> impl Iterator<Item = (PublicKey, ConsensusMessage)> + use<> {
        let messages = std::mem::take(&mut self.messages).into_iter();
        messages.flat_map(|(from, kept)| kept.into_iter().map(move |message| (from, message)))
    }
}

/// The seat that a member holds and has the key of.
pub(crate) fn seat_of(
    committee: &Committee,
    own: &PublicKey,
    signer: &dyn Signer,
) -> Option<SeatIndex> {
    let seat = committee.seat_of(own)?;
    (committee.key(seat) == Some(&signer.public_key())).then_some(seat)
}

/// Where the epoch ends.
impl Machine {
    /// Whether this node's member holds a seat whose key is not here: it follows, and signs nothing.
    pub fn lacks_key(&self) -> bool {
        let follows = self.follows_until.is_some();
        let waits = follows || !self.later.is_empty();
        !waits && self.seat.is_none() && self.committee.seat_of(&self.own).is_some()
    }

    /// Whether a block of this epoch is its last: by its time, or because the admins said so
    /// long enough before.
    pub(crate) fn is_last(&self, height: Height, time: TimeMs) -> bool {
        height > self.committee.anchor
            && !self.is_planted(Planted::EndIgnored)
            && (time >= self.committee.ends || self.ends_at == Some(height))
    }

    /// Whether the epoch's last block is committed: nothing can be ordered before the next one.
    pub(crate) fn is_over(&self) -> bool {
        self.is_last(self.head.height, self.head.time)
    }

    /// Height after which the admins end the epoch, while it is not reached: empty blocks may
    /// lead there.
    pub fn ends_at(&self) -> Option<Height> {
        self.ends_at.filter(|height| *height > self.tip().height)
    }

    /// Whether the message belongs to the next epoch; then it is kept for it.
    pub(crate) fn keep_for_next_epoch(
        &mut self,
        from: PublicKey,
        message: &ConsensusMessage,
    ) -> bool {
        let ahead = message.epoch() == Some(self.epoch().next());
        if ahead {
            self.ahead.add(from, message.clone());
        }
        ahead
    }
}

/// The step into the next epoch.
impl Machine {
    /// Goes on under the next committee. The ledger has synced the stable checkpoint of the
    /// epoch's last height, which names that committee; whoever must not sign any more has no
    /// seat in it. The signer has the key that the new seat signs with, if this node holds one.
    pub fn open_epoch(
        &mut self,
        now: TimeMs,
        committee: Committee,
        signer: Arc<dyn Signer>,
    ) -> Vec<Effect> {
        let named = self.checkpoints.stable().and_then(|stable| stable.checkpoint.next_committee);
        match committee.epoch == self.epoch().next() && named == Some(committee.digest()) {
            true => self.open(now, committee, signer),
            false => Vec::new(),
        }
    }

    /// Goes on under the committee of a recovery (P21), which the ledger has synced and which keeps
    /// the newest height executed here.
    pub fn open_recovered(
        &mut self,
        now: TimeMs,
        committee: Committee,
        signer: Arc<dyn Signer>,
    ) -> Vec<Effect> {
        if committee.epoch <= self.epoch() {
            return Vec::new();
        }
        // Another one may be accepted that keeps more.
        self.follows_until = self.follows_until.filter(|until| *until > committee.anchor);
        self.open(now, committee, signer)
    }

    fn open(&mut self, now: TimeMs, committee: Committee, signer: Arc<dyn Signer>) -> Vec<Effect> {
        let stands = committee.anchor == self.head.height && self.executed == self.head.height;
        if self.halted.is_some() || !stands {
            return Vec::new();
        }
        self.now = now;
        if committee.protocol > PROTOCOL_VERSION {
            let (epoch, wanted) = (committee.epoch, committee.protocol);
            self.halt(HaltReason::Protocol { epoch, wanted, ours: PROTOCOL_VERSION });
            return std::mem::take(&mut self.effects);
        }
        let dropped: Vec<SignedTx> = self.bodies.drain();
        if !dropped.is_empty() {
            self.effects.push(Effect::Returned(dropped));
        }
        self.begin(committee, signer);
        for (from, message) in self.ahead.take() {
            self.on_message(from, message);
        }
        self.advance();
        std::mem::take(&mut self.effects)
    }

    /// Nothing of the epoch before remains but the chain and what was learnt of the network.
    fn begin(&mut self, committee: Committee, signer: Arc<dyn Signer>) {
        let seat = seat_of(&committee, &self.own, &*signer);
        self.seat = seat.filter(|_| self.follows_until.is_none());
        self.rules = self.rules.resized(committee.size());
        self.committee_digest = committee.digest();
        #[cfg(feature = "planted")]
        self.before.replace(self.committee.clone());
        self.committee = committee;
        self.signer = signer;
        self.view = View(0);
        self.installed = Installed::default();
        self.ends_at = None;
        self.highest = None;
        self.decided = None;
        self.deciding = None;
        self.asked = None;
        self.slots.clear();
        self.unexecuted.clear();
        self.early = Early::default();
        self.view_changes = ViewChanges::default();
        self.bodies = Bodies::default();
        self.checkpoints = Checkpoints::new(self.checkpoints.stable().cloned());
        self.attested = Attested::default();
        self.newest = Newest::default();
        self.take_up_later();
        self.ask_again();
        self.pace.begin_epoch();
        self.sync.begin_epoch(self.now);
    }

    /// A machine that signs nothing in the epoch that it begins in, nor in one that it comes
    /// through on the way to the height that an accepted recovery keeps (P21).
    #[must_use]
    pub fn following_until(mut self, kept: Height) -> Self {
        (self.seat, self.follows_until) = (None, Some(kept));
        self
    }

    /// Whether an accepted recovery leaves this height of the epochs before it out: nothing of them
    /// is committed there any more, whoever signed it.
    pub(crate) fn is_left_out(&self, height: Height) -> bool {
        self.follows_until.is_some_and(|kept| height > kept)
    }

    pub fn epoch(&self) -> Epoch {
        self.committee.epoch
    }

    /// No checkpoint is signed at or below this height any more. An epoch that a recovery began
    /// has no stable checkpoint of the height below it.
    pub(crate) fn settled_height(&self) -> Height {
        self.checkpoints.stable_height().max(self.committee.anchor)
    }

    pub(crate) fn is_head_last(&self, head: &Head) -> bool {
        self.is_last(head.height, head.time)
    }
}
