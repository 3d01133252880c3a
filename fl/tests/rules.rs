//! Rules that bear liars: what they leave out, what they need, and that neither order nor encoding matters.

mod common;

use common::{Scene, dense, task, tensor};
use proptest::prelude::*;
use twinfold_fl::update::{Bits, TensorData, TensorUpdate};
use twinfold_types::{
    round::{FoldRefusal, Outcome},
    task::{AggregationRule, Kept, Mode, Screen, TaskSpec},
};

const NOT_CHOSEN: Outcome = Outcome::Refused(FoldRefusal::NotChosen);
const COUNTS: Outcome = Outcome::Folded { weight: 1 };

fn spec(rule: &str, least: u32) -> TaskSpec {
    let mut spec = task(vec![tensor("w", 3, 20)]);
    (spec.rule, spec.participants_min) = (rule.parse().unwrap(), least);
    spec.compression.bits = 16;
    spec
}

fn round(rule: &str, updates: &[[i32; 3]]) -> Scene {
    let mut scene = Scene::new(spec(rule, updates.len() as u32), vec![0; 3]);
    for update in updates {
        scene.send(9_999, vec![dense(0, 20, Bits::B16, update)]);
    }
    scene
}

const HONEST: [[i32; 3]; 4] = [[10, -5, 1], [11, -6, 1], [12, -4, 1], [13, -5, 1]];
const LIAR: [i32; 3] = [30_000, 30_000, -30_000];

fn with_liar() -> Vec<[i32; 3]> {
    [&HONEST[..2], &[LIAR], &HONEST[2..]].concat()
}

#[test]
fn one_liar_of_five_moves_no_rule_beyond_what_honest_trainers_sent() {
    for rule in ["median", "trimmed:0.2", "krum:1", "multi-krum:1:2"] {
        let steps = round(rule, &with_liar()).fold().steps.unwrap();
        for (value, column) in steps.iter().zip(0..3) {
            let honest = HONEST.map(|update| update[column]);
            let range = honest.iter().min().unwrap()..=honest.iter().max().unwrap();
            assert!(range.contains(&value), "{rule}: {steps:?}");
        }
    }
    let mean = round("mean", &with_liar()).fold().steps.unwrap();
    assert!(mean[0] > 5_000, "the mean bears none: {mean:?}");
}

#[test]
fn bulyan_bears_one_of_seven_that_differs_in_one_coordinate_alone() {
    let mut updates: Vec<[i32; 3]> = (0..6).map(|at| [10 + at, -5 * at, 1]).collect();
    updates.insert(3, [12, -10, 400]);
    let folded = round("bulyan:1", &updates).fold();
    assert_eq!(folded.steps.unwrap()[2], 1, "the mean of the 3 nearest to the median of 5");
    assert_eq!(folded.weight, 5);
    assert_eq!(folded.outcomes.iter().filter(|outcome| **outcome == NOT_CHOSEN).count(), 2);
    let mut few = round("bulyan:1", &updates);
    few.payloads[0] = vec![];
    assert_eq!(few.fold().steps, None, "4f + 3 are needed");
}

/// It lies among honest updates but for what the far one still pulls: 1/distance of it.
#[test]
fn the_geometric_median_stays_with_the_crowd_however_far_a_liar_is() {
    for far in [1, 100, 1_000] {
        let liar = LIAR.map(|value| value / 1_000 * far);
        let updates = [&HONEST[..2], &[liar], &HONEST[2..]].concat();
        let steps = round("geometric-median:64", &updates).fold().steps.unwrap();
        assert!((9..=14).contains(&steps[0]) && (-7..=-3).contains(&steps[1]), "{far}: {steps:?}");
    }
    // Of three on a line it is the one in the middle, and not their mean.
    let line = [[0, 0, 0], [30_000, 0, 0], [31_000, 0, 0]];
    let median = round("geometric-median:64", &line).fold().steps.unwrap()[0];
    assert!((29_000..=30_100).contains(&median), "{median}");
}

