//! What a seed decides before the run starts: size, faults, liars, planted mistakes.

use crate::{
    dice::Dice,
    lie::{Flaw, LIES, Lie, Mistake, SHARP_LIES, WorldFault},
};
use twinfold_consensus_planted::Planted;
use twinfold_types::limits::WATERMARK_HEIGHTS;

/// Sizes of committees and how often each is drawn: small ones show more for their time.
const SEATS: [(usize, u64); 13] = [
    (4, 40),
    (5, 6),
    (6, 6),
    (7, 20),
    (8, 4),
    (9, 3),
    (10, 6),
    (11, 2),
    (12, 2),
    (13, 5),
    (14, 1),
    (15, 1),
    (16, 4),
];
/// Messages of a height grow with the square of the seats: a run has about so many in all.
const SEATS_SQUARED_HEIGHTS: u64 = 6_000;

#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Syncs that fail and end their process.
    pub sync_failures: u64,
    /// Longest sync, and that of the one disk that is slower than the others.
    pub sync_ms_max: u64,
    pub slow_sync_ms_max: u64,
    /// How far a clock may be wrong.
    pub skew_ms_max: u64,
    pub view_heights: u64,
    pub txs: usize,
    pub block_txs: usize,
    /// Length of an epoch in block time; without one there is one epoch.
    pub epoch_ms: Option<u64>,
    /// The admins end epochs before their time.
    pub ends_early: bool,
    /// So long after an epoch's length evidence about it is taken.
    pub evidence_ms: u64,
    /// What the seats of an epoch earn together.
    pub reward: u64,
    /// Trainers send updates, and every node folds them.
    pub learns: bool,
    /// The observer is not there from the start: then it joins from a stable checkpoint.
    pub joins_ms: Option<u64>,
    /// More seats are lost for good than the committee bears.
    pub loses_ms: Option<u64>,
    /// Crashes after which the ledger is gone and the log is there.
    pub ledgers_lost: u64,
    /// Many transactions lapse soon.
    pub brief_validity: bool,
    /// No checkpoint becomes stable while there are faults: the watermark is reached.
    pub checkpoints_lost: bool,
}

impl Plan {
    /// With a number of seats the seed draws everything but that.
    pub fn new(seed: u64, seats: Option<usize>) -> Self {
        let mut dice = Dice::new(seed);
        let drawn = draw_seats(&mut dice);
        let seats = seats.unwrap_or(drawn);
        let real_signatures = seed % 100 == 99;
        let heights = (SEATS_SQUARED_HEIGHTS / (seats * seats) as u64).clamp(20, 400);
        let txs = dice.between(heights / 2, heights);
        let mut plan = Self {
            seed,
            seats,
            liars: draw_liars(seats, &LIES, &mut dice),
            mistake: None,
            observer: dice.chance(25),
            real_signatures,
            faults_ms: dice.between(10_000, 45_000),
            delay_ms_max: dice.pick(&[20, 20, 100, 400, 1_500]),
            drop_percent: dice.pick(&[0, 2, 10, 25]),
            duplicate_percent: dice.pick(&[0, 5, 20]),
            crashes: dice.between(0, 8),
            kills_of_all: dice.between(0, 3),
            partitions: dice.between(0, 4),
            sync_failures: dice.pick(&[0, 0, 1, 4]),
            sync_ms_max: dice.pick(&[2, 8, 8, 40]),
            slow_sync_ms_max: dice.pick(&[8, 8, 100, 700]),
            skew_ms_max: dice.pick(&[0, 300, 300, 900]),
            view_heights: dice.pick(&[3, 10, 30, 10_000]),
            txs: (if real_signatures { txs / 4 } else { txs }) as usize,
            block_txs: dice.pick(&[1, 1, 1, 3]),
            epoch_ms: None,
            ends_early: false,
            evidence_ms: 600_000,
            reward: 0,
            learns: seed % 8 == 5,
            joins_ms: None,
            loses_ms: None,
            ledgers_lost: 0,
            brief_validity: seed % 4 == 2,
            checkpoints_lost: false,
        };
        if dice.chance(5) && seats <= 7 {
            plan.lose_checkpoints();
        } else {
            plan.draw_epochs(&mut dice);
        }
        if plan.liars.iter().any(|(_, lie)| *lie == Lie::Censor) {
            plan.view_heights = plan.view_heights.min(10);
        }
        let mut dice = Dice::new(seed ^ 0x6a6f_696e);
        if plan.observer && dice.chance(50) {
            plan.joins_ms = Some(dice.between(1_000, plan.faults_ms));
        }
        if dice.chance(30) {
            plan.ledgers_lost = dice.between(1, 3);
        }
        let steady = !plan.learns && !plan.ends_early && !plan.checkpoints_lost;
        if steady && seats >= 7 && dice.chance(40) {
            plan.loses_ms = Some(dice.between(2_000, plan.faults_ms / 2));
        }
        plan
    }

