//! Three levels: two regions of two clusters each, at their own pace, and the whole.

use crate::kit::{Chain, TRAINER, VALIDATOR, round_job};
use twinfold_types::{
    Code, Digest, Event, RegionId, TaskId,
    model::{Level, ModelSource},
    round::FoldJob,
    task::{
        Mode, Regions, TaskStatus,
        regions::{Region, RegionStage},
    },
};

fn regions(chain: &Chain, task: TaskId) -> Vec<Region> {
    chain.reader.task_with_clusters(&task).unwrap().unwrap().regions
}

fn merge_of(task: TaskId, region: u16, number: u64) -> FoldJob {
    FoldJob::RegionMerge { task, region: RegionId(region), number }
}

/// A cluster's round, from its one update to its model.
fn round(chain: &mut Chain, task: TaskId, cluster: u16, number: u64) {
    chain.send(TRAINER + cluster as u8, task, cluster);
    chain.fold(round_job(task, cluster, number), 10 * cluster as u8 + number as u8 + 1);
}

/// The region's merge, as f+1 seats sign it.
fn merge(chain: &mut Chain, task: TaskId, region: u16, number: u64) -> Vec<Event> {
    chain.fold(merge_of(task, region, number), 100 + 10 * region as u8 + number as u8)
}

fn task(chain: &mut Chain) -> TaskId {
    chain.task(|spec| {
        (spec.clusters, spec.participants_min, spec.participants_max) = (4, 1, 1);
        spec.regions = Some(Regions { sizes: vec![2, 2], merge_every: 2 });
        spec.rounds_max = 4;
    })
}

#[test]
fn regions_merge_at_their_own_pace_and_wait_for_one_another_at_the_top() {
    let mut chain = Chain::new();
    let task = task(&mut chain);
    round(&mut chain, task, 0, 0);
    assert_eq!(chain.jobs(), [], "the region's other cluster is in its round");
    round(&mut chain, task, 1, 0);
    assert_eq!(chain.jobs(), [merge_of(task, 0, 0)]);
    let parents: Vec<_> = chain.clusters(task)[..2].iter().map(|cluster| cluster.model).collect();
    let early = chain.signed(chain.result(merge_of(task, 1, 0), 9), &[0, 1]);
    assert_eq!(chain.code(VALIDATOR, early), Code::FoldUnexpected);
    let events = merge(&mut chain, task, 0, 0);
    assert!(events.iter().any(|event| matches!(event, Event::RegionMerged { number: 0, .. })));

    // Its clusters go on from its model; the others are where they were.
    let region = regions(&chain, task).remove(0);
    let record = chain.reader.model(&region.model).unwrap().unwrap();
    assert_eq!((record.level, record.version), (Level::Region(RegionId(0)), 1));
    assert_eq!(record.parents, parents);
    let weights = vec![50, 50];
    assert_eq!(record.source, ModelSource::Merge { number: 0, weights, saturations: 0 });
    let versions: Vec<_> = chain.clusters(task).iter().map(|cluster| cluster.version).collect();
    assert_eq!(versions, [2, 2, 0, 0]);
    assert_eq!((region.weight, region.merges, region.stage), (100, 1, RegionStage::Rounds));

    // It runs its second period while the other has not ended its first, and then waits.
    for cluster in [0, 1] {
        round(&mut chain, task, cluster, 1);
    }
    merge(&mut chain, task, 0, 1);
    assert_eq!(regions(&chain, task)[0].stage, RegionStage::Waiting);
    let update = chain.update(task, 0);
    let early = twinfold_types::Action::Update(Box::new(update));
    assert_eq!(chain.code(TRAINER, early), Code::RoundSealed, "no round is open there");
    for number in [0, 1] {
        for cluster in [2, 3] {
            round(&mut chain, task, cluster, number);
        }
        merge(&mut chain, task, 1, number);
    }
    let whole = FoldJob::Merge { task, number: 0 };
    assert_eq!(chain.jobs(), [whole]);
    let parts: Vec<_> = regions(&chain, task).iter().map(|region| region.model).collect();
    let basis = chain.reader.fold_basis(&whole).unwrap().unwrap();
    assert_eq!(basis.merging(None), parts.iter().map(|model| (*model, 200)).collect::<Vec<_>>());
    chain.fold(whole, 200);
    let row = chain.reader.task(&task).unwrap().unwrap();
    let global = chain.reader.model(&row.global).unwrap().unwrap();
    assert_eq!((global.level, global.version, global.parents), (Level::Global, 1, parts));
    assert_eq!(global.digest, Digest([200; 32]));
    for region in regions(&chain, task) {
        assert_eq!((region.model, region.weight, region.periods), (row.global, 0, 0));
        assert_eq!((region.merges, region.stage), (2, RegionStage::Rounds));
    }
    assert!(chain.clusters(task).iter().all(|cluster| cluster.model == row.global));
}

