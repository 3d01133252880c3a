//! Scenes of a chain that lost more than f seats for good (P21).

use crate::net::{TestNet, everything, seat};
use twinfold_consensus::Record;
use twinfold_types::{
    Committee, Epoch, Height, SeatIndex,
    limits::{STATUS_INTERVAL_MS, VIEW_TIMEOUT_MS_MAX, WATERMARK_HEIGHTS},
    message::ConsensusMessage,
    vote::VoteKind,
};

/// These nodes accept that they go on from a height.
fn accept(net: &mut TestNet, kept: u64, nodes: &[usize]) {
    accept_epoch(net, 1, kept, nodes, nodes);
}

fn accept_epoch(net: &mut TestNet, epoch: u64, kept: u64, seats: &[usize], nodes: &[usize]) {
    let seats = seats.iter().map(|node| seat(*node)).collect();
    let committee = Committee { anchor: Height(kept), ..Committee::new(Epoch(epoch), seats) };
    net.recovery = Some((committee, nodes.to_vec()));
    nodes.iter().for_each(|node| net.restart(*node, false));
    nodes.iter().for_each(|node| net.greet(*node));
}

fn epochs(net: &TestNet) -> Vec<u64> {
    net.nodes.iter().map(|node| node.machine.epoch().0).collect()
}

fn no_checkpoints(_: usize, _: usize, message: &ConsensusMessage) -> bool {
    !matches!(message, ConsensusMessage::Checkpoint(_) | ConsensusMessage::Stable(_))
}

#[test]
fn the_named_committee_goes_on_above_a_height_that_no_checkpoint_certifies() {
    let mut net = TestNet::new(4);
    net.passes = no_checkpoints;
    // Up to the watermark: the next height would need a stable checkpoint.
    (0..WATERMARK_HEIGHTS + 3).for_each(|_| net.work(true));
    let kept = WATERMARK_HEIGHTS;
    assert_eq!(net.heights(), [kept; 5]);
    (1..4).for_each(|lost| net.nodes[lost].down = true);
    net.passes = everything;
    net.work(true);
    net.pass(VIEW_TIMEOUT_MS_MAX);
    assert_eq!(net.heights(), [kept; 5], "one of four cannot go on");

    accept(&mut net, kept, &[0, 4]);
    assert_eq!((epochs(&net)[0], epochs(&net)[4]), (1, 1));
    assert_eq!(net.nodes[4].machine.seat(), Some(SeatIndex(1)));
    net.work(true);
    net.pass(2 * STATUS_INTERVAL_MS);
    for node in [0, 4] {
        assert_eq!(net.heights()[node], kept + 1);
        let stable = &net.nodes[node].stable.as_ref().expect("a checkpoint").checkpoint;
        assert_eq!((stable.epoch, stable.height), (Epoch(1), Height(kept + 1)));
        assert!(net.nodes[node].halt.is_none() && net.nodes[node].evidence.is_empty());
    }
}

#[test]
fn who_accepted_while_behind_helps_no_old_quorum_and_goes_on_at_the_kept_height() {
    let mut net = TestNet::new(4);
    net.work(true);
    net.nodes[3].down = true;
    net.work(true);
    net.work(true);
    assert_eq!(net.heights(), [3, 3, 3, 1, 3]);
    (1..3).for_each(|lost| net.nodes[lost].down = true);

    // Nobody tells node 3 of what it missed yet.
    net.passes = |from, to, _| from != to && (from != 0 && to != 0) && (from != 4 && to != 4);
    accept(&mut net, 3, &[0, 3, 4]);
    assert_eq!((epochs(&net)[3], net.nodes[3].machine.seat()), (0, None));
    // The lost are back, and with node 3 they would be a quorum.
    (1..3).for_each(|back| net.restart(back, false));
    (1..4).for_each(|node| net.greet(node));
    net.work(true);
    net.pass(2 * VIEW_TIMEOUT_MS_MAX);
    assert_eq!(net.heights()[1..3], [3, 3]);

    net.passes = everything;
    (0..5).for_each(|node| net.greet(node));
    net.pass(4 * STATUS_INTERVAL_MS);
    assert_eq!((epochs(&net)[3], net.nodes[3].machine.seat()), (1, Some(SeatIndex(1))));
    net.work(true);
    net.pass(4 * STATUS_INTERVAL_MS);
    let heights = net.heights();
    assert!([0, 3, 4].iter().all(|node| heights[*node] > 3), "{heights:?}");
    assert_eq!((heights[1], heights[2], epochs(&net)[1]), (3, 3, 0), "they accepted nothing");
}

#[test]
fn who_accepted_while_behind_signs_nothing_in_the_epochs_that_it_comes_through() {
    let mut net = TestNet::new(4);
    net.ends_at = Some(Height(3));
    net.work(true);
    net.nodes[3].down = true;
    (0..2).for_each(|_| net.work(true));
    net.pass(4 * STATUS_INTERVAL_MS);
    assert_eq!((net.heights(), epochs(&net)), (vec![3, 3, 3, 1, 3], vec![1, 1, 1, 0, 1]));

    // A height of the epoch after the one in which it stands.
    accept_epoch(&mut net, 2, 5, &[3, 4, 0], &[3]);
    net.pass(4 * STATUS_INTERVAL_MS);
    let node = &net.nodes[3].machine;
    assert_eq!((node.epoch(), node.committed().height), (Epoch(1), Height(3)));
    assert!(node.committee().seat_of(&net.key(3)).is_some());
    assert_eq!((node.seat(), node.lacks_key()), (None, false), "it has left that epoch too");
    (0..2).for_each(|_| net.work(true));
    net.pass(4 * STATUS_INTERVAL_MS);
    assert_eq!((epochs(&net)[3], net.nodes[3].machine.seat()), (2, Some(SeatIndex(0))));
    let signed = net.nodes[3].log.iter().filter(|record| record.epoch() == Epoch(1));
    assert!(!signed.clone().any(|record| matches!(record, Record::Vote(_))));
}

#[test]
fn the_log_of_every_validator_shows_what_it_knows_to_be_committed() {
    let mut net = TestNet::new(4);
    for height in 1..4 {
        net.work(true);
        for node in &net.nodes {
            let decided = node.log.iter().any(|record| match record {
                Record::Certificate(it) => {
                    it.body.kind == VoteKind::Commit && it.body.height == Height(height)
                }
                _ => false,
            });
            assert!(decided, "height {height}");
        }
    }
}

#[test]
fn whoever_accepted_takes_nothing_of_the_old_epoch_above_the_kept_height() {
    let mut net = TestNet::new(4);
    net.work(true);
    net.nodes[4].down = true;
    net.work(true);
    net.work(true);
    assert_eq!(net.heights(), [3, 3, 3, 3, 1]);

    // The others go on as if nothing had been said, and serve what they have.
    accept(&mut net, 2, &[4]);
    net.pass(2 * STATUS_INTERVAL_MS);
    assert_eq!((net.heights()[4], epochs(&net)[4]), (2, 1));
    assert!(net.nodes[4].halt.is_none());
    let above = |record: &Record| match record {
        Record::Certificate(certificate) => certificate.body.height > Height(2),
        _ => false,
    };
    assert!(!net.nodes[4].machine.durable_records().iter().any(above));
}
