//! One of four validators starts for the first time after many blocks.

use crate::lab::{Lab, learn::options, members, members::TRAINERS};
use twinfold_types::Height;

#[test]
fn a_late_joiner_catches_up() {
    let mut lab = Lab::form(1);
    (0..3).for_each(|index| lab.start_node(index));
    lab.network.wait_ready(crate::lab::PATIENCE).expect("three nodes connect");
    let course = lab.course(&options("before it came", 1));
    for number in 0..40 {
        lab.done("ann", members::set_quota(number));
    }
    course.update(TRAINERS[0], 0, 0.5);
    course.ended(0, 0);
    let head = lab.status(0).height;
    assert!(head >= Height(41), "40 transactions one after the other make as many blocks: {head}");

    lab.restart(3);
    lab.reaches(3, head);
    lab.same_root();
    // It takes part: with another one down, a quorum needs it.
    lab.kill(0);
    lab.done("ann", members::set_quota(1));
    course.update(TRAINERS[1], 0, 0.5);
    course.ended(0, 1);
    lab.restart(0);
    lab.same_root();
}
