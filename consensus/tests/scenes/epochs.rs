//! Scenes of an epoch's end: who goes on, from what, and what is left behind.

use crate::net::{START, TestNet, everything};
use twinfold_consensus::{HaltReason, Machine, Record};
use twinfold_types::{Epoch, Height, SeatIndex, limits, message::ConsensusMessage};

const EPOCH_MS: u64 = 5_000;

/// One block in the first epoch, and then time enough that the next is its last.
fn near_the_end() -> TestNet {
    let mut net = TestNet::with_first_epoch(4, START.plus(EPOCH_MS));
    net.work(true);
    assert_eq!(net.heights(), [1; 5]);
    net.pass(EPOCH_MS);
    net
}

fn epochs(net: &TestNet) -> Vec<u64> {
    net.nodes.iter().map(|node| node.machine.epoch().0).collect()
}

fn no_checkpoints(_: usize, _: usize, message: &ConsensusMessage) -> bool {
    !matches!(message, ConsensusMessage::Checkpoint(_) | ConsensusMessage::Stable(_))
}

#[test]
fn the_first_block_after_the_epochs_end_is_its_last_and_the_next_committee_goes_on() {
    let mut net = near_the_end();
    assert_eq!(epochs(&net), [0; 5], "an idle network elects nobody");
    net.work(true);
    assert_eq!((net.heights(), epochs(&net)), (vec![2; 5], vec![1; 5]));
    assert_eq!(net.nodes[4].machine.seat(), Some(SeatIndex(0)), "it came in");
    assert_eq!(net.nodes[0].machine.seat(), None, "it left");
    net.work(true);
    assert_eq!(net.heights(), [3; 5]);
    let (block, certificate) = &net.nodes[0].chain[2];
    assert_eq!((block.header.epoch, certificate.body.epoch), (Epoch(1), Epoch(1)));
    assert_eq!(net.views(), [0; 5]);
}

#[test]
fn nothing_stands_on_the_last_block_before_its_checkpoint_is_stable() {
    let mut net = near_the_end();
    net.passes = no_checkpoints;
    net.work(true);
    net.work(true);
    net.pass(limits::VIEW_TIMEOUT_MS_MAX);
    assert_eq!((net.heights(), epochs(&net)), (vec![2; 5], vec![0; 5]));
    assert_eq!(net.views(), [0; 5], "no view change could help");
    net.passes = everything;
    net.pass(2 * limits::STATUS_INTERVAL_MS);
    assert_eq!((net.heights(), epochs(&net)), (vec![3; 5], vec![1; 5]));
}

#[test]
fn the_admins_end_an_epoch_at_a_height_and_the_way_there_is_known_to_everyone() {
    let mut net = TestNet::new(4);
    net.ends_at = Some(Height(3));
    net.work(true);
    assert_eq!(net.nodes[0].machine.ends_at(), Some(Height(3)), "empty blocks may lead there");
    net.work(true);
    net.work(true);
    assert_eq!((net.heights(), epochs(&net)), (vec![3; 5], vec![1; 5]));
    assert_eq!(net.nodes[0].machine.ends_at(), None);
}

#[test]
fn nothing_stands_on_the_last_block_of_an_epoch_that_the_admins_ended_whatever_waits() {
    let mut net = TestNet::new(4);
    net.ends_at = Some(Height(2));
    net.passes = no_checkpoints;
    net.work(true);
    net.work(true);
    net.work(true);
    assert_eq!((net.heights(), epochs(&net)), (vec![2; 5], vec![0; 5]));
    (0..5).for_each(|index| net.restart(index, true));
    net.work(true);
    assert_eq!(net.heights(), [2; 5]);
    net.passes = everything;
    net.pass(2 * limits::STATUS_INTERVAL_MS);
    assert_eq!((net.heights(), epochs(&net)), (vec![3; 5], vec![1; 5]));
}

#[test]
fn validators_that_restart_right_after_a_hand_over_all_speak_again() {
    let mut net = near_the_end();
    net.work(true);
    assert_eq!(epochs(&net), [1; 5]);
    // Each asks the others what it signed; nothing is stable in the new epoch yet.
    for index in 0..5 {
        net.restore(index, net.copy(index));
        net.pass(2 * limits::STATUS_INTERVAL_MS);
        assert_eq!(net.nodes[index].machine.silent(), None, "node {index}");
    }
    net.work(true);
    assert_eq!(net.heights(), [3; 5]);
}

