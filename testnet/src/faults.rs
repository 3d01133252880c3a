//! What the launcher breaks on purpose: validators die in the middle of a round
//! and come back at the end.

use crate::network::Network;
use color_eyre::eyre::{Result, bail, ensure};
use std::time::{Duration, Instant};
use twinfold_cli::client::Client;
use twinfold_types::{ClusterId, TaskId, round::RoundState, task::TaskStatus};

/// Kills so many validators as soon as a round has some of its updates and not
/// all; the leader dies first. Returns their indices.
pub fn kill_in_mid_round(
    network: &mut Network,
    client: &Client,
    task: TaskId,
    count: usize,
    patience: Duration,
) -> Result<Vec<usize>> {
    let victims = victims(network, count);
    let deadline = Instant::now() + patience;
    loop {
        let view = client.task(&task.to_string())?;
        for cluster in 0..view.spec.clusters {
            let newest = client.rounds(&task.to_string(), ClusterId(cluster), None, 1)?;
            let collects = newest.iter().any(|view| {
                matches!(view.round.state, RoundState::Collecting { .. }) && view.round.entries > 0
            });
            if collects {
                victims.iter().try_for_each(|index| network.kill(*index))?;
                return Ok(victims);
            }
        }
        if view.status != TaskStatus::Open {
            bail!("the rounds were over before a validator could be killed: ask for more --rounds");
        }
        network.check()?;
        ensure!(Instant::now() < deadline, "no update came in {} s", patience.as_secs());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The leader of the newest view, then those after it.
fn victims(network: &mut Network, count: usize) -> Vec<usize> {
    let size = network.nodes().len();
    let statuses = network.statuses();
    let newest = statuses.iter().max_by_key(|(_, status)| status.view);
    let leader = newest.and_then(|(_, newest)| {
        statuses.iter().find(|(_, status)| status.seat == Some(newest.leader))
    });
    let first = leader.map_or(0, |(index, _)| *index);
    (0..count).map(|step| (first + step) % size).collect()
}

/// Starts the killed again and waits until they are connected.
pub fn restart(network: &mut Network, killed: &[usize]) -> Result<()> {
    killed.iter().try_for_each(|index| network.start(*index))?;
    network.wait_ready(Duration::from_secs(60))
}
