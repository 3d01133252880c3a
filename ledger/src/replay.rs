//! The replay set: exactly the identities in the blocks of the last window. It
//! stands beside the state tree, because the headers commit to it already. An
//! identity may go once its window is over: the window itself then refuses it.

use crate::{
    error::LedgerError,
    rocks::View,
    state::StateRead,
    store::{Batch, Column, replay_key},
};
use std::collections::BTreeSet;
use twinfold_types::{Code, SignedTx, TimeMs, TxId};

/// Identities removed with one block at most; the rest goes with the next ones.
const PRUNE_ROWS_MAX: usize = 10_000;

/// Identities of the running block.
#[derive(Default)]
pub struct Seen(BTreeSet<TxId>);

impl Seen {
    pub fn check(
        &mut self,
        base: &dyn StateRead,
        tx: &SignedTx,
        id: &TxId,
    ) -> Result<Code, LedgerError> {
        let fresh = self.0.insert(*id) && !base.was_applied(tx.body.valid_until, id)?;
        Ok(if fresh { Code::Ok } else { Code::Replayed })
    }
}

/// Remembers the transactions of a block.
pub fn remember(batch: &mut Batch, txs: &[SignedTx]) {
    for tx in txs {
        batch.put_raw(Column::Replay, replay_key(tx.body.valid_until, &tx.id()), []);
    }
}

/// Forgets identities whose window ended before this block time.
pub fn forget(view: &View<'_>, batch: &mut Batch, time: TimeMs) -> Result<(), LedgerError> {
    let ended = view.keys_below(Column::Replay, &time.0.to_be_bytes(), PRUNE_ROWS_MAX)?;
    ended.into_iter().for_each(|key| batch.delete(Column::Replay, key));
    Ok(())
}
