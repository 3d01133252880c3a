//! Three rounds under FedAdam, with loud updates cut down: the memory goes on from round to round, also at
//! a validator that lost it and fetches it from the others; old ones go; and anyone gets the same model
//! from the ledger alone.

use crate::lab::{
    Lab,
    learn::{Course, options},
    until,
};
use twinfold_cli::task::TaskOptions;
use twinfold_types::{
    Digest,
    model::{ModelId, ModelSource},
};

#[test]
fn a_server_optimiser_remembers_and_is_recomputed() {
    let mut lab = Lab::start();
    let create =
        "--key olaf task create --name refused --architecture softmax --features 64 --classes 10";
    lab.twinfold(&format!("{create} --server fedadam --clusters 2"), &[])
        .refused(2, &["a merge period of 2 or more"]);
    lab.twinfold(&format!("{create} --server adam"), &[]).refused(2, &["fedyogi"]);
    let course = lab.course(&TaskOptions {
        server: "fedadam:lr=0.1,tau=0.01".parse().expect("an optimiser"),
        rounds: 4,
        ..options("lesson", 2)
    });
    let shown = lab.twinfold("task show {}", &[&course.name()]).ok().out;
    assert!(shown.contains("mean → fedadam:lr=0.1,beta1=0.9,beta2=0.99,tau=0.01"), "{shown}");

    let memories: Vec<_> = (0..3).map(|round| run(&lab, &course, round)).collect();
    // Validator 3 loses what it remembers, and folds the next round all the same.
    lab.stop(3);
    let newest = file(&lab, 3, &memories[2]);
    std::fs::remove_file(&newest).expect("it lies there");
    lab.restart(3);
    let last = run(&lab, &course, 3);
    until("validator 3 remembers", || file(&lab, 3, &last).exists().then_some(()));
    for (round, memory) in memories.iter().enumerate() {
        let there = file(&lab, 0, memory).exists();
        assert_eq!(there, round == 2, "of round {round}: {there}");
    }
    let model = course.cluster(0).model;
    let said = lab.twinfold("model verify {} --recompute", &[&model]).ok().out;
    assert!(said.contains("recomputed"), "{said}");
    lab.same_root();
    lab.stop(0);
    let config = lab.folder_of(0).join("config.toml");
    lab.node_program("audit --config {}", &[&config.display()]).ok();
}

/// One round; the digest of what is remembered after it.
fn run(lab: &Lab, course: &Course, round: u64) -> Digest {
    course.update("tess", 0, 0.5);
    course.update("theo", 0, 0.25);
    course.ended(0, round);
    let cluster = until("its merge is done", || {
        let cluster = course.cluster(0);
        (cluster.version == 2 * round + 2).then_some(cluster)
    });
    memory_before(lab, &cluster.model)
}

/// Of the round that a merge was made from.
fn memory_before(lab: &Lab, merge: &ModelId) -> Digest {
    let client = lab.client();
    let parent = client.model(merge).expect("the merge").record.parents[0];
    match client.model(&parent).expect("the round's model").record.source {
        ModelSource::Round { optimiser: Some(memory), .. } => memory,
        source => panic!("{source:?}"),
    }
}

fn file(lab: &Lab, node: usize, digest: &Digest) -> std::path::PathBuf {
    lab.folder_of(node).join("data").join("models").join(digest.to_string())
}
