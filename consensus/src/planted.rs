//! Mistakes that can be put into the agreement on purpose, to prove that the checks see them.
//!
//! Only a build with the feature `planted` can choose one, and no product is built with it: without
//! the feature [`Choice`] is empty and every question below is a constant no.

/// Each breaks one sentence of the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// One vote fewer than n − f makes a certificate, one view change fewer a new view.
    QuorumShortByOne,
    /// An own vote is counted as it is signed, not when it comes back after its sync (P2).
    OwnVoteCountedEarly,
    /// The body of a block is not persisted before its prepare (P2).
    BodyNotDurable,
    /// A vote leaves a turn before its record is persisted (P2).
    VoteNotDurable,
    /// A view change claims nothing (P8).
    ClaimIgnored,
    /// A new view stands on the lowest claim, and everyone agrees with that (P9).
    LowestClaimTaken,
    /// A second new view of one view replaces the first (P10).
    InstalledTwice,
    /// The base asks for no vote and forbids none (P11).
    BaseSkipped,
    /// A block is prepared whether or not its parent was prepared in this view (P4).
    GapFilled,
    /// There is no height too far above the stable checkpoint (P15).
    WatermarkIgnored,
    /// Votes go on in the installed view after a view change was signed (P7).
    LeavingIgnored,
    /// A certificate of the epoch before counts in this one (P19).
    NeighbourEpoch,
    /// Blocks go on in an epoch above its last (P19).
    EndIgnored,
    /// Evidence about an epoch is dropped at the epoch's end.
    EvidenceDropped,
}

/// What is planted: at most one mistake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    #[cfg(feature = "planted")]
    pub chosen: Option<Planted>,
}

impl Choice {
    #[cfg(feature = "planted")]
    pub fn is(self, mistake: Planted) -> bool {
        self.chosen == Some(mistake)
    }

    #[cfg(not(feature = "planted"))]
    #[inline(always)]
    pub const fn is(self, _: Planted) -> bool {
        false
    }
}
