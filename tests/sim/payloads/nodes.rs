//! What nodes do by themselves: fragments made anew, lies found out, payloads collected.

use super::{
    promise::{self, Read},
    site::reference,
    world::{Mistake, World},
};
use std::collections::{BTreeMap, BTreeSet};
use twinfold_node::blobs::BlobError;
use twinfold_types::{
    Action, BlobDigest, PublicKey,
    state_key::{self, Prefix},
};

/// A pass of the scrubber may take days.
const SCRUB_PERCENT: u64 = 5;

impl World {
    /// What each node does by itself.
    pub(super) fn work(&mut self, all: bool) {
        for at in 0..self.sites.len() {
            if !self.sites[at].up {
                continue;
            }
            if self.sites[at].is_awaited() && (all || self.dice.chance(60)) {
                let skips = self.sites[at].lies || self.mistake == Some(Mistake::NothingTakenOver);
                if skips || self.make_whole(at) {
                    self.send(self.sites[at].index, Action::TakeOver);
                }
            }
            if self.sites[at].lies {
                continue;
            }
            self.complete(at);
            if all || self.dice.chance(SCRUB_PERCENT) {
                self.make_whole(at);
            }
            self.judge(at);
            if all || self.dice.chance(60) {
                let kill = (!all && self.dice.chance(15)).then(|| self.dice.between(0, 20));
                self.tally.kills += u64::from(kill.is_some());
                let early = self.mistake == Some(Mistake::NoLease);
                self.tally.collected += self.sites[at].collect(kill, early);
            }
        }
        self.settle_trouble();
    }

    /// Fragments of what was named lately.
    fn complete(&mut self, at: usize) {
        let waiting = std::mem::take(&mut self.sites[at].waiting);
        for (digest, (blob, by)) in waiting {
            if self.dice.chance(30) || !self.ensure(at, &digest) {
                self.sites[at].waiting.insert(digest, (blob, by));
            }
        }
    }

    /// Looks at everything that its state names; whether all of it is there now.
    fn make_whole(&mut self, at: usize) -> bool {
        if self.mistake == Some(Mistake::NothingTakenOver) {
            return false;
        }
        let mut whole = self.sites[at].height() == self.chain.height();
        for reference in self.sites[at].references() {
            let digest = reference.blob.digest();
            self.sites[at].store.is_intact(&digest);
            whole &= self.ensure(at, &digest);
        }
        if whole {
            let index = self.sites[at].index;
            for trouble in self.trouble.values_mut() {
                trouble.whole.insert(index);
            }
        }
        whole
    }

    /// Whether a site has its seat's fragment, or nobody can have it.
    fn ensure(&mut self, at: usize, digest: &BlobDigest) -> bool {
        let site = &self.sites[at];
        let cut = &self.cuts[digest];
        if site.is_complete(&cut.id) || promise::is_condemned(&site.ledger(), digest) {
            return true;
        }
        let others = || self.sites.iter().filter(|other| other.index != site.index);
        let served = others().filter_map(|other| other.serves(digest));
        let (mut pieces, mut list) = (BTreeMap::new(), None);
        for (fragment, piece, fragments) in served.chain(site.serves(digest)) {
            pieces.insert(fragment, piece);
            list = Some(fragments);
        }
        let Some(list) = list.filter(|_| pieces.len() >= usize::from(cut.id.k)) else {
            return reference(&site.ledger(), digest).is_none();
        };
        let by = self.chain.consortium.key(self.owners[digest]);
        let killed = self.dice.chance(5);
        match site.rebuild(&cut.id, by, (&pieces, list), killed) {
            Ok(()) => self.tally.rebuilt += u64::from(!killed),
            Err(BlobError::Misencoded { .. }) => {
                self.say(at, *digest);
                return true;
            }
            Err(_) => {}
        }
        self.sites[at].is_complete(&self.cuts[digest].id)
    }

    /// A seat looks at what others suspect.
    fn judge(&mut self, at: usize) {
        let rows = self.sites[at].ledger().rows_of(Prefix::Suspicion);
        let suspects: Vec<_> =
            rows.iter().filter_map(|(key, _)| state_key::parse_suspicion(key)).collect();
        for digest in suspects {
            let read = promise::read(&self.sites, &self.cuts[&digest], at, self.mistake);
            if read == Read::Lie {
                self.say(at, digest);
            }
        }
    }

    /// Unless it is said already.
    fn say(&mut self, at: usize, digest: BlobDigest) {
        let (site, key) = (self.sites[at].index, state_key::suspicion(&digest));
        let says: Option<BTreeSet<PublicKey>> = self.chain.newest().get(&key);
        let known = promise::is_condemned(self.chain.newest(), &digest);
        let said = says.is_some_and(|says| says.contains(&self.sites[at].key));
        if !known && !said && self.sites[at].seat().is_some() {
            self.send(site, Action::Condemn(digest));
        }
    }

    /// A site counts among the f no longer when it is up and all that it may have lost is with the
    /// seats: with itself if it is one, else with all of them. What nothing names nobody makes anew.
    fn settle_trouble(&mut self) {
        let newest = self.chain.newest();
        let committee = newest.running();
        let sites = &self.sites;
        let seats: Vec<usize> = sites
            .iter()
            .filter(|site| committee.seat_of(&site.key).is_some() && !site.lies)
            .map(|site| site.index)
            .collect();
        self.trouble.retain(|at, trouble| {
            let site = &sites[*at];
            let whole = match seats.contains(&site.index) {
                true => trouble.whole.contains(&site.index),
                false => seats.iter().all(|seat| trouble.whole.contains(seat)),
            };
            if !site.up {
                trouble.whole.clear();
            }
            let nameless = trouble.rotten.is_some_and(|digest| {
                reference(newest, &digest).is_none()
                    && promise::is_promised(newest, &digest, self.promises[&digest])
            });
            !(site.up && whole) || nameless
        });
    }
}
