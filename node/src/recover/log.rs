//! What a stopped node's journal says beyond its ledger: what is committed and not executed yet,
//! and what this validator has voted for.

use crate::journal::Journal;
use color_eyre::eyre::{bail, eyre};
use std::{collections::BTreeMap, path::Path};
use twinfold_consensus::Record;
use twinfold_ledger::{Ledger, Reader};
use twinfold_types::{
    Block, Digest, Epoch, Height,
    recovery::Recovery,
    vote::{Certificate, VoteKind},
};

/// What the journal says beyond the ledger.
pub struct Log {
    bodies: BTreeMap<Digest, Block>,
    /// The highest commit certificate.
    committed: Option<Certificate>,
    /// The highest own vote to commit in each epoch.
    voted: BTreeMap<Epoch, Height>,
}

impl Log {
    /// An observer that never ran has no journal.
    pub fn read(path: &Path, chain: Digest) -> color_eyre::Result<Self> {
        let mut log = Self { bodies: BTreeMap::new(), committed: None, voted: BTreeMap::new() };
        if !path.exists() {
            return Ok(log);
        }
        let (_, records) = Journal::open::<Record>(path, chain, false)?;
        for record in records {
            match record {
                Record::Block(block) => drop(log.bodies.insert(block.digest(), *block)),
                Record::Certificate(it) if it.body.kind == VoteKind::Commit => {
                    let higher = |old: &Certificate| old.body.height < it.body.height;
                    if log.committed.as_ref().is_none_or(higher) {
                        log.committed = Some(it);
                    }
                }
                Record::Vote(vote) if vote.body.kind == VoteKind::Commit => {
                    let highest = log.voted.entry(vote.body.epoch).or_default();
                    *highest = vote.body.height.max(*highest);
                }
                _ => {}
            }
        }
        Ok(log)
    }

    /// The highest commit certificate, here or in the ledger: one that decided several blocks at
    /// once stands beside the first of them that was executed.
    pub fn committed(&self, reader: &Reader) -> color_eyre::Result<Option<Certificate>> {
        let stored = reader.certificate(reader.head().height)?;
        let both = [self.committed.clone(), stored].into_iter().flatten();
        Ok(both.max_by_key(|certificate| certificate.body.height))
    }

    /// A process that died between its journal and its ledger knows of a committed block that is
    /// not executed. Bodies that are not here were never committed by this node.
    pub fn execute_committed(&self, ledger: &mut Ledger) -> color_eyre::Result<usize> {
        let head = ledger.reader().head();
        let above = |it: &Certificate| it.body.height > head.height;
        let Some(certificate) = self.committed(&ledger.reader())?.filter(above) else {
            return Ok(0);
        };
        let (mut path, mut digest) = (Vec::new(), certificate.body.digest);
        while digest != head.digest {
            let block = self.bodies.get(&digest).filter(|block| block.header.height > head.height);
            let height = certificate.body.height;
            path.push(block.ok_or_else(|| {
                eyre!(
                    "a commit certificate of height {height} is here, and not the blocks up to it: start this \
                     node together with the other survivors until it has caught up, stop it, and propose again"
                )
            })?);
            digest = path[path.len() - 1].header.parent;
        }
        for block in path.iter().rev() {
            ledger.commit(block, &certificate)?;
        }
        Ok(path.len())
    }

    /// The highest height above one that this validator voted to commit.
    pub fn voted_above(&self, head: Height) -> Option<Height> {
        self.voted.values().copied().filter(|height| *height > head).max()
    }

