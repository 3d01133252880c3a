//! A node's disk: what was synced survives a crash; of the rest nothing, a part or all does.

mod recovery;

use crate::{
    dice::Dice,
    ledger::{Executed, Ledger},
};
use std::collections::{BTreeMap, BTreeSet};
use twinfold_consensus_planted::{Head, Record, Recovered};
use twinfold_node::journal;
use twinfold_types::{
    Block, Code, Committee, Digest, Epoch, Height, Receipt, SignedTx, TimeMs, TxId,
    message::CommittedBlocks,
    vote::{Certificate, Checkpoint, CheckpointCertificate},
};

/// Blocks in one answer to a node that catches up.
const SYNC_BLOCKS: usize = 5;
/// Blocks in which a liar looks for transactions to order once more.
const REPEATED_BLOCKS: usize = 300;
/// Records after which the log is rewritten with those that still matter.
const LOG_RECORDS_MAX: usize = 120;

/// What executing a block came to.
pub struct Execution {
    pub checkpoint: Checkpoint,
    pub receipts: Vec<Receipt>,
    pub elected: Option<Committee>,
    pub ends_at: Option<Height>,
}

pub struct Disk {
    pub log: Vec<Record>,
    pub stable: Option<CheckpointCertificate>,
    /// Executed, and kept: from height 1 on, or from the one after `base`.
    blocks: Vec<(Block, Certificate, Checkpoint)>,
    executed_txs: BTreeSet<TxId>,
    genesis: Head,
    /// Where the ledger begins that was joined from a checkpoint.
    base: Option<Checkpoint>,
    head: Head,
    pub ledger: Ledger,
    /// Those that began an epoch, or are elected for one.
    committees: BTreeMap<Epoch, Committee>,
    /// Height of the newest stable checkpoint that was ever here.
    pub stood: Height,
    /// Stable checkpoints that ended epochs.
    epoch_ends: BTreeMap<Epoch, CheckpointCertificate>,
}

impl Disk {
    pub fn new(chain: Digest, time: TimeMs, ledger: Ledger) -> Self {
        let genesis = Head { height: Height(0), digest: chain, time };
        let (log, blocks, executed_txs) = (Vec::new(), Vec::new(), BTreeSet::new());
        let running = ledger.running();
        let (committees, epoch_ends) = ([(running.epoch, running)].into(), BTreeMap::new());
        Self {
            log,
            stable: None,
            blocks,
            executed_txs,
            genesis,
            base: None,
            head: genesis,
            ledger,
            committees,
            stood: Height(0),
            epoch_ends,
        }
    }

    pub fn recover(&self) -> Recovered {
        Recovered {
            head: self.head(),
            certificate: self.blocks.last().map(|(_, certificate, _)| certificate.clone()),
            stable: self.stable.clone(),
            records: self.log.clone(),
        }
    }

    /// The process dies while a turn's batch is written, or the sync after it fails: the file
    /// ends anywhere in the batch, or is as long as it should be and holds zeros. What the
    /// node's own reader makes of such a file is what the disk holds from now on. Tells
    /// whether the batch is in it.
    pub fn tear(&mut self, batch: &[Record], dice: &mut Dice) -> Result<bool, String> {
        let chain = self.genesis.digest;
        let image = |batches: &[&[Record]]| {
            journal::image(&chain, &[7; 16], batches).map_err(|error| error.to_string())
        };
        let (synced, whole) = (image(&[&self.log])?.len(), image(&[&self.log, batch])?);
        let cut = synced + dice.index(whole.len() - synced + 1);
        let mut torn = whole[..cut].to_vec();
        if dice.chance(50) {
            torn.resize(whole.len(), 0);
        }
        let read: Vec<Record> =
            journal::read_image(&torn, &chain).map_err(|error| error.to_string())?;
        let survives = torn == whole;
        let expected = self.log.len() + if survives { batch.len() } else { 0 };
        if read.len() != expected {
            return Err(format!("{} records of {expected} are read back", read.len()));
        }
        self.log = read;
        Ok(survives)
    }

    pub fn wants_compaction(&self) -> bool {
        self.log.len() > LOG_RECORDS_MAX
    }