#[test]
fn trainers_with_greater_losses_count_more_in_q_fedavg() {
    let updates = [[100, 0, 0], [-100, 0, 0]];
    let with = |rule: &str, losses: [u32; 2]| {
        let mut scene = round(rule, &updates);
        scene.inputs.iter_mut().zip(losses).for_each(|(input, loss)| input.loss = loss << 16);
        let folded = scene.fold();
        assert_eq!((folded.outcomes, folded.weight), (vec![COUNTS; 2], 2));
        folded.steps.unwrap()[0]
    };
    assert_eq!(with("qfedavg:0:1", [3, 1]), 0);
    // (3 · 100 − 1 · 100) / 4; the changes are too small to slow it down.
    assert_eq!(with("qfedavg:1:1", [3, 1]), 50);
    assert_eq!(with("qfedavg:2:1", [3, 1]), 80);
    assert_eq!(with("qfedavg:3:1", [3, 1]), 93);
}

#[test]
fn a_loud_update_is_cut_to_the_crowd_and_one_against_it_does_not_count() {
    let updates = [[30, 40, 0], [40, 30, 0], [3_000, 4_000, 0], [30, 40, 0], [-35, -35, 0]];
    let with = |screen: Screen| {
        let mut scene = round("mean", &updates);
        scene.spec.screen = screen;
        assert_eq!(scene.spec.fault(), None);
        scene.inputs.iter_mut().for_each(|input| input.weight = 1);
        scene.fold()
    };
    let cut = with(Screen { clip_ppm: Some(1_000_000), cosine_ppm: None });
    // The loud one is (30, 40) now, but for the factor's rounding.
    assert_eq!(cut.steps.unwrap(), [19, 23, 0]);
    assert_eq!(cut.outcomes, [COUNTS; 5]);
    let both = with(Screen { clip_ppm: Some(1_000_000), cosine_ppm: Some(0) });
    assert_eq!(both.steps.unwrap(), [32, 38, 0]);
    assert_eq!(both.outcomes[4], Outcome::Refused(FoldRefusal::Direction));
    assert_eq!(both.weight, 4);
    // Without the cut the loud one would say what the direction is.
    let narrow = with(Screen { clip_ppm: None, cosine_ppm: Some(990_000) });
    assert_eq!(narrow.outcomes[0], COUNTS);
    assert_eq!(narrow.outcomes[1], Outcome::Refused(FoldRefusal::Direction));
}

#[test]
fn a_screen_goes_before_any_rule() {
    let mut updates: Vec<_> = (0..6).map(|at| [100 + at, 50, 0]).collect();
    updates.push([-20_000, 1, 0]);
    for rule in ["median", "trimmed:0.2", "krum:1", "multi-krum:1:3", "geometric-median"] {
        let mut scene = round(rule, &updates);
        scene.spec.screen = Screen { clip_ppm: Some(1_500_000), cosine_ppm: Some(500_000) };
        assert_eq!(scene.spec.fault(), None, "{rule}");
        let folded = scene.fold();
        assert_eq!(folded.outcomes[6], Outcome::Refused(FoldRefusal::Direction), "{rule}");
        assert!((100..=105).contains(&folded.steps.unwrap()[0]), "{rule}");
    }
}

/// What a rule gives is the gradient, and a round without one leaves the memory as it was.
#[test]
fn a_server_optimiser_remembers_what_a_rule_gave() {
    let mut scene = round("median", &with_liar());
    (scene.spec.server, scene.spec.merge_every) = ("fedavgm:lr=2,momentum=0.5".parse().unwrap(), 2);
    assert_eq!(scene.spec.fault(), None);
    let first = scene.fold();
    assert_eq!(first.steps.as_deref(), Some(&[24, -10, 2][..]));
    scene.memory = first.memory;
    // m = 0.5 · 12 + 12.
    assert_eq!(scene.fold().steps.unwrap(), [36, -15, 3]);
    scene.payloads.iter_mut().for_each(|payload| payload.clear());
    let none = scene.fold();
    assert_eq!((none.steps, none.memory, none.weight), (None, None, 0));
}

#[test]
fn cluster_models_merge_by_the_tasks_rule() {
    let models: [&[i32]; 4] = [&[10, 0], &[12, 1], &[900, 2], &[11, -800]];
    let weighted = models.map(|model| (model, 1_000));
    let merged = |rule: &str| twinfold_fl::merge(rule.parse().unwrap(), &weighted).steps;
    assert_eq!(merged("median"), [12, 0]);
    assert_eq!(merged("trimmed:0.25"), [12, 0]);
    assert_eq!(merged("mean"), [233, -199]);
}

