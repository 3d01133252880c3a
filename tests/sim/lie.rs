//! What goes wrong in heads: how members lie, and the mistakes that are made on purpose.

use twinfold_consensus_planted::Planted;

/// How a lying member lies. Its machine runs the honest program; what leaves it, what it
/// proposes or what it keeps does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Two blocks to two halves, and votes for whatever anyone proposes or votes for.
    Equivocate,
    /// Sends to some, not to others; at times to nobody.
    Withhold,
    /// New views with another base to each, claims nothing.
    Bases,
    /// Two honest machines with one key, each with a disk of its own.
    Twins,
    /// Its disk forgets the log, at times the chain too, whenever it crashes.
    Amnesia,
    /// View changes with stale, forged and far-fetched claims, another to each.
    Changes,
    /// Certificates with too few signatures, copied ones, or a quorum's of another epoch.
    Forge,
    /// Bodies that are not those their headers name, states that nobody computed.
    Corrupt,
    /// Bytes with flips that still decode, and old messages of anybody.
    Garbage,
    /// Proposes the latest time that anyone accepts.
    Race,
    /// Proposes the earliest time that follows, empty blocks, and executed transactions again at
    /// the last moment of their validity.
    Stall,
    /// Passes over one sender's transactions, and makes empty blocks rather than take them.
    Censor,
}

pub const LIES: [Lie; 12] = [
    Lie::Equivocate,
    Lie::Withhold,
    Lie::Bases,
    Lie::Twins,
    Lie::Amnesia,
    Lie::Changes,
    Lie::Forge,
    Lie::Corrupt,
    Lie::Garbage,
    Lie::Race,
    Lie::Stall,
    Lie::Censor,
];

/// Those that break agreement soonest where a rule is missing.
pub const SHARP_LIES: [Lie; 3] = [Lie::Equivocate, Lie::Withhold, Lie::Bases];

/// A mistake made on purpose, to prove that the checks see it: in every machine, or around them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    Machine(Planted),
    World(WorldFault),
    Execution(Flaw),
}

/// A mistake in the execution of every node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Writes go into the root in the order of an unordered map.
    UnorderedMap,
    /// A transaction is forgotten while one more block could carry it again.
    ReplayOffByOne,
    /// Updates are folded in floating point, in the order in which they arrived.
    ArrivalFold,
    /// Stake whose time is over is free, and stays among what is on its way as well.
    UnbondingKept,
}

/// What a machine cannot help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorldFault {
    /// One liar more than the committee bears.
    OneLiarTooMany,
    /// One pair of twins more than the committee bears.
    OneTwinTooMany,
    /// The disk acknowledges a sync and keeps nothing of it.
    RecordsLost,
    /// The driver lets messages out, and own votes back in, before the sync.
    SpokenBeforeSync,
    /// The driver goes on after a sync that failed.
    FailedSyncIgnored,
    /// Every signature counts as valid.
    SignaturesUnchecked,
    /// A leader is never replaced as planned.
    NeverRotated,
}
