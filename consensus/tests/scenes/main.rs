//! Scenes of the agreement, four seats and an observer, played by hand.

mod epochs;
mod net;
mod recovery;
mod silence;

use net::{START, TestNet, checkpoint, everything, secret};
use twinfold_consensus::{Effect, Event, HaltReason, Record};
use twinfold_types::{
    Digest, Epoch, Evidence, Height, SeatIndex, TimeMs, View,
    key::{Signer, StrictEd25519},
    limits::{
        CHECKPOINT_QUIET_MS, DRIFT_MS_MAX, PIPELINE_HEIGHTS, VIEW_HEIGHTS_MAX, WATERMARK_HEIGHTS,
    },
    message::{CommittedBlocks, ConsensusMessage},
    vote::{
        Certificate, Checkpoint, CheckpointCertificate, NewView, NewViewBody, ViewChange,
        ViewChangeBody, ViewChangeHeader, VoteBody, VoteKind,
    },
};

#[test]
fn a_block_is_committed_everywhere_and_its_checkpoint_becomes_stable() {
    let mut net = TestNet::new(4);
    net.work(true);
    assert_eq!(net.heights(), [1; 5]);
    net.pass(CHECKPOINT_QUIET_MS);
    for node in &net.nodes {
        assert_eq!(node.stable.as_ref().unwrap().checkpoint.height, Height(1));
    }
}

#[test]
fn heights_that_follow_one_another_soon_share_a_checkpoint() {
    let mut net = TestNet::new(4);
    for _ in 0..3 {
        net.work(true);
        net.pass(CHECKPOINT_QUIET_MS / 2);
    }
    assert_eq!(net.heights(), [3; 5]);
    net.pass(CHECKPOINT_QUIET_MS);
    let signed = |record: &&Record| matches!(record, Record::Checkpoint(_));
    for node in &net.nodes[..4] {
        assert_eq!(node.log.iter().filter(signed).count(), 1);
        assert_eq!(node.stable.as_ref().unwrap().checkpoint.height, Height(3));
    }
}

#[test]
fn a_leader_proposes_on_what_is_in_flight_and_stops_four_heights_ahead() {
    let mut net = TestNet::new(4);
    net.passes = |_, _, message| !matches!(message, ConsensusMessage::Vote(_));
    for _ in 0..PIPELINE_HEIGHTS + 3 {
        net.work(true);
    }
    assert_eq!(net.heights(), [0; 5]);
    assert_eq!(net.nodes[0].machine.tip().height, Height(PIPELINE_HEIGHTS));
    // Whoever heard the proposals prepared each on the one before.
    let prepared = |record: &&Record| match record {
        Record::Vote(vote) => vote.body.kind == VoteKind::Prepare,
        _ => false,
    };
    for node in &net.nodes[..4] {
        assert_eq!(node.log.iter().filter(prepared).count() as u64, PIPELINE_HEIGHTS);
    }
    net.passes = |_, _, _| true;
    net.pass(1_000);
    assert!(net.heights().iter().all(|height| *height >= PIPELINE_HEIGHTS), "{:?}", net.heights());
    assert_eq!(net.views(), [0; 5]);
}

#[test]
fn an_idle_network_says_and_signs_nothing() {
    let mut net = TestNet::new(4);
    net.work(true);
    net.pass(CHECKPOINT_QUIET_MS);
    let (sent, logs) = (net.sent, net.nodes.iter().map(|node| node.log.len()).collect::<Vec<_>>());
    net.pass(60_000);
    assert_eq!(net.sent, sent);
    assert_eq!(net.nodes.iter().map(|node| node.log.len()).collect::<Vec<_>>(), logs);
}

#[test]
fn an_observer_follows_and_signs_nothing() {
    let mut net = TestNet::new(4);
    net.work(true);
    assert_eq!(net.heights()[4], 1);
    assert!(net.nodes[4].log.iter().all(|record| matches!(record, Record::Certificate(_))));
}

