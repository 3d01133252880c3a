//! A validator that starts asks what it signed before; one whose log is an old copy stays
//! silent until it can do no harm (P20).

use crate::net::{START, TestNet, everything};
use twinfold_consensus::{Event, Record, Silent};
use twinfold_types::{
    Epoch, Height, View,
    limits::{PIPELINE_HEIGHTS, STATUS_INTERVAL_MS},
    message::{ConsensusMessage, Signed},
    vote::VoteKind,
};

fn blocks(net: &mut TestNet, count: usize) {
    (0..count).for_each(|_| net.work(true));
}

/// What a node signed, as its log has it.
fn signed(net: &TestNet, index: usize) -> usize {
    let is_signed = |record: &&Record| {
        matches!(record, Record::Vote(_) | Record::ViewChange(_) | Record::Checkpoint(_))
    };
    net.nodes[index].log.iter().filter(is_signed).count()
}

fn silent(net: &TestNet, index: usize) -> Option<Silent> {
    net.nodes[index].machine.silent()
}

#[test]
fn a_restored_validator_signs_nothing_until_a_checkpoint_is_beyond_what_it_forgot() {
    let mut net = TestNet::new(4);
    blocks(&mut net, 3);
    let copy = net.copy(1);
    blocks(&mut net, 3);
    net.restore(1, copy);
    let Some(Silent::Until(forgotten)) = silent(&net, 1) else {
        panic!("it goes on with an old log: {:?}", silent(&net, 1))
    };
    assert_eq!((forgotten.view, forgotten.height), (View(0), Height(6 + PIPELINE_HEIGHTS)));
    let before = signed(&net, 1);
    while net.heights()[0] <= forgotten.height.0 {
        assert_eq!(signed(&net, 1), before, "at height {}", net.heights()[0]);
        blocks(&mut net, 1);
    }
    net.pass(2 * STATUS_INTERVAL_MS);
    assert_eq!(silent(&net, 1), None);
    // It takes part again: a quorum needs it.
    net.nodes[2].down = true;
    let height = net.heights()[0];
    blocks(&mut net, 2);
    net.pass(2 * STATUS_INTERVAL_MS);
    assert!(net.heights()[0] > height && signed(&net, 1) > before);
    assert!(net.nodes.iter().all(|node| node.evidence.is_empty() && node.halt.is_none()));
}

#[test]
fn a_restored_validator_stays_silent_over_a_restart() {
    let mut net = TestNet::new(4);
    blocks(&mut net, 3);
    let copy = net.copy(1);
    blocks(&mut net, 3);
    net.restore(1, copy);
    net.passes = |from, to, _| from != 1 && to != 1;
    for compact in [false, true] {
        net.restart(1, compact);
        assert!(matches!(silent(&net, 1), Some(Silent::Until(_))), "compacted: {compact}");
    }
}

#[test]
fn a_whole_log_is_gone_on_with_and_a_committee_that_starts_at_once_answers_itself() {
    let mut net = TestNet::new(4);
    blocks(&mut net, 3);
    net.pass_time_out();
    for compact in [false, true] {
        let copies: Vec<_> = (0..4).map(|index| net.copy_of(index, compact)).collect();
        (0..4).for_each(|index| net.nodes[index].down = true);
        for (index, copy) in copies.into_iter().enumerate() {
            net.restore(index, copy);
        }
        net.pass(2 * STATUS_INTERVAL_MS);
        for index in 0..4 {
            assert_eq!(silent(&net, index), None, "node {index}");
        }
        let height = net.heights()[0];
        blocks(&mut net, 2);
        assert!(net.heights()[0] > height, "{:?}", net.heights());
    }
}

#[test]
fn a_view_that_it_may_have_left_is_not_voted_in_again() {
    let mut net = TestNet::new(4);
    blocks(&mut net, 2);
    let copy = net.copy(1);
    // The leader of view 0 falls silent: all others leave it.
    net.nodes[0].down = true;
    net.work(true);
    net.pass_time_out();
    net.pass_time_out();
    assert!(net.views()[1] > 0, "{:?}", net.views());
    net.nodes[0].down = false;
    net.pass_time_out();
    let moved = net.nodes[1].machine.view();
    net.restore(1, copy);
    net.pass(4 * STATUS_INTERVAL_MS);
    assert!(net.nodes[1].machine.view() >= moved);
    let votes = net.nodes[1].log.iter().filter_map(|record| match record {
        Record::Vote(vote) => Some(vote.body.view),
        _ => None,
    });
    assert!(votes.clone().all(|view| view == View(0)), "only what the copy held");
}

