//! A node whose files may not grow any more: it stops, says why, and loses nothing
//! that it acknowledged.

use crate::lab::{Lab, PATIENCE, code, members};
use std::process::Command;
use twinfold_cli::client::{Client, Cut};
use twinfold_testnet::processes::Fate;
use twinfold_types::{
    Action, Code, TxId,
    api::Level,
    member::{AdminAction, Role},
};

/// Largest file, in KiB: a few blocks fit.
const LIMIT_KIB: u32 = 512;
const NAME: &str = "limited";

#[test]
fn a_full_disk_stops_a_node_cleanly() {
    let mut lab = Lab::form(1);
    (0..3).for_each(|index| lab.start_node(index));
    start_limited(&lab);
    let client = lab.client_of(3);
    crate::lab::until("the node answers", || client.status().ok());
    a_payload_that_does_not_fit_is_refused_and_leaves_nothing(&lab);
    let acknowledged = fill(&lab, &client);
    assert!(!acknowledged.is_empty(), "nothing was acknowledged before the disk was full");
    let status = lab.ended(NAME);
    assert!(!status.success(), "a node that cannot write must not end as if all were well");
    let log = std::fs::read_to_string(lab.folder_of(3).join("log")).unwrap();
    assert!(log.contains("File too large") || log.contains("os error 27"), "{log}");
    assert!(!log.contains("panicked"), "{log}");

    // The others do not need it. With room again, it has all that it acknowledged.
    lab.done("ann", members::set_quota(1));
    lab.restart(3);
    lab.reaches(3, lab.status(0).height);
    for id in &acknowledged {
        let status = lab.client_of(3).tx(id).expect("the node answers");
        assert!(status.level >= Level::Executed, "{id}: {status:?}");
    }
    lab.same_root();
}

fn start_limited(lab: &Lab) {
    let mut command = Command::new("bash");
    let script = "trap '' XFSZ; ulimit -f \"$1\"; shift; exec \"$@\"";
    command.args(["-c", script, "bash", &LIMIT_KIB.to_string()]);
    command.arg(&lab.network.programs().node).arg("start").arg("--config");
    command.arg(lab.folder_of(3).join("config.toml"));
    let log = lab.folder_of(3).join("log");
    lab.network.processes().start(NAME, &mut command, &log).expect("it starts");
}

/// Neither the payload that a client sends nor the fragment that another node sends fits: both are
/// refused, the node goes on, and the others certify without it.
fn a_payload_that_does_not_fit_is_refused_and_leaves_nothing(lab: &Lab) {
    let (file, tess) = (lab.folder().join("payload"), members::secret("tess"));
    std::fs::write(&file, vec![5; 8 * 1024 * LIMIT_KIB as usize]).unwrap();
    let refused = lab.client_of(3).put_file(&tess, &file, Cut::Fragments).unwrap_err();
    assert!(refused.to_string().contains("File too large"), "{refused}");
    let stored = lab.client_of(0).put_file(&tess, &file, Cut::Fragments).expect("three are enough");
    assert_eq!(stored.receipts.len(), 3);
    lab.client_of(3).status().expect("the node goes on");
    let left = || {
        let blobs = lab.folder_of(3).join("data").join("blobs");
        ["incoming", "pending", "named"].map(|folder| {
            std::fs::read_dir(blobs.join(folder)).map_or(0, |entries| entries.count())
        })
    };
    crate::lab::until("nothing of it is left", || (left() == [0, 0, 0]).then_some(()));
}

/// Sends until the node is gone: proposals, several to a block, as large as they come.
fn fill(lab: &Lab, client: &Client) -> Vec<TxId> {
    let mut acknowledged = vec![];
    for number in 0..2_000 {
        if !matches!(lab.network.processes().fate(NAME), Ok(Fate::Running)) {
            return acknowledged;
        }
        let long = format!("{number:0>128}");
        let member = members::member(&long, &long, Role::Trainer);
        let action = Action::Propose(AdminAction::AddMember(member));
        let sent = client.submit(&members::secret("ann"), action, Level::Executed, PATIENCE);
        match sent {
            Ok(status) => {
                assert_eq!(code(&status), Code::Ok);
                acknowledged.push(status.id);
            }
            Err(error) => println!("{number}: {error}"),
        }
    }
    panic!("2,000 transactions did not fill {LIMIT_KIB} KiB");
}
