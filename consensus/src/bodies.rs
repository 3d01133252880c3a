//! Bodies of blocks that are not in the ledger yet, and those still to be fetched.

use std::collections::{BTreeMap, BTreeSet};
use twinfold_types::{Block, Digest, Height, SeatIndex, SignedTx, TimeMs};

#[derive(Clone, Debug, Default)]
pub(crate) struct Bodies {
    held: BTreeMap<Digest, Body>,
    wanted: BTreeMap<Digest, Wanted>,
}

#[derive(Clone, Debug)]
struct Body {
    block: Block,
    /// Its record was written, or is in this turn.
    durable: bool,
    /// Its transactions were given back: it is kept for a claim's sake only.
    given_back: bool,
}

/// A body that a certificate names: each of its signers holds it.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub height: Height,
    pub signers: Vec<SeatIndex>,
    /// Whom to ask next, and when.
    pub turn: usize,
    pub due: TimeMs,
}

impl Bodies {
    pub fn get(&self, digest: &Digest) -> Option<&Block> {
        self.held.get(digest).map(|body| &body.block)
    }

    pub fn holds(&self, digest: &Digest) -> bool {
        self.held.contains_key(digest)
    }

    pub fn insert(&mut self, block: Block, durable: bool) {
        let digest = block.digest();
        self.wanted.remove(&digest);
        self.held.entry(digest).or_insert(Body { block, durable, given_back: false });
    }

    /// The block if it must be persisted now; it counts as durable from then on.
    pub fn make_durable(&mut self, digest: &Digest) -> Option<Block> {
        let body = self.held.get_mut(digest).filter(|body| !body.durable)?;
        body.durable = true;
        Some(body.block.clone())
    }

    pub fn durable(&self) -> impl Iterator<Item = &Block> {
        self.held.values().filter(|body| body.durable).map(|body| &body.block)
    }

    pub fn remove(&mut self, digest: &Digest) {
        self.held.remove(digest);
    }

    /// Forgets what is settled in the ledger already.
    pub fn remove_up_to(&mut self, height: Height) {
        self.held.retain(|_, body| body.block.header.height > height);
    }

    /// Keeps what is in the chain and what is claimed, and gives back the transactions of
    /// all that is not in the chain: a claim may never become a base again.
    pub fn keep(&mut self, chain: &BTreeSet<Digest>, claimed: &BTreeSet<Digest>) -> Vec<SignedTx> {
        let mut returned = Vec::new();
        self.held.retain(|digest, body| {
            if !chain.contains(digest) && !std::mem::replace(&mut body.given_back, true) {
                returned.extend(body.block.txs.iter().cloned());
            }
            chain.contains(digest) || claimed.contains(digest)
        });
        returned
    }

    /// Forgets everything and gives back the transactions that still count as ordered.
    pub fn drain(&mut self) -> Vec<SignedTx> {
        self.wanted.clear();
        let held = std::mem::take(&mut self.held).into_values();
        held.filter(|body| !body.given_back).flat_map(|body| body.block.txs).collect()
    }

    /// The block and its ancestors as far as they are held and above a height.
    pub fn ancestry(&self, mut digest: Digest, above: Height) -> Vec<Digest> {
        let mut line = Vec::new();
        while let Some(block) = self.get(&digest).filter(|block| block.header.height > above) {
            line.push(digest);
            digest = block.header.parent;
        }
        line
    }

    pub fn want(&mut self, digest: Digest, height: Height, signers: Vec<SeatIndex>, now: TimeMs) {
        if !self.holds(&digest) {
            let wanted = Wanted { height, signers, turn: 0, due: now };
            self.wanted.entry(digest).or_insert(wanted);
        }
    }

    pub fn is_wanted(&self, digest: &Digest) -> bool {
        self.wanted.contains_key(digest)
    }

    pub fn wanted(&mut self) -> impl Iterator<Item = (&Digest, &mut Wanted)> {
        self.wanted.iter_mut()
    }

    pub fn forget_wanted(&mut self, settled: impl Fn(&Digest, Height) -> bool) {
        self.wanted.retain(|digest, wanted| !settled(digest, wanted.height));
    }

    /// Bodies held, and bodies wanted.
    pub fn counts(&self) -> (usize, usize) {
        (self.held.len(), self.wanted.len())
    }

    pub fn fetch_due(&self) -> Option<TimeMs> {
        self.wanted.values().map(|wanted| wanted.due).min()
    }
}