    /// A disk that forgets: the log, and at times the chain.
    pub fn forget(&mut self, chain_too: bool) {
        self.log.clear();
        if chain_too {
            let (digest, time) = (self.genesis.digest, self.genesis.time);
            *self = Self::new(digest, time, self.ledger.anew());
        }
    }

    /// The ledger is damaged and put aside; the log is not.
    pub fn lose_ledger(&mut self) {
        let (log, stood) = (std::mem::take(&mut self.log), self.stood);
        let recoveries = self.ledger.recoveries.clone();
        self.forget(true);
        (self.log, self.stood, self.ledger.recoveries) = (log, stood, recoveries);
    }

    pub fn head(&self) -> Head {
        self.head
    }

    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.blocks.last().map(|(.., checkpoint)| checkpoint).or(self.base.as_ref())
    }

    /// Height below the first block that is kept.
    pub fn base(&self) -> Height {
        self.base.as_ref().map_or(Height(0), |base| base.height)
    }

    /// What another node joins from: a stable checkpoint and the blocks up to it. None while
    /// there is no such checkpoint, nor by one that has joined itself.
    pub fn anchor(&self) -> Option<(&CheckpointCertificate, Vec<(Block, Certificate)>)> {
        let stable = self.stable.as_ref().filter(|_| self.base.is_none())?;
        let height = stable.checkpoint.height;
        let blocks = self.blocks.get(..height.0 as usize)?.iter();
        let blocks = blocks.map(|(block, certificate, _)| (block.clone(), certificate.clone()));
        Some((stable, blocks.collect()))
    }

    /// This ledger has executed up to a checkpoint that another node has as stable, and is from
    /// here on one that joined there: it has the state, the transactions that cannot be repeated,
    /// the committees and their epochs' ends, and no block.
    pub fn joined(&mut self, stable: &CheckpointCertificate, other: &Disk) -> Result<(), String> {
        if self.checkpoint() != Some(&stable.checkpoint) {
            return Err(format!("determinism: {:?}, not {stable:?}", self.checkpoint()));
        }
        let ends = other.epoch_ends.iter();
        let ends = ends.filter(|(_, end)| end.checkpoint.height <= stable.checkpoint.height);
        self.epoch_ends = ends.map(|(epoch, end)| (*epoch, end.clone())).collect();
        self.base = Some(stable.checkpoint.clone());
        (self.stable, self.stood) = (Some(stable.clone()), stable.checkpoint.height);
        let blocks = std::mem::take(&mut self.blocks);
        self.ledger.replay_of(blocks.iter().map(|(block, ..)| block), self.head.time);
        Ok(())
    }

    pub fn has_executed(&self, tx: &TxId) -> bool {
        self.executed_txs.contains(tx)
    }

    pub fn digests(&self) -> impl Iterator<Item = (Height, Digest)> + '_ {
        self.blocks.iter().map(|(.., checkpoint)| (checkpoint.height, checkpoint.block))
    }

    /// Executes and syncs one block.
    pub fn execute(
        &mut self,
        block: Block,
        certificate: Certificate,
        arrived: &dyn Fn(&TxId) -> u64,
    ) -> Execution {
        assert_eq!(block.header.height, self.head.height.next(), "executed out of order");
        let parent = self.newest_checkpoint();
        let recovered = self.recovered().cloned();
        self.committees.extend(recovered.map(|committee| (committee.epoch, committee)));
        let executed = self.ledger.execute(&block, &parent, arrived);
        let Executed { root, receipts_digest, receipts, elected, ends_at } =
            executed.expect("a state in memory is never damaged");
        let (digest, time) = (block.digest(), block.header.time);
        let checkpoint = Checkpoint {
            epoch: block.header.epoch,
            height: block.header.height,
            block: digest,
            state_root: root,
            audit_size: block.header.height.0,
            audit_root: receipts_digest,
            next_committee: elected.as_ref().map(Committee::digest),
        };
        self.head = Head { height: checkpoint.height, digest, time };
        self.executed_txs.extend(block.txs.iter().map(|tx| tx.id()));
        self.blocks.push((block, certificate, checkpoint.clone()));
        self.committees.extend(elected.clone().map(|committee| (committee.epoch, committee)));
        Execution { checkpoint, receipts, elected, ends_at }
    }

    /// The committee of the epoch that the next block belongs to.
    pub fn running(&self) -> &Committee {
        let recovered = self.recovered();
        let elected = || self.committees.values().next_back().expect("genesis has a committee");
        recovered.unwrap_or_else(elected)
    }

    /// The committee that may vote: of the epoch before while its end is not stable.
    pub fn voting_committee(&self) -> &Committee {
        let running = self.running();
        let mut recoveries = self.ledger.recoveries.values();
        let recovered = recoveries.any(|statement| statement.committee.epoch == running.epoch);
        match running.epoch.0.checked_sub(1).map(Epoch) {
            Some(before) if !recovered && !self.epoch_ends.contains_key(&before) => {
                &self.committees[&before]
            }
            _ => running,
        }
    }

    pub fn evidence_ms(&self) -> u64 {
        self.ledger.stake_params().evidence_ms
    }

    /// Where the admins end the epoch, as the state of the head has it.
    pub fn ends_at(&self) -> Option<Height> {
        self.ledger.ends_at()
    }

    pub fn epoch_end(&self, epoch: Epoch) -> Option<&CheckpointCertificate> {
        self.epoch_ends.get(&epoch)
    }

    pub fn set_stable(&mut self, certificate: CheckpointCertificate) {
        if certificate.checkpoint.next_committee.is_some() {
            self.epoch_ends.insert(certificate.checkpoint.epoch, certificate.clone());
        }
        self.stood = self.stood.max(certificate.checkpoint.height);
        self.stable = Some(certificate);
    }

    /// Whether the newest state would take a transaction.
    pub fn admit(&self, tx: &SignedTx, now: TimeMs) -> Code {
        self.ledger.admit(tx, &self.newest_checkpoint(), now.max(self.head.time))
    }

    fn newest_checkpoint(&self) -> Checkpoint {
        self.checkpoint().cloned().unwrap_or(Checkpoint {
            epoch: Epoch(0),
            height: Height(0),
            block: self.genesis.digest,
            state_root: Digest::ZERO,
            audit_size: 0,
            audit_root: Digest::ZERO,
            next_committee: None,
        })
    }

    /// Executed transactions that are valid after a time still, the next to lapse first.
    pub fn valid_after(&self, time: TimeMs) -> Vec<SignedTx> {
        let recent = self.blocks.iter().rev().take(REPEATED_BLOCKS);
        let txs = recent.flat_map(|(block, ..)| &block.txs);
        let mut txs: Vec<_> = txs.filter(|tx| tx.body.valid_until > time).cloned().collect();
        txs.sort_by_key(|tx| tx.body.valid_until);
        txs
    }

    /// Whether a block is executed here: it is kept, or the checkpoint's that this node joined at,
    /// which a quorum executed.
    pub fn has(&self, height: Height, digest: &Digest) -> bool {
        let is_base = |base: &Checkpoint| (base.height, base.block) == (height, *digest);
        self.base.as_ref().is_some_and(is_base) || self.block(height, digest).is_some()
    }

    fn place(&self, height: Height) -> Option<usize> {
        height.0.checked_sub(self.base().0 + 1)?.try_into().ok()
    }

    pub fn block(&self, height: Height, digest: &Digest) -> Option<Block> {
        let (block, _, checkpoint) = self.blocks.get(self.place(height)?)?;
        (checkpoint.block == *digest).then(|| block.clone())
    }

    /// Blocks from a height on, ending at one that has a certificate of its own.
    pub fn committed(&self, from: Height) -> Option<CommittedBlocks> {
        let rest = self.blocks.get(self.place(from)?..)?;
        // No certificate speaks of two epochs.
        let epoch = rest.first()?.0.header.epoch;
        let other = rest.iter().position(|(block, ..)| block.header.epoch != epoch);
        let rest = &rest[..other.unwrap_or(rest.len())];
        let own = |(block, certificate, _): &(Block, Certificate, Checkpoint)| {
            block.header.height == certificate.body.height
        };
        // The last that fits into an answer, or else the first beyond.
        let fits = (0..rest.len().min(SYNC_BLOCKS)).rev().find(|i| own(&rest[*i]));
        let last = fits.or_else(|| (0..rest.len()).find(|i| own(&rest[*i])))?;
        let blocks = rest[..=last].iter().map(|(block, ..)| block.clone()).collect();
        Some(CommittedBlocks { blocks, certificate: rest[last].1.clone() })
    }
}
