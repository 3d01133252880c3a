//! What happens to payloads: uploads, names, purges and holds, elections, crashes, rot, kills.

use super::{
    chain::Chain,
    content::Cut,
    promise::{self, Read},
    site::Site,
};
use crate::{dice::Dice, plan::Plan, setup::OBSERVER, world::START_MS};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use twinfold_types::{
    Action, AvailabilityCertificate, BlobDigest, Epoch, Event, member::AdminAction,
};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
/// How often a check decodes what it finds: it takes a millisecond.
const DECODED_PERCENT: u64 = 4;

/// A mistake that the checks must see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// What nothing names is removed at once.
    NoLease,
    /// Who takes over a seat says so and makes nothing.
    NothingTakenOver,
    /// Whoever decodes does not code again.
    NotCodedAgain,
}

/// How much happened.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub steps: u64,
    pub epochs: u64,
    pub certified: u64,
    pub rebuilt: u64,
    pub took_over: u64,
    pub collected: u64,
    pub condemned: u64,
    pub held: u64,
    pub kills: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.epochs += other.epochs;
        self.certified += other.certified;
        self.rebuilt += other.rebuilt;
        self.took_over += other.took_over;
        self.collected += other.collected;
        self.condemned += other.condemned;
        self.held += other.held;
        self.kills += other.kills;
    }
}

/// A site that counts among the f: down, or not whole again since.
pub(super) struct Trouble {
    pub(super) down_until: u64,
    /// A fragment of this payload is lost there.
    pub(super) rotten: Option<BlobDigest>,
    /// Seats that were looked through since it is up.
    pub(super) whole: BTreeSet<usize>,
}

/// For the next block.
pub(super) enum Wish {
    By(usize, Action),
    Decided(AdminAction),
}

/// A certificate that nobody has used yet.
pub(super) struct Unused {
    pub(super) certificate: AvailabilityCertificate,
    pub(super) uploader: usize,
    pub(super) tries: u32,
}

pub struct World {
    pub(super) dice: Dice,
    pub(super) chain: Chain,
    pub(super) sites: Vec<Site>,
    pub(super) now: Arc<AtomicU64>,
    pub(super) steps: u64,
    /// How many may fail at once.
    pub(super) faults: usize,
    pub(super) trouble: BTreeMap<usize, Trouble>,
    pub(super) cuts: BTreeMap<BlobDigest, Cut>,
    /// The newest epoch of a certificate.
    pub(super) promises: BTreeMap<BlobDigest, Epoch>,
    pub(super) unused: Vec<Unused>,
    pub(super) owners: BTreeMap<BlobDigest, usize>,
    pub(super) held: BTreeSet<BlobDigest>,
    pub(super) pool: Vec<Wish>,
    pub(super) mistake: Option<Mistake>,
    pub(super) trace: bool,
    pub(super) tally: Tally,
}

impl World {
    pub fn new(seed: u64, mistake: Option<Mistake>) -> Self {
        let mut dice = Dice::new(seed ^ 0x7061_796c);
        let seats = dice.pick(&[4, 4, 4, 5, 7]);
        let mut plan = Plan::new(seed, Some(seats));
        (plan.observer, plan.txs, plan.learns, plan.real_signatures) = (true, 0, false, false);
        plan.epoch_ms = Some(HOUR_MS * dice.pick(&[3, 3, 12, 30]));
        (plan.ends_early, plan.evidence_ms, plan.reward) = (false, HOUR_MS, 0);
        let chain = Chain::new(&plan);
        let now = Arc::new(AtomicU64::new(START_MS));
        let indices = (0..seats).chain([OBSERVER]);
        let key = |index| chain.consortium.key(index);
        let mut sites: Vec<Site> =
            indices.map(|index| Site::new(index, key(index), &chain, now.clone())).collect();
        let faults = (seats - 1) / 3;
        if dice.chance(30) {
            let liar = dice.index(sites.len());
            sites[liar].lies = true;
        }
        if mistake == Some(Mistake::NoLease) {
            sites.iter().for_each(Site::keeps_no_lease);
        }
        let trace = std::env::var_os("TWINFOLD_SIM_TRACE").is_some();
        Self {
            steps: dice.between(60, 160),
            dice,
            chain,
            sites,
            now,
            faults,
            trouble: BTreeMap::new(),
            cuts: BTreeMap::new(),
            promises: BTreeMap::new(),
            unused: Vec::new(),
            owners: BTreeMap::new(),
            held: BTreeSet::new(),
            pool: Vec::new(),
            mistake,
            trace,
            tally: Tally::default(),
        }
    }

    pub fn run(mut self) -> Result<Tally, String> {
        for step in 0..self.steps {
            let minutes = self.dice.between(10, 180);
            self.pass_time(minutes * MINUTE_MS);
            self.fail();
            self.upload();
            self.wish();
            self.order();
            self.work(false);
            self.check().map_err(|failure| format!("step {step}: {failure}"))?;
        }
        self.heal()?;
        Ok(self.tally)
    }

    pub(super) fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    fn pass_time(&mut self, ms: u64) {
        self.now.fetch_add(ms, Ordering::Relaxed);
        self.tally.steps += 1;
    }

