//! Certificates that no quorum of this committee signed for what they say.

use super::{Liar, leader::sign_new_view, own_seat};
use crate::{dice::Dice, node::Node};
use twinfold_types::{
    Block, Committee, Digest, Epoch, Header, Height, SeatIndex, Signature,
    block::body_digest,
    hash::Tag,
    key::Statement,
    limits::PROTOCOL_VERSION,
    message::{CommittedBlocks, ConsensusMessage},
    quorum::Seat,
    vote::{
        Certificate, Checkpoint, CheckpointCertificate, NewView, NewViewBody, VoteBody, VoteKind,
    },
};

/// Signatures of a statement, which is made for a committee's digest.
fn signatures(
    node: &Node,
    liar: &Liar,
    statement: impl Fn(&Digest) -> Statement,
    dice: &mut Dice,
) -> Vec<(SeatIndex, Signature)> {
    let committee = &node.setup.config.committee;
    let own = node.setup.signer.sign(&statement(&committee.digest()));
    let seats = committee.seat_indices();
    match dice.between(0, 3) {
        // Too few.
        0 => vec![(own_seat(node), own)],
        // The own one under everybody's name.
        1 => seats.map(|seat| (seat, own)).collect(),
        // The own one, often enough.
        2 => seats.map(|_| (own_seat(node), own)).collect(),
        // True ones of everybody, given as the committee of the next epoch.
        _ => {
            let next = Committee { epoch: committee.epoch.next(), ..committee.clone() };
            let statement = statement(&next.digest());
            let signer = |seat: &Seat| crate::setup::signer_of(&seat.key, liar.real_signatures);
            let all = seats.zip(&committee.seats);
            all.map(|(seat, held)| (seat, signer(held).sign(&statement))).collect()
        }
    }
}

pub fn certificate(node: &Node, liar: &Liar, body: VoteBody, dice: &mut Dice) -> Certificate {
    let chain = node.setup.config.chain;
    let signatures = signatures(node, liar, |committee| body.statement(&chain, committee), dice);
    Certificate { body, signatures }
}

/// Blocks that are said to be committed, checkpoints that are said to be stable.
pub fn certificates(node: &Node, dice: &mut Dice) -> Vec<ConsensusMessage> {
    let (Some(liar), Some(machine)) = (&node.liar, &node.machine) else { return Vec::new() };
    let head = machine.committed();
    let block = made_up_block(node, head.height, head.digest, head.time.plus(1));
    let body = VoteBody {
        kind: VoteKind::Commit,
        epoch: Epoch(machine.epoch().0 + dice.between(0, 1)),
        view: machine.view(),
        height: block.header.height,
        digest: block.digest(),
    };
    let certificate = match (dice.chance(30), prepares(liar, dice)) {
        (true, Some(certificate)) => certificate,
        _ => certificate(node, liar, body, dice),
    };
    let committed = CommittedBlocks { blocks: vec![block], certificate };
    let stable = stable(node, liar, head.height, dice);
    vec![
        ConsensusMessage::Committed(Box::new(committed)),
        ConsensusMessage::Stable(Box::new(stable)),
    ]
}

/// Nobody proposed it, but it would follow.
fn made_up_block(node: &Node, head: Height, parent: Digest, time: twinfold_types::TimeMs) -> Block {
    let (chain, epoch) = (node.setup.config.chain, node.setup.config.committee.epoch);
    let (height, body) = (head.next(), body_digest(&[]));
    let header = Header { chain, protocol: PROTOCOL_VERSION, epoch, height, parent, time, body };
    Block { header, txs: vec![] }
}

/// True signatures of prepares, passed off as commits.
fn prepares(liar: &Liar, dice: &mut Dice) -> Option<Certificate> {
    let votes = liar.seen.iter().filter_map(|message| match message {
        ConsensusMessage::Vote(vote) if vote.body.kind == VoteKind::Prepare => Some(vote),
        _ => None,
    });
    let votes: Vec<_> = votes.collect();
    let body = votes.get(dice.index(votes.len().max(1)))?.body;
    let equal = votes.iter().filter(|vote| vote.body == body);
    let mut signatures: Vec<_> = equal.map(|vote| (vote.seat, vote.signature)).collect();
    signatures.sort();
    signatures.dedup_by_key(|(seat, _)| *seat);
    Some(Certificate { body: VoteBody { kind: VoteKind::Commit, ..body }, signatures })
}

fn stable(node: &Node, liar: &Liar, head: Height, dice: &mut Dice) -> CheckpointCertificate {
    let checkpoint = Checkpoint {
        epoch: Epoch(node.setup.config.committee.epoch.0 + dice.between(0, 1)),
        height: Height(head.0 + dice.between(0, 20)),
        block: Digest::of(Tag::StateKey, &"no block"),
        state_root: Digest::of(Tag::StateKey, &"no state"),
        audit_size: 0,
        audit_root: Digest::ZERO,
        next_committee: None,
    };
    let chain = node.setup.config.chain;
    let statement = |committee: &Digest| checkpoint.statement(&chain, committee);
    let signatures = signatures(node, liar, statement, dice);
    CheckpointCertificate { checkpoint, signatures }
}

/// A new view that stands on less than it must.
pub fn new_view(node: &Node, liar: &Liar, new_view: &NewView, dice: &mut Dice) -> NewView {
    let body = new_view.body.clone();
    let body = match dice.between(0, 4) {
        0 => body,
        1 => NewViewBody { certificate: None, ..body },
        2 => {
            let forged = body.certificate.as_ref().map(|it| certificate(node, liar, it.body, dice));
            NewViewBody { certificate: forged, ..body }
        }
        3 => {
            let one = body.headers[dice.index(body.headers.len())].clone();
            NewViewBody { headers: vec![one; body.headers.len()], ..body }
        }
        _ => {
            let headers = body.headers[1..].to_vec();
            NewViewBody { headers, ..body }
        }
    };
    sign_new_view(node, body)
}
