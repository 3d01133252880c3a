//! One of four validators, the leader, dies between the updates of a round. The round
//! is folded all the same, and the dead one comes back to the same state and model.

use crate::lab::{Lab, learn::options, members::TRAINERS, until};
use twinfold_types::{Code, round::RoundState};

#[test]
fn f_validators_killed_in_mid_round_do_not_stop_it() {
    let mut lab = Lab::start();
    let course = lab.course(&options("mid-round", 3));
    for trainer in &TRAINERS[..2] {
        assert_eq!(crate::lab::code(&course.update(trainer, 0, 0.25)), Code::Ok);
    }
    let status = lab.status(0);
    let leader = until("the leader's seat is known", || {
        (0..4).find(|index| lab.status(*index).seat == Some(status.leader))
    });
    lab.kill(leader);
    assert_eq!(crate::lab::code(&course.update(TRAINERS[2], 0, 0.25)), Code::Ok);
    let view = course.ended(0, 0);
    let RoundState::Aggregated { model, outcomes, .. } = view.round.state else {
        panic!("the round is {:?}", view.round.state);
    };
    assert_eq!(outcomes.len(), 3);

    // The next round too, with one validator down.
    for trainer in &TRAINERS[..3] {
        course.update(trainer, 0, 0.25);
    }
    course.ended(0, 1);
    lab.restart(leader);
    lab.same_root();
    // It did not fold that model, and serves it.
    let client = lab.client_of(leader);
    let record = client.model(&model).expect("the record").record;
    let values = crate::lab::learn::VALUES as u64;
    client.model_content(&model, &record.digest, 4 * values).expect("the content");
}