#[test]
fn votes_between_the_head_and_checkpoints_far_ahead_are_not_kept() {
    let mut net = TestNet::new(4);
    net.passes = |_, _, _| false;
    for stable in [1_000, 2_000] {
        let checkpoint = checkpoint(&net.first_block(START.plus(1)), Digest::ZERO);
        let checkpoint = Checkpoint { height: Height(stable), ..checkpoint };
        let statement = checkpoint.statement(&net.chain, &net.committee.digest());
        let sign = |seat: u16| (SeatIndex(seat), secret(seat.into()).sign(&statement));
        let signatures = (1..4).map(sign).collect();
        let certificate = CheckpointCertificate { checkpoint, signatures };
        net.deliver(1, 0, ConsensusMessage::Stable(Box::new(certificate)));
        for height in 1..=stable + 100 {
            let vote = net.vote(1, VoteKind::Prepare, 0, height, Digest::ZERO);
            net.deliver(1, 0, ConsensusMessage::Vote(vote));
        }
    }
    let slots = net.nodes[0].machine.holdings().slots as u64;
    assert_eq!(slots, 2 * WATERMARK_HEIGHTS, "above the head, and above the newest checkpoint");
}

#[test]
fn a_silent_leader_is_replaced() {
    let mut net = TestNet::new(4);
    net.nodes[0].down = true;
    net.work(true);
    assert_eq!(net.heights(), [0; 5]);
    net.pass_time_out();
    assert_eq!(net.heights()[1..], [1; 4]);
    assert_eq!(net.views()[1..], [1; 4]);
}

#[test]
fn committees_too_small_to_bear_a_fault_still_order() {
    for seats in 1..=3 {
        let mut net = TestNet::new(seats);
        net.work(true);
        net.work(true);
        assert_eq!(net.heights(), vec![2; seats + 1]);
    }
}

#[test]
fn two_of_four_seats_decide_nothing() {
    let mut net = TestNet::new(4);
    (net.nodes[2].down, net.nodes[3].down) = (true, true);
    net.work(true);
    net.pass(120_000);
    assert_eq!(net.heights()[..2], [0; 2]);
}

/// Commits of the first view are held back: the block is prepared, nobody knows more.
fn no_commits(_: usize, _: usize, message: &ConsensusMessage) -> bool {
    let first = |body: &VoteBody| body.kind == VoteKind::Commit && body.view == View(0);
    !matches!(message, ConsensusMessage::Vote(vote) if first(&vote.body))
}

#[test]
fn a_prepared_block_survives_the_change_of_view() {
    let mut net = TestNet::new(4);
    net.passes = no_commits;
    net.work(true);
    let prepared = prepared_digest(&net.nodes[1].log);
    net.nodes[0].down = true;
    net.pass_time_out();
    assert_eq!(net.views()[1], 1);
    assert_eq!(net.nodes[1].chain[0].0.digest(), prepared);
    assert_eq!(net.nodes[1].chain[0].1.body.view, View(1));
}

#[test]
fn a_prepared_block_survives_the_kill_of_every_node_at_once() {
    let mut net = TestNet::new(4);
    net.passes = no_commits;
    net.work(true);
    let prepared = prepared_digest(&net.nodes[1].log);
    net.passes = everything;
    for index in 0..5 {
        net.restart(index, index % 2 == 0);
    }
    net.pass_time_out();
    assert_eq!(net.heights(), [1; 5]);
    assert!(net.nodes.iter().all(|node| node.chain[0].0.digest() == prepared));
}

fn prepared_digest(log: &[Record]) -> Digest {
    let certificate = log.iter().find_map(|record| match record {
        Record::Certificate(certificate) => Some(certificate.body.digest),
        _ => None,
    });
    certificate.expect("a prepared certificate")
}

