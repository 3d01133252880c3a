//! Updates at places drawn for everyone under a rule that bears a liar, and a task whose trainers keep control
//! variates: both fold, and anyone gets the same models from the ledger alone.

use crate::lab::{
    Lab,
    learn::{Course, VALUES, options},
    until,
};
use twinfold_cli::task::{TaskOptions, fetch_steps};

#[test]
fn drawn_places_go_with_a_rule_that_bears_a_liar() {
    let mut lab = Lab::start();
    let create =
        "--key olaf task create --name refused --architecture softmax --features 64 --classes 10";
    lab.twinfold(&format!("{create} --compress randk:0.1 --late 2"), &[])
        .refused(2, &["they must have one base"]);
    let median = "--rule median --participants-min 3";
    lab.twinfold(&format!("{create} {median} --compress above:2"), &[])
        .refused(2, &["median is zero nearly everywhere"]);
    let course = lab.course(&TaskOptions {
        rule: "median".parse().expect("a rule"),
        compress: "randk:0.4:16".parse().expect("a compression"),
        rounds: 2,
        ..options("drawn", 3)
    });
    for round in 0..2 {
        course.update("tess", 0, 0.5);
        course.update("theo", 0, 0.25);
        // The liar.
        course.update("tina", 0, 15.0);
        course.ended(0, round);
    }
    let steps = steps(&lab, &course);
    // Two fifths of each tensor a round; what tess and theo sent is what moves it.
    let moved = steps.iter().filter(|step| **step != 0).count();
    assert!((7..=14).contains(&moved), "{moved} of {VALUES}: {steps:?}");
    assert!(steps.iter().all(|step| *step < 2 << 20), "{steps:?}");
    let model = lab.client().task(&course.name()).expect("the task").global;
    let said = lab.twinfold("model verify {} --recompute", &[&model]).ok().out;
    assert!(said.contains("recomputed"), "{said}");
    lab.same_root();
}

fn steps(lab: &Lab, course: &Course) -> Vec<i32> {
    let client = lab.client();
    let global = until("both rounds are merged", || {
        let task = client.task(&course.name()).ok()?;
        (task.global_version == 2).then_some(task.global)
    });
    let digest = client.model(&global).expect("its record").record.digest;
    fetch_steps(&client, &course.created.spec, &global, &digest).expect("steps")
}

#[test]
fn control_variates_are_tensors_of_the_model() {
    let lab = Lab::start();
    let file = lab.folder().join("corners.csv");
    let rows = (0..80).map(|number: i64| {
        let (x, y) = (number * 37 % 19 - 9, number * 7 % 11 - 5);
        format!("{x},{y},{}\n", i64::from(x > y))
    });
    std::fs::write(&file, rows.collect::<String>()).unwrap();
    let create = "--key olaf task create --name corners --architecture mlp:4 --features 2 --classes 2 \
                  --participants-min 1 --participants-max 1 --rounds 3 --deadline 90s --scaffold";
    lab.twinfold(&format!("{create} --server fedadam"), &[]).refused(2, &["no server optimiser"]);
    lab.twinfold(create, &[]).ok();
    lab.twinfold("--key tess train --task corners --data {}", &[&file.display()]).ok();
    let client = lab.client();
    let task = client.task("corners").expect("the task");
    let names: Vec<_> = task.spec.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(names.len(), 8);
    assert_eq!(names[4], "control.hidden.weight");
    let digest = client.model(&task.global).expect("its record").record.digest;
    let steps = fetch_steps(&client, &task.spec, &task.global, &digest).expect("steps");
    let controls = &steps[steps.len() / 2..];
    assert!(controls.iter().any(|step| *step != 0), "trainers sent theirs");
    let said = lab.twinfold("model verify {} --recompute", &[&task.global]).ok().out;
    assert!(said.contains("recomputed"), "{said}");
}
