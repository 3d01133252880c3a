//! When rounds close, in tasks that have the ledger choose.

use crate::{execute::Exec, round};
use twinfold_types::{
    Event, RoundNumber,
    round::Round,
    task::{Cluster, Pace, Task},
};

/// Whether the cluster's round closes with the update that has just come.
pub fn is_full(task: &Task, cluster: &Cluster, round: &Round) -> bool {
    let own = cluster.pacing.current.map_or(0, |arrivals| arrivals.updates);
    let enough = task.spec.switch.is_some() && cluster.pacing.pace == Pace::Enough;
    // Late ones of rounds before are none of its own.
    round.entries >= task.spec.round_capacity() || (enough && own >= task.spec.participants_min)
}

/// An update came, meant for a round. Stores the cluster.
pub fn take(
    exec: &mut Exec<'_>,
    task: &Task,
    cluster: &mut Cluster,
    collecting: &Round,
    meant: Option<RoundNumber>,
) {
    if task.spec.switch.is_none() {
        return;
    }
    let (number, opened) = (collecting.key.round, collecting.opened);
    let (now, least) = (exec.env.time, task.spec.participants_min);
    cluster.pacing.take(meant.unwrap_or(number), number, opened, now, least);
    round::put_cluster(exec, cluster);
}

/// The round that collects has closed: whether the next ones close otherwise. Stores the cluster.
pub fn close(exec: &mut Exec<'_>, task: &Task, cluster: &mut Cluster, round: &Round) {
    let Some(switch) = task.spec.switch else { return };
    let chosen = cluster.pacing.close(switch, task.spec.participants_max, exec.env.time);
    if let Some((pace, arrivals)) = chosen {
        exec.event(Event::PaceChosen { key: round.key, pace, arrivals });
    }
    round::put_cluster(exec, cluster);
}
