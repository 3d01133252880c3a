use crate::kit::*;
use twinfold_types::{
    Action, BlobId, ClusterId, Code, Digest, Event, Receipt, RoundNumber, TimeMs, limits,
    model::{Level, ModelId, ModelSource, TensorPolicy},
    round::{FoldJob, FoldRefusal, Outcome, RoundState, VoidReason},
    state_key,
    task::{TaskSpec, TaskStatus},
    tx::UpdateAction,
};

fn update_code(chain: &mut Chain, update: UpdateAction) -> Code {
    chain.code(TRAINER, Action::Update(Box::new(update)))
}

#[test]
fn the_first_update_starts_the_deadlines_of_every_cluster() {
    let mut chain = Chain::new();
    let task = chain.task(|spec| spec.clusters = 2);
    let events = chain.send(TRAINER, task, 0);
    let deadline = TimeMs(chain.now() + DEADLINE_MS);
    let started = |cluster| Event::RoundStarted { key: round_key(task, cluster, 0), deadline };
    let key = round_key(task, 0, 0);
    let ordered = Event::UpdateOrdered { key, index: 0, trainer: public(TRAINER) };
    assert_eq!(events, [started(0), started(1), ordered]);
    assert_eq!(chain.reader.next_deadline().unwrap(), Some(deadline));
    let (_, entries) = chain.reader.round_with_entries(&key).unwrap().unwrap();
    assert_eq!((entries.len(), entries[0].weight), (1, 50));
}

#[test]
fn a_round_seals_at_its_capacity_and_its_result_makes_a_version() {
    let mut chain = Chain::new();
    let task = chain.task(|spec| spec.merge_every = 2);
    chain.send(TRAINER, task, 0);
    let events = chain.send(TRAINER + 1, task, 0);
    let key = round_key(task, 0, 0);
    assert_eq!(events[1], Event::RoundSealed { key, entries: 2 });
    assert_eq!(chain.jobs(), [FoldJob::Round(key)]);
    assert_eq!(chain.reader.next_deadline().unwrap(), None);

    let late = chain.update(task, 0);
    assert_eq!(chain.code(TRAINER + 2, Action::Update(Box::new(late))), Code::RoundSealed);

    let first = chain.reader.cluster(&task, ClusterId(0)).unwrap().unwrap().model;
    let events = chain.fold(FoldJob::Round(key), 5);
    assert!(matches!(events[1], Event::RoundAggregated { folded: 2, refused: 0, .. }));
    let cluster = chain.reader.cluster(&task, ClusterId(0)).unwrap().unwrap();
    assert_eq!((cluster.version, cluster.weight, cluster.rounds_since_merge), (1, 100, 1));
    assert_eq!((cluster.folding, cluster.collecting), (RoundNumber(1), RoundNumber(1)));
    let model = chain.reader.model(&cluster.model).unwrap().unwrap();
    assert_eq!((model.level, model.version), (Level::Cluster(ClusterId(0)), 1));
    assert_eq!((model.parents, model.digest), (vec![first], Digest([5; 32])));
    assert_eq!(chain.reader.model_by_digest(&Digest([5; 32])).unwrap(), Some(cluster.model));
    // The task is active: the next round's deadline runs at once.
    let next = chain.reader.round(&round_key(task, 0, 1)).unwrap().unwrap();
    assert!(matches!(next.state, RoundState::Collecting { extensions: 0, .. }));
}

#[test]
fn a_round_with_enough_updates_seals_at_its_deadline() {
    let mut chain = Chain::new();
    let task = chain.task(|_| {});
    chain.send(TRAINER, task, 0);
    let deadline = chain.reader.next_deadline().unwrap().unwrap();
    assert!(chain.block_at(deadline.0 - 1, vec![]).is_empty());
    let receipts = chain.block_at(deadline.0, vec![]);
    let key = round_key(task, 0, 0);
    assert_eq!(receipts[0].events, [Event::RoundSealed { key, entries: 1 }]);
    assert_eq!(chain.jobs(), [FoldJob::Round(key)]);
}