#[test]
fn every_update_counts_alike_and_what_krum_leaves_out_is_said() {
    let median = round("median", &with_liar()).fold();
    assert_eq!((median.outcomes, median.weight), (vec![COUNTS; 5], 5));
    let krum = round("krum:1", &with_liar()).fold();
    assert_eq!(krum.weight, 1);
    assert_eq!(krum.outcomes.iter().filter(|outcome| **outcome == NOT_CHOSEN).count(), 4);
    assert_eq!(krum.outcomes[2], NOT_CHOSEN);
    let multi = round("multi-krum:1:2", &with_liar()).fold();
    assert_eq!(multi.weight, 2);
    assert_eq!(multi.outcomes.iter().filter(|outcome| **outcome == COUNTS).count(), 2);
}

#[test]
fn with_fewer_updates_that_count_than_the_rule_needs_the_model_stays() {
    let mut scene = round("krum:1", &with_liar());
    scene.payloads[4] = b"nothing".to_vec();
    let folded = scene.fold();
    assert_eq!((folded.steps, folded.weight), (None, 0));
    let few = Outcome::Refused(FoldRefusal::TooFew);
    assert_eq!(folded.outcomes[..4], [few; 4]);
    assert_eq!(folded.outcomes[4], Outcome::Refused(FoldRefusal::Malformed));
}

#[test]
fn a_trimmed_mean_cuts_by_the_updates_that_count() {
    let updates = [[1, 0, 0], [2, 0, 0], [3, 0, 0], [90, 0, 0], [-90, 0, 0]];
    assert_eq!(round("trimmed:0.2", &updates).fold().steps.unwrap()[0], 2);
    // Of four, ⌊0.2 · 4⌋ = 0 are cut.
    let mut scene = round("trimmed:0.2", &updates);
    scene.payloads[4] = vec![];
    assert_eq!(scene.fold().steps.unwrap()[0], 24);
}

#[test]
fn what_a_rule_does_not_go_with_is_refused_with_the_reason() {
    let fault = |rule: &str, change: &dyn Fn(&mut TaskSpec)| {
        let mut spec = spec(rule, 7);
        change(&mut spec);
        spec.fault().unwrap_or_default()
    };
    let buffered = Mode::Async { buffer: 7, staleness: vec![1 << 16], mix: None };
    assert!(fault("median", &|spec| spec.mode = buffered.clone()).contains("synchronous"));
    let sparse = |spec: &mut TaskSpec| spec.compression.kept = Kept::Top { ppm: 10_000 };
    assert!(fault("krum:1", &sparse).contains("an update of zeros is nearest to all"));
    assert!(fault("krum:3", &|_| ()).contains("at least 9 updates"));
    assert!(fault("bulyan:2", &|_| ()).contains("at least 11 updates"));
    assert!(fault("multi-krum:1:5", &|_| ()).contains("chooses 1 to 4"));
    assert!(fault("krum:1", &|spec| spec.compression.bits = 32).contains("8 or 16 bits"));
    assert!(fault("krum:1", &|spec| spec.participants_max = 500).contains("at most 128"));
    assert!(fault("trimmed:0.5", &|_| ()).contains("less than half"));
    assert!(fault("trimmed:0.1", &|_| ()).contains("leaves nobody out of 7"));
    let large = |spec: &mut TaskSpec| spec.tensors[0].shape = vec![10_000_000];
    assert!(fault("median", &large).contains("holds all updates"));
    assert!(fault("geometric-median:0", &|_| ()).contains("1 to 64 steps"));
    assert!(fault("geometric-median", &|spec| spec.norm_bound = 1 << 30).contains("below 2^30"));
    assert!(fault("qfedavg:1.5:1", &|_| ()).contains("q is 0, 0.5, 1, 2 or 3"));
    assert!(fault("qfedavg:1:1", &|spec| spec.norm_bound = 1 << 30).contains("below 2^63"));
    let server = |spec: &mut TaskSpec| spec.server = "fedadam".parse().unwrap();
    assert!(fault("mean", &server).contains("a merge period of 2 or more"));
    let screen = |clip_ppm, cosine_ppm| Screen { clip_ppm, cosine_ppm };
    let cosine = |spec: &mut TaskSpec| {
        spec.screen = screen(None, Some(0));
        spec.compression.kept = Kept::Top { ppm: 10_000 };
    };
    assert!(fault("mean", &cosine).contains("cosines need all values"));
    let late = |spec: &mut TaskSpec| {
        (spec.mode, spec.screen) = (buffered.clone(), screen(Some(1), None));
    };
    assert!(fault("mean", &late).contains("synchronous"));
    assert!(fault("mean", &|spec| spec.screen = screen(Some(0), None)).contains("100 times"));
    assert!(fault("mean", &|spec| spec.screen = screen(None, Some(1_000_001))).contains("−1 to 1"));
    let merged_by = |rule: &str, clusters| {
        let rule = rule.parse().unwrap();
        fault("mean", &|spec| (spec.merge_rule, spec.clusters) = (rule, clusters))
    };
    assert!(merged_by("median", 2).contains("at least 3"));
    assert!(merged_by("trimmed:0.1", 4).contains("leaves out none"));
    assert!(merged_by("krum:1", 9).contains("only mean, median and trimmed"));
    assert_eq!(merged_by("trimmed:0.25", 4), "");
    let mixed = |rule: &str, buffer, mix| {
        let mode = Mode::Async { buffer, staleness: vec![1 << 16], mix: Some(mix) };
        fault(rule, &|spec| {
            (spec.mode, spec.participants_min) = (mode.clone(), 1);
            spec.participants_max = buffer;
        })
    };
    assert!(mixed("mean", 2, 1).contains("one by one"));
    assert!(mixed("qfedavg:1:1", 1, 1).contains("one by one"));
    assert!(mixed("mean", 1, (1 << 16) + 1).contains("at most 1"));
    assert_eq!(mixed("mean", 1, 1 << 16), "");
    assert_eq!(fault("multi-krum:1:4", &|_| ()), "");
}

