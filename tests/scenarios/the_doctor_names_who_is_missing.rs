//! `twinfold-node doctor`: a sound network has no findings; one that cannot agree says who is
//! missing, and a node that does not run is told from one that stands still.

use crate::lab::{Lab, cli, members, until};
use std::process::Command;
use twinfold_types::api::DiagnosisView;

#[test]
fn the_doctor_names_who_is_missing() {
    let mut lab = Lab::start();
    lab.done("ann", members::set_quota(3));
    let config = lab.folder_of(0).join("config.toml");
    let config = config.to_str().expect("a plain path").to_string();
    let ask = |lab: &Lab, arguments: &[&str]| {
        cli::run(Command::new(&lab.network.programs().node).arg("doctor").args(arguments))
    };
    // Connections come up one by one after the start, and what a node says of itself is a second
    // old at most.
    let sound = until("every validator is connected and nothing waits", || {
        let said = Some(ask(&lab, &["--config", &config]));
        said.filter(|said| said.code == Some(0) && said.out.contains("idle"))
    });
    assert!(sound.out.contains("nothing is wrong"), "{}", sound.out);

    lab.kill(2);
    lab.kill(3);
    let ill = until("the loss is noticed", || {
        Some(ask(&lab, &["--config", &config])).filter(|said| said.out.contains("node-4"))
    });
    assert_eq!(ill.code, Some(1), "{ill:?}");
    for words in ["only 2 of 4 validators", "1 more of node-3, node-4"] {
        assert!(ill.out.contains(words), "{words:?} is missing: {}", ill.out);
    }
    let (here, gone) = (lab.url(0), lab.url(3));
    let both = ask(&lab, &["--json", "--node", &here, "--node", &gone]);
    assert_eq!(both.code, Some(1));
    assert!(both.err.contains("does not answer"), "{}", both.err);
    let view: DiagnosisView = serde_json::from_str(both.out.trim()).expect("one line of JSON");
    assert_eq!((view.quorum, view.unreachable), (3, vec!["node-3".into(), "node-4".into()]));

    lab.restart(2);
    lab.restart(3);
    lab.works();
}