    /// A small network with a mistake in it, and lies that make the most of it.
    pub fn with_mistake(seed: u64, mistake: Mistake) -> Self {
        let mut dice = Dice::new(seed ^ 0x6d69_7374);
        let seats = if dice.chance(25) { 7 } else { 4 };
        let mut plan = Self::new(seed, Some(seats));
        plan.mistake = Some(mistake);
        plan.real_signatures = false;
        (plan.joins_ms, plan.loses_ms, plan.ledgers_lost) = (None, None, 0);
        plan.liars = draw_liars(seats, &SHARP_LIES, &mut dice);
        plan.txs = dice.between(20, 60) as usize;
        plan.delay_ms_max = dice.pick(&[20, 100, 400, 1_500]);
        plan.block_txs = 3;
        (plan.sync_ms_max, plan.slow_sync_ms_max) = (8, 8);
        match mistake {
            Mistake::World(WorldFault::OneLiarTooMany) => plan.add_liar(Lie::Equivocate),
            Mistake::World(WorldFault::OneTwinTooMany) => plan.add_liar(Lie::Twins),
            Mistake::World(WorldFault::FailedSyncIgnored) => plan.sync_failures = 8,
            Mistake::World(WorldFault::SignaturesUnchecked) => {
                plan.liars = draw_liars(seats, &[Lie::Forge], &mut dice);
            }
            Mistake::World(WorldFault::NeverRotated) => plan.censor_for_good(),
            Mistake::Machine(Planted::WatermarkIgnored) => plan.lose_checkpoints(),
            Mistake::Machine(Planted::EndIgnored) => plan.epoch_ms = Some(1_500),
            Mistake::Machine(Planted::NeighbourEpoch) => {
                plan.ends_early = false;
                plan.liars = draw_liars(seats, &[Lie::Changes], &mut dice);
                (plan.txs, plan.view_heights) = (120, 10_000);
                (plan.drop_percent, plan.delay_ms_max) = (10, dice.pick(&[100, 400]));
                plan.epoch_ms = Some(4_000);
            }
            Mistake::Machine(Planted::EvidenceDropped) => {
                (plan.epoch_ms, plan.ends_early, plan.evidence_ms) = (Some(1_500), false, 600_000);
                plan.liars = draw_liars(seats, &[Lie::Equivocate], &mut dice);
                (plan.crashes, plan.kills_of_all, plan.sync_failures) = (0, 0, 0);
            }
            Mistake::Execution(Flaw::ArrivalFold) => {
                (plan.learns, plan.epoch_ms, plan.ends_early) = (true, None, false);
            }
            Mistake::Execution(Flaw::UnbondingKept) => {
                (plan.epoch_ms, plan.ends_early, plan.evidence_ms) = (Some(1_500), false, 3_000);
            }
            Mistake::Execution(Flaw::ReplayOffByOne) => {
                plan.brief_validity = true;
                plan.liars = draw_liars(seats, &[Lie::Stall], &mut dice);
                (plan.faults_ms, plan.txs) = (20_000, 120);
            }
            _ => {}
        }
        plan
    }

    /// Most runs have several epochs, some of which the admins end early. Where there are several
    /// the observer is there to take a seat.
    fn draw_epochs(&mut self, dice: &mut Dice) {
        self.epoch_ms = dice.pick(&[None, Some(1_500), Some(4_000), Some(12_000)]);
        if self.epoch_ms.is_none() && dice.chance(50) && self.seats <= 7 {
            self.ends_early = true;
        }
        if self.learns && self.epoch_ms.is_some() {
            // Payloads that the first committee certified count for two epochs.
            self.epoch_ms = Some(12_000);
        }
        self.observer |= self.epoch_ms.is_some() || self.ends_early;
        self.evidence_ms = dice.pick(&[3_000, 20_000, 600_000]);
        self.reward = dice.pick(&[0, 70, 1_000]);
    }

    /// One more than the committee bears, all of one kind.
    fn add_liar(&mut self, lie: Lie) {
        let first = self.seed as usize;
        let count = (self.seats - 1) / 3 + 1;
        self.liars = (0..count).map(|i| ((first + i) % self.seats, lie)).collect();
    }

    /// The first leader passes over some transactions, nothing else fails, and it stays.
    fn censor_for_good(&mut self) {
        self.liars = vec![(0, Lie::Censor)];
        (self.crashes, self.kills_of_all, self.partitions, self.sync_failures) = (0, 0, 0, 0);
        (self.delay_ms_max, self.drop_percent, self.view_heights) = (20, 0, u64::MAX);
    }

    /// More blocks than the watermark allows above one checkpoint, on a network that is fast
    /// enough to order them.
    fn lose_checkpoints(&mut self) {
        self.checkpoints_lost = true;
        (self.epoch_ms, self.ends_early) = (None, false);
        (self.txs, self.block_txs) = (WATERMARK_HEIGHTS as usize + 40, 1);
        (self.delay_ms_max, self.drop_percent, self.kills_of_all) = (20, 0, 0);
        (self.sync_ms_max, self.slow_sync_ms_max) = (8, 8);
    }

    pub fn planted(&self) -> Option<Planted> {
        match self.mistake {
            Some(Mistake::Machine(planted)) => Some(planted),
            _ => None,
        }
    }

    pub fn flaw(&self) -> Option<Flaw> {
        match self.mistake {
            Some(Mistake::Execution(flaw)) => Some(flaw),
            _ => None,
        }
    }

    pub fn has(&self, fault: WorldFault) -> bool {
        self.mistake == Some(Mistake::World(fault))
    }

    pub fn lie(&self, seat: usize) -> Option<Lie> {
        self.liars.iter().find(|(liar, _)| *liar == seat).map(|(_, lie)| *lie)
    }
}

fn draw_seats(dice: &mut Dice) -> usize {
    let mut draw = dice.between(0, SEATS.iter().map(|(_, weight)| weight).sum::<u64>() - 1);
    for (seats, weight) in SEATS {
        match draw.checked_sub(weight) {
            Some(rest) => draw = rest,
            None => return seats,
        }
    }
    4
}

/// In most runs some lie, as many as the committee bears at most.
fn draw_liars(seats: usize, lies: &[Lie], dice: &mut Dice) -> Vec<(usize, Lie)> {
    let faults = (seats - 1) / 3;
    let count = if dice.chance(70) { dice.between(1, faults as u64) as usize } else { 0 };
    let first = dice.index(seats);
    (0..count).map(|i| ((first + i) % seats, dice.pick(lies))).collect()
}
