//! Four trainers, a cluster each, two regions: clusters merge into their region after each round, regions after
//! two such merges; the global model is recomputed from the ledger, through both levels.

use crate::lab::{Lab, members::TRAINERS, trainer::Trainer};
use twinfold_types::{RegionId, model::Level, task::TaskStatus};

#[test]
fn regions_merge_often_and_the_whole_seldom() {
    let mut lab = Lab::start();
    let create = "--key olaf task create --name levels --architecture softmax --features 2 --classes 2 --rounds 4 \
                  --participants-min 1 --participants-max 1 --deadline 20s --server fedavgm --merge-every 2";
    lab.twinfold(&format!("{create} --clusters 3 --regions 2,2"), &[])
        .refused(2, &["4 clusters and the task 3"]);
    lab.twinfold(&format!("{create} --region-merge-every 2"), &[]).refused(2, &["--regions"]);
    let created = format!("{create} --regions 2,2 --region-merge-every 2");
    lab.twinfold(&created, &[]).ok();
    let trainers = TRAINERS.iter().enumerate().map(|(at, who)| {
        let file = lab.folder().join(format!("{who}.csv"));
        let row = |number: usize| format!("{},{},{}\n", number % 7, (number + at) % 5, number % 2);
        std::fs::write(&file, (0..40).map(row).collect::<String>()).unwrap();
        let cluster = at.to_string();
        lab.trainer(who, "levels", &file, &["--label", "last", "--cluster", &cluster])
    });
    trainers.collect::<Vec<_>>().into_iter().for_each(Trainer::succeeds);
    let client = lab.client();
    let task = client.task("levels").expect("the task");
    assert_eq!(task.status, TaskStatus::Finished);
    assert_eq!((task.merges, task.global_version), (1, 1));
    for region in [0, 1] {
        let level = Some(Level::Region(RegionId(region)));
        let models = client.models(Some("levels"), level, None, 10).expect("its models");
        assert_eq!(models.len(), 2, "of two periods of two rounds");
    }
    let listed = lab.twinfold("model list --task levels --region 1", &[]).ok().out;
    assert!(listed.contains("region 1"), "{listed}");
    let shown = lab.twinfold("task show levels", &[]).ok().out;
    assert!(shown.contains("region 1: clusters 2 to 3, 2 merges"), "{shown}");
    let said = lab.twinfold("events", &[]).ok().out;
    assert!(said.contains("merge 1 of region 0 is model"), "{said}");
    let verified = lab.twinfold("model verify {} --recompute", &[&task.global]).ok().out;
    assert!(verified.contains("recomputed"), "{verified}");
    lab.same_root();
}
