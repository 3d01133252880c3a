//! A node's disk: what was synced survives a crash; of the rest nothing, a part or all does.

use crate::{dice::Dice, ledger::Ledger};
use std::collections::BTreeSet;
use twinfold_consensus_planted::{Head, Record, Recovered};
use twinfold_node::journal;
use twinfold_types::{
    Block, Digest, Epoch, Height, Receipt, SignedTx, TimeMs, TxId,
    message::CommittedBlocks,
    vote::{Certificate, Checkpoint, CheckpointCertificate},
};

/// Blocks in one answer to a node that catches up.
const SYNC_BLOCKS: usize = 5;
/// Blocks in which a liar looks for transactions to order once more.
const REPEATED_BLOCKS: usize = 300;
/// Records after which the log is rewritten with those that still matter.
const LOG_RECORDS_MAX: usize = 120;

pub struct Disk {
    pub log: Vec<Record>,
    pub stable: Option<CheckpointCertificate>,
    /// Executed blocks from height 1 on.
    blocks: Vec<(Block, Certificate, Checkpoint)>,
    executed_txs: BTreeSet<TxId>,
    genesis: Head,
    head: Head,
    ledger: Ledger,
}

impl Disk {
    pub fn new(chain: Digest, time: TimeMs, ledger: Ledger) -> Self {
        let genesis = Head { height: Height(0), digest: chain, time };
        let (log, blocks, executed_txs) = (Vec::new(), Vec::new(), BTreeSet::new());
        Self { log, stable: None, blocks, executed_txs, genesis, head: genesis, ledger }
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
            *self = Self::new(self.genesis.digest, self.genesis.time, self.ledger.anew());
        }
    }

    pub fn head(&self) -> Head {
        self.head
    }

    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.blocks.last().map(|(.., checkpoint)| checkpoint)
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
    ) -> (Checkpoint, Vec<Receipt>) {
        assert_eq!(block.header.height, self.head.height.next(), "executed out of order");
        let executed = self.ledger.execute(&block, arrived);
        let executed = executed.expect("a state in memory is never damaged");
        let (digest, time) = (block.digest(), block.header.time);
        let checkpoint = Checkpoint {
            epoch: Epoch(0),
            height: block.header.height,
            block: digest,
            state_root: executed.root,
            audit_size: block.header.height.0,
            audit_root: executed.receipts_digest,
            next_committee: None,
        };
        self.head = Head { height: checkpoint.height, digest, time };
        self.executed_txs.extend(block.txs.iter().map(|tx| tx.id()));
        self.blocks.push((block, certificate, checkpoint.clone()));
        (checkpoint, executed.receipts)
    }

    /// Executed transactions that are valid after a time still, the next to lapse first.
    pub fn valid_after(&self, time: TimeMs) -> Vec<SignedTx> {
        let recent = self.blocks.iter().rev().take(REPEATED_BLOCKS);
        let txs = recent.flat_map(|(block, ..)| &block.txs);
        let mut txs: Vec<_> = txs.filter(|tx| tx.body.valid_until > time).cloned().collect();
        txs.sort_by_key(|tx| tx.body.valid_until);
        txs
    }

    pub fn block(&self, height: Height, digest: &Digest) -> Option<Block> {
        let index = usize::try_from(height.0.checked_sub(1)?).ok()?;
        let (block, _, checkpoint) = self.blocks.get(index)?;
        (checkpoint.block == *digest).then(|| block.clone())
    }

    /// Blocks from a height on, ending at one that has a certificate of its own.
    pub fn committed(&self, from: Height) -> Option<CommittedBlocks> {
        let start = usize::try_from(from.0.checked_sub(1)?).ok()?;
        let rest = self.blocks.get(start..)?;
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
