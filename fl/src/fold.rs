//! Folding as nodes and offline verifiers call it: a sealed list of updates into
//! a cluster's next model.
#![deny(clippy::float_arithmetic)]

use crate::{
    Layout, Source,
    check::{check, staleness_factor, update_bytes_max},
    clip::square_norm,
    contribution::Contributions,
    fixed::scale_half_even,
    layout::Slot,
    mask::Words,
    rule::{
        Change, Weighted, bulyan,
        coordinate::{self, Centre},
        geometric, krum, losses,
        mean::{AT_ONCE, Mean},
    },
    screen::screen,
    server::{self, Memory, Owner, Stepped},
    support::Support,
};
use twinfold_types::{
    BlobDigest, ClusterId, Digest, PublicKey, TaskId,
    limits::FACTOR_ONE,
    round::{Contribution, Entry, FoldRefusal, Outcome},
    task::{AggregationRule, TaskSpec, masks::Masking},
};

/// Payload bytes held at once, unless a single payload is larger.
pub const BATCH_BYTES: u64 = 256 << 20;

/// What the ledger says of one entry of a round's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoldInput {
    pub trainer: PublicKey,
    /// Identity of the payload.
    pub payload: BlobDigest,
    /// Examples, capped by the task.
    pub weight: u32,
    /// The trainer's own word of its loss before training, in 1/2^16.
    pub loss: u32,
    /// Version of the cluster model that the delta is against.
    pub base_version: u64,
    /// Digest of the cluster model of that version.
    pub base_digest: Digest,
}

impl FoldInput {
    /// Of an entry whose base version has that model.
    pub fn of(entry: &Entry, base_digest: Digest) -> Self {
        Self {
            trainer: entry.trainer,
            payload: entry.blob.digest(),
            weight: entry.weight,
            loss: entry.metrics.loss,
            base_version: entry.base_version,
            base_digest,
        }
    }
}

/// A cluster's model before a round.
#[derive(Clone, Copy, Debug)]
pub struct Base<'b> {
    pub cluster: ClusterId,
    pub steps: &'b [i32],
    pub version: u64,
    /// What the task's server optimiser remembers; nothing before its first round.
    pub memory: Option<&'b Memory>,
    /// Where models are mixed in: the one that the update is against, if it is an older one.
    pub against: Option<&'b [i32]>,
    /// In a task with masks: whose they are, and the secrets that they come off by.
    pub masking: Option<&'b Masking>,
}

/// What a round came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Folded {
    /// The next model; `None` when no update counted.
    pub steps: Option<Vec<i32>>,
    /// What the server optimiser remembers then, where the task has one.
    pub memory: Option<Memory>,
    /// One for each entry, in list order.
    pub outcomes: Vec<Outcome>,
    /// One for each that counts, where the task asks for them.
    pub contributions: Vec<Contribution>,
    /// Sum of the weights folded.
    pub weight: u64,
    /// Values that were clamped to the range of i32.
    pub saturations: u64,
}

/// Folds a round's list into `base`.
///
/// The task is one the ledger admitted: its tensors fit the base, and its bounds
/// keep every sum in i64.
pub fn fold_round<S: Source>(
    spec: &TaskSpec,
    task: TaskId,
    base: Base<'_>,
    inputs: &[FoldInput],
    source: &mut S,
) -> Result<Folded, S::Error> {
    let whole = Layout::of(&spec.tensors).expect("an admitted task has a layout");
    assert_eq!(base.steps.len(), whole.values(), "base and layout differ");
    // Where places are drawn, an admitted task's updates have one base.
    let against = inputs.first().map_or(Digest::ZERO, |input| input.base_digest);
    let support = Support::of(spec, &whole, task, &against);
    let layout = support.as_ref().map_or(&whole, Support::layout);
    let round = Round { spec, layout, task, base, inputs };
    let gathered = match (base.masking, spec.mix(), spec.folds_together()) {
        (Some(masking), ..) => round.masked(masking, source)?,
        (None, Some(mix), _) => round.mixed(mix, source)?,
        (None, None, false) => round.one_by_one(source)?,
        (None, None, true) => round.together(source)?,
    };
    let spread = |change: Change| match &support {
        Some(support) => support.spread(&change),
        None => change,
    };
    let change = gathered.change.map(spread);
    Ok(round.finish(&whole, Gathered { change, ..gathered }))
}

