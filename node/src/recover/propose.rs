//! Makes the statement that admins sign, from what a survivor holds. Whatever it knows to be
//! committed is executed first, so that the kept height is the highest there is here.

use super::{Names, check_size, read_node};
use crate::{
    args::RecoverPropose,
    clock,
    journal::{Journal, write_whole},
};
use color_eyre::eyre::{WrapErr, ensure, eyre};
use std::{collections::BTreeMap, path::Path};
use twinfold_consensus::Record;
use twinfold_ledger::{Draft, Ledger, Reader};
use twinfold_types::{
    Block, Digest, Epoch, Height, PublicKey, TimeMs,
    recovery::Recovery,
    vote::{Certificate, VoteKind},
};

pub fn run(args: &RecoverPropose) -> color_eyre::Result<()> {
    let (config, genesis) = read_node(&args.config)?;
    ensure!(
        !args.out.exists(),
        "{} is there already: choose another file, or remove it",
        args.out.display()
    );
    let folder = config.data.join("ledger");
    ensure!(
        folder.exists(),
        "{} is not there: a statement is made from the folder of a node that has followed the chain",
        folder.display()
    );
    let mut ledger = Ledger::open(&folder, &genesis)?;
    let reader = ledger.reader();
    let log = Log::read(&config.data.join("journal"), genesis.digest())?;
    let executed = log.execute_committed(&mut ledger)?;
    if executed > 0 {
        println!("executed {executed} blocks that the journal shows to be committed");
    }
    let seats = args.seats.iter().map(|text| seat(&reader, text));
    let seats = seats.collect::<color_eyre::Result<Vec<_>>>()?;
    let epoch = args.epoch.map(Epoch).or(next_epoch(&reader)?);
    // Block times may run a little ahead of the clock.
    let time = TimeMs(clock::now().0.max(reader.head().time.0 + 1));
    let statement = reader.draft_recovery(&Draft { seats: &seats, epoch, time })?;
    check_size(&statement.committee, &genesis, args.allow_unsafe_size)?;
    let names = Names::of_ledger(&reader)?;
    names.show(&statement, reader.past_committee(statement.kept.epoch)?.as_ref());
    let head = reader.head().height;
    let recovery = Recovery::unsigned(statement);
    let text = serde_json::to_string_pretty(&recovery)? + "\n";
    write_whole(&args.out, text.as_bytes())
        .wrap_err_with(|| format!("cannot write {}", args.out.display()))?;
    println!();
    println!(
        "This node holds everything up to height {head}. Run `recover propose` on each survivor,"
    );
    println!("and sign the statement of the one with the greatest height: what is above the kept");
    println!("height is lost, and a node that has executed more refuses.");
    if let Some(height) = log.voted_above(head) {
        println!();
        println!(
            "Careful: this validator voted to commit height {height} and cannot know whether it was."
        );
        println!(
            "If a lost validator committed it, clients may have been told so; its transactions"
        );
        println!("are not in the kept chain and must be sent again.");
    }
    println!();
    println!(
        "Next: the admins sign, one after the other: `twinfold recovery sign {}`.",
        args.out.display()
    );
    Ok(())
}

/// A member by name or key.
fn seat(reader: &Reader, text: &str) -> color_eyre::Result<PublicKey> {
    if let Ok(key) = text.parse::<PublicKey>() {
        return Ok(key);
    }
    let members = reader.members()?;
    let mut named = members.iter().filter(|member| member.name == text);
    match (named.next(), named.next()) {
        (Some(member), None) => Ok(member.key),
        (Some(_), Some(_)) => Err(eyre!("several members are called {text}: give the key")),
        (None, _) => Err(eyre!("no member is called {text}: give a name or a public key")),
    }
}

/// Beyond what was accepted here for the same height and never acted upon.
fn next_epoch(reader: &Reader) -> color_eyre::Result<Option<Epoch>> {
    let head = reader.head().height;
    let accepted = reader.recoveries()?.into_iter();
    let open = accepted.filter(|recovery| recovery.statement.kept.height >= head);
    Ok(open.map(|recovery| recovery.statement.committee.epoch.next()).max())
}

/// What the journal says beyond the ledger.
struct Log {
    bodies: BTreeMap<Digest, Block>,
    /// The highest commit certificate.
    committed: Option<Certificate>,
    /// The highest own vote to commit.
    voted: Option<Height>,
}

impl Log {
    /// An observer that never ran has no journal.
    fn read(path: &Path, chain: Digest) -> color_eyre::Result<Self> {
        let mut log = Self { bodies: BTreeMap::new(), committed: None, voted: None };
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
                    log.voted = log.voted.max(Some(vote.body.height));
                }
                _ => {}
            }
        }
        Ok(log)
    }

    /// A process that died between its journal and its ledger knows of a committed block that is
    /// not executed. Bodies that are not here were never committed by this node.
    fn execute_committed(&self, ledger: &mut Ledger) -> color_eyre::Result<usize> {
        let head = ledger.reader().head();
        let Some(certificate) = &self.committed else { return Ok(0) };
        if certificate.body.height <= head.height {
            return Ok(0);
        }
        let (mut path, mut digest) = (Vec::new(), certificate.body.digest);
        while digest != head.digest {
            let block = self.bodies.get(&digest).filter(|block| block.header.height > head.height);
            let height = certificate.body.height;
            path.push(block.ok_or_else(|| {
                eyre!(
                    "the journal holds a commit certificate of height {height}, and not the blocks up to \
                     it: start this node together with the other survivors until it has caught up, stop \
                     it, and propose again"
                )
            })?);
            digest = path[path.len() - 1].header.parent;
        }
        for block in path.iter().rev() {
            ledger.commit(block, certificate)?;
        }
        Ok(path.len())
    }

    fn voted_above(&self, head: Height) -> Option<Height> {
        self.voted.filter(|height| *height > head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfold_types::{
        Header, SecretKey, Stake, View,
        block::body_digest,
        genesis::{ChainParams, FORMAT_VERSION, Genesis, GenesisValidator},
        key::Signer,
        limits::PROTOCOL_VERSION,
        member::{Member, Role},
        stake::StakeParams,
        vote::VoteBody,
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
        let mut ledger = Ledger::open(&dir.path().join("ledger"), &genesis()).unwrap();
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
}
