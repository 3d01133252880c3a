//! The validators that genesis names are nowhere to be reached. A new node is told of one
//! that came after genesis: it joins from a checkpoint through that one alone, and replays
//! the chain through it.

use crate::lab::{Lab, members, observer::Observer, reaches, until};
use std::time::Duration;
use twinfold_testnet::ports;
use twinfold_types::Height;

#[test]
fn a_node_comes_by_a_configured_peer_alone() {
    let mut lab = Lab::form(1);
    let mut forge = lab.forge(Duration::from_secs(3_600));
    let ann = members::secret("ann");
    for number in 0..8 {
        let tx = forge.tx(&ann, members::set_quota_of(number, 7));
        forge.block(60_000, vec![tx]);
    }
    forge.certify();
    lab.give(forge);
    lab.start_all();
    let (elder, newcomer) = (lab.admit("elder"), lab.admit("newcomer"));
    let elders = lab.start_observer(&elder);
    reaches(&elders, lab.status(0).height);

    let file = lab.trust_checkpoint(&newcomer);
    only_reaches(&lab, &newcomer, &elder);
    let client = lab.start_observer(&newcomer);
    let joined = until("the newcomer has joined", || {
        client.status().ok().filter(|status| status.join.is_none() && status.height.0 > 0)
    });
    assert!(joined.first_block > Height(1), "it did not replay: {joined:?}");
    let height = lab.status(0).height;
    let (ours, theirs) = (reaches(&client, height), reaches(&elders, height));
    assert!(ours.height != theirs.height || ours.state_root == theirs.state_root);

    // The same without a checkpoint: the elder is nobody until the block that admits it.
    lab.signal("newcomer", "-TERM");
    lab.ended("newcomer");
    std::fs::remove_dir_all(newcomer.dir.join("data")).expect("its data");
    std::fs::remove_file(file).expect("the checkpoint");
    lab.configure(&newcomer.dir, &[("[join]\ncheckpoint = \"checkpoint.json\"\n", "")]);
    let client = lab.start_observer(&newcomer);
    let replayed = reaches(&client, height);
    assert_eq!(replayed.first_block, Height(1), "it began at genesis");
    assert!(newcomer.log().contains("no member in this state has this peer id"));
    until("the elder goes by its name", || {
        let peers = client.status().ok()?.peers;
        peers.iter().any(|peer| peer.name == "elder" && peer.connected).then_some(())
    });
}

/// A configuration in which the validators of genesis stand where nobody listens.
fn only_reaches(lab: &Lab, newcomer: &Observer, elder: &Observer) {
    let nowhere = ports::free(8).expect("free ports");
    let entry = |peer: &str, address: &str, payload: &str| {
        format!(
            "[[network.peers]]\npeer = \"{peer}\"\naddress = \"{address}\"\n\
             payload_address = \"{payload}\"\n\n"
        )
    };
    let at = |port: u16| format!("/ip4/127.0.0.1/tcp/{port}");
    let validators = lab.genesis().validators;
    let mut entries: String = validators
        .iter()
        .zip(nowhere.chunks_exact(2))
        .map(|(validator, ports)| entry(&validator.peer, &at(ports[0]), &at(ports[1])))
        .collect();
    let elder = &elder.entry;
    entries += &entry(&elder.peer, &elder.address, &elder.payload_address);
    lab.configure(&newcomer.dir, &[("[retention]", &format!("{entries}[retention]"))]);
}
