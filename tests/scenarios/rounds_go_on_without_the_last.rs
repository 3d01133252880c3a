//! A trainer keeps two others waiting: the ledger sees it, says why, and closes the next rounds without it; its
//! updates go into later ones.

use crate::lab::{Lab, learn::options, until};
use std::time::Duration;
use twinfold_cli::task::TaskOptions;
use twinfold_types::{
    ClusterId, Code,
    round::RoundState,
    task::{Pace, Switch},
};

#[test]
fn rounds_go_on_without_the_last() {
    let mut lab = Lab::start();
    let create =
        "--key olaf task create --name refused --architecture softmax --features 2 --classes 2";
    lab.twinfold(&format!("{create} --switch 2"), &[]).refused(2, &["--late"]);
    lab.twinfold(&format!("{create} --late 2 --switch 0.5"), &[]).refused(2, &["RATIO"]);
    let course = lab.course(&TaskOptions {
        participants_min: 2,
        late: 6,
        switch: Some(Switch { ratio_milli: 1_500, rounds: 1 }),
        rounds: 3,
        ..options("switch", 3)
    });
    // Enough after a moment, the last after three seconds.
    let base = course.collecting(0);
    let last = course.payload("tina", &base, 0.25);
    course.update("tess", 0, 0.25);
    course.update("theo", 0, 0.25);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(
        course.send_payload("tina", &base, &last).receipt.expect("a receipt").code,
        Code::Ok
    );
    assert_eq!(course.ended(0, 0).entries.len(), 3);
    let base = course.collecting(0);
    assert_eq!((base.round.0, base.pace), (1, Pace::Enough));
    let said = lab.twinfold("events", &[]).ok().out;
    assert!(
        said.contains("later rounds go on without the last, as of round 0 3 updates came"),
        "{said}"
    );
    let late = course.payload("tina", &base, 0.25);
    course.update("tess", 0, 0.25);
    course.update("theo", 0, 0.25);
    assert_eq!(course.ended(0, 1).entries.len(), 2, "nobody waited");
    until("the next round collects", || (course.collecting(0).round.0 == 2).then_some(()));
    assert_eq!(
        course.send_payload("tina", &base, &late).receipt.expect("a receipt").code,
        Code::Ok
    );
    course.update("tess", 0, 0.25);
    course.update("theo", 0, 0.25);
    let view = course.ended(0, 2);
    assert_eq!(view.entries.iter().map(|entry| entry.base_version).min(), Some(base.version));
    assert!(matches!(view.round.state, RoundState::Aggregated { .. }));
    let client = lab.client();
    let view = client.round(&course.name(), ClusterId(0), 2).unwrap().expect("the round");
    let RoundState::Aggregated { model, .. } = view.round.state else { panic!("{view:?}") };
    let verified = lab.twinfold("model verify {} --recompute", &[&model]).ok().out;
    assert!(verified.contains("recomputed"), "{verified}");
    lab.same_root();
}