#[test]
fn a_round_below_its_minimum_is_extended_and_then_void() {
    let mut chain = Chain::new();
    let task = chain.task(|spec| spec.participants_min = 2);
    chain.send(TRAINER, task, 0);
    let key = round_key(task, 0, 0);
    let at = chain.reader.next_deadline().unwrap().unwrap();
    let receipts = chain.block_at(at.0, vec![]);
    let deadline = at.plus(DEADLINE_MS);
    assert_eq!(receipts[0].events, [Event::RoundExtended { key, deadline, extensions: 1 }]);
    let receipts = chain.block_at(deadline.0, vec![]);
    let events = &receipts[0].events;
    assert_eq!(events[0], Event::RoundVoid { key, reason: VoidReason::TooFew });
    // Nothing was folded, so there is nothing to merge: the next round is open and idle.
    assert_eq!(events[1], Event::RoundOpened { key: round_key(task, 0, 1) });
    let row = chain.reader.task(&task).unwrap().unwrap();
    assert_eq!((row.active, row.merges, row.global_version), (false, 0, 0));
    assert_eq!(chain.reader.next_deadline().unwrap(), None);
    chain.send(TRAINER, task, 0);
}

/// Rounds that a block's deadlines sealed or made void.
fn ended(receipts: &[Receipt]) -> usize {
    let ends =
        |event: &&Event| matches!(event, Event::RoundVoid { .. } | Event::RoundSealed { .. });
    receipts[0].events.iter().filter(ends).count()
}

#[test]
fn more_deadlines_than_a_block_works_off_are_worked_off_in_the_next() {
    let mut chain = Chain::new();
    let mut updates = Vec::new();
    for number in 0..5 {
        let task = chain.task(|spec| {
            spec.name = format!("task {number}");
            (spec.clusters, spec.merge_weight_max) = (limits::CLUSTERS_MAX, 1_000);
            spec.extensions_max = 0;
        });
        updates.push(Action::Update(Box::new(chain.update(task, 0))));
    }
    let updates = updates.into_iter().map(|update| chain.tx(TRAINER, update)).collect();
    chain.block(updates);
    let due = chain.reader.next_deadline().unwrap().unwrap();
    assert_eq!(ended(&chain.block_at(due.0, vec![])), limits::DEADLINES_MAX);
    let next = chain.reader.next_deadline().unwrap();
    assert_eq!(next, Some(due.plus(1)), "what is left asks for a block of its own");
    let left = 5 * usize::from(limits::CLUSTERS_MAX) - limits::DEADLINES_MAX;
    assert_eq!(ended(&chain.block_at(due.0 + 1, vec![])), left);
    assert_eq!(chain.reader.next_deadline().unwrap(), None);
}

#[test]
fn a_cluster_without_trainers_does_not_hold_up_the_merge() {
    let mut chain = Chain::new();
    let task = chain.task(|spec| {
        spec.clusters = 2;
        spec.participants_max = 1;
        spec.extensions_max = 0;
    });
    chain.send(TRAINER, task, 0);
    chain.fold(round_job(task, 0, 0), 5);
    assert!(chain.jobs().is_empty(), "the other cluster still collects");
    let waiting = chain.update(task, 0);
    assert_eq!(update_code(&mut chain, waiting), Code::RoundSealed);
    let deadline = chain.reader.next_deadline().unwrap().unwrap();
    let receipts = chain.block_at(deadline.0, vec![]);
    assert_eq!(receipts[0].events[1], Event::MergeDue { task, number: 0 });
    assert_eq!(chain.jobs(), [FoldJob::Merge { task, number: 0 }]);
}

