//! A failing plan made smaller: fewer faults, liars, transactions and seats, as long as the same
//! promise still breaks.

use crate::{plan::Plan, world::World};

/// Runs spent on one failure.
const RUNS_MAX: usize = 150;

/// What broke: a failure begins with the promise's name.
fn promise(failure: &str) -> &str {
    failure.split(':').next().unwrap_or(failure)
}

/// The smallest plan found, and how it fails. Tries one step after another, again and again,
/// until none leads to a failure of the same promise.
pub fn shrink(plan: Plan, failure: String) -> (Plan, String) {
    let (mut plan, mut failure, mut runs) = (plan, failure, 0);
    loop {
        let smaller = steps(&plan).into_iter().find_map(|step| {
            runs += 1;
            if runs > RUNS_MAX {
                return None;
            }
            let other = World::new(step.clone(), false).run().err()?;
            (promise(&other) == promise(&failure)).then_some((step, other))
        });
        match smaller {
            Some(next) => (plan, failure) = next,
            None => return (plan, failure),
        }
    }
}

/// Plans one step smaller, the largest steps first.
fn steps(plan: &Plan) -> Vec<Plan> {
    let changed = |change: &dyn Fn(&mut Plan)| {
        let mut next = plan.clone();
        change(&mut next);
        next
    };
    let mut steps = vec![
        changed(&|plan| plan.liars.clear()),
        changed(&|plan| plan.txs = (plan.txs / 2).max(6)),
        changed(&|plan| plan.real_signatures = false),
        changed(&|plan| plan.observer = false),
        changed(&|plan| plan.joins_ms = None),
        changed(&|plan| plan.loses_ms = None),
        changed(&|plan| plan.ledgers_lost = 0),
        changed(&|plan| plan.crashes = 0),
        changed(&|plan| plan.kills_of_all = 0),
        changed(&|plan| plan.partitions = 0),
        changed(&|plan| plan.sync_failures = 0),
        changed(&|plan| plan.drop_percent = 0),
        changed(&|plan| plan.duplicate_percent = 0),
        changed(&|plan| plan.skew_ms_max = 0),
        changed(&|plan| plan.slow_sync_ms_max = plan.sync_ms_max),
        changed(&|plan| plan.delay_ms_max = (plan.delay_ms_max / 4).max(20)),
        changed(&|plan| plan.faults_ms = (plan.faults_ms / 2).max(2_000)),
        changed(&|plan| plan.crashes /= 2),
        changed(&|plan| plan.partitions /= 2),
        changed(&|plan| plan.txs = (plan.txs * 3 / 4).max(6)),
    ];
    for liar in 0..plan.liars.len() {
        steps.push(changed(&|plan| plan.liars.truncate(liar)));
    }
    steps.extend(fewer_seats(plan));
    steps.retain(|step| step != plan);
    steps
}

/// Three seats fewer bear one liar less.
fn fewer_seats(plan: &Plan) -> Option<Plan> {
    let seats = plan.seats.checked_sub(3).filter(|seats| *seats >= 4)?;
    let mut liars = plan.liars.clone();
    liars.retain(|(seat, _)| *seat < seats);
    liars.truncate((seats - 1) / 3);
    Some(Plan { seats, liars, ..plan.clone() })
}
