//! Saying nothing until it is known what was said before (P20).
//!
//! A log that was restored from a copy lacks what was signed after the copy was made. So a
//! validator that starts asks the others for the newest they saw it sign. When enough have
//! answered and all of it is in its log, it goes on. Otherwise its log is old: it signs nothing
//! until a stable checkpoint has settled every height that it may have forgotten, and in no
//! view that it may have left.

use crate::{Machine, Record};
use std::collections::BTreeSet;
use twinfold_types::{
    Height, PublicKey, SeatIndex, TimeMs, View,
    limits::{PIPELINE_HEIGHTS, STATUS_INTERVAL_MS},
    message::{ConsensusMessage, Signed},
    vote::{CheckpointVote, ViewChangeHeader, Vote, VoteKind},
};

/// Whether and why this validator signs nothing.
#[derive(Clone, Debug, Default)]
pub(crate) enum Silence {
    #[default]
    Over,
    Asking(Asking),
    Until(Forgotten),
}

#[derive(Clone, Debug)]
pub(crate) struct Asking {
    /// The newest that the log holds when it is read.
    log: Log,
    answered: BTreeSet<SeatIndex>,
    /// What is not in the log, of all answers so far.
    forgotten: Option<Forgotten>,
    due: Option<TimeMs>,
}

#[derive(Clone, Copy, Debug)]
struct Log {
    view: View,
    vote: (View, Height, VoteKind),
    head: Height,
}

/// What may have been signed and is not in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// Nothing is signed in a view below this one any more.
    pub view: View,
    /// A stable checkpoint beyond this height settles it.
    pub height: Height,
}

/// For people who ask why a validator is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silent {
    /// So many of so many have answered.
    Asking {
        answered: usize,
        needed: usize,
    },
    Until(Forgotten),
}

impl Forgotten {
    fn raise(&mut self, other: Forgotten) {
        self.view = self.view.max(other.view);
        self.height = self.height.max(other.height);
    }
}

impl Machine {
    /// Signs nothing before the others have said what they saw of this seat. A driver wants
    /// this; a scene on a table, where nothing is ever restored, need not.
    #[must_use]
    pub fn asking_first(mut self) -> Self {
        if matches!(self.silence, Silence::Over) {
            self.ask();
        }
        self
    }

    fn ask(&mut self) {
        let log = Log { view: self.view, vote: self.newest_own_vote(), head: self.head.height };
        let (answered, forgotten, due) = (BTreeSet::new(), None, None);
        self.silence = Silence::Asking(Asking { log, answered, forgotten, due });
    }

    /// Another epoch begins. Nothing of the one before binds any more, but who was silent to its end
    /// may have signed in this one too. So may who holds a seat again since its copy was made.
    pub(crate) fn ask_again(&mut self) {
        self.forgotten = None;
        if self.is_silent() {
            self.ask();
        }
    }

    /// In the installed view everything up to the head is settled; older views are left.
    pub(crate) fn newest_own_vote(&self) -> (View, Height, VoteKind) {
        let settled = (self.installed.view, self.head.height, VoteKind::Commit);
        let Some(seat) = self.seat else { return settled };
        let own = self.slots.values().flat_map(|slot| slot.own_votes(seat));
        own.map(|vote| vote.body.order()).max().map_or(settled, |newest| newest.max(settled))
    }

    pub(crate) fn is_silent(&self) -> bool {
        !matches!(self.silence, Silence::Over)
    }

    pub fn silent(&self) -> Option<Silent> {
        match &self.silence {
            _ if self.seat.is_none() => None,
            Silence::Over => None,
            Silence::Asking(asking) => {
                let (answered, needed) = (asking.answered.len(), self.answers_needed());
                Some(Silent::Asking { answered, needed })
            }
            Silence::Until(forgotten) => Some(Silent::Until(*forgotten)),
        }
    }

    /// With this validator they are a quorum.
    fn answers_needed(&self) -> usize {
        self.committee.quorum() - 1
    }

    pub(crate) fn on_signed(&mut self, from: PublicKey, signed: Signed) {
        let (Some(own), Some(seat)) = (self.seat, self.committee.seat_of(&from)) else { return };
        // Who stands in another epoch knows nothing of this one.
        if signed.epoch != self.epoch() {
            return;
        }
        let Silence::Asking(asking) = &self.silence else { return };
        let log = asking.log;
        // Nobody can claim what this key did not sign.
        let Some(found) = self.forgotten_of(own, &log, &signed) else { return };
        if let Silence::Asking(asking) = &mut self.silence
            && seat != own
        {
            asking.answered.insert(seat);
            if let Some(found) = found {
                asking.forgotten.get_or_insert(found).raise(found);
            }
        }
    }

