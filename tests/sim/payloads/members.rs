//! What members do: uploads, and what they want of the ledger.

use super::{
    content::Cut,
    site::references,
    world::{Unused, Wish, World},
};
use crate::consortium::{DELEGATORS, TRAINERS, TRAINERS_MAX};
use std::collections::BTreeMap;
use twinfold_node::blobs::place;
use twinfold_types::{
    Action, AvailabilityCertificate, BlobDigest, Digest, Epoch, SignedTx, Stake,
    blob::{StorageReceipt, StorageReceiptBody},
    keeping::HoldSubject,
    member::AdminAction,
    sealed::{RegisterSealed, SealedAction},
    stake::StakeAction,
};

impl World {
    /// A client cuts a payload, or has one cut that it sent before, and gathers receipts.
    pub(super) fn upload(&mut self) {
        if !self.dice.chance(60) {
            return;
        }
        let seats = self.chain.newest().running().size();
        let known: Vec<BlobDigest> = self
            .cuts
            .values()
            .filter(|cut| usize::from(cut.id.n) == seats)
            .map(|cut| cut.id.digest())
            .collect();
        let digest = match !known.is_empty() && self.dice.chance(20) {
            true => self.dice.pick(&known),
            false => {
                let cut = Cut::draw(seats, &mut self.dice);
                let digest = cut.id.digest();
                self.cuts.insert(digest, cut);
                digest
            }
        };
        let uploader = TRAINERS + self.dice.index(TRAINERS_MAX);
        let stops = self.dice.chance(10).then(|| self.dice.index(seats));
        let receipts = self.receipts(&digest, uploader, stops);
        let newest = self.chain.newest().running();
        let complete = receipts.into_iter().find(|(_, found)| found.len() >= newest.quorum());
        let Some((epoch, receipts)) = complete else { return };
        let certificate = AvailabilityCertificate { epoch, blob: self.cuts[&digest].id, receipts };
        self.note(|| format!("{} is certified in epoch {epoch}", digest.short()));
        self.promises.insert(digest, epoch);
        self.tally.certified += 1;
        self.unused.push(Unused { certificate, uploader, tries: 0 });
    }

    /// By the epoch that each seat is in.
    fn receipts(
        &mut self,
        digest: &BlobDigest,
        uploader: usize,
        stops: Option<usize>,
    ) -> BTreeMap<Epoch, Vec<StorageReceipt>> {
        let (cut, by) = (&self.cuts[digest], self.chain.consortium.key(uploader));
        let mut receipts: BTreeMap<Epoch, Vec<StorageReceipt>> = BTreeMap::new();
        for site in self.sites.iter().take(stops.unwrap_or(usize::MAX)) {
            let committee = site.committee();
            let reached = site.up && self.dice.chance(92);
            let Some(seat) = committee.seat_of(&site.key).filter(|_| reached) else { continue };
            let fragment = place(&cut.id, seat);
            if fragment >= cut.id.n || site.receive(cut, fragment, by) != Some(fragment) {
                continue;
            }
            let body = StorageReceiptBody { epoch: committee.epoch, blob: *digest, seat };
            let statement = body.statement(&self.chain.consortium.chain, &committee.digest());
            let signature = self.chain.consortium.signer(site.index).sign(&statement);
            receipts.entry(committee.epoch).or_default().push(StorageReceipt { seat, signature });
        }
        receipts.values_mut().for_each(|found| found.sort_by_key(|receipt| receipt.seat));
        receipts
    }

    /// What members want of the ledger.
    pub(super) fn wish(&mut self) {
        self.name();
        let named: Vec<BlobDigest> = references(self.chain.newest())
            .iter()
            .map(|reference| reference.blob.digest())
            .collect();
        if !named.is_empty() {
            let digest = self.dice.pick(&named);
            let owner = self.owners[&digest];
            match self.dice.between(0, 11) {
                0 | 1 => self.send(owner, Action::Sealed(SealedAction::Destroy(digest))),
                2 => self.hold(digest),
                3 if self.sites.iter().any(|site| site.lies) => self.accuse_falsely(digest),
                _ => {}
            }
        }
        if let Some(digest) = self.held.iter().next().copied().filter(|_| self.dice.chance(6)) {
            self.held.remove(&digest);
            self.decide(AdminAction::ReleaseHold(HoldSubject::Payload(digest)));
        }
        self.delegate();
    }

    /// Some certificates are used at once, some late, some too late, some never.
    fn name(&mut self) {
        let mut unused = std::mem::take(&mut self.unused);
        unused.retain_mut(|one| {
            one.tries += 1;
            if !self.dice.chance(25) {
                return one.tries < 12;
            }
            let digest = one.certificate.blob.digest();
            self.owners.entry(digest).or_insert(one.uploader);
            let payload = one.certificate.clone();
            let register = RegisterSealed { payload, commitment: Digest::ZERO };
            self.send(one.uploader, Action::Sealed(SealedAction::Register(Box::new(register))));
            false
        });
        self.unused = unused;
    }

    fn hold(&mut self, digest: BlobDigest) {
        let subject = HoldSubject::Payload(digest);
        self.held.insert(digest);
        self.tally.held += 1;
        self.decide(AdminAction::Hold { subject, reason: "a court asks".into() });
    }

    fn accuse_falsely(&mut self, digest: BlobDigest) {
        let liar = self.sites.iter().find(|site| site.lies).map(|site| site.index);
        liar.into_iter().for_each(|liar| self.send(liar, Action::Condemn(digest)));
    }

    /// Stake moves between the weakest seats and the observer, so that seats change hands.
    fn delegate(&mut self) {
        if !self.dice.chance(70) {
            return;
        }
        let last = self.sites.len() - 1;
        let site = if self.dice.chance(30) { last } else { self.dice.index(last) };
        let validator = self.sites[site].key;
        let (delegator, amount) = (self.dice.pick(&DELEGATORS), Stake(self.dice.between(50, 700)));
        let action = match self.dice.chance(60) {
            true => StakeAction::Delegate { validator, amount },
            false => StakeAction::Undelegate { validator, amount },
        };
        self.send(delegator, Action::Stake(action));
    }

    pub(super) fn send(&mut self, sender: usize, action: Action) {
        self.pool.push(Wish::By(sender, action));
    }

    fn decide(&mut self, action: AdminAction) {
        self.pool.push(Wish::Decided(action));
    }

    pub(super) fn txs(&mut self) -> Vec<SignedTx> {
        let (now, mut txs) = (self.now(), Vec::new());
        for wish in std::mem::take(&mut self.pool) {
            match wish {
                Wish::By(sender, action) => txs.push(self.chain.tx(sender, action, now)),
                Wish::Decided(action) => txs.extend(self.chain.decision(action, now)),
            }
        }
        txs
    }
}
