//! Changes the consensus key on a schedule: draws one, declares it on the ledger, and erases the old
//! one once the new one signs.

use crate::node::Node;
use std::{sync::Arc, time::Duration};
use twinfold_ledger::LedgerError;
use twinfold_types::{
    Epoch, PublicKey,
    key::Signer,
    quorum::PastEpoch,
    stake::{Candidate, Declaration, StakeAction, key_statement},
    state_key::{self, Prefix},
    tx::Action,
};

const INTERVAL: Duration = Duration::from_secs(5);
/// Ended epochs looked through: more than evidence is kept for.
const PAST_EPOCHS_MAX: usize = 10_000;

/// Runs for the life of the node; a new key every so many epochs, never for 0.
pub async fn rotate(node: Arc<Node>, every_epochs: u64) {
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let node = node.clone();
        let looked = tokio::task::spawn_blocking(move || look(&node, every_epochs)).await;
        match looked {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the consensus key could not be changed"),
            Err(error) => tracing::error!(%error, "changing the consensus key ended badly"),
        }
    }
}

fn look(node: &Node, every_epochs: u64) -> color_eyre::Result<()> {
    // While the end of the epoch before is not stable, a restart goes on in that one: its key is needed.
    let voting = node.reader.voting_committee()?;
    let committee = node.reader.committee();
    if voting.epoch != committee.epoch {
        return Ok(());
    }
    let Some(candidate): Option<Candidate> = node.reader.get(&state_key::candidate(&node.own))?
    else {
        return Ok(());
    };
    let seat = committee.seat_of(&node.own);
    let used = seat.and_then(|seat| committee.key(seat)).copied();
    let needed: Vec<PublicKey> = used.into_iter().chain([candidate.key]).collect();
    node.keys.erase(&retired(node, &needed)?)?;
    let lost = node.keys.get(&candidate.key).is_none();
    let due = used == Some(candidate.key) && is_due(committee.epoch, every_epochs);
    if !lost && !due {
        return Ok(());
    }
    if lost {
        tracing::warn!(key = %candidate.key.short(), "the consensus key is not in the key folder");
    }
    let new = node.keys.another(&needed)?;
    node.submit_own(declaration(node, &candidate, &*new))?;
    tracing::info!(key = %new.public_key().short(), "declared a new consensus key for the next epoch");
    Ok(())
}

/// Keys that this node's seat signed with in epochs that are over, but for those still needed. A key
/// that was drawn and never used may be in a declaration on its way, so it stays.
fn retired(node: &Node, needed: &[PublicKey]) -> Result<Vec<PublicKey>, LedgerError> {
    let past: Vec<(_, PastEpoch)> =
        node.reader.scan(&Prefix::PastEpoch.scan(), None, PAST_EPOCHS_MAX)?;
    let used = past.iter().filter_map(|(_, PastEpoch { committee, .. })| {
        committee.seat_of(&node.own).and_then(|seat| committee.key(seat)).copied()
    });
    Ok(used.filter(|key| !needed.contains(key)).collect())
}

fn is_due(epoch: Epoch, every_epochs: u64) -> bool {
    every_epochs > 0 && epoch.0 > 0 && epoch.0.is_multiple_of(every_epochs)
}

fn declaration(node: &Node, candidate: &Candidate, new: &dyn Signer) -> Action {
    let key: PublicKey = new.public_key();
    let signature = new.sign(&key_statement(&node.chain, &node.own, &key));
    Action::Stake(StakeAction::Declare(Declaration {
        ready: candidate.ready,
        commission_permille: candidate.commission_next_permille,
        key: Some((key, signature)),
        addresses: None,
    }))
}
