//! Committees and who handed over to whom, the transactions that cannot be repeated, listings.

use super::{Check, chain::Digests, height_of};
use crate::{
    open, proof, recovery, stakes,
    store::{self, Column},
    term,
};
use std::collections::BTreeSet;
use twinfold_types::{
    Committee, Epoch, Height,
    handover::EpochEnd,
    key::StrictEd25519,
    model::ModelRecord,
    recovery::Recovery,
    state_key::{self, Prefix},
    vote::CheckpointCertificate,
};

const META: [&[u8]; 5] = [
    store::META_FORMAT,
    store::META_GENESIS,
    store::META_HEAD,
    store::META_STABLE,
    store::META_FIRST,
];

impl Check<'_, '_> {
    /// The rows that everything else is found by.
    pub(super) fn meta(&mut self) {
        let count = self.rows(Column::Meta, |check, key, value| {
            let fits = match key {
                store::META_FORMAT => value == store::LAYOUT_VERSION.to_be_bytes(),
                store::META_GENESIS => value == check.chain.0,
                _ => META.contains(&key),
            };
            if !fits {
                let name = String::from_utf8_lossy(key).into_owned();
                check.report.find(format!("meta {name}"), None, "it is not this chain's".into());
            }
        });
        self.report.area("heads", count);
        for key in [store::META_FORMAT, store::META_GENESIS] {
            let there = self.view().get(Column::Meta, key);
            if self.read(Column::Meta, there) == Some(None) {
                let name = String::from_utf8_lossy(key).into_owned();
                self.report.find(format!("meta {name}"), None, "is missing".into());
            }
        }
        let read = open::load(self.look);
        let Some(published) = self.read(Column::Meta, read) else { return };
        let Some(stable) = published.stable else { return };
        let height = stable.checkpoint.height;
        if let Err(what) = self.check_stable(&stable) {
            self.report.find("meta stable", Some(height), what);
        }
    }

    /// Height of the newest stable checkpoint.
    pub(super) fn stable(&self) -> Height {
        let published = open::load(self.look).ok();
        let stable = published.and_then(|published| published.stable);
        stable.map_or(Height(0), |stable| stable.checkpoint.height)
    }

    fn check_stable(&self, stable: &CheckpointCertificate) -> Result<(), String> {
        let Some(own) = crate::ledger::checkpoint(self.view(), stable.checkpoint.height)
            .map_err(|error| error.to_string())?
        else {
            return Err("this node has no checkpoint of that height".into());
        };
        if own != stable.checkpoint {
            return Err("this node's checkpoint of that height is another".into());
        }
        self.check_end(stable)
    }

    fn check_end(&self, end: &CheckpointCertificate) -> Result<(), String> {
        let committee = stakes::expect_committee(self.look, end.checkpoint.epoch)
            .map_err(|error| error.to_string())?;
        end.verify(&self.chain, &committee, &StrictEd25519).map_err(|error| error.to_string())
    }

    /// Each committee is named by what ended the epoch before; the first by genesis, the running
    /// one by the state.
    pub(super) fn committees(&mut self) {
        let count = self.rows(Column::Committees, |check, key, value| {
            let Some(committee) = check.decode::<Committee>(Column::Committees, key, value) else {
                return;
            };
            if let Err(what) = check.check_committee(&committee, key) {
                check.find(Column::Committees, key, Some(committee.anchor), what);
            }
        });
        let running = term::running(self.look);
        if let Some(running) = self.read(Column::State, running) {
            let stored = stakes::committee(self.look, running.epoch);
            if self.read(Column::Committees, stored) != Some(Some(running)) {
                self.report.find("committees", None, "the running one is another".into());
            }
        }
        let ends = self.rows(Column::EpochEnds, |check, key, value| {
            let Some(end) = check.decode::<CheckpointCertificate>(Column::EpochEnds, key, value)
            else {
                return;
            };
            let height = end.checkpoint.height;
            let of_key = height_of(key).map(|height| height.0) == Some(end.checkpoint.epoch.0);
            let result = if of_key { check.check_end(&end) } else { Err("another epoch's".into()) };
            if let Err(what) = result {
                check.find(Column::EpochEnds, key, Some(height), what);
            }
        });
        let recoveries = self.rows(Column::Recoveries, |check, key, value| {
            let Some(recovery) = check.decode::<Recovery>(Column::Recoveries, key, value) else {
                return;
            };
            let kept = recovery.statement.kept.height;
            let verified = recovery.verify(&check.chain, &StrictEd25519);
            let fits = height_of(key) == Some(kept);
            if let Err(error) = verified {
                check.find(Column::Recoveries, key, Some(kept), error.to_string());
            } else if !fits {
                check.find(Column::Recoveries, key, Some(kept), "it keeps another height");
            }
        });
        self.report.area("committees and ends of epochs", count + ends + recoveries);
    }