#[test]
fn a_merge_gives_every_cluster_the_global_model() {
    let mut chain = Chain::new();
    let task = chain.task(|spec| {
        spec.clusters = 2;
        spec.participants_max = 1;
    });
    chain.send(TRAINER, task, 0);
    chain.send(TRAINER + 1, task, 1);
    assert_eq!(chain.jobs(), [round_job(task, 0, 0), round_job(task, 1, 0)]);
    let basis = chain.reader.fold_basis(&round_job(task, 1, 0)).unwrap().unwrap();
    assert_eq!((basis.clusters.len(), basis.entries.len()), (2, 1));
    chain.fold(round_job(task, 1, 0), 6);
    assert_eq!(chain.reader.fold_basis(&round_job(task, 1, 0)).unwrap(), None);
    chain.fold(round_job(task, 0, 0), 5);
    let parents: Vec<_> = chain.clusters(task).iter().map(|cluster| cluster.model).collect();
    let merge = FoldJob::Merge { task, number: 0 };
    let mut result = chain.result(merge, 7);
    result.weight = 100;
    let again = chain.signed(result.clone(), &[0, 1]);
    let action = chain.signed(result, &[1, 3]);
    let events = chain.ok(VALIDATOR, action);
    assert!(matches!(events[1], Event::Merged { number: 0, .. }));

    let row = chain.reader.task(&task).unwrap().unwrap();
    assert_eq!((row.global_version, row.merges, row.active), (1, 1, false));
    let global = chain.reader.model(&row.global).unwrap().unwrap();
    assert_eq!((global.level, global.version, &global.parents), (Level::Global, 1, &parents));
    let source = ModelSource::Merge { number: 0, weights: vec![50, 50], saturations: 0 };
    assert_eq!(global.source, source);
    for cluster in chain.clusters(task) {
        assert_eq!((cluster.model, cluster.version, cluster.weight), (row.global, 2, 0));
        // Every version keeps its name, for deltas that are against it.
        let index = usize::from(cluster.cluster.0);
        for (version, model) in [(1, parents[index]), (2, row.global)] {
            let key = state_key::cluster_version(&task, cluster.cluster, version);
            assert_eq!(chain.reader.get(&key).unwrap(), Some(model));
        }
        let round = chain.reader.round(&round_key(task, cluster.cluster.0, 1)).unwrap().unwrap();
        assert_eq!(round.state, RoundState::Open);
    }
    assert_eq!(chain.code(VALIDATOR, again), Code::FoldUnexpected);
    let levels = [Level::Global, Level::Cluster(ClusterId(0)), Level::Cluster(ClusterId(1))];
    let count = |level| chain.reader.models(Some(&task), level, None, 10).unwrap().len();
    assert_eq!(levels.map(count), [2, 1, 1]);
}

#[test]
fn a_task_that_starts_from_a_model_has_its_content_and_names_it() {
    let mut chain = Chain::new();
    let first = chain.task(|_| ());
    let row = chain.reader.task(&first).unwrap().unwrap();
    let mut spec = chain.spec();
    spec.name = "next".into();
    spec.start = Some(ModelId(Digest([9; 32])));
    let create = |spec: &TaskSpec| Action::CreateTask(Box::new(spec.clone()));
    assert_eq!(chain.code(OPERATOR, create(&spec)), Code::ModelUnknown);
    spec.start = Some(row.global);
    let mut other = spec.clone();
    other.initial_model = Digest([2; 32]);
    assert_eq!(chain.code(OPERATOR, create(&other)), Code::ModelInvalid);
    let mut coarser = spec.clone();
    coarser.tensors[0].scale = 10;
    assert_eq!(chain.code(OPERATOR, create(&coarser)), Code::ModelInvalid);
    // It may train less of it.
    spec.tensors[0].policy = TensorPolicy::Frozen;
    let events = chain.ok(OPERATOR, create(&spec));
    let Event::TaskCreated { task } = events[0] else { panic!("{events:?}") };
    let next = chain.reader.task(&task).unwrap().unwrap();
    let record = chain.reader.model(&next.global).unwrap().unwrap();
    assert_eq!(record.parents, [row.global]);
}

