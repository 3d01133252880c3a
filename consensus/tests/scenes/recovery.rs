//! Scenes of a chain that lost more than f seats for good (P21).

use crate::net::{TestNet, everything, seat};
use twinfold_types::{
    Committee, Epoch, Height, SeatIndex,
    limits::{STATUS_INTERVAL_MS, VIEW_TIMEOUT_MS_MAX, WATERMARK_HEIGHTS},
    message::ConsensusMessage,
};

/// These nodes accept that they go on from a height.
fn accept(net: &mut TestNet, kept: u64, nodes: &[usize]) {
    let seats = nodes.iter().map(|node| seat(*node)).collect();
    let committee = Committee { anchor: Height(kept), ..Committee::new(Epoch(1), seats) };
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
