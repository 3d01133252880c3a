//! A round below its minimum at the deadline is extended as often as the task says,
//! then void; the model stays, and the next round counts. With the minimum there, the
//! deadline closes it.

use crate::lab::{Lab, code, learn::options, members::TRAINERS};
use std::time::Duration;
use twinfold_cli::task::TaskOptions;
use twinfold_types::{
    Code, Event,
    api::Notice,
    round::{RoundState, VoidReason},
};

#[test]
fn a_round_without_enough_updates_ends_void_and_never_hangs() {
    let mut lab = Lab::start();
    let course = lab.course(&TaskOptions {
        participants_max: 3,
        deadline: Duration::from_millis(700),
        extensions: 2,
        ..options("deadlines", 2)
    });
    let before = course.cluster(0);
    assert_eq!(code(&course.update(TRAINERS[0], 0, 0.5)), Code::Ok);
    let view = course.ended(0, 0);
    let void = matches!(view.round.state, RoundState::Void { reason: VoidReason::TooFew, .. });
    assert!(void, "{:?}", view.round.state);
    assert_eq!(course.collecting(0).model_digest, before.model_digest);
    assert_eq!(extensions(&lab), 2);

    // Two of at most three: the deadline seals the round with what is there.
    course.update(TRAINERS[0], 0, 0.5);
    course.update(TRAINERS[1], 0, 0.5);
    let view = course.ended(0, 1);
    assert!(matches!(view.round.state, RoundState::Aggregated { .. }), "{:?}", view.round.state);
    assert_eq!(view.entries.len(), 2);
    assert_ne!(course.collecting(0).model_digest, before.model_digest);

    // An idle task makes no blocks: nothing is due.
    lab.same_root();
    let height = lab.status(0).height;
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(lab.status(0).height, height);
}

/// Extensions of the first round.
fn extensions(lab: &Lab) -> usize {
    let (client, newest) = (lab.client(), lab.status(0).height);
    let mut events = client.events(Some("0-0-0".into()), Duration::from_secs(3));
    let mut count = 0;
    while let Some(view) = events.next_event().expect("the stream") {
        if view.height > newest {
            break;
        }
        let of_first =
            |event: &Event| matches!(event, Event::RoundExtended { key, .. } if key.round.0 == 0);
        count += usize::from(matches!(&view.event, Notice::Event(event) if of_first(event)));
    }
    count
}
