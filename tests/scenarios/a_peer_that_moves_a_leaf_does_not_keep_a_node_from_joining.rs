//! One of four validators lies to a new node about the state, in the one way that no hash
//! betrays: the node finds it out, asks the honest ones, and joins.

use crate::lab::{Lab, liar::Liar, members, reaches, until};
use std::time::Duration;

/// Enough rows that the parts of the sixteen first parts are of a few rows each.
const ORGANISATIONS: u32 = 3_000;
const LIAR: usize = 3;

#[test]
fn a_peer_that_moves_a_leaf_does_not_keep_a_node_from_joining() {
    let mut lab = Lab::form(1);
    let mut forge = lab.forge(Duration::from_secs(3_600));
    let ann = members::secret("ann");
    for hundred in 0..ORGANISATIONS / 100 {
        let numbers = (0..100).map(|number| 100 * hundred + number);
        let txs = numbers.map(|number| forge.tx(&ann, members::set_quota_of(number, 7)));
        let txs = txs.collect();
        forge.block(60_000, txs);
    }
    forge.certify();
    lab.give(forge);
    // Three of four agree without it.
    (0..LIAR).for_each(|index| lab.start_node(index));
    lab.network.wait_ready(crate::lab::PATIENCE).expect("nodes connect");
    let observer = lab.admit_observer();
    let liar = Liar::start(&lab, LIAR, &observer.member());
    lab.trust_checkpoint(&observer);
    let client = lab.start_observer(&observer);
    let name = lab.network.nodes()[LIAR].name.clone();
    until("the observer has joined", || {
        client.status().ok().filter(|status| status.join.is_none() && status.height.0 > 0)
    });
    assert!(liar.lies() > 0, "nobody asked the liar");
    let log = observer.log();
    let named: Vec<_> = log.lines().filter(|line| line.contains("sent what is not so")).collect();
    assert!(!named.is_empty(), "nobody was found out: {log}");
    assert!(named.iter().all(|line| line.contains(&name)), "an honest one is named: {named:#?}");
    assert!(log.contains("does not") && log.contains("joined: the ledger begins here"), "{log}");
    let height = lab.done("ann", members::set_quota(9)).receipt.expect("a receipt").height;
    let (ours, theirs) = (reaches(&client, height), lab.reaches(0, height));
    assert!(ours.height != theirs.height || ours.state_root == theirs.state_root);
}