    fn check_committee(&self, committee: &Committee, key: &[u8]) -> Result<(), String> {
        if height_of(key).map(|height| Epoch(height.0)) != Some(committee.epoch) {
            return Err(format!("it is of epoch {}", committee.epoch));
        }
        let Some(before) = committee.epoch.0.checked_sub(1).map(Epoch) else {
            return match *committee == self.genesis.committee() {
                true => Ok(()),
                false => Err("it is not the one of genesis".into()),
            };
        };
        let text = |error: crate::LedgerError| error.to_string();
        let recovered = recovery::committee_of(self.look, committee.epoch).map_err(text)?;
        if let Some(recovered) = recovered {
            let fits = recovered == *committee;
            return if fits { Ok(()) } else { Err("the recovery names another".into()) };
        }
        // The newest end may not be certified here yet: the state of the head has its committee.
        let named = match recovery::end_of(self.look, before).map_err(text)? {
            Some(EpochEnd::Checkpoint(end)) => end.checkpoint.next_committee,
            Some(EpochEnd::Recovery(_)) => return Ok(()),
            None => {
                let running = term::running(self.look).map_err(text)?;
                let open = running.epoch == committee.epoch && committee.anchor > self.stable();
                Some(running.digest()).filter(|_| open)
            }
        };
        match named == Some(committee.digest()) {
            true => Ok(()),
            false => Err("what ended the epoch before names another".into()),
        }
    }

    /// What was applied and is still valid cannot be repeated.
    pub(super) fn replay(&mut self, digests: &Digests) {
        let now = self.head.time;
        let mut expected = BTreeSet::new();
        for height in digests.keys().rev() {
            let read = proof::block(self.view(), *height);
            let Some(Some(block)) = self.read(Column::Blocks, read) else { break };
            let window = block.header.time.plus(twinfold_types::limits::TX_VALIDITY_MS_MAX);
            if window < now {
                break;
            }
            let open = block.txs.iter().filter(|tx| tx.body.valid_until >= now);
            expected.extend(open.map(|tx| store::replay_key(tx.body.valid_until, &tx.id())));
        }
        let count = self.rows(Column::Replay, |check, key, value| {
            let until = key.first_chunk::<8>().map(|until| u64::from_be_bytes(*until));
            // What is over may wait for its turn to be forgotten.
            let over = until.is_some_and(|until| until < now.0);
            let known = expected.remove(key) || (over && key.len() == 40);
            if !known || !value.is_empty() {
                check.find(Column::Replay, key, None, "no block of the window carries it");
            }
        });
        for key in expected {
            self.find(
                Column::Replay,
                &key,
                None,
                "a block of the window carries it: it is missing",
            );
        }
        self.report.area("transactions that cannot be repeated", count);
    }

    /// The listings of models, from the state's records.
    pub(super) fn models(&mut self) {
        let read = self.look.all::<ModelRecord>(&Prefix::Model.scan());
        let Some(records) = self.read(Column::State, read) else { return };
        let (mut listed, mut by_digest) = (BTreeSet::new(), BTreeSet::new());
        for record in &records {
            let id = record.id();
            listed.insert(store::model_index_key(&id, record));
            by_digest.insert(store::model_digest_key(&record.digest, record.height, &id));
            let key = state_key::model(&id);
            let read = self.look.state::<ModelRecord>(&key);
            if self.read(Column::State, read).flatten().as_ref() != Some(record) {
                self.find(Column::State, key.bytes(), Some(record.height), "another model's");
            }
        }
        for (column, expected) in [(Column::Models, listed), (Column::ModelDigests, by_digest)] {
            let mut missing = expected;
            self.rows(column, |check, key, value| {
                if !missing.remove(key) || !value.is_empty() {
                    check.find(column, key, None, "the state has no such model");
                }
            });
            for key in missing {
                self.find(column, &key, None, "a model of the state is not listed");
            }
        }
        self.report.area("models", records.len() as u64);
    }

    pub(super) fn joining(&mut self) {
        let left = self.rows(Column::Joining, |_, _, _| {});
        if left > 0 {
            self.report.find("joining", None, format!("{left} parts of a state in the making"));
        }
    }
}
