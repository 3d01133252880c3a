//! The guards of the agreement as functions of plain values. [`crate::Machine`] asks them before
//! it signs or installs anything, and the model checker asks the same ones.

use crate::planted::{Choice, Planted};
use twinfold_types::{
    Digest, Epoch, Height, View,
    limits::WATERMARK_HEIGHTS,
    quorum,
    vote::{VoteBody, VoteKind},
};

/// The guards for a committee of one size.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    seats: usize,
    pub(crate) planted: Choice,
}

/// Where a validator stands when it may have to vote.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// The view moved to; above the installed one while changing.
    pub view: View,
    pub installed: View,
    /// What the installed view stands on, as [`Rules::base_to_vote`] gives it.
    pub base: Option<VoteBody>,
    /// The newest committed block.
    pub head: (Height, Digest),
    /// Height of the newest stable checkpoint.
    pub stable: Height,
    /// Newest height that this validator has executed.
    pub executed: Height,
}

impl Standing {
    pub fn base_height(&self) -> Height {
        self.base.map_or(Height(0), |base| base.height)
    }

    /// No block at or below gets a vote, except for the base (P11).
    pub fn floor(&self) -> Height {
        self.base_height().max(self.head.0)
    }
}

impl Rules {
    pub fn new(seats: usize) -> Self {
        Self { seats, planted: Choice::default() }
    }

    /// The same for the committee of another epoch.
    #[must_use]
    pub fn resized(self, seats: usize) -> Self {
        Self { seats, ..self }
    }

    #[cfg(feature = "planted")]
    #[must_use]
    pub fn with_planted(mut self, mistake: Planted) -> Self {
        self.planted.chosen = Some(mistake);
        self
    }

    /// Equal votes that make a certificate, view changes that make a new view.
    pub fn quorum(&self) -> usize {
        quorum::quorum(self.seats) - usize::from(self.planted.is(Planted::QuorumShortByOne))
    }
}

/// Voting in the installed view.
impl Rules {
    /// P7: after signing a view change for v no vote below v.
    pub fn may_vote(&self, at: &Standing) -> bool {
        at.view == at.installed || self.planted.is(Planted::LeavingIgnored)
    }

    /// P15: the last height that may be voted on. Not beyond what was executed here either: who
    /// votes knows of an end of the epoch that is ordered so many heights below (P19).
    pub fn watermark(&self, at: &Standing) -> Height {
        if self.planted.is(Planted::WatermarkIgnored) {
            return Height(u64::MAX);
        }
        Height(at.stable.min(at.executed).0.saturating_add(WATERMARK_HEIGHTS))
    }

    /// P11: the base of the installed view, as far as votes are concerned.
    pub fn base_to_vote(&self, base: Option<VoteBody>) -> Option<VoteBody> {
        base.filter(|_| !self.planted.is(Planted::BaseSkipped))
    }

    /// P11: whether the base asks nothing any more, so that other blocks may be voted on.
    pub fn is_base_done(&self, at: &Standing, base_prepared: bool) -> bool {
        at.base.is_none_or(|base| base_prepared || base.height < at.head.0)
    }

    /// P11: the base, if the next prepare is for it. Not for one beside the committed chain: a
    /// later view has overtaken this one.
    pub fn next_base(&self, at: &Standing, base_prepared: bool) -> Option<VoteBody> {
        let base =
            at.base.filter(|_| self.may_vote(at) && !self.is_base_done(at, base_prepared))?;
        (base.height != at.head.0 || base.digest == at.head.1).then_some(base)
    }

    /// P4: whether a block other than the base may stand on its parent: the committed head, or
    /// what this validator prepared below in this view.
    pub fn fits_parent(
        &self,
        at: &Standing,
        height: Height,
        parent: Digest,
        own_below: Option<Digest>,
    ) -> bool {
        if height.prev() == Some(at.head.0) {
            return parent == at.head.1;
        }
        own_below == Some(parent) || self.planted.is(Planted::GapFilled)
    }

    /// P4 P7 P11 P15: whether a block other than the base may be prepared, so far as views,
    /// heights and ancestors go.
    pub fn may_prepare(
        &self,
        at: &Standing,
        base_prepared: bool,
        height: Height,
        parent: Digest,
        own_below: Option<Digest>,
    ) -> bool {
        self.may_vote(at)
            && self.is_base_done(at, base_prepared)
            && height > at.floor()
            && height <= self.watermark(at)
            && self.fits_parent(at, height, parent, own_below)
    }

    /// P5 P7 P11 P15: whether a prepared certificate allows a commit vote. At the head only a base
    /// still needs votes: others may not have committed it.
    pub fn may_commit(&self, at: &Standing, prepared: &VoteBody) -> bool {
        let is_base = at.base.is_some_and(|base| base.digest == prepared.digest);
        self.may_vote(at)
            && prepared.kind == VoteKind::Prepare
            && prepared.view == at.installed
            && (prepared.height > at.head.0 || (prepared.height == at.head.0 && is_base))
            && (is_base || prepared.height > at.base_height())
            && (is_base || prepared.height <= self.watermark(at))
    }
}

/// From view to view.
impl Rules {
    /// P8: what a view change claims.
    pub fn claim(&self, highest: Option<VoteBody>) -> Option<VoteBody> {
        highest.filter(|_| !self.planted.is(Planted::ClaimIgnored))
    }

    /// P7 P8: whether a view change for a view may be signed. A certificate of that view or a
    /// later one shows that a quorum is there already.
    pub fn may_move(&self, from: View, to: View, highest: Option<&VoteBody>) -> bool {
        to > from && highest.is_none_or(|highest| highest.view < to)
    }

    /// P8: a claim is of a lower view, of this epoch, and of a kind that can be claimed.
    pub fn is_claim_valid(&self, epoch: Epoch, to: View, claim: Option<&VoteBody>) -> bool {
        claim.is_none_or(|claim| {
            claim.view < to
                && (claim.epoch == epoch || self.planted.is(Planted::NeighbourEpoch))
                && claim.kind != VoteKind::PrePrepare
        })
    }

    /// P9: the highest of the claims, which is the base of the new view.
    pub fn base(&self, claims: &[Option<VoteBody>]) -> Option<VoteBody> {
        let rank = |claim: &&Option<VoteBody>| claim.map(|claim| claim.rank());
        if self.planted.is(Planted::LowestClaimTaken) {
            return claims.iter().min_by_key(rank).copied().flatten();
        }
        claims.iter().max_by_key(rank).copied().flatten()
    }

    /// P9: whether a base is what the claims of its headers demand.
    pub fn is_base_fitting(&self, claims: &[Option<VoteBody>], base: Option<&VoteBody>) -> bool {
        let demanded = self.base(claims).map(|base| base.rank());
        demanded == base.map(VoteBody::rank)
            && base.is_none_or(|base| claims.contains(&Some(*base)))
    }

    /// P10: whether a valid new view is installed by a validator that has moved to one view and
    /// installed another.
    pub fn may_install(&self, moved_to: View, installed: View, new: View) -> bool {
        let again = new == installed && self.planted.is(Planted::InstalledTwice);
        new >= moved_to && (new > installed || again)
    }
}
