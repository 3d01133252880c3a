//! Evidence names seats that lie, never an honest one.

use twinfold_consensus_planted::Evidence;
use twinfold_types::SeatIndex;

pub fn accused(evidence: &Evidence, is_honest: impl Fn(SeatIndex) -> bool) -> Result<(), String> {
    let seat = match evidence {
        Evidence::Votes(vote, _) => vote.seat,
        Evidence::ViewChanges(header, _) => header.seat,
        Evidence::Checkpoints(vote, _) => vote.seat,
    };
    if is_honest(seat) {
        return Err(format!("attribution: evidence names the honest seat {seat}: {evidence:?}"));
    }
    Ok(())
}
