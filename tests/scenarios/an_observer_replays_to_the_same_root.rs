//! The node of a member with role auditor follows without a seat: it replays every
//! block from genesis and comes to the same state root.

use crate::lab::{Lab, learn::options, members, members::TRAINERS, reaches, until};
use twinfold_types::Height;

#[test]
fn an_observer_replays_to_the_same_root() {
    let lab = Lab::start();
    let course = lab.course(&options("observed", 1));
    course.update(TRAINERS[0], 0, 0.5);
    course.ended(0, 0);

    let observer = lab.admit_observer();
    let client = lab.start_observer(&observer);
    reaches(&client, lab.status(0).height);
    assert_eq!(client.status().unwrap().seat, None);
    same_state(&lab, &client);

    // It follows on, serves what it did not fold, and takes transactions for the others.
    course.update(TRAINERS[1], 0, 0.5);
    let round = course.ended(0, 1);
    let status = client
        .submit(
            &members::secret("ann"),
            members::set_quota(9),
            twinfold_types::api::Level::Executed,
            crate::lab::PATIENCE,
        )
        .expect("executed");
    let height = status.receipt.expect("a receipt").height;
    reaches(&client, height);
    same_state(&lab, &client);
    let twinfold_types::round::RoundState::Aggregated { model, .. } = round.round.state else {
        panic!("the round is {:?}", round.round.state);
    };
    let record = client.model(&model).expect("the record").record;
    client.model_content(&model, &record.digest, 60).expect("the content");
    // It replayed all: the first block is there, not only the newest state.
    client.block(Height(1)).expect("the first block");
}

/// Equal roots at one height.
fn same_state(lab: &Lab, observer: &twinfold_cli::client::Client) {
    until("the observer stands at the validators' height with their root", || {
        let (ours, theirs) = (observer.status().ok()?, lab.client_of(0).status().ok()?);
        (ours.height == theirs.height).then(|| assert_eq!(ours.state_root, theirs.state_root))
    });
}