/// What a server optimiser remembers belongs to the cluster's own model: a merge of one keeps it, one of
/// several drops it.
#[test]
fn a_merge_of_several_clusters_makes_their_optimisers_forget() {
    let remembered = |clusters: u16| {
        let mut chain = Chain::new();
        let task = chain.task(|spec| {
            (spec.clusters, spec.participants_max) = (clusters, 1);
            (spec.server, spec.merge_every) = ("fedavgm".parse().unwrap(), 2);
        });
        for round in 0..2 {
            for cluster in 0..clusters {
                chain.send(TRAINER + cluster as u8, task, cluster);
                let job = round_job(task, cluster, round);
                let mut forgotten = chain.result(job, 5);
                forgotten.optimiser = None;
                let forgotten = chain.signed(forgotten, &[0, 1]);
                assert_eq!(chain.code(VALIDATOR, forgotten), Code::FoldMismatch);
                chain.fold(job, 5 + round as u8);
                let cluster = chain.reader.cluster(&task, ClusterId(cluster)).unwrap().unwrap();
                assert_eq!(cluster.optimiser, Some(Digest([!(5 + round as u8); 32])));
            }
        }
        let mut result = chain.result(FoldJob::Merge { task, number: 0 }, 9);
        result.weight = 100 * u64::from(clusters);
        let action = chain.signed(result, &[0, 1]);
        chain.ok(VALIDATOR, action);
        chain.clusters(task).iter().map(|cluster| cluster.optimiser).collect::<Vec<_>>()
    };
    assert_eq!(remembered(1), [Some(Digest([!6; 32]))]);
    assert_eq!(remembered(2), [None, None]);
}

#[test]
fn a_task_is_finished_after_the_merge_of_its_last_round() {
    let mut chain = Chain::new();
    let task = chain.task(|spec| {
        spec.participants_max = 1;
        spec.merge_every = 2;
        spec.rounds_max = 3;
    });
    for (round, merged) in [(0, false), (1, true), (2, true)] {
        chain.send(TRAINER, task, 0);
        chain.fold(round_job(task, 0, round), 10 + round as u8);
        let job = FoldJob::Merge { task, number: round / 2 };
        assert_eq!(chain.jobs(), if merged { vec![job] } else { vec![] }, "round {round}");
        if merged {
            let events = chain.fold(job, 20 + round as u8);
            let finished = events.contains(&Event::TaskFinished { task });
            assert_eq!(finished, round == 2);
        }
    }
    let row = chain.reader.task(&task).unwrap().unwrap();
    assert_eq!((row.status, row.merges), (TaskStatus::Finished, 2));
    assert_eq!(chain.reader.next_deadline().unwrap(), None);
    let update = chain.update(task, 0);
    assert_eq!(update_code(&mut chain, update), Code::TaskEnded);
}

#[test]
fn an_update_that_does_not_fit_is_refused_with_its_reason() {
    let mut chain = Chain::new();
    let task = chain.task(|spec| spec.clusters = 2);
    let good = chain.update(task, 0);
    let mut check = |change: &dyn Fn(&mut UpdateAction), code| {
        let mut update = good.clone();
        change(&mut update);
        assert_eq!(update_code(&mut chain, update), code);
    };
    check(&|update| update.examples = 0, Code::ExamplesInvalid);
    check(&|update| update.task.0.0[0] ^= 1, Code::TaskUnknown);
    check(&|update| update.cluster = ClusterId(2), Code::ClusterUnknown);
    check(&|update| update.round = Some(RoundNumber(1)), Code::RoundOther);
    check(&|update| update.round = None, Code::RoundOther);
    check(&|update| update.base_version = 1, Code::BaseOther);
    check(&|update| update.payload.receipts.truncate(2), Code::AvailabilityInvalid);
    check(&|update| update.payload.receipts[0].signature.0[0] ^= 1, Code::AvailabilityInvalid);
    check(&|update| update.payload.receipts.swap(0, 1), Code::AvailabilityInvalid);
    check(&|update| update.payload.blob.length -= 1, Code::AvailabilityInvalid);
    let most = 64 * 1024 + 9 * 650;
    let sized =
        |length| chain.availability_of(BlobId::of_whole_copies(length, Digest([7; 32]), 4), 3);
    let (fits, large) = (sized(most), sized(most + 1));
    let mut update = good.clone();
    update.payload = large;
    assert_eq!(update_code(&mut chain, update), Code::PayloadTooLarge);
    let mut update = good.clone();
    update.payload = fits;
    assert_eq!(update_code(&mut chain, update.clone()), Code::Ok);
    assert_eq!(update_code(&mut chain, update), Code::UpdateExists);
    let mut other = good;
    other.cluster = ClusterId(1);
    assert_eq!(update_code(&mut chain, other), Code::ClusterOther);
}