/// What a fold goes by, beside the payloads.
struct Round<'r> {
    spec: &'r TaskSpec,
    /// Of what is sent: the whole model, unless places are drawn.
    layout: &'r Layout,
    task: TaskId,
    base: Base<'r>,
    inputs: &'r [FoldInput],
}

/// What the rule says, of each entry what became of it, and what those that count had in it.
#[derive(Default)]
struct Gathered {
    change: Option<Change>,
    outcomes: Vec<Outcome>,
    contributions: Vec<Contribution>,
}

/// An update that counts, or why it does not.
type Checked<'a> = Result<Weighted<'a>, FoldRefusal>;

impl Round<'_> {
    /// Batch by batch, as updates are read.
    fn one_by_one<S: Source>(&self, source: &mut S) -> Result<Gathered, S::Error> {
        let mut mean = Mean::new(self.layout, most(self.spec, self.inputs));
        let mut outcomes = Vec::with_capacity(self.inputs.len());
        self.read_all(source, &mut |inputs, checked| {
            let told = inputs.iter().zip(&checked);
            outcomes.extend(told.map(|(input, checked)| self.outcome(input, checked)));
            mean.add(&checked.into_iter().flatten().collect::<Vec<_>>());
        })?;
        let change = mean.finish();
        let contributions = match &change {
            Some(change) if self.spec.contributions => {
                // The change is known only now: every payload is read once more.
                let mut contributions = Contributions::to(self.layout, change);
                self.read_all(source, &mut |_, checked| {
                    contributions.add(&checked.into_iter().flatten().collect::<Vec<_>>());
                })?;
                contributions.finish()
            }
            _ => vec![],
        };
        Ok(Gathered { change, outcomes, contributions })
    }

    /// Gives the whole list to `take`, so many payloads at once, each checked.
    fn read_all<S: Source>(
        &self,
        source: &mut S,
        take: &mut dyn FnMut(&[FoldInput], Vec<Checked<'_>>),
    ) -> Result<(), S::Error> {
        let at_once = BATCH_BYTES / update_bytes_max(self.spec, self.layout);
        let at_once = at_once.clamp(1, AT_ONCE as u64) as usize;
        for (batch, inputs) in self.inputs.chunks(at_once).enumerate() {
            let first = batch * at_once;
            let read = (first..first + inputs.len()).map(|index| source.read(index));
            let payloads = read.collect::<Result<Vec<_>, _>>()?;
            let checked = inputs.iter().zip(&payloads);
            let checked = checked.map(|(input, payload)| self.weigh(input, payload.as_ref()));
            take(inputs, checked.collect());
        }
        Ok(())
    }

    /// What updates in hand had in a change.
    fn contributions(&self, change: &Change, updates: &[Weighted<'_>]) -> Vec<Contribution> {
        if !self.spec.contributions {
            return vec![];
        }
        let mut contributions = Contributions::to(self.layout, change);
        contributions.add(updates);
        contributions.finish()
    }

    /// The sum of what nobody can read one by one. An admitted task's list is not empty.
    fn masked<S: Source>(&self, masking: &Masking, source: &mut S) -> Result<Gathered, S::Error> {
        let mut words = Words::new(self.spec, self.layout).expect("an admitted task has its masks");
        for index in 0..self.inputs.len() {
            words.add(source.read(index)?.as_ref());
        }
        words.unmask(masking);
        let weight = self.inputs.iter().map(|input| u64::from(input.weight)).sum();
        let change = Some(words.into_change(self.spec, self.layout, weight));
        let folded = |input: &FoldInput| Outcome::Folded { weight: input.weight };
        let outcomes = self.inputs.iter().map(folded).collect();
        Ok(Gathered { change, outcomes, contributions: vec![] })
    }

    /// FedAsync: of the one update's own model, base + Δ, the part α·s goes in, rounded once.
    fn mixed<S: Source>(&self, mix: u32, source: &mut S) -> Result<Gathered, S::Error> {
        let Some(input) = self.inputs.first() else { return Ok(Gathered::default()) };
        assert_eq!(self.inputs.len(), 1, "an admitted task mixes one by one");
        let payload = source.read(0)?;
        let checked = self.weigh(input, payload.as_ref());
        let outcomes = vec![self.outcome(input, &checked)];
        let Ok(update) = checked else {
            return Ok(Gathered { outcomes, ..Gathered::default() });
        };
        let factor = scale_half_even(update.factor.into(), mix) as u32;
        let mut delta = Mean::new(self.layout, self.spec.norm_bound);
        let whole = [Weighted { weight: 1, part: 1, factor: FACTOR_ONE, ..update }];
        delta.add(&whole);
        let change = delta.finish().map(|delta| self.towards(&delta, factor));
        let contributions = change.as_ref().map(|change| self.contributions(change, &whole));
        Ok(Gathered { change, outcomes, contributions: contributions.unwrap_or_default() })
    }

    /// factor · (against + delta − base) / 2^16 in the trained tensors.
    fn towards(&self, delta: &Change, factor: u32) -> Change {
        let base = self.base.steps;
        let against = self.base.against.unwrap_or(base);
        let mut change = vec![0; base.len()];
        for range in self.layout.trained().map(Slot::range) {
            delta.read(range.clone(), &mut change[range.clone()]);
            let places = change[range.clone()].iter_mut().zip(&base[range.clone()]);
            for ((to, base), against) in places.zip(&against[range]) {
                let apart = i64::from(*against) - i64::from(*base) + i64::from(*to);
                let part = scale_half_even(apart, factor);
                *to = part.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
            }
        }
        Change::Steps(change)
    }

    /// Where all updates are needed at once; the task bounds how many bytes these are.
    fn together<S: Source>(&self, source: &mut S) -> Result<Gathered, S::Error> {
        let (mut outcomes, mut kept, mut places) = (vec![], vec![], vec![]);
        for (place, input) in self.inputs.iter().enumerate() {
            let payload = source.read(place)?;
            let checked = self.weigh(input, payload.as_ref());
            outcomes.push(self.outcome(input, &checked));
            // What is refused is not held: it may be longer than any update.
            if checked.is_ok() {
                kept.push(payload);
                places.push(place);
            }
        }
        let again = kept.iter().zip(&places);
        let again =
            again.map(|(payload, place)| self.weigh(&self.inputs[*place], payload.as_ref()));
        let mut updates: Vec<_> = again.map(|update| update.expect("it was checked")).collect();
        let counts = screen(&self.spec.screen, self.layout, &mut updates);
        keep(&mut updates, &mut places, &counts, &mut outcomes, FoldRefusal::Direction);
        if updates.is_empty() || updates.len() < self.spec.rule.updates_min() as usize {
            refuse(&mut outcomes, &places, FoldRefusal::TooFew);
            return Ok(Gathered { outcomes, ..Gathered::default() });
        }
        let digests: Vec<_> = places.iter().map(|place| self.inputs[*place].payload).collect();
        let all = updates.len();
        let chosen = choose(self.spec.rule, self.layout, &updates, &digests);
        keep(&mut updates, &mut places, &chosen, &mut outcomes, FoldRefusal::NotChosen);
        let change = self.combine(updates.clone(), all);
        let contributions = change.as_ref().map(|change| self.contributions(change, &updates));
        Ok(Gathered { change, outcomes, contributions: contributions.unwrap_or_default() })
    }

    /// The chosen ones of so many.
    fn combine(&self, updates: Vec<Weighted<'_>>, all: usize) -> Option<Change> {
        let centre = match self.spec.rule {
            AggregationRule::Mean
            | AggregationRule::Krum { .. }
            | AggregationRule::QFedAvg { .. } => {
                let mut mean = Mean::new(self.layout, most(self.spec, self.inputs));
                mean.add(&updates);
                return mean.finish();
            }
            AggregationRule::GeometricMedian { steps } => {
                return Some(geometric::fold(self.spec, self.layout, updates, steps));
            }
            AggregationRule::Median => Centre::Median,
            AggregationRule::TrimmedMean { beta_ppm } => {
                Centre::TrimmedMean { trimmed: AggregationRule::trimmed(beta_ppm, all) }
            }
            AggregationRule::Bulyan { faults } => {
                Centre::NearMedian { kept: all - 4 * faults as usize }
            }
        };
        Some(coordinate::fold(self.layout, &updates, centre))
    }

    fn weigh<'a>(&self, input: &FoldInput, payload: &'a [u8]) -> Checked<'a> {
        let factor = staleness_factor(self.spec, self.base.version, input.base_version)?;
        let update = check(self.spec, self.layout, self.task, input, payload)?;
        let (weight, part) = match self.spec.rule {
            AggregationRule::Mean => (input.weight, input.weight.into()),
            AggregationRule::QFedAvg { q_halves, smoothness } => {
                let scale = self.layout.norm_scale();
                let square = square_norm(&update, scale);
                losses::weigh(q_halves, smoothness, input.loss, square, scale)
            }
            _ => (1, 1),
        };
        Ok(Weighted { update, weight, factor, part })
    }

    fn outcome(&self, input: &FoldInput, checked: &Checked<'_>) -> Outcome {
        match checked {
            Ok(_) if self.spec.rule.is_weighted() => Outcome::Folded { weight: input.weight },
            Ok(_) => Outcome::Folded { weight: 1 },
            Err(refusal) => Outcome::Refused(*refusal),
        }
    }

    /// The change goes to the model, through the server optimiser where there is one.
    fn finish(&self, whole: &Layout, gathered: Gathered) -> Folded {
        let Gathered { change, mut outcomes, contributions } = gathered;
        let Self { spec, base, .. } = self;
        let owner = Owner { task: self.task, cluster: base.cluster };
        let stepped = change.and_then(|change| {
            server::step(owner, spec.stepping(), whole, base.memory, base.steps, &change)
        });
        let Some(Stepped { steps, saturations, memory }) = stepped else {
            // Where some still count, it was the optimiser that failed.
            let counted =
                outcomes.iter_mut().filter(|outcome| matches!(outcome, Outcome::Folded { .. }));
            counted.for_each(|outcome| *outcome = Outcome::Refused(FoldRefusal::Diverged));
            let contributions = vec![];
            let (weight, saturations) = (0, 0);
            return Folded {
                steps: None,
                memory: None,
                outcomes,
                contributions,
                weight,
                saturations,
            };
        };
        let weight = |outcome: &Outcome| match outcome {
            Outcome::Folded { weight } => u64::from(*weight),
            Outcome::Refused(_) => 0,
        };
        let weight = outcomes.iter().map(weight).sum();
        Folded { steps: Some(steps), memory, outcomes, contributions, weight, saturations }
    }
}