#[test]
fn a_validator_votes_once_even_after_a_restart_and_names_the_equivocator() {
    for compact in [false, true] {
        let mut net = TestNet::new(4);
        let (one, other) = (net.first_block(START.plus(1)), net.first_block(START.plus(2)));
        let propose = |net: &mut TestNet, block: &twinfold_types::Block| {
            let vote = net.vote(0, VoteKind::PrePrepare, 0, 1, block.digest());
            let block = Box::new(block.clone());
            net.deliver(0, 1, ConsensusMessage::PrePrepare { vote, block });
        };
        net.passes = |_, _, _| false;
        propose(&mut net, &one);
        net.restart(1, compact);
        propose(&mut net, &one);
        propose(&mut net, &other);
        let prepares = net.nodes[1].log.iter().filter(
            |record| matches!(record, Record::Vote(vote) if vote.body.kind == VoteKind::Prepare),
        );
        assert_eq!(prepares.count(), 1);
        assert!(matches!(net.nodes[1].evidence[..], [Evidence::Votes(..)]));
    }
}

#[test]
fn a_block_too_far_ahead_in_time_is_held_not_dropped() {
    let mut net = TestNet::new(4);
    net.nodes[0].proposal_ahead_ms = DRIFT_MS_MAX + 400;
    net.work(true);
    assert_eq!(net.heights(), [0; 5]);
    net.pass(500);
    assert_eq!(net.heights(), [1; 5]);
    assert_eq!(net.views(), [0; 5]);
}

#[test]
fn a_peer_that_has_dropped_what_is_needed_is_not_asked_again_until_it_connects() {
    let mut net = TestNet::new(4);
    let status = |committed| {
        ConsensusMessage::Status(twinfold_types::message::Status {
            epoch: Epoch(0),
            view: View(0),
            installed: true,
            committed: Height(committed),
            stable: Height(0),
            reply: true,
        })
    };
    let asked = |net: &mut TestNet, from: usize, message| {
        let machine = &mut net.nodes[4].machine;
        let from = net.committee.seats[from].key;
        let effects = machine.step(net.now, Event::Message { from, message });
        let asks = |effect: &Effect| match effect {
            Effect::Send { to, message: ConsensusMessage::GetCommitted { .. } } => Some(*to),
            _ => None,
        };
        effects.iter().find_map(asks)
    };
    let key = |net: &TestNet, seat: usize| net.committee.seats[seat].key;
    assert_eq!(asked(&mut net, 0, status(9)), Some(key(&net, 0)));
    assert_eq!(asked(&mut net, 0, ConsensusMessage::KeptFrom { first: Height(5) }), None);
    assert_eq!(asked(&mut net, 0, status(9)), None);
    let kept = net.nodes[4].machine.diagnosis().kept;
    assert_eq!(kept.into_iter().collect::<Vec<_>>(), [(key(&net, 0), Height(5))]);
    // Nobody waits for the one that cannot.
    assert_eq!(asked(&mut net, 1, status(9)), Some(key(&net, 1)));
    let peer = key(&net, 0);
    net.nodes[4].machine.step(net.now, Event::Connected { peer });
    assert_eq!(net.nodes[4].machine.diagnosis().kept.len(), 0);
}

#[test]
fn a_node_that_was_down_catches_up_when_it_connects() {
    let mut net = TestNet::new(4);
    net.nodes[3].down = true;
    for _ in 0..5 {
        net.work(true);
    }
    net.nodes[3].down = false;
    let peer = net.key(2);
    net.event(3, Event::Connected { peer });
    assert_eq!(net.heights(), [5; 5]);
    assert_eq!(net.nodes[3].stable, net.nodes[2].stable);
}

#[test]
fn forged_committed_blocks_are_refused() {
    let mut net = TestNet::new(4);
    let block = net.first_block(START.plus(1));
    let vote = net.vote(3, VoteKind::Commit, 0, 1, block.digest());
    let signatures = (0..3).map(|seat| (SeatIndex(seat), vote.signature)).collect();
    let certificate = Certificate { body: vote.body, signatures };
    let committed = CommittedBlocks { blocks: vec![block], certificate };
    net.deliver(3, 1, ConsensusMessage::Committed(Box::new(committed)));
    assert_eq!(net.heights(), [0; 5]);
}

