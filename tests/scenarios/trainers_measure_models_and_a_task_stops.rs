//! Three trainers measure each global model on examples that they keep back; a task that gains nothing any
//! more stops, its best model is fetched by name, and stake goes to the trainers by what they had in it.
//! A central evaluator measures another task.

use crate::lab::{Lab, members, members::TRAINERS, trainer::Trainer, until};
use std::path::PathBuf;
use twinfold_types::task::TaskStatus;

#[test]
fn trainers_measure_models_and_a_task_stops() {
    let mut lab = Lab::start();
    let data = clouds(&lab);
    let create = "--key olaf task create --architecture mlp:8 --features 2 --classes 2 \
                  --participants-min 3 --participants-max 3 --deadline 90s --learning-rate 0.5";
    lab.twinfold(&format!("{create} --name never --evaluate nobody"), &[])
        .refused(1, &["no member has the name or key \"nobody\""]);
    lab.twinfold(&format!("{create} --name never --evaluate olaf --reports 2"), &[])
        .refused(2, &["1 evaluators never come to 2 reports"]);
    lab.twinfold(&format!("{create} --name never --patience 3"), &[]).refused(2, &["--evaluate"]);
    let rule = "--evaluate trainers --patience 2 --gain-min 0.02 --contributions";
    lab.twinfold(&format!("{create} --name clouds {rule}"), &[]).ok();

    let parts = ["0/3", "1/3", "2/3"];
    let trainers = TRAINERS.iter().zip(parts).map(|(who, part)| {
        lab.trainer(who, "clouds", &data, &["--holdout", "0.3", "--partition", part])
    });
    trainers.collect::<Vec<_>>().into_iter().for_each(Trainer::succeeds);
    let client = lab.client();
    let task = client.task("clouds").expect("the task");
    assert_eq!(task.status, TaskStatus::Stopped);
    let best = task.progress.best.expect("a best version");
    assert!(best.score.accuracy().expect("an accuracy") > 0.9, "{best:?}");
    let measured = client.evaluations("clouds").expect("its evaluations");
    let scored = measured.iter().filter(|version| version.score.is_some()).count();
    assert!(scored >= 3, "{measured:?}");
    assert!(measured.iter().all(|version| version.reports.len() <= 3), "{measured:?}");
    let listed = lab.twinfold("task evaluations clouds", &[]).ok().out;
    assert!(listed.contains("best"), "{listed}");
    let file = lab.folder().join("best.safetensors");
    let got = lab.twinfold("--json model get --task clouds --best -o {}", &[&file.display()]).ok();
    assert!(got.out.contains(&best.model.to_string()), "{}", got.out);

    // What was folded is recomputed with what each update had in it.
    lab.twinfold("model verify {} --recompute", &[&best.model]).ok();
    let shares = client.contributions("clouds").expect("its contributions");
    assert_eq!(shares.len(), 3);
    assert!(shares.iter().all(|view| view.total.share_ppm > 0), "{shares:?}");
    lab.twinfold("task contributions clouds", &[]).ok();
    reward(&lab);
    lab.same_root();
}

/// Of stake that the admins make for the operator.
fn reward(lab: &Lab) {
    lab.twinfold("--key ann proposal new grant-stake --member olaf --amount 1_000", &[]).ok();
    let free = |name: &str| lab.client().stake(&members::public(name)).expect("stake").free.0;
    let before: Vec<_> = TRAINERS[..3].iter().map(|name| free(name)).collect();
    let said = lab.twinfold("--key olaf task reward clouds --amount 900", &[]).ok().out;
    assert!(said.contains("nothing is given yet"), "{said}");
    lab.twinfold("--key olaf task reward clouds --amount 900 --yes", &[]).ok();
    let after: Vec<_> = TRAINERS[..3].iter().map(|name| free(name)).collect();
    let given: Vec<_> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
    assert!(given.iter().all(|given| *given > 0), "{given:?}");
    assert!((898..=900).contains(&given.iter().sum::<u64>()), "{given:?}");
}

#[test]
fn a_member_with_a_test_set_measures_every_second_version() {
    let lab = Lab::start();
    let data = clouds(&lab);
    let line = "--key olaf task create --name clouds --architecture softmax --features 2 --classes 2 \
                --participants-min 1 --participants-max 1 --rounds 4 --deadline 90s --evaluate olaf \
                --evaluate-every 2 --goal accuracy --pooling median";
    lab.twinfold(line, &[]).ok();
    let shown = lab.twinfold("task show clouds", &[]).ok().out;
    assert!(
        shown.contains("every 2 versions by 1 members, median of 1 reports, by accuracy"),
        "{shown}"
    );
    lab.twinfold("--key tess evaluate --task clouds --data {}", &[&data.display()])
        .refused(3, &["the sender is none of those who measure the task's models"]);
    lab.twinfold("--key olaf evaluate --task clouds --data {} --versions 1", &[&data.display()])
        .ok();
    lab.twinfold("--key tess train --task clouds --data {}", &[&data.display()]).ok();
    let said =
        lab.twinfold("--key olaf evaluate --task clouds --data {}", &[&data.display()]).ok().out;
    assert!(said.contains("version 4: loss"), "{said}");
    until("version 4 is scored", || {
        let progress = lab.client().task("clouds").ok()?.progress;
        (progress.scored == Some(4)).then_some(())
    });
}

/// Two classes that lie apart but for a few.
fn clouds(lab: &Lab) -> PathBuf {
    let file = lab.folder().join("clouds.csv");
    let rows = (0..300).map(|number: i64| {
        let (x, y) = (number * 37 % 101 - 50, number * 53 % 97 - 48);
        let class = i64::from(x + y > number * 29 % 7 - 3);
        format!("{x},{y},{class}\n")
    });
    std::fs::write(&file, rows.collect::<String>()).unwrap();
    file
}
