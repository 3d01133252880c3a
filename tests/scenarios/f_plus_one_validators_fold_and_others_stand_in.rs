//! A task whose rounds f+1 validators fold in turn: the others do not, and have the model all the same;
//! where one of those who are first is down, another stands in; anyone recomputes the result.

use crate::lab::{Lab, http, learn::options, until};
use twinfold_cli::task::TaskOptions;

const ROUNDS: u64 = 6;
/// Each has a merge after it.
const JOBS: u64 = 2 * ROUNDS;

#[test]
fn f_plus_one_validators_fold_and_others_stand_in() {
    let mut lab = Lab::start();
    let course = lab.course(&TaskOptions { assigned: true, ..options("shared", 2) });
    let shown = lab.twinfold("task show {}", &[&course.name()]).ok().out;
    assert!(shown.contains("f+1 validators in turn"), "{shown}");
    let run = |round| {
        course.update("tess", 0, 0.5);
        course.update("theo", 0, 0.25);
        course.ended(0, round);
    };
    (0..ROUNDS).for_each(run);
    until("the last merge is done", || (course.cluster(0).version == 2 * ROUNDS).then_some(()));
    let folds: Vec<u64> = (0..4).map(|node| folds(&lab, node)).collect();
    let all: u64 = folds.iter().sum();
    // Two of four each time; one more where a machine was slow for seconds.
    assert!((2 * JOBS..=2 * JOBS + 4).contains(&all), "{folds:?}");

    // Whoever is picked: one of the four is down, and rounds still end.
    lab.kill(2);
    (ROUNDS..ROUNDS + 3).for_each(run);
    lab.restart(2);
    until("the cluster's model is everywhere", || {
        let digest = course.cluster(0).model_digest.to_string();
        let has = |node| lab.folder_of(node).join("data").join("models").join(&digest).exists();
        [0, 1, 3].into_iter().all(has).then_some(())
    });
    let model = course.cluster(0).model;
    lab.twinfold("model verify {} --recompute", &[&model]).ok();
    lab.same_root();
}

/// Results that a node signed.
fn folds(lab: &Lab, node: usize) -> u64 {
    let text = http::get(&format!("{}/metrics", lab.url(node))).text();
    let line = text.lines().find(|line| line.starts_with("twinfold_folds_total "));
    let value = line.and_then(|line| line.split(' ').nth(1)).and_then(|value| value.parse().ok());
    value.unwrap_or_else(|| panic!("no count of folds in {text}"))
}