#[test]
fn a_node_whose_state_differs_from_a_stable_checkpoint_halts() {
    let mut net = TestNet::new(4);
    net.nodes[3].down = true;
    net.work(true);
    net.pass(CHECKPOINT_QUIET_MS);
    let stable = net.nodes[0].stable.clone().unwrap();
    let (block, certificate) = net.nodes[0].chain[0].clone();
    net.nodes[3].down = false;
    net.passes = |_, _, _| false;
    let other = CheckpointCertificate {
        checkpoint: checkpoint(&block, Digest([9; 32])),
        signatures: stable.signatures.clone(),
    };
    net.deliver(0, 3, ConsensusMessage::Stable(Box::new(other)));
    assert_eq!(net.nodes[3].stable, None);
    let blocks = CommittedBlocks { blocks: vec![block.clone()], certificate };
    net.deliver(0, 3, ConsensusMessage::Committed(Box::new(blocks)));
    let wrong = checkpoint(&block, Digest([9; 32]));
    net.event(3, Event::Executed { checkpoint: wrong, ends_at: None });
    net.deliver(0, 3, ConsensusMessage::Stable(Box::new(stable)));
    assert!(matches!(net.nodes[3].halt, Some(HaltReason::Diverged { .. })));
}

fn view_change(net: &TestNet, seat: usize, view: u64, claim: Option<VoteBody>) -> ViewChangeHeader {
    let body = ViewChangeBody { epoch: Epoch(0), view: View(view), claim };
    let statement = body.statement(&net.chain, &net.committee.digest());
    let signature = secret(seat).sign(&statement);
    ViewChangeHeader { body, seat: SeatIndex(seat as u16), signature }
}

fn new_view(net: &TestNet, view: u64, headers: Vec<ViewChangeHeader>) -> ConsensusMessage {
    let body = NewViewBody { epoch: Epoch(0), view: View(view), headers, certificate: None };
    let statement = body.statement(&net.chain, &net.committee.digest());
    let leader = net.committee.leader(View(view)).index();
    ConsensusMessage::NewView(Box::new(NewView {
        body,
        signature: secret(leader).sign(&statement),
    }))
}

#[test]
fn a_valid_new_view_pulls_alone_and_a_short_or_untrue_one_does_not() {
    let mut net = TestNet::new(4);
    net.passes = |_, _, _| false;
    let header = |seat| view_change(&net, seat, 6, None);
    let claim = net.vote(1, VoteKind::Prepare, 2, 1, Digest([7; 32])).body;
    let full = vec![header(0), header(2), header(3)];
    let short = vec![header(0), header(2)];
    let twice = vec![header(0), header(2), header(2)];
    let hidden_claim = vec![header(0), header(2), view_change(&net, 3, 6, Some(claim))];
    let other_view = vec![header(0), header(2), view_change(&net, 3, 7, None)];
    for headers in [short, twice, hidden_claim, other_view] {
        let message = new_view(&net, 6, headers);
        net.deliver(2, 1, message);
        assert_eq!(net.views()[1], 0);
    }
    let message = new_view(&net, 6, full);
    net.deliver(2, 1, message);
    assert_eq!(net.views()[1], 6);
}

#[test]
fn more_than_f_later_seats_pull_and_f_do_not() {
    let mut net = TestNet::new(4);
    net.passes = |_, _, _| false;
    let change = |net: &TestNet, seat, view| {
        let header = view_change(net, seat, view, None);
        ConsensusMessage::ViewChange(Box::new(ViewChange { header, certificate: None }))
    };
    let first = change(&net, 2, 9);
    net.deliver(2, 1, first);
    assert_eq!(net.nodes[1].machine.view(), View(0));
    let second = change(&net, 3, 5);
    net.deliver(3, 1, second);
    assert_eq!(net.nodes[1].machine.view(), View(5));
}

