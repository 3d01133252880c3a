//! Who of the trainers enrolled takes part in a round, and why.
//!
//! The draw is by the digest of a block that was made after enrolment had closed, so that nobody can enrol
//! keys until one of them is chosen. Whoever leads that block can still try several blocks; availability
//! is what the ledger saw, utility (after Lai et al., *Oort*, OSDI 2021) is the trainers' own word.

use super::{Mode, TaskSpec};
use crate::{
    ClusterId, Digest, Height, PublicKey, RoundNumber, TaskId,
    hash::Tag,
    limits,
    round::{Metrics, RoundKey},
};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// What a choice goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    /// Chance alone.
    Random,
    /// Updates delivered of those it was chosen for.
    Availability,
    /// Its newest loss times its examples, both its own word.
    Utility,
}

/// A task's rule of choosing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Selection {
    /// Trainers chosen for a cluster's round. With more than the round takes it closes with the first of
    /// them (over-selection).
    pub trainers: u32,
    pub by: Criterion,
    /// Millionths of the places that go by chance all the same.
    pub chance_ppm: u32,
}

/// A trainer says that it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolAction {
    pub task: TaskId,
    pub cluster: ClusterId,
}

/// A trainer that may be chosen, as the state keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    pub trainer: PublicKey,
    pub since: Height,
    /// Rounds it was chosen for, and those it sent an update to.
    pub chosen: u32,
    pub delivered: u32,
    /// Rounds in a row that it was chosen for and that waited for it in vain.
    pub missed: u32,
    /// The newest round it was chosen for, and whether its update has come.
    pub newest: Option<(RoundNumber, bool)>,
    /// Its newest examples and figures.
    pub examples: u32,
    pub metrics: Metrics,
}

/// Where a round's choice stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Draw {
    /// Everyone may send.
    Unused,
    /// Too few are enrolled.
    Awaited,
    /// Those enrolled up to this height are drawn among, by a later block.
    Closed {
        at: Height,
    },
    Done,
}

/// Why a trainer was chosen, or was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Its figure was among the highest.
    Figure,
    /// By chance.
    Chance,
    /// Others had higher figures, or the chance.
    NotChosen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Candidate {
    pub trainer: PublicKey,
    /// What the choice went by.
    pub figure: u64,
    pub reason: Reason,
}

/// How a round's trainers were chosen: anyone draws again and compares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Drawing {
    /// Enrolment closed with this height; the draw is by the digest of the block above it or a later one.
    pub closed: Height,
    pub seed: Digest,
    /// In the order of their keys.
    pub candidates: Vec<Candidate>,
}

impl Enrolled {
    pub fn new(trainer: PublicKey, since: Height) -> Self {
        let (examples, metrics) = (0, Metrics::default());
        let (chosen, delivered, missed, newest) = (0, 0, 0, None);
        Self { trainer, since, chosen, delivered, missed, newest, examples, metrics }
    }

    /// The same trainer, enrolled again: what it was chosen for and delivered stands.
    pub fn again(self, since: Height) -> Self {
        Self { since, missed: 0, newest: None, ..self }
    }

    /// Its update for a round came.
    pub fn delivers(&mut self, round: RoundNumber, examples: u32, metrics: Metrics) {
        if let Some((newest, came)) = &mut self.newest
            && *newest == round
            && !*came
        {
            *came = true;
            (self.delivered, self.missed) = (self.delivered + 1, 0);
        }
        (self.examples, self.metrics) = (examples, metrics);
    }

    pub fn is_chosen_for(&self, round: RoundNumber) -> bool {
        self.newest.is_some_and(|(newest, _)| newest == round)
    }

    /// The higher, the sooner it is chosen. Whoever was never tried comes first.
    pub fn figure(&self, by: Criterion) -> u64 {
        match by {
            Criterion::Random => 0,
            Criterion::Availability => {
                (u64::from(self.delivered) + 1) * u64::from(limits::FACTOR_ONE)
                    / (u64::from(self.chosen) + 1)
            }
            Criterion::Utility if self.examples == 0 => u64::MAX,
            Criterion::Utility => u64::from(self.examples) * u64::from(self.metrics.loss),
        }
    }
}

