//! What a seed decides before the run starts: size, faults, liars, planted mistakes.

use crate::dice::Dice;

/// A mistake put into the machinery on purpose, to prove that the checks see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// One liar more than the committee bears: what a quorum short by one would allow.
    OneLiarTooMany,
    /// The disk acknowledges a sync and keeps nothing of it.
    RecordsLost,
    /// Messages leave, and own votes count, before the sync.
    SpokenBeforeDurable,
    /// View changes claim no certificate.
    ClaimsForgotten,
}

/// How a lying member lies. Its machine runs the honest program; what leaves it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Two blocks to two halves, and votes for whatever anyone proposes or votes for.
    Equivocate,
    /// Sends to some, not to others.
    Withhold,
    /// New views with another base to each, claims nothing.
    Bases,
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub seats: usize,
    pub observer: bool,
    pub real_signatures: bool,
    pub liars: Vec<(usize, Lie)>,
    pub planted: Option<Planted>,
    /// Faults stop at this time.
    pub faults_ms: u64,
    pub delay_ms_max: u64,
    pub drop_percent: u64,
    pub duplicate_percent: u64,
    pub crashes: u64,
    pub kills_of_all: u64,
    pub partitions: u64,
    pub view_heights: u64,
    pub txs: usize,
}

impl Plan {
    pub fn new(seed: u64, planted: Option<Planted>) -> Self {
        let mut dice = Dice::new(seed);
        let seats = if dice.chance(25) { 7 } else { 4 };
        let faults = (seats - 1) / 3;
        let mut liars = if dice.chance(60) { dice.between(1, faults as u64) as usize } else { 0 };
        if planted == Some(Planted::OneLiarTooMany) {
            liars = faults + 1;
        }
        let lies = [Lie::Equivocate, Lie::Withhold, Lie::Bases];
        let first = dice.index(seats);
        let liars = (0..liars).map(|i| {
            let lie = if planted == Some(Planted::OneLiarTooMany) {
                Lie::Equivocate
            } else {
                lies[dice.index(lies.len())]
            };
            ((first + i) % seats, lie)
        });
        Self {
            seed,
            seats,
            liars: liars.collect(),
            planted,
            observer: dice.chance(25),
            real_signatures: seed % 100 == 99,
            faults_ms: dice.between(15_000, 45_000),
            delay_ms_max: [20, 100, 400, 1_500][dice.index(4)],
            drop_percent: [0, 2, 10, 25][dice.index(4)],
            duplicate_percent: [0, 5, 20][dice.index(3)],
            crashes: dice.between(0, 8),
            kills_of_all: dice.between(0, 3),
            partitions: dice.between(0, 4),
            view_heights: [3, 10, 10_000][dice.index(3)],
            txs: dice.between(20, 60) as usize,
        }
    }

    pub fn lie(&self, node: usize) -> Option<Lie> {
        self.liars.iter().find(|(liar, _)| *liar == node).map(|(_, lie)| *lie)
    }
}
