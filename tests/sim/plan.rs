//! What a seed decides before the run starts: size, faults, liars, planted mistakes.

use crate::dice::Dice;
use twinfold_consensus_planted::Planted;
use twinfold_types::limits::WATERMARK_HEIGHTS;

/// A mistake made on purpose, to prove that the checks see it: in every machine, or around them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    Machine(Planted),
    World(WorldFault),
}

/// What a machine cannot help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorldFault {
    /// One liar more than the committee bears.
    OneLiarTooMany,
    /// The disk acknowledges a sync and keeps nothing of it.
    RecordsLost,
    /// The driver lets messages out, and own votes back in, before the sync.
    SpokenBeforeSync,
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
    pub mistake: Option<Mistake>,
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
    pub block_txs: usize,
    /// No checkpoint becomes stable while there are faults: the watermark is reached.
    pub checkpoints_lost: bool,
}

impl Plan {
    pub fn new(seed: u64, mistake: Option<Mistake>) -> Self {
        let planted = |planted| mistake == Some(Mistake::Machine(planted));
        let too_many = mistake == Some(Mistake::World(WorldFault::OneLiarTooMany));
        let mut dice = Dice::new(seed);
        let seats = if dice.chance(25) { 7 } else { 4 };
        let faults = (seats - 1) / 3;
        let mut liars = if dice.chance(60) { dice.between(1, faults as u64) as usize } else { 0 };
        if too_many {
            liars = faults + 1;
        }
        let lies = [Lie::Equivocate, Lie::Withhold, Lie::Bases];
        let first = dice.index(seats);
        let liars = (0..liars).map(|i| {
            let lie = if too_many { Lie::Equivocate } else { lies[dice.index(lies.len())] };
            ((first + i) % seats, lie)
        });
        let mut plan = Self {
            seed,
            seats,
            liars: liars.collect(),
            mistake,
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
            block_txs: 3,
            checkpoints_lost: false,
        };
        if dice.chance(5) || planted(Planted::WatermarkIgnored) {
            plan.lose_checkpoints();
        }
        plan
    }

    /// More blocks than the watermark allows above one checkpoint, on a network that is fast
    /// enough to order them.
    fn lose_checkpoints(&mut self) {
        self.checkpoints_lost = true;
        (self.txs, self.block_txs) = (WATERMARK_HEIGHTS as usize + 40, 1);
        (self.delay_ms_max, self.drop_percent, self.kills_of_all) = (20, 0, 0);
    }

    pub fn planted(&self) -> Option<Planted> {
        match self.mistake {
            Some(Mistake::Machine(planted)) => Some(planted),
            _ => None,
        }
    }

    pub fn lie(&self, node: usize) -> Option<Lie> {
        self.liars.iter().find(|(liar, _)| *liar == node).map(|(_, lie)| *lie)
    }
}
