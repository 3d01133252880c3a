//! A task whose model moves by a compressed change: who has the model before fetches the change alone, gets the
//! model to the bit, and anyone recomputes it from the ledger. And a task that takes no more trainers than its
//! plan says.

use crate::lab::Lab;
use std::path::PathBuf;
use twinfold_cli::{held::HeldModel, task::fetch_steps};
use twinfold_types::{ClusterId, model::Level, task::TaskStatus};

#[test]
fn what_comes_down_is_a_change() {
    let mut lab = Lab::start();
    let data = digits();
    let create = "--key olaf task create --name down --architecture mlp:64 --features 64 --classes 10 --rounds 4 \
                  --participants-min 1 --participants-max 1 --deadline 60s --compress topk:0.1:8";
    lab.twinfold(&format!("{create} --down randk:0.1"), &[]).refused(2, &["q2 to q16, or topk"]);
    lab.twinfold(&format!("{create} --down q8 --clusters 2"), &[]).refused(2, &["one cluster"]);
    lab.twinfold(&format!("{create} --down topk:0.02:4"), &[]).ok();
    let train = "--key tess train --task down --partition 0/8 --data {}";
    lab.twinfold(train, &[&data.display()]).ok();

    let client = lab.client();
    let task = client.task("down").expect("the task");
    assert_eq!(task.status, TaskStatus::Finished);
    let level = Some(Level::Cluster(ClusterId(0)));
    let mut models = client.models(Some("down"), level, None, 10).expect("its models");
    models.reverse();
    assert_eq!(models.len(), 4);
    let mut held = HeldModel::default();
    let values = 64 * 64 + 64 + 64 * 10 + 10;
    for (at, model) in models.iter().enumerate() {
        let before = client.bytes_received();
        let steps = held.fetch(&client, &task, &model.id, &model.record.digest).expect("steps");
        let took = client.bytes_received() - before;
        // A fiftieth of the values, of four bits and their places; the first comes as a whole.
        let short = at == 0 || took <= values / 10;
        assert!(short, "model {at} took {took} bytes");
        let whole = fetch_steps(&client, &task.spec, &model.id, &model.record.digest);
        assert_eq!(whole.expect("steps"), steps);
    }
    let said = lab.twinfold("model verify {} --recompute", &[&task.global]).ok().out;
    assert!(said.contains("recomputed"), "{said}");
    lab.same_root();
}

#[test]
fn a_task_takes_no_more_trainers_than_its_plan_says() {
    let lab = Lab::start();
    let data = digits();
    let create = "--key olaf task create --name planned --architecture softmax --features 64 --classes 10 \
                  --participants-max 4 --deadline 2s";
    lab.twinfold(create, &[]).ok();
    let plan = "--key {} task plan planned --data {} --stop-there";
    lab.twinfold(plan, &[&"tess", &data.display()]).refused(3, &["roles do not allow"]);
    // Work so small is for one.
    let said = lab.twinfold(plan, &[&"olaf", &data.display()]).ok().out;
    assert!(said.contains("takes 1 trainers at most"), "{said}");
    let train = "--key {} train --task planned --rounds 1 --partition 0/8 --data {}";
    lab.twinfold(train, &[&"tess", &data.display()]).ok();
    lab.twinfold(train, &[&"theo", &data.display()]).refused(3, &["takes no more trainers"]);
    let shown = lab.twinfold("task show planned", &[]).ok().out;
    assert!(shown.contains("1 of at most 1"), "{shown}");
    lab.twinfold("--key olaf task recruit planned --all", &[]).ok();
    lab.twinfold(train, &[&"theo", &data.display()]).ok();
}

fn digits() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../testnet/data/optdigits.csv"))
}