impl Selection {
    /// Chooses among trainers by their figures; they stand in the order of their keys.
    pub fn draw(
        &self,
        round: &RoundKey,
        closed: Height,
        seed: Digest,
        enrolled: &[(PublicKey, u64)],
    ) -> Drawing {
        let lot = |trainer: &PublicKey| Digest::of(Tag::Selection, &(seed, round, trainer));
        let mut order: Vec<_> = (0..).zip(enrolled).collect::<Vec<(usize, _)>>();
        order.sort_by_cached_key(|(_, (trainer, _))| lot(trainer));
        let places = (self.trainers as usize).min(enrolled.len());
        let by_chance = match self.by {
            Criterion::Random => places,
            _ => (places as u64 * u64::from(self.chance_ppm) / 1_000_000) as usize,
        };
        let mut reasons = vec![Reason::NotChosen; enrolled.len()];
        // Stable: of equal figures the lot decides.
        let mut ranked = order.clone();
        ranked.sort_by_key(|(_, (_, figure))| std::cmp::Reverse(*figure));
        for (at, _) in ranked.into_iter().take(places - by_chance) {
            reasons[at] = Reason::Figure;
        }
        let others = order.into_iter().filter(|(at, _)| reasons[*at] == Reason::NotChosen);
        for at in others.map(|(at, _)| at).take(by_chance).collect::<Vec<_>>() {
            reasons[at] = Reason::Chance;
        }
        let candidates = enrolled.iter().zip(reasons);
        let candidates = candidates
            .map(|((trainer, figure), reason)| Candidate {
                trainer: *trainer,
                figure: *figure,
                reason,
            })
            .collect();
        Drawing { closed, seed, candidates }
    }
}

impl Drawing {
    /// The same draw again, by a task's rule.
    pub fn again(&self, rule: &Selection, round: &RoundKey) -> Drawing {
        let figures = self.candidates.iter().map(|one| (one.trainer, one.figure));
        rule.draw(round, self.closed, self.seed, &figures.collect::<Vec<_>>())
    }

    /// Why a trainer was chosen, or was not; nothing where it was not enrolled.
    pub fn of(&self, trainer: &PublicKey) -> Option<Candidate> {
        let at = self.candidates.binary_search_by_key(trainer, |candidate| candidate.trainer);
        at.ok().map(|at| self.candidates[at])
    }

    pub fn chosen(&self) -> impl Iterator<Item = &Candidate> {
        self.candidates.iter().filter(|candidate| candidate.reason != Reason::NotChosen)
    }
}

/// Why the selection, or what becomes of late updates, does not go with the rest of the task.
pub(super) fn fault(spec: &TaskSpec) -> Option<String> {
    if !spec.late.is_empty() {
        if spec.mode != Mode::Sync {
            return Some(
                "late updates are of synchronous rounds; others take what is stale anyway".into(),
            );
        }
        if spec.late.len() > limits::STALENESS_MAX
            || spec.late[0] != limits::FACTOR_ONE
            || !spec.late.is_sorted_by(|a, b| a >= b)
        {
            return Some(
                "factors of late updates are at most 256, start at 65,536 and never rise".into(),
            );
        }
        if !spec.screen.is_off() {
            return Some(
                "updates of one round are compared, so they must have one base: take no late ones"
                    .into(),
            );
        }
    }
    let selection = spec.selection?;
    if spec.mode != Mode::Sync {
        return Some(
            "trainers are chosen for synchronous rounds: an asynchronous task takes whoever comes"
                .into(),
        );
    }
    let range = spec.participants_min..=limits::PARTICIPANTS_MAX;
    if !range.contains(&selection.trainers) {
        return Some(format!(
            "{} trainers chosen; a round needs {} and lists {}",
            selection.trainers,
            spec.participants_min,
            limits::PARTICIPANTS_MAX
        ));
    }
    (selection.chance_ppm > 1_000_000).then(|| "a share of places is 0 to 1".into())
}

/// As it is read: `random:K`, `availability:K[:SHARE]`, `utility:K[:SHARE]`.
impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = f64::from(self.chance_ppm) / 1e6;
        match self.by {
            Criterion::Random => write!(f, "random:{}", self.trainers),
            Criterion::Availability => write!(f, "availability:{}:{share}", self.trainers),
            Criterion::Utility => write!(f, "utility:{}:{share}", self.trainers),
        }
    }
}

/// Places that go by chance unless said otherwise: one in ten.
const CHANCE_PPM: u32 = 100_000;

impl FromStr for Selection {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || {
            format!(
                "expected random:K, availability:K[:SHARE] or utility:K[:SHARE] with K trainers a round, got {text:?}"
            )
        };
        let number = |text: &str| text.parse::<u32>().map_err(|_| fault());
        let share = |text: &str| {
            let share = text.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
            share.map(|share| (share * 1e6).round() as u32).ok_or_else(fault)
        };
        let (by, trainers, chance_ppm) = match text.split(':').collect::<Vec<_>>()[..] {
            ["random", trainers] => (Criterion::Random, number(trainers)?, 0),
            ["availability", trainers] => (Criterion::Availability, number(trainers)?, CHANCE_PPM),
            ["utility", trainers] => (Criterion::Utility, number(trainers)?, CHANCE_PPM),
            ["availability", trainers, chance] => {
                (Criterion::Availability, number(trainers)?, share(chance)?)
            }
            ["utility", trainers, chance] => {
                (Criterion::Utility, number(trainers)?, share(chance)?)
            }
            _ => return Err(fault()),
        };
        Ok(Self { trainers, by, chance_ppm })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> RoundKey {
        RoundKey { task: TaskId(Digest::ZERO), cluster: ClusterId(0), round: RoundNumber(3) }
    }