/// Keeps those that count; the others are refused.
fn keep(
    updates: &mut Vec<Weighted<'_>>,
    places: &mut Vec<usize>,
    counts: &[bool],
    outcomes: &mut [Outcome],
    refusal: FoldRefusal,
) {
    let gone = places.iter().zip(counts).filter(|(_, counts)| !**counts);
    refuse(outcomes, &gone.map(|(place, _)| *place).collect::<Vec<_>>(), refusal);
    let mut at = 0..;
    updates.retain(|_| at.next().is_some_and(|at| counts[at]));
    let mut at = 0..;
    places.retain(|_| at.next().is_some_and(|at| counts[at]));
}

/// Which updates a rule takes.
fn choose(
    rule: AggregationRule,
    layout: &Layout,
    updates: &[Weighted<'_>],
    digests: &[BlobDigest],
) -> Vec<bool> {
    let chosen = match rule {
        AggregationRule::Krum { faults, chosen } => {
            let distances = krum::distances(layout, updates);
            krum::choose(&distances, digests, faults as usize, chosen as usize)
        }
        AggregationRule::Bulyan { faults } => {
            bulyan::choose(&krum::distances(layout, updates), digests, faults as usize)
        }
        _ => return vec![true; updates.len()],
    };
    (0..updates.len()).map(|at| chosen.contains(&at)).collect()
}

fn refuse(outcomes: &mut [Outcome], places: &[usize], refusal: FoldRefusal) {
    places.iter().for_each(|place| outcomes[*place] = Outcome::Refused(refusal));
}

/// Σ w·B: most that a sum can come to. Execution admits a task only where it is below 2^63.
fn most(spec: &TaskSpec, inputs: &[FoldInput]) -> u64 {
    let weight: u64 = match spec.rule {
        AggregationRule::Mean => inputs.iter().map(|input| u64::from(input.weight)).sum(),
        rule => (inputs.len() as u64).saturating_mul(rule.weight_max(spec)),
    };
    let most = weight.checked_mul(spec.norm_bound).filter(|most| *most < 1 << 63);
    most.unwrap_or_else(|| {
        panic!("weights of {weight} in all with norm bound {} leave i64", spec.norm_bound)
    })
}
