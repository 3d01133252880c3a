//! Whose turn it is to fold. Where a task says so, f+1 seats that the sealed list picks fold first, after a
//! while as many as make 2f+1, after another all: f+1 equal results have an honest signer, and f of
//! those who are first may be down. Who is picked can be ground by whoever ends the list; that wins
//! nothing, since one of any f+1 is honest.

use crate::node::Node;
use std::{sync::Arc, time::Duration};
use twinfold_ledger::LedgerError;
use twinfold_types::{
    ClusterId, Digest, SeatIndex, TxId, hash::Tag, model::model_values, quorum, round::FoldJob,
};

/// So long each group has before the next joins in, and so many bytes a second on top.
const TIME: Duration = Duration::from_secs(2);
const BYTES_S: u64 = 50_000_000;

/// How long this seat leaves a job to others; `None` where all fold at once.
pub fn pause(node: &Node, job: FoldJob) -> Result<Option<Duration>, LedgerError> {
    let task = node.reader.task(&job.task())?.filter(|task| task.spec.assigned);
    let (Some(task), Some(seat)) = (task, node.seat()) else { return Ok(None) };
    let entries = match &job {
        FoldJob::Round(key) => node.reader.round_with_entries(key)?.map(|(_, entries)| entries),
        FoldJob::Merge { .. } | FoldJob::RegionMerge { .. } => None,
    };
    let entries = entries.unwrap_or_default();
    let list: Vec<TxId> = entries.iter().map(|entry| entry.tx).collect();
    let first = Digest::of(Tag::FoldTurn, &(job, list));
    let groups = groups_before(&first, seat, node.reader.committee().size());
    let updates: u64 = entries.iter().map(|entry| entry.blob.length).sum();
    let model = model_values(&task.spec.tensors).unwrap_or(0).saturating_mul(4);
    let work = updates.saturating_add(model).saturating_mul(1_000) / BYTES_S;
    Ok(Some((TIME + Duration::from_millis(work)) * groups))
}

/// Groups that fold before a seat does: 0, 1 or 2.
fn groups_before(first: &Digest, seat: SeatIndex, seats: usize) -> u32 {
    let place = place_from(first, seat, seats);
    u32::from(place >= quorum::weak_quorum(seats)) + u32::from(place >= quorum::quorum(seats))
}

/// Where a seat stands when they take turns from the one that a digest picks.
pub fn place_from(first: &Digest, seat: SeatIndex, seats: usize) -> usize {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&first.0[..8]);
    let first = (u64::from_le_bytes(bytes) % seats as u64) as usize;
    (usize::from(seat.0) + seats - first) % seats
}

/// What others folded: its model is the base of the next, and should not be waited for then.
pub fn fetch_result(node: Arc<Node>, job: FoldJob) {
    tokio::spawn(async move {
        let Ok(Some(task)) = node.reader.task(&job.task()) else { return };
        // Every cluster that was merged has the merge's model then.
        let cluster = match job {
            FoldJob::Round(key) => key.cluster,
            FoldJob::Merge { .. } => ClusterId(0),
            FoldJob::RegionMerge { region, .. } => {
                ClusterId(task.spec.regions.map_or(0, |regions| regions.clusters(region).start))
            }
        };
        let Ok(Some(cluster)) = node.reader.cluster(&job.task(), cluster) else { return };
        for digest in [Some(cluster.model_digest), cluster.optimiser].into_iter().flatten() {
            if !node.models.has(&digest)
                && let Err(error) = node.exchange.model(&digest).await
            {
                tracing::debug!(%error, %digest, "what others folded cannot be fetched yet");
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_seat_has_a_turn_of_its_own_and_all_are_first_some_time() {
        let mut firsts = BTreeSet::new();
        for number in 0..64u64 {
            let digest = Digest::of(Tag::FoldTurn, &number);
            let seats = (0..7).map(SeatIndex);
            let places: Vec<_> = seats.clone().map(|seat| place_from(&digest, seat, 7)).collect();
            firsts.insert(places.iter().position(|place| *place == 0));
            let mut sorted = places;
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4, 5, 6]);
            let mut groups: Vec<_> = seats.map(|seat| groups_before(&digest, seat, 7)).collect();
            groups.sort_unstable();
            assert_eq!(groups, [0, 0, 0, 1, 1, 2, 2], "f + 1 = 3, 2f + 1 = 5");
        }
        assert_eq!(firsts.len(), 7);
    }
}
