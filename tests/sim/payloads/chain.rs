//! One order of blocks, and the state after each.

use crate::{
    consortium::{ADMINS, Consortium},
    ledger::Ledger,
    plan::Plan,
    world::START_MS,
};
use std::sync::Arc;
use twinfold_types::{
    Action, Block, Code, Digest, Epoch, Header, Height, Receipt, SignedTx, TimeMs, TxId,
    member::AdminAction, vote::Checkpoint,
};

/// A transaction is valid from some minutes before a block to some after.
const VALID_MS: u64 = 60_000;

pub struct Chain {
    pub consortium: Arc<Consortium>,
    /// After genesis and each block.
    pub views: Vec<Arc<Ledger>>,
    /// What each block's transactions came to.
    pub blocks: Vec<Vec<(SignedTx, Code)>>,
    newest: Checkpoint,
    nonce: usize,
}

impl Chain {
    /// Seats and the observer of the plan, without transactions of its own.
    pub fn new(plan: &Plan) -> Self {
        let (consortium, _) = Consortium::new(plan);
        let genesis = Arc::new(Ledger::new(consortium.clone(), None));
        let newest = Checkpoint {
            epoch: Epoch(0),
            height: Height(0),
            block: consortium.chain,
            state_root: Digest::ZERO,
            audit_size: 0,
            audit_root: Digest::ZERO,
            next_committee: None,
        };
        Self { consortium, views: vec![genesis], blocks: Vec::new(), newest, nonce: 0 }
    }

    pub fn newest(&self) -> &Ledger {
        self.views.last().expect("genesis at least")
    }

    pub fn height(&self) -> u64 {
        self.newest.height.0
    }

    pub fn tx(&mut self, sender: usize, action: Action, now: u64) -> SignedTx {
        self.nonce += 1;
        self.consortium.tx(self.nonce, sender, action, TimeMs(now + VALID_MS))
    }

    /// A proposal of one admin that another signs.
    pub fn decision(&mut self, action: AdminAction, now: u64) -> [SignedTx; 2] {
        let proposal = self.tx(ADMINS[0], Action::Propose(action), now);
        let signed = self.tx(ADMINS[1], Action::SignProposal(proposal.id()), now);
        [proposal, signed]
    }

    /// The next block; its receipts.
    pub fn order(&mut self, now: u64, txs: Vec<SignedTx>) -> Vec<Receipt> {
        let mut next = self.newest().clone();
        let running = next.running();
        let header = Header {
            chain: self.consortium.chain,
            protocol: running.protocol,
            epoch: running.epoch,
            height: self.newest.height.next(),
            parent: self.newest.block,
            time: TimeMs(now.max(START_MS + 1)),
            body: Digest::ZERO,
        };
        let block = Block { header, txs };
        let executed = next.execute(&block, &self.newest, &|_| 0).expect("a state in memory");
        self.newest = Checkpoint {
            epoch: running.epoch,
            height: block.header.height,
            block: block.digest(),
            state_root: executed.root,
            audit_size: block.header.height.0,
            audit_root: executed.receipts_digest,
            next_committee: executed.elected.map(|committee| committee.digest()),
        };
        let code = |id: &TxId| {
            let receipt = executed.receipts.iter().find(|receipt| receipt.tx == Some(*id));
            receipt.expect("every transaction has one").code
        };
        self.blocks.push(block.txs.iter().map(|tx| (tx.clone(), code(&tx.id()))).collect());
        self.views.push(Arc::new(next));
        executed.receipts
    }
}
