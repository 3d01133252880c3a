//! Evidence names seats that lie, never an honest one.

use twinfold_types::{Evidence, SeatIndex};

pub fn accused(evidence: &Evidence, is_honest: impl Fn(SeatIndex) -> bool) -> Result<(), String> {
    let (_, seat) = evidence.accused();
    if is_honest(seat) {
        return Err(format!("attribution: evidence names the honest seat {seat}: {evidence:?}"));
    }
    Ok(())
}
