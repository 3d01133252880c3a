//! Clusters formed by the ledger of the trainers who come, and formed anew when somebody comes or leaves.

use crate::kit::*;
use twinfold_types::{
    Action, ClusterId, Code, Event, TaskId,
    round::FoldJob,
    state_key,
    task::{
        Forming,
        forming::{Formed, Profile, ProfileAction},
    },
};

fn forming(by: Forming) -> (Chain, TaskId) {
    let mut chain = Chain::new();
    let task = chain.task(|spec| {
        (spec.clusters, spec.forming) = (2, Some(by));
        (spec.participants_min, spec.participants_max, spec.extensions_max) = (1, 2, 0);
    });
    (chain, task)
}

fn profile(task: TaskId, examples: u32, latency_ms: u32, labels: &[u32]) -> Action {
    let profile = Profile { examples, latency_ms, labels: labels.to_vec() };
    Action::Profile(Box::new(ProfileAction { task, profile }))
}

fn cluster(chain: &Chain, task: TaskId, trainer: u8) -> u16 {
    let row: Formed =
        chain.reader.get(&state_key::formed(&task, &public(trainer))).unwrap().unwrap();
    row.cluster.0
}

/// Both clusters fold what they have, and merge.
fn conclude(chain: &mut Chain, task: TaskId, number: u64) -> Vec<Event> {
    chain.block_at(chain.now() + DEADLINE_MS + 1, vec![]);
    for job in chain.jobs() {
        chain.fold(job, number as u8 + 5);
    }
    chain.fold(FoldJob::Merge { task, number }, number as u8 + 6)
}

#[test]
fn trainers_are_spread_as_they_come_and_put_by_the_rule_at_the_next_merge() {
    let (mut chain, task) = forming(Forming::Latency);
    let update = Action::Update(Box::new(chain.update(task, 0)));
    assert_eq!(
        chain.code(TRAINER, update),
        Code::EnrolmentUnknown,
        "who does not join sends nothing"
    );
    for (trainer, latency) in (TRAINER..).zip([90, 5, 80, 6]) {
        chain.ok(trainer, profile(task, 100, latency, &[]));
    }
    let places = |chain: &Chain| [0, 1, 2, 3].map(|one| cluster(chain, task, TRAINER + one));
    assert_eq!(places(&chain), [0, 1, 0, 1], "the emptiest");
    let (here, there) = (chain.update(task, 0), chain.update(task, 1));
    assert_eq!(chain.code(TRAINER + 1, Action::Update(Box::new(here))), Code::ClusterOther);
    assert_eq!(chain.code(TRAINER + 1, Action::Update(Box::new(there))), Code::Ok);
    chain.send(TRAINER, task, 0);
    let events = conclude(&mut chain, task, 0);
    let formed = Event::ClustersFormed { task, by: Forming::Latency, trainers: 4, moved: 4 };
    assert!(events.contains(&formed), "{events:?}");
    assert_eq!(places(&chain), [1, 0, 1, 0], "the near ones together, and the far");
    // The trainer sends to its new cluster, though it had sent to the other.
    chain.send(TRAINER, task, 1);
    chain.send(TRAINER + 1, task, 0);
    let events = conclude(&mut chain, task, 1);
    assert!(
        !events.iter().any(|event| matches!(event, Event::ClustersFormed { .. })),
        "nobody came"
    );
}

#[test]
fn who_leaves_is_in_no_cluster_and_the_others_are_put_anew() {
    let (mut chain, task) = forming(Forming::Size);
    for (trainer, examples) in (TRAINER..).zip([400, 300, 200, 100]) {
        chain.ok(trainer, profile(task, examples, 1, &[]));
    }
    chain.send(TRAINER, task, 0);
    chain.send(TRAINER + 1, task, 1);
    conclude(&mut chain, task, 0);
    let together = |chain: &Chain, one, other| {
        cluster(chain, task, TRAINER + one) == cluster(chain, task, TRAINER + other)
    };
    assert!(together(&chain, 0, 3) && together(&chain, 1, 2), "500 examples each");
    chain.ok(TRAINER, Action::Leave(task));
    assert_eq!(chain.code(TRAINER, Action::Leave(task)), Code::EnrolmentUnknown);
    let at = ClusterId(cluster(&chain, task, TRAINER + 1));
    chain.send(TRAINER + 1, task, at.0);
    let events = conclude(&mut chain, task, 1);
    let formed =
        events.iter().any(|event| matches!(event, Event::ClustersFormed { trainers: 3, .. }));
    assert!(formed, "{events:?}");
    assert!(together(&chain, 2, 3), "300 on each side");
    assert_eq!(chain.reader.task(&task).unwrap().unwrap().trainers, 3);
    // Back again it sends once a round, however often it comes and goes.
    chain.ok(TRAINER, profile(task, 5, 1, &[]));
    let at = cluster(&chain, task, TRAINER);
    chain.send(TRAINER, task, at);
    chain.ok(TRAINER, Action::Leave(task));
    chain.ok(TRAINER, profile(task, 5, 1, &[]));
    let again = Action::Update(Box::new(chain.update(task, at)));
    assert_eq!(chain.code(TRAINER, again), Code::UpdateExists);
}

#[test]
fn profiles_are_bounded_and_for_tasks_that_form_clusters() {
    let (mut chain, task) = forming(Forming::Labels);
    assert_eq!(chain.code(TRAINER, profile(task, 0, 1, &[])), Code::ProfileInvalid);
    assert_eq!(chain.code(TRAINER, profile(task, 1, 1, &[1; 129])), Code::ProfileInvalid);
    chain.ok(TRAINER, profile(task, 1, 1, &[1; 128]));
    // Said anew it stays where it is.
    chain.ok(TRAINER, profile(task, 2, 1, &[1]));
    assert_eq!(chain.reader.task(&task).unwrap().unwrap().trainers, 1);
    let declared = chain.task(|spec| spec.name = "declared".into());
    assert_eq!(chain.code(TRAINER, profile(declared, 1, 1, &[])), Code::EnrolmentUnused);
}
