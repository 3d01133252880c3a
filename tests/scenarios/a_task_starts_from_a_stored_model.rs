//! A task starts from a model that another task came to: the content is the same, the line between them
//! is on the ledger, and what is trained then is recomputed as ever.

use crate::lab::{
    Lab,
    learn::{Course, options},
    until,
};
use twinfold_cli::task::Created;
use twinfold_types::model::ModelId;

#[test]
fn a_task_starts_from_a_stored_model() {
    let mut lab = Lab::start();
    let first = lab.course(&options("first", 2));
    let model = train(&first, 2);
    let create = "--json --key olaf task create --participants-min 2 --participants-max 2";
    let said = lab.twinfold(&format!("{create} --name next --from {model}"), &[]).ok().json();
    let next = said["task"].as_str().expect("a task").to_string();
    let view = lab.client().task(&next).expect("the task");
    assert_eq!(view.spec.start, Some(model));
    let started = lab.client().model(&view.global).expect("its first model").record;
    let from = lab.client().model(&model).expect("the model").record;
    assert_eq!((started.digest, started.parents), (from.digest, vec![model]));
    let lineage = lab.twinfold("model lineage {}", &[&view.global]).ok().out;
    assert!(lineage.contains(&model.0.short()), "{lineage}");

    // Trained on, and recomputed from the task's first model.
    let next =
        Course::of(&lab, Created { task: view.id, spec: view.spec, ..first.created.clone() });
    let trained = train(&next, 2);
    lab.twinfold("model verify {} --recompute", &[&trained]).ok();

    // How many trainers are worth having, of a model that is trained here.
    let digits = concat!(env!("CARGO_MANIFEST_DIR"), "/../testnet/data/optdigits.csv");
    lab.twinfold(
        "--key olaf task create --name digits --architecture softmax --features 64 --classes 10",
        &[],
    )
    .ok();
    let plan = lab.twinfold("task plan digits --data {} --trainer-rate 1", &[&digits]).ok().out;
    for words in ["1797 examples", "← knee", "--participants-max", "64"] {
        assert!(plan.contains(words), "{words} is missing: {plan}");
    }
    let plan = lab.twinfold("--json task plan digits --data {}", &[&digits]).ok().json();
    assert!(plan["costs"]["compute_s"].as_f64().is_some_and(|seconds| seconds > 0.0), "{plan}");

    let nothing = "1".repeat(64);
    lab.twinfold(&format!("{create} --name none --from {nothing}"), &[])
        .refused(1, &["is not known"]);
    lab.twinfold(&format!("{create} --name none --from {model} --scale 10"), &[])
        .refused(2, &["cannot be used with"]);
    lab.same_root();
}

/// One round; the global model after it.
fn train(course: &Course, version: u64) -> ModelId {
    course.update("tess", 0, 0.5);
    course.update("theo", 0, 0.25);
    course.ended(0, 0);
    until("the merge is done", || {
        let cluster = course.cluster(0);
        (cluster.version == version).then_some(cluster.model)
    })
}
