//! Several scenes on one network. A scene that fails does not keep the others from
//! being played; all failures are named at the end.

use super::Lab;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub type Scene = (&'static str, fn(&mut Lab));

/// Plays the scenes in turn; after each the network must still work.
pub fn play(lab: &mut Lab, scenes: &[Scene]) {
    let mut failed = vec![];
    for (name, scene) in scenes {
        let played = catch_unwind(AssertUnwindSafe(|| {
            scene(lab);
            lab.works();
        }));
        println!("  {name}: {}", if played.is_ok() { "ok" } else { "FAILED" });
        if played.is_err() {
            failed.push(*name);
        }
    }
    assert!(failed.is_empty(), "{} of {} scenes failed: {failed:#?}", failed.len(), scenes.len());
}
