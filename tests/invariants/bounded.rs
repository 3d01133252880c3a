//! No honest vote for a height beyond the watermark above the own stable checkpoint, except for
//! the base of its view; and whatever is sent, a machine holds no more than stated.

use twinfold_consensus_planted::Holdings;
use twinfold_types::{
    Height,
    limits::{
        CHECKPOINT_INTERVAL_HEIGHTS, PIPELINE_HEIGHTS, PREPARED_BODIES_MAX, WATERMARK_HEIGHTS,
    },
    vote::{Vote, VoteBody},
};

pub fn spoke(vote: &Vote, stable: Height, base: Option<VoteBody>) -> Result<(), String> {
    let height = vote.body.height;
    let is_base = base.is_some_and(|base| base.height == height);
    if !is_base && height.0 > stable.0 + WATERMARK_HEIGHTS {
        return Err(format!(
            "bounded: seat {} says {:?} while height {stable} is stable",
            vote.seat, vote.body
        ));
    }
    Ok(())
}

/// Limits for a committee of `seats`, of which `behind` heights are committed and not executed.
pub fn holds(node: usize, seats: usize, behind: u64, held: &Holdings) -> Result<(), String> {
    let seats = seats as u64;
    // A window above the head, one above the stable checkpoint, the base.
    let heights = 2 * WATERMARK_HEIGHTS + behind + 1;
    let limits = [
        ("heights with votes", held.slots, heights),
        ("votes", held.votes, 2 * seats * heights),
        ("bodies", held.bodies, heights + 2 * PIPELINE_HEIGHTS + PREPARED_BODIES_MAX as u64),
        ("bodies to fetch", held.wanted, heights),
        ("early votes", held.early_votes, 16 * seats),
        ("early proposals", held.early_proposals, seats),
        ("view changes", held.view_changes, seats),
        ("checkpoint votes", held.checkpoint_votes, 3 * WATERMARK_HEIGHTS * seats),
        (
            "own checkpoints",
            held.own_checkpoints,
            heights / CHECKPOINT_INTERVAL_HEIGHTS + 3 * WATERMARK_HEIGHTS,
        ),
    ];
    match limits.iter().find(|(_, held, limit)| *held as u64 > *limit) {
        Some((what, held, limit)) => Err(format!(
            "bounded: node {node} holds {held} {what}, {limit} may be, {behind} behind"
        )),
        None => Ok(()),
    }
}