    fn enrolled(count: u8) -> Vec<Enrolled> {
        (0..count).map(|at| Enrolled::new(PublicKey([at; 32]), Height(1))).collect()
    }

    fn draw(rule: &Selection, seed: Digest, all: &[Enrolled]) -> Drawing {
        let figures: Vec<_> = all.iter().map(|one| (one.trainer, one.figure(rule.by))).collect();
        let drawing = rule.draw(&key(), Height(1), seed, &figures);
        assert_eq!(drawing.again(rule, &key()), drawing);
        drawing
    }

    fn chosen(drawing: &Drawing) -> Vec<u8> {
        drawing.chosen().map(|candidate| candidate.trainer.0[0]).collect()
    }

    #[test]
    fn chance_gives_everyone_the_same_part() {
        let rule: Selection = "random:3".parse().unwrap();
        let mut times = [0; 10];
        for seed in 0..1_000u32 {
            let seed = Digest::of(Tag::Selection, &seed);
            let drawing = draw(&rule, seed, &enrolled(10));
            assert_eq!(chosen(&drawing).len(), 3);
            chosen(&drawing).iter().for_each(|at| times[usize::from(*at)] += 1);
        }
        // 300 on average; five standard deviations are 72.
        assert!(times.iter().all(|times| (228..=372).contains(times)), "{times:?}");
    }

    #[test]
    fn the_reliable_come_first_and_a_part_goes_by_chance() {
        let mut all = enrolled(10);
        for (at, one) in (0..).zip(&mut all) {
            (one.chosen, one.delivered) = (10, at);
        }
        let rule: Selection = "availability:4:0.5".parse().unwrap();
        let drawing = draw(&rule, Digest::ZERO, &all);
        let by_figure = drawing.candidates.iter().filter(|one| one.reason == Reason::Figure);
        let by_figure: Vec<_> = by_figure.map(|one| one.trainer.0[0]).collect();
        assert_eq!((by_figure, chosen(&drawing).len()), (vec![8, 9], 4));
        // Nobody's figure is as high as that of one who was never tried.
        all[0] = Enrolled::new(all[0].trainer, Height(1));
        let only: Selection = "availability:1:0".parse().unwrap();
        assert_eq!(chosen(&draw(&only, Digest::ZERO, &all)), [0]);
    }

    #[test]
    fn the_useful_come_first_by_their_own_word() {
        let mut all = enrolled(5);
        for (at, one) in (1..).zip(&mut all) {
            one.delivers(RoundNumber(0), 100, Metrics { loss: at << 16, accuracy: None });
        }
        let rule: Selection = "utility:2:0".parse().unwrap();
        assert_eq!(chosen(&draw(&rule, Digest::ZERO, &all)), [3, 4]);
    }

    #[test]
    fn fewer_than_wanted_are_all_chosen_and_nobody_of_nobody() {
        let rule: Selection = "utility:8".parse().unwrap();
        let draw = |count| draw(&rule, Digest::ZERO, &enrolled(count));
        assert_eq!(chosen(&draw(3)).len(), 3);
        assert_eq!(chosen(&draw(0)).len(), 0);
        let three = draw(3);
        assert!(three.of(&PublicKey([2; 32])).is_some() && three.of(&PublicKey([3; 32])).is_none());
    }

    #[test]
    fn an_update_counts_once_for_the_round_that_it_was_chosen_for() {
        let mut one = Enrolled::new(PublicKey([1; 32]), Height(1));
        (one.chosen, one.missed, one.newest) = (2, 1, Some((RoundNumber(4), false)));
        one.delivers(RoundNumber(3), 9, Metrics::default());
        assert_eq!((one.delivered, one.missed), (0, 1));
        one.delivers(RoundNumber(4), 9, Metrics::default());
        one.delivers(RoundNumber(4), 9, Metrics::default());
        assert_eq!((one.delivered, one.missed), (1, 0));
        assert!(one.is_chosen_for(RoundNumber(4)) && !one.is_chosen_for(RoundNumber(3)));
    }

    #[test]
    fn selections_are_read_as_they_are_written() {
        for text in ["random:3", "availability:4:0.5", "utility:1024:0"] {
            assert_eq!(text.parse::<Selection>().unwrap().to_string(), text);
        }
        assert_eq!("utility:4".parse::<Selection>().unwrap().to_string(), "utility:4:0.1");
        for wrong in
            ["", "random", "random:x", "random:3:0.1", "utility:3:1.1", "utility:3:NaN", "best:3"]
        {
            assert!(wrong.parse::<Selection>().is_err(), "{wrong}");
        }
    }
}
