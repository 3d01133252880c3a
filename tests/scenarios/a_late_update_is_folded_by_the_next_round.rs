//! An update that comes after its round has ended is folded by the next one, for a part of its weight, and
//! anyone recomputes it.

use crate::lab::{Lab, learn::options, until};
use twinfold_cli::task::{TaskOptions, fetch_steps};
use twinfold_types::{
    ClusterId, Code,
    round::{Outcome, RoundState},
};

#[test]
fn a_late_update_is_folded_by_the_next_round() {
    let mut lab = Lab::start();
    let course = lab.course(&TaskOptions { late: 1, rounds: 2, ..options("late", 1) });
    let base = course.collecting(0);
    let late = course.payload("theo", &base, 0.5);
    course.update("tess", 0, 0.25);
    course.ended(0, 0);
    course.collecting(0);
    let status = course.send_payload("theo", &base, &late);
    assert_eq!(status.receipt.expect("a receipt").code, Code::Ok);
    course.ended(0, 1);
    let client = lab.client();
    let global = until("both rounds are merged", || {
        let task = client.task(&course.name()).ok()?;
        (task.global_version == 2).then_some(task.global)
    });
    let view = client.round(&course.name(), ClusterId(0), 1).unwrap().expect("the round");
    assert_eq!(view.entries[0].base_version, 0);
    let RoundState::Aggregated { outcomes, .. } = view.round.state else {
        panic!("{:?}", view.round.state);
    };
    assert_eq!(outcomes, [Outcome::Folded { weight: 10 }]);
    // Two versions behind, a merge being one: 0.25 + 0.5 / √3.
    let digest = client.model(&global).expect("its record").record.digest;
    let steps = fetch_steps(&client, &course.created.spec, &global, &digest).expect("steps");
    let expected = (0.25 + 0.5 / 3f64.sqrt()) * f64::from(1 << 20);
    assert!(steps.iter().all(|step| (f64::from(*step) - expected).abs() < 20.0), "{steps:?}");
    let said = lab.twinfold("model verify {} --recompute", &[&global]).ok().out;
    assert!(said.contains("recomputed"), "{said}");
    lab.same_root();
}