    /// Whether a statement keeps what is known here to be committed, and whether this validator
    /// helped no committee further that it has others give up.
    pub fn check_accepted(
        &self,
        reader: &Reader,
        recovery: &Recovery,
        replaces: &[Recovery],
    ) -> color_eyre::Result<()> {
        let kept = recovery.statement.kept.height;
        let committed = self.committed(reader)?.map(|it| it.body.height);
        if let Some(height) = committed.filter(|height| *height > kept) {
            bail!(
                "this node holds a commit certificate of height {height}, and the statement keeps only what is \
                 up to {kept}: what is committed must not be thrown away. Make the statement from this \
                 node's folder (`recover propose`)"
            );
        }
        for other in replaces {
            let epoch = other.statement.committee.epoch;
            if let Some(height) = self.voted.get(&epoch).filter(|height| **height > kept) {
                bail!(
                    "this validator voted to commit height {height} in epoch {epoch}, which the statement {} \
                     began and this one gives up: a quorum may have committed it. Let the committee of epoch \
                     {epoch} go on; if it has lost its quorum too, make a statement from the height that its \
                     survivors hold",
                    other.digest()
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfold_types::{
        Committee, Header, PublicKey, SeatIndex, SecretKey, Signature, Stake, TimeMs, View,
        block::body_digest,
        genesis::{ChainParams, FORMAT_VERSION, Genesis, GenesisValidator},
        key::Signer,
        limits::PROTOCOL_VERSION,
        member::{Member, Role},
        recovery::RecoveryStatement,
        stake::StakeParams,
        vote::{Checkpoint, Vote, VoteBody},
    };

    fn key(number: u8) -> PublicKey {
        SecretKey::from_seed(&[number; 32]).public_key()
    }

    fn genesis() -> Genesis {
        let validator = GenesisValidator {
            name: "site".into(),
            organisation: "site".into(),
            key: key(1),
            audit_key: key(2),
            peer: "peer".into(),
            address: String::new(),
            payload_address: String::new(),
            stake: Stake(1),
        };
        let admin = Member {
            key: key(3),
            name: "ann".into(),
            organisation: "site".into(),
            roles: [Role::Admin].into(),
            peer: None,
        };
        Genesis {
            format: FORMAT_VERSION,
            chain: "one seat".into(),
            time: TimeMs(1),
            params: ChainParams { threshold: 1, trainer_quota: 1, stake: StakeParams::default() },
            validators: vec![validator],
            members: vec![admin],
            balances: vec![],
            unsafe_size: true,
        }
    }

    /// Three blocks, one on the other.
    fn blocks() -> Vec<Block> {
        let (chain, mut parent) = (genesis().digest(), genesis().digest());
        let block = |height: u64| {
            let header = Header {
                chain,
                protocol: PROTOCOL_VERSION,
                epoch: Epoch(0),
                height: Height(height),
                parent,
                time: TimeMs(1 + height),
                body: body_digest(&[]),
            };
            parent = header.digest();
            Block { header, txs: vec![] }
        };
        (1..4).map(block).collect()
    }

    fn certificate(block: &Block, kind: VoteKind) -> Certificate {
        let Header { epoch, height, .. } = block.header;
        let body = VoteBody { kind, epoch, view: View(0), height, digest: block.digest() };
        Certificate { body, signatures: vec![] }
    }

    /// A ledger that stands at height 1, and what the journal beside it comes to.
    fn beside(records: &[Record]) -> (tempfile::TempDir, Ledger, color_eyre::Result<usize>) {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(&dir.path().join("ledger"), None, &genesis()).unwrap();
        let first = &blocks()[0];
        ledger.commit(first, &certificate(first, VoteKind::Commit)).unwrap();
        let (path, chain) = (dir.path().join("journal"), genesis().digest());
        let (mut journal, _) = Journal::open::<Record>(&path, chain, true).unwrap();
        journal.append(records).unwrap();
        let executed = Log::read(&path, chain).unwrap().execute_committed(&mut ledger);
        (dir, ledger, executed)
    }

    fn bodies() -> Vec<Record> {
        blocks().into_iter().map(|block| Record::Block(Box::new(block))).collect()
    }

    #[test]
    fn what_the_journal_shows_to_be_committed_is_executed_and_nothing_more() {
        let prepared = Record::Certificate(certificate(&blocks()[2], VoteKind::Prepare));
        let committed = Record::Certificate(certificate(&blocks()[1], VoteKind::Commit));
        let (_dir, ledger, executed) = beside(&[bodies(), vec![committed, prepared]].concat());
        assert_eq!(executed.unwrap(), 1);
        assert_eq!(ledger.reader().head().digest, blocks()[1].digest());
        let (_dir, ledger, executed) = beside(&bodies());
        assert_eq!((executed.unwrap(), ledger.reader().head().height), (0, Height(1)));
    }

    #[test]
    fn a_committed_block_that_is_not_here_is_fetched_before_a_statement_is_made() {
        let committed = Record::Certificate(certificate(&blocks()[2], VoteKind::Commit));
        let without = [bodies().swap_remove(2), committed];
        let (_dir, ledger, executed) = beside(&without);
        assert!(executed.unwrap_err().to_string().contains("height 3"));
        assert_eq!(ledger.reader().head().height, Height(1));
    }

    #[test]
    fn a_certificate_that_decided_several_blocks_is_found_beside_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(&dir.path().join("ledger"), None, &genesis()).unwrap();
        let [first, second, third] = &blocks()[..] else { panic!("three blocks") };
        ledger.commit(first, &certificate(third, VoteKind::Commit)).unwrap();
        let (path, chain) = (dir.path().join("journal"), genesis().digest());
        let (mut journal, _) = Journal::open::<Record>(&path, chain, true).unwrap();
        let log = Log::read(&path, chain).unwrap();
        let error = log.check_accepted(&ledger.reader(), &keeping(first, 1), &[]).unwrap_err();
        assert!(error.to_string().contains("commit certificate of height 3"), "{error}");
        assert!(log.execute_committed(&mut ledger).unwrap_err().to_string().contains("height 3"));
        let bodies = [second, third].map(|block| Record::Block(Box::new(block.clone())));
        journal.append(&bodies).unwrap();
        let log = Log::read(&path, chain).unwrap();
        assert_eq!(log.execute_committed(&mut ledger).unwrap(), 2);
        log.check_accepted(&ledger.reader(), &keeping(third, 1), &[]).unwrap();
    }

    /// A statement that keeps a block, as far as it is read here.
    fn keeping(block: &Block, epoch: u64) -> Recovery {
        let kept = Checkpoint {
            epoch: block.header.epoch,
            height: block.header.height,
            block: block.digest(),
            state_root: Digest::ZERO,
            audit_size: 0,
            audit_root: Digest::ZERO,
            next_committee: None,
        };
        Recovery::unsigned(RecoveryStatement {
            format: FORMAT_VERSION,
            chain: genesis().digest(),
            kept,
            ended: Digest::ZERO,
            committee: Committee::new(Epoch(epoch), vec![]),
            admins: vec![],
            threshold: 1,
            time: TimeMs(9),
        })
    }

    #[test]
    fn who_voted_to_commit_above_it_does_not_give_up_the_committee_of_that_vote() {
        let voted = |epoch: u64| {
            let body = VoteBody {
                kind: VoteKind::Commit,
                epoch: Epoch(epoch),
                view: View(0),
                height: Height(2),
                digest: blocks()[1].digest(),
            };
            Record::Vote(Vote { body, seat: SeatIndex(0), signature: Signature([0; 64]) })
        };
        let first = &blocks()[0];
        let check = |epoch: u64| {
            let (dir, ledger, _) = beside(&[voted(epoch)]);
            let log = Log::read(&dir.path().join("journal"), genesis().digest()).unwrap();
            log.check_accepted(&ledger.reader(), &keeping(first, 2), &[keeping(first, 1)])
        };
        let error = check(1).unwrap_err();
        assert!(error.to_string().contains("voted to commit height 2 in epoch 1"), "{error}");
        check(0).unwrap();
    }
}
