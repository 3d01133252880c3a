//! Blocks, what certifies them, and what is found by them.

use super::{Check, height_of};
use crate::{
    genesis,
    look::Look,
    stakes,
    store::{self, Column},
};
use std::collections::BTreeMap;
use twinfold_types::{
    Block, Committee, Digest, Epoch, Height,
    block::body_digest,
    key::StrictEd25519,
    merkle,
    proof::key_hash,
    subtree::Subtree,
    vote::{Certificate, Checkpoint},
};

/// The blocks that are here, by height: their digests, and the epochs they are of.
pub type Digests = BTreeMap<Height, (Digest, Epoch)>;

impl Check<'_, '_> {
    /// Each stands on the one before, and the last is the head.
    pub(super) fn blocks(&mut self) -> Digests {
        let mut digests = Digests::new();
        let count = self.rows(Column::Blocks, |check, key, value| {
            let Some(block) = check.decode::<Block>(Column::Blocks, key, value) else { return };
            let height = block.header.height;
            if let Err(what) = check.check_block(&block, key, &digests) {
                check.find(Column::Blocks, key, Some(height), what);
            }
            digests.insert(height, (block.digest(), block.header.epoch));
        });
        self.report.area("blocks", count);
        let (head, first) = (self.head, self.first());
        for height in (first.0..=head.height.0).map(Height) {
            if !digests.contains_key(&height) {
                self.find(Column::Blocks, &store::height_key(height), Some(height), "is missing");
            }
        }
        let at_head = digests.get(&head.height).map(|(digest, _)| *digest);
        if head.height > Height(0) && at_head != Some(head.digest) {
            let what = format!("the head is {}, the block {at_head:?}", head.digest);
            self.report.find("meta head", Some(head.height), what);
        }
        digests
    }

    fn check_block(&self, block: &Block, key: &[u8], digests: &Digests) -> Result<(), String> {
        let header = &block.header;
        if height_of(key) != Some(header.height) {
            return Err(format!("it is the block of height {}", header.height));
        }
        if header.height > self.head.height {
            return Err(format!("it is above the head, {}", self.head.height));
        }
        if header.chain != self.chain {
            return Err(format!("it is of chain {}", header.chain));
        }
        if header.body != body_digest(&block.txs) {
            return Err("its transactions are not those of its header".into());
        }
        let parent = match header.height.0 {
            1 => Some(self.chain),
            height => digests.get(&Height(height - 1)).map(|(digest, _)| *digest),
        };
        let begins = digests.is_empty();
        match parent {
            Some(parent) if parent == header.parent => Ok(()),
            None if begins => Ok(()),
            _ => Err(format!("its parent is {}, the block below is {parent:?}", header.parent)),
        }
    }

    pub(super) fn certificates(&mut self, digests: &Digests) {
        let mut committees = BTreeMap::new();
        let mut last = Height(self.first().0.saturating_sub(1));
        let count = self.rows(Column::Certificates, |check, key, value| {
            let Some(certificate) = check.decode(Column::Certificates, key, value) else { return };
            let Some(height) = height_of(key) else {
                return check.find(Column::Certificates, key, None, "it is of no height");
            };
            let look = check.look;
            let committee = committees
                .entry(certificate_epoch(&certificate))
                .or_insert_with_key(|epoch| stakes::committee(look, *epoch).ok().flatten());
            let result = check.check_certificate(height, &certificate, committee, digests);
            if let Err(what) = result {
                check.find(Column::Certificates, key, Some(height), what);
            }
            if height != last.next() {
                check.find(Column::Certificates, key, Some(height), "the one below is missing");
            }
            last = height;
        });
        if last != self.head.height && self.head.height >= self.first() {
            let what = format!("there are none above height {last}");
            self.report.find("certificates", Some(last), what);
        }
        self.report.area("certificates", count);
    }

    /// Of the block, or of a later one that decided it.
    fn check_certificate(
        &self,
        height: Height,
        certificate: &Certificate,
        committee: &Option<Committee>,
        digests: &Digests,
    ) -> Result<(), String> {
        let body = certificate.body;
        let certified = digests.get(&body.height).map(|(digest, _)| *digest);
        let fits = match certified {
            Some(digest) => digest == body.digest && body.height >= height,
            None => body.height > self.head.height,
        };
        if !fits {
            return Err(format!("it is of {} at height {}", body.digest, body.height));
        }
        let committee = committee.as_ref().ok_or("its epoch's committee is not known")?;
        let verified = certificate.verify(&self.chain, committee, &StrictEd25519);
        verified.map_err(|error| error.to_string())
    }