#[test]
fn a_refused_update_leaves_no_trace() {
    let mut chain = Chain::new();
    let task = chain.task(|_| {});
    let root = chain.reader.head().state_root;
    let mut update = chain.update(task, 0);
    update.payload.receipts.clear();
    assert_eq!(update_code(&mut chain, update), Code::AvailabilityInvalid);
    assert_eq!(chain.reader.head().state_root, root);
}

#[test]
fn weights_are_capped_by_the_task() {
    let mut chain = Chain::new();
    let task = chain.task(|spec| {
        spec.participants_max = 1;
        spec.weight_max = 40;
        spec.merge_weight_max = 60;
        spec.merge_every = 2;
    });
    chain.send(TRAINER, task, 0);
    chain.fold(round_job(task, 0, 0), 5);
    chain.send(TRAINER, task, 0);
    let events = chain.fold(round_job(task, 0, 1), 6);
    assert!(events.contains(&Event::WeightCapped { task, cluster: ClusterId(0) }));
    assert_eq!(chain.reader.cluster(&task, ClusterId(0)).unwrap().unwrap().weight, 60);
}

#[test]
fn a_fold_result_needs_a_weak_quorum_of_distinct_seats() {
    let mut chain = Chain::new();
    let task = chain.task(|spec| spec.participants_max = 1);
    chain.send(TRAINER, task, 0);
    let result = chain.result(round_job(task, 0, 0), 5);
    for seats in [&[0][..], &[1, 1], &[2, 1], &[0, 7]] {
        let signers: Vec<u16> = seats.iter().map(|seat| seat % 4).collect();
        let Action::Aggregate(mut action) = chain.signed(result.clone(), &signers) else {
            unreachable!()
        };
        for (signature, seat) in action.signatures.iter_mut().zip(seats) {
            signature.0.0 = *seat;
        }
        assert_eq!(chain.code(VALIDATOR, Action::Aggregate(action)), Code::FoldSignatures);
    }
    // Signed for another result.
    let Action::Aggregate(mut action) = chain.signed(result.clone(), &[0, 1]) else {
        unreachable!()
    };
    action.result.saturations = 1;
    assert_eq!(chain.code(VALIDATOR, Action::Aggregate(action)), Code::FoldSignatures);
    let action = chain.signed(result, &[0, 1]);
    chain.ok(VALIDATOR, action);
}

#[test]
fn a_fold_result_must_fit_the_rounds_list() {
    let mut chain = Chain::new();
    let task = chain.task(|spec| spec.participants_max = 1);
    chain.send(TRAINER, task, 0);
    let good = chain.result(round_job(task, 0, 0), 5);
    let mut longer = good.clone();
    longer.outcomes.push(Outcome::Folded { weight: 0 });
    let mut heavier = good.clone();
    heavier.weight += 1;
    let mut none = good.clone();
    none.model = None;
    let mut refused = good.clone();
    refused.outcomes = vec![Outcome::Refused(FoldRefusal::Norm)];
    refused.weight = 0;
    for result in [longer, heavier, none, refused] {
        let action = chain.signed(result, &[0, 1]);
        assert_eq!(chain.code(VALIDATOR, action), Code::FoldMismatch);
    }
    let mut other = good;
    other.job = round_job(task, 0, 1);
    let action = chain.signed(other, &[0, 1]);
    assert_eq!(chain.code(VALIDATOR, action), Code::FoldUnexpected);
}

#[test]
fn a_round_whose_updates_are_all_refused_changes_no_model() {
    let mut chain = Chain::new();
    let task = chain.task(|spec| spec.participants_max = 1);
    chain.send(TRAINER, task, 0);
    let mut result = chain.result(round_job(task, 0, 0), 5);
    result.model = None;
    result.outcomes = vec![Outcome::Refused(FoldRefusal::Norm)];
    result.weight = 0;
    let action = chain.signed(result, &[0, 1]);
    let events = chain.ok(VALIDATOR, action);
    let key = round_key(task, 0, 0);
    assert_eq!(events[0], Event::RoundVoid { key, reason: VoidReason::AllRefused });
    let cluster = chain.reader.cluster(&task, ClusterId(0)).unwrap().unwrap();
    assert_eq!((cluster.version, cluster.collecting), (0, RoundNumber(1)));
    chain.send(TRAINER, task, 0);
}