    pub(super) fn note(&self, said: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>6} min  {}", (self.now() - START_MS) / MINUTE_MS, said());
        }
    }

    /// Crashes, returns and rot, by no more than the committee bears.
    fn fail(&mut self) {
        let now = self.now();
        for (site, trouble) in &self.trouble {
            if !self.sites[*site].up && trouble.down_until <= now {
                self.sites[*site].restart();
            }
        }
        let liars = self.sites.iter().filter(|site| site.lies).count();
        let site = self.dice.index(self.sites.len());
        let spare = self.trouble.len() + liars < self.faults;
        if !spare || self.sites[site].lies || !self.dice.chance(25) {
            return;
        }
        let mut trouble = Trouble { down_until: now, rotten: None, whole: BTreeSet::new() };
        if self.dice.chance(50) {
            self.sites[site].up = false;
            trouble.down_until = now + HOUR_MS * self.dice.between(1, 20);
            self.note(|| format!("site {site} crashes"));
        } else {
            let named = self.sites[site].files("named");
            if named.is_empty() {
                return;
            }
            let (digest, at) = (named[self.dice.index(named.len())], self.dice.number());
            self.sites[site].rots(&digest, at);
            trouble.rotten = Some(digest);
            self.note(|| format!("{} rots at site {site}", digest.short()));
        }
        self.trouble.insert(site, trouble);
    }

    /// A block, which every site executes in its own time.
    fn order(&mut self) {
        let txs = self.txs();
        let receipts = self.chain.order(self.now(), txs);
        for receipt in receipts {
            for event in receipt.events {
                match event {
                    Event::EpochEnded { joined, .. } => {
                        self.tally.epochs += 1;
                        self.note(|| format!("an epoch ends, {} join", joined.len()));
                    }
                    Event::SeatTakenOver { .. } => self.tally.took_over += 1,
                    _ => {}
                }
            }
        }
        let newest = self.chain.height();
        for site in self.sites.iter_mut().filter(|site| site.up) {
            while site.height() < newest && self.dice.chance(95) {
                site.execute(&self.chain);
            }
        }
        let stable = self.stable();
        for site in self.sites.iter().filter(|site| site.up) {
            if self.dice.chance(90) {
                site.hears_of_stable(stable);
            }
        }
    }

    /// The height that a quorum of the committee has executed.
    fn stable(&self) -> u64 {
        let committee = self.chain.newest().running();
        let sits = |site: &&Site| committee.seat_of(&site.key).is_some();
        let mut heights: Vec<u64> = self.sites.iter().filter(sits).map(Site::height).collect();
        heights.sort_by_key(|height| std::cmp::Reverse(*height));
        heights[committee.quorum() - 1]
    }

    /// What was promised is there: the very fragments that were cut, and now and then the content.
    fn check(&mut self) -> Result<(), String> {
        let newest = self.chain.newest();
        let kept =
            |(digest, epoch): &(&BlobDigest, &Epoch)| promise::is_promised(newest, digest, **epoch);
        for (digest, _) in self.promises.iter().filter(kept) {
            let cut = &self.cuts[digest];
            let there = promise::fragments_are_there(&self.sites, cut);
            let read = self.dice.chance(DECODED_PERCENT).then(|| {
                let first = self.dice.index(4);
                promise::read(&self.sites, cut, first, self.mistake)
            });
            let gives = match read {
                _ if there.is_err() && !cut.lie => false,
                Some(Read::Content(content)) => !cut.lie && content == cut.content,
                Some(Read::Lie) => cut.lie,
                Some(Read::TooFew) => cut.lie,
                None => true,
            };
            if !gives {
                let troubled: Vec<usize> = self.trouble.keys().copied().collect();
                let (k, lie) = (cut.id.k, cut.lie);
                return Err(format!(
                    "{digest} (k = {k}, cut by a liar: {lie}) is not there as promised: {there:?}; in trouble: {troubled:?}"
                ));
            }
        }
        let is_lie = |digest: &BlobDigest| self.cuts.get(digest).is_some_and(|cut| cut.lie);
        promise::condemns_lies_alone(newest, is_lie).map(drop)
    }

    /// Days without faults: then everything is where it belongs.
    fn heal(&mut self) -> Result<(), String> {
        for site in &mut self.sites {
            site.restart();
        }
        for _ in 0..32 {
            self.pass_time(6 * HOUR_MS);
            self.order();
            let newest = self.chain.height();
            for site in &mut self.sites {
                while site.height() < newest {
                    site.execute(&self.chain);
                }
                site.hears_of_stable(newest);
            }
            self.work(true);
            self.check().map_err(|failure| format!("after the faults: {failure}"))?;
        }
        let is_lie = |digest: &BlobDigest| self.cuts.get(digest).is_some_and(|cut| cut.lie);
        self.tally.condemned = promise::condemns_lies_alone(self.chain.newest(), is_lie)?;
        for site in self.sites.iter().filter(|site| !site.lies) {
            promise::is_tidy(site, is_lie)?;
        }
        Ok(())
    }
}