#[test]
fn a_region_where_nobody_comes_holds_nobody_up_and_counts_nothing() {
    let mut chain = Chain::new();
    let task = chain.task(|spec| {
        (spec.clusters, spec.participants_min, spec.participants_max) = (3, 1, 1);
        spec.regions = Some(Regions { sizes: vec![2, 1], merge_every: 1 });
        (spec.rounds_max, spec.extensions_max, spec.deadline_ms) = (1, 0, 3_000);
    });
    round(&mut chain, task, 0, 0);
    // Blocks are a second apart: the deadlines of the other two pass.
    for _ in 0..4 {
        chain.block(vec![]);
    }
    assert_eq!(chain.jobs(), [merge_of(task, 0, 0)], "of the one cluster that has something");
    merge(&mut chain, task, 0, 0);
    let whole = FoldJob::Merge { task, number: 0 };
    let basis = chain.reader.fold_basis(&whole).unwrap().unwrap();
    let weights: Vec<_> = basis.merging(None).into_iter().map(|(_, weight)| weight).collect();
    assert_eq!(weights, [50, 0]);
    chain.fold(whole, 200);
    assert_eq!(chain.reader.task(&task).unwrap().unwrap().status, TaskStatus::Finished);
    assert!(regions(&chain, task).iter().all(|region| region.weight == 0));
}

#[test]
fn a_region_weighs_no_more_than_its_clusters_may_together() {
    let mut chain = Chain::new();
    let task = chain.task(|spec| {
        (spec.clusters, spec.participants_min, spec.participants_max) = (2, 1, 1);
        spec.regions = Some(Regions { sizes: vec![1, 1], merge_every: 3 });
        spec.merge_weight_max = 60;
    });
    for number in 0..2 {
        round(&mut chain, task, 0, number);
        let events = merge(&mut chain, task, 0, number);
        let capped = events.iter().any(|event| matches!(event, Event::RegionWeightCapped { .. }));
        assert_eq!(capped, number == 1);
    }
    assert_eq!(regions(&chain, task)[0].weight, 60);
}

#[test]
fn regions_that_do_not_fit_are_refused_with_the_reason() {
    let chain = Chain::new();
    let fault = |sizes: &[u16], change: &dyn Fn(&mut twinfold_types::task::TaskSpec)| {
        let mut spec = chain.spec();
        spec.clusters = 4;
        spec.regions = Some(Regions { sizes: sizes.to_vec(), merge_every: 1 });
        change(&mut spec);
        spec.fault().unwrap_or_default()
    };
    assert_eq!(fault(&[2, 2], &|_| ()), "");
    assert!(fault(&[2, 1], &|_| ()).contains("3 clusters and the task 4"));
    assert!(fault(&[4, 0], &|_| ()).contains("at least one"));
    assert!(fault(&[4], &|_| ()).contains("one region alone"));
    assert!(fault(&[u16::MAX, 5], &|_| ()).contains("the task 4"));
    assert!(fault(&[2, 2], &|spec| spec.late = vec![1 << 16]).contains("late"));
    let buffered = Mode::Async { buffer: 2, staleness: vec![1 << 16], mix: None };
    assert!(fault(&[2, 2], &|spec| spec.mode = buffered.clone()).contains("synchronous"));
    let median = |spec: &mut twinfold_types::task::TaskSpec| {
        spec.merge_rule = twinfold_types::task::AggregationRule::Median;
    };
    assert!(fault(&[2, 2], &median).contains("across clusters of a region median needs"));
}