#[test]
fn who_slept_through_an_epochs_end_is_led_into_the_next() {
    let mut net = near_the_end();
    net.nodes[3].down = true;
    net.work(true);
    net.work(true);
    assert_eq!(epochs(&net)[..3], [1; 3]);
    net.restart(3, true);
    assert_eq!(epochs(&net)[3], 0);
    net.greet(3);
    net.pass(2 * limits::STATUS_INTERVAL_MS);
    assert_eq!((net.heights()[3], epochs(&net)[3]), (3, 1));
    assert_eq!(net.nodes[3].machine.seat(), Some(SeatIndex(3)));
}

#[test]
fn what_the_next_epoch_says_early_is_heard_when_it_is_opened() {
    let mut net = near_the_end();
    // Seats 2 and 3 learn last that the checkpoint is stable.
    net.passes = |_, to, message| to < 2 || to == 4 || no_checkpoints(0, to, message);
    net.work(true);
    assert_eq!(epochs(&net), [1, 1, 0, 0, 1]);
    net.work(true);
    assert_eq!(net.heights(), [2; 5], "two of four seats decide nothing");
    net.passes = |_, _, message| !matches!(message, ConsensusMessage::Status(_));
    let stable = Box::new(net.nodes[0].epoch_ends[0].clone());
    net.deliver(0, 2, ConsensusMessage::Stable(stable.clone()));
    net.deliver(0, 3, ConsensusMessage::Stable(stable));
    assert_eq!((net.heights(), epochs(&net)), (vec![3; 5], vec![1; 5]), "without any more status");
}

#[test]
fn a_restart_on_either_side_of_the_end_goes_on_from_what_the_ledger_has() {
    let mut net = near_the_end();
    net.passes = no_checkpoints;
    net.work(true);
    for index in 0..5 {
        net.restart(index, index % 2 == 0);
    }
    assert_eq!(epochs(&net), [0; 5]);
    net.passes = everything;
    net.pass(2 * limits::STATUS_INTERVAL_MS);
    assert_eq!(epochs(&net), [1; 5]);
    for index in 0..5 {
        net.restart(index, index % 2 == 0);
    }
    net.work(true);
    assert_eq!((net.heights(), epochs(&net)), (vec![3; 5], vec![1; 5]));
}

#[test]
fn whose_log_is_ahead_of_its_ledger_signs_nothing_until_it_comes_there() {
    let mut net = near_the_end();
    net.work(true);
    net.work(true);
    let later = |log: &[Record]| -> Vec<Record> {
        log.iter().filter(|record| record.epoch() == Epoch(1)).cloned().collect()
    };
    let records = later(&net.nodes[1].log);
    assert!(!records.is_empty());
    let machine = net.start_afresh(1, records.clone()).unwrap();
    assert_eq!((machine.epoch(), machine.seat()), (Epoch(0), None));
    assert_eq!(later(&machine.durable_records()), records);
}

#[test]
fn a_program_that_does_not_know_the_next_epochs_rules_stops_and_says_so() {
    let mut net = near_the_end();
    net.protocol = limits::PROTOCOL_VERSION + 1;
    net.work(true);
    assert_eq!(net.heights(), [2; 5]);
    for node in &net.nodes {
        let halt = node.halt.as_ref().unwrap();
        assert!(matches!(halt, HaltReason::Protocol { epoch: Epoch(1), .. }), "{halt}");
        assert!(halt.to_string().contains("install a newer one"), "{halt}");
    }
}

#[test]
fn signatures_on_regular_checkpoints_are_collected_for_the_ledger_the_late_ones_too() {
    let mut net = TestNet::new(4);
    let interval = limits::CHECKPOINT_INTERVAL_HEIGHTS;
    // Seat 3 votes for blocks, but its checkpoints come late.
    net.passes =
        |from, _, message| from != 3 || !matches!(message, ConsensusMessage::Checkpoint(_));
    for _ in 0..interval + interval / 2 - 1 {
        net.work(true);
    }
    let attested = |machine: &Machine| -> Vec<(u64, usize)> {
        let one = |at: twinfold_types::vote::CheckpointCertificate| {
            (at.checkpoint.height.0, at.signatures.len())
        };
        machine.attestations().map(one).collect()
    };
    assert_eq!(attested(&net.nodes[0].machine), [], "others may need a moment longer");
    net.work(true);
    assert_eq!(attested(&net.nodes[0].machine), [(interval, 3)]);
    let late = net.nodes[3].log.iter().find_map(|record| match record {
        Record::Checkpoint(vote) if vote.checkpoint.height.0 == interval => Some(vote.clone()),
        _ => None,
    });
    net.deliver(3, 0, ConsensusMessage::Checkpoint(late.unwrap()));
    assert_eq!(attested(&net.nodes[0].machine), [(interval, 4)]);
}