    /// What of it is not in the log; none at all for an answer that is not well signed.
    fn forgotten_of(
        &self,
        own: SeatIndex,
        log: &Log,
        signed: &Signed,
    ) -> Option<Option<Forgotten>> {
        let mut found: Option<Forgotten> = None;
        let mut add = |view, height| {
            let forgotten = Forgotten { view, height };
            found.get_or_insert(forgotten).raise(forgotten);
        };
        if let Some(vote) = &signed.vote {
            self.is_own_vote(own, vote).then_some(())?;
            if vote.body.order() > log.vote {
                add(vote.body.view, vote.body.height);
            }
        }
        if let Some(header) = &signed.view_change {
            self.is_own_change(own, header).then_some(())?;
            if header.body.view > log.view {
                let claimed = header.body.claim.map_or(Height(0), |claim| claim.height);
                add(header.body.view, claimed);
            }
        }
        if let Some(vote) = &signed.checkpoint {
            self.is_own_checkpoint(own, vote).then_some(())?;
            if vote.checkpoint.height > log.head {
                add(log.view, vote.checkpoint.height);
            }
        }
        Some(found)
    }

    fn is_own_vote(&self, own: SeatIndex, vote: &Vote) -> bool {
        vote.seat == own && vote.body.epoch == self.epoch() && self.is_signed(vote)
    }

    fn is_own_change(&self, own: SeatIndex, header: &ViewChangeHeader) -> bool {
        let statement = header.body.statement(&self.chain, &self.committee_digest);
        header.seat == own
            && header.body.epoch == self.epoch()
            && self.is_seat_signature(own, &statement, &header.signature)
    }

    fn is_own_checkpoint(&self, own: SeatIndex, vote: &CheckpointVote) -> bool {
        let statement = vote.checkpoint.statement(&self.chain, &self.committee_digest);
        vote.seat == own
            && vote.checkpoint.epoch == self.epoch()
            && self.is_seat_signature(own, &statement, &vote.signature)
    }

    /// Asks, or ends the silence where it may end.
    pub(crate) fn settle_silence(&mut self) -> bool {
        // Who holds no seat may be given one.
        if self.seat.is_none() {
            return false;
        }
        let needed = self.answers_needed();
        match &mut self.silence {
            Silence::Over => false,
            Silence::Asking(asking) if asking.answered.len() >= needed => {
                let forgotten = asking.forgotten;
                self.silence = Silence::Over;
                if let Some(forgotten) = forgotten {
                    self.fall_silent(forgotten);
                }
                true
            }
            Silence::Asking(asking) => {
                if asking.due.is_none_or(|due| due <= self.now) {
                    asking.due = Some(self.now.plus(STATUS_INTERVAL_MS));
                    self.broadcast(ConsensusMessage::GetSigned);
                }
                false
            }
            Silence::Until(forgotten) => {
                let height = forgotten.height;
                if !self.is_settled(height) {
                    return false;
                }
                self.silence = Silence::Over;
                true
            }
        }
    }

    /// Also after another start: the log itself does not show what it lacks.
    fn fall_silent(&mut self, mut forgotten: Forgotten) {
        // Others may have missed the last of what was in flight.
        forgotten.height = Height(forgotten.height.0.saturating_add(PIPELINE_HEIGHTS));
        self.restore_silence(forgotten);
        let Forgotten { view, height } = forgotten;
        self.persist(Record::Silence { epoch: self.epoch(), view, height });
    }

    pub(crate) fn silence_due(&self) -> Option<TimeMs> {
        match &self.silence {
            Silence::Asking(asking) => asking.due,
            _ => None,
        }
    }

    /// As found, or as read back from the log.
    pub(crate) fn restore_silence(&mut self, forgotten: Forgotten) {
        self.forgotten = Some(forgotten);
        self.view = self.view.max(forgotten.view);
        if !self.is_settled(forgotten.height) {
            self.silence = Silence::Until(forgotten);
        }
    }

    fn is_settled(&self, height: Height) -> bool {
        self.checkpoints.stable_height() > height && self.executed > height
    }

    /// As long as the log would not show it by itself.
    pub(crate) fn silence_record(&self) -> Option<Record> {
        let open = |Forgotten { view, height }: &Forgotten| {
            self.installed.view < *view || !self.is_settled(*height)
        };
        let Forgotten { view, height } = self.forgotten.filter(open)?;
        Some(Record::Silence { epoch: self.epoch(), view, height })
    }
}
