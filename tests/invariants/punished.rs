//! Whoever an honest node has evidence of is slashed, once for each epoch of which there is some,
//! also when the epoch is over, as long as the ledger takes evidence about it. Nobody else is.

use std::collections::{BTreeMap, BTreeSet};
use twinfold_types::{Epoch, Event, PublicKey, Receipt, TimeMs};

/// From the end of faults until everyone is slashed that was known to lie then.
pub const PUNISHED_MS_MAX: u64 = 150_000;
/// How far a block's time may be ahead of the time that is.
const AHEAD_MS: u64 = 4_000;

#[derive(Default)]
pub struct Punished {
    /// Evidence that a process holds, since when.
    held: BTreeMap<(usize, Epoch, PublicKey), u64>,
    /// As each node's chain has it.
    slashed: BTreeSet<(usize, Epoch, PublicKey)>,
    /// Time of the last block of each epoch that is over.
    ended: BTreeMap<Epoch, TimeMs>,
    /// Punished after their epoch was over.
    late: BTreeSet<(Epoch, PublicKey)>,
}

impl Punished {
    /// An honest node's machine hands out evidence.
    pub fn saw(&mut self, node: usize, epoch: Epoch, validator: PublicKey, now_ms: u64) {
        if !self.slashed.contains(&(node, epoch, validator)) {
            self.held.entry((node, epoch, validator)).or_insert(now_ms);
        }
    }

    /// Its ledger is empty again.
    pub fn began_anew(&mut self, node: usize) {
        self.slashed.retain(|(of, ..)| *of != node);
    }

    /// What a process held is gone with it.
    pub fn crashed(&mut self, node: usize) {
        self.held.retain(|(holder, ..), _| *holder != node);
    }

    /// A node's chain grows by a block of this time.
    pub fn executed(
        &mut self,
        node: usize,
        time: TimeMs,
        receipts: &[Receipt],
        is_honest: impl Fn(&PublicKey) -> bool,
    ) -> Result<(), String> {
        for event in receipts.iter().flat_map(|receipt| &receipt.events) {
            match event {
                Event::EpochEnded { epoch, .. } => {
                    self.ended.insert(*epoch, time);
                }
                Event::Slashed { validator, epoch, .. } => {
                    let entry = (node, *epoch, *validator);
                    self.held.remove(&entry);
                    if is_honest(validator) {
                        return Err(format!("punished: node {node} slashes honest {validator}"));
                    }
                    if !self.slashed.insert(entry) {
                        return Err(format!(
                            "punished: node {node} slashes {validator} twice for epoch {epoch}"
                        ));
                    }
                    if self.ended.contains_key(epoch) {
                        self.late.insert((*epoch, *validator));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether everyone is slashed of whom evidence was held by a time, unless it is too old now.
    pub fn by(&self, then_ms: u64, now_ms: u64, evidence_ms: u64) -> Result<(), String> {
        let in_time = |epoch: &Epoch| {
            let ended = self.ended.get(epoch).map(|time| time.0);
            ended.is_none_or(|ended| now_ms + AHEAD_MS <= ended + evidence_ms)
        };
        let mut due =
            self.held.iter().filter(|((_, epoch, _), since)| **since <= then_ms && in_time(epoch));
        match due.next() {
            Some(((node, epoch, validator), _)) => Err(format!(
                "punished: node {node} had evidence that {validator} lied in epoch {epoch}, and \
                 it is not slashed"
            )),
            None => Ok(()),
        }
    }

    /// Slashed in all, and of them after their epoch was over.
    pub fn counts(&self) -> (u64, u64) {
        let all: BTreeSet<_> = self.slashed.iter().map(|(_, epoch, key)| (epoch, key)).collect();
        (all.len() as u64, self.late.len() as u64)
    }
}
