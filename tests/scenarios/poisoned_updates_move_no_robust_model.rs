//! Five trainers, one of whom sends poison. Under each rule that bears liars the model is what the
//! honest ones sent, to the bit what the rule gives here; it is recomputed from the ledger alone,
//! and a trainer can see that its update was not chosen. Under the mean the poison works.

use crate::lab::{
    Lab,
    learn::{VALUES, options},
    members::{self, TRAINERS},
};
use std::{convert::Infallible, ops::RangeInclusive};
use twinfold_cli::task::TaskOptions;
use twinfold_fl::{Base, FoldInput, canonical_bytes, fold_round};
use twinfold_types::{
    Action, ClusterId,
    member::Role,
    model::model_digest,
    round::{FoldRefusal, Outcome, RoundState},
    task::Compression,
};

const FIFTH: &str = "tara";
const CHANGES: [f32; 5] = [0.10, 0.11, -3.0, 0.12, 0.13];
/// Of what honest trainers sent, in steps of 2^−20, roundings aside.
const HONEST: RangeInclusive<i32> = 104_800..=136_400;

#[test]
fn poisoned_updates_move_no_robust_model() {
    let mut lab = Lab::start();
    let fifth = members::member(FIFTH, members::CLINIC, Role::Trainer);
    lab.done("olaf", Action::AddTrainer(fifth));
    let create =
        "--key olaf task create --name refused --architecture softmax --features 64 --classes 10";
    lab.twinfold(&format!("{create} --rule krum:1"), &[]).refused(2, &["at least 5 updates"]);
    lab.twinfold(&format!("{create} --rule median --compress topk:0.1"), &[])
        .refused(2, &["needs all values"]);

    for rule in ["median", "trimmed:0.2", "geometric-median:16", "krum:1", "multi-krum:1:2"] {
        let (steps, outcomes) = round(&lab, rule);
        assert!(steps.iter().all(|step| HONEST.contains(step)), "{rule}: {steps:?}");
        let chosen = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Folded { .. }));
        let expected = match rule {
            "krum:1" => 1,
            "multi-krum:1:2" => 2,
            _ => 5,
        };
        assert_eq!(chosen.count(), expected, "{rule}: {outcomes:?}");
        if rule.contains("krum") {
            assert_eq!(outcomes[2], Outcome::Refused(FoldRefusal::NotChosen));
        }
    }
    let (steps, _) = round(&lab, "mean");
    assert!(steps.iter().all(|step| *step < 0), "the mean bears no liar: {steps:?}");
    lab.same_root();
}

/// One round under a rule: the model's steps and what came of each update.
fn round(lab: &Lab, rule: &str) -> (Vec<i32>, Vec<Outcome>) {
    let name = rule.replace([':', '.'], "-");
    let course = lab.course(&TaskOptions {
        rule: rule.parse().expect("a rule"),
        compress: Compression::dense(16),
        ..options(&name, 5)
    });
    let base = course.collecting(0);
    let mut payloads = Vec::new();
    for (trainer, change) in TRAINERS.into_iter().chain([FIFTH]).zip(CHANGES) {
        let payload = course.payload(trainer, &base, change);
        course.send_payload(trainer, &base, &payload);
        payloads.push(payload);
    }
    let view = course.ended(0, 0);
    let RoundState::Aggregated { outcomes, .. } = view.round.state else {
        panic!("{rule}: {:?}", view.round.state);
    };

    let input = |entry| FoldInput::of(entry, base.model_digest);
    let inputs: Vec<_> = view.entries.iter().map(input).collect();
    let before = Base {
        cluster: ClusterId(0),
        steps: &[0; VALUES],
        version: base.version,
        memory: None,
        against: None,
        masking: None,
    };
    let (created, mut source) = (&course.created, payloads.as_slice());
    let here: Result<_, Infallible> =
        fold_round(&created.spec, created.task, before, &inputs, &mut source);
    let Ok(here) = here;
    let steps = here.steps.expect("honest updates count");
    let cluster = course.collecting(0);
    assert_eq!(cluster.model_digest, model_digest(&canonical_bytes(&steps)), "{rule}");
    assert_eq!(here.outcomes, outcomes, "{rule}");
    lab.twinfold("model verify {} --recompute", &[&cluster.model]).ok();
    let shown = lab.twinfold("task show {}", &[&course.name()]).ok().out;
    assert!(shown.contains(rule), "{shown}");
    (steps, outcomes)
}
