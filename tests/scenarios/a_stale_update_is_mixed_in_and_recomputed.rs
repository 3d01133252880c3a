//! FedAsync on real processes: the second of two updates is against a version that is old by then, and is
//! drawn in as the model that its trainer had come to; anyone gets the same from the ledger alone.

use crate::lab::{Lab, PATIENCE, learn::options, members, until};
use twinfold_cli::task::{TaskOptions, fetch_steps};
use twinfold_types::{Action, api::Level};

#[test]
fn a_stale_update_is_mixed_in_and_recomputed() {
    let mut lab = Lab::start();
    let course = lab.course(&TaskOptions {
        mode: "fedasync:0.5".parse().expect("a mode"),
        merge_every: 9,
        ..options("mixed", 1)
    });
    let first = course.collecting(0);
    for (trainer, change, version) in [("tess", 0.5, 1), ("theo", 0.25, 2)] {
        let payload = course.payload(trainer, &first, change);
        let mut action = course.action(&first, course.upload(trainer, &payload));
        action.round = None;
        let action = Action::Update(Box::new(action));
        let secret = members::secret(trainer);
        lab.client().submit(&secret, action, Level::Executed, PATIENCE).expect("executed");
        until("it is folded", || (course.cluster(0).version == version).then_some(()));
    }
    // 0.25 after the first; then by half of 1/√2 towards 0.25, where it is already.
    let model = course.cluster(0).model;
    let record = lab.client().model(&model).expect("the model").record;
    let spec = &course.created.spec;
    let steps = fetch_steps(&lab.client(), spec, &model, &record.digest).expect("its content");
    let expected = 0.25 * f64::from(1 << 20);
    assert!(steps.iter().all(|step| (f64::from(*step) - expected).abs() < 4_096.0), "{steps:?}");
    lab.twinfold("model verify {} --recompute", &[&model]).ok();
    lab.same_root();
}