    /// What this node said of each height. Those below the first block that stay are certified.
    pub(super) fn checkpoints(&mut self, digests: &Digests) {
        let first = self.first();
        let mut found = 0;
        let count = self.rows(Column::Checkpoints, |check, key, value| {
            let Some(checkpoint) = check.decode::<Checkpoint>(Column::Checkpoints, key, value)
            else {
                return;
            };
            let height = checkpoint.height;
            found += u64::from(height >= first || (height.0 == 0 && first.0 == 1));
            if let Err(what) = check.check_checkpoint(&checkpoint, key, digests) {
                check.find(Column::Checkpoints, key, Some(height), what);
            }
        });
        let genesis = u64::from(first.0 == 1);
        let expected = (self.head.height.0 + 1).saturating_sub(first.0) + genesis;
        if found != expected {
            let what = format!("{found} from height {first} on, not {expected}");
            self.report.find("checkpoints", None, what);
        }
        self.report.area("checkpoints", count);
    }

    fn check_checkpoint(
        &self,
        checkpoint: &Checkpoint,
        key: &[u8],
        digests: &Digests,
    ) -> Result<(), String> {
        let Checkpoint { epoch, height, block, .. } = *checkpoint;
        if height_of(key) != Some(height) {
            return Err(format!("it is of height {height}"));
        }
        if height == Height(0) {
            return match *checkpoint == self.genesis_checkpoint() {
                true => Ok(()),
                false => Err("genesis comes to another".into()),
            };
        }
        if digests.get(&height).is_some_and(|known| *known != (block, epoch)) {
            return Err(format!("it is of block {block} in epoch {epoch}"));
        }
        let look: &Look<'_> = self.look;
        let next = stakes::committee(look, epoch.next()).map_err(|error| error.to_string())?;
        let next = next.filter(|next| next.anchor == height).map(|next| next.digest());
        if checkpoint.next_committee.is_some_and(|named| Some(named) != next) {
            return Err("the committee it names is not the one that follows".into());
        }
        let end = stakes::epoch_end(look, epoch).map_err(|error| error.to_string())?;
        let end = end.map(|(_, end)| end).filter(|end| end.checkpoint.height == height);
        if end.is_some_and(|end| end.checkpoint != *checkpoint) {
            return Err("the epoch's certified end is another".into());
        }
        match height == self.head.height {
            true if (checkpoint.state_root, checkpoint.audit_root, checkpoint.audit_size)
                != (self.head.state_root, self.head.audit_root, self.head.audit_size) =>
            {
                Err("the head has other roots".into())
            }
            _ => Ok(()),
        }
    }

    /// By arithmetic of its own: the tree of genesis' rows may be pruned.
    fn genesis_checkpoint(&self) -> Checkpoint {
        let writes = genesis::state(self.genesis).into_iter();
        let mut rows: Vec<_> =
            writes.filter_map(|(key, value)| Some((key_hash(&key).0, (key, value?)))).collect();
        rows.sort();
        let rows = rows.into_iter().map(|(_, row)| row).collect();
        Checkpoint {
            epoch: Epoch(0),
            height: Height(0),
            block: self.chain,
            state_root: Subtree::Rows(rows).hash(0),
            audit_size: 0,
            audit_root: merkle::empty_root(),
            next_committee: None,
        }
    }

    pub(super) fn block_index(&mut self, digests: &Digests) {
        let first = self.first();
        let mut indexed = 0;
        let count = self.rows(Column::BlockIndex, |check, key, value| {
            let height = height_of(value);
            let known = height.and_then(|height| digests.get(&height));
            indexed += u64::from(height.is_some_and(|height| height >= first));
            if known.is_none_or(|(digest, _)| digest.0 != *key) {
                check.find(Column::BlockIndex, key, height, "the block there is another");
            }
        });
        let expected = digests.range(first..).count() as u64;
        if indexed != expected {
            let what = format!("{indexed} blocks are found by digest, {expected} are here");
            self.report.find("block_index", None, what);
        }
        self.report.area("block index", count);
    }

    /// Lowest height whose block, certificate and receipts must be here.
    pub(super) fn first(&self) -> Height {
        let first = self.look.value(Column::Meta, store::META_FIRST, "first height");
        first.ok().flatten().unwrap_or(Height(1))
    }
}

fn certificate_epoch(certificate: &Certificate) -> Epoch {
    certificate.body.epoch
}