#[test]
fn a_view_change_that_claims_more_than_it_proves_is_refused() {
    let mut net = TestNet::new(4);
    net.passes = |_, _, _| false;
    let claim = net.vote(1, VoteKind::Prepare, 2, 1, Digest([7; 32])).body;
    for seat in [2, 3] {
        let header = view_change(&net, seat, 9, Some(claim));
        let lone = Certificate { body: claim, signatures: vec![(SeatIndex(1), header.signature)] };
        let change = ViewChange { header, certificate: Some(lone) };
        net.deliver(seat, 1, ConsensusMessage::ViewChange(Box::new(change)));
    }
    assert_eq!(net.nodes[1].machine.view(), View(0));
}

#[test]
fn leaders_rotate_after_the_heights_of_a_view() {
    let mut net = TestNet::new(4);
    for node in &mut net.nodes {
        let machine = std::mem::replace(&mut node.machine, TestNet::new(4).nodes.remove(0).machine);
        node.machine = machine.rotating_every(2);
    }
    assert_ne!(VIEW_HEIGHTS_MAX, 2);
    for _ in 0..5 {
        net.work(true);
    }
    assert_eq!(net.heights(), [5; 5]);
    assert_eq!(net.views(), [2; 5]);
}

#[test]
fn hostile_numbers_change_nothing_and_overflow_nowhere() {
    let mut net = TestNet::new(4);
    net.passes = |_, _, _| false;
    for number in [u64::MAX, u64::MAX - 1, 1 << 40] {
        for kind in [VoteKind::Prepare, VoteKind::Commit] {
            for view in [0, number] {
                let vote = net.vote(2, kind, view, number, Digest([7; 32]));
                net.deliver(2, 1, ConsensusMessage::Vote(vote));
            }
        }
        let mut block = net.first_block(TimeMs(u64::MAX));
        block.header.height = Height(number);
        let vote = net.vote(0, VoteKind::PrePrepare, 0, number, block.digest());
        net.deliver(0, 1, ConsensusMessage::PrePrepare { vote, block: Box::new(block) });
        let status = twinfold_types::message::Status {
            epoch: Epoch(0),
            view: View(number),
            installed: true,
            committed: Height(number),
            stable: Height(number),
            reply: false,
        };
        net.deliver(2, 1, ConsensusMessage::Status(status));
        net.deliver(2, 1, ConsensusMessage::GetCommitted { from: Height(number) });
    }
    assert_eq!((net.heights(), net.views()), (vec![0; 5], vec![0; 5]));
    net.passes = everything;
    net.work(true);
    assert_eq!(net.heights(), [1; 5]);
}

#[test]
fn who_forgets_its_commit_in_a_view_change_is_accused_of_it() {
    let mut net = TestNet::new(4);
    net.passes = no_commits;
    net.work(true);
    let digest = prepared_digest(&net.nodes[1].log);
    // Seat 3 commits in view 0, and then moves on as if it had not.
    let commit = net.vote(3, VoteKind::Commit, 0, 1, digest);
    net.deliver(3, 1, ConsensusMessage::Vote(commit.clone()));
    let body = ViewChangeBody { epoch: Epoch(0), view: View(1), claim: None };
    let signature = secret(3).sign(&body.statement(&net.chain, &net.committee.digest()));
    let header = ViewChangeHeader { body, seat: SeatIndex(3), signature };
    let change = ViewChange { header: header.clone(), certificate: None };
    net.deliver(3, 1, ConsensusMessage::ViewChange(Box::new(change)));
    let evidence = Evidence::Claim(Box::new(commit), Box::new(header));
    assert_eq!(evidence.check(&net.chain, &net.committee, &StrictEd25519), Ok(()));
    assert_eq!(net.nodes[1].evidence, [evidence]);
}
