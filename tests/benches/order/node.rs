//! A node of the bench: the product's own parts in a process of their own, fed from inside.
//! Where ordering alone is measured, what is committed is counted and not executed, and the
//! door takes unsigned transactions, which the product never does.

use super::{
    feed::{Feed, Feeder},
    meter::Meter,
    protocol::{Run, Seen, Setup},
    tally::Tally,
};
use color_eyre::eyre::{Result, WrapErr, eyre};
use serde::Serialize;
use std::{
    io::{BufRead, Lines, StdinLock, Write},
    sync::Arc,
    time::Duration,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use twinfold_ledger::LedgerError;
use twinfold_node::{
    config::Config,
    driver::{FromExecutor, ToExecutor},
    executor::Executor,
    genesis_file,
    keys::NodeKeys,
    node::Door,
    parts::{self, Parts},
    verified::Verified,
};
use twinfold_types::{
    Action, Block, Digest, PublicKey, SecretKey, Signature,
    key::{Statement, Verifier},
    vote::Checkpoint,
};

const PEERS_PAUSE: Duration = Duration::from_millis(20);

/// What an unsigned transaction carries in place of a signature.
pub const UNSIGNED: Signature = Signature([0; 64]);

/// Takes the unsigned beside what the product takes.
#[derive(Default)]
struct Unsigned(Verified);

impl Verifier for Unsigned {
    fn verify(&self, key: &PublicKey, statement: &Statement, signature: &Signature) -> bool {
        *signature == UNSIGNED || self.0.verify(key, statement, signature)
    }
}

/// Reads commands until its parent is gone.
pub fn main() -> Result<()> {
    let mut lines = std::io::stdin().lock().lines();
    let setup: Setup = serde_json::from_str(&next(&mut lines)?.ok_or_else(|| eyre!("no setup"))?)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let parts = runtime.block_on(open(&setup))?;
    let node = parts.node.clone();
    let tally = Arc::new(Tally::new(node.clone()));
    let meter = Meter::new(&parts);
    let (counted, executes) = (tally.clone(), setup.executes);
    let execute = move |executor, work| match executes {
        true => execute(executor, work, &counted),
        false => count(executor, work, &counted),
    };
    let stop = CancellationToken::new();
    let ended = {
        let _inside = runtime.enter();
        parts.run(stop.clone(), execute)?
    };
    let ended = runtime.spawn(ended);
    runtime.block_on(async {
        let others = node.genesis.validators.len() - 1;
        while node.links.connected().len() < others {
            tokio::time::sleep(PEERS_PAUSE).await;
        }
    });
    say(&())?;
    let senders = setup.senders.iter().map(SecretKey::from_seed).collect();
    let feeder = Feeder::new(node, tally.clone(), senders, runtime.handle().clone());
    while let Some(line) = next(&mut lines)? {
        let run: Run = serde_json::from_str(&line)?;
        let feed = feeder.prepare(&run)?;
        say(&())?;
        next(&mut lines)?;
        say(&measure(feed, &run, &tally, &meter)?)?;
        if ended.is_finished() {
            return Err(eyre!("the node has ended"));
        }
    }
    Ok(())
}

async fn open(setup: &Setup) -> Result<Parts> {
    let config = Config::read(&setup.config)?;
    let keys = NodeKeys::read(&config.keys.dir, None)?;
    let genesis = genesis_file::read(&config.genesis)?;
    let mut door = Door::default();
    if !setup.executes {
        door.verifier = Arc::new(Unsigned::default());
        door.admit = |_, _, _| Ok(Ok(()));
    }
    parts::open(&config, keys, genesis, door).await
}

fn measure(feed: Feed, run: &Run, tally: &Tally, meter: &Meter) -> Result<Seen> {
    let feeding = feed.start();
    std::thread::sleep(Duration::from_secs_f64(run.warm_up_s));
    let before = meter.read()?;
    tally.begin();
    std::thread::sleep(Duration::from_secs_f64(run.measured_s));
    let mut seen = meter.read()?.since(&before);
    tally.end(&mut seen);
    seen.refused = feeding.stop()?;
    tally.settle(&mut seen);
    Ok(seen)
}

/// The product's execution, counted.
fn execute(
    mut executor: Executor,
    mut work: mpsc::Receiver<ToExecutor>,
    tally: &Tally,
) -> Result<(), LedgerError> {
    while let Some(work) = work.blocking_recv() {
        let block = match &work {
            ToExecutor::Commit(block, _) => Some(block.clone()),
            ToExecutor::Stable(_) => None,
        };
        executor.perform(work)?;
        if let Some(block) = block {
            tally.note(&block);
        }
    }
    Ok(())
}

/// Nothing is executed: every height comes to the same state.
fn count(
    executor: Executor,
    mut work: mpsc::Receiver<ToExecutor>,
    tally: &Tally,
) -> Result<(), LedgerError> {
    while let Some(work) = work.blocking_recv() {
        let ToExecutor::Commit(block, _) = work else { continue };
        tally.note(&block);
        for tx in &block.txs {
            if let Action::PublishModel(publish) = &tx.body.action {
                executor.blobs.mark_named(&publish.file.blob.digest());
            }
        }
        executor.heads.send_replace(block.header.height);
        let checkpoint = unexecuted(&block);
        executor.agreement.send(FromExecutor::Executed { checkpoint, ends_at: None }).ok();
    }
    Ok(())
}

fn unexecuted(block: &Block) -> Checkpoint {
    Checkpoint {
        epoch: block.header.epoch,
        height: block.header.height,
        block: block.digest(),
        state_root: Digest::ZERO,
        audit_size: 0,
        audit_root: Digest::ZERO,
        next_committee: None,
    }
}

fn next(lines: &mut Lines<StdinLock<'_>>) -> Result<Option<String>> {
    lines.next().transpose().wrap_err("the bench cannot be heard")
}

fn say<T: Serialize>(value: &T) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(value)?)?;
    Ok(out.flush()?)
}
