//! Four trainers with unlike labels: the ledger forms two clusters in which all labels are, the trainers follow,
//! and the global model is recomputed from the ledger.

use crate::lab::{
    Lab,
    members::{TRAINERS, public},
    trainer::Trainer,
};
use twinfold_types::{PublicKey, task::TaskStatus};

#[test]
fn clusters_are_formed_of_those_who_come() {
    let mut lab = Lab::start();
    let create = "--key olaf task create --name formed --architecture softmax --features 2 --classes 2 --rounds 6 \
                  --clusters 2 --participants-min 1 --participants-max 2 --deadline 3s --extensions 0";
    lab.twinfold(&format!("{create} --form names"), &[]).refused(2, &["size, latency or labels"]);
    lab.twinfold(&format!("{create} --form labels --select random:2"), &[])
        .refused(2, &["take no selection"]);
    lab.twinfold(&format!("{create} --form labels"), &[]).ok();
    // Two have the one label only, two the other.
    let trainers = TRAINERS.iter().enumerate().map(|(at, who)| {
        let file = lab.folder().join(format!("{who}.csv"));
        let label = at % 2;
        let row = |number: usize| format!("{},{},{label}\n", number % 7, number % 5);
        std::fs::write(&file, (0..40).map(row).collect::<String>()).unwrap();
        lab.trainer(who, "formed", &file, &["--label", "last"])
    });
    trainers.collect::<Vec<_>>().into_iter().for_each(Trainer::succeeds);
    let client = lab.client();
    let task = client.task("formed").expect("the task");
    assert_eq!(task.status, TaskStatus::Finished);
    let said = lab.twinfold("events", &[]).ok().out;
    assert!(said.contains("formed by labels of 4 trainers"), "{said}");
    let shown = lab.twinfold("task clusters formed", &[]).ok().out;
    assert!(shown.contains("from what trainers say"), "{shown}");
    let formed = client.formed("formed").expect("the clusters");
    let cluster =
        |who: &PublicKey| formed.iter().find(|one| one.trainer == *who).map(|one| one.cluster);
    if formed.len() == TRAINERS.len() {
        let of = |at: usize| cluster(&public(TRAINERS[at]));
        assert!(of(0) != of(2) && of(1) != of(3), "both labels in each: {formed:?}");
    }
    let verified = lab.twinfold("model verify {} --recompute", &[&task.global]).ok().out;
    assert!(verified.contains("recomputed"), "{verified}");
    lab.same_root();
}
