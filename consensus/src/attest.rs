//! Who signed the checkpoints at regular heights: what the ledger counts participation from. Votes
//! are taken also when the checkpoint is stable without them, so that the slow do not look silent.

use crate::Machine;
use std::collections::BTreeMap;
use twinfold_types::{
    Height, SeatIndex, Signature,
    limits::CHECKPOINT_INTERVAL_HEIGHTS,
    vote::{Checkpoint, CheckpointCertificate, CheckpointVote},
};

/// Checkpoints for which signatures are collected: the newest ones.
const KEPT: usize = 2;

#[derive(Clone, Debug, Default)]
pub(crate) struct Attested {
    kept: BTreeMap<Height, (Checkpoint, BTreeMap<SeatIndex, Signature>)>,
}

impl Attested {
    /// A regular height was executed here.
    pub fn begin(&mut self, checkpoint: &Checkpoint) {
        let height = checkpoint.height;
        if height.0.is_multiple_of(CHECKPOINT_INTERVAL_HEIGHTS) {
            self.kept.entry(height).or_insert_with(|| (checkpoint.clone(), BTreeMap::new()));
        }
        while self.kept.len() > KEPT {
            self.kept.pop_first();
        }
    }

    /// Whether a vote says what was executed here and its seat's signature is not there yet.
    pub fn lacks(&self, vote: &CheckpointVote) -> bool {
        self.kept.get(&vote.checkpoint.height).is_some_and(|(checkpoint, signatures)| {
            *checkpoint == vote.checkpoint && !signatures.contains_key(&vote.seat)
        })
    }

    /// Takes a verified vote.
    pub fn add(&mut self, vote: &CheckpointVote) {
        if self.lacks(vote)
            && let Some((_, signatures)) = self.kept.get_mut(&vote.checkpoint.height)
        {
            signatures.insert(vote.seat, vote.signature);
        }
    }

    /// Takes the signatures of a verified certificate.
    pub fn add_all(&mut self, certificate: &CheckpointCertificate) {
        for (seat, signature) in &certificate.signatures {
            let (checkpoint, seat) = (certificate.checkpoint.clone(), *seat);
            self.add(&CheckpointVote { checkpoint, seat, signature: *signature });
        }
    }
}

impl Machine {
    /// The collected signatures on regular checkpoints that are some heights old, so that all who
    /// took part had the time to say so.
    pub fn attestations(&self) -> impl Iterator<Item = CheckpointCertificate> + '_ {
        let settled = |height: &Height| height.0 + CHECKPOINT_INTERVAL_HEIGHTS / 2;
        let kept = self.attested.kept.iter().filter(move |(height, (_, signatures))| {
            settled(height) <= self.executed.0 && !signatures.is_empty()
        });
        kept.map(|(_, (checkpoint, signatures))| CheckpointCertificate {
            checkpoint: checkpoint.clone(),
            signatures: signatures.iter().map(|(seat, signature)| (*seat, *signature)).collect(),
        })
    }
}
