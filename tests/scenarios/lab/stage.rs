//! Several scenes on one network. A scene that fails does not keep the others from
//! being played, unless the network no longer works after it; all failures are named
//! at the end.

use super::Lab;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub type Scene = (&'static str, fn(&mut Lab));

/// Plays the scenes in turn; after each the network must still work.
pub fn play(lab: &mut Lab, scenes: &[Scene]) {
    let mut failed = vec![];
    for (name, scene) in scenes {
        let played = catch_unwind(AssertUnwindSafe(|| scene(lab)));
        let works = catch_unwind(AssertUnwindSafe(|| lab.works()));
        let good = played.is_ok() && works.is_ok();
        println!("  {name}: {}", if good { "ok" } else { "FAILED" });
        if !good {
            failed.push(*name);
        }
        if works.is_err() {
            println!("  the network works no longer: the other scenes are not played");
            break;
        }
    }
    assert!(failed.is_empty(), "{} of {} scenes failed: {failed:#?}", failed.len(), scenes.len());
}
