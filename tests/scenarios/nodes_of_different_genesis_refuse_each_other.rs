//! One of four operators started with another genesis file. Its node and the others
//! refuse each other and say so; the others go on without it.

use crate::lab::{Lab, members, until};
use twinfold_types::Height;

#[test]
fn nodes_of_different_genesis_refuse_each_other() {
    let mut lab = Lab::form(1);
    lab.change_genesis(&[3], |genesis| genesis.chain = "another".into());
    (0..4).for_each(|index| lab.start_node(index));
    let digest = |index: usize| {
        until("the node answers", || {
            Some(lab.network.nodes()[index].client().status().ok()?.genesis)
        })
    };
    let (ours, theirs) = (digest(0).to_string(), digest(3).to_string());
    assert_ne!(ours, theirs);
    for number in 0..3 {
        lab.done("ann", members::set_quota(number));
    }
    let says = |index: usize, named: &str| {
        until(&format!("node {} names the other chain", index + 1), || {
            lab.log(index)
                .lines()
                .any(|line| line.contains("chain") && line.contains(named))
                .then_some(())
        });
    };
    says(3, &ours);
    says(0, &theirs);
    let alone = lab.network.nodes()[3].client().status().unwrap();
    assert_eq!(alone.height, Height(0));
    assert!(alone.peers.iter().all(|peer| !peer.connected), "{:?}", alone.peers);
    // A client that holds the right file does not take the wrong node's word.
    let url = lab.url(3);
    lab.twinfold("--node {} member list", &[&url]).ok();
    lab.twinfold(
        "--node {} --key ann proposal new set-quota --organisation x --trainers 1",
        &[&url],
    )
    .refused(5, &[&theirs, &ours]);
}