#[test]
fn nobody_counts_as_an_answer_with_what_another_signed() {
    let mut net = TestNet::new(4);
    net.passes = |_, _, message| !matches!(message, ConsensusMessage::Signed(_));
    let copy = net.copy(1);
    net.restore(1, copy);
    let digest = net.chain;
    let forged = net.vote(2, VoteKind::Commit, 9, 9, digest);
    let vote = Some(twinfold_types::vote::Vote { seat: twinfold_types::SeatIndex(1), ..forged });
    let lie = Signed { vote, ..Signed::default() };
    for from in [0, 2, 3] {
        net.deliver(from, 1, ConsensusMessage::Signed(Box::new(lie.clone())));
    }
    let asking = |answered| Some(Silent::Asking { answered, needed: 2 });
    assert_eq!(silent(&net, 1), asking(0));
    // One answer twice is one.
    for _ in 0..2 {
        net.deliver(0, 1, ConsensusMessage::Signed(Box::default()));
    }
    assert_eq!(silent(&net, 1), asking(1));
    net.work(true);
    assert_eq!(signed(&net, 1), 0, "it has not heard enough");
    net.passes = everything;
    net.event(1, Event::Connected { peer: net.key(2) });
    net.pass(2 * STATUS_INTERVAL_MS);
    assert_eq!(silent(&net, 1), None);
}

#[test]
fn a_log_that_is_older_than_its_ledger_still_claims_what_was_committed() {
    let mut net = TestNet::new(4);
    blocks(&mut net, 2);
    let old = net.nodes[1].log.clone();
    blocks(&mut net, 2);
    let (_, chain, stable) = net.copy(1);
    net.restore(1, (old, chain, stable));
    assert_eq!(silent(&net, 1), None, "the ledger shows that all of it is settled");
    net.nodes[0].down = true;
    net.work(true);
    net.pass_time_out();
    let claim = net.nodes[1].log.iter().find_map(|record| match record {
        Record::ViewChange(change) => change.header.body.claim,
        _ => None,
    });
    assert_eq!(claim.map(|claim| claim.height), Some(Height(4)));
}

const EPOCH_MS: u64 = 5_000;

/// The first epoch is over, and nothing is ordered in the second yet.
fn second_epoch(net: &mut TestNet) {
    net.pass(EPOCH_MS);
    blocks(net, 1);
    assert!(net.nodes.iter().all(|node| node.machine.epoch() == Epoch(1)));
}

#[test]
fn a_committee_that_starts_as_an_epoch_begins_answers_itself() {
    let mut net = TestNet::with_first_epoch(4, START.plus(EPOCH_MS));
    blocks(&mut net, 1);
    second_epoch(&mut net);
    let copies: Vec<_> = (0..5).map(|index| net.copy(index)).collect();
    (0..5).for_each(|index| net.nodes[index].down = true);
    for (index, copy) in copies.into_iter().enumerate() {
        net.restore(index, copy);
    }
    net.pass(2 * STATUS_INTERVAL_MS);
    assert!((0..5).all(|index| silent(&net, index).is_none()));
    let height = net.heights()[1];
    blocks(&mut net, 2);
    assert!(net.heights()[1] > height, "{:?}", net.heights());
}

#[test]
fn a_copy_of_an_earlier_epoch_asks_again_in_the_running_one() {
    let mut net = TestNet::with_first_epoch(4, START.plus(EPOCH_MS));
    blocks(&mut net, 1);
    let copy = net.copy(1);
    second_epoch(&mut net);
    blocks(&mut net, 2);
    net.restore(1, copy);
    net.greet(1);
    net.pass(4 * STATUS_INTERVAL_MS);
    assert_eq!(net.nodes[1].machine.epoch(), Epoch(1));
    assert!(matches!(silent(&net, 1), Some(Silent::Until(_))), "{:?}", silent(&net, 1));
    // Nothing that it signed in this epoch is in its log, and nothing is added.
    assert_eq!(
        signed(&net, 1),
        net.nodes[1].log.iter().filter(|record| of_epoch(record, 0)).count()
    );
}

fn of_epoch(record: &Record, epoch: u64) -> bool {
    let is_signed =
        matches!(record, Record::Vote(_) | Record::ViewChange(_) | Record::Checkpoint(_));
    is_signed && record.epoch() == Epoch(epoch)
}