proptest! {
    /// Updates in any order, and sent in any encoding, give one model.
    #[test]
    fn neither_order_nor_encoding_matters(
        updates in proptest::collection::vec(proptest::array::uniform3(-120i32..120), 5..12),
        order in any::<prop::sample::Index>(),
        rule in prop::sample::select(vec!["median", "trimmed:0.2", "multi-krum:1:2", "geometric-median", "qfedavg:2:1"]),
    ) {
        let expected = round(rule, &updates).fold();
        let mut turned = updates.clone();
        turned.rotate_left(order.index(updates.len()));
        prop_assert_eq!(&round(rule, &turned).fold().steps.is_some(), &true);
        if rule != "multi-krum:1:2" {
            prop_assert_eq!(&round(rule, &turned).fold().steps, &expected.steps);
        }
        let mut scene = Scene::new(spec(rule, updates.len() as u32), vec![0; 3]);
        for (at, update) in updates.iter().enumerate() {
            let bits = if at % 2 == 0 { Bits::B8 } else { Bits::B16 };
            let data = TensorData::shortest(update.to_vec(), bits);
            scene.send(1, vec![TensorUpdate { index: 0, len: 3, exponent: 20, bits, data }]);
        }
        if rule != "multi-krum:1:2" {
            prop_assert_eq!(&scene.fold().steps, &expected.steps);
        }
    }

    /// Scores and the choice, by arithmetic of their own.
    #[test]
    fn krum_chooses_the_nearest(updates in proptest::collection::vec(proptest::array::uniform3(-500i32..500), 5..10)) {
        let AggregationRule::Krum { faults, .. } = "krum:1".parse().unwrap() else { unreachable!() };
        let near = updates.len() - faults as usize - 2;
        let apart = |a: &[i32; 3], b: &[i32; 3]| {
            (0..3).map(|at| i64::from(a[at] - b[at]).pow(2)).sum::<i64>()
        };
        let score = |at: usize| {
            let others = (0..updates.len()).filter(|other| *other != at);
            let mut all: Vec<i64> = others.map(|other| apart(&updates[at], &updates[other])).collect();
            all.sort_unstable();
            all[..near].iter().sum::<i64>()
        };
        let folded = round("krum:1", &updates).fold();
        let chosen = folded.outcomes.iter().position(|outcome| *outcome == COUNTS).unwrap();
        let least = (0..updates.len()).map(score).min().unwrap();
        prop_assert_eq!(score(chosen), least);
        prop_assert_eq!(folded.steps.unwrap(), updates[chosen].to_vec());
    }
}
