//! The wall clock, read in one place.

use std::time::{SystemTime, UNIX_EPOCH};
use twinfold_types::TimeMs;

pub fn now() -> TimeMs {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimeMs(elapsed.as_millis() as u64)
}
