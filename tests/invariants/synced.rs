//! What an honest seat says for the first time rests on synced records: the vote itself, the
//! body of its block, and for a commit a certificate that ranks as high.

use std::collections::BTreeSet;
use twinfold_consensus_planted::Record;
use twinfold_types::{
    Block, SeatIndex,
    vote::{Certificate, Vote, VoteBody, VoteKind},
};

#[derive(Default)]
pub struct Synced(BTreeSet<(SeatIndex, VoteBody)>);

impl Synced {
    /// A vote leaves a node with this log; `in_ledger` says whether its block is executed there.
    pub fn spoke(&mut self, vote: &Vote, log: &[Record], in_ledger: bool) -> Result<(), String> {
        if !self.0.insert((vote.seat, vote.body)) {
            return Ok(());
        }
        let VoteBody { kind, view, height, digest, .. } = vote.body;
        let is_vote = |record: &Record| matches!(record, Record::Vote(other) if other == vote);
        let is_body = |block: &Block| block.header.height == height && block.digest() == digest;
        let is_block = |record: &Record| matches!(record, Record::Block(block) if is_body(block));
        let ranks = |certificate: &Certificate| certificate.body.rank() >= (view, height);
        let is_proof = |record: &Record| matches!(record, Record::Certificate(it) if ranks(it));
        let lacks = if !log.iter().rev().any(is_vote) {
            "its record"
        } else if !in_ledger && !log.iter().rev().any(is_block) {
            "its block's body"
        } else if kind == VoteKind::Commit && !log.iter().rev().any(is_proof) {
            "its prepared certificate"
        } else {
            return Ok(());
        };
        Err(format!("synced: seat {} says {:?} without {lacks} on disk", vote.seat, vote.body))
    }
}
