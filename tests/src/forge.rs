//! Chains made directly by the ledger, in the past and as long as wanted: blocks at given
//! times, committed and certified with the committee's own keys. A validator that is given
//! such a folder goes on from it.

use std::path::{Path, PathBuf};
use twinfold_consensus::Record;
use twinfold_ledger::{Executed, Ledger, Reader};
use twinfold_node::journal::Journal;
use twinfold_types::{
    Action, Block, Committee, Digest, Epoch, Header, SecretKey, SignedTx, TimeMs, View,
    block::body_digest,
    genesis::Genesis,
    key::{Signer, Statement},
    limits,
    tx::TxBody,
    vote::{Certificate, CheckpointCertificate, VoteBody, VoteKind},
};

pub struct Forge {
    pub ledger: Ledger,
    pub reader: Reader,
    dir: PathBuf,
    chain: Digest,
    committee: Committee,
    /// Of the committee, by seat.
    keys: Vec<SecretKey>,
    nonce: u64,
}

impl Forge {
    /// An empty chain in a folder of its own; `keys` are the consensus keys by seat.
    pub fn new(dir: &Path, genesis: &Genesis, keys: Vec<SecretKey>) -> Self {
        let ledger = Ledger::open(dir, None, genesis).expect("an empty folder");
        let (reader, chain, committee) = (ledger.reader(), genesis.digest(), genesis.committee());
        Self { ledger, reader, dir: dir.into(), chain, committee, keys, nonce: 0 }
    }

    pub fn now(&self) -> TimeMs {
        self.reader.head().time
    }

    /// Valid around the head's time.
    pub fn tx(&mut self, sender: &SecretKey, action: Action) -> SignedTx {
        self.nonce += 1;
        let body = TxBody {
            chain: self.chain,
            sender: sender.public_key(),
            nonce: self.nonce,
            valid_from: self.now(),
            valid_until: self.now().plus(60_000),
            action,
        };
        body.sign(sender)
    }

    /// The next block, so much later than the last.
    pub fn block(&mut self, later_ms: u64, txs: Vec<SignedTx>) -> Executed {
        let head = self.reader.head();
        let header = Header {
            chain: self.chain,
            protocol: limits::PROTOCOL_VERSION,
            epoch: Epoch(0),
            height: head.height.next(),
            parent: head.digest,
            time: head.time.plus(later_ms),
            body: body_digest(&txs),
        };
        let block = Block { header, txs };
        let body = VoteBody {
            kind: VoteKind::Commit,
            epoch: Epoch(0),
            view: View(0),
            height: block.header.height,
            digest: block.digest(),
        };
        let signatures = self.signed(&body.statement(&self.chain, &self.committee.digest()));
        let certificate = Certificate { body, signatures };
        self.ledger.commit(&block, &certificate).expect("a block that follows")
    }

    /// Makes the newest height's checkpoint stable.
    pub fn certify(&mut self) -> CheckpointCertificate {
        let height = self.reader.head().height;
        let checkpoint = self.reader.checkpoint(height).expect("a read").expect("of the head");
        let statement = checkpoint.statement(&self.chain, &self.committee.digest());
        let certificate = CheckpointCertificate { checkpoint, signatures: self.signed(&statement) };
        self.ledger.set_stable(&certificate).expect("its own checkpoint");
        certificate
    }

    fn signed(
        &self,
        statement: &Statement,
    ) -> Vec<(twinfold_types::SeatIndex, twinfold_types::Signature)> {
        let seats = self.committee.seat_indices().zip(&self.keys);
        seats.take(self.committee.quorum()).map(|(seat, key)| (seat, key.sign(statement))).collect()
    }

    /// Ends here; each of these data folders gets the chain, and a journal that begins at it.
    pub fn give_to(self, data: &[PathBuf]) {
        let Self { ledger, reader, dir, chain, .. } = self;
        drop((ledger, reader));
        for data in data {
            let target = data.join("ledger");
            std::fs::create_dir_all(&target).expect("a folder");
            for entry in std::fs::read_dir(&dir).expect("a listing") {
                let entry = entry.expect("a listing");
                std::fs::copy(entry.path(), target.join(entry.file_name())).expect("a copy");
            }
            Journal::open::<Record>(&data.join("journal"), chain, true).expect("a new journal");
        }
    }
}
