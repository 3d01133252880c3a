//! When faults stop, heights advance again within a stated time and number of views.

use twinfold_types::View;

/// From the end of faults until heights advance, or until there is nothing left to order. The
/// longest time-out is 30 s; up to f + 1 views in a row may have a leader that fails.
pub const HEAL_MS_MAX: u64 = 150_000;
/// On top for each block still needed until every honest node has executed everything: what the
/// shortest epochs and views cost, with their hand-overs and with leaders that fail in turn.
pub const BLOCK_MS_MAX: u64 = 1_000;
/// Views that may pass meanwhile, for each seat of the committee.
pub const VIEWS_PER_SEAT_MAX: u64 = 4;

/// The planned changes of leaders are not counted: `rotations` of them may come on top, and with
/// each round of the honest leaders the turns of those that fail.
pub fn views_passed(seats: usize, from: View, to: View, rotations: u64) -> Result<(), String> {
    let passed = to.0.saturating_sub(from.0);
    let (seats, failing) = (seats as u64, (seats as u64 - 1) / 3);
    let turns = rotations + rotations * failing / (seats - failing);
    let allowed = VIEWS_PER_SEAT_MAX * seats + turns;
    if passed > allowed {
        return Err(format!("heals: {passed} views passed after the faults, {allowed} may"));
    }
    Ok(())
}
