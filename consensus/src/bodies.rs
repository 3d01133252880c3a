//! Bodies of blocks that are not in the ledger yet, and those still to be fetched.

use std::collections::{BTreeMap, BTreeSet};
use twinfold_types::{
    Block, Digest, Height, SeatIndex, SignedTx, TimeMs, limits::PREPARED_BODIES_MAX,
};

#[derive(Clone, Debug, Default)]
pub(crate) struct Bodies {
    held: BTreeMap<Digest, Body>,
    /// Bodies made durable so far.
    made_durable: u64,
    wanted: BTreeMap<Digest, Wanted>,
}

#[derive(Clone, Debug)]
struct Body {
    block: Block,
    /// As the how-manieth its record was written, or is in this turn: this validator may have
    /// prepared it.
    durable: Option<u64>,
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
        if !self.held.contains_key(&digest) {
            let durable = durable.then(|| self.next_durable());
            self.held.insert(digest, Body { block, durable, given_back: false });
        }
    }

    /// The block if it must be persisted now; it counts as durable from then on.
    pub fn make_durable(&mut self, digest: &Digest) -> Option<Block> {
        let next = self.made_durable + 1;
        let body = self.held.get_mut(digest).filter(|body| body.durable.is_none())?;
        (body.durable, self.made_durable) = (Some(next), next);
        Some(body.block.clone())
    }

    fn next_durable(&mut self) -> u64 {
        self.made_durable += 1;
        self.made_durable
    }

    pub fn durable(&self) -> impl Iterator<Item = &Block> {
        self.held.values().filter(|body| body.durable.is_some()).map(|body| &body.block)
    }

    pub fn remove(&mut self, digest: &Digest) {
        self.held.remove(digest);
    }

    /// Forgets what is settled in the ledger already.
    pub fn remove_up_to(&mut self, height: Height) {
        self.held.retain(|_, body| body.block.header.height > height);
    }

    /// Keeps what is in the chain and what is claimed, and of the rest above the head what was made
    /// durable last: another may hold a certificate that this validator's prepare is in, and
    /// have nobody else to get the body from. Gives back the transactions of all that is not in the
    /// chain: it may never become a base again.
    pub fn keep(
        &mut self,
        chain: &BTreeSet<Digest>,
        claimed: &BTreeSet<Digest>,
        head: Height,
    ) -> Vec<SignedTx> {
        let oldest = self.oldest_prepared(chain, head);
        let mut returned = Vec::new();
        self.held.retain(|digest, body| {
            if !chain.contains(digest) && !std::mem::replace(&mut body.given_back, true) {
                returned.extend(body.block.txs.iter().cloned());
            }
            let above = body.block.header.height > head;
            let prepared = above && body.durable.is_some_and(|durable| durable >= oldest);
            chain.contains(digest) || claimed.contains(digest) || prepared
        });
        returned
    }

    /// From which on bodies above the head are kept though the chain goes another way.
    fn oldest_prepared(&self, chain: &BTreeSet<Digest>, head: Height) -> u64 {
        let beside = self
            .held
            .iter()
            .filter(|(digest, body)| body.block.header.height > head && !chain.contains(*digest));
        let mut durable: Vec<u64> = beside.filter_map(|(_, body)| body.durable).collect();
        durable.sort_unstable_by(|a, b| b.cmp(a));
        durable.get(PREPARED_BODIES_MAX - 1).copied().unwrap_or(0)
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

#[cfg(test)]
mod tests {
    use super::*;
    use twinfold_types::{
        Epoch,
        block::{Header, body_digest},
    };

    fn block(height: u64, time: u64) -> Block {
        let header = Header {
            chain: Digest::ZERO,
            protocol: 1,
            epoch: Epoch(0),
            height: Height(height),
            parent: Digest::ZERO,
            time: TimeMs(time),
            body: body_digest(&[]),
        };
        Block { header, txs: vec![] }
    }

    fn held(bodies: &Bodies, blocks: &[Block]) -> usize {
        blocks.iter().filter(|block| bodies.holds(&block.digest())).count()
    }

    #[test]
    fn what_was_prepared_stays_until_the_head_passes_it_though_the_chain_went_another_way() {
        let none = BTreeSet::new();
        let (mut bodies, left) = (Bodies::default(), [block(5, 1), block(5, 2), block(6, 3)]);
        bodies.insert(left[0].clone(), false);
        bodies.insert(left[1].clone(), false);
        bodies.insert(left[2].clone(), true);
        assert!(bodies.make_durable(&left[1].digest()).is_some());
        bodies.keep(&none, &none, Height(4));
        let stays = left.each_ref().map(|block| bodies.holds(&block.digest()));
        assert_eq!(stays, [false, true, true], "the first was never prepared here");
        bodies.keep(&none, &none, Height(5));
        assert_eq!(held(&bodies, &left), 1);
    }

    #[test]
    fn of_many_the_last_prepared_stay() {
        let none = BTreeSet::new();
        let mut bodies = Bodies::default();
        let left: Vec<_> = (0..PREPARED_BODIES_MAX as u64 + 3).map(|time| block(5, time)).collect();
        left.iter().for_each(|block| bodies.insert(block.clone(), true));
        bodies.keep(&none, &none, Height(4));
        assert_eq!(held(&bodies, &left), PREPARED_BODIES_MAX);
        assert_eq!(held(&bodies, &left[..3]), 0);
    }
}
